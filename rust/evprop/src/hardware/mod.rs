//! Models of neuromorphic chips: their own arithmetic, step by step.
//!
//! * [`loihi2`]: the fixed-point neurons and connections of Intel's Loihi 2, as Lava defines them.
pub mod loihi2;
