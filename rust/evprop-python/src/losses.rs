//! Losses: one value a sample, and derivatives.
use evprop::loss::{FirstSpike, Labelled, RelativeMse, cross_entropy, first_spike, relative_mse, spike_time_mse};
use numpy::{IntoPyArray, PyArray1, PyArrayDyn, PyArrayMethods};
use pyo3::prelude::*;

use crate::arrays::{Array, Spikes};
use crate::errors::named;

type ReadoutOutcome<'py> = (Bound<'py, PyArray1<f64>>, Bound<'py, PyArrayDyn<f64>>);
type Outcome<'py> = (Bound<'py, PyArray1<f64>>, Bound<'py, PyArray1<f64>>);

/// Labels as indices below `n`, one a sample.
pub fn labels(labels: &Bound<'_, PyAny>, batch: usize, n: usize) -> PyResult<Vec<usize>> {
    let py = labels.py();
    let given = Array::<i64>::new(labels, "labels", "int64")?;
    let given = given.slice();
    if given.len() != batch {
        let message = format!("{} labels given for {batch} samples", given.len());
        return Err(named(py, "TargetError", &message));
    }
    let index = |(sample, &label): (usize, &i64)| {
        usize::try_from(label).ok().filter(|&label| label < n).ok_or_else(|| {
            let message = format!("sample {sample} has label {label}; labels must be 0 to {}", n.saturating_sub(1));
            named(py, "TargetError", &message)
        })
    };
    given.iter().enumerate().map(index).collect()
}

/// A loss of first spikes of a population and labels.
#[pyclass(frozen, module = "evprop._core")]
pub struct CoreLoss {
    pub(crate) population: usize,
    pub(crate) loss: Labelled,
}

#[pymethods]
impl CoreLoss {
    /// `kind` is "first_spike" (tau_0, tau_1, alpha) or "relative_mse" (delta); `silent` stands for a missing spike, ms.
    #[new]
    fn new(py: Python<'_>, kind: &str, population: usize, settings: Vec<f64>, silent: f64) -> PyResult<Self> {
        let loss = match (kind, settings.as_slice()) {
            ("first_spike", &[tau_0, tau_1, alpha]) => Labelled::FirstSpike(FirstSpike { tau_0, tau_1, alpha, silent }),
            ("relative_mse", &[delta]) => Labelled::RelativeMse(RelativeMse { delta, silent }),
            _ => {
                let message = format!("no loss is '{kind}' with {} settings", settings.len());
                return Err(named(py, "ConfigError", &message));
            }
        };
        Ok(Self { population, loss })
    }
}

/// Calls `sample(b, times, units, dtimes)` for every sample.
fn each_sample<'py>(
    py: Python<'py>,
    spikes: &Spikes<'py>,
    n: usize,
    mut sample: impl FnMut(usize, &[f64], &[u32], &mut [f64]) -> f64,
) -> PyResult<Outcome<'py>> {
    let batch = spikes.batch(py)?;
    if let Some(&unit) = spikes.units().iter().find(|&&u| u as usize >= n) {
        return Err(named(py, "SpikesError", &format!("a spike is of unit {unit}, but there are {n} outputs")));
    }
    let mut dtimes = vec![0.0; batch.n_spikes()];
    let values: Vec<f64> = (0..batch.len())
        .map(|b| {
            let train = batch.sample(b);
            sample(b, train.times, train.units, &mut dtimes[batch.range(b)])
        })
        .collect();
    Ok((values.into_pyarray(py), dtimes.into_pyarray(py)))
}

/// Time-to-first-spike cross entropy.
#[pyfunction]
#[pyo3(signature = (times, units, offsets, n, labels, tau_0, tau_1, alpha, silent))]
#[allow(clippy::too_many_arguments)]
pub fn loss_first_spike<'py>(
    py: Python<'py>,
    times: &Bound<'py, PyAny>,
    units: &Bound<'py, PyAny>,
    offsets: &Bound<'py, PyAny>,
    n: usize,
    labels: &Bound<'py, PyAny>,
    tau_0: f64,
    tau_1: f64,
    alpha: f64,
    silent: f64,
) -> PyResult<Outcome<'py>> {
    let spikes = Spikes::from_parts(times, units, offsets)?;
    let labels = self::labels(labels, spikes.batch(py)?.len(), n)?;
    let config = FirstSpike { tau_0, tau_1, alpha, silent };
    each_sample(py, &spikes, n, |b, times, units, d| first_spike(times, units, n, labels[b], &config, d))
}

/// Shift-invariant squared error of first-spike times.
#[pyfunction]
#[allow(clippy::too_many_arguments)]
pub fn loss_relative_mse<'py>(
    py: Python<'py>,
    times: &Bound<'py, PyAny>,
    units: &Bound<'py, PyAny>,
    offsets: &Bound<'py, PyAny>,
    n: usize,
    labels: &Bound<'py, PyAny>,
    delta: f64,
    silent: f64,
) -> PyResult<Outcome<'py>> {
    let spikes = Spikes::from_parts(times, units, offsets)?;
    let labels = self::labels(labels, spikes.batch(py)?.len(), n)?;
    let config = RelativeMse { delta, silent };
    each_sample(py, &spikes, n, |b, times, units, d| relative_mse(times, units, n, labels[b], &config, d))
}

/// Squared error of first-spike times; NaN targets are left out.
#[pyfunction]
pub fn loss_spike_time_mse<'py>(
    py: Python<'py>,
    times: &Bound<'py, PyAny>,
    units: &Bound<'py, PyAny>,
    offsets: &Bound<'py, PyAny>,
    n: usize,
    targets: &Bound<'py, PyAny>,
    silent: f64,
) -> PyResult<Outcome<'py>> {
    let spikes = Spikes::from_parts(times, units, offsets)?;
    let targets = Array::<f64>::new(targets, "targets", "float64")?;
    let batch = spikes.batch(py)?.len();
    if targets.shape() != [batch, n] {
        let message = format!("targets have shape {:?}; [{batch}, {n}] is needed (batch, outputs)", targets.shape());
        return Err(named(py, "TargetError", &message));
    }
    let rows = targets.slice();
    each_sample(py, &spikes, n, |b, times, units, d| spike_time_mse(times, units, &rows[b * n..(b + 1) * n], silent, d))
}

/// Cross entropy of the softmax of logits.
#[pyfunction]
pub fn loss_cross_entropy<'py>(
    py: Python<'py>,
    logits: &Bound<'py, PyAny>,
    labels: &Bound<'py, PyAny>,
) -> PyResult<ReadoutOutcome<'py>> {
    let logits = Array::<f64>::new(logits, "logits", "float64")?;
    let &[batch, n] = logits.shape() else {
        let message = format!("logits have shape {:?}; (batch, classes) is needed", logits.shape());
        return Err(named(py, "ShapeError", &message));
    };
    let labels = self::labels(labels, batch, n)?;
    let mut d = vec![0.0; batch * n];
    let rows = logits.slice();
    let values: Vec<f64> =
        (0..batch).map(|b| cross_entropy(&rows[b * n..(b + 1) * n], labels[b], &mut d[b * n..(b + 1) * n])).collect();
    Ok((values.into_pyarray(py), d.into_pyarray(py).reshape(vec![batch, n])?))
}
