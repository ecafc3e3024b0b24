//! `cuda_device`, `cuda_count`, and how calls to a GPU are cut.
use evprop::cuda::{self, Device, Sizes};
use pyo3::prelude::*;

use crate::enter::enter;

/// How launches are cut: threads of a block, window (ms), room for spikes and arrivals, samples at a time, lanes: `None`
/// chooses.
pub type SizesGiven = (Option<u32>, Option<f64>, Option<usize>, Option<usize>, Option<usize>, Option<usize>);

/// As the core takes them.
pub fn sizes((threads, window, spikes, arrivals, slots, lanes): SizesGiven) -> Sizes {
    Sizes { threads, window, spikes, arrivals, slots, lanes }
}

/// What device `ordinal` is; raises `DeviceError` where it cannot be used.
#[pyfunction]
pub fn cuda_device(py: Python<'_>, ordinal: usize) -> PyResult<String> {
    enter(py, |_| Ok(Device::open(ordinal)?.describe()))
}

/// How many devices there are; raises `DeviceError` where there is no driver, or none of them.
#[pyfunction]
pub fn cuda_count(py: Python<'_>) -> PyResult<usize> {
    enter(py, |_| cuda::count())
}
