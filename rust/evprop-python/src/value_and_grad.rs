//! `value_and_grad`: the forward pass, a loss of first spikes and the backward pass of a batch in one call, for nets so small
//! that what lies between the calls counts.
use evprop::adjoint::{Request, backward};
use evprop::loss::labelled::Told;
use evprop::math::Simd;
use evprop::network::Params;
use evprop::record::Record;
use evprop::simulate::{Settings, simulate};
use numpy::{IntoPyArray, PyArray1};
use pyo3::prelude::*;

use crate::adjoint::{Outcome, handed_out};
use crate::arrays::{Array, Scalar, Spikes, fingerprint_of, parameters, spike_list};
use crate::enter::enter;
use crate::errors::{bad_dtype, named, raise};
use crate::losses::{CoreLoss, labels};
use crate::network::CoreNetwork;
use crate::record::{CoreRecord, Either, Kept};

/// Spikes, and (sample, neuron) pairs with a spike, of every population.
type Activity = Vec<(usize, usize)>;
/// Record, loss of each sample, correct samples, activity, gradients.
type Step<'py> = (CoreRecord, Bound<'py, PyArray1<f64>>, usize, Activity, Outcome<'py>);

struct Asked<'a, 'py> {
    core: &'a CoreNetwork,
    params: &'a [Bound<'py, PyAny>],
    inputs: &'a [Spikes<'py>],
    labels: &'a Bound<'py, PyAny>,
    loss: &'a CoreLoss,
    settings: &'a Settings,
    wrt: &'a [bool],
    input_times: bool,
    max_dw_norm: Option<f64>,
}

/// Gradients of the mean loss over the batch, and all that is told of the batch on the way.
#[pyfunction]
#[allow(clippy::too_many_arguments)]
pub fn value_and_grad<'py>(
    py: Python<'py>,
    core: &CoreNetwork,
    params: Vec<Bound<'py, PyAny>>,
    inputs: Vec<Bound<'py, PyAny>>,
    labels: &Bound<'py, PyAny>,
    loss: &CoreLoss,
    duration: f64,
    dtype: &str,
    max_spikes: usize,
    stop_when_fired: Option<usize>,
    wrt: Vec<bool>,
    input_times: bool,
    max_dw_norm: Option<f64>,
) -> PyResult<Step<'py>> {
    let network = &core.network;
    if wrt.len() != network.layout().len() || loss.population >= network.populations().len() {
        return Err(named(py, "RecordError", "wrt or the loss are those of another network"));
    }
    let inputs = &spike_list(&inputs)?;
    let settings = &Settings { duration, max_spikes, eventwise_only: false, stop_when_fired, simd: Simd::detect() };
    let (params, wrt) = (&params, &wrt);
    let asked = Asked { core, params, inputs, labels, loss, settings, wrt, input_times, max_dw_norm };
    match dtype {
        "float64" => run::<f64>(py, &asked, Either::Double),
        "float32" => run::<f32>(py, &asked, Either::Single),
        other => Err(bad_dtype(py, other)),
    }
}

fn run<'py, T: Scalar>(
    py: Python<'py>,
    asked: &Asked<'_, 'py>,
    either: impl FnOnce(Kept<T>) -> Either,
) -> PyResult<Step<'py>> {
    let Asked { core, settings, wrt, input_times, max_dw_norm, .. } = *asked;
    let (network, loss) = (&core.network, asked.loss.loss);
    let arrays = parameters::<T>(network, asked.params)?;
    let params = Params::new(network, arrays.iter().map(Array::slice).collect()).map_err(|e| raise(py, &e))?;
    let inputs = asked.inputs.iter().map(|s| s.batch(py)).collect::<PyResult<Vec<_>>>()?;
    let batch = inputs.first().map_or(0, evprop::spikes::SpikeBatch::len);
    let (at, n) = (asked.loss.population, network.populations()[asked.loss.population].size);
    let labels = labels(asked.labels, batch, n)?;
    let work = |cancel: &_| {
        let record = simulate(cancel, network, &params, &inputs, &[], settings)?;
        let output = &record.populations[at];
        let told = loss.batch((0..batch).map(|b| output.train(b)), n, &labels);
        let mut spike_times = vec![None; network.populations().len()];
        spike_times[at] = Some(told.dtimes.as_slice());
        let scale = 1.0 / batch as f64;
        let spike_times = &spike_times;
        let request = Request { spike_times, readouts: &[], wrt, input_times, scale, max_dw_norm, min_vdot: None };
        let found = backward(cancel, settings.simd, network, &params, &inputs, &record, &request)?;
        Ok((activity(network, &record), record, told, found))
    };
    let (activity, record, Told { values, correct, .. }, (gradients, times)) = enter(py, work)?;
    let outcome = handed_out(py, network, wrt, gradients, input_times.then_some(times))?;
    let record = CoreRecord { record: either(record.into()), fingerprint: Some(fingerprint_of(&arrays)) };
    Ok((record, values.into_pyarray(py), correct, activity, outcome))
}

fn activity<T: Scalar>(network: &evprop::network::Network, record: &Record<T>) -> Activity {
    let of = |(population, found): (&evprop::network::Population, &evprop::record::PopulationRecord<T>)| {
        (found.times.len(), if found.times.is_empty() { 0 } else { found.fired(population.size) })
    };
    network.populations().iter().zip(&record.populations).map(of).collect()
}
