//! The one door through the GIL.
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use evprop::math::Simd;
use evprop::parallel::{self, CancelFlag};
use pyo3::prelude::*;

use crate::errors::raise;

/// How often a call looks for Ctrl-C.
const LOOK_UP: Duration = Duration::from_millis(50);

/// Runs `work` without the GIL, on another thread, while this one looks for signals (Python handles them on its main
/// thread only); on Ctrl-C, `work` is asked to stop through its flag.
pub fn enter<R: Send>(py: Python<'_>, work: impl FnOnce(&CancelFlag) -> evprop::Result<R> + Send) -> PyResult<R> {
    let cancel = CancelFlag::new();
    let done = (Mutex::new(false), Condvar::new());
    let mut signal = None;
    let result = py.detach(|| {
        let work = || {
            // Also told when `work` panics.
            let _told = Tell(&done);
            work(&cancel)
        };
        parallel::aside(work, || signal = wait(&done, &cancel))
    });
    match signal {
        Some(raised) => Err(raised),
        None => result.flatten().map_err(|e| raise(py, &e)),
    }
}

/// Waits until it is done, looking for signals; the first exception that one raises stops the work and is returned.
fn wait(done: &(Mutex<bool>, Condvar), cancel: &CancelFlag) -> Option<PyErr> {
    let mut signal = None;
    let mut finished = done.0.lock().unwrap_or_else(PoisonError::into_inner);
    while !*finished {
        let waited = done.1.wait_timeout(finished, LOOK_UP).unwrap_or_else(PoisonError::into_inner);
        finished = waited.0;
        if !*finished && waited.1.timed_out() && signal.is_none() {
            drop(finished);
            if let Err(raised) = Python::attach(|py| py.check_signals()) {
                cancel.cancel();
                signal = Some(raised);
            }
            finished = done.0.lock().unwrap_or_else(PoisonError::into_inner);
        }
    }
    signal
}

struct Tell<'a>(&'a (Mutex<bool>, Condvar));

impl Drop for Tell<'_> {
    fn drop(&mut self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.1.notify_one();
    }
}

/// Sets how many threads calls from now on use; 0: one per core.
#[pyfunction]
pub fn set_num_threads(n: usize) {
    parallel::set_num_threads(n);
}

/// How many threads calls use.
#[pyfunction]
pub fn num_threads() -> usize {
    parallel::num_threads()
}

/// The vector width the kernels run with.
#[pyfunction]
pub fn simd_level() -> &'static str {
    Simd::detect().name()
}
