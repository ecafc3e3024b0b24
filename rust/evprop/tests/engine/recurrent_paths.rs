//! Recurrent networks: side by side or in windows against one event at a time. The same spikes, and the same bits at
//! every vector width.
use evprop::math::{Real, Simd};
use evprop::network::{Kind, Network, Params, Population, Projection};
use evprop::parallel::CancelFlag;
use evprop::projection::{Connectivity, DelayKind};
use evprop::record::Record;
use evprop::simulate::{Settings, simulate};
use evprop::spikes::SpikeBatch;
use evprop::test_problems::Draw;

pub const DURATION: f64 = 150.0;

/// Two populations that hear each other and, half of the time, themselves; every third projection is sparse.
pub fn network(case: usize, delays: &[DelayKind], draw: &mut Draw) -> Network {
    let (a, b) = (3 + 9 * (case % 5), 1 + case % 20);
    let population = |name: &str, kind, size| Population { name: name.into(), kind, size };
    let populations =
        vec![population("input", Kind::Input, 12), population("a", Kind::Lif, a), population("b", Kind::Lif, b)];
    let mut edges = vec![(0, 1), (1, 2), (2, 1), (0, 2)];
    if case.is_multiple_of(2) {
        edges.push((1, 1));
    }
    let size = |p: usize| populations[p].size;
    let mut connectivity = |k: usize, pre: usize, post: usize| {
        if !(case + k).is_multiple_of(3) {
            return Connectivity::Dense;
        }
        let (mut indptr, mut indices) = (vec![0], Vec::new());
        for _ in 0..size(pre) {
            indices.extend((0..size(post) as u32).filter(|_| draw.uniform(0.0, 1.0) < 0.6));
            indptr.push(indices.len());
        }
        Connectivity::Sparse { indptr, indices }
    };
    let projections = edges
        .into_iter()
        .enumerate()
        .map(|(k, (pre, post))| Projection {
            name: format!("p{k}"),
            pre,
            post,
            connectivity: connectivity(k, pre, post),
            delay: delays[(case / 2 + k) % delays.len()],
            self_connections: true,
        })
        .collect();
    Network::new(populations, projections).expect("a sound network")
}

pub fn parameters(network: &Network, case: usize, draw: &mut Draw) -> Vec<Vec<f64>> {
    let uneven = case % 3 == 1;
    let value = |projection: &str, name: &str, draw: &mut Draw| match name {
        "tau_mem" if uneven => draw.uniform(4.0, 25.0),
        "tau_mem" => 20.0,
        "tau_syn" if uneven => draw.uniform(2.0, 25.0),
        "tau_syn" => [5.0, 20.0, 10.0][case % 3],
        "v_th" => 1.0,
        "v_reset" => [0.0, -0.5, 0.3][case % 3],
        // Above threshold in a few neurons: they fire without input.
        "i_bias" if case % 4 == 3 => draw.uniform(-0.5, 1.3),
        "i_bias" => 0.0,
        "v_init" => draw.uniform(-0.2, 0.2),
        "t_ref" if case % 5 == 2 => [0.0, 3.0, f64::INFINITY][draw.below(3)],
        "t_ref" => 0.0,
        // Ties: whole milliseconds, zero among them.
        "delay" if case % 4 == 1 => draw.below(9) as f64,
        "delay" => draw.uniform(0.0, 12.0),
        // From the input.
        "weight" if matches!(projection, "p0" | "p3") => draw.uniform(-0.3, 0.9),
        "weight" => draw.uniform(-0.2, 0.15),
        other => unreachable!("{other}"),
    };
    let slot = |slot: &evprop::network::Slot, draw: &mut Draw| {
        let (projection, name) = slot.name.split_once('.').expect("a dot");
        (0..slot.shape.iter().product()).map(|_| value(projection, name, draw)).collect()
    };
    network.layout().iter().map(|s| slot(s, draw)).collect()
}

pub fn inputs(case: usize, draw: &mut Draw) -> (Vec<f64>, Vec<u32>, Vec<i64>) {
    let n = [0, 1, 40, 150, 600][case % 5];
    let ties = case % 3 == 2;
    let mut times: Vec<f64> =
        (0..n).map(|_| if ties { draw.below(DURATION as usize) as f64 } else { draw.uniform(0.0, DURATION) }).collect();
    times.sort_by(f64::total_cmp);
    let units = (0..n).map(|_| draw.below(12) as u32).collect();
    (times, units, vec![0, n as i64])
}

fn run<T: Real>(
    network: &Network,
    slots: &[Vec<f64>],
    spikes: SpikeBatch<'_>,
    eventwise: bool,
    simd: Simd,
) -> Record<T> {
    let slots: Vec<Vec<T>> = slots.iter().map(|slot| slot.iter().map(|&x| T::of(x)).collect()).collect();
    let params = Params::new(network, slots.iter().map(Vec::as_slice).collect()).expect("sound parameters");
    let settings =
        Settings { duration: DURATION, max_spikes: 200_000, eventwise_only: eventwise, simd, stop_when_fired: None };
    simulate(&CancelFlag::new(), network, &params, &[spikes], &[], &settings).expect("no runaway")
}

fn compare(delays: &[DelayKind], cases: usize) {
    let mut spikes = 0;
    for case in 0..cases {
        let mut draw = Draw(1_000 + case as u64);
        let network = network(case, delays, &mut draw);
        let slots = parameters(&network, case, &mut draw);
        let (times, units, offsets) = inputs(case, &mut draw);
        let input = SpikeBatch::new(&times, &units, &offsets).expect("sound spikes");
        let plain: Record<f64> = run(&network, &slots, input, true, Simd::Baseline);
        let fast: Record<f64> = run(&network, &slots, input, false, Simd::detect());
        for (p, (a, b)) in plain.populations.iter().zip(&fast.populations).enumerate() {
            assert_eq!(a.units.len(), b.units.len(), "case {case}, population {p}");
            let mut expected: Vec<_> = a.units.iter().zip(&a.times).map(|(&u, &t)| (u, t)).collect();
            let mut found: Vec<_> = b.units.iter().zip(&b.times).map(|(&u, &t)| (u, t)).collect();
            // Unit by unit: rounding may swap two units that fire at nearly one instant.
            for all in [&mut expected, &mut found] {
                all.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
            }
            for (x, y) in expected.iter().zip(&found) {
                assert!(x.0 == y.0 && (x.1 - y.1).abs() < 1e-7, "case {case}, population {p}: {x:?} and {y:?}");
            }
            spikes += a.units.len();
        }
        for simd in Simd::available() {
            assert_eq!(fast, run(&network, &slots, input, false, simd), "case {case}: other bits with {}", simd.name());
        }
        let narrow: Record<f32> = run(&network, &slots, input, false, Simd::Baseline);
        assert_eq!(narrow, run(&network, &slots, input, false, Simd::detect()), "case {case}: float32");
    }
    assert!(spikes > 1_000, "only {spikes} spikes: the networks are too quiet to tell anything");
}

#[test]
fn rows_side_by_side_give_the_spikes_of_single_events() {
    compare(&[DelayKind::None, DelayKind::Axonal], 60);
}

#[test]
fn windows_give_the_spikes_of_single_events() {
    compare(&[DelayKind::Synaptic, DelayKind::Dendritic, DelayKind::None, DelayKind::Axonal], 60);
}
