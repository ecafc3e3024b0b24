//! The first upward threshold crossing in closed form, where `tau_mem = 2 tau_syn` and the threshold lies above rest.
//!
//! With `x = e^{-s/tau_mem}` both propagators are powers of one number, `E_m = x`, `E_s = x^2`, `kappa = x - x^2`, so that
//! `u(s) = theta` is a quadratic in `x`, and in `y = 1 - x`. With `a = u/i` and `b = theta/i`
//!
//! ```text
//! x^2 - (1 + a) x + b = 0        y^2 - (1 - a) y + (b - a) = 0        r^2 = (1 + a)^2 - 4 b = (1 - a)^2 - 4 (b - a)
//! x = (1 + a + r)/2              y = 2 (b - a)/(1 - a + r)            s = -tau_mem ln x = tau_mem ln(1 + y/x)
//! ```
//!
//! (J. Göltz et al., "Fast and energy-efficient neuromorphic deep learning with first-spike times", Nature Machine
//! Intelligence 3, 2021, eq. 8.) Of what is added nothing cancels but in `r^2`, for which the form with the smaller terms is
//! taken: it is small where the crossing nearly grazes, and then the time is as uncertain as the state is rounded.
use crate::math::Real;

/// An answer, or what stands in the place of one.
#[derive(Debug, Clone, Copy)]
pub struct Answer<T> {
    /// Whether there is a crossing.
    pub hit: bool,
    /// When, from the start, ms.
    pub s: T,
    /// The current there.
    pub current: T,
}

/// The crossing within `(0, d]` from the state `(u, i)`, below `theta > 0` but for rounding: then it is taken as it is.
#[inline(always)]
pub fn first_crossing<T: Real>(u: T, i: T, d: T, theta: T, tau_mem: T, inv_mem: T) -> Answer<T> {
    let (two, four) = (T::of(2.0), T::of(4.0));
    let rising = (i > T::ZERO) & (i > u);
    let inverse = T::ONE / i;
    let (a, b) = (u * inverse, theta * inverse);
    let (sum, difference, below) = (T::ONE + a, T::ONE - a, (theta - u) * inverse);
    let square = if u < T::ZERO { sum * sum - four * b } else { difference * difference - four * below };
    // The maximum lies at y = (1 - a)/2; the span ends at y = last.
    let last = -(-(d * inv_mem)).exp_expm1().1;
    let peaks = i - u < two * i * last;
    let end_u = u + last * ((i - u) - i * last);
    let above = if peaks { square > T::ZERO } else { end_u > theta };
    let root = square.larger(T::ZERO).sqrt();
    let x = T::HALF * (sum + root);
    let ratio = (two * below / ((difference + root) * x)).larger(T::ZERO);
    let s = (tau_mem * ratio.ln_1p()).smaller(d);
    let current = if ratio > T::ZERO { i * x * x } else { i };
    Answer { hit: rising & (d > T::ZERO) & above, s, current }
}

#[cfg(test)]
mod tests {
    use super::first_crossing;
    use crate::math::Real;
    use crate::neuron::constants::Neuron;
    use crate::neuron::crossing;

    fn neuron<T: Real>(tau_mem: f64, theta: f64) -> Neuron<T> {
        let of = T::of;
        Neuron::new(of(tau_mem), of(tau_mem / 2.0), of(theta), of(0.0), of(0.0), of(0.0), 0.0)
    }

