//! The propagators over part of a window as power series.
//!
//! With `a = step/tau_mem`, `b = step/tau_syn` and `z <= 1` the part of a window,
//!
//! ```text
//! E_s(z step) = 1 + sum_n (-b)^n z^n / n!          kappa(z step) = -a sum_n (-1)^n h_n z^n / n!
//! h_n = sum_j a^j b^(n - 1 - j)
//! ```
//!
//! (`h_n` is the divided difference of `x^n`; all its terms have one sign, so nothing is lost where a is near b). Windows
//! are so short that a few terms are all of it: `a, b <= 1/16`.
use crate::math::Real;
use crate::neuron::constants::Neuron;

/// Terms in double precision.
pub const MOST_TERMS: usize = 9;

/// What a whole window does to some lanes: `E_m - 1`, `E_s - 1`, `kappa`.
///
/// Less 1, because the same rounding error in every window would add up over a time constant.
#[derive(Debug, Clone, Default)]
pub struct Whole<T> {
    /// `E_m - 1`
    pub mem: Vec<T>,
    /// `E_s - 1`
    pub syn: Vec<T>,
    /// `kappa`
    pub kappa: Vec<T>,
}

impl<T: Real> Whole<T> {
    /// For windows of length `step`, ms.
    pub fn fill(&mut self, neurons: &[Neuron<T>], step: f64) {
        let Self { mem, syn, kappa } = self;
        for (column, tau) in [(mem, (|c| c.tau_mem) as fn(&Neuron<T>) -> T), (syn, |c| c.tau_syn)] {
            column.clear();
            column.extend(neurons.iter().map(|c| T::of(Real::exp_expm1(-step / tau(c).f64()).1)));
        }
        kappa.clear();
        kappa.extend(neurons.iter().map(|c| c.propagator(T::of(step)).kappa));
    }
}

/// Lanes side by side.
pub const LANES: usize = 16;

/// Coefficients from the first power on: by block of lanes, those of `kappa` and then those of `E_s - 1`, by lane.
#[derive(Debug, Clone, Default)]
pub struct Series<T> {
    terms: Vec<[T; LANES]>,
}

impl<T: Real> Series<T> {
    /// For windows of length `step`, ms. Neurons come in whole blocks.
    pub fn fill(&mut self, neurons: &[Neuron<T>], step: f64) {
        self.terms.clear();
        for block in neurons.chunks(LANES) {
            let first = self.terms.len();
            self.terms.resize(first + 2 * T::TERMS, [T::ZERO; LANES]);
            for (k, c) in block.iter().enumerate() {
                let (a, b) = (step / c.tau_mem.f64(), step / c.tau_syn.f64());
                // (-1)^n / n!, h_n, b^n
                let (mut factor, mut h, mut power) = (1.0, 0.0, 1.0);
                for n in 0..T::TERMS {
                    factor /= -((n + 1) as f64);
                    h = h * a + power;
                    power *= b;
                    self.terms[first + n][k] = T::of(-a * h * factor);
                    self.terms[first + T::TERMS + n][k] = T::of(power * factor);
                }
            }
        }
    }

    /// The coefficients of the block that begins with lane `first`.
    #[inline(always)]
    pub fn block(&self, first: usize) -> &[[T; LANES]] {
        let at = first / LANES * 2 * T::TERMS;
        &self.terms[at..at + 2 * T::TERMS]
    }

    /// The coefficients of any lanes.
    #[inline(always)]
    pub fn of(&self, lane: &[usize; LANES]) -> [[T; LANES]; 2 * MOST_TERMS] {
        let mut own = [[T::ZERO; LANES]; 2 * MOST_TERMS];
        for (n, terms) in own.iter_mut().take(2 * T::TERMS).enumerate() {
            for k in 0..LANES {
                terms[k] = self.terms[lane[k] / LANES * 2 * T::TERMS + n][lane[k] % LANES];
            }
        }
        own
    }
}

/// `kappa` and `E_s - 1` over the parts `z` of a window, from the coefficients of a block.
#[inline(always)]
pub fn propagators<T: Real>(terms: &[[T; LANES]], z: &[T; LANES]) -> ([T; LANES], [T; LANES]) {
    let terms = &terms[..2 * T::TERMS];
    let (mut kappa, mut syn) = (terms[T::TERMS - 1], terms[2 * T::TERMS - 1]);
    for n in (0..T::TERMS - 1).rev() {
        for k in 0..LANES {
            kappa[k] = kappa[k] * z[k] + terms[n][k];
            syn[k] = syn[k] * z[k] + terms[T::TERMS + n][k];
        }
    }
    for k in 0..LANES {
        kappa[k] *= z[k];
        syn[k] *= z[k];
    }
    (kappa, syn)
}

#[cfg(test)]
mod tests {
    use super::{LANES, Series, propagators};
    use crate::math::Real;
    use crate::neuron::constants::Neuron;

    fn worst<T: Real>() -> f64 {
        let mut worst = 0.0f64;
        for (tau_mem, tau_syn) in [(20.0, 5.0), (5.0, 20.0), (8.0, 8.0), (8.0, 8.000_001), (1e6, 8.0)] {
            let (one, zero) = (T::ONE, T::ZERO);
            let c = Neuron::<T>::new(T::of(tau_mem), T::of(tau_syn), one, zero, zero, zero, 0.0);
            let step = tau_mem.min(tau_syn) / 16.0;
            let mut series = Series::default();
            series.fill(&[c; LANES], step);
            for part in [1e-6, 0.1, 0.5, 1.0] {
                let (kappa, syn) = propagators(series.block(0), &[T::of(part); LANES]);
                let (a, b, d): (f64, f64, f64) = (1.0 / tau_mem, 1.0 / tau_syn, part * step);
                // From the integral of e^{-b s} e^{-a (d - s)} a ds by Simpson's rule.
                let f = |s: f64| a * Real::exp_neg(-b * s - a * (d - s));
                let h = d / 64.0;
                let weight = |k: usize| if k == 0 || k == 64 { 1.0 } else { (2 + 2 * (k % 2)) as f64 };
                let exact = (0..=64).map(|k| weight(k) * f(k as f64 * h)).sum::<f64>() * h / 3.0;
                worst = worst.max((kappa[5].f64() / exact - 1.0).abs());
                worst = worst.max((syn[5].f64() - Real::exp_expm1(-b * d).1).abs());
            }
        }
        worst
    }

    #[test]
    fn they_are_the_propagators() {
        assert!(worst::<f32>() < 3e-7);
        assert!(worst::<f64>() < 3e-13);
    }
}
