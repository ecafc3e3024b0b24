//! The exact simulator on an NVIDIA GPU: the same equations, the same record, found at run time.
//!
//! **What has run where.** The kernels have run on CPUs only, as plain C++ inside an emulated driver
//! (`tests/cuda/emulator.cpp`), where every result is compared with the engine's. They have not yet run on a GPU.
//!
//! Design:
//!
//! * One source, two compilers. `kernels/*.cuh` is CUDA C++ without libraries: NVRTC makes `evprop.ptx` of it (`make ptx`),
//!   which the binary carries and the driver compiles for the GPU it finds; the tests compile it with g++. Without fused
//!   multiply-add, and with the engine's own exp and ln, spikes have the bits of [`crate::simulate::eventwise`].
//! * One block a sample, threads over neurons; a thread owns its neurons' states, lists and gradients, so nothing is
//!   atomic and sums have one order. Results depend on neither the GPU nor the number of blocks that run at a time.
//! * The forward pass ([`forward`]) goes from spike to spike of the whole network: in a window of time each thread finds the
//!   first crossing of its neurons under all arrivals known so far, and the earliest of all is a spike.
//! * Chunks of samples go through [lanes](lane), each a stream: while one computes, the next one's spikes are copied.
//! * The record stays on the device ([`resident`]), where the backward pass reads it; what is asked for is fetched.
//! * Parameters and an optimiser's moments may stay there too ([`Training`]).
//! * No silent capacity: storage that fills up is made larger, and the samples concerned are played again.
//! * `libcuda` is opened when a device is asked for ([`driver`]); the wheel holds no CUDA library and needs none.
//!
//! Without the feature `cuda`, `disabled.rs` has the same face and says that this build has no CUDA.
#[cfg(feature = "cuda")]
mod backward;
#[cfg(feature = "cuda")]
mod driver;
#[cfg(feature = "cuda")]
mod forward;
#[cfg(feature = "cuda")]
mod keep;
#[cfg(feature = "cuda")]
mod lane;
#[cfg(feature = "cuda")]
mod readout;
#[cfg(feature = "cuda")]
mod resident;
#[cfg(feature = "cuda")]
mod tables;
#[cfg(feature = "cuda")]
mod training;
#[cfg(feature = "cuda")]
mod weighting;

#[cfg(any(not(feature = "cuda"), test))]
#[cfg_attr(feature = "cuda", allow(dead_code))]
mod disabled;
#[cfg(not(feature = "cuda"))]
use disabled as twin;
#[cfg(feature = "cuda")]
mod twin {
    pub use super::backward::backward;
    pub use super::driver::{Device, count};
    pub use super::forward::simulate;
    pub use super::resident::Resident;
    pub use super::tables::Number;
    pub use super::training::Training;
}
pub use twin::{Device, Number, Resident, Training, backward, count, simulate};

/// How much room a launch starts with, and how it is cut; results do not depend on it. `None`: by the network.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Sizes {
    /// Threads of a block, at most 256.
    pub threads: Option<u32>,
    /// Length of a window, ms.
    pub window: Option<f64>,
    /// Spikes of a population in a sample.
    pub spikes: Option<usize>,
    /// Arrivals at a neuron in a window.
    pub arrivals: Option<usize>,
    /// Samples at a time.
    pub slots: Option<usize>,
    /// Lanes (streams) that take chunks of samples in turn.
    pub lanes: Option<usize>,
}

/// How sound gradients are: see [`Gradients`](crate::adjoint::Gradients).
#[derive(Debug, Clone, Copy)]
pub struct Health {
    /// Smallest `Vdot-` of the spikes gone through.
    pub min_vdot: f64,
    /// (sample, neuron) pairs whose weight gradient was dropped.
    pub dropped: u64,
    /// Spikes whose `Vdot-` was raised.
    pub floored: u64,
}

/// A bound on all values of a slot: `limit`, or the values of another slot plus `limit`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bound {
    /// Slot that is kept within.
    pub slot: usize,
    /// The other slot.
    pub other: Option<usize>,
    /// Bound from above, or from below.
    pub from_above: bool,
    /// In the parameter's unit.
    pub limit: f64,
}
