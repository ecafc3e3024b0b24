//! `simulate`, `replay` and `trace`.
use evprop::cuda::{self, Device, Sizes};
use evprop::math::Simd;
use evprop::network::Params;
use evprop::record::{Readout, ReadoutRequest, Record};
use evprop::simulate::{Settings, replay as core_replay, simulate as core_simulate};
use numpy::{IntoPyArray, PyArrayMethods};
use pyo3::prelude::*;

use crate::arrays::{Array, Scalar, Spikes, parameters, spike_list};
use crate::cuda::{SizesGiven, sizes};
use crate::enter::enter;
use crate::errors::{bad_dtype, named, raise};
use crate::network::CoreNetwork;
use crate::record::{CoreRecord, Either, Kept, ask, either, out_of_range};

pub(crate) fn request(
    network: &evprop::network::Network,
    pop: usize,
    spec: &Bound<'_, PyAny>,
) -> PyResult<ReadoutRequest> {
    let py = spec.py();
    let kind: String = spec.get_item(0)?.extract()?;
    let readout = match kind.as_str() {
        "integral" => Readout::Integral { normalise: spec.get_item(1)?.extract()? },
        "weighted_integral" => {
            Readout::WeightedIntegral { tau: spec.get_item(1)?.extract()?, normalise: spec.get_item(2)?.extract()? }
        }
        "linear_integral" => Readout::LinearIntegral { normalise: spec.get_item(1)?.extract()? },
        "sigmoid_integral" => Readout::SigmoidIntegral {
            centre: spec.get_item(1)?.extract()?,
            width: spec.get_item(2)?.extract()?,
            normalise: spec.get_item(3)?.extract()?,
        },
        "max" => Readout::Max,
        "final" => Readout::Final,
        "sampled" => {
            let times = spec.get_item(1)?;
            Readout::Sampled(Array::<f64>::new(&times, "times", "float64")?.slice().to_vec())
        }
        other => return Err(named(py, "ParameterError", &format!("unknown readout '{other}'"))),
    };
    if pop >= network.populations().len() {
        return Err(out_of_range(py, "population", pop));
    }
    Ok(ReadoutRequest { population: pop, readout })
}

