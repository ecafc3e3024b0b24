//! Samples that end with the last first spike of a population: the spikes of a whole trial up to there, bit for bit, and
//! the gradients of a loss of first spikes.
use super::common::Case;
use evprop::adjoint::{Request, backward};
use evprop::math::{Lines, Simd};
use evprop::network::{Kind, Network};
use evprop::parallel::CancelFlag;
use evprop::projection::DelayKind;
use evprop::record::{Readout, ReadoutRequest, Record};
use evprop::simulate::{Settings, simulate};
use evprop::test_problems::{self, Draw};

const OUTPUT: usize = 2;

/// Inputs, hidden neurons, outputs that hear both, and a population that the outputs drive; or, for `loops`, hidden
/// neurons that hear themselves.
fn network(delay: DelayKind, n: usize, loops: bool) -> Network {
    let populations =
        [("input", Kind::Input, 6), ("hidden", Kind::Lif, n), ("output", Kind::Lif, 3), ("beyond", Kind::Lif, 5)];
    let none = DelayKind::None;
    let mut edges = vec![(0, 1, delay), (1, 2, delay), (0, 2, none), (2, 3, none)];
    if loops {
        edges.push((1, 1, none));
    }
    test_problems::network(&populations, &edges).expect("a sound network")
}

fn case(case: usize) -> Case {
    let mut draw = Draw(case as u64);
    let delay = [DelayKind::None, DelayKind::Axonal, DelayKind::Synaptic][case % 3];
    let network = network(delay, 4 + 5 * (case % 6), case % 8 == 7);
    let mut slots = Vec::new();
    for slot in network.layout() {
        let (name, kind) = slot.name.split_once('.').expect("a dot");
        let size: usize = slot.shape.iter().product();
        let value = |draw: &mut Draw| match kind {
            "tau_mem" if case % 5 == 4 => draw.uniform(10.0, 25.0),
            "tau_mem" => 20.0,
            "tau_syn" => [5.0, 20.0][case % 2],
            "v_th" => 1.0,
            "t_ref" => [0.0, 0.0, f64::INFINITY, 2.0][(case / 2) % 4],
            "weight" if name == "1_1" => draw.uniform(-0.2, 0.1),
            "weight" => draw.uniform(-0.5, 3.0),
            "delay" => draw.uniform(0.0, 15.0),
            _ => 0.0,
        };
        slots.push((0..size).map(|_| value(&mut draw)).collect::<Vec<f64>>());
    }
    // Times on a coarse grid: many fall together. The second sample is empty, the third has many spikes.
    let mut times: Vec<f64> = (0..72).map(|_| draw.uniform(0.0, 300.0).floor() / 2.0).collect();
    times[..12].sort_by(f64::total_cmp);
    times[12..].sort_by(f64::total_cmp);
    let units = (0..72).map(|k| k % 6).collect();
    Case { network, slots, times, units, offsets: vec![0, 12, 12, 72] }
}

/// Of any numbers for the first spikes of the outputs.
fn gradients(case: &Case, record: &Record<f64>) -> Vec<Vec<f64>> {
    let output = &record.populations[OUTPUT];
    let mut cotangents = vec![0.0; output.times.len()];
    for b in 0..record.batch {
        for unit in 0..3 {
            if let Some(k) = output.range(b).find(|&k| output.units[k] == unit) {
                cotangents[k] = f64::from(unit) - 0.7 + b as f64;
            }
        }
    }
    let wrt: Vec<bool> = case.network.layout().iter().map(|slot| !slot.name.ends_with("t_ref")).collect();
    let request = Request {
        spike_times: &[None, None, Some(&cotangents), None],
        readouts: &[],
        wrt: &wrt,
        input_times: true,
        scale: 1.0,
        max_dw_norm: None,
        min_vdot: None,
    };
    let (gradients, times) =
        backward(&CancelFlag::new(), Simd::detect(), &case.network, &case.params(), &[case.batch()], record, &request)
            .expect("sound cotangents");
    gradients.slots.into_iter().map(Lines::into_vec).chain(times).collect()
}

/// When sample `b` ends by the definition.
fn end(record: &Record<f64>, b: usize) -> f64 {
    let train = record.populations[OUTPUT].train(b);
    let first = |unit: u32| train.units.iter().position(|&u| u == unit).map_or(f64::INFINITY, |k| train.times[k]);
    (0..3).map(first).fold(0.0, f64::max)
}

#[test]
fn the_spikes_of_a_whole_trial_up_to_the_last_first_spike_and_the_same_gradients() {
    let (mut stopped, mut left_out) = (0, 0);
    for number in 0..48 {
        let case = case(number);
        let whole = case.record(None, Simd::Baseline);
        let short = case.record(Some(OUTPUT), Simd::Baseline);
        for b in 0..3 {
            let end = end(&whole, b);
            stopped += usize::from(end.is_finite());
            for (p, (all, kept)) in whole.populations.iter().zip(&short.populations).enumerate().skip(1) {
                let range = all.range(b);
                let count = all.times[range.clone()].iter().filter(|&&t| t <= end).count();
                left_out += range.len() - count;
                let range = range.start..range.start + count;
                assert_eq!(all.times[range.clone()], kept.times[kept.range(b)], "case {number}, sample {b}, {p}");
                assert_eq!(all.units[range.clone()], kept.units[kept.range(b)], "case {number}, sample {b}, {p}");
                assert_eq!(all.current[range], kept.current[kept.range(b)], "case {number}, sample {b}, {p}");
            }
        }
        for simd in Simd::available() {
            assert_eq!(case.record(Some(OUTPUT), simd), short, "case {number}, {}", simd.name());
        }
        for (k, (a, b)) in gradients(&case, &whole).iter().zip(gradients(&case, &short)).enumerate() {
            let size = a.iter().fold(0.0f64, |m, x| m.max(x.abs()));
            for (x, y) in a.iter().zip(&b) {
                assert!((x - y).abs() <= 1e-13 * size, "case {number}, gradient {k}: {x} and {y}");
            }
        }
    }
    assert!(stopped > 60 && left_out > 1_000, "{stopped} samples stopped, {left_out} spikes left out");
}

#[test]
fn refuses_what_makes_no_sense() {
    let case = case(0);
    let run = |stop, requests: &[ReadoutRequest]| {
        let settings = Settings {
            duration: 200.0,
            max_spikes: 100_000,
            stop_when_fired: Some(stop),
            eventwise_only: false,
            simd: Simd::Baseline,
        };
        simulate(&CancelFlag::new(), &case.network, &case.params(), &[case.batch()], requests, &settings)
    };
    let message = |result: evprop::Result<Record<f64>>| result.expect_err("refused").to_string();
    assert!(message(run(9, &[])).contains("there are 4"));
    assert!(message(run(0, &[])).contains("'input'"));
    let read = ReadoutRequest { population: 1, readout: Readout::Final };
    assert!(message(run(OUTPUT, &[read])).contains("voltages"));
}
