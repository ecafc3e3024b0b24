//! `backward`: cotangents in, gradients out.
use evprop::adjoint::{Gradients, Request, backward as core_backward};
use evprop::cuda::{self, Health, Sizes};
use evprop::math::{Lines, Simd};
use evprop::network::Params;
use numpy::{IntoPyArray, PyArray1, PyArrayMethods};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::arrays::{Array, Scalar, Spikes, parameters, spike_list};
use crate::cuda::{SizesGiven, sizes};
use crate::enter::enter;
use crate::errors::{named, raise};
use crate::network::CoreNetwork;
use crate::record::{CoreRecord, Kept, either};

/// Gradients by slot, those of input times, and how sound they are.
pub type Outcome<'py> = (Vec<Option<Bound<'py, PyAny>>>, Option<Vec<Bound<'py, PyArray1<f64>>>>, Bound<'py, PyDict>);

struct Asked<'py> {
    spike_times: Vec<Option<Array<'py, f64>>>,
    readouts: Vec<Option<Array<'py, f64>>>,
    wrt: Vec<bool>,
    input_times: bool,
    scale: f64,
    max_dw_norm: Option<f64>,
    min_vdot: Option<f64>,
    sizes: Sizes,
}

/// Gradients, summed over the batch and multiplied by `scale`; on the device that the record lies on.
#[pyfunction]
#[pyo3(signature = (core, params, inputs, record, spike_cotangents, readout_cotangents, wrt, input_times, scale, max_dw_norm, min_vdot, given=(None, None, None, None, None, None)))]
#[allow(clippy::too_many_arguments)]
pub fn backward<'py>(
    py: Python<'py>,
    core: &CoreNetwork,
    params: Vec<Bound<'py, PyAny>>,
    inputs: Vec<Bound<'py, PyAny>>,
    record: &CoreRecord,
    spike_cotangents: Vec<Option<Bound<'py, PyAny>>>,
    readout_cotangents: Vec<Option<Bound<'py, PyAny>>>,
    wrt: Vec<bool>,
    input_times: bool,
    scale: f64,
    max_dw_norm: Option<f64>,
    min_vdot: Option<f64>,
    given: SizesGiven,
) -> PyResult<Outcome<'py>> {
    let asked = Asked {
        spike_times: cotangents(&spike_cotangents)?,
        readouts: cotangents(&readout_cotangents)?,
        wrt,
        input_times,
        scale,
        max_dw_norm,
        min_vdot,
        sizes: sizes(given),
    };
    let inputs = spike_list(&inputs)?;
    either!(record, r => run(py, core, &params, &inputs, r, &asked))
}

fn run<'py, T: Scalar>(
    py: Python<'py>,
    core: &CoreNetwork,
    params: &[Bound<'py, PyAny>],
    inputs: &[Spikes<'py>],
    record: &Kept<T>,
    asked: &Asked<'py>,
) -> PyResult<Outcome<'py>> {
    let network = &core.network;
    let lengths = [
        ("spike_cotangents", asked.spike_times.len(), network.populations().len()),
        ("readout_cotangents", asked.readouts.len(), record.requests().len()),
        ("wrt", asked.wrt.len(), network.layout().len()),
    ];
    for (name, given, needed) in lengths {
        if given != needed {
            return Err(named(py, "RecordError", &format!("{name} has {given} entries, {needed} are needed")));
        }
    }
    let arrays = parameters::<T>(network, params)?;
    let params = Params::new(network, arrays.iter().map(Array::slice).collect()).map_err(|e| raise(py, &e))?;
    let inputs = inputs.iter().map(|s| s.batch(py)).collect::<PyResult<Vec<_>>>()?;
    let spike_times: Vec<_> = asked.spike_times.iter().map(|a| a.as_ref().map(Array::slice)).collect();
    let readouts: Vec<_> = asked.readouts.iter().map(|a| a.as_ref().map(Array::slice)).collect();
    let request = Request {
        spike_times: &spike_times,
        readouts: &readouts,
        wrt: &asked.wrt,
        input_times: asked.input_times,
        scale: asked.scale,
        max_dw_norm: asked.max_dw_norm,
        min_vdot: asked.min_vdot,
    };
    let simd = Simd::detect();
    let sizes = asked.sizes;
    let (gradients, times) = enter(py, |cancel| match record {
        Kept::Host(record) => core_backward(cancel, simd, network, &params, &inputs, record, &request),
        Kept::Device(record) => cuda::backward(cancel, network, record, &request, &sizes),
    })?;
    handed_out(py, network, &asked.wrt, gradients, asked.input_times.then_some(times))
}

/// Gradients as arrays, those asked for.
pub fn handed_out<'py, T: Scalar>(
    py: Python<'py>,
    network: &evprop::network::Network,
    wrt: &[bool],
    gradients: Gradients<T>,
    times: Option<Vec<Vec<f64>>>,
) -> PyResult<Outcome<'py>> {
    let Gradients { min_vdot, dropped, floored, .. } = gradients;
    let health = told(py, Health { min_vdot, dropped, floored })?;
    let array = |(k, slot): (usize, Lines<T>)| {
        if !wrt[k] {
            return Ok(None);
        }
        let shape = network.layout()[k].shape.clone();
        Ok(Some(slot.into_vec().into_pyarray(py).reshape(shape)?.into_any()))
    };
    let slots = gradients.slots.into_iter().enumerate().map(array).collect::<PyResult<Vec<_>>>()?;
    Ok((slots, times.map(|times| times.into_iter().map(|t| t.into_pyarray(py)).collect()), health))
}

/// Cotangents as they are given: by population or by readout.
pub fn cotangents<'py>(given: &[Option<Bound<'py, PyAny>>]) -> PyResult<Vec<Option<Array<'py, f64>>>> {
    let one = |o: &Option<Bound<'py, PyAny>>| o.as_ref().map(|a| Array::new(a, "cotangent", "float64")).transpose();
    given.iter().map(one).collect()
}

/// How sound gradients are, as a dict.
pub fn told(py: Python<'_>, health: Health) -> PyResult<Bound<'_, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("min_vdot", health.min_vdot)?;
    dict.set_item("dropped", health.dropped)?;
    dict.set_item("floored", health.floored)?;
    Ok(dict)
}
