//! `CoreTraining`: parameters and moments that stay on a GPU.
use std::sync::{Mutex, MutexGuard, PoisonError};

use evprop::adjoint::Request;
use evprop::cuda::{self, Device, Training};
use evprop::math::Simd;
use evprop::network::Params;
use evprop::optim::Rule;
use evprop::simulate::Settings;
use numpy::IntoPyArray;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::adjoint::{cotangents, told};
use crate::arrays::{Array, Scalar, parameters, spike_list};
use crate::enter::enter;
use crate::errors::{bad_dtype, named, raise};
use crate::network::CoreNetwork;
use crate::record::{CoreRecord, Either, Kept};
use crate::simulate::requests;

enum Held {
    Double(Mutex<Training<f64>>),
    Single(Mutex<Training<f32>>),
}

/// A network's parameters and an optimiser's moments in the memory of a GPU.
#[pyclass(frozen, module = "evprop._core")]
pub struct CoreTraining {
    held: Held,
}

/// Runs the same expression on either.
macro_rules! held {
    ($self:expr, $training:ident => $body:expr) => {
        match &$self.held {
            Held::Double($training) => $body,
            Held::Single($training) => $body,
        }
    };
}

fn locked<T>(training: &Mutex<T>) -> MutexGuard<'_, T> {
    training.lock().unwrap_or_else(PoisonError::into_inner)
}

/// slot, other slot, from above, limit
type BoundGiven = (usize, Option<usize>, bool, f64);

