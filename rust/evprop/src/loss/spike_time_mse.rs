//! First spikes at given times.
//!
//! With `t_n` the first spike of output neuron `n`, in ms, over the neurons that have a target:
//!
//! ```text
//! L        = 1/2 sum_n ( t_n - target_n )^2     [ms^2]
//! dL/dt_n  = t_n - target_n                     [ms]
//! ```
use super::FirstSpikes;

/// The loss of one sample; writes dL/dt of every spike (zero but for first spikes) to `dtimes`.
///
/// `times` and `units` are the spikes of `targets.len()` output neurons; a target (ms) that is NaN: any time will do.
/// `silent` is the time in place of a silent neuron's first spike, ms.
///
/// # Panics
/// If a unit is not below `targets.len()`, or the lengths of the other slices differ.
#[must_use]
pub fn spike_time_mse(times: &[f64], units: &[u32], targets: &[f64], silent: f64, dtimes: &mut [f64]) -> f64 {
    assert_eq!(times.len(), dtimes.len(), "one cotangent per spike");
    dtimes.fill(0.0);
    let first = FirstSpikes::new(times, units, targets.len(), silent);
    let mut value = 0.0;
    for (k, &target) in targets.iter().enumerate().filter(|(_, target)| !target.is_nan()) {
        let r = first.time(k) - target;
        value += 0.5 * r * r;
        first.add(dtimes, k, r);
    }
    value
}

#[cfg(test)]
mod tests {
    use super::super::tests::{TIMES, UNITS, check_cotangents};
    use super::*;

    fn run(times: &[f64]) -> (f64, Vec<f64>) {
        let mut d = vec![f64::NAN; times.len()];
        let value = spike_time_mse(times, &UNITS, &[10.0, 20.0, f64::NAN, 15.0], 40.0, &mut d);
        (value, d)
    }

    #[test]
    fn value_is_the_formula() {
        let (value, d) = run(&TIMES);
        assert_eq!(value, 0.5 * (1.5 * 1.5 + 20.0 * 20.0 + 2.75 * 2.75));
        assert_eq!(d, [0.0, 1.5, 0.0, -2.75, 0.0]);
    }

    #[test]
    fn cotangents_are_derivatives() {
        check_cotangents(&TIMES, &run(&TIMES).1, |times| run(times).0);
    }

    #[test]
    fn no_target_no_loss() {
        let mut d = [1.0];
        assert_eq!(spike_time_mse(&[3.0], &[0], &[f64::NAN, f64::NAN], 40.0, &mut d), 0.0);
        assert_eq!(d, [0.0]);
    }
}
