//! exp, expm1 and ln_1p: accuracy in units in the last place (ulp), edge values, and the same bits at every width.
#![allow(clippy::disallowed_methods, reason = "std's functions are the second opinion here")]
use evprop::math::{Real, Simd};
use evprop::vectorised;

/// Distance between neighbouring numbers of type `T` at `x`.
fn ulp<T: Real>(x: f64) -> f64 {
    let x = x.abs();
    f64::from_bits(x.to_bits() & 0x7ff0_0000_0000_0000) * T::EPSILON.f64()
}

fn rows(table: &str) -> impl Iterator<Item = Vec<f64>> + '_ {
    let numbers = |line: &str| line.split_whitespace().map(|word| word.parse().expect("a number")).collect();
    table.lines().filter(|line| !line.starts_with('#')).map(numbers)
}

/// Error in ulp against the sum `high + low`.
fn error(value: f64, high: f64, low: f64) -> f64 {
    if high == 0.0 { value.abs() } else { ((value - high) - low).abs() / ulp::<f64>(high) }
}

#[test]
fn double_exp_is_within_one_ulp() {
    let (mut exp, mut expm1) = (0.0f64, 0.0f64);
    for row in rows(include_str!("../tables/exp.txt")) {
        let (e, m) = row[0].exp_expm1();
        assert_eq!(e.to_bits(), row[0].exp_neg().to_bits());
        exp = exp.max(error(e, row[1], row[2]));
        expm1 = expm1.max(error(m, row[3], row[4]));
    }
    println!("exp {exp:.3} ulp, expm1 {expm1:.3} ulp");
    assert!(exp <= 1.0, "exp: {exp} ulp");
    assert!(expm1 <= 2.0, "expm1: {expm1} ulp");
}

#[test]
fn double_ln_1p_is_within_one_ulp() {
    let mut worst = 0.0f64;
    for row in rows(include_str!("../tables/ln_1p.txt")) {
        worst = worst.max(error(Real::ln_1p(row[0]), row[1], row[2]));
    }
    println!("ln_1p {worst:.3} ulp");
    assert!(worst <= 1.0, "ln_1p: {worst} ulp");
}

/// Against std, which is itself off by a little less than 1 ulp.
#[test]
fn dense_sweeps_agree_with_std() {
    let (mut exp, mut expm1, mut ln) = (0.0f64, 0.0f64, 0.0f64);
    for k in 0..400_000 {
        let share = f64::from(k) / 400_000.0;
        for x in [-708.0 * share, -2.0 * share, -1e-3 * share] {
            let (e, m) = x.exp_expm1();
            exp = exp.max((e - x.exp()).abs() / ulp::<f64>(e));
            expm1 = expm1.max(if x == 0.0 { m.abs() } else { (m - x.exp_m1()).abs() / ulp::<f64>(m) });
        }
        for x in [-share, 4.0 * share, 1e4 * share] {
            let l = Real::ln_1p(x);
            ln = ln.max(if x == 0.0 { l.abs() } else { (l - x.ln_1p()).abs() / ulp::<f64>(l) });
        }
    }
    println!("exp {exp}, expm1 {expm1}, ln_1p {ln} ulp from std");
    assert!(exp <= 2.0 && expm1 <= 3.0 && ln <= 2.0, "exp {exp}, expm1 {expm1}, ln_1p {ln} ulp from std");
}

#[test]
fn single_precision_is_within_two_ulp() {
    let (mut exp, mut expm1, mut ln) = (0.0f64, 0.0f64, 0.0f64);
    for k in 0..400_000 {
        let share = f64::from(k) / 400_000.0;
        for x in [-87.0 * share, -2.0 * share, -1e-3 * share] {
            let x = x as f32;
            let (e, m) = x.exp_expm1();
            let (true_e, true_m) = (f64::from(x).exp(), f64::from(x).exp_m1());
            exp = exp.max((e.f64() - true_e).abs() / ulp::<f32>(true_e));
            expm1 = expm1.max(if x == 0.0 { m.f64().abs() } else { (m.f64() - true_m).abs() / ulp::<f32>(true_m) });
        }
        for x in [-share, 4.0 * share, 1e4 * share] {
            let x = x as f32;
            let (l, true_l) = (Real::ln_1p(x).f64(), f64::from(x).ln_1p());
            ln = ln.max(if x == 0.0 { l.abs() } else { (l - true_l).abs() / ulp::<f32>(true_l) });
        }
    }
    println!("single: exp {exp}, expm1 {expm1}, ln_1p {ln} ulp");
    assert!(exp <= 1.0 && expm1 <= 2.0 && ln <= 0.51, "exp {exp}, expm1 {expm1}, ln_1p {ln} ulp");
}