/// All of them.
pub(crate) fn requests(
    network: &evprop::network::Network,
    given: &[(usize, Bound<'_, PyAny>)],
) -> PyResult<Vec<ReadoutRequest>> {
    given.iter().map(|(pop, spec)| request(network, *pop, spec)).collect()
}

/// Spikes and readouts of a batch; by CUDA device `ordinal`, if it is given.
#[pyfunction]
#[pyo3(signature = (core, params, inputs, duration, readouts, dtype, max_spikes, stop_when_fired=None, ordinal=None, given=(None, None, None, None, None, None)))]
#[allow(clippy::too_many_arguments)]
pub fn simulate(
    py: Python<'_>,
    core: &CoreNetwork,
    params: Vec<Bound<'_, PyAny>>,
    inputs: Vec<Bound<'_, PyAny>>,
    duration: f64,
    readouts: Vec<(usize, Bound<'_, PyAny>)>,
    dtype: &str,
    max_spikes: usize,
    stop_when_fired: Option<usize>,
    ordinal: Option<usize>,
    given: SizesGiven,
) -> PyResult<CoreRecord> {
    let inputs = spike_list(&inputs)?;
    let network = &core.network;
    let gpu = ordinal.map(|ordinal| (ordinal, sizes(given)));
    let requests = requests(network, &readouts)?;
    let settings = Settings { duration, max_spikes, eventwise_only: false, stop_when_fired, simd: Simd::detect() };
    let record = match dtype {
        "float64" => Either::Double(run(py, core, &params, &inputs, &requests, &settings, gpu)?),
        "float32" => Either::Single(run(py, core, &params, &inputs, &requests, &settings, gpu)?),
        other => return Err(bad_dtype(py, other)),
    };
    Ok(CoreRecord::from(record))
}

fn run<T: Scalar>(
    py: Python<'_>,
    core: &CoreNetwork,
    params: &[Bound<'_, PyAny>],
    inputs: &[Spikes<'_>],
    requests: &[ReadoutRequest],
    settings: &Settings,
    gpu: Option<(usize, Sizes)>,
) -> PyResult<Kept<T>> {
    let network = &core.network;
    let arrays = parameters::<T>(network, params)?;
    let slots = arrays.iter().map(Array::slice).collect();
    let params = Params::new(network, slots).map_err(|e| raise(py, &e))?;
    let inputs = inputs.iter().map(|s| s.batch(py)).collect::<PyResult<Vec<_>>>()?;
    enter(py, |cancel| match gpu {
        None => core_simulate(cancel, network, &params, &inputs, requests, settings).map(Kept::Host),
        Some((ordinal, sizes)) => {
            let device = Device::open(ordinal)?;
            cuda::simulate(cancel, &device, network, &params, &inputs, requests, settings, &sizes)
                .map(|kept| Kept::Device(kept.into()))
        }
    })
}

/// A record made from observed spikes; currents are replayed with the given parameters.
#[pyfunction]
pub fn replay(
    py: Python<'_>,
    core: &CoreNetwork,
    params: Vec<Bound<'_, PyAny>>,
    inputs: Vec<Bound<'_, PyAny>>,
    observed: Vec<Option<Bound<'_, PyAny>>>,
    duration: f64,
    dtype: &str,
) -> PyResult<CoreRecord> {
    let inputs = spike_list(&inputs)?;
    let observed = observed.iter().map(|o| o.as_ref().map(Spikes::new).transpose()).collect::<PyResult<Vec<_>>>()?;
    if observed.len() != core.network.populations().len() {
        return Err(named(py, "RecordError", "observed needs one entry a population"));
    }
    let record = match dtype {
        "float64" => Either::Double(run_replay(py, core, &params, &inputs, &observed, duration)?.into()),
        "float32" => Either::Single(run_replay(py, core, &params, &inputs, &observed, duration)?.into()),
        other => return Err(bad_dtype(py, other)),
    };
    Ok(CoreRecord::from(record))
}

fn run_replay<T: Scalar>(
    py: Python<'_>,
    core: &CoreNetwork,
    params: &[Bound<'_, PyAny>],
    inputs: &[Spikes<'_>],
    observed: &[Option<Spikes<'_>>],
    duration: f64,
) -> PyResult<Record<T>> {
    let network = &core.network;
    let arrays = parameters::<T>(network, params)?;
    let params = Params::new(network, arrays.iter().map(Array::slice).collect()).map_err(|e| raise(py, &e))?;
    let inputs = inputs.iter().map(|s| s.batch(py)).collect::<PyResult<Vec<_>>>()?;
    let observed =
        observed.iter().map(|o| o.as_ref().map(|s| s.batch(py)).transpose()).collect::<PyResult<Vec<_>>>()?;
    enter(py, |cancel| core_replay::from_spikes(cancel, network, &params, &inputs, &observed, duration))
}

/// Voltage and current of a population at `times` in the record's only sample: two arrays `(times, n)`.
#[pyfunction]
#[allow(clippy::too_many_arguments)]
pub fn trace<'py>(
    py: Python<'py>,
    core: &CoreNetwork,
    params: Vec<Bound<'py, PyAny>>,
    inputs: Vec<Bound<'py, PyAny>>,
    duration: f64,
    record: &CoreRecord,
    pop: usize,
    times: &Bound<'py, PyAny>,
) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
    let inputs = spike_list(&inputs)?;
    let times = Array::<f64>::new(times, "times", "float64")?;
    Readout::Sampled(times.slice().to_vec()).check(duration).map_err(|e| raise(py, &e))?;
    if pop >= core.network.populations().len() {
        return Err(out_of_range(py, "population", pop));
    }
    either!(record, r => run_trace(py, core, &params, &inputs, r, pop, times.slice()))
}

fn run_trace<'py, T: Scalar>(
    py: Python<'py>,
    core: &CoreNetwork,
    params: &[Bound<'py, PyAny>],
    inputs: &[Spikes<'py>],
    record: &Kept<T>,
    pop: usize,
    times: &[f64],
) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
    let record = ask(py, record, Kept::whole)?;
    let network = &core.network;
    let arrays = parameters::<T>(network, params)?;
    let params = Params::new(network, arrays.iter().map(Array::slice).collect()).map_err(|e| raise(py, &e))?;
    let inputs = inputs.iter().map(|s| s.batch(py)).collect::<PyResult<Vec<_>>>()?;
    if record.batch != 1 || inputs.iter().any(|input| input.len() != 1) {
        return Err(named(py, "RecordError", &format!("trace looks at one sample; {} were given", record.batch)));
    }
    let (v, i) = core_replay::trace(network, &params, &inputs, &record, 0, pop, times);
    let n = network.populations()[pop].size;
    let shape = [times.len(), n];
    Ok((v.into_pyarray(py).reshape(shape)?.into_any(), i.into_pyarray(py).reshape(shape)?.into_any()))
}
