//! Spike batches: checks, who fired, and samples taken out of them.
use numpy::{IntoPyArray, PyArray1, PyArray2, PyArrayMethods};
use pyo3::exceptions::PyIndexError;
use pyo3::prelude::*;

use crate::arrays::{Array, Spikes};
use crate::errors::raise;

pub(crate) type SpikeArrays<'py> = (Bound<'py, PyArray1<f64>>, Bound<'py, PyArray1<u32>>, Bound<'py, PyArray1<i64>>);

/// Refuses times that are not finite, non-negative and sorted, units out of range, and unsound offsets.
#[pyfunction]
pub fn check_spikes(
    py: Python<'_>,
    times: &Bound<'_, PyAny>,
    units: &Bound<'_, PyAny>,
    offsets: &Bound<'_, PyAny>,
    n_units: usize,
) -> PyResult<()> {
    let spikes = Spikes::from_parts(times, units, offsets)?;
    evprop::spikes::check(spikes.times(), spikes.units(), spikes.offsets(), n_units).map_err(|e| raise(py, &e))
}

/// (batch, n_units): whether each unit spikes at all.
#[pyfunction]
pub fn fired<'py>(
    py: Python<'py>,
    times: &Bound<'py, PyAny>,
    units: &Bound<'py, PyAny>,
    offsets: &Bound<'py, PyAny>,
    n_units: usize,
) -> PyResult<Bound<'py, PyArray2<bool>>> {
    let spikes = Spikes::from_parts(times, units, offsets)?;
    let batch = spikes.batch(py)?;
    let fired = evprop::spikes::fired(&batch, n_units).map_err(|e| raise(py, &e))?;
    fired.into_pyarray(py).reshape([batch.len(), n_units])
}

/// (batch,): the unit of each sample's first spike, -1 without one.
#[pyfunction]
pub fn first_units<'py>(
    py: Python<'py>,
    times: &Bound<'py, PyAny>,
    units: &Bound<'py, PyAny>,
    offsets: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyArray1<i64>>> {
    let spikes = Spikes::from_parts(times, units, offsets)?;
    Ok(evprop::spikes::first_units(&spikes.batch(py)?).into_pyarray(py))
}

/// Times, units and offsets of the samples at `index`; negative ones count from the end.
#[pyfunction]
pub fn take_samples<'py>(
    py: Python<'py>,
    times: &Bound<'py, PyAny>,
    units: &Bound<'py, PyAny>,
    offsets: &Bound<'py, PyAny>,
    index: &Bound<'py, PyAny>,
) -> PyResult<SpikeArrays<'py>> {
    let spikes = Spikes::from_parts(times, units, offsets)?;
    let index = Array::<i64>::new(index, "index", "int64")?;
    let n = spikes.offsets().len() as i64 - 1;
    let place = |&b: &i64| {
        let known = (-n..n).contains(&b).then(|| if b < 0 { b + n } else { b } as usize);
        known.ok_or_else(|| PyIndexError::new_err(format!("sample {b} is out of range: there are {n} samples.")))
    };
    let which = index.slice().iter().map(place).collect::<PyResult<Vec<_>>>()?;
    let taken = evprop::spikes::take(spikes.times(), spikes.units(), spikes.offsets(), &which);
    let (times, units, offsets) = taken.map_err(|e| raise(py, &e))?;
    Ok((times.into_pyarray(py), units.into_pyarray(py), offsets.into_pyarray(py)))
}
