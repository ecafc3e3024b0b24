//! The penalty of one group, `l1 ||a||_1 + l2 ||a||_2`: value, proximal map and dual norm.

/// `l1 ||a||_1 + l2 ||a||_2`.
#[must_use]
pub fn value(a: &[f64], l1: f64, l2: f64) -> f64 {
    let (sum, squares) = a.iter().fold((0.0, 0.0), |(sum, squares), &a| (sum + a.abs(), squares + a * a));
    l1 * sum + l2 * f64::sqrt(squares)
}

/// Puts `argmin_a 1/2 ||a - v||^2 + l1 ||a||_1 + l2 ||a||_2` in place of `v`: each number is pulled to 0 by l1, then the
/// group's norm by l2 (Simon et al. 2013).
pub fn prox(v: &mut [f64], l1: f64, l2: f64) {
    let mut squares = 0.0;
    for v in v.iter_mut() {
        let size = v.abs() - l1;
        *v = if size > 0.0 { size.copysign(*v) } else { 0.0 };
        squares += *v * *v;
    }
    let norm = squares.sqrt();
    if norm > l2 {
        let shrink = 1.0 - l2 / norm;
        v.iter_mut().for_each(|v| *v *= shrink);
    } else {
        v.fill(0.0);
    }
}

/// The dual norm: the smallest t for which `c = u + w` with `max |u_i| <= t l1` and `||w||_2 <= t l2`.
///
/// It solves `||soft(c, t l1)||_2 = t l2`, whose left side is a piecewise quadratic of t under the root; the numbers that are
/// above `t l1` at the solution are found from the largest down. `scratch` needs no contents.
pub fn dual_norm(c: &[f64], l1: f64, l2: f64, scratch: &mut Vec<f64>) -> f64 {
    let largest = c.iter().fold(0.0, |m: f64, c| m.max(c.abs()));
    if largest == 0.0 {
        return 0.0;
    }
    if l2 == 0.0 {
        return largest / l1;
    }
    // in units of the largest: squares neither overflow nor vanish
    if l1 == 0.0 {
        return largest * c.iter().map(|c| (c / largest) * (c / largest)).sum::<f64>().sqrt() / l2;
    }
    scratch.clear();
    scratch.extend(c.iter().map(|c| c.abs() / largest));
    scratch.sort_unstable_by(|a, b| b.total_cmp(a));
    let (mut n, mut sum, mut squares) = (0.0, 0.0, 0.0);
    for &size in scratch.iter() {
        let t = size / l1;
        // ||soft(c, t l1)||^2 at this t, of the numbers above it
        let above = squares - 2.0 * size * sum + n * size * size;
        if n > 0.0 && above >= (t * l2) * (t * l2) {
            break;
        }
        n += 1.0;
        sum += size;
        squares += size * size;
    }
    // (n l1^2 - l2^2) t^2 - 2 l1 sum t + squares = 0, its smallest positive root
    let quadratic = n * l1 * l1 - l2 * l2;
    let root = (l1 * sum * l1 * sum - quadratic * squares).max(0.0).sqrt();
    largest * squares / (l1 * sum + root)
}
