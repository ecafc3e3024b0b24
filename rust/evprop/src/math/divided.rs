//! Divided differences of the exponential, accurate for any spacing of the nodes.
//!
//! ```text
//! exp[x0]           = e^x0
//! exp[x0, ..., xn]  = (exp[x0, ..., x(n-1)] - exp[x1, ..., xn]) / (x0 - xn)       (equal nodes: the limit)
//! ```
//!
//! They are symmetric in their nodes and positive; `exp[x, ..., x] = e^x / n!`. Everything a neuron with two time
//! constants needs in closed form (its propagator, the integrals of it, their derivatives with respect to the
//! constants) is such a difference, with a repeated node for a derivative. So no formula has a singularity where the
//! time constants are equal, and none overflows.
//!
//! Method (after McCurdy, Ng & Parlett 1984, "Accurate computation of divided differences of the exponential
//! function"): the recurrence loses digits where the nodes are close, so there we use the series about the SMALLEST
//! node, in which every term is positive and nothing cancels:
//!
//! ```text
//! exp[x0, ..., xn] = e^lo  sum_k h_k(x0 - lo, ..., xn - lo) / (n + k)!
//! ```
//!
//! with `h_k` the complete homogeneous symmetric polynomials, `h_k(y1..yj) = h_k(y1..y(j-1)) + yj h_(k-1)(y1..yj)`.
//!
//! Nodes are at most about 700 (beyond, `e^x` overflows); results whose largest `e^x` lies below the smallest normal
//! number are 0.
use super::Real;

/// Nodes that lie within this distance of each other are handled by the series, others by the recurrence. The
/// recurrence then loses at most a factor of about 4 per order, and the series needs at most 24 terms.
pub const SERIES_SPREAD: f64 = 2.0;

/// `1 / k!` for `k` = 0, 1, ...
const INVERSE_FACTORIAL: [f64; 32] = {
    let mut table = [1.0; 32];
    let mut factorial = 1.0;
    let mut k = 1;
    while k < 32 {
        // Exact up to 22!, and within a few roundings beyond, where the terms no longer matter.
        factorial *= k as f64;
        table[k] = 1.0 / factorial;
        k += 1;
    }
    table
};

/// `exp[x0, x1] = (e^x0 - e^x1) / (x0 - x1)`; `e^x` where both are `x`.
#[inline]
#[must_use]
pub fn exp1(x0: f64, x1: f64) -> f64 {
    let (high, low) = descending(x0, x1);
    let spread = high - low;
    if spread == 0.0 {
        return high.exp_neg();
    }
    // e^high (1 - e^-spread) / spread: expm1 keeps every digit of a small spread.
    let (_, expm1) = (-spread).exp_expm1();
    high.exp_neg() * (-expm1 / spread)
}

/// `exp[x0, x1, x2]`, the second divided difference; `e^x / 2` where all are `x`.
#[inline]
#[must_use]
pub fn exp2(x0: f64, x1: f64, x2: f64) -> f64 {
    let (x0, x1) = descending(x0, x1);
    let (x1, low) = descending(x1, x2);
    let (high, middle) = descending(x0, x1);
    exp2_sorted(high, middle, low)
}

/// `exp[x0, x1, x2, x3]`, the third divided difference; `e^x / 6` where all are `x`.
#[inline]
#[must_use]
pub fn exp3(x0: f64, x1: f64, x2: f64, x3: f64) -> f64 {
    let (x0, x1) = descending(x0, x1);
    let (x2, x3) = descending(x2, x3);
    let (high, x2) = descending(x0, x2);
    let (x1, low) = descending(x1, x3);
    let (second, third) = descending(x1, x2);
    let spread = high - low;
    if spread <= SERIES_SPREAD {
        return series(low, [high - low, second - low, third - low]);
    }
    (exp2_sorted(high, second, third) - exp2_sorted(second, third, low)) / spread
}

