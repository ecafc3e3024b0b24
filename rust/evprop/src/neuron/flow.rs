//! The flow of a neuron between events: state `(u, i)` with `u = V - i_bias`, over a span `d` (ms).
//!
//! ```text
//! u(d) = u E_m(d) + i kappa(d)          i(d) = i E_s(d)
//! ```
use super::constants::Neuron;
use crate::math::{Real, Simd};
use crate::vectorised;

/// Propagators over one span.
#[derive(Debug, Clone, Copy)]
pub struct Propagator<T> {
    /// `exp(-d / tau_mem)`.
    pub mem: T,
    /// `exp(-d / tau_syn)`.
    pub syn: T,
    /// Response of V to a unit of current.
    pub kappa: T,
}

/// Propagators from the derived constants (see [`super::constants`]); `mem_slow` is 1 or 0.
#[inline(always)]
pub fn propagator<T: Real>(d: T, inv_slow: T, rate: T, gain: T, lin: T, mem_slow: bool) -> Propagator<T> {
    let slow = (-(d * inv_slow)).exp_neg();
    let (e, m) = (-(d * rate)).exp_expm1();
    let fast = slow * e;
    let kappa = slow * (d * lin - m * gain);
    if mem_slow { Propagator { mem: slow, syn: fast, kappa } } else { Propagator { mem: fast, syn: slow, kappa } }
}

/// Propagators of one neuron over many spans, side by side.
#[derive(Debug, Clone, Default)]
pub struct Propagators<T> {
    d: Vec<T>,
    mem: Vec<T>,
    syn: Vec<T>,
    kappa: Vec<T>,
}

impl<T: Real> Propagators<T> {
    /// Over the spans `d`.
    pub fn fill(&mut self, simd: Simd, c: &Neuron<T>, d: impl Iterator<Item = T>) {
        self.d.clear();
        self.d.extend(d);
        for column in [&mut self.mem, &mut self.syn, &mut self.kappa] {
            column.clear();
            column.resize(self.d.len(), T::ZERO);
        }
        propagators(simd, c, &self.d, &mut self.mem, &mut self.syn, &mut self.kappa);
    }

    /// Over span number `k`.
    #[inline(always)]
    pub fn get(&self, k: usize) -> Option<Propagator<T>> {
        Some(Propagator { mem: *self.mem.get(k)?, syn: *self.syn.get(k)?, kappa: *self.kappa.get(k)? })
    }
}

vectorised! {
    /// The propagators of one neuron over many spans.
    pub fn propagators<T>(c: &Neuron<T>, d: &[T], mem: &mut [T], syn: &mut [T], kappa: &mut [T]) {
        let n = d.len();
        let (mem, syn, kappa) = (&mut mem[..n], &mut syn[..n], &mut kappa[..n]);
        let (inv_slow, rate, gain, lin, mem_slow) = (c.inv_slow, c.rate, c.gain, c.lin, c.mem_slow);
        for k in 0..n {
            let p = propagator(d[k], inv_slow, rate, gain, lin, mem_slow);
            mem[k] = p.mem;
            syn[k] = p.syn;
            kappa[k] = p.kappa;
        }
    }
}

impl<T: Real> Neuron<T> {
    /// Propagators over span `d`.
    #[inline(always)]
    pub fn propagator(&self, d: T) -> Propagator<T> {
        propagator(d, self.inv_slow, self.rate, self.gain, self.lin, self.mem_slow)
    }

    /// `(E_m, E_s)` over span `d` alone, as modes ask for them: over short spans in a few steps.
    #[inline(always)]
    pub fn decays(&self, d: T) -> (T, T) {
        let (mem, syn) = (d * self.inv_mem, d * self.inv_syn);
        if mem.larger(syn) <= T::of(1.0 / 16.0) {
            (mem.exp_of_short(), syn.exp_of_short())
        } else {
            ((-mem).exp_neg(), (-syn).exp_neg())
        }
    }

    /// Time to the maximum of `u` that lies ahead of state `(u, i)` on the rising branch; `None`: no maximum ahead.
    ///
    /// `t = -ln(1 - rho) / (1/tau_syn - 1/tau_mem)`, `rho = (tau_mem - tau_syn)(i - u) / (i tau_mem)`.
    #[inline(always)]
    pub fn time_to_peak(&self, u: T, i: T) -> Option<T> {
        if i <= T::ZERO || i <= u {
            return None;
        }
        let t = peak_time(u, i, self.tau_mem, self.tau_syn, self.inv_mem);
        t.is_finite().then_some(t)
    }
}

/// [`Neuron::time_to_peak`] for `i > 0`, `i > u`, infinite where there is none.
#[inline(always)]
pub fn peak_time<T: Real>(u: T, i: T, tau_mem: T, tau_syn: T, inv_mem: T) -> T {
    let gap = tau_mem - tau_syn;
    let share = (i - u) / i;
    let rho = gap * share * inv_mem;
    // tau_mem tau_syn / gap, kept finite at equality, where rho = 0 selects the limit.
    let scale = tau_mem * tau_syn / if gap == T::ZERO { T::ONE } else { gap };
    let general = -((-rho).ln_1p()) * scale;
    let t = if rho == T::ZERO { tau_syn * share } else { general };
    if rho < T::ONE { t } else { T::INFINITY }
}
