//! Speed of whole passes, forwards and backwards, by the path that plays them. One thread.
//! `cargo bench -p evprop --bench kernels`.
#![allow(missing_docs, reason = "criterion's macros make items without")]
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use evprop::math::Real;
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

criterion_group!(benches, passes::<f64>, passes::<f32>);
criterion_main!(benches);
