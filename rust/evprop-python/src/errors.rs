//! Core errors become the exceptions of `evprop/errors.py`.
use evprop::Error;
use pyo3::exceptions::PyKeyboardInterrupt;
use pyo3::prelude::*;

/// An exception of `evprop.errors`, by name.
pub fn named(py: Python<'_>, name: &str, message: &str) -> PyErr {
    let class = py.import("evprop.errors").and_then(|module| module.getattr(name));
    match class.and_then(|class| class.call1((message,))) {
        Ok(value) => PyErr::from_value(value),
        Err(missing) => missing,
    }
}

/// The exception for a number type that records do not have.
pub fn bad_dtype(py: Python<'_>, dtype: &str) -> PyErr {
    named(py, "DtypeError", &format!("dtype is '{dtype}'; known are float64 and float32"))
}

/// The exception for a core error.
pub fn raise(py: Python<'_>, error: &Error) -> PyErr {
    let name = match error {
        Error::SpikeTime { .. }
        | Error::SpikeOrder { .. }
        | Error::SpikeUnit { .. }
        | Error::SpikeOffsets { .. }
        | Error::SpikeBeyond { .. } => "SpikesError",
        Error::Network(_) => "NetworkError",
        Error::Parameter { .. } | Error::Argument(_) => "ParameterError",
        Error::Runaway { .. } => "RunawayError",
        Error::Device(_) => "DeviceError",
        Error::NotConverged { .. } => "ConvergenceError",
        Error::Cancelled => return PyKeyboardInterrupt::new_err("interrupted"),
    };
    named(py, name, &error.to_string())
}
