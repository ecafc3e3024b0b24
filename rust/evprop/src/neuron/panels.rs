//! Integrals of smooth functions by Gauss-Legendre quadrature on short panels.
//!
//! ```text
//! int_s^(s + d) f(t) dt  =  sum over panels of (h/2) sum_k w_k f(middle + (h/2) x_k)  +  error
//! ```
//!
//! With ten nodes and panels of at most two time constants, the error for e^(-t/tau) is below 1e-17 of the integral, and for
//! a sigmoid of width b with panels of at most 2 b, whose nearest poles lie pi b off the real axis, below 1e-16: as
//! good as a closed form in double precision.

/// Nodes and weights on [-1, 1]: the positive half (Abramowitz & Stegun 1964, table 25.4).
const NODES: [(f64, f64); 5] = [
    (0.14887433898163122, 0.2955242247147529),
    (0.4333953941292472, 0.2692667193099963),
    (0.6794095682990244, 0.219086362515982),
    (0.8650633666889845, 0.1494513491505806),
    (0.9739065285171717, 0.06667134430868814),
];

/// `int_s^(s + d)` of `N` functions of time at once, on equal panels no longer than `longest`.
pub fn integrate<const N: usize>(s: f64, d: f64, longest: f64, f: impl Fn(f64) -> [f64; N]) -> [f64; N] {
    let mut sum = [0.0; N];
    if d <= 0.0 {
        return sum;
    }
    let count = (d / longest).ceil().max(1.0);
    let half = 0.5 * d / count;
    for panel in 0..count as usize {
        let middle = s + half * (2 * panel + 1) as f64;
        for (x, w) in NODES {
            let (left, right) = (f(middle - half * x), f(middle + half * x));
            for ((sum, a), b) in sum.iter_mut().zip(left).zip(right) {
                *sum += half * w * (a + b);
            }
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::math::Real;

    #[test]
    fn exact_for_polynomials_of_degree_19() {
        let power = |t: f64, n: u32| (0..n).fold(1.0, |p, _| p * t);
        let found = integrate(-1.0, 3.0, 10.0, |t| [0, 1, 18, 19].map(|n| power(t, n)));
        for (value, n) in found.iter().zip([0, 1, 18, 19]) {
            let expected = (power(2.0, n + 1) - power(-1.0, n + 1)) / f64::from(n + 1);
            assert!((value - expected).abs() <= 1e-14 * expected.abs(), "t^{n}: {value} for {expected}");
        }
    }

    #[test]
    fn panels_of_two_time_constants_leave_rounding_alone() {
        let [value] = integrate(0.0, 7.3, 2.0, |t| [(-t).exp_neg()]);
        let expected = -(-7.3f64).exp_expm1().1;
        assert!((value / expected - 1.0).abs() < 4.0 * f64::EPSILON, "{value} for {expected}");
    }

    #[test]
    fn nothing_over_nothing() {
        assert_eq!(integrate(3.0, 0.0, 1.0, |t| [t]), [0.0]);
    }
}
