//! A record of spikes, currents and readouts that came from elsewhere (a chip's model).
use evprop::record::{Peak, PopulationRecord, ReadoutRequest, ReadoutValues, Record};
use pyo3::prelude::*;

use crate::arrays::{Array, Scalar, Spikes};
use crate::errors::{bad_dtype, named, raise};
use crate::network::CoreNetwork;
use crate::record::{CoreRecord, Either};
use crate::simulate::request;

/// (times, units, offsets), the synaptic current just before each spike.
type Seen<'py> = (Bound<'py, PyAny>, Bound<'py, PyAny>);
/// (population, what is read), values (batch, n) or (batch, times, n), for a maximum its times (batch, n).
type Given<'py> = ((usize, Bound<'py, PyAny>), Bound<'py, PyAny>, Option<Bound<'py, PyAny>>);

/// A record of `batch` samples; `seen` has one entry a population, None for those that do not spike by themselves.
#[pyfunction]
pub fn observed_record(
    py: Python<'_>,
    core: &CoreNetwork,
    batch: usize,
    duration: f64,
    dtype: &str,
    seen: Vec<Option<Seen<'_>>>,
    readouts: Vec<Given<'_>>,
) -> PyResult<CoreRecord> {
    let record = match dtype {
        "float64" => Either::Double(observed(py, core, (batch, duration), &seen, &readouts)?.into()),
        "float32" => Either::Single(observed(py, core, (batch, duration), &seen, &readouts)?.into()),
        other => return Err(bad_dtype(py, other)),
    };
    Ok(CoreRecord::from(record))
}

fn observed<T: Scalar>(
    py: Python<'_>,
    core: &CoreNetwork,
    (batch, duration): (usize, f64),
    seen: &[Option<Seen<'_>>],
    readouts: &[Given<'_>],
) -> PyResult<Record<T>> {
    let known = core.network.populations();
    if seen.len() != known.len() {
        return Err(named(py, "RecordError", &format!("{} populations seen, of {}", seen.len(), known.len())));
    }
    let mut populations = Vec::new();
    for (population, seen) in known.iter().zip(seen) {
        populations.push(match seen {
            None => PopulationRecord { offsets: vec![0; batch + 1], ..Default::default() },
            Some(seen) => population_of(py, seen, (batch, population.size, duration))?,
        });
    }
    let mut whole = Record { batch, duration, populations, requests: Vec::new(), readouts: Vec::new() };
    for ((pop, spec), values, peaks) in readouts {
        let asked = request(&core.network, *pop, spec)?;
        let read = values_of(py, core, batch, &asked, values, peaks.as_ref())?;
        whole.requests.push(asked);
        whole.readouts.push(read);
    }
    Ok(whole)
}

fn population_of<T: Scalar>(
    py: Python<'_>,
    (spikes, current): &Seen<'_>,
    (batch, size, duration): (usize, usize, f64),
) -> PyResult<PopulationRecord<T>> {
    let spikes = Spikes::new(spikes)?;
    let train = spikes.batch(py)?;
    train.check_fits(size, duration).map_err(|e| raise(py, &e))?;
    let current = Array::<T>::new(current, "currents", T::NAME)?;
    if train.len() != batch || current.slice().len() != spikes.times().len() {
        let found = (train.len(), current.slice().len());
        let message =
            format!("{} samples and {} currents; {batch} and {} are needed", found.0, found.1, spikes.times().len());
        return Err(named(py, "ShapeError", &message));
    }
    Ok(PopulationRecord {
        offsets: spikes.offsets().to_vec(),
        times: spikes.times().to_vec(),
        units: spikes.units().to_vec(),
        current: current.slice().to_vec(),
        release: Vec::new(),
    })
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