/// `exp2` for `high >= middle >= low`.
#[inline]
fn exp2_sorted(high: f64, middle: f64, low: f64) -> f64 {
    let spread = high - low;
    if spread <= SERIES_SPREAD {
        return series(low, [high - low, middle - low]);
    }
    (exp1(high, middle) - exp1(middle, low)) / spread
}

/// The larger, then the smaller.
#[inline]
fn descending(x: f64, y: f64) -> (f64, f64) {
    if x >= y { (x, y) } else { (y, x) }
}

/// `exp[low, low + above[0], low + above[1], ...]` by the series about `low`; `0 <= above <= SERIES_SPREAD`.
#[inline]
fn series<const N: usize>(low: f64, above: [f64; N]) -> f64 {
    // h[j] is h_k(above[0], ..., above[j]).
    let mut h = [1.0; N];
    let mut sum = INVERSE_FACTORIAL[N];
    for inverse_factorial in &INVERSE_FACTORIAL[N + 1..] {
        let mut fewer = 0.0;
        for (h, y) in h.iter_mut().zip(above) {
            *h = fewer + y * *h;
            fewer = *h;
        }
        let term = fewer * inverse_factorial;
        sum += term;
        // Terms fall at least as fast as those of e^y from here on.
        if term <= sum * (0.0625 * f64::EPSILON) {
            break;
        }
    }
    low.exp_neg() * sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_tables::rows;

    fn value(nodes: &[f64]) -> f64 {
        match *nodes {
            [a, b] => exp1(a, b),
            [a, b, c] => exp2(a, b, c),
            [a, b, c, d] => exp3(a, b, c, d),
            _ => unreachable!("tables hold two to four nodes"),
        }
    }

    #[test]
    fn agrees_with_120_digits_for_any_spacing() {
        let tables = [
            include_str!("../../tests/tables/divided_1.txt"),
            include_str!("../../tests/tables/divided_2.txt"),
            include_str!("../../tests/tables/divided_3.txt"),
        ];
        for row in tables.iter().flat_map(|table| rows(table)) {
            let (expected, nodes) = row.split_last().expect("a table row is never empty");
            let error = (value(nodes) - expected).abs() / expected;
            assert!(error <= 2e-15, "exp{nodes:?}: {} for {expected}, relative error {error:e}", value(nodes));
        }
    }

    #[test]
    fn order_of_nodes_changes_no_bit() {
        for row in rows(include_str!("../../tests/tables/divided_3.txt")) {
            let expected = exp3(row[0], row[1], row[2], row[3]).to_bits();
            for p in [[1, 0, 2, 3], [3, 2, 1, 0], [2, 3, 0, 1], [0, 2, 3, 1], [3, 0, 1, 2]] {
                let permuted = exp3(row[p[0]], row[p[1]], row[p[2]], row[p[3]]);
                assert_eq!(permuted.to_bits(), expected, "{row:?} in order {p:?}");
            }
        }
    }

    #[test]
    fn no_jump_where_the_method_changes() {
        let step = 1e-13;
        for middle in [0.0, -0.3, -1.0, -1.9, -2.0] {
            let (near, far) = (SERIES_SPREAD - step, SERIES_SPREAD + step);
            let ratio = exp2(0.0, middle, -far) / exp2(0.0, middle, -near);
            assert!((ratio - 1.0).abs() < 1e-12, "order 2 jumps by {:e}", ratio - 1.0);
            let ratio = exp3(0.0, middle, middle, -far) / exp3(0.0, middle, middle, -near);
            assert!((ratio - 1.0).abs() < 1e-12, "order 3 jumps by {:e}", ratio - 1.0);
        }
    }

    #[test]
    fn vanished_and_infinitely_far_nodes_give_zero() {
        assert_eq!(exp1(-1e6, -2e6), 0.0);
        assert_eq!(exp3(-800.0, -800.0, -900.0, -1e300), 0.0);
        assert_eq!(exp1(0.0, f64::NEG_INFINITY), 0.0);
        assert_eq!(exp2(0.0, -1.0, f64::NEG_INFINITY), 0.0);
        assert_eq!(exp3(0.0, 0.0, -5.0, f64::NEG_INFINITY), 0.0);
    }
}
