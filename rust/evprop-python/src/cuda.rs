//! `cuda_device`, `cuda_count`, how calls to a GPU are cut, and records that may lie in its memory.
use std::borrow::Cow;

use evprop::Result;
use evprop::cuda::{self, Device, Number, Resident, Sizes};
use evprop::record::{PopulationRecord, ReadoutRequest, ReadoutValues, Record};
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

/// A record, wherever it lies.
pub enum Kept<T> {
    /// In memory.
    Host(Record<T>),
    /// On a GPU: what is asked for is fetched.
    Device(Box<Resident<T>>),
}

impl<T> From<Record<T>> for Kept<T> {
    fn from(record: Record<T>) -> Self {
        Self::Host(record)
    }
}

impl<T: Number> Kept<T> {
    /// Number of samples.
    pub fn batch(&self) -> usize {
        match self {
            Self::Host(record) => record.batch,
            Self::Device(record) => record.batch(),
        }
    }

    /// Trial length, ms.
    pub fn duration(&self) -> f64 {
        match self {
            Self::Host(record) => record.duration,
            Self::Device(record) => record.duration(),
        }
    }

    /// What was read.
    pub fn requests(&self) -> &[ReadoutRequest] {
        match self {
            Self::Host(record) => &record.requests,
            Self::Device(record) => record.requests(),
        }
    }

    /// Number of populations.
    pub fn n_populations(&self) -> usize {
        match self {
            Self::Host(record) => record.populations.len(),
            Self::Device(record) => record.n_populations(),
        }
    }

    /// The spikes of population `p`.
    pub fn population(&self, p: usize) -> Result<Cow<'_, PopulationRecord<T>>> {
        Ok(match self {
            Self::Host(record) => Cow::Borrowed(&record.populations[p]),
            Self::Device(record) => Cow::Owned(record.population(p)?),
        })
    }

    /// The values of readout `k`.
    pub fn readout(&self, k: usize) -> Result<Cow<'_, ReadoutValues<T>>> {
        Ok(match self {
            Self::Host(record) => Cow::Borrowed(&record.readouts[k]),
            Self::Device(record) => Cow::Owned(record.readout(k)?),
        })
    }

    /// All of it.
    pub fn whole(&self) -> Result<Cow<'_, Record<T>>> {
        Ok(match self {
            Self::Host(record) => Cow::Borrowed(record),
            Self::Device(record) => Cow::Owned(record.fetch()?),
        })
    }
}