    /// Compares with the iteration; returns how many states crossed.
    fn compare<T: Real>(tolerance: f64) -> usize {
        let mut crossed = 0;
        for tau in [0.3, 2.0, 20.0] {
            for theta in [1e-3, 1.0, 40.0] {
                let c = neuron::<T>(tau, theta);
                for k in 0..60 {
                    for j in 0..60 {
                        for span in [1e-4, 0.03, 0.4, 2.0, 30.0] {
                            // From far below the threshold to just below; currents from too weak to strong.
                            let u = T::of(theta * (1.0 - 1e-4 - 0.002 * f64::from(k * k)));
                            let i = T::of(theta * (0.5 + 0.02 * f64::from(j * j)));
                            let d = T::of(tau * span);
                            let p = c.propagator(d);
                            let end = (u * p.mem + i * p.kappa, i * p.syn);
                            let found = first_crossing(u, i, d, c.theta, c.tau_mem, c.inv_mem);
                            let known = crossing::first_crossing(&c, (u, i), d, end);
                            let Some((s, at)) = known else {
                                // Rounding decides at the edges alone.
                                let edge = (found.s.f64() - d.f64()).abs() < 1e3 * tolerance * tau;
                                assert!(!found.hit || edge, "u {u:?}, i {i:?}, d {d:?}");
                                continue;
                            };
                            // Of a crossing that grazes little is sure.
                            let p = c.propagator(s);
                            let slope = ((at - (u * p.mem + i * p.kappa)) * c.inv_mem).f64();
                            let unsure = tolerance * (1.0 + (u.abs() + i.abs()).f64() / (slope.abs() * tau));
                            let grazes = unsure > 0.1;
                            assert!(found.hit || grazes, "u {u:?}, i {i:?}, d {d:?}");
                            if !grazes {
                                crossed += 1;
                                let (a, b) = ((found.s - s).f64().abs(), (found.current - at).f64().abs());
                                assert!(a <= unsure * tau, "{:?} for {s:?}: u {u:?}, i {i:?}", found.s);
                                assert!(b <= 4.0 * unsure * i.f64(), "{:?} for {at:?}", found.current);
                            }
                        }
                    }
                }
            }
        }
        crossed
    }

    #[test]
    fn agrees_with_the_iteration() {
        assert!(compare::<f64>(1e-15) > 50_000);
        assert!(compare::<f32>(5e-7) > 50_000);
    }

    #[test]
    fn short_times_keep_their_digits() {
        // du = (i - u) s / tau_mem, to first order.
        let s = first_crossing(1.0 - 1e-12, 3.0, 1.0, 1.0, 2.0, 0.5).s;
        let gap = 1.0 - (1.0 - 1e-12);
        assert!((s / (2.0 * gap / 2.0) - 1.0).abs() < 1e-11, "{s}");
    }

    #[test]
    fn late_crossings_keep_their_digits() {
        // a = -0.9, x = 0.05 (1 + tiny): the crossing far into the decay.
        let (u, i) = (-0.9e3, 1e3);
        let x: f64 = 0.06;
        let theta = (u + i) * x - i * x * x;
        let found = first_crossing(u, i, 30.0, theta, 2.0, 0.5);
        #[allow(clippy::disallowed_methods, reason = "std's ln is the second opinion here")]
        let expected = -2.0 * x.ln();
        assert!(found.hit && (found.s / expected - 1.0).abs() < 1e-12, "{} for {expected}", found.s);
        assert!((found.current / (i * x * x) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn what_does_not_cross() {
        let hit = |u, i, d| first_crossing(u, i, d, 1.0, 2.0, 0.5).hit;
        assert!(!hit(0.0, 3.999_999, 30.0), "the peak is a quarter of the current");
        assert!(hit(0.0, 4.000_001, 30.0));
        assert!(!hit(0.0, 5.0, 0.1), "not yet");
        assert!(!hit(0.0, 5.0, 0.0), "no span");
        assert!(!hit(0.5, 0.4, 30.0), "falls");
        assert!(!hit(0.5, -4.0, 30.0) && !hit(-0.5, 0.0, 30.0));
        assert!(!hit(0.0, 1e-300, 30.0) && hit(0.0, 1e300, 30.0));
    }

    #[test]
    fn a_start_at_the_threshold_is_its_own_answer() {
        for u in [1.0, 1.0 + 1e-15] {
            let found = first_crossing(u, 5.0, 0.1, 1.0, 2.0, 0.5);
            assert!(found.hit);
            assert_eq!((found.s, found.current), (0.0, 5.0));
        }
    }
}
