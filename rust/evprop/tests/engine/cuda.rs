//! The kernels of the GPU against the engine, on the CPU: compiled as plain C++ into an emulated driver
//! (`tests/cuda/emulator.cpp`), which is what `Device::open` finds here.
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, OnceLock};

use super::recurrent_paths::{DURATION, inputs, network, parameters};
use evprop::cuda::{self, Device, Number, Sizes};
use evprop::math::{Real, Simd};
use evprop::network::{Network, Params};
use evprop::parallel::CancelFlag;
use evprop::projection::DelayKind;
use evprop::record::{PopulationRecord, Record};
use evprop::simulate::{Settings, simulate};
use evprop::spikes::SpikeBatch;
use evprop::test_problems::Draw;

const KINDS: [DelayKind; 4] = [DelayKind::Synaptic, DelayKind::Dendritic, DelayKind::None, DelayKind::Axonal];

/// The emulated device; this process must not have met another driver before.
fn device() -> Arc<Device> {
    static LIBRARY: OnceLock<libloading::Library> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let (root, folder) = (env!("CARGO_MANIFEST_DIR"), env!("CARGO_TARGET_TMPDIR"));
        let library = Path::new(folder).join("libcuda.so.1");
        let compiled = Command::new("g++")
            .args(["-std=c++17", "-O1", "-ffp-contract=off", "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1"])
            .arg(format!("-I{root}/src/cuda/kernels"))
            .arg("-o")
            .arg(&library)
            .arg(format!("{root}/tests/cuda/emulator.cpp"))
            .status();
        assert!(compiled.expect("g++ is on the PATH").success(), "the kernels compile as plain C++");
        // SAFETY: the library was just built from this repository; loading it runs no code.
        unsafe { libloading::Library::new(library) }.expect("a library")
    });
    Device::open(0).expect("the emulated device")
}

/// A case of `recurrent_paths`, three samples: its own input, none, and the first half.
struct Problem {
    network: Network,
    slots: Vec<Vec<f64>>,
    spikes: (Vec<f64>, Vec<u32>, Vec<i64>),
}

impl Problem {
    fn new(case: usize) -> Self {
        let mut draw = Draw(1_000 + case as u64);
        let network = network(case, &KINDS, &mut draw);
        let slots = parameters(&network, case, &mut draw);
        let (mut times, mut units, _) = inputs(case, &mut draw);
        let (n, half) = (times.len(), times.len() / 2);
        times.extend_from_within(..half);
        units.extend_from_within(..half);
        let offsets = vec![0, n as i64, n as i64, (n + half) as i64];
        Self { network, slots, spikes: (times, units, offsets) }
    }

    fn cast<T: Real>(&self) -> Vec<Vec<T>> {
        self.slots.iter().map(|slot| slot.iter().map(|&x| T::of(x)).collect()).collect()
    }

    fn batch(&self) -> SpikeBatch<'_> {
        SpikeBatch::new(&self.spikes.0, &self.spikes.1, &self.spikes.2).expect("sound spikes")
    }
}

fn settings() -> Settings {
    Settings {
        duration: DURATION,
        max_spikes: 200_000,
        eventwise_only: true,
        simd: Simd::Baseline,
        stop_when_fired: None,
    }
}

/// The seconds of CPU that this takes are the kernels', fibre by fibre: half of the cases do.
const CASES: usize = 30;

fn on_device<T: Number>(problem: &Problem, settings: &Settings, sizes: &Sizes) -> evprop::Result<Record<T>> {
    let slots = problem.cast::<T>();
    let params = Params::new(&problem.network, slots.iter().map(Vec::as_slice).collect())?;
    let flag = CancelFlag::new();
    cuda::simulate(&flag, &device(), &problem.network, &params, &[problem.batch()], &[], settings, sizes)?.fetch()
}

fn on_cpu<T: Real>(problem: &Problem, settings: &Settings) -> evprop::Result<Record<T>> {
    let slots = problem.cast::<T>();
    let params = Params::new(&problem.network, slots.iter().map(Vec::as_slice).collect())?;
    simulate(&CancelFlag::new(), &problem.network, &params, &[problem.batch()], &[], settings)
}

/// Cases with ties among arrivals: sums of weights that arrive at one instant may be taken in another order.
fn has_ties(case: usize) -> bool {
    case % 4 == 1 || case % 3 == 2
}

/// Sample, unit and time: rounding may swap two units that fire at nearly one instant.
fn by_unit<T: Real>(record: &PopulationRecord<T>) -> Vec<((usize, u32), f64)> {
    let samples = record.offsets.len() - 1;
    let of = |b: usize| record.range(b).map(move |k| ((b, record.units[k]), record.times[k]));
    let mut all: Vec<_> = (0..samples).flat_map(of).collect();
    all.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
    all
}

fn same_spikes<T: Number>() {
    let mut spikes = 0;
    for case in 0..CASES {
        let problem = Problem::new(case);
        let expected = on_cpu::<T>(&problem, &settings()).expect("no runaway");
        let found = on_device::<T>(&problem, &settings(), &Sizes::default()).expect("no runaway");
        for (p, (a, b)) in expected.populations.iter().zip(&found.populations).enumerate() {
            let what = format!("{}, case {case}, population {p}", T::NAME);
            spikes += a.times.len();
            if has_ties(case) {
                let (expected, found) = (by_unit(a), by_unit(b));
                assert_eq!(expected.len(), found.len(), "{what}");
                for (x, y) in expected.iter().zip(&found) {
                    assert!(x.0 == y.0 && (x.1 - y.1).abs() < 1e-7, "{what}: {x:?} and {y:?}");
                }
            } else {
                assert_eq!((&a.offsets, &a.units), (&b.offsets, &b.units), "{what}");
                assert!(a.times == b.times && a.current == b.current, "{what}: other bits");
            }
        }
    }
    assert!(spikes > 2_000, "only {spikes} spikes: the networks are too quiet to tell anything");
}

#[test]
fn the_spikes_of_single_events_bit_for_bit() {
    same_spikes::<f64>();
}

#[test]
fn neither_threads_nor_windows_nor_room_change_a_bit() {
    for case in [3, 4, 7, 12, 18, 22] {
        assert!(!has_ties(case));
        let problem = Problem::new(case);
        let plain = on_device::<f32>(&problem, &settings(), &Sizes::default()).expect("no runaway");
        let tight = Sizes {
            threads: Some(64),
            window: Some(1.7),
            spikes: Some(1),
            arrivals: Some(1),
            slots: Some(2),
            lanes: Some(3),
        };
        let one_window = Sizes { window: Some(DURATION), ..Sizes::default() };
        assert_eq!(plain, on_device(&problem, &settings(), &tight).expect("no runaway"), "case {case}");
        assert_eq!(plain, on_device(&problem, &settings(), &one_window).expect("no runaway"), "case {case}");
    }
}

#[test]
fn a_runaway_ends_in_the_same_error() {
    let problem = Problem::new(4);
    let few = Settings { max_spikes: 100, ..settings() };
    let expected = on_cpu::<f64>(&problem, &few).expect_err("more than 100 spikes");
    assert_eq!(on_device::<f64>(&problem, &few, &Sizes::default()).expect_err("more than 100 spikes"), expected);
}
