//! Speed of the elementary functions and of the closed forms, per element.
//! `cargo bench -p evprop --bench math`.
#![allow(clippy::disallowed_methods, reason = "std's exp is the yardstick")]
#![allow(missing_docs, reason = "criterion's macros make items without")]
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use evprop::math::divided::{exp1, exp2, exp3};
use evprop::math::{Real, Simd};
use evprop::neuron::kernels;
use evprop::vectorised;
use std::hint::black_box;

const N: usize = 1024;

vectorised! {
    fn exp_all<T>(x: &[T], y: &mut [T]) {
        for (&x, y) in x.iter().zip(y) {
            *y = x.exp_neg();
        }
    }
}

vectorised! {
    fn ln_all<T>(x: &[T], y: &mut [T]) {
        for (&x, y) in x.iter().zip(y) {
            *y = x.ln_1p();
        }
    }
}

/// Spans as they occur: 0 to 40 ms, unordered.
fn spans() -> Vec<f64> {
    (0..N).map(|k| (k * 7919 % N) as f64 * 40.0 / N as f64).collect()
}

fn elementary<T: Real>(c: &mut Criterion) {
    let mut group = c.benchmark_group(format!("elementary_{}", T::NAME));
    group.throughput(Throughput::Elements(N as u64));
    let below: Vec<T> = spans().iter().map(|d| T::of(-d / 5.0)).collect();
    let above: Vec<T> = spans().iter().map(|&d| T::of(d)).collect();
    let mut y = vec![T::ZERO; N];
    for simd in Simd::available() {
        group.bench_function(format!("exp_{}", simd.name()), |b| {
            b.iter(|| exp_all(simd, black_box(&below), &mut y));
        });
        group.bench_function(format!("ln_1p_{}", simd.name()), |b| {
            b.iter(|| ln_all(simd, black_box(&above), &mut y));
        });
    }
    group.bench_function("exp_std", |b| {
        b.iter(|| {
            for (x, y) in black_box(&below).iter().zip(&mut y) {
                *y = T::of(x.f64().exp());
            }
        });
    });
    group.finish();
}

fn closed_forms(c: &mut Criterion) {
    type Form = fn(f64, f64, f64) -> f64;
    let forms: [(&str, Form); 9] = [
        ("exp1", |d, tm, ts| exp1(-d / tm, -d / ts)),
        ("exp2", |d, tm, ts| exp2(0.0, -d / tm, -d / ts)),
        ("exp3", |d, tm, ts| exp3(0.0, -d / tm, -d / ts, -d / ts)),
        ("kappa", kernels::kappa),
        ("kappa_dtm", kernels::kappa_dtm),
        ("kappa_dts", kernels::kappa_dts),
        ("int_kappa", kernels::int_kappa),
        ("int_kappa_dts", kernels::int_kappa_dts),
        ("weighted_int_kappa_dtm", |d, tm, ts| kernels::weighted::int_kappa_dtm(d, 100.0, tm, ts)),
    ];
    for (ratio, tau_syn) in [("ratio_4", 5.0), ("equal", 20.0)] {
        let mut group = c.benchmark_group(format!("closed_forms_{ratio}"));
        group.throughput(Throughput::Elements(N as u64));
        let spans = spans();
        for (name, form) in forms {
            group.bench_function(name, |b| {
                b.iter(|| black_box(&spans).iter().map(|&d| form(d, 20.0, tau_syn)).sum::<f64>());
            });
        }
        group.finish();
    }
}

criterion_group!(benches, elementary::<f64>, elementary::<f32>, closed_forms);
criterion_main!(benches);
