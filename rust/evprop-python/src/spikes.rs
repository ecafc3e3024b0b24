//! Checks of spike batches.
use pyo3::prelude::*;

use crate::arrays::Spikes;
use crate::errors::raise;

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
