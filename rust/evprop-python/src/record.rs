//! The record of a forward pass: in memory, or on a GPU.
use std::borrow::Cow;

use evprop::Result;
use evprop::cuda::{Number, Resident};
use evprop::record::{PopulationRecord, Readout, ReadoutRequest, ReadoutValues, Record};
use numpy::{IntoPyArray, PyArrayDyn, PyArrayMethods, ToPyArray};
use pyo3::prelude::*;

use crate::arrays::Scalar;
use crate::enter::enter;
use crate::errors::{named, raise};
use crate::spikes::SpikeArrays;

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

/// A record in either precision.
pub enum Either {
    /// float64.
    Double(Kept<f64>),
    /// float32.
    Single(Kept<f32>),
}

/// Spikes, currents and readouts of a batch.
#[pyclass(frozen, module = "evprop._core")]
pub struct CoreRecord {
    pub(crate) record: Either,
    /// Of the parameters that it was made with, where they were at hand.
    #[pyo3(get)]
    pub(crate) fingerprint: Option<u64>,
}

impl From<Either> for CoreRecord {
    fn from(record: Either) -> Self {
        Self { record, fingerprint: None }
    }
}

/// Runs the same expression on either record.
macro_rules! either {
    ($self:expr, $record:ident => $body:expr) => {
        match &$self.record {
            $crate::record::Either::Double($record) => $body,
            $crate::record::Either::Single($record) => $body,
        }
    };
}
pub(crate) use either;

#[pymethods]
impl CoreRecord {
    #[getter]
    fn batch(&self) -> usize {
        either!(self, r => r.batch())
    }

    #[getter]
    fn duration(&self) -> f64 {
        either!(self, r => r.duration())
    }

    #[getter]
    fn dtype(&self) -> &'static str {
        match &self.record {
            Either::Double(_) => "float64",
            Either::Single(_) => "float32",
        }
    }

    /// Times, units and offsets of a population.
    fn spikes<'py>(&self, py: Python<'py>, pop: usize) -> PyResult<SpikeArrays<'py>> {
        either!(self, r => {
            let p = population(py, r, pop)?;
            Ok((p.times.to_pyarray(py), p.units.to_pyarray(py), p.offsets.to_pyarray(py)))
        })
    }

    /// Synaptic current at each spike of a population.
    fn currents<'py>(&self, py: Python<'py>, pop: usize) -> PyResult<Bound<'py, PyAny>> {
        either!(self, r => Ok(population(py, r, pop)?.current.to_pyarray(py).into_any()))
    }

    /// Number of spikes of population `pop`, of `n` neurons, and of the (sample, neuron) pairs with a spike.
    fn activity(&self, py: Python<'_>, pop: usize, n: usize) -> PyResult<(usize, usize)> {
        either!(self, r => {
            let found = population(py, r, pop)?;
            if let Some(&unit) = found.units.iter().find(|&&unit| unit as usize >= n) {
                return Err(named(py, "RecordError", &format!("a spike is of unit {unit}, but {n} neurons were given")));
            }
            Ok((found.times.len(), found.fired(n)))
        })
    }

    /// Values of readout `k`: `(batch, n)`, or `(batch, times, n)` if sampled.
    fn readout<'py>(&self, py: Python<'py>, k: usize) -> PyResult<Bound<'py, PyAny>> {
        either!(self, r => {
            let (asked, found) = readout_at(py, r, k)?;
            let (batch, width) = (r.batch(), asked.readout.width());
            let n = found.values.len().checked_div(batch * width).unwrap_or(0);
            let flat = found.values.to_pyarray(py);
            match asked.readout {
                Readout::Sampled(_) => Ok(flat.reshape([batch, width, n])?.into_any()),
                _ => Ok(flat.reshape([batch, n])?.into_any()),
            }
        })
    }

    /// When the maximum of readout `k` was reached, ms; NaN where the neuron spiked.
    fn max_times<'py>(&self, py: Python<'py>, k: usize) -> PyResult<Bound<'py, PyArrayDyn<f64>>> {
        either!(self, r => {
            let (_, found) = readout_at(py, r, k)?;
            if found.peaks.is_empty() {
                return Err(named(py, "RecordError", &format!("readout {k} is no maximum")));
            }
            let times: Vec<f64> = found.peaks.iter().map(|peak| peak.time).collect();
            let shape = vec![r.batch(), times.len() / r.batch()];
            times.into_pyarray(py).reshape(shape)
        })
    }
}

pub(crate) fn out_of_range(py: Python<'_>, what: &str, k: usize) -> PyErr {
    named(py, "RecordError", &format!("the record has no {what} {k}"))
}

/// Asks a record, without the GIL where it lies on a GPU. (What is at hand is not worth a change of threads.)
pub(crate) fn ask<'r, T: Scalar, R: Send>(
    py: Python<'_>,
    record: &'r Kept<T>,
    question: impl FnOnce(&'r Kept<T>) -> Result<R> + Send,
) -> PyResult<R> {
    match record {
        Kept::Host(_) => question(record).map_err(|e| raise(py, &e)),
        Kept::Device(_) => enter(py, |_| question(record)),
    }
}

fn population<'r, T: Scalar>(
    py: Python<'_>,
    record: &'r Kept<T>,
    pop: usize,
) -> PyResult<Cow<'r, PopulationRecord<T>>> {
    if pop >= record.n_populations() {
        return Err(out_of_range(py, "population", pop));
    }
    ask(py, record, |record| record.population(pop))
}

fn readout_at<'r, T: Scalar>(
    py: Python<'_>,
    record: &'r Kept<T>,
    k: usize,
) -> PyResult<(&'r ReadoutRequest, Cow<'r, ReadoutValues<T>>)> {
    match record.requests().get(k) {
        Some(asked) => Ok((asked, ask(py, record, |record| record.readout(k))?)),
        None => Err(out_of_range(py, "readout", k)),
    }
}
