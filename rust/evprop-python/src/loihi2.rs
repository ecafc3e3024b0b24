//! The integer model of Loihi 2.
use evprop::hardware::loihi2::{
    self, Connection, Input, Population, Program, Request, Reset, SignMode, Source, Synapses,
};
use numpy::{IntoPyArray, PyArray1, PyArrayMethods, ToPyArray};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::arrays::Array;
use crate::enter::enter;
use crate::errors::{named, raise};

/// A program, ready to run.
#[pyclass(frozen, module = "evprop._core")]
pub struct CoreLoihi2 {
    program: Program,
}

type PopulationGiven<'py> = (String, Vec<Bound<'py, PyAny>>, Option<(u32, u32)>);
type ConnectionGiven<'py> =
    (String, (bool, usize), usize, Vec<Bound<'py, PyAny>>, Bound<'py, PyAny>, (u32, i32), u8, bool);
type InputGiven<'py> = (Bound<'py, PyAny>, Bound<'py, PyAny>, Bound<'py, PyAny>, Option<Bound<'py, PyAny>>);

#[pymethods]
impl CoreLoihi2 {
    #[new]
    fn new(
        py: Python<'_>,
        inputs: Vec<usize>,
        populations: Vec<PopulationGiven<'_>>,
        connections: Vec<ConnectionGiven<'_>>,
    ) -> PyResult<Self> {
        let populations = populations.into_iter().map(|given| population(py, given)).collect::<PyResult<Vec<_>>>()?;
        let sizes: Vec<usize> = populations.iter().map(Population::len).collect();
        let connections =
            connections.iter().map(|given| connection(py, given, &inputs, &sizes)).collect::<PyResult<Vec<_>>>()?;
        let program = Program::new(inputs, populations, connections).map_err(|e| raise(py, &e))?;
        Ok(Self { program })
    }

    /// The weights of connection `k` after clipping and truncation, in the order given.
    fn effective<'py>(&self, py: Python<'py>, k: usize) -> PyResult<Bound<'py, PyArray1<i32>>> {
        let found = self.program.connections.get(k);
        let found = found.ok_or_else(|| named(py, "NetworkError", &format!("the program has no connection {k}")))?;
        Ok(found.effective.to_pyarray(py))
    }

    #[pyo3(signature = (inputs, n_steps, traced, strict=None))]
    /// A batch: spikes of each population, traces of those asked for, alarms and how many of each kind.
    fn run<'py>(
        &self,
        py: Python<'py>,
        inputs: Vec<InputGiven<'py>>,
        n_steps: usize,
        traced: Vec<bool>,
        strict: Option<usize>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let held = inputs
            .iter()
            .map(|(steps, units, offsets, payloads)| {
                Ok((
                    Array::<u32>::new(steps, "steps", "uint32")?,
                    Array::<u32>::new(units, "units", "uint32")?,
                    Array::<i64>::new(offsets, "offsets", "int64")?,
                    payloads.as_ref().map(|p| Array::<i32>::new(p, "payloads", "int32")).transpose()?,
                ))
            })
            .collect::<PyResult<Vec<_>>>()?;
        let given: Vec<Input<'_>> = held
            .iter()
            .map(|(steps, units, offsets, payloads)| Input {
                steps: steps.slice(),
                units: units.slice(),
                offsets: offsets.slice(),
                payloads: payloads.as_ref().map(Array::slice),
            })
            .collect();
        let batch = given.first().map_or(0, |input| input.offsets.len().saturating_sub(1));
        let request = Request { n_steps, traced, strict };
        let out = enter(py, |cancel| loihi2::run(&self.program, &given, &request, cancel))?;
        let result = PyDict::new(py);
        let spikes: Vec<_> = out
            .spikes
            .into_iter()
            .map(|s| {
                let (steps, units) = (s.steps.into_pyarray(py), s.units.into_pyarray(py));
                (steps, units, s.offsets.into_pyarray(py), s.currents.into_pyarray(py))
            })
            .collect();
        result.set_item("spikes", spikes)?;
        let mut traces = Vec::new();
        for ((trace, population), wanted) in out.traces.into_iter().zip(&self.program.populations).zip(&request.traced)
        {
            traces.push(if *wanted {
                let shape = [batch, n_steps, population.len()];
                Some((trace.u.into_pyarray(py).reshape(shape)?, trace.v.into_pyarray(py).reshape(shape)?))
            } else {
                None
            });
        }
        result.set_item("traces", traces)?;
        let alarms: Vec<_> =
            out.alarms.iter().map(|a| (a.kind as usize, a.sample, a.population, a.neuron, a.step, a.value)).collect();
        result.set_item("alarms", alarms)?;
        result.set_item("counts", out.counts.to_vec())?;
        Ok(result)
    }
}

/// Takes (name, [du, dv, vth, bias_mant, bias_exp, u0, v0], reset).
fn population(py: Python<'_>, (name, arrays, reset): PopulationGiven<'_>) -> PyResult<Population> {
    let mut values = Vec::new();
    for (array, what) in arrays.iter().zip(["du", "dv", "vth", "bias_mant", "bias_exp", "u0", "v0"]) {
        values.push(Array::<i32>::new(array, what, "int32")?.slice().to_vec());
    }
    let values: Result<[Vec<i32>; 7], _> = values.try_into();
    let Ok([du, dv, vth, bias_mant, bias_exp, u0, v0]) = values else {
        return Err(named(py, "NetworkError", &format!("population '{name}' needs seven arrays")));
    };
    let reset = reset.map(|(interval, offset)| Reset { interval, offset });
    Ok(Population { name, du, dv, vth, bias_mant, bias_exp, u0, v0, reset })
}

/// Takes (name, (from an input, index), target, [starts, targets, weights], delays, (bits, exponent), sign mode as
/// Lava counts them: 0 from the weights, 1 mixed, 2 excitatory, 3 inhibitory; graded).
fn connection(py: Python<'_>, given: &ConnectionGiven<'_>, inputs: &[usize], sizes: &[usize]) -> PyResult<Connection> {
    let (name, (from_input, index), target, arrays, delays, precision, mode, graded) = given;
    let refuse = |why: &str| named(py, "NetworkError", &format!("connection '{name}': {why}"));
    let [starts, targets, weights] = arrays.as_slice() else {
        return Err(refuse("three arrays are needed"));
    };
    let starts = Array::<i64>::new(starts, "starts", "int64")?;
    let targets = Array::<u32>::new(targets, "targets", "uint32")?;
    let weights = Array::<i32>::new(weights, "weights", "int32")?;
    let delays = if delays.is_none() { None } else { Some(Array::<u8>::new(delays, "delays", "uint8")?) };
    let (source, from) = if *from_input {
        (Source::Input(*index), inputs.get(*index))
    } else {
        (Source::Population(*index), sizes.get(*index))
    };
    let (Some(&from), Some(&to)) = (from, sizes.get(*target)) else {
        return Err(refuse("its source or target is not there"));
    };
    let synapses = Synapses {
        starts: starts.slice(),
        targets: targets.slice(),
        weights: weights.slice(),
        delays: delays.as_ref().map(Array::slice),
    };
    let mode = match mode {
        0 => None,
        1 => Some(SignMode::Mixed),
        2 => Some(SignMode::Excitatory),
        3 => Some(SignMode::Inhibitory),
        _ => return Err(refuse("the sign mode must be 0 to 3")),
    };
    Connection::new(name, (source, *target), (from, to), synapses, *precision, mode, *graded).map_err(|e| raise(py, &e))
}
