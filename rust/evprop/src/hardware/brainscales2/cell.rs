//! One neuron circuit between events: the exact flow, kept within the range of the membrane.
//!
//! With `u = V - i_bias` the circuit follows [`crate::neuron`]'s flow while `low < u < high`. At a rail it stays as long as
//! the current pushes outwards, and leaves in closed form: on the lower rail while `i < low`, that is for
//!
//! ```text
//! d = tau_syn ln(i / low)      (low < 0; for ever, until an arrival, if low >= 0)
//! ```
//!
//! and mirrored on the upper one. Hitting the lower rail is the upward crossing of `-low` by `-u`, so one root finder
//! serves thresholds and rails. A threshold above the upper rail is never reached.
use crate::math::Real;
use crate::neuron::constants::Neuron;
use crate::neuron::crossing::first_crossing;

/// The range of the membrane, as `u = V - i_bias`; infinite where there is none.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rails {
    /// Lowest.
    pub low: f64,
    /// Highest.
    pub high: f64,
}

/// State of a neuron circuit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cell {
    /// When the state was taken, ms.
    pub time: f64,
    /// Membrane, `V - i_bias`.
    pub u: f64,
    /// Synaptic current.
    pub i: f64,
    /// Until when the membrane is held at reset, ms.
    pub hold: f64,
}

/// What ends a stretch of free flow.
enum Next {
    End,
    Threshold,
    Rail(f64),
}

impl Cell {
    /// At the start of a trial.
    pub fn new(c: &Neuron<f64>, rails: Rails) -> Self {
        Self { time: 0.0, u: c.u_init.max(rails.low).min(rails.high), i: 0.0, hold: 0.0 }
    }

    /// Flows up to `until`, or up to the first threshold crossing in `(time, until]`: then `true`, with the state there.
    pub fn advance(&mut self, c: &Neuron<f64>, rails: Rails, until: f64) -> bool {
        while self.time < until {
            if self.hold > self.time {
                self.decay(c, self.hold.min(until));
            } else if let Some(release) = self.on_rail(c, rails) {
                self.decay(c, release.min(until));
                if self.time < until {
                    self.i = if self.u <= rails.low { rails.low } else { rails.high };
                }
            } else if self.flow(c, rails, until) {
                return true;
            }
        }
        false
    }

    /// Fires at the present time.
    pub fn fire(&mut self, c: &Neuron<f64>, rails: Rails) {
        self.u = c.u_reset.max(rails.low).min(rails.high);
        self.hold = self.time + c.t_ref;
    }

    /// The membrane stays where it is, the current decays.
    fn decay(&mut self, c: &Neuron<f64>, until: f64) {
        self.i *= (-((until - self.time) * c.inv_syn)).exp_neg();
        self.time = until;
    }

    /// When the membrane leaves the rail that the current pushes it against; `None` if there is none.
    fn on_rail(&self, c: &Neuron<f64>, rails: Rails) -> Option<f64> {
        let Rails { low, high } = rails;
        let (rail, beyond_leak) = if self.u <= low && (self.i < low || (self.i == low && low >= 0.0)) {
            (low, low < 0.0)
        } else if self.u >= high && (self.i > high || (self.i == high && high <= 0.0)) {
            (high, high > 0.0)
        } else {
            return None;
        };
        // On the near side of the leak the decaying current never lets go.
        Some(if beyond_leak { self.time + c.tau_syn * Real::ln_1p(self.i / rail - 1.0) } else { f64::INFINITY })
    }

    /// Free flow up to `until`, a rail, or the threshold (then `true`).
    fn flow(&mut self, c: &Neuron<f64>, rails: Rails, until: f64) -> bool {
        let d = until - self.time;
        let (u, i) = (self.u, self.i);
        let step = d * c.inv_mem;
        let p = c.propagator(d);
        let end = (u * p.mem + i * p.kappa, i * p.syn);
        let mut found = (until, end, Next::End);
        let ceiling = c.theta.min(rails.high);
        if may_rise_to(c, ceiling, u, i, step) {
            let up = Neuron { theta: ceiling, ..*c };
            if let Some((s, at)) = first_crossing(&up, (u, i), d, end) {
                let next = if c.theta <= rails.high { Next::Threshold } else { Next::Rail(rails.high) };
                found = ((self.time + s).min(until), (ceiling, at), next);
            }
        }
        if may_fall_to(rails.low, u, i, step) {
            let down = Neuron { theta: -rails.low, ..*c };
            if let Some((s, at)) = first_crossing(&down, (-u, -i), d, (-end.0, -end.1))
                && self.time + s < found.0
            {
                found = (self.time + s, (rails.low, -at), Next::Rail(rails.low));
            }
        }
        let (time, (u, i), next) = found;
        (self.time, self.u, self.i) = (time, u, i);
        match next {
            Next::End => false,
            Next::Threshold => true,
            Next::Rail(rail) => {
                self.u = rail;
                false
            }
        }
    }
}

