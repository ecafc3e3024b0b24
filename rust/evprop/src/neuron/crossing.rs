//! The first upward threshold crossing within a span, to the last bit, for many neurons at once.
//!
//! With `f(s) = u(s) - theta`: on a rising branch with `i > 0`, `u` is concave, so `u` has one maximum ahead (at
//! `t_peak`) or rises throughout; the first crossing is bracketed by `[0, min(t_peak, d)]`. With `i <= 0` nothing
//! crosses unless the bias itself lies above threshold (`theta <= 0`); then `[0, d]` brackets the one crossing.
//! Each step solves the local parabola (`u' = (i - u)/tau_mem` and `u'' = -(i/tau_syn + u')/tau_mem` cost no further
//! exponential), which converges cubically also where the crossing nearly grazes; a step that leaves the bracket is
//! replaced by bisection.
use super::constants::{LANES, Neuron};
use super::flow::{peak_time, propagator};
use crate::math::Real;

/// Independent problems, one a lane: "when does this state first cross within `d`?", column by column.
#[derive(Debug, Clone, Default)]
pub struct Crossings<T> {
    u: Vec<T>,
    i: Vec<T>,
    d: Vec<T>,
    theta: Vec<T>,
    tau_mem: Vec<T>,
    tau_syn: Vec<T>,
    inv_mem: Vec<T>,
    inv_syn: Vec<T>,
    inv_slow: Vec<T>,
    rate: Vec<T>,
    gain: Vec<T>,
    lin: Vec<T>,
    mem_slow: Vec<T>,
    lo: Vec<T>,
    hi: Vec<T>,
    open: Vec<T>,
    alive: Vec<T>,
    /// Membrane at the ends of the spans, after [`Self::flow`].
    pub end_u: Vec<T>,
    /// Current at the ends of the spans, after [`Self::flow`].
    pub end_i: Vec<T>,
    /// Time from the start to the first crossing, infinite where there is none; after [`Self::solve`].
    pub s: Vec<T>,
    /// Current at the crossing, after [`Self::solve`].
    pub at: Vec<T>,
}

impl<T: Real> Crossings<T> {
    /// Forgets all problems.
    #[inline(always)]
    pub fn clear(&mut self) {
        for column in [
            &mut self.u,
            &mut self.i,
            &mut self.d,
            &mut self.theta,
            &mut self.tau_mem,
            &mut self.tau_syn,
            &mut self.inv_mem,
            &mut self.inv_syn,
            &mut self.inv_slow,
            &mut self.rate,
            &mut self.gain,
            &mut self.lin,
            &mut self.mem_slow,
        ] {
            column.clear();
        }
    }

    /// Adds a problem: state `(u, i)` and span `d` of a neuron.
    #[inline(always)]
    pub fn push(&mut self, c: &Neuron<T>, u: T, i: T, d: T) {
        self.u.push(u);
        self.i.push(i);
        self.d.push(d);
        self.theta.push(c.theta);
        self.tau_mem.push(c.tau_mem);
        self.tau_syn.push(c.tau_syn);
        self.inv_mem.push(c.inv_mem);
        self.inv_syn.push(c.inv_syn);
        self.inv_slow.push(c.inv_slow);
        self.rate.push(c.rate);
        self.gain.push(c.gain);
        self.lin.push(c.lin);
        self.mem_slow.push(if c.mem_slow { T::ONE } else { T::ZERO });
    }

    /// Fills up to whole vectors with lanes that have no span; returns the number of lanes.
    #[inline(always)]
    fn pad(&mut self, c: &Neuron<T>) -> usize {
        while !self.u.len().is_multiple_of(LANES) {
            self.push(c, T::ZERO, T::ZERO, T::ZERO);
        }
        let n = self.u.len();
        for column in [
            &mut self.lo,
            &mut self.hi,
            &mut self.open,
            &mut self.alive,
            &mut self.end_u,
            &mut self.end_i,
            &mut self.s,
            &mut self.at,
        ] {
            column.clear();
            column.resize(n, T::ZERO);
        }
        n
    }

