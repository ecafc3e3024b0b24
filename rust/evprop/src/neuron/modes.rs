//! States of a population whose neurons share their time constants, as two modes that each decay by a factor.
//!
//! Forwards current drives V, backwards lambda_v drives lambda_i. With `x` what drives and `y` what is driven,
//!
//! ```text
//! x := x E_x,   y := y E_y + x kappa,   kappa = gamma (E_m - E_s),   gamma = tau_syn/(tau_mem - tau_syn)
//! ```
//!
//! is `y = z + c x` with `z := z E_y` (`c` is -gamma forwards and gamma backwards), so time passes by two products in all,
//! not by some for each neuron.
use crate::math::{Real, Simd};
use crate::neuron::Constants;
use crate::neuron::constants::Neuron;
use crate::vectorised;

/// Where gamma is larger, too much of `z + c x` would cancel.
const LARGEST: f64 = 4.0;

/// Factors smaller than this are multiplied out.
const SMALLEST: f64 = 1e-6;

/// gamma of a neuron, where its time constants are far enough apart.
pub fn gamma_of<T: Real>(c: &Neuron<T>) -> Option<f64> {
    let (tm, ts) = (c.tau_mem.f64(), c.tau_syn.f64());
    let gamma = ts / (tm - ts);
    (gamma.abs() <= LARGEST).then_some(gamma)
}

/// gamma, where the neurons of a population share time constants that are far enough apart.
pub fn gamma<T: Real>(c: &Constants<T>) -> Option<T> {
    gamma_of(c.neuron(0)).filter(|_| c.homogeneous).map(T::of)
}

/// How neurons alike forget: what each mode of a state grows by, counted backwards in time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace {
    /// `tau_syn/(tau_mem - tau_syn)`
    pub gamma: f64,
    /// `1/tau_mem` and `1/tau_syn`, per ms: of the mode of V alone, and of that of the current.
    pub rates: [f64; 2],
}

impl Pace {
    /// `None` where there is no [`gamma`].
    pub fn of<T: Real>(c: &Constants<T>) -> Option<Self> {
        gamma(c)?;
        let (tm, ts) = (c.neuron(0).tau_mem.f64(), c.neuron(0).tau_syn.f64());
        Some(Self { gamma: ts / (tm - ts), rates: [1.0 / tm, 1.0 / ts] })
    }

    /// `dL/ds` of what an arrival adds to the modes of a state, each times the same mode of lambda.
    #[inline(always)]
    pub fn slope<T: Real>(self, mem: T, syn: T) -> T {
        mem * T::of(self.rates[0] / self.gamma) + syn * T::of(self.rates[1])
    }

    /// `e^{d/tau}` of both modes, `d` >= 0.
    #[inline(always)]
    pub fn growth<T: Real>(self, d: f64) -> [T; 2] {
        let [mem, syn] = self.rates;
        [T::of(1.0 / Real::exp_neg(-d * mem)), T::of(1.0 / Real::exp_neg(-d * syn))]
    }

    /// `e^{-d/tau}` of both modes, `d` >= 0.
    #[inline(always)]
    pub fn decay<T: Real>(self, d: f64) -> [T; 2] {
        let [mem, syn] = self.rates;
        [T::of(Real::exp_neg(-d * mem)), T::of(Real::exp_neg(-d * syn))]
    }
}

vectorised! {
    /// [`Pace::growth`] of each of some spans.
    pub fn growths<T>(pace: Pace, spans: &[f64], out: &mut Vec<[T; 2]>) {
        out.clear();
        out.resize(spans.len(), [T::ZERO; 2]);
        let out = &mut out[..spans.len()];
        for k in 0..spans.len() {
            out[k] = pace.growth(spans[k]);
        }
    }
}

vectorised! {
    /// What weights add to both modes of a state after delays `d`, ms, with respect to when their spike set out:
    /// `w gamma e^{d/tau_mem}` and `w e^{d/tau_syn}`.
    pub fn pairs<T>(pace: Pace, w: &[T], d: &[f64], out: &mut [[T; 2]]) {
        let n = w.len();
        let (d, out) = (&d[..n], &mut out[..n]);
        let ([mem, syn], gamma) = (pace.rates, pace.gamma);
        for k in 0..n {
            let w = w[k].f64();
            out[k] = [T::of(w * gamma / Real::exp_neg(-d[k] * mem)), T::of(w / Real::exp_neg(-d[k] * syn))];
        }
    }
}

/// One population, in modes.
#[derive(Debug, Clone, Default)]
pub struct Modes<T> {
    x: Vec<T>,
    z: Vec<T>,
    /// By which `x` and `z` are to be multiplied.
    scale: (T, T),
    c: T,
}

/// Columns `x` and `z`, and the numbers with which `x` is `x X` and `y` is `x Y + z Z`.
#[derive(Debug, Clone, Copy)]
pub struct Parts<'a, T> {
    /// Column of what drives.
    pub x: &'a [T],
    /// Column of the other mode.
    pub z: &'a [T],
    /// X.
    pub of_x: T,
    /// Y and Z.
    pub of_y: (T, T),
}

