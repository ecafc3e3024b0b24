//! Exact event-based simulation and exact gradients of spiking neural networks.
//!
//! The data's way: [`spikes`] -> [`network`] -> [`simulate`] -> [`record`] -> [`loss`] -> [`adjoint`].
//!
//! * [`math`]: exp, ln and divided differences with the same bits on every CPU; [`neuron`]: flow and threshold crossing;
//! * [`projection`]: weights and delays; [`network`]: populations and projections, checked once, and their parameters;
//! * [`simulate`]: every spike of a batch; [`record`]: what that leaves behind;
//! * [`loss`]: values and cotangents of spike times and readouts; [`adjoint`]: cotangents to gradients;
//! * [`optim`]: steps of optimisers;
//! * [`hardware`]: neuromorphic chips in their own arithmetic;
//! * [`cuda`]: the exact simulator on an NVIDIA GPU;
//! * [`sparse`]: sparse codes in groups, and derivatives through them;
//! * [`parallel`]: samples over threads, results in a fixed order.
pub mod adjoint;
pub mod cuda;
pub mod error;
pub mod hardware;
pub mod loss;
pub mod math;
pub mod network;
pub mod neuron;
pub mod optim;
pub mod parallel;
pub mod projection;
pub mod record;
pub mod simulate;
pub mod sparse;
pub mod spikes;
#[doc(hidden)]
pub mod test_problems;
#[cfg(test)]
mod test_tables;

pub use error::{Error, Result};