    /// States at the ends of the spans.
    #[inline(always)]
    pub fn flow(&mut self, c: &Neuron<T>) {
        self.pad(c);
        let d = std::mem::take(&mut self.d);
        self.flow_to(&d);
        self.d = d;
    }

    #[inline(always)]
    fn flow_to(&mut self, d: &[T]) {
        let Self { u, i, inv_slow, rate, gain, lin, mem_slow, end_u, end_i, .. } = self;
        flow_lanes(d, u, i, inv_slow, rate, gain, lin, mem_slow, end_u, end_i);
    }

    /// First crossings: fills `s` and `at`. `c` is any neuron, to fill empty lanes with.
    #[inline(always)]
    pub fn solve(&mut self, c: &Neuron<T>) {
        let n = self.pad(c);
        let Self { u, i, d, tau_mem, tau_syn, inv_mem, hi, .. } = self;
        bracket_lanes(u, i, d, tau_mem, tau_syn, inv_mem, hi);
        let hi = std::mem::take(hi);
        self.flow_to(&hi);
        self.hi = hi;
        let Self { u, i, d, theta, alive, open, end_u, .. } = self;
        alive_lanes(u, i, d, theta, end_u, alive);
        open.copy_from_slice(alive);
        self.end_u.copy_from_slice(&self.u);
        self.end_i.copy_from_slice(&self.i);
        for _round in 0..100 {
            if self.open.iter().all(|&open| open == T::ZERO) {
                break;
            }
            let Self { theta, inv_mem, inv_syn, end_u, end_i, lo, hi, s, at, open, .. } = self;
            step_lanes(end_u, end_i, theta, inv_mem, inv_syn, lo, hi, s, at, open);
            let s = std::mem::take(s);
            self.flow_to(&s);
            self.s = s;
        }
        for l in 0..n {
            self.s[l] = if self.alive[l] > T::ZERO { self.s[l] } else { T::INFINITY };
        }
    }

    /// The first crossing of one neuron within span `d`: time from the start and current there.
    pub fn first(&mut self, c: &Neuron<T>, u: T, i: T, d: T) -> Option<(T, T)> {
        self.clear();
        self.push(c, u, i, d);
        self.solve(c);
        self.s[0].is_finite().then(|| (self.s[0], self.at[0]))
    }
}

// The loops over lanes: selections instead of branches, a mask is a number, and every column an argument of its own
// (arguments do not alias, which the compiler must know to use vectors).

#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn flow_lanes<T: Real>(
    d: &[T],
    u: &[T],
    i: &[T],
    inv_slow: &[T],
    rate: &[T],
    gain: &[T],
    lin: &[T],
    mem_slow: &[T],
    end_u: &mut [T],
    end_i: &mut [T],
) {
    let n = d.len();
    let (u, i, inv_slow, rate) = (&u[..n], &i[..n], &inv_slow[..n], &rate[..n]);
    let (gain, lin, mem_slow) = (&gain[..n], &lin[..n], &mem_slow[..n]);
    let (end_u, end_i) = (&mut end_u[..n], &mut end_i[..n]);
    for l in 0..n {
        let p = propagator(d[l], inv_slow[l], rate[l], gain[l], lin[l], mem_slow[l] > T::ZERO);
        end_u[l] = u[l] * p.mem + i[l] * p.kappa;
        end_i[l] = i[l] * p.syn;
    }
}

/// Where the bracket of the first crossing ends: at the maximum ahead, or at the end of the span.
#[inline(always)]
fn bracket_lanes<T: Real>(u: &[T], i: &[T], d: &[T], tau_mem: &[T], tau_syn: &[T], inv_mem: &[T], hi: &mut [T]) {
    let n = u.len();
    let (i, d, tau_mem, tau_syn) = (&i[..n], &d[..n], &tau_mem[..n], &tau_syn[..n]);
    let (inv_mem, hi) = (&inv_mem[..n], &mut hi[..n]);
    for l in 0..n {
        let rising = (i[l] > T::ZERO) & (i[l] > u[l]);
        let peak = peak_time(u[l], i[l], tau_mem[l], tau_syn[l], inv_mem[l]);
        hi[l] = if rising & (peak < d[l]) { peak } else { d[l] };
    }
}