/// The same to be changed: adding `w` to `x X` and nothing to `y` is `x += w by.0`, `z -= w by.1`.
#[derive(Debug)]
pub struct PartsMut<'a, T> {
    /// Column of what drives.
    pub x: &'a mut [T],
    /// Column of the other mode.
    pub z: &'a mut [T],
    /// See above.
    pub by: (T, T),
    /// X.
    pub of_x: T,
    /// Y and Z.
    pub of_y: (T, T),
}

impl<T: Real> Modes<T> {
    /// All 0.
    pub fn reset(&mut self, n: usize, c: T) {
        for column in [&mut self.x, &mut self.z] {
            column.clear();
            column.resize(n, T::ZERO);
        }
        (self.scale, self.c) = ((T::ONE, T::ONE), c);
    }

    /// Time passes: `E_x`, `E_y`.
    #[inline(always)]
    pub fn flow(&mut self, (of_x, of_y): (T, T)) {
        self.scale = (self.scale.0 * of_x, self.scale.1 * of_y);
        let smallest = T::of(SMALLEST);
        if self.scale.0 < smallest || self.scale.1 < smallest {
            self.multiply_out();
        }
    }

    #[cold]
    #[inline(never)]
    fn multiply_out(&mut self) {
        let (a, b) = self.scale;
        for (x, z) in self.x.iter_mut().zip(&mut self.z) {
            (*x, *z) = (*x * a, *z * b);
        }
        self.scale = (T::ONE, T::ONE);
    }

    /// `(x, y)` of neuron `l`.
    #[inline(always)]
    pub fn get(&self, l: usize) -> (T, T) {
        self.after(l, (T::ONE, T::ONE))
    }

    /// The same after time has passed.
    #[inline(always)]
    pub fn after(&self, l: usize, (of_x, of_y): (T, T)) -> (T, T) {
        let x = self.x[l] * (self.scale.0 * of_x);
        (x, self.z[l] * (self.scale.1 * of_y) + self.c * x)
    }

    /// Sets them.
    #[inline(always)]
    pub fn set(&mut self, l: usize, (x, y): (T, T)) {
        self.x[l] = x / self.scale.0;
        self.z[l] = (y - self.c * x) / self.scale.1;
    }

    /// What a loop over neurons needs.
    #[inline(always)]
    pub fn parts(&self) -> Parts<'_, T> {
        Parts { x: &self.x, z: &self.z, of_x: self.scale.0, of_y: (self.c * self.scale.0, self.scale.1) }
    }

    /// The same to be changed.
    #[inline(always)]
    pub fn parts_mut(&mut self) -> PartsMut<'_, T> {
        let Self { x, z, scale, c } = self;
        let by = (T::ONE / scale.0, *c / scale.1);
        PartsMut { x, z, by, of_x: scale.0, of_y: (*c * scale.0, scale.1) }
    }

    /// Adds to `x` of each neuron; `y` stays.
    #[inline(always)]
    pub fn add(&mut self, simd: Simd, row: &[T]) {
        let PartsMut { x, z, by, .. } = self.parts_mut();
        add_row(simd, by, row, x, z);
    }
}

vectorised! {
    fn add_row<T>(by: (T, T), row: &[T], x: &mut [T], z: &mut [T]) {
        let n = row.len();
        let (x, z) = (&mut x[..n], &mut z[..n]);
        for l in 0..n {
            x[l] += row[l] * by.0;
            z[l] -= row[l] * by.1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Modes, gamma};
    use crate::math::Simd;
    use crate::neuron::Constants;

    #[test]
    fn they_flow_like_the_state() {
        let (mem, syn, th, zero) = ([20.0; 3], [5.0; 3], [1.0; 3], [0.0; 3]);
        let c = Constants::<f64>::new(3, |name| match name {
            "tau_mem" => Some(&mem[..]),
            "tau_syn" => Some(&syn[..]),
            "v_th" => Some(&th[..]),
            "v_reset" | "i_bias" | "v_init" | "t_ref" => Some(&zero[..]),
            _ => None,
        });
        let mut modes = Modes::default();
        modes.reset(3, -gamma(&c).expect("far apart"));
        let mut plain = [(0.0, 0.0); 3];
        for k in 0..400 {
            let d = 0.3 + f64::from(k % 7);
            let p = c.neuron(0).propagator(d);
            modes.flow((p.syn, p.mem));
            let row = [0.5, -0.2 * f64::from(k % 3), 1e-3];
            modes.add(Simd::detect(), &row);
            for (l, (u, i)) in plain.iter_mut().enumerate() {
                (*u, *i) = (*u * p.mem + *i * p.kappa, *i * p.syn + row[l]);
                if k % 50 == 17 + l as i32 {
                    *u = -0.5;
                    modes.set(l, (*i, *u));
                }
                let (x, y) = modes.get(l);
                assert!((x - *i).abs() < 1e-13 && (y - *u).abs() < 1e-13, "step {k}, neuron {l}");
            }
        }
    }
}
