//! Products with matrices, row by row, in a fixed order of additions.
use crate::math::{Real, Simd};
use crate::vectorised;

vectorised! {
    /// `out += scale row`.
    fn add_row<T>(scale: T, row: &[T], out: &mut [T]) {
        for (out, &row) in out.iter_mut().zip(row) {
            *out += scale * row;
        }
    }
}

/// `out = sum_k scales[k] rows[k]`, rows of `out.len()` numbers; a scale of 0 costs nothing.
pub fn combine<T: Real>(simd: Simd, scales: &[T], rows: &[T], out: &mut [T]) {
    out.fill(T::ZERO);
    for (&scale, row) in scales.iter().zip(rows.chunks_exact(out.len())) {
        if scale != T::ZERO {
            add_row(simd, scale, row, out);
        }
    }
}

/// Sum of products, in lanes of a fixed number.
pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    const LANES: usize = 8;
    let (mut a, mut b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let mut sums = [0.0; LANES];
    for (a, b) in a.by_ref().zip(b.by_ref()) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    let rest: f64 = a.remainder().iter().zip(b.remainder()).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f64>() + rest
}

/// The columns of a matrix with rows of `width` numbers, as rows.
pub fn transpose(matrix: &[f64], width: usize) -> Vec<f64> {
    (0..width).flat_map(|k| matrix.iter().skip(k).step_by(width).copied()).collect()
}

/// `M^T M` of a matrix with rows of `width` numbers.
pub fn gram(simd: Simd, matrix: &[f64], width: usize) -> Vec<f64> {
    let mut product = vec![0.0; width * width];
    for row in matrix.chunks_exact(width) {
        for (&scale, out) in row.iter().zip(product.chunks_exact_mut(width)) {
            add_row(simd, scale, row, out);
        }
    }
    product
}

/// A bound from above on the largest eigenvalue of a symmetric positive semidefinite matrix of `n` rows.
///
/// `||S^p||_F^(1/p)` with p = 64 is never below the largest eigenvalue, and above it by the factor `rank^(1/128)` at most
/// (4 % for a rank of 100).
pub fn eigenvalue_bound(simd: Simd, matrix: &[f64], n: usize) -> f64 {
    const SQUARINGS: usize = 6;
    let mut power = matrix.to_vec();
    let mut bound = 1.0;
    let mut norms = Vec::with_capacity(SQUARINGS + 1);
    for k in 0..=SQUARINGS {
        let norm = dot(&power, &power).sqrt();
        if norm == 0.0 {
            return 0.0;
        }
        norms.push(norm);
        power.iter_mut().for_each(|x| *x /= norm);
        if k < SQUARINGS {
            // symmetric: M^T M = M^2
            power = gram(simd, &power, n);
        }
    }
    // S^(2^k) = norms[0]^(2^k) norms[1]^(2^(k-1)) ... norms[k] times a matrix of norm 1
    for &norm in norms.iter().rev() {
        bound = f64::sqrt(bound) * norm;
    }
    bound
}
