//! A step of an optimiser: gradients of the free variables in, values and moments changed in place.
//!
//! With `g` a gradient times `scale`, `eta` the slot's rate and `d` its decay:
//!
//! ```text
//! SGD     u <- momentum u + g            step = u     (nesterov: g + momentum u; without momentum: g)
//! Adam    m <- b1 m + (1 - b1) g         v <- b2 v + (1 - b2) g^2
//!         step = unbias_1 m / (sqrt(unbias_2 v) + eps)
//! both    x <- x - eta (step + d x)
//! ```
//!
//! (Polyak 1964; Nesterov 1983; Kingma & Ba 2015, algorithm 1; Loshchilov & Hutter 2019.) Operations follow each other as
//! written, each rounded by itself: value by value the bits are those of any other program that does the same.
use crate::math::{Real, Simd};
use crate::vectorised;

/// How a gradient becomes a step for a learning rate of 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rule {
    /// Steepest descent.
    Sgd {
        /// 0: none.
        momentum: f64,
        /// Nesterov's.
        nesterov: bool,
    },
    /// Kingma & Ba 2015.
    Adam {
        /// Decay rates of the moments.
        betas: (f64, f64),
        /// `1 / (1 - beta^t)` at step `t`, counted from 1.
        unbias: (f64, f64),
        /// Added to the root of the second moment.
        eps: f64,
    },
}

impl Rule {
    /// How many moments it keeps of each value.
    pub fn n_moments(&self) -> usize {
        match self {
            Rule::Sgd { momentum, .. } => usize::from(*momentum != 0.0),
            Rule::Adam { .. } => 2,
        }
    }
}

/// Free variables that share a rate, and their gradients.
#[derive(Debug)]
pub struct Slot<'a, T> {
    /// Changed in place.
    pub values: &'a mut [T],
    /// Of the same length.
    pub gradient: &'a [T],
    /// Learning rate.
    pub rate: f64,
    /// Decay towards 0.
    pub decay: f64,
}

