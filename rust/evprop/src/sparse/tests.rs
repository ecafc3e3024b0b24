use super::kernels::{combine, dot, eigenvalue_bound, gram, transpose};
use super::penalty::{dual_norm, prox, value};
use super::{Pursuit, Stop, pull_back, respond, settle, solve};
use crate::error::Error;
use crate::math::Simd;
use crate::parallel::CancelFlag;
use crate::test_problems::Draw;

const STOP: Stop = Stop { tolerance: 1e-13, max_iterations: 20_000 };

fn draw(draw: &mut Draw, n: usize) -> Vec<f64> {
    (0..n).map(|_| draw.uniform(-1.0, 1.0)).collect()
}

/// 12 features, 20 atoms in 7 groups that are not contiguous, weights of all three kinds; 5 signals.
fn problem() -> (Pursuit, Vec<f64>) {
    let mut rng = Draw(3);
    let dictionary = draw(&mut rng, 12 * 20);
    let groups: Vec<u32> = (0..20).map(|k| 3 * k % 7).collect();
    let l1 = [0.1, 0.0, 0.2, 0.3, 0.1, 0.0, 0.05];
    let l2 = [0.0, 0.3, 0.1, 0.2, 0.4, 0.5, 0.05];
    let problem = Pursuit::new(&dictionary, &groups, &l1, &l2).expect("valid");
    (problem, draw(&mut rng, 5 * 12))
}