#[test]
fn short_spans_decay_to_half_an_ulp() {
    fn worst<T: Real>() -> f64 {
        let of = |k: u32| T::of(f64::from(k) / 100_000.0 / 16.0);
        let error = |x: T| (x.exp_of_short().f64() - (-x.f64()).exp()).abs() / (0.5 * T::EPSILON.f64());
        (0..=100_000).map(of).map(error).fold(0.0, f64::max)
    }
    let (single, double) = (worst::<f32>(), worst::<f64>());
    println!("e^-x of short spans: single {single:.3} ulp, double {double:.3} ulp from std");
    assert!(single <= 0.7 && double <= 1.5, "single {single}, double {double}");
    assert_eq!((0.0f32.exp_of_short(), 0.0f64.exp_of_short()), (1.0, 1.0));
}

#[test]
fn edges() {
    fn check<T: Real>(lowest: f64) {
        assert_eq!(T::ZERO.exp_expm1(), (T::ONE, T::ZERO));
        assert_eq!((-T::ZERO).exp_expm1(), (T::ONE, T::ZERO));
        assert_eq!((-T::INFINITY).exp_expm1(), (T::ZERO, -T::ONE));
        assert_eq!(T::of(lowest - 1.0).exp_expm1(), (T::ZERO, -T::ONE));
        assert!(T::of(lowest + 1.0).exp_neg() > T::ZERO);
        // Small arguments come back as they are.
        let tiny = T::of(-1e-30);
        assert_eq!(tiny.exp_expm1(), (T::ONE, tiny));
        assert_eq!(tiny.ln_1p(), tiny);
        assert_eq!(T::ZERO.ln_1p(), T::ZERO);
    }
    check::<f64>(-708.0);
    check::<f32>(-87.0);
}

/// Rounding may make neighbours swap by an ulp where the reduction changes its `n`, and no more.
#[test]
fn exp_rises() {
    for n in 1..1000 {
        let x = -(f64::from(n) - 0.5) * std::f64::consts::LN_2;
        let mut before = 0.0;
        let mut at = f64::from_bits(x.to_bits() + 200);
        for _ in 0..400 {
            let e = at.exp_neg();
            assert!(e >= before - ulp::<f64>(before), "exp falls at {at:e}");
            before = e;
            at = at.next_up();
        }
    }
}

vectorised! {
    /// All functions of a list of arguments.
    fn all<T>(x: &[T], exp: &mut [T], expm1: &mut [T], ln: &mut [T]) {
        for (((&x, e), m), l) in x.iter().zip(exp).zip(expm1).zip(ln) {
            (*e, *m) = x.exp_expm1();
            *l = (T::ONE + x * T::of(1e-3) + T::of(0.5)).ln_1p();
        }
    }
}

#[test]
fn same_bits_at_every_width() {
    fn check<T: Real>(lowest: f64) {
        let x: Vec<T> = (0..10_001).map(|k| T::of(lowest * (f64::from(k) / 1e4) * (f64::from(k) / 1e4))).collect();
        let run = |simd| {
            let (mut e, mut m, mut l) = (x.clone(), x.clone(), x.clone());
            all(simd, &x, &mut e, &mut m, &mut l);
            (e, m, l)
        };
        let one_by_one: Vec<T> = x.iter().map(|x| x.exp_neg()).collect();
        for simd in Simd::available() {
            assert_eq!(run(simd), run(Simd::Baseline), "{}", simd.name());
            assert_eq!(run(simd).0, one_by_one, "{}", simd.name());
        }
    }
    check::<f64>(-710.0);
    check::<f32>(-90.0);
}
