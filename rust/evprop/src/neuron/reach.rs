//! What is left of a state under an integral of V: the reach of one unit of `u`, of current and of a constant over a span.
use super::constants::Neuron;
use super::kernels::{self, weighted};
use crate::math::Real;

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
