//! Models of neuromorphic chips: what they do with a network, in place of what its equations say.
//!
//! * [`loihi2`]: the fixed-point neurons and connections of Intel's Loihi 2, as Lava defines them.
//! * [`brainscales2`]: the analog neurons of BrainScaleS-2, with everything that sets them apart from their equations.
pub mod brainscales2;
pub mod loihi2;
