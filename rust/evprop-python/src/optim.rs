//! `optimiser_step`: parameters, gradients and moments of an optimiser, in one call.
use evprop::math::Simd;
use evprop::optim::{Rule, Slot, norm, step};
use numpy::{PyArrayDyn, PyArrayMethods, PyReadwriteArrayDyn, PyUntypedArrayMethods};
use pyo3::prelude::*;

use crate::arrays::{Array, Scalar};
use crate::errors::named;

/// momentum, nesterov
type Sgd = (f64, bool);
/// betas, `1 / (1 - beta^t)` of both, eps
type Adam = ((f64, f64), (f64, f64), f64);

/// One step downhill, in place: values, their gradients, (rate, decay) of each, and the moments of all end to end. Gives the
/// norm of the gradient before it was clipped to `clip_norm`; `None`, and no step, where the gradient is not finite.
#[pyfunction]
#[pyo3(signature = (dtype, values, gradients, rates, moments, clip_norm, sgd=None, adam=None))]
#[allow(clippy::too_many_arguments)]
pub fn optimiser_step(
    py: Python<'_>,
    dtype: &str,
    values: Vec<Bound<'_, PyAny>>,
    gradients: Vec<Bound<'_, PyAny>>,
    rates: Vec<(f64, f64)>,
    moments: Vec<Bound<'_, PyAny>>,
    clip_norm: Option<f64>,
    sgd: Option<Sgd>,
    adam: Option<Adam>,
) -> PyResult<Option<f64>> {
    let rule = match (sgd, adam) {
        (Some((momentum, nesterov)), None) => Rule::Sgd { momentum, nesterov },
        (None, Some((betas, unbias, eps))) => Rule::Adam { betas, unbias, eps },
        _ => return Err(named(py, "ConfigError", "one rule is needed: sgd or adam")),
    };
    match dtype {
        "float64" => run::<f64>(py, rule, &values, &gradients, &rates, &moments, clip_norm),
        "float32" => run::<f32>(py, rule, &values, &gradients, &rates, &moments, clip_norm),
        other => Err(crate::errors::bad_dtype(py, other)),
    }
}

fn run<T: Scalar>(
    py: Python<'_>,
    rule: Rule,
    values: &[Bound<'_, PyAny>],
    gradients: &[Bound<'_, PyAny>],
    rates: &[(f64, f64)],
    moments: &[Bound<'_, PyAny>],
    clip_norm: Option<f64>,
) -> PyResult<Option<f64>> {
    let wrong = |what: &str| named(py, "ShapeError", what);
    let gradients = gradients.iter().map(|g| Array::<T>::new(g, "gradient", T::NAME)).collect::<PyResult<Vec<_>>>()?;
    let mut values = values.iter().map(|v| changed::<T>(v, "parameter")).collect::<PyResult<Vec<_>>>()?;
    let mut moments = moments.iter().map(|m| changed::<T>(m, "moment")).collect::<PyResult<Vec<_>>>()?;
    if values.len() != gradients.len() || values.len() != rates.len() {
        return Err(wrong("each parameter needs a gradient and rates"));
    }
    let mut slots = Vec::with_capacity(values.len());
    for ((values, gradient), &(rate, decay)) in values.iter_mut().zip(&gradients).zip(rates) {
        if values.shape() != gradient.shape() {
            let (given, needed) = (gradient.shape(), values.shape());
            return Err(wrong(&format!("a gradient has shape {given:?}, but the parameter has {needed:?}")));
        }
        let (values, gradient) = (values.as_slice_mut()?, gradient.slice());
        slots.push(Slot { values, gradient, rate, decay });
    }
    let mut moments = moments.iter_mut().map(|m| Ok(m.as_slice_mut()?)).collect::<PyResult<Vec<_>>>()?;
    let n: usize = slots.iter().map(|slot| slot.values.len()).sum();
    if moments.len() != rule.n_moments() || moments.iter().any(|m| m.len() != n) {
        return Err(wrong(&format!("{rule:?} needs {} moments of {n} values", rule.n_moments())));
    }
    let Some(norm) = norm(&slots) else { return Ok(None) };
    let scale = clip_norm.filter(|&most| norm > most).map_or(1.0, |most| most / norm);
    step(Simd::detect(), rule, scale, &mut slots, &mut moments);
    Ok(Some(norm))
}

/// An array that is changed in place.
fn changed<'py, T: Scalar>(object: &Bound<'py, PyAny>, name: &str) -> PyResult<PyReadwriteArrayDyn<'py, T>> {
    let py = object.py();
    let wrong = || {
        let message =
            format!("{name} is to be changed in place: a writeable, C-contiguous array of {} is needed", T::NAME);
        named(py, "DtypeError", &message)
    };
    let array = object.cast::<PyArrayDyn<T>>().map_err(|_| wrong())?;
    if !array.is_c_contiguous() {
        return Err(wrong());
    }
    array.try_readwrite().map_err(|_| wrong())
}
