//! Backwards spike by spike against row by row: two ways through the same record, the same gradients.
//!
//! Which way a population goes is not to be chosen from outside; but gradients of `v_init` are only found row by row, so
//! asking for them as well takes everything that way.
use super::common::{Case, close};
use evprop::adjoint::{Gradients, Request, backward};
use evprop::math::Simd;
use evprop::network::{Kind, Network};
use evprop::parallel::CancelFlag;
use evprop::projection::DelayKind;
use evprop::record::Record;
use evprop::test_problems::{self, Draw};

/// Six inputs, `n` hidden neurons, three outputs; the outputs hear the inputs too.
fn network(delay: DelayKind, n: usize) -> Network {
    let populations = [("input", Kind::Input, 6), ("a", Kind::Lif, n), ("b", Kind::Lif, 3)];
    test_problems::network(&populations, &[(0, 1, delay), (1, 2, delay), (0, 2, DelayKind::None)])
        .expect("a sound network")
}

fn parameters(network: &Network, case: usize, draw: &mut Draw) -> Vec<Vec<f64>> {
    let mut slots = Vec::new();
    for slot in network.layout() {
        let size: usize = slot.shape.iter().product();
        let kind = slot.name.rsplit('.').next().expect("a dot");
        let value = |k: usize, draw: &mut Draw| match kind {
            "tau_mem" => 20.0,
            "tau_syn" => [5.0, 20.0, 30.0][case % 3],
            "v_th" => draw.uniform(0.8, 1.2),
            "v_reset" => draw.uniform(-0.3, 0.3),
            "t_ref" if case % 4 == 1 || (case % 4 == 2 && k.is_multiple_of(2)) => f64::INFINITY,
            "i_bias" if case % 5 == 3 => draw.uniform(-0.2, 1.3),
            "weight" if case % 3 == 2 => draw.uniform(0.005, 0.02),
            "weight" => draw.uniform(-0.5, 3.0),
            "delay" => draw.uniform(0.0, 15.0),
            _ => 0.0,
        };
        slots.push((0..size).map(|k| value(k, draw)).collect::<Vec<f64>>());
    }
    slots
}

fn case(case: usize) -> Case {
    let mut draw = Draw(case as u64);
    let delay = if case.is_multiple_of(2) { DelayKind::None } else { DelayKind::Axonal };
    let network = network(delay, 3 + 5 * (case % 7));
    let slots = parameters(&network, case, &mut draw);
    // Times on a coarse grid: many fall together. Every third case is busy: there, rows are the cheaper way for some.
    let count = if case % 3 == 2 { 1_200 } else { 36 };
    let mut times: Vec<f64> = (0..count).map(|_| draw.uniform(0.0, 300.0).floor() / 2.0).collect();
    let split = count / 3;
    times[..split].sort_by(f64::total_cmp);
    times[split..].sort_by(f64::total_cmp);
    let units = (0..count).map(|k| k as u32 % 6).collect();
    let offsets = vec![0, split as i64, split as i64, count as i64];
    Case { network, slots, times, units, offsets }
}

fn back(
    case: &Case,
    record: &Record<f64>,
    by_rows: bool,
    max_dw_norm: Option<f64>,
    simd: Simd,
) -> (Gradients<f64>, Vec<Vec<f64>>) {
    let mut draw = Draw(99);
    let cotangents: Vec<Vec<f64>> =
        record.populations.iter().map(|p| p.times.iter().map(|_| draw.uniform(-1.0, 1.0)).collect()).collect();
    let spike_times: Vec<_> = cotangents.iter().map(|c| Some(c.as_slice())).collect();
    let spike_times = [None, spike_times[1], spike_times[2]];
    let ends = ["weight", "delay", "v_th", "v_reset"];
    let wanted = |name: &str| ends.iter().any(|end| name.ends_with(end)) || (by_rows && name.ends_with("v_init"));
    let wrt: Vec<bool> = case.network.layout().iter().map(|slot| wanted(&slot.name)).collect();
    let request = Request {
        spike_times: &spike_times,
        readouts: &[],
        wrt: &wrt,
        input_times: true,
        scale: 0.5,
        max_dw_norm,
        min_vdot: None,
    };
    backward(&CancelFlag::new(), simd, &case.network, &case.params(), &[case.batch()], record, &request)
        .expect("sound cotangents")
}

#[test]
fn same_gradients_both_ways_and_same_bits_at_every_vector_width() {
    for number in 0..42 {
        let case = case(number);
        let record = case.record(None, Simd::Baseline);
        assert!(record.populations[1].times.len() > 3, "case {number} spikes");
        for max_dw_norm in [None, Some(0.5)] {
            let (plain, plain_times) = back(&case, &record, true, max_dw_norm, Simd::Baseline);
            let (lean, lean_times) = back(&case, &record, false, max_dw_norm, Simd::Baseline);
            assert_eq!((plain.min_vdot, plain.dropped), (lean.min_vdot, lean.dropped), "case {number}");
            for (slot, (a, b)) in case.network.layout().iter().zip(plain.slots.iter().zip(&lean.slots)) {
                if !slot.name.ends_with("v_init") {
                    close(a, b, 1e-11, &format!("case {number}, {}", slot.name));
                }
            }
            close(&plain_times[0], &lean_times[0], 1e-11, &format!("case {number}, input times"));
            for simd in Simd::available() {
                let (other, other_times) = back(&case, &record, false, max_dw_norm, simd);
                assert_eq!(other.slots, lean.slots, "case {number}, {}", simd.name());
                assert_eq!(other_times, lean_times, "case {number}, {}", simd.name());
            }
        }
    }
}
