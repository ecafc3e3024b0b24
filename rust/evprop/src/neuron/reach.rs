//! What is left of a state under an integral of V: the reach of one unit of `u`, of current and of a constant over a span.
use super::constants::Neuron;
use super::kernels::{self, weighted};
use crate::math::{Real, Simd};
use crate::vectorised;

/// The weight of an integral over V: 1, or `e^{-t/tau}`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Weighting {
    /// `int V dt`.
    Plain,
    /// `int e^{-t/tau} V dt`.
    Exponential {
        /// Time constant, ms.
        tau: f64,
    },
}

/// Integrals over a span, per unit of what stands at its start.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reach {
    /// Of `u`.
    pub u: f64,
    /// Of current.
    pub i: f64,
    /// Of a constant voltage.
    pub one: f64,
}

/// The reach of one neuron from many instants to one end, side by side.
#[derive(Debug, Clone, Default)]
pub struct Reaches {
    /// From when, ms.
    pub from: Vec<f64>,
    /// Of `u`.
    pub u: Vec<f64>,
    /// Of current.
    pub i: Vec<f64>,
}

impl Reaches {
    /// From `self.from` to `end`.
    pub fn fill<T: Real>(&mut self, simd: Simd, weighting: Weighting, c: &Neuron<T>, end: f64) {
        let n = self.from.len();
        for column in [&mut self.u, &mut self.i] {
            column.clear();
            column.resize(n, 0.0);
        }
        let rate = match weighting {
            Weighting::Plain => 0.0,
            Weighting::Exponential { tau } => 1.0 / tau,
        };
        let (a, b) = (1.0 / c.tau_mem.f64(), 1.0 / c.tau_syn.f64());
        recurrences::<T>(simd, (a, b, rate), end, &self.from, &mut self.u, &mut self.i);
        // Where the nodes are close the recurrence loses digits.
        let near = kernels::SERIES_SPREAD / (a.larger(b) + rate);
        for (k, &from) in self.from.iter().enumerate() {
            if end - from <= near {
                let reach = weighting.reach(c, from, end - from);
                (self.u[k], self.i[k]) = (reach.u, reach.i);
            }
        }
    }
}

vectorised! {
    /// [`Weighting::reach`] by the recurrence of divided differences, with `1/tau_mem`, `1/tau_syn` and the weight's rate.
    fn recurrences<T>(
        rates: (f64, f64, f64),
        end: f64,
        from: &[f64],
        u: &mut [f64],
        i: &mut [f64],
    ) {
        let (a, b, rate) = rates;
        let n = from.len();
        let (u, i) = (&mut u[..n], &mut i[..n]);
        let (slow, fast) = (a.smaller(b) + rate, a.larger(b) + rate);
        let gap = fast - slow;
        for k in 0..n {
            let d = end - from[k];
            let weight = Real::exp_neg(-(from[k] * rate));
            // exp[0, m], exp[m, y] and exp[0, m, y] of the nodes 0 > m = -d slow >= y = -d fast.
            let (decayed, lost) = Real::exp_expm1(-(d * slow));
            let upper = -lost / (d * slow);
            let (_, apart) = Real::exp_expm1(-(d * gap));
            let lower = decayed * if gap == 0.0 { 1.0 } else { -apart / (d * gap) };
            let both = (upper - lower) / (d * fast);
            let of_u = if a <= b { upper * d } else { -Real::exp_expm1(-(d * fast)).1 / fast };
            u[k] = weight * of_u;
            i[k] = weight * (d * (d * a) * both);
        }
    }
}

impl Weighting {
    /// The weight at time `s`.
    #[inline(always)]
    pub fn at(self, s: f64) -> f64 {
        match self {
            Self::Plain => 1.0,
            Self::Exponential { tau } => Real::exp_neg(-s / tau),
        }
    }

    /// Over `[s, s + d]`.
    pub fn reach<T: Real>(self, c: &Neuron<T>, s: f64, d: f64) -> Reach {
        let (tm, ts, w) = (c.tau_mem.f64(), c.tau_syn.f64(), self.at(s));
        match self {
            Self::Plain => Reach { u: kernels::int_decay(d, tm), i: kernels::int_kappa(d, tm, ts), one: d },
            Self::Exponential { tau } => Reach {
                u: w * weighted::int_decay(d, tau, tm),
                i: w * weighted::int_kappa(d, tau, tm, ts),
                one: w * weighted::int_one(d, tau),
            },
        }
    }

    /// Derivatives of the reach of current with respect to `(tau_mem, tau_syn)`.
    pub fn current_dtau<T: Real>(self, c: &Neuron<T>, s: f64, d: f64) -> (f64, f64) {
        let (tm, ts, w) = (c.tau_mem.f64(), c.tau_syn.f64(), self.at(s));
        match self {
            Self::Plain => (kernels::int_kappa_dtm(d, tm, ts), kernels::int_kappa_dts(d, tm, ts)),
            Self::Exponential { tau } => {
                (w * weighted::int_kappa_dtm(d, tau, tm, ts), w * weighted::int_kappa_dts(d, tau, tm, ts))
            }
        }
    }

    /// Derivative of the reach of `u` with respect to `tau_mem`.
    pub fn voltage_dtau<T: Real>(self, c: &Neuron<T>, s: f64, d: f64) -> f64 {
        let (tm, w) = (c.tau_mem.f64(), self.at(s));
        match self {
            Self::Plain => kernels::int_decay_dtau(d, tm),
            Self::Exponential { tau } => w * weighted::int_decay_dtau(d, tau, tm),
        }
    }

    /// Derivative of the reach of all that stands at the start with respect to the bias: what the bias itself adds,
    /// less what it takes from `u = V - i_bias`.
    pub fn bias<T: Real>(self, c: &Neuron<T>, s: f64, d: f64) -> f64 {
        let (tm, w) = (c.tau_mem.f64(), self.at(s));
        match self {
            Self::Plain => kernels::int_rise(d, tm),
            Self::Exponential { tau } => w * weighted::int_rise(d, tau, tm),
        }
    }
}
