//! What is left of a state under an integral of V: the reach of one unit of `u`, of current and of a constant over a span.
use super::constants::Neuron;
use super::kernels::{self, weighted};
use super::panels;
use crate::math::{Real, Simd};
use crate::vectorised;

/// The weight of an integral over V. The first two have closed forms; the others are smooth, and are integrated on
/// panels short enough that rounding is all that is left ([`panels`]).
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Weighting {
    /// `int V dt`.
    Plain,
    /// `int e^{-t/tau} V dt`.
    Exponential {
        /// Time constant, ms.
        tau: f64,
    },
    /// `int (1 - t/end) V dt`.
    Linear {
        /// Where the weight comes to 0, ms.
        end: f64,
    },
    /// `int V / (1 + e^((t - centre)/width)) dt`.
    Sigmoid {
        /// Where the weight is 1/2, ms.
        centre: f64,
        /// ms.
        width: f64,
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
            Weighting::Linear { .. } | Weighting::Sigmoid { .. } => return self.fill_by_panels(weighting, c, end),
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

    /// From knots one panel apart, each known from the next: an instant costs the panel that it lies in.
    fn fill_by_panels<T: Real>(&mut self, weighting: Weighting, c: &Neuron<T>, end: f64) {
        let (tm, ts, panel) = (c.tau_mem.f64(), c.tau_syn.f64(), weighting.longest_panel(c));
        let extend = |from: f64, d: f64, (u, i): (f64, f64)| {
            let own = weighting.reach(c, from, d);
            let (mem, syn, kappa) = (kernels::decay(d, tm), kernels::decay(d, ts), kernels::kappa(d, tm, ts));
            (own.u + mem * u, own.i + syn * i + kappa * u)
        };
        let mut knots = vec![(0.0, 0.0)];
        for (k, &from) in self.from.iter().enumerate() {
            let whole = ((end - from).max(0.0) / panel) as usize;
            while knots.len() <= whole {
                let at = end - knots.len() as f64 * panel;
                knots.push(extend(at, panel, knots[knots.len() - 1]));
            }
            let rest = (end - whole as f64 * panel - from).max(0.0);
            (self.u[k], self.i[k]) = extend(from, rest, knots[whole]);
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
            Self::Linear { end } => 1.0 - s / end,
            Self::Sigmoid { centre, width } => {
                let z = (s - centre) / width;
                let small = Real::exp_neg(-z.abs());
                if z > 0.0 { small / (1.0 + small) } else { 1.0 / (1.0 + small) }
            }
        }
    }

    /// Two of the shortest time scales: over that much, ten nodes integrate the flow under the weight to rounding.
    fn longest_panel<T: Real>(self, c: &Neuron<T>) -> f64 {
        let fastest = c.tau_mem.f64().smaller(c.tau_syn.f64());
        match self {
            Self::Sigmoid { width, .. } => 2.0 * fastest.smaller(width),
            _ => 2.0 * fastest,
        }
    }

    /// `int_s^(s + d) weight(t) f(t - s) dt`.
    fn by_panels<T: Real, const N: usize>(
        self,
        c: &Neuron<T>,
        s: f64,
        d: f64,
        f: impl Fn(f64) -> [f64; N],
    ) -> [f64; N] {
        panels::integrate(0.0, d, self.longest_panel(c), |x| {
            let weight = self.at(s + x);
            f(x).map(|value| weight * value)
        })
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
            Self::Linear { .. } | Self::Sigmoid { .. } => {
                let flow = |x: f64| [kernels::decay(x, tm), kernels::kappa(x, tm, ts), 1.0];
                let [u, i, one] = self.by_panels(c, s, d, flow);
                Reach { u, i, one }
            }
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
            Self::Linear { .. } | Self::Sigmoid { .. } => {
                let change = |x: f64| [kernels::kappa_dtm(x, tm, ts), kernels::kappa_dts(x, tm, ts)];
                self.by_panels(c, s, d, change).into()
            }
        }
    }

    /// Derivative of the reach of `u` with respect to `tau_mem`.
    pub fn voltage_dtau<T: Real>(self, c: &Neuron<T>, s: f64, d: f64) -> f64 {
        let (tm, w) = (c.tau_mem.f64(), self.at(s));
        match self {
            Self::Plain => kernels::int_decay_dtau(d, tm),
            Self::Exponential { tau } => w * weighted::int_decay_dtau(d, tau, tm),
            Self::Linear { .. } | Self::Sigmoid { .. } => self.by_panels(c, s, d, |x| [kernels::decay_dtau(x, tm)])[0],
        }
    }

    /// Derivative of the reach of all that stands at the start with respect to the bias: what the bias itself adds,
    /// less what it takes from `u = V - i_bias`.
    pub fn bias<T: Real>(self, c: &Neuron<T>, s: f64, d: f64) -> f64 {
        let (tm, w) = (c.tau_mem.f64(), self.at(s));
        match self {
            Self::Plain => kernels::int_rise(d, tm),
            Self::Exponential { tau } => w * weighted::int_rise(d, tau, tm),
            Self::Linear { .. } | Self::Sigmoid { .. } => self.by_panels(c, s, d, |x| [kernels::rise(x, tm)])[0],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::math::divided::exp3;

    const LINEAR: Weighting = Weighting::Linear { end: 120.0 };
    const SIGMOID: Weighting = Weighting::Sigmoid { centre: 60.0, width: 9.0 };

    fn neuron(tau_mem: f64, tau_syn: f64) -> Neuron<f64> {
        Neuron::new(tau_mem, tau_syn, 1.0, 0.0, 0.0, 0.0, 0.0)
    }

    fn near(value: f64, expected: f64, allowed: f64) {
        assert!((value - expected).abs() <= allowed * expected.abs(), "{value} for {expected}");
    }

    /// `int x kappa = (d^3/tm) (exp[0, m, m, s] + exp[0, m, s, s])`, by divided differences.
    #[test]
    fn a_linear_weight_agrees_with_its_closed_form() {
        for (tm, ts) in [(20.0, 5.0), (5.0, 20.0), (7.0, 7.0)] {
            let c = neuron(tm, ts);
            for (start, d) in [(0.0, 120.0), (3.0, 0.4), (50.0, 70.0), (119.0, 1.0)] {
                let (m, s) = (-d / tm, -d / ts);
                let moment = d * d * (d / tm) * (exp3(0.0, m, m, s) + exp3(0.0, m, s, s));
                let expected = (1.0 - start / 120.0) * kernels::int_kappa(d, tm, ts) - moment / 120.0;
                near(LINEAR.reach(&c, start, d).i, expected, 1e-13);
                near(LINEAR.reach(&c, start, d).one, d * (1.0 - (start + 0.5 * d) / 120.0), 1e-13);
            }
        }
    }

    /// Far before its centre a sigmoid is 1, far after it an exponential.
    #[test]
    fn a_sigmoid_agrees_with_what_it_comes_to_on_either_side() {
        let c = neuron(20.0, 5.0);
        let (early, plain) = (SIGMOID.reach(&c, -500.0, 80.0), Weighting::Plain.reach(&c, 0.0, 80.0));
        near(early.i, plain.i, 1e-13);
        near(early.u, plain.u, 1e-13);
        let late = SIGMOID.reach(&c, 500.0, 80.0);
        let exponential = Weighting::Exponential { tau: 9.0 }.reach(&c, 500.0, 80.0);
        near(late.i, exponential.i / Real::exp_neg(-60.0f64 / 9.0), 1e-12);
    }

    #[test]
    fn side_by_side_is_one_by_one() {
        for weighting in [LINEAR, SIGMOID] {
            let c = neuron(20.0, 5.0);
            let from: Vec<f64> = [0.0, 0.1, 9.99, 10.0, 63.7, 119.5, 120.0].into();
            let mut reaches = Reaches { from, ..Reaches::default() };
            reaches.fill(Simd::detect(), weighting, &c, 120.0);
            for (k, &from) in reaches.from.iter().enumerate() {
                let expected = weighting.reach(&c, from, 120.0 - from);
                near(reaches.u[k], expected.u, 1e-12);
                near(reaches.i[k], expected.i, 1e-12);
            }
        }
    }

    #[test]
    fn derivatives_agree_with_finite_differences() {
        let h = 1e-4;
        for weighting in [LINEAR, SIGMOID] {
            for (s, d) in [(0.0, 90.0), (40.0, 30.0), (70.0, 0.5)] {
                let reach = |tm: f64, ts: f64| weighting.reach(&neuron(tm, ts), s, d);
                let central = |f: &dyn Fn(f64) -> f64| (f(h) - f(-h)) / (2.0 * h);
                let c = neuron(20.0, 5.0);
                let (by_mem, by_syn) = weighting.current_dtau(&c, s, d);
                near(by_mem, central(&|x| reach(20.0 + x, 5.0).i), 1e-6);
                near(by_syn, central(&|x| reach(20.0, 5.0 + x).i), 1e-6);
                near(weighting.voltage_dtau(&c, s, d), central(&|x| reach(20.0 + x, 5.0).u), 1e-6);
                let now = weighting.reach(&c, s, d);
                near(weighting.bias(&c, s, d), now.one - now.u, 1e-9);
            }
        }
    }
}
