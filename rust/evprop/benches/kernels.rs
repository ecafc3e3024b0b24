//! Speed of whole passes, forwards and backwards, by the path that plays them. One thread.
//! `cargo bench -p evprop --bench kernels`.
#![allow(missing_docs, reason = "criterion's macros make items without")]
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use evprop::math::{Real, Simd};
use evprop::parallel;
use evprop::projection::DelayKind;
use evprop::test_problems::Problem;
use std::hint::black_box;

fn both_ways<T: Real>(c: &mut Criterion, name: &str, problem: Problem) {
    let samples = problem.inputs.2.len() - 1;
    let problem = problem.cast::<T>();
    let record = problem.forward().expect("a sound problem");
    let mut group = c.benchmark_group(format!("{name}_{}", T::NAME));
    group.throughput(Throughput::Elements(samples as u64)).sample_size(10);
    group.bench_function("forward", |b| b.iter(|| black_box(&problem).forward()));
    group.bench_function("backward", |b| b.iter(|| black_box(&problem).backward(&record)));
    group.finish();
}

fn passes<T: Real>(c: &mut Criterion) {
    parallel::set_num_threads(1);
    both_ways::<T>(c, "yin_yang_size", Problem::yin_yang_size(150).expect("a sound problem"));
    for (name, delay) in [("none", DelayKind::None), ("axonal", DelayKind::Axonal), ("synaptic", DelayKind::Synaptic)] {
        let problem = Problem::keyword_size(delay, 256, 4).expect("a sound problem");
        both_ways::<T>(c, &format!("keyword_size_{name}"), problem);
    }
}

const TARGETS: usize = 256;

evprop::vectorised! {
    fn rows_to_state<T>(order: &[usize], table: &[T], state: &mut [T; TARGETS]) {
        for &at in order {
            for (x, w) in state.iter_mut().zip(&table[at..at + TARGETS]) {
                *x += *w;
            }
        }
    }
}

evprop::vectorised! {
    fn state_to_rows<T>(order: &[usize], table: &mut [T], state: &[T; TARGETS]) {
        for &at in order {
            for (x, w) in state.iter().zip(&mut table[at..at + TARGETS]) {
                *w += *x;
            }
        }
    }
}

/// What the machine can't do without: a row of 256 weights added for each of a sample's spikes, and back.
fn limit<T: Real>(c: &mut Criterion) {
    const SENDERS: usize = 956;
    const EVENTS: usize = 11_650;
    let simd = Simd::detect();
    let order: Vec<usize> = (0..EVENTS).map(|k| k * 7919 % SENDERS * TARGETS).collect();
    let (mut table, mut state) = (vec![T::of(0.01); SENDERS * TARGETS], [T::ZERO; TARGETS]);
    let mut group = c.benchmark_group(format!("limit_{}", T::NAME));
    group.throughput(Throughput::Elements(1)).sample_size(20);
    group.bench_function("rows_to_state", |b| b.iter(|| rows_to_state(simd, black_box(&order), &table, &mut state)));
    group.bench_function("state_to_rows", |b| b.iter(|| state_to_rows(simd, black_box(&order), &mut table, &state)));
    group.finish();
}

criterion_group!(benches, passes::<f64>, passes::<f32>, limit::<f64>, limit::<f32>);
criterion_main!(benches);
