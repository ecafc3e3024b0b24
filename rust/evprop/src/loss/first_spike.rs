//! Time-to-first-spike cross entropy.
//!
//! With `t_k` the first spike of output neuron `k` and `*` the label, all in ms (Wunderlich & Pehle 2021,
//! "Event-based backpropagation can compute exact gradients for spiking neural networks", Methods, the Yin-Yang loss):
//!
//! ```text
//! L        = -ln( e^(-t_*/tau_0) / sum_k e^(-t_k/tau_0) ) + alpha ( e^(t_*/tau_1) - 1 )
//! p_k      = e^(-t_k/tau_0) / sum_j e^(-t_j/tau_0)
//! dL/dt_k  = ( [k = *] - p_k ) / tau_0 + [k = *] (alpha/tau_1) e^(t_*/tau_1)
//! ```
use super::FirstSpikes;
use crate::math::Real;

/// Constants of the loss.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FirstSpike {
    /// Scale of the competition between neurons, ms, > 0.
    pub tau_0: f64,
    /// Scale of the pressure towards early spikes of the label's neuron, ms, > 0. The pressure grows as
    /// `e^(t/tau_1)` and overflows to infinity beyond `t = 708 tau_1`.
    pub tau_1: f64,
    /// Strength of that pressure.
    pub alpha: f64,
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
pub fn first_spike(
    times: &[f64],
    units: &[u32],
    n: usize,
    label: usize,
    config: &FirstSpike,
    dtimes: &mut [f64],
) -> f64 {
    assert!(label < n, "label {label} needs more than {n} neurons");
    assert_eq!(times.len(), dtimes.len(), "one cotangent per spike");
    dtimes.fill(0.0);
    let &FirstSpike { tau_0, tau_1, alpha, silent } = config;
    let first = FirstSpikes::new(times, units, n, silent);
    let target = first.time(label);
    let mut earliest = 0;
    for k in 1..n {
        if first.time(k) < first.time(earliest) {
            earliest = k;
        }
    }
    // Relative to the earliest, whose term is 1: nothing overflows, and ln_1p keeps the digits of a small loss.
    let origin = first.time(earliest);
    let term = |k: usize| ((origin - first.time(k)) / tau_0).exp_neg();
    let others: f64 = (0..n).filter(|&k| k != earliest).map(term).sum();
    let mut value = (target - origin) / tau_0 + Real::ln_1p(others);
    // 1 - p of the label is the sum of the others' p: no cancellation.
    let mut wrong = 0.0;
    for k in (0..n).filter(|&k| k != label) {
        let p = term(k) / (1.0 + others);
        wrong += p;
        first.add(dtimes, k, -p / tau_0);
    }
    let mut pull = wrong / tau_0;
    if alpha != 0.0 {
        // e^x and e^x - 1 for x >= 0 through e^-x.
        let (e, expm1) = (-target / tau_1).exp_expm1();
        value += alpha * (-expm1 / e);
        pull += alpha / tau_1 / e;
    }
    first.add(dtimes, label, pull);
    value
}

#[cfg(test)]
mod tests {
    use super::super::tests::{TIMES, UNITS, check_cotangents};
    use super::*;

    const CONFIG: FirstSpike = FirstSpike { tau_0: 0.5, tau_1: 6.4, alpha: 3e-3, silent: 40.0 };

    fn run(times: &[f64], label: usize, config: &FirstSpike) -> (f64, Vec<f64>) {
        let mut d = vec![f64::NAN; times.len()];
        let value = first_spike(times, &UNITS, 4, label, config, &mut d);
        (value, d)
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "std's exp and ln are the second opinion here")]
    fn value_is_the_formula() {
        for (label, target) in [(0, 11.5), (1, 40.0), (2, 8.0), (3, 12.25)] {
            for tau_0 in [0.5, 20.0] {
                let config = FirstSpike { tau_0, ..CONFIG };
                let sum: f64 = [11.5f64, 40.0, 8.0, 12.25].iter().map(|t| (-t / tau_0).exp()).sum();
                let expected = -((-target / tau_0).exp() / sum).ln() + 3e-3 * ((target / 6.4).exp() - 1.0);
                let (value, _) = run(&TIMES, label, &config);
                assert!((value - expected).abs() <= 1e-13 * (1.0 + expected), "{value} for {expected}");
            }
        }
    }

    #[test]
    fn cotangents_are_derivatives() {
        for label in 0..4 {
            for tau_0 in [0.5, 20.0] {
                let config = FirstSpike { tau_0, ..CONFIG };
                let (_, d) = run(&TIMES, label, &config);
                assert_eq!(d[2], 0.0, "a second spike has no part in it");
                check_cotangents(&TIMES, &d, |times| run(times, label, &config).0);
            }
        }
    }

    #[test]
    fn silence_everywhere_is_a_constant() {
        let value = first_spike(&[], &[], 2, 1, &FirstSpike { alpha: 0.0, ..CONFIG }, &mut []);
        assert!((value - std::f64::consts::LN_2).abs() < 1e-15);
    }

    #[test]
    fn far_apart_and_late_times_stay_finite() {
        let config = FirstSpike { tau_0: 0.1, alpha: 0.0, ..CONFIG };
        let mut d = [0.0; 2];
        let value = first_spike(&[1.0, 1e6], &[1, 0], 2, 0, &config, &mut d);
        assert!((value - (1e6 - 1.0) / 0.1).abs() < 1e-8);
        assert_eq!(d, [-10.0, 10.0]);
        let value = first_spike(&[1e6, 1e6], &[0, 1], 2, 0, &config, &mut d);
        assert!((value - std::f64::consts::LN_2).abs() < 1e-15);
    }
}