/// The Euclidean norm of all gradients, summed in order in double precision; `None` where one is not finite.
pub fn norm<T: Real>(slots: &[Slot<'_, T>]) -> Option<f64> {
    let all = || slots.iter().flat_map(|slot| slot.gradient);
    all().all(|g| g.is_finite()).then(|| all().map(|g| g.f64() * g.f64()).sum::<f64>().sqrt())
}

/// One step. `moments` are as long as all slots together, slot after slot.
///
/// # Panics
/// If lengths differ, or there are not as many moments as the rule has.
pub fn step<T: Real>(simd: Simd, rule: Rule, scale: f64, slots: &mut [Slot<'_, T>], moments: &mut [&mut [T]]) {
    assert_eq!(moments.len(), rule.n_moments(), "moments of the rule");
    let mut from = 0;
    for slot in slots {
        let n = slot.values.len();
        assert_eq!(slot.gradient.len(), n, "a gradient for each value");
        let part = from..from + n;
        let by = [scale, slot.rate, slot.decay].map(T::of);
        match (rule, &mut *moments) {
            (Rule::Adam { betas: (b1, b2), unbias, eps }, [m, v]) => {
                let c = [b1, 1.0 - b1, unbias.0, b2, 1.0 - b2, unbias.1, eps].map(T::of);
                adam(simd, by, c, slot.gradient, &mut m[part.clone()], &mut v[part], slot.values);
            }
            (Rule::Sgd { momentum, nesterov }, [u]) => {
                accelerated(simd, by, T::of(momentum), nesterov, slot.gradient, &mut u[part], slot.values);
            }
            _ => plain(simd, by, slot.gradient, slot.values),
        }
        from += n;
    }
}

/// `x - eta (step + d x)`.
#[inline(always)]
fn moved<T: Real>(x: T, step: T, rate: T, decay: T) -> T {
    let step = if decay == T::ZERO { step } else { step + decay * x };
    x - step * rate
}

vectorised! {
    fn adam<T>(by: [T; 3], c: [T; 7], gradient: &[T], m: &mut [T], v: &mut [T], values: &mut [T]) {
        let n = values.len();
        let (gradient, m, v) = (&gradient[..n], &mut m[..n], &mut v[..n]);
        let ([scale, rate, decay], [b1, other1, unbias1, b2, other2, unbias2, eps]) = (by, c);
        for k in 0..n {
            let g = gradient[k] * scale;
            let first = m[k] * b1 + other1 * g;
            let second = v[k] * b2 + g * g * other2;
            m[k] = first;
            v[k] = second;
            let step = first / ((second * unbias2).sqrt() + eps) * unbias1;
            values[k] = moved(values[k], step, rate, decay);
        }
    }
}

vectorised! {
    fn accelerated<T>(by: [T; 3], momentum: T, nesterov: bool, gradient: &[T], u: &mut [T], values: &mut [T]) {
        let n = values.len();
        let (gradient, u) = (&gradient[..n], &mut u[..n]);
        let [scale, rate, decay] = by;
        for k in 0..n {
            let g = gradient[k] * scale;
            let velocity = u[k] * momentum + g;
            u[k] = velocity;
            let step = if nesterov { g + momentum * velocity } else { velocity };
            values[k] = moved(values[k], step, rate, decay);
        }
    }
}

vectorised! {
    fn plain<T>(by: [T; 3], gradient: &[T], values: &mut [T]) {
        let n = values.len();
        let gradient = &gradient[..n];
        let [scale, rate, decay] = by;
        for k in 0..n {
            values[k] = moved(values[k], gradient[k] * scale, rate, decay);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_norm_is_that_of_all_slots_and_none_where_a_gradient_is_not_finite() {
        let (mut a, mut b) = ([0.0; 1], [0.0; 2]);
        fn slot<'a>(values: &'a mut [f64], gradient: &'a [f64]) -> Slot<'a, f64> {
            Slot { values, gradient, rate: 1.0, decay: 0.0 }
        }
        assert_eq!(norm(&[slot(&mut a, &[2.0]), slot(&mut b, &[3.0, 6.0])]), Some(7.0));
        assert_eq!(norm(&[slot(&mut a, &[2.0]), slot(&mut b, &[3.0, f64::INFINITY])]), None);
        assert_eq!(norm(&[slot(&mut a, &[f64::NAN])]), None);
        assert_eq!(norm::<f64>(&[]), Some(0.0));
    }

    #[test]
    fn slots_have_rates_of_their_own_and_share_the_moments() {
        let rule = Rule::Adam { betas: (0.5, 0.75), unbias: (2.0, 4.0), eps: 0.0 };
        let (mut a, mut b, mut m, mut v) = ([1.0; 1], [2.0, 3.0], [0.0; 3], [0.0; 3]);
        let mut slots = [
            Slot { values: &mut a, gradient: &[-2.0], rate: 0.5, decay: 0.0 },
            Slot { values: &mut b, gradient: &[4.0, 8.0], rate: 0.25, decay: 1.0 },
        ];
        step(Simd::detect(), rule, 0.5, &mut slots, &mut [&mut m, &mut v]);
        // Unbiased, a first step is the sign of the gradient.
        assert_eq!((a, b), ([1.5], [2.0 - 0.25 * 3.0, 3.0 - 0.25 * 4.0]));
        assert_eq!((m, v), ([-0.5, 1.0, 2.0], [0.25, 1.0, 4.0]));
    }

    #[test]
    fn momentum() {
        for (nesterov, expected) in [(false, 1.0 - 0.1 * 2.5), (true, 1.0 - 0.1 * (2.0 + 0.5 * 2.5))] {
            let (mut x, mut u) = ([1.0], [1.0]);
            let mut slots = [Slot { values: &mut x, gradient: &[2.0], rate: 0.1, decay: 0.0 }];
            step(Simd::Baseline, Rule::Sgd { momentum: 0.5, nesterov }, 1.0, &mut slots, &mut [&mut u]);
            assert_eq!((x, u), ([expected], [2.5]));
        }
    }
}