#[test]
fn products_are_sums() {
    let matrix = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
    assert_eq!(transpose(&matrix, 3), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
    assert_eq!(gram(Simd::detect(), &matrix, 3), [17.0, 22.0, 27.0, 22.0, 29.0, 36.0, 27.0, 36.0, 45.0]);
    let mut out = [9.0; 3];
    combine(Simd::detect(), &[2.0, -1.0], &matrix, &mut out);
    assert_eq!(out, [-2.0, -1.0, 0.0]);
    let long: Vec<f64> = (0..19).map(f64::from).collect();
    assert_eq!(dot(&long, &long), 2109.0);
}

#[test]
fn the_bound_is_above_the_largest_eigenvalue_and_near() {
    // eigenvalues 1 and 3; 2 x 1e150, whose squares overflow
    let bound = eigenvalue_bound(Simd::detect(), &[2.0, 1.0, 1.0, 2.0], 2);
    assert!((3.0..3.0 * 2f64.sqrt().sqrt()).contains(&bound), "{bound}");
    let scaled = eigenvalue_bound(Simd::detect(), &[2e150, 1e150, 1e150, 2e150], 2);
    assert!((scaled / 1e150 - bound).abs() < 1e-12);
    assert_eq!(eigenvalue_bound(Simd::detect(), &[0.0; 4], 2), 0.0);
    // 30 equal eigenvalues: the worst case, 30^(1/128)
    let mut identity = vec![0.0; 900];
    (0..30).for_each(|k| identity[31 * k] = 1.0);
    let bound = eigenvalue_bound(Simd::detect(), &identity, 30);
    assert!((1.0..1.028).contains(&bound), "{bound}");
}

/// The proximal map minimises: no other point nearby is better.
#[test]
fn the_prox_minimises() {
    let mut rng = Draw(5);
    for (l1, l2) in [(0.3, 0.0), (0.0, 0.6), (0.2, 0.4), (2.0, 0.1), (0.1, 5.0)] {
        for _ in 0..50 {
            let v = draw(&mut rng, 4);
            let mut best = v.clone();
            prox(&mut best, l1, l2);
            let cost =
                |a: &[f64]| 0.5 * a.iter().zip(&v).map(|(a, v)| (a - v) * (a - v)).sum::<f64>() + value(a, l1, l2);
            for size in [1e-6, 1e-3, 1e-1] {
                let other: Vec<f64> = best.iter().map(|a| a + size * rng.uniform(-1.0, 1.0)).collect();
                assert!(cost(&other) >= cost(&best) - 1e-16);
            }
        }
    }
}

/// The dual norm is the support: `c.a <= dual_norm(c) value(a)`, and the residual of its definition is 0.
#[test]
fn the_dual_norm_solves_its_equation() {
    let mut rng = Draw(7);
    let mut scratch = Vec::new();
    for (l1, l2) in [(0.3, 0.0), (0.0, 0.6), (0.2, 0.4), (0.4, 0.4), (2.0, 0.1), (0.1, 5.0)] {
        for scale in [1e-170, 1.0, 1e170] {
            let c: Vec<f64> = draw(&mut rng, 5).iter().map(|c| c * scale).collect();
            let t = dual_norm(&c, l1, l2, &mut scratch);
            let soft = c.iter().map(|c| (c.abs() - t * l1).max(0.0) / scale);
            let left = soft.map(|s| s * s).sum::<f64>().sqrt();
            if l2 == 0.0 {
                assert!(left == 0.0 && t > 0.0);
            } else {
                assert!((left - t / scale * l2).abs() < 1e-14, "{left} {t}");
            }
        }
    }
    assert_eq!(dual_norm(&[0.0, 0.0], 1.0, 1.0, &mut scratch), 0.0);
}

/// The minimum's conditions, group by group: `D_G^T r` is a subgradient of the penalty.
#[test]
fn solutions_obey_the_conditions_of_a_minimum() {
    let (problem, x) = problem();
    let found = solve(&problem, &x, None, STOP, &CancelFlag::new()).expect("converges");
    for (x, code) in x.chunks(12).zip(found.codes.chunks(20)) {
        let (mut own, mut image, mut pull) = (vec![0.0; 20], vec![0.0; 12], vec![0.0; 20]);
        problem.sorted(code, &mut own);
        problem.synthesise(&own, &mut image);
        let residual: Vec<f64> = x.iter().zip(&image).map(|(x, image)| x - image).collect();
        problem.correlate(&residual, &mut pull);
        for (atoms, l1, l2) in problem.groups() {
            let (a, c) = (&own[atoms.clone()], &pull[atoms]);
            let norm = dot(a, a).sqrt();
            if norm == 0.0 {
                assert!(dual_norm(c, l1, l2, &mut Vec::new()) <= 1.0 + 1e-6);
            }
            for (&a, &c) in a.iter().zip(c).filter(|_| norm > 0.0) {
                if a == 0.0 {
                    assert!(c.abs() <= l1 + 1e-6);
                } else {
                    assert!((c - l1 * a.signum() - l2 * a / norm).abs() < 1e-6);
                }
            }
        }
    }
    assert!(found.codes.contains(&0.0) && found.codes.iter().any(|&a| a != 0.0));
    assert!(found.iterations.iter().all(|&n| n > 0));
    let again = solve(&problem, &x, Some(&found.codes), STOP, &CancelFlag::new()).expect("is there already");
    assert_eq!(again.iterations, [0; 5]);
    assert_eq!(again.codes, found.codes);
}

#[test]
fn derivatives_are_those_of_differences() {
    let (problem, x) = problem();
    let cotangent = draw(&mut Draw(9), 5 * 20);
    let codes = |x: &[f64]| solve(&problem, x, None, STOP, &CancelFlag::new()).expect("converges").codes;
    let pulled = pull_back(&problem, &codes(&x), &cotangent, &CancelFlag::new()).expect("differentiable");
    let step = 1e-3;
    let mut largest = 0.0f64;
    for k in 0..x.len() {
        let at = |step: f64| {
            let mut moved = x.clone();
            moved[k] += step;
            dot(&codes(&moved), &cotangent)
        };
        let difference = (at(step) - at(-step)) / (2.0 * step);
        assert!((difference - pulled[k]).abs() < 2e-4, "{k}: {difference} {}", pulled[k]);
        largest = largest.max(difference.abs());
    }
    assert!(largest > 0.1);
}

#[test]
fn the_response_is_what_derivatives_are_made_of() {
    let (problem, x) = problem();
    let cotangent = draw(&mut Draw(9), 5 * 20);
    let codes = solve(&problem, &x, None, STOP, &CancelFlag::new()).expect("converges").codes;
    let pulled = pull_back(&problem, &codes, &cotangent, &CancelFlag::new()).expect("differentiable");
    let response = respond(&problem, &codes, &cotangent, &CancelFlag::new()).expect("differentiable");
    for (sample, response) in response.chunks(20).enumerate() {
        let (mut own, mut image) = (vec![0.0; 20], vec![0.0; 12]);
        problem.sorted(response, &mut own);
        problem.synthesise(&own, &mut image);
        assert_eq!(image, pulled[sample * 12..(sample + 1) * 12]);
        assert!(response.iter().zip(&codes[sample * 20..]).all(|(&h, &a)| (h == 0.0) == (a == 0.0)));
    }
}

#[test]
fn competition_ends_at_the_minimum() {
    let (problem, x) = problem();
    let codes = solve(&problem, &x, None, STOP, &CancelFlag::new()).expect("converges").codes;
    let step = 1.0 / problem.lipschitz();
    let marks = [0, 3, 3, 20_000];
    let followed = settle(&problem, &x, step, &marks, &CancelFlag::new()).expect("stable");
    for (code, rows) in codes.chunks(20).zip(followed.chunks(4 * 20)) {
        assert!(rows[..20].iter().all(|&a| a == 0.0));
        assert_eq!(rows[20..40], rows[40..60]);
        let error = code.iter().zip(&rows[60..]).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(error < 1e-5, "{error}");
    }
    let refused = |step: f64, marks: &[usize]| {
        settle(&problem, &x, step, marks, &CancelFlag::new()).expect_err("refused").to_string()
    };
    assert!(refused(0.0, &[1]).contains("above 0"));
    assert!(refused(1.5, &[1]).contains("at most 1"));
    assert!(refused(1.0, &[1]).contains("largest eigenvalue"));
    assert!(refused(step, &[2, 1]).contains("ascend"));
    assert!(settle(&problem, &x, step, &[], &CancelFlag::new()).expect("nothing to do").is_empty());
}

#[test]
fn the_batch_and_its_threads_change_no_bit() {
    let (problem, x) = problem();
    let many: Vec<f64> = x.iter().cycle().take(200 * 12).copied().collect();
    let all = solve(&problem, &many, None, STOP, &CancelFlag::new()).expect("converges");
    for (k, code) in all.codes.chunks(20).enumerate() {
        let one = solve(&problem, &x[k % 5 * 12..(k % 5 + 1) * 12], None, STOP, &CancelFlag::new()).expect("converges");
        assert_eq!(one.codes, code);
    }
}

#[test]
fn bad_problems_are_refused() {
    let build = |dictionary: &[f64], groups: &[u32], l1: &[f64], l2: &[f64]| {
        Pursuit::new(dictionary, groups, l1, l2).map(|_| ()).expect_err("refused").to_string()
    };
    let atoms = [1.0, 0.0, 0.0, 1.0];
    assert!(build(&[], &[0], &[1.0], &[0.0]).contains("no rows"));
    assert!(build(&atoms, &[0, 0, 0], &[1.0], &[0.0]).contains("4 numbers"));
    assert!(build(&[f64::NAN, 0.0], &[0, 0], &[1.0], &[0.0]).contains("dictionary[0] = NaN"));
    assert!(build(&[1.0, 0.0], &[0, 0], &[1.0], &[0.0]).contains("atom 1"));
    assert!(build(&atoms, &[0, 1], &[1.0], &[0.0]).contains("atom 1 is in group 1"));
    assert!(build(&atoms, &[1, 1], &[1.0; 2], &[0.0; 2]).contains("group 0 has no atom"));
    assert!(build(&atoms, &[0, 1], &[1.0; 2], &[0.0]).contains("l1 weighs 2"));
    assert!(build(&atoms, &[0, 1], &[1.0, -1.0], &[0.0; 2]).contains("l1[1] = -1"));
    assert!(build(&atoms, &[0, 1], &[1.0, 0.0], &[0.0; 2]).contains("group 1 has l1 = l2 = 0"));
    assert!(build(&[1e200, 0.0, 0.0, 1.0], &[0, 1], &[1.0; 2], &[0.0; 2]).contains("squared norm"));
}

#[test]
fn bad_signals_are_refused() {
    let (problem, x) = problem();
    let attempt = |x: &[f64], start: Option<&[f64]>, stop: Stop| {
        solve(&problem, x, start, stop, &CancelFlag::new()).expect_err("refused")
    };
    assert!(attempt(&x[1..], None, STOP).to_string().contains("rows of 12"));
    assert!(attempt(&[f64::INFINITY; 12], None, STOP).to_string().contains("x[0] = inf"));
    assert!(attempt(&x, Some(&[0.0; 20]), STOP).to_string().contains("codes for 1 samples"));
    assert!(attempt(&x, None, Stop { tolerance: 0.0, ..STOP }).to_string().contains("tolerance"));
    let short = attempt(&x, None, Stop { max_iterations: 2, ..STOP });
    assert!(matches!(short, Error::NotConverged { sample: 0, iterations: 2, gap } if gap > 1e-13), "{short}");
    let raised = CancelFlag::new();
    raised.cancel();
    assert_eq!(solve(&problem, &x, None, STOP, &raised), Err(Error::Cancelled));
    let none = pull_back(&problem, &[0.0; 20], &[0.0; 40], &CancelFlag::new()).expect_err("refused");
    assert!(none.to_string().contains("2 samples, codes for 1"));
}

/// Two equal atoms in use have no single solution, so no derivative.
#[test]
fn dependent_atoms_have_no_derivative() {
    let problem = Pursuit::new(&[1.0, 1.0, 0.0, 0.0], &[0, 1], &[0.1; 2], &[0.0; 2]).expect("valid");
    let error = pull_back(&problem, &[0.5, 0.5], &[1.0, 0.0], &CancelFlag::new()).expect_err("refused");
    assert!(error.to_string().contains("2 atoms in use are linearly dependent"));
}