/// Whether `u` may reach `ceiling` within `step` membrane time constants: a cheap test, wrong only towards yes.
#[inline(always)]
fn may_rise_to(c: &Neuron<f64>, ceiling: f64, u: f64, i: f64, step: f64) -> bool {
    if ceiling <= 0.0 {
        return true;
    }
    let margin = 1.0 + 32.0 * f64::EPSILON;
    i > u.max(0.0)
        && (u.max(0.0) + i * c.kappa_max) * margin > ceiling
        && u + (step * (i - u)) * margin > ceiling * (1.0 - 32.0 * f64::EPSILON)
}

/// Whether `u` may reach `floor` within `step` membrane time constants: a cheap test, wrong only towards yes.
#[inline(always)]
fn may_fall_to(floor: f64, u: f64, i: f64, step: f64) -> bool {
    if floor >= 0.0 {
        return true;
    }
    let margin = 1.0 + 32.0 * f64::EPSILON;
    i.min(u) * margin <= floor && (u + step * (i - u).min(0.0)) * margin <= floor
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_problems::Draw;

    /// Steps of a hundred-thousandth of a millisecond through the same arrivals: spikes, and V at the end.
    fn stepped(c: &Neuron<f64>, rails: Rails, arrivals: &[(f64, f64)], duration: f64) -> (Vec<f64>, f64) {
        let (dt, mut u, mut i, mut hold, mut spikes) = (1e-5, c.u_init, 0.0, 0.0, Vec::new());
        let mut next = arrivals.iter().peekable();
        for step in 0..(duration / dt) as usize {
            let t = step as f64 * dt;
            while let Some((_, w)) = next.next_if(|(s, _)| *s <= t) {
                i += w;
            }
            let was = u;
            if t >= hold {
                u = (u + dt * (i - u) * c.inv_mem).clamp(rails.low, rails.high);
            }
            i -= dt * i * c.inv_syn;
            if u > c.theta && was <= c.theta {
                spikes.push(t);
                (u, hold) = (c.u_reset, t + c.t_ref);
            }
        }
        (spikes, u)
    }

    fn exact(c: &Neuron<f64>, rails: Rails, arrivals: &[(f64, f64)], duration: f64) -> (Vec<f64>, f64, (f64, f64)) {
        let (mut cell, mut spikes) = (Cell::new(c, rails), Vec::new());
        let mut seen = (cell.u, cell.u);
        for &(t, w) in arrivals.iter().chain([&(duration, 0.0)]) {
            while cell.advance(c, rails, t) {
                spikes.push(cell.time);
                cell.fire(c, rails);
            }
            cell.i += w;
            seen = (seen.0.min(cell.u), seen.1.max(cell.u));
        }
        (spikes, cell.u, seen)
    }

    #[test]
    fn rails_hold_as_small_steps_say() {
        let mut draw = Draw(5);
        let (mut at_low, mut at_high, mut spiking) = (0, 0, 0);
        for case in 0..60 {
            let bias = if case % 4 == 0 { draw.uniform(-0.6, 1.2) } else { 0.0 };
            let tau = (draw.uniform(3.0, 8.0), draw.uniform(2.0, 8.0));
            // A leak beyond the rails too, and a threshold that the upper rail hides.
            let (low, high) = (draw.uniform(-0.7, -0.1), draw.uniform(0.5, 1.8));
            let c = Neuron::new(tau.0, tau.1, 1.0, -0.05, bias, 0.0, if case % 3 == 0 { 1.0 } else { 0.0 });
            let rails = Rails { low: low - bias, high: high - bias };
            let mut arrivals: Vec<_> = (0..12).map(|_| (draw.uniform(0.0, 25.0), draw.uniform(-4.0, 4.5))).collect();
            arrivals.sort_by(|a, b| a.0.total_cmp(&b.0));
            let (spikes, u, seen) = exact(&c, rails, &arrivals, 30.0);
            let (expected, v) = stepped(&c, rails, &arrivals, 30.0);
            assert_eq!(spikes.len(), expected.len(), "case {case}");
            for (a, b) in spikes.iter().zip(&expected) {
                assert!((a - b).abs() < 1e-3, "case {case}: a spike at {a}, not {b}");
            }
            assert!((u - v).abs() < 1e-3, "case {case}: V - bias ends at {u}, not {v}");
            assert!(seen.0 >= rails.low && seen.1 <= rails.high, "case {case}");
            at_low += usize::from(seen.0 == rails.low);
            at_high += usize::from(seen.1 == rails.high);
            spiking += usize::from(!spikes.is_empty());
        }
        assert!(at_low > 20 && at_high > 5 && spiking > 20, "{at_low} {at_high} {spiking}");
    }

    #[test]
    fn a_rail_lets_go_when_the_current_has_decayed_to_it() {
        let c = Neuron::new(5.0, 5.0, 1.0, 0.0, 0.0, 0.0, 0.0);
        let rails = Rails { low: -0.5, high: f64::INFINITY };
        let mut cell = Cell { time: 0.0, u: -0.5, i: -2.0, hold: 0.0 };
        let release = 5.0 * 2.0 * std::f64::consts::LN_2; // tau_syn ln(-2 / -0.5)
        assert!(!cell.advance(&c, rails, release - 1e-9) && cell.u == -0.5);
        assert!(!cell.advance(&c, rails, release + 1.0) && cell.u > -0.5);
    }
}