fn make<T: Scalar>(
    py: Python<'_>,
    core: &CoreNetwork,
    params: &[Bound<'_, PyAny>],
    wrt: &[bool],
    moments: &[Bound<'_, PyAny>],
    ordinal: usize,
) -> PyResult<Mutex<Training<T>>> {
    let network = &core.network;
    let arrays = parameters::<T>(network, params)?;
    let params = Params::new(network, arrays.iter().map(Array::slice).collect()).map_err(|e| raise(py, &e))?;
    let moments = moments.iter().map(|m| Array::<T>::new(m, "moment", T::NAME)).collect::<PyResult<Vec<_>>>()?;
    let moments: Vec<_> = moments.iter().map(Array::slice).collect();
    let made = enter(py, |_| Training::new(&Device::open(ordinal)?, network, &params, wrt, &moments))?;
    Ok(Mutex::new(made))
}

#[pymethods]
impl CoreTraining {
    #[new]
    fn new(
        py: Python<'_>,
        core: &CoreNetwork,
        params: Vec<Bound<'_, PyAny>>,
        dtype: &str,
        wrt: Vec<bool>,
        moments: Vec<Bound<'_, PyAny>>,
        ordinal: usize,
    ) -> PyResult<Self> {
        let held = match dtype {
            "float64" => Held::Double(make(py, core, &params, &wrt, &moments, ordinal)?),
            "float32" => Held::Single(make(py, core, &params, &wrt, &moments, ordinal)?),
            other => return Err(bad_dtype(py, other)),
        };
        Ok(Self { held })
    }

    /// Spikes and readouts of a batch with the parameters as they are.
    #[allow(clippy::too_many_arguments)]
    fn simulate(
        &self,
        py: Python<'_>,
        core: &CoreNetwork,
        inputs: Vec<Bound<'_, PyAny>>,
        duration: f64,
        readouts: Vec<(usize, Bound<'_, PyAny>)>,
        max_spikes: usize,
        stop_when_fired: Option<usize>,
    ) -> PyResult<CoreRecord> {
        let inputs = spike_list(&inputs)?;
        let inputs = inputs.iter().map(|s| s.batch(py)).collect::<PyResult<Vec<_>>>()?;
        let settings = Settings { duration, max_spikes, eventwise_only: false, stop_when_fired, simd: Simd::detect() };
        let network = &core.network;
        let requests = requests(network, &readouts)?;
        let record = match &self.held {
            Held::Double(t) => {
                let play = |c: &_| locked(t).simulate(c, network, &inputs, &requests, &settings);
                Either::Double(Kept::Device(enter(py, play)?.into()))
            }
            Held::Single(t) => {
                let play = |c: &_| locked(t).simulate(c, network, &inputs, &requests, &settings);
                Either::Single(Kept::Device(enter(py, play)?.into()))
            }
        };
        Ok(CoreRecord::from(record))
    }

    /// Takes the gradients of a record's batch times `scale`, for the next step; tells how sound they are.
    #[allow(clippy::too_many_arguments)]
    fn take_gradient<'py>(
        &self,
        py: Python<'py>,
        core: &CoreNetwork,
        record: &CoreRecord,
        spike_cotangents: Vec<Option<Bound<'py, PyAny>>>,
        readout_cotangents: Vec<Option<Bound<'py, PyAny>>>,
        scale: f64,
        max_dw_norm: Option<f64>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let (times, values) = (cotangents(&spike_cotangents)?, cotangents(&readout_cotangents)?);
        let times: Vec<_> = times.iter().map(|a| a.as_ref().map(Array::slice)).collect();
        let values: Vec<_> = values.iter().map(|a| a.as_ref().map(Array::slice)).collect();
        let request = Request {
            spike_times: &times,
            readouts: &values,
            wrt: &[],
            input_times: false,
            scale,
            max_dw_norm,
            min_vdot: None,
        };
        let network = &core.network;
        let found = match (&self.held, &record.record) {
            (Held::Double(t), Either::Double(Kept::Device(record))) => {
                enter(py, |c| locked(t).take_gradient(c, network, record, &request))?
            }
            (Held::Single(t), Either::Single(Kept::Device(record))) => {
                enter(py, |c| locked(t).take_gradient(c, network, record, &request))?
            }
            _ => return Err(named(py, "RecordError", "the record was not made with these parameters")),
        };
        told(py, found)
    }

    /// Adds to the gradient of a parameter.
    fn add_gradient(&self, py: Python<'_>, slot: usize, more: &Bound<'_, PyAny>) -> PyResult<()> {
        held!(self, t => add(py, t, slot, more))
    }

    /// The gradient, parameter after parameter.
    fn gradient<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        held!(self, t => Ok(enter(py, |_| locked(t).gradient())?.into_pyarray(py).into_any()))
    }

    /// The norm of the gradient.
    fn norm(&self, py: Python<'_>) -> PyResult<f64> {
        held!(self, t => enter(py, |_| locked(t).norm()))
    }

    /// A step with momentum.
    #[allow(clippy::too_many_arguments)]
    fn step_sgd(
        &self,
        py: Python<'_>,
        core: &CoreNetwork,
        momentum: f64,
        nesterov: bool,
        scale: f64,
        rates: Vec<(f64, f64)>,
        bounds: Vec<BoundGiven>,
    ) -> PyResult<()> {
        self.step(py, core, Rule::Sgd { momentum, nesterov }, scale, &rates, bounds)
    }

    /// A step of Adam.
    #[allow(clippy::too_many_arguments)]
    fn step_adam(
        &self,
        py: Python<'_>,
        core: &CoreNetwork,
        betas: (f64, f64),
        unbias: (f64, f64),
        eps: f64,
        scale: f64,
        rates: Vec<(f64, f64)>,
        bounds: Vec<BoundGiven>,
    ) -> PyResult<()> {
        self.step(py, core, Rule::Adam { betas, unbias, eps }, scale, &rates, bounds)
    }

    /// The values of a parameter, flat.
    fn parameter<'py>(&self, py: Python<'py>, slot: usize) -> PyResult<Bound<'py, PyAny>> {
        held!(self, t => Ok(enter(py, |_| locked(t).parameter(slot))?.into_pyarray(py).into_any()))
    }

    /// A moment, parameter after parameter.
    fn moment<'py>(&self, py: Python<'py>, k: usize) -> PyResult<Bound<'py, PyAny>> {
        held!(self, t => Ok(enter(py, |_| locked(t).moment(k))?.into_pyarray(py).into_any()))
    }
}

impl CoreTraining {
    fn step(
        &self,
        py: Python<'_>,
        core: &CoreNetwork,
        rule: Rule,
        scale: f64,
        rates: &[(f64, f64)],
        bounds: Vec<BoundGiven>,
    ) -> PyResult<()> {
        let bound = |(slot, other, from_above, limit)| cuda::Bound { slot, other, from_above, limit };
        let bounds: Vec<_> = bounds.into_iter().map(bound).collect();
        held!(self, t => enter(py, |_| locked(t).step(&core.network, rule, scale, rates, &bounds)))
    }
}

fn add<T: Scalar>(py: Python<'_>, held: &Mutex<Training<T>>, slot: usize, more: &Bound<'_, PyAny>) -> PyResult<()> {
    let more = Array::<T>::new(more, "gradient", T::NAME)?;
    let more = more.slice();
    enter(py, |_| locked(held).add_gradient(slot, more))
}
