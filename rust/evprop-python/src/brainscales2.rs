//! The model of BrainScaleS-2.
use evprop::hardware::brainscales2::adc::Adc;
use evprop::hardware::brainscales2::link::{Link, Traffic};
use evprop::hardware::brainscales2::{Settings, simulate};
use evprop::network::Params;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::arrays::{Array, parameters, spike_list};
use crate::enter::enter;
use crate::errors::{named, raise};
use crate::network::CoreNetwork;
use crate::record::{CoreRecord, Either};
use crate::simulate::request;

type LinkGiven = (f64, Option<u32>);

/// Trials on the chip: the record of what the host sees, and what happened on the way.
#[pyfunction]
#[allow(clippy::too_many_arguments)]
pub fn brainscales2<'py>(
    py: Python<'py>,
    core: &CoreNetwork,
    nominal: Vec<Bound<'py, PyAny>>,
    effective: Vec<Bound<'py, PyAny>>,
    inputs: Vec<Bound<'py, PyAny>>,
    duration: f64,
    readouts: Vec<(usize, Bound<'py, PyAny>)>,
    max_spikes: usize,
    threshold_noise: Vec<Option<Bound<'py, PyAny>>>,
    packets: Vec<u32>,
    settings: &Bound<'py, PyDict>,
) -> PyResult<(CoreRecord, Bound<'py, PyDict>)> {
    let network = &core.network;
    let inputs = spike_list(&inputs)?;
    let requests = readouts.iter().map(|(pop, spec)| request(network, *pop, spec)).collect::<PyResult<Vec<_>>>()?;
    let noise = threshold_noise.iter().map(noise_of).collect::<PyResult<Vec<_>>>()?;
    if noise.len() != network.populations().len() || packets.len() != noise.len() {
        return Err(named(py, "ParameterError", "threshold_noise and packets need one entry a population"));
    }
    let settings = Settings {
        duration,
        max_spikes,
        noise_key: get(settings, "noise_key")?,
        threshold_noise: noise,
        spike_jitter: get(settings, "spike_jitter")?,
        delay_jitter: get(settings, "delay_jitter")?,
        membrane: get(settings, "membrane")?,
        input_link: link(settings, "input_link")?,
        output_link: link(settings, "output_link")?,
        packets,
        time_stamp: get(settings, "time_stamp")?,
        adc: get::<Option<(f64, f64, f64, f64)>>(settings, "adc")?.map(|(period, scale, offset, top)| Adc {
            period,
            scale,
            offset,
            top,
        }),
    };
    let nominal = parameters::<f64>(network, &nominal)?;
    let effective = parameters::<f64>(network, &effective)?;
    let nominal = Params::new(network, nominal.iter().map(Array::slice).collect()).map_err(|e| raise(py, &e))?;
    let effective = Params::new(network, effective.iter().map(Array::slice).collect()).map_err(|e| raise(py, &e))?;
    let inputs = inputs.iter().map(|s| s.batch(py)).collect::<PyResult<Vec<_>>>()?;
    let (record, counts) =
        enter(py, |cancel| simulate(cancel, network, &nominal, &effective, &inputs, &requests, &settings))?;
    let report = PyDict::new(py);
    report.set_item("input", traffic(&counts.input))?;
    report.set_item("output", traffic(&counts.output))?;
    report.set_item("early", counts.early)?;
    report.set_item("after_end", counts.after_end)?;
    Ok((Either::Double(record.into()).into(), report))
}

fn get<'py, T: for<'a> FromPyObject<'a, 'py>>(settings: &Bound<'py, PyDict>, name: &str) -> PyResult<T> {
    let value = settings.get_item(name)?;
    let value = value.ok_or_else(|| named(settings.py(), "ParameterError", &format!("settings lack '{name}'")))?;
    value.extract().map_err(Into::into)
}

fn link(settings: &Bound<'_, PyDict>, name: &str) -> PyResult<Link> {
    let (interval, room) = get::<LinkGiven>(settings, name)?;
    Ok(Link { interval, room })
}

fn noise_of(given: &Option<Bound<'_, PyAny>>) -> PyResult<Vec<f64>> {
    let array = given.as_ref().map(|a| Array::<f64>::new(a, "threshold_noise", "float64")).transpose()?;
    Ok(array.map_or_else(Vec::new, |a| a.slice().to_vec()))
}

fn traffic(t: &Traffic) -> (u64, u64, u64, f64) {
    (t.events, t.late, t.lost, t.longest_wait)
}