/// 1 where the voltage `top` at the end of the bracket says that there is a crossing.
#[inline(always)]
fn alive_lanes<T: Real>(u: &[T], i: &[T], d: &[T], theta: &[T], top: &[T], alive: &mut [T]) {
    let n = u.len();
    let (i, d, theta, top, alive) = (&i[..n], &d[..n], &theta[..n], &top[..n], &mut alive[..n]);
    for l in 0..n {
        let rising = (i[l] > T::ZERO) & (i[l] > u[l]);
        let crosses = (rising | (theta[l] <= T::ZERO)) & (d[l] > T::ZERO) & (top[l] > theta[l]);
        alive[l] = if crosses { T::ONE } else { T::ZERO };
    }
}

/// One step of the safeguarded iteration from the state `(u, i)` at `s`.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn step_lanes<T: Real>(
    u: &[T],
    i: &[T],
    theta: &[T],
    inv_mem: &[T],
    inv_syn: &[T],
    lo: &mut [T],
    hi: &mut [T],
    s: &mut [T],
    at: &mut [T],
    open: &mut [T],
) {
    let tolerance = T::of(if T::EPSILON.f64() < 1e-10 { 1e-8 } else { 1e-4 });
    let n = u.len();
    let (i, theta, inv_mem, inv_syn) = (&i[..n], &theta[..n], &inv_mem[..n], &inv_syn[..n]);
    let (lo, hi, s, at, open) = (&mut lo[..n], &mut hi[..n], &mut s[..n], &mut at[..n], &mut open[..n]);
    for l in 0..n {
        // Read everything first: a choice between two places in memory can't become a vector, one between values can.
        let (u, i, inv_mem, inv_syn) = (u[l], i[l], inv_mem[l], inv_syn[l]);
        let (lo_was, hi_was, s_was, at_was, open_was) = (lo[l], hi[l], s[l], at[l], open[l]);
        let f = u - theta[l];
        let f1 = (i - u) * inv_mem;
        let f2 = -(i * inv_syn + f1) * inv_mem;
        // Parabola; where it has no root, the tangent.
        let disc = f1 * f1 - (f + f) * f2;
        let curved = disc > T::ZERO;
        let root = (if curved { disc } else { T::ZERO }).sqrt();
        let step = -(f + f) / (f1 + if curved { root } else { f1 });
        let below = f < T::ZERO;
        let low = if below { s_was } else { lo_was };
        let high = if below { hi_was } else { s_was };
        let next = s_was + step;
        // NaN fails both comparisons.
        let inside = (next > low) & (next < high);
        let close = inside & (step.abs() <= tolerance * s_was);
        let next = if inside { next } else { T::HALF * (low + high) };
        // Rounding may have left u at theta at the very start: that crossing is taken as it is.
        let exact = (f == T::ZERO) | (!below & (s_was == T::ZERO));
        let stuck = (next <= low) | (next >= high);
        let last = if exact | stuck { s_was } else { next };
        // The current at the end of a last tiny step, to third order.
        let x = (last - s_was) * inv_syn;
        let end = i * (T::ONE - x * (T::ONE - T::HALF * x));
        let was_open = open_was > T::ZERO;
        let finished = exact | close | stuck;
        lo[l] = if was_open { low } else { lo_was };
        hi[l] = if was_open { high } else { hi_was };
        at[l] = if was_open & finished { end } else { at_was };
        s[l] = if was_open { last } else { s_was };
        open[l] = if was_open & !finished { T::ONE } else { T::ZERO };
    }
}
