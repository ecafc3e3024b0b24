//! Group basis pursuit: signals in, codes out; cotangents of codes in, cotangents of signals out.
use evprop::parallel::CancelFlag;
use evprop::sparse::{Pursuit, Stop, pull_back, respond, settle, solve};
use numpy::{IntoPyArray, PyArray1, PyArray2, PyArray3, PyArrayMethods};
use pyo3::prelude::*;

use crate::arrays::Array;
use crate::enter::enter;
use crate::errors::named;

type Solved<'py> = (Bound<'py, PyArray2<f64>>, Bound<'py, PyArray1<f64>>, Bound<'py, PyArray1<i64>>);

/// A dictionary, its groups and their weights.
#[pyclass(frozen)]
pub struct CorePursuit {
    problem: Pursuit,
}

/// A linear function of each sample's cotangents, which the support of its code decides.
type OfCotangents = fn(&Pursuit, &[f64], &[f64], &CancelFlag) -> evprop::error::Result<Vec<f64>>;

impl CorePursuit {
    fn linear<'py>(
        &self,
        py: Python<'py>,
        codes: &Bound<'py, PyAny>,
        cotangents: &Bound<'py, PyAny>,
        width: usize,
        function: OfCotangents,
    ) -> PyResult<Bound<'py, PyArray2<f64>>> {
        let held = rows(codes, "codes", self.problem.n_atoms())?;
        let held_cotangents = rows(cotangents, "cotangents", self.problem.n_atoms())?;
        let (codes, cotangents) = (held.slice(), held_cotangents.slice());
        let found = enter(py, |cancel| function(&self.problem, codes, cotangents, cancel))?;
        found.into_pyarray(py).reshape([held.shape()[0], width])
    }
}

#[pymethods]
impl CorePursuit {
    #[new]
    fn new(
        py: Python<'_>,
        dictionary: &Bound<'_, PyAny>,
        groups: &Bound<'_, PyAny>,
        l1: &Bound<'_, PyAny>,
        l2: &Bound<'_, PyAny>,
    ) -> PyResult<Self> {
        let dictionary = Array::<f64>::new(dictionary, "dictionary", "float64")?;
        let groups = Array::<u32>::new(groups, "groups", "uint32")?;
        let l1 = Array::<f64>::new(l1, "l1", "float64")?;
        let l2 = Array::<f64>::new(l2, "l2", "float64")?;
        if dictionary.shape().get(1) != Some(&groups.slice().len()) || dictionary.shape().len() != 2 {
            let (given, n) = (dictionary.shape(), groups.slice().len());
            let message =
                format!("dictionary has shape {given:?}; [features, {n}] is needed, for {n} atoms have a group");
            return Err(named(py, "ShapeError", &message));
        }
        let (dictionary, groups, l1, l2) = (dictionary.slice(), groups.slice(), l1.slice(), l2.slice());
        let problem = enter(py, |_| Pursuit::new(dictionary, groups, l1, l2))?;
        Ok(Self { problem })
    }

    /// At least the largest eigenvalue of the dictionary's Gram matrix.
    #[getter]
    fn lipschitz(&self) -> f64 {
        self.problem.lipschitz()
    }

    /// (codes, duality gaps, iterations) of every row of x.
    #[pyo3(signature = (x, start, tolerance, max_iterations))]
    fn solve<'py>(
        &self,
        py: Python<'py>,
        x: &Bound<'py, PyAny>,
        start: Option<&Bound<'py, PyAny>>,
        tolerance: f64,
        max_iterations: usize,
    ) -> PyResult<Solved<'py>> {
        let held = rows(x, "x", self.problem.n_features())?;
        let x = held.slice();
        let start = start.map(|start| rows(start, "start", self.problem.n_atoms())).transpose()?;
        let start = start.as_ref().map(Array::slice);
        let stop = Stop { tolerance, max_iterations };
        let found = enter(py, |cancel| solve(&self.problem, x, start, stop, cancel))?;
        let shape = [found.gaps.len(), self.problem.n_atoms()];
        let iterations: Vec<i64> = found.iterations.iter().map(|&n| i64::try_from(n).unwrap_or(i64::MAX)).collect();
        Ok((found.codes.into_pyarray(py).reshape(shape)?, found.gaps.into_pyarray(py), iterations.into_pyarray(py)))
    }

    /// Cotangents of the signals, from solved codes and their cotangents.
    fn pull_back<'py>(
        &self,
        py: Python<'py>,
        codes: &Bound<'py, PyAny>,
        cotangents: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyArray2<f64>>> {
        self.linear(py, codes, cotangents, self.problem.n_features(), pull_back)
    }

    /// The solution of the linear system of each sample's support: what derivatives with respect to the dictionary need.
    fn respond<'py>(
        &self,
        py: Python<'py>,
        codes: &Bound<'py, PyAny>,
        cotangents: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyArray2<f64>>> {
        self.linear(py, codes, cotangents, self.problem.n_atoms(), respond)
    }

    /// (sample, mark, atom): codes of the locally competitive algorithm after given numbers of steps of dt/tau.
    fn settle<'py>(
        &self,
        py: Python<'py>,
        x: &Bound<'py, PyAny>,
        step: f64,
        marks: Vec<usize>,
    ) -> PyResult<Bound<'py, PyArray3<f64>>> {
        let held = rows(x, "x", self.problem.n_features())?;
        let x = held.slice();
        let codes = enter(py, |cancel| settle(&self.problem, x, step, &marks, cancel))?;
        codes.into_pyarray(py).reshape([held.shape()[0], marks.len(), self.problem.n_atoms()])
    }
}

/// An array of rows of `width` numbers.
fn rows<'py>(object: &Bound<'py, PyAny>, name: &str, width: usize) -> PyResult<Array<'py, f64>> {
    let array = Array::<f64>::new(object, name, "float64")?;
    if array.shape().len() == 2 && array.shape()[1] == width {
        return Ok(array);
    }
    let message = format!("{name} has shape {:?}; [samples, {width}] is needed", array.shape());
    Err(named(object.py(), "ShapeError", &message))
}
