//! `cuda_simulate` and `cuda_device`: the exact simulator on a GPU.
use evprop::cuda::{self, Device, Sizes};
use evprop::math::Simd;
use evprop::network::Params;
use evprop::record::{ReadoutRequest, Record};
use evprop::simulate::Settings;
use pyo3::prelude::*;

use crate::arrays::{Array, Scalar, Spikes, parameters, spike_list};
use crate::enter::enter;
use crate::errors::raise;
use crate::network::CoreNetwork;
use crate::simulate::{CoreRecord, Either, bad_dtype, request};

/// How launches are cut: threads of a block, window (ms), room for spikes and arrivals, samples at a time: `None` chooses.
pub type SizesGiven = (Option<u32>, Option<f64>, Option<usize>, Option<usize>, Option<usize>);

/// As the core takes them.
pub fn sizes((threads, window, spikes, arrivals, slots): SizesGiven) -> Sizes {
    Sizes { threads, window, spikes, arrivals, slots }
}

/// What device `ordinal` is; raises `DeviceError` where it cannot be used.
#[pyfunction]
pub fn cuda_device(py: Python<'_>, ordinal: usize) -> PyResult<String> {
    enter(py, |_| Ok(Device::open(ordinal)?.describe()))
}

/// Spikes and readouts of a batch, by device `ordinal`.
#[pyfunction]
#[pyo3(signature = (core, params, inputs, duration, readouts, dtype, max_spikes, stop_when_fired, ordinal, given=(None, None, None, None, None)))]
#[allow(clippy::too_many_arguments)]
pub fn cuda_simulate(
    py: Python<'_>,
    core: &CoreNetwork,
    params: Vec<Bound<'_, PyAny>>,
    inputs: Vec<Bound<'_, PyAny>>,
    duration: f64,
    readouts: Vec<(usize, Bound<'_, PyAny>)>,
    dtype: &str,
    max_spikes: usize,
    stop_when_fired: Option<usize>,
    ordinal: usize,
    given: SizesGiven,
) -> PyResult<CoreRecord> {
    let inputs = spike_list(&inputs)?;
    let network = &core.network;
    let requests = readouts.iter().map(|(pop, spec)| request(network, *pop, spec)).collect::<PyResult<Vec<_>>>()?;
    let settings = Settings { duration, max_spikes, eventwise_only: false, stop_when_fired, simd: Simd::detect() };
    let call = Call { core, params: &params, inputs: &inputs, requests: &requests, settings, sizes: sizes(given) };
    let record = match dtype {
        "float64" => Either::Double(call.run(py, ordinal)?),
        "float32" => Either::Single(call.run(py, ordinal)?),
        other => return Err(bad_dtype(py, other)),
    };
    Ok(CoreRecord { record })
}

struct Call<'a, 'py> {
    core: &'a CoreNetwork,
    params: &'a [Bound<'py, PyAny>],
    inputs: &'a [Spikes<'py>],
    requests: &'a [ReadoutRequest],
    settings: Settings,
    sizes: Sizes,
}

impl Call<'_, '_> {
    fn run<T: Scalar>(&self, py: Python<'_>, ordinal: usize) -> PyResult<Record<T>> {
        let network = &self.core.network;
        let arrays = parameters::<T>(network, self.params)?;
        let params = Params::new(network, arrays.iter().map(Array::slice).collect()).map_err(|e| raise(py, &e))?;
        let inputs = self.inputs.iter().map(|s| s.batch(py)).collect::<PyResult<Vec<_>>>()?;
        let Self { requests, settings, sizes, .. } = self;
        enter(py, |cancel| {
            let device = Device::open(ordinal)?;
            cuda::simulate(cancel, &device, network, &params, &inputs, requests, settings, sizes)
        })
    }
}
