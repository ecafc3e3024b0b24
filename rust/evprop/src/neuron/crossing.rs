//! The first upward threshold crossing within a span, to the last bit, for a block of neurons at once.
//!
//! With `f(s) = u(s) - theta`: on a rising branch with `i > 0`, `u` is concave, so `u` has one maximum ahead (at
//! `t_peak`) or rises throughout; the first crossing is bracketed by `[0, min(t_peak, d)]`. With `i <= 0` nothing
//! crosses unless the bias itself lies above threshold (`theta <= 0`); then `[0, d]` brackets the one crossing.
//! Each step solves the local parabola (`u' = (i - u)/tau_mem` and `u'' = -(i/tau_syn + u')/tau_mem` cost no further
//! exponential), which converges cubically also where the crossing nearly grazes; a step that leaves the bracket is
//! replaced by bisection.
use super::constants::Neuron;
use super::flow::{peak_time, propagator};
use crate::math::Real;

/// Up to `W` independent problems: "when does this state first cross within `d`?"
#[derive(Debug, Clone, Copy)]
pub struct Block<T, const W: usize> {
    /// Membrane at the start.
    pub u: [T; W],
    /// Current at the start.
    pub i: [T; W],
    /// Span, ms; 0 marks an empty lane.
    pub d: [T; W],
    /// Threshold.
    pub theta: [T; W],
    /// Membrane time constant, ms.
    pub tau_mem: [T; W],
    /// Synaptic time constant, ms.
    pub tau_syn: [T; W],
    /// Derived constants, see [`super::constants`].
    pub inv_mem: [T; W],
    /// As above.
    pub inv_syn: [T; W],
    /// As above.
    pub inv_slow: [T; W],
    /// As above.
    pub rate: [T; W],
    /// As above.
    pub gain: [T; W],
    /// As above.
    pub lin: [T; W],
    /// As above.
    pub mem_slow: [bool; W],
}

impl<T: Real, const W: usize> Block<T, W> {
    /// A block of empty lanes.
    #[inline(always)]
    pub fn empty() -> Self {
        let (zero, one) = ([T::ZERO; W], [T::ONE; W]);
        Self {
            u: zero,
            i: zero,
            d: zero,
            theta: one,
            tau_mem: one,
            tau_syn: one,
            inv_mem: one,
            inv_syn: one,
            inv_slow: one,
            rate: zero,
            gain: zero,
            lin: one,
            mem_slow: [true; W],
        }
    }

    /// Puts a problem into lane `l`.
    #[inline(always)]
    pub fn set(&mut self, l: usize, c: &Neuron<T>, u: T, i: T, d: T) {
        self.u[l] = u;
        self.i[l] = i;
        self.d[l] = d;
        self.theta[l] = c.theta;
        self.tau_mem[l] = c.tau_mem;
        self.tau_syn[l] = c.tau_syn;
        self.inv_mem[l] = c.inv_mem;
        self.inv_syn[l] = c.inv_syn;
        self.inv_slow[l] = c.inv_slow;
        self.rate[l] = c.rate;
        self.gain[l] = c.gain;
        self.lin[l] = c.lin;
        self.mem_slow[l] = c.mem_slow;
    }

    #[inline(always)]
    fn state(&self, l: usize, s: T) -> (T, T) {
        let p =
            propagator(s, self.inv_slow[l], self.rate[l], self.gain[l], self.lin[l], self.mem_slow[l]);
        (self.u[l] * p.mem + self.i[l] * p.kappa, self.i[l] * p.syn)
    }

    /// Time from the start to the first crossing (infinite: none within the span) and the current there.
    #[inline(always)]
    pub fn solve(&self) -> ([T; W], [T; W]) {
        let tolerance = T::of(if T::EPSILON.f64() < 1e-10 { 1e-8 } else { 1e-4 });
        let mut hi = [T::ZERO; W];
        let mut alive = [false; W];
        for l in 0..W {
            let (u, i, d, theta) = (self.u[l], self.i[l], self.d[l], self.theta[l]);
            let rising = i > T::ZERO && i > u;
            let peak = peak_time(u, i, self.tau_mem[l], self.tau_syn[l], self.inv_mem[l]);
            let bound = if rising && peak < d { peak } else { d };
            hi[l] = bound;
            let (top, _) = self.state(l, bound);
            alive[l] = (rising || theta <= T::ZERO) && d > T::ZERO && top > theta;
        }
        let mut lo = [T::ZERO; W];
        let mut s = [T::ZERO; W];
        let mut at = [T::ZERO; W];
        let mut done = [true; W];
        for l in 0..W {
            done[l] = !alive[l];
        }
        let (mut u, mut i) = (self.u, self.i);
        for _round in 0..100 {
            let mut all = true;
            for l in 0..W {
                let f = u[l] - self.theta[l];
                let f1 = (i[l] - u[l]) * self.inv_mem[l];
                let f2 = -(i[l] * self.inv_syn[l] + f1) * self.inv_mem[l];
                // Parabola; where it has no root, the tangent.
                let disc = f1 * f1 - (f + f) * f2;
                let root = disc.larger(T::ZERO).sqrt();
                let bottom = f1 + if disc > T::ZERO { root } else { f1 };
                let step = -(f + f) / bottom;
                let below = f < T::ZERO;
                let (low, high) = (if below { s[l] } else { lo[l] }, if below { hi[l] } else { s[l] });
                let middle = T::HALF * (low + high);
                let next = s[l] + step;
                // A crossing at the very start (rounding left u at theta) is taken as it is. NaN fails all comparisons.
                let inside = next > low && next < high;
                let close = step.abs() <= tolerance * s[l];
                let next = if inside { next } else { middle };
                let exact = f == T::ZERO || (!below && s[l] == T::ZERO);
                let stuck = next <= low || next >= high;
                let finished = exact || (close && inside) || stuck;
                let last = if exact || stuck { s[l] } else { next };
                // The current at the end of a last tiny step, to third order.
                let x = (last - s[l]) * self.inv_syn[l];
                let end = i[l] * (T::ONE - x * (T::ONE - T::HALF * x));
                let open = !done[l];
                lo[l] = if open { low } else { lo[l] };
                hi[l] = if open { high } else { hi[l] };
                at[l] = if open && finished { end } else { at[l] };
                s[l] = if open { last } else { s[l] };
                done[l] |= finished;
                all &= done[l];
            }
            if all {
                break;
            }
            for l in 0..W {
                let (a, b) = self.state(l, s[l]);
                u[l] = a;
                i[l] = b;
            }
        }
        for l in 0..W {
            s[l] = if alive[l] { s[l] } else { T::INFINITY };
        }
        (s, at)
    }
}

/// The first crossing of one neuron within span `d`: time from the start and current there.
#[inline(always)]
pub fn first_crossing<T: Real>(c: &Neuron<T>, u: T, i: T, d: T) -> Option<(T, T)> {
    let mut block = Block::<T, 1>::empty();
    block.set(0, c, u, i, d);
    let ([s], [at]) = block.solve();
    s.is_finite().then_some((s, at))
}
