//! States of a population whose neurons share their time constants, as two modes that each decay by a factor.
//!
//! ```text
//! slow part v (or u's), current part i:      kappa = gamma (E_m - E_s),   gamma = tau_syn/(tau_mem - tau_syn)
//! ```
//!
//! so whatever flows as `i := i E_s + v kappa`, `v := v E_m` is `i = q + gamma v` with `q := q E_s`: time passes by two
//! products in all, not by two a neuron.
use crate::math::Real;
use crate::neuron::Constants;
use crate::neuron::flow::Propagator;

/// Where gamma is larger, too much of `q + gamma v` would cancel.
const LARGEST: f64 = 4.0;

/// Factors smaller than this are multiplied out.
const SMALLEST: f64 = 1e-6;

/// gamma, where the neurons of a population share time constants that are far enough apart.
pub fn gamma<T: Real>(c: &Constants<T>) -> Option<T> {
    let (tm, ts) = (c.neuron(0).tau_mem.f64(), c.neuron(0).tau_syn.f64());
    let gamma = ts / (tm - ts);
    (c.homogeneous && gamma.abs() <= LARGEST).then(|| T::of(gamma))
}

/// lambda of one population, in modes.
#[derive(Debug, Clone, Default)]
pub struct Modes<T> {
    v: Vec<T>,
    q: Vec<T>,
    /// By which `v` and `q` are to be multiplied.
    scale: (T, T),
    gamma: T,
}

impl<T: Real> Modes<T> {
    /// All 0.
    pub fn reset(&mut self, n: usize, gamma: T) {
        for column in [&mut self.v, &mut self.q] {
            column.clear();
            column.resize(n, T::ZERO);
        }
        (self.scale, self.gamma) = ((T::ONE, T::ONE), gamma);
    }

    /// Time passes.
    #[inline(always)]
    pub fn flow(&mut self, p: &Propagator<T>) {
        self.scale.0 = self.scale.0 * p.mem;
        self.scale.1 = self.scale.1 * p.syn;
        let smallest = T::of(SMALLEST);
        if self.scale.0 < smallest || self.scale.1 < smallest {
            self.multiply_out();
        }
    }

    #[cold]
    #[inline(never)]
    fn multiply_out(&mut self) {
        let (a, b) = self.scale;
        for (v, q) in self.v.iter_mut().zip(&mut self.q) {
            (*v, *q) = (*v * a, *q * b);
        }
        self.scale = (T::ONE, T::ONE);
    }

    /// `(lambda_v, lambda_i)` of neuron `l`.
    #[inline(always)]
    pub fn get(&self, l: usize) -> (T, T) {
        let v = self.v[l] * self.scale.0;
        (v, self.q[l] * self.scale.1 + self.gamma * v)
    }

    /// Sets them.
    #[inline(always)]
    pub fn set(&mut self, l: usize, (v, i): (T, T)) {
        self.v[l] = v / self.scale.0;
        self.q[l] = (i - self.gamma * v) / self.scale.1;
    }

    /// `lambda_v` of a neuron whose `v` is 1.
    #[inline(always)]
    pub fn scale_v(&self) -> T {
        self.scale.0
    }

    /// Columns and coefficients with which `lambda_i = q cq + v cv`.
    #[inline(always)]
    pub fn current(&self) -> (&[T], &[T], (T, T)) {
        (&self.v, &self.q, (self.gamma * self.scale.0, self.scale.1))
    }
}
