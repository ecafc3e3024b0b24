//! Problems whose answers are known in closed form.
#![allow(clippy::disallowed_methods, reason = "std's exp and ln are the yardstick")]
use evprop::test_problems::Problem;

#[test]
fn a_bias_above_threshold_fires_at_its_period() {
    for (tau_mem, i_bias, v_reset) in [(20.0, 1.5, 0.0), (7.0, 1.01, -0.5), (20.0, 8.0, 0.9)] {
        let record = Problem::tonic(tau_mem, i_bias, v_reset, 500.0).unwrap().cast::<f64>().forward().unwrap();
        let period = tau_mem * f64::ln((i_bias - v_reset) / (i_bias - 1.0));
        let times = &record.populations[1].times;
        assert_eq!(times.len(), (500.0 / period) as usize);
        for (k, &t) in times.iter().enumerate() {
            assert!((t - (k + 1) as f64 * period).abs() < 1e-9, "spike {k} at {t}, period {period}");
        }
    }
}

#[test]
fn one_input_with_twice_the_time_constant() {
    for (tau_mem, weight, delay) in [(20.0, 5.0, 0.0), (20.0, 4.000_001, 3.0), (3.0, 40.0, 0.25)] {
        let problem = Problem::one_input(tau_mem, weight, delay, 100.0).unwrap().cast::<f64>();
        let record = problem.forward().unwrap();
        let a = 0.5 * (1.0 + f64::sqrt(1.0 - 4.0 / weight));
        let expected = delay - tau_mem * a.ln();
        let times = &record.populations[1].times;
        assert_eq!(times.len(), 1);
        assert!((times[0] - expected).abs() < 1e-9 / (2.0 * a - 1.0), "{} instead of {expected}", times[0]);
        let a = f64::exp(-(100.0 - delay) / tau_mem);
        let value = record.readouts[0].values[0];
        assert!((value - weight * (a - a * a)).abs() < 1e-12);
    }
}

#[test]
fn a_later_arrival_spikes_later_by_as_much() {
    let problem = Problem { requests: vec![], ..Problem::one_input(20.0, 5.0, 2.0, 100.0).unwrap() }.cast::<f64>();
    let gradients = problem.backward(&problem.forward().unwrap()).unwrap();
    let layout = problem.problem.network.layout();
    let slot = |name: &str| layout.iter().position(|slot| slot.name == name).unwrap();
    assert!((gradients.slots[slot("0_1.delay")][0] - 1.0).abs() < 1e-12);
    // dt/dw = tau_mem v_th / (w^2 a (2 a - 1)) with its sign, from the closed form.
    let a = 0.5 * (1.0 + f64::sqrt(1.0 - 4.0 / 5.0));
    let expected = -20.0 / (25.0 * a * (2.0 * a - 1.0));
    assert!((gradients.slots[slot("0_1.weight")][0] - expected).abs() < 1e-12 * expected.abs());
}
