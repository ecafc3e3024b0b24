//! The label's neuron shall spike first, the others a fixed time later; when, is free.
//!
//! With `t_n` the first spike of output neuron `n` and `*` the label, in ms (DelGrad: Goltz et al. 2024, "DelGrad:
//! exact event-based gradients for training delays and weights on spiking neuromorphic hardware", Methods):
//!
//! ```text
//! r_n      = t_n - t_* - delta [n != *]
//! L        = 1/2 sum_n r_n^2                                  [ms^2]
//! dL/dt_n  = r_n   (n != *)          dL/dt_* = - sum_n r_n    [ms]
//! ```
//!
//! A shift of all times changes nothing.
use super::FirstSpikes;

/// Constants of the loss.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RelativeMse {
    /// How much later than the label's neuron the others shall spike, ms.
    pub delta: f64,
    /// Time in place of a silent neuron's first spike, ms.
    pub silent: f64,
}

/// The loss of one sample; writes dL/dt of every spike (zero but for first spikes) to `dtimes`.
///
/// `times` and `units` are the spikes of the `n` output neurons.
///
/// # Panics
/// If `label` or a unit is not below `n`, or the lengths of the slices differ.
#[must_use]
pub fn relative_mse(
    times: &[f64],
    units: &[u32],
    n: usize,
    label: usize,
    config: &RelativeMse,
    dtimes: &mut [f64],
) -> f64 {
    assert!(label < n, "label {label} needs more than {n} neurons");
    assert_eq!(times.len(), dtimes.len(), "one cotangent per spike");
    dtimes.fill(0.0);
    let first = FirstSpikes::new(times, units, n, config.silent);
    let target = first.time(label);
    let (mut value, mut sum) = (0.0, 0.0);
    for k in (0..n).filter(|&k| k != label) {
        let r = first.time(k) - target - config.delta;
        value += 0.5 * r * r;
        sum += r;
        first.add(dtimes, k, r);
    }
    first.add(dtimes, label, -sum);
    value
}

#[cfg(test)]
mod tests {
    use super::super::tests::{TIMES, UNITS, check_cotangents};
    use super::*;

    const CONFIG: RelativeMse = RelativeMse { delta: 5.0, silent: 40.0 };

    fn run(times: &[f64], label: usize) -> (f64, Vec<f64>) {
        let mut d = vec![f64::NAN; times.len()];
        let value = relative_mse(times, &UNITS, 4, label, &CONFIG, &mut d);
        (value, d)
    }

    #[test]
    fn value_is_the_formula() {
        // First spikes 11.5, silent (40), 8, 12.25.
        let (value, d) = run(&TIMES, 2);
        assert_eq!(value, 0.5 * (1.5 * 1.5 + 27.0 * 27.0 + 0.75 * 0.75));
        // The silent neuron pulls at the label's, but has no gradient of its own.
        assert_eq!(d, [-(-1.5 + 27.0 - 0.75), -1.5, 0.0, -0.75, 0.0]);
        let (value, _) = run(&TIMES, 1);
        assert_eq!(value, 0.5 * (33.5 * 33.5 + 37.0 * 37.0 + 32.75 * 32.75));
    }

    #[test]
    fn cotangents_are_derivatives() {
        for label in 0..4 {
            let (_, d) = run(&TIMES, label);
            check_cotangents(&TIMES, &d, |times| run(times, label).0);
        }
    }

    #[test]
    fn silence_everywhere_is_a_constant() {
        let value = relative_mse(&[], &[], 3, 0, &CONFIG, &mut []);
        assert_eq!(value, 25.0);
    }
}
