//! The lockstep path against the eventwise path: two ways through the same feed-forward network, the same spikes.
use evprop::math::Simd;
use evprop::network::{Kind, Network, Params};
use evprop::parallel::CancelFlag;
use evprop::projection::DelayKind;
use evprop::record::Record;
use evprop::simulate::{Settings, simulate};
use evprop::spikes::SpikeBatch;
use evprop::test_problems::{self, Draw};

fn network(delay: DelayKind, n: usize) -> Network {
    let populations = [("input", Kind::Input, 6), ("a", Kind::Lif, n), ("b", Kind::Lif, 3)];
    test_problems::network(&populations, &[(0, 1, delay), (1, 2, delay)]).expect("a sound network")
}

fn run(network: &Network, slots: &[Vec<f64>], spikes: SpikeBatch<'_>, eventwise_only: bool, simd: Simd) -> Record<f64> {
    let params = Params::new(network, slots.iter().map(Vec::as_slice).collect()).expect("sound parameters");
    let settings = Settings { duration: 200.0, max_spikes: 100_000, stop_when_fired: None, eventwise_only, simd };
    simulate(&CancelFlag::new(), network, &params, &[spikes], &[], &settings).expect("no runaway")
}

#[test]
fn same_spikes_on_both_paths_and_same_bits_at_every_vector_width() {
    for (case, delay) in [DelayKind::None, DelayKind::Axonal, DelayKind::Dendritic, DelayKind::Synaptic]
        .into_iter()
        .cycle()
        .take(40)
        .enumerate()
    {
        let mut draw = Draw(case as u64);
        let network = network(delay, 5 + 7 * case);
        let uneven = case % 3 == 1;
        let mut slots = Vec::new();
        for slot in network.layout() {
            let size = slot.shape.iter().product();
            let kind = slot.name.rsplit('.').next().expect("a dot");
            let held = case % 5 == 4;
            let value = |draw: &mut Draw| match kind {
                "tau_mem" => {
                    if uneven {
                        draw.uniform(5.0, 25.0)
                    } else {
                        20.0
                    }
                }
                "tau_syn" => {
                    if uneven {
                        draw.uniform(2.0, 25.0)
                    } else {
                        5.0
                    }
                }
                "v_th" => 1.0,
                "t_ref" if held => 2.0,
                "t_ref" if case % 7 == 6 => f64::INFINITY,
                "i_bias" if uneven => draw.uniform(-0.2, 1.2),
                "weight" => draw.uniform(-1.0, 3.0),
                "delay" => draw.uniform(0.0, 15.0),
                _ => 0.0,
            };
            slots.push((0..size).map(|_| value(&mut draw)).collect::<Vec<f64>>());
        }
        // Times on a coarse grid: many fall together.
        let mut times: Vec<f64> = (0..60).map(|_| draw.uniform(0.0, 300.0).floor() / 2.0).collect();
        times.sort_by(f64::total_cmp);
        let units: Vec<u32> = (0..60).map(|k| k % 6).collect();
        let offsets = [0, 25, 25, 60];
        let batch = || SpikeBatch::new(&times, &units, &offsets).expect("sound spikes");
        let plain = run(&network, &slots, batch(), true, Simd::Baseline);
        let fast = run(&network, &slots, batch(), false, Simd::Baseline);
        for p in 1..3 {
            let (a, b) = (&plain.populations[p], &fast.populations[p]);
            assert_eq!(a.offsets, b.offsets, "case {case}");
            let apart = a.times.iter().zip(&b.times).map(|(x, y)| (x - y).abs()).fold(0.0, f64::max);
            assert!(apart < 1e-9, "case {case}: spikes of population {p} lie {apart} ms apart");
        }
        for simd in Simd::available() {
            assert_eq!(run(&network, &slots, batch(), false, simd), fast, "case {case}, {}", simd.name());
        }
    }
}
