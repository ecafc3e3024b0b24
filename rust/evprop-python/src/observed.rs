//! Readouts that came from elsewhere (a chip), put into a record of observed spikes.
use evprop::record::{Peak, ReadoutRequest, ReadoutValues, Record};
use pyo3::prelude::*;

use crate::arrays::{Array, Scalar};
use crate::errors::named;
use crate::network::CoreNetwork;
use crate::simulate::{CoreRecord, Either, request};

/// (population, what is read), values (batch, n) or (batch, times, n), for a maximum its times (batch, n).
type Given<'py> = ((usize, Bound<'py, PyAny>), Bound<'py, PyAny>, Option<Bound<'py, PyAny>>);

/// The same record with these readouts.
#[pyfunction]
pub fn with_readouts(
    py: Python<'_>,
    core: &CoreNetwork,
    record: &CoreRecord,
    readouts: Vec<Given<'_>>,
) -> PyResult<CoreRecord> {
    let record = match &record.record {
        Either::Double(r) => Either::Double(extended(py, core, r, &readouts)?),
        Either::Single(r) => Either::Single(extended(py, core, r, &readouts)?),
    };
    Ok(CoreRecord { record })
}

fn extended<T: Scalar>(
    py: Python<'_>,
    core: &CoreNetwork,
    record: &Record<T>,
    readouts: &[Given<'_>],
) -> PyResult<Record<T>> {
    let mut whole = record.clone();
    for ((pop, spec), values, peaks) in readouts {
        let asked = request(&core.network, *pop, spec)?;
        let read = values_of(py, core, record.batch, &asked, values, peaks.as_ref())?;
        whole.requests.push(asked);
        whole.readouts.push(read);
    }
    Ok(whole)
}

fn values_of<T: Scalar>(
    py: Python<'_>,
    core: &CoreNetwork,
    batch: usize,
    asked: &ReadoutRequest,
    values: &Bound<'_, PyAny>,
    peaks: Option<&Bound<'_, PyAny>>,
) -> PyResult<ReadoutValues<T>> {
    let n = core.network.populations()[asked.population].size;
    let values = Array::<T>::new(values, "values of a readout", T::NAME)?;
    let wanted = batch * asked.readout.width() * n;
    let refuse = |what: &str, found: usize, wanted: usize| {
        named(py, "ShapeError", &format!("{what} of a readout: {found} values; {wanted} are needed"))
    };
    if values.slice().len() != wanted {
        return Err(refuse("values", values.slice().len(), wanted));
    }
    // The slope of a peak that was seen, not computed, is unknown; 0: the peak's height does not move with its time.
    let peaks = match peaks {
        None => Vec::new(),
        Some(times) => {
            let times = Array::<f64>::new(times, "times of a maximum", "float64")?;
            times.slice().iter().map(|&time| Peak { time, slope: 0.0 }).collect()
        }
    };
    let needed = if matches!(asked.readout, evprop::record::Readout::Max) { wanted } else { 0 };
    if peaks.len() != needed {
        return Err(refuse("times of the maximum", peaks.len(), needed));
    }
    Ok(ReadoutValues { values: values.slice().to_vec(), peaks })
}
