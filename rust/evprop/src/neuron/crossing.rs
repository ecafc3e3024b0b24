//! The first upward threshold crossing within a span, to the last bit, for many neurons at once.
//!
//! With `f(s) = u(s) - theta`: on a rising branch with `i > 0`, `u` is concave, so `u` has one maximum ahead (at
//! `t_peak`) or rises throughout; the first crossing is bracketed by `[0, min(t_peak, d)]`. With `i <= 0` nothing
//! crosses unless the bias itself lies above threshold (`theta <= 0`); then `[0, d]` brackets the one crossing.
//! Each step solves the local parabola and corrects it with the third and fourth derivatives (they follow from `u` and
//! `i` without another exponential: `u' = (i - u)/tau_mem`, `i' = -i/tau_syn`, and so on), which converges with the
//! fifth power of the error also where the crossing nearly grazes; a step that leaves the bracket is replaced by
//! bisection. The last step is taken without looking again once the terms it leaves out are below the last bit.
use super::constants::{Constants, LANES, Neuron};
use super::flow::{peak_time, propagator};
use super::quadratic;
use crate::math::Real;

/// A state at the start of a span in which a neuron may cross.
#[derive(Debug, Clone, Copy)]
pub struct Start<T> {
    /// Membrane.
    pub u: T,
    /// Current.
    pub i: T,
    /// Span, ms.
    pub d: T,
    /// Which neuron.
    pub neuron: usize,
}

/// What the lanes need of their neurons, column by column.
#[derive(Debug, Clone, Default)]
struct Taus<T> {
    tau_mem: Vec<T>,
    tau_syn: Vec<T>,
    inv_mem: Vec<T>,
    inv_syn: Vec<T>,
    inv_slow: Vec<T>,
    rate: Vec<T>,
    gain: Vec<T>,
    lin: Vec<T>,
    mem_slow: Vec<T>,
}

impl<T: Real> Taus<T> {
    fn columns(&mut self) -> [&mut Vec<T>; 9] {
        let Self { tau_mem, tau_syn, inv_mem, inv_syn, inv_slow, rate, gain, lin, mem_slow } = self;
        [tau_mem, tau_syn, inv_mem, inv_syn, inv_slow, rate, gain, lin, mem_slow]
    }

    fn gather(&mut self, c: &Constants<T>, starts: &[Start<T>], n: usize) {
        let given =
            [&c.tau_mem, &c.tau_syn, &c.inv_mem, &c.inv_syn, &c.inv_slow, &c.rate, &c.gain, &c.lin, &c.mem_slow];
        for (column, given) in self.columns().into_iter().zip(given) {
            column.clear();
            column.extend(starts.iter().map(|x| given[x.neuron]));
            column.resize(n, given[0]);
        }
    }
}

/// The columns of [`Taus`], from wherever they lie.
#[derive(Clone, Copy)]
struct Lanes<'a, T> {
    tau_mem: &'a [T],
    tau_syn: &'a [T],
    inv_mem: &'a [T],
    inv_syn: &'a [T],
    inv_slow: &'a [T],
    rate: &'a [T],
    gain: &'a [T],
    lin: &'a [T],
    mem_slow: &'a [T],
}

/// Lanes with the time constants of a population: its own columns if all neurons share them, else the gathered ones.
macro_rules! lanes {
    ($c:expr, $gathered:expr) => {
        if $c.homogeneous { lanes!(@of $c) } else { lanes!(@of $gathered) }
    };
    (@of $x:expr) => {
        Lanes {
            tau_mem: &$x.tau_mem,
            tau_syn: &$x.tau_syn,
            inv_mem: &$x.inv_mem,
            inv_syn: &$x.inv_syn,
            inv_slow: &$x.inv_slow,
            rate: &$x.rate,
            gain: &$x.gain,
            lin: &$x.lin,
            mem_slow: &$x.mem_slow,
        }
    };
}

/// Independent problems, one a lane: "when does this state first cross within its span?", column by column.
///
/// The columns are as long as the longest call so far; each call uses their first lanes.
#[derive(Debug, Clone, Default)]
pub struct Crossings<T> {
    u: Vec<T>,
    i: Vec<T>,
    d: Vec<T>,
    theta: Vec<T>,
    taus: Taus<T>,
    lo: Vec<T>,
    hi: Vec<T>,
    open: Vec<T>,
    /// Membrane at the ends of the spans, after [`Self::flow`].
    pub end_u: Vec<T>,
    /// Current at the ends of the spans, after [`Self::flow`].
    pub end_i: Vec<T>,
    /// Which problems have a crossing, after [`Self::solve`]; `s` and `at` run along it.
    pub hits: Vec<usize>,
    /// Time from the start to the first crossing.
    pub s: Vec<T>,
    /// Current there.
    pub at: Vec<T>,
}

impl<T: Real> Crossings<T> {
    /// Takes the problems in; returns the number of lanes, a multiple of the vector width.
    #[inline(always)]
    fn load(&mut self, c: &Constants<T>, starts: &[Start<T>]) -> usize {
        let n = starts.len().next_multiple_of(LANES);
        if self.u.len() < n {
            self.grow(n);
        }
        if !c.homogeneous {
            self.taus.gather(c, starts, n);
        }
        let (u, i, d, theta) = (&mut self.u[..n], &mut self.i[..n], &mut self.d[..n], &mut self.theta[..n]);
        for (l, x) in starts.iter().enumerate() {
            u[l] = x.u;
            i[l] = x.i;
            d[l] = x.d;
            theta[l] = c.theta[x.neuron];
        }
        for l in starts.len()..n {
            (u[l], i[l], d[l], theta[l]) = (T::ZERO, T::ZERO, T::ZERO, T::ONE);
        }
        n
    }

    #[inline(never)]
    fn grow(&mut self, n: usize) {
        let Self { u, i, d, theta, lo, hi, open, end_u, end_i, s, at, .. } = self;
        for column in [u, i, d, theta, lo, hi, open, end_u, end_i, s, at] {
            column.resize(n, T::ZERO);
        }
    }

    /// States at the ends of the spans.
    #[inline(always)]
    pub fn flow(&mut self, c: &Constants<T>, starts: &[Start<T>]) {
        let n = self.load(c, starts);
        let Self { u, i, d, taus, end_u, end_i, .. } = self;
        let t = lanes!(c, taus);
        flow_lanes(n, d, u, i, t.inv_slow, t.rate, t.gain, t.lin, t.mem_slow, end_u, end_i);
    }

    /// First crossings: fills `hits`, `s` and `at`.
    #[inline(always)]
    pub fn solve(&mut self, c: &Constants<T>, starts: &[Start<T>]) {
        if c.quadratic { self.close(c, starts) } else { self.iterate(c, starts) }
    }

    /// In closed form.
    #[inline(always)]
    fn close(&mut self, c: &Constants<T>, starts: &[Start<T>]) {
        let n = self.load(c, starts);
        let Self { u, i, d, theta, open, s, at, hits, .. } = self;
        let shared = c.neuron(0);
        close_lanes(n, u, i, d, theta, shared, open, s, at);
        hits.clear();
        for l in (0..starts.len()).filter(|&l| open[l] != T::ZERO) {
            (s[hits.len()], at[hits.len()]) = (s[l], at[l]);
            hits.push(l);
        }
    }

    #[inline(always)]
    fn iterate(&mut self, c: &Constants<T>, starts: &[Start<T>]) {
        let n = self.load(c, starts);
        let Self { u, i, d, taus, hi, end_u, end_i, .. } = self;
        let t = lanes!(c, taus);
        bracket_lanes(n, u, i, d, t.tau_mem, t.tau_syn, t.inv_mem, hi);
        flow_lanes(n, hi, u, i, t.inv_slow, t.rate, t.gain, t.lin, t.mem_slow, end_u, end_i);
        let n = self.keep_hits(c, starts.len());
        if n == 0 {
            return;
        }
        let Self { u, i, theta, taus, lo, hi, open, end_u, end_i, hits, s, at, .. } = self;
        let t = lanes!(c, taus);
        for l in 0..n {
            (lo[l], s[l]) = (T::ZERO, T::ZERO);
            open[l] = if l < hits.len() { T::ONE } else { T::ZERO };
            (end_u[l], end_i[l]) = (u[l], i[l]);
        }
        for _round in 0..100 {
            step_lanes(n, end_u, end_i, theta, t.inv_mem, t.inv_syn, lo, hi, s, at, open);
            if open[..n].iter().all(|&open| open == T::ZERO) {
                break;
            }
            flow_lanes(n, s, u, i, t.inv_slow, t.rate, t.gain, t.lin, t.mem_slow, end_u, end_i);
        }
    }

    /// Keeps the problems whose voltage at the end of the bracket says that there is a crossing; returns the number of
    /// lanes left.
    #[inline(always)]
    fn keep_hits(&mut self, c: &Constants<T>, count: usize) -> usize {
        let Self { u, i, d, theta, taus, hi, end_u, hits, .. } = self;
        hits.clear();
        for l in 0..count {
            let rising = (i[l] > T::ZERO) & (i[l] > u[l]);
            if (rising | (theta[l] <= T::ZERO)) & (d[l] > T::ZERO) & (end_u[l] > theta[l]) {
                hits.push(l);
            }
        }
        for column in [u, i, theta, hi] {
            for (k, &l) in hits.iter().enumerate() {
                column[k] = column[l];
            }
        }
        if !c.homogeneous {
            for column in taus.columns() {
                for (k, &l) in hits.iter().enumerate() {
                    column[k] = column[l];
                }
            }
        }
        hits.len().next_multiple_of(LANES)
    }

    /// The first crossing of one neuron, always by iteration: time from the start and current there.
    pub fn first(&mut self, c: &Constants<T>, start: Start<T>) -> Option<(T, T)> {
        self.iterate(c, &[start]);
        (!self.hits.is_empty()).then(|| (self.s[0], self.at[0]))
    }
}

/// The first upward crossing of one neuron within `(0, d]` from the state `(u, i)`, given the state at its end: time from
/// the start and current there. The same iteration as [`Crossings::solve`] for a neuron that comes alone.
#[inline(always)]
pub fn first_crossing<T: Real>(c: &Neuron<T>, (u, i): (T, T), d: T, (end_u, end_i): (T, T)) -> Option<(T, T)> {
    let rising = (i > T::ZERO) & (i > u);
    if !((rising | (c.theta <= T::ZERO)) & (d > T::ZERO)) {
        return None;
    }
    // Still rising at the end: the maximum does not lie within.
    let peak = if rising && end_i <= end_u { c.time_to_peak(u, i).filter(|&peak| peak < d) } else { None };
    let (end, top) = match peak {
        None => (d, end_u),
        Some(peak) => {
            let p = c.propagator(peak);
            (peak, u * p.mem + i * p.kappa)
        }
    };
    if top <= c.theta {
        return None;
    }
    let mut step = Step { lo: T::ZERO, hi: end, s: T::ZERO, at: i, open: T::ONE };
    let mut state = (u, i);
    for _round in 0..100 {
        step = step.next(state.0, state.1, c.theta, c.inv_mem, c.inv_syn);
        if step.open == T::ZERO {
            break;
        }
        let p = c.propagator(step.s);
        state = (u * p.mem + i * p.kappa, i * p.syn);
    }
    Some((step.s, step.at))
}

// The loops over lanes: selections instead of branches, a mask is a number, and every column an argument of its own
// (arguments do not alias, which the compiler must know to use vectors).

#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn flow_lanes<T: Real>(
    n: usize,
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
    let (d, u, i, inv_slow, rate) = (&d[..n], &u[..n], &i[..n], &inv_slow[..n], &rate[..n]);
    let (gain, lin, mem_slow) = (&gain[..n], &lin[..n], &mem_slow[..n]);
    let (end_u, end_i) = (&mut end_u[..n], &mut end_i[..n]);
    for l in 0..n {
        let p = propagator(d[l], inv_slow[l], rate[l], gain[l], lin[l], mem_slow[l] > T::ZERO);
        end_u[l] = u[l] * p.mem + i[l] * p.kappa;
        end_i[l] = i[l] * p.syn;
    }
}

/// Whether there is a crossing (1 or 0), when, and the current there, of neurons that share their time constants.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn close_lanes<T: Real>(
    n: usize,
    u: &[T],
    i: &[T],
    d: &[T],
    theta: &[T],
    c: &Neuron<T>,
    hit: &mut [T],
    s: &mut [T],
    at: &mut [T],
) {
    let (u, i, d, theta) = (&u[..n], &i[..n], &d[..n], &theta[..n]);
    let (hit, s, at) = (&mut hit[..n], &mut s[..n], &mut at[..n]);
    let (tau_mem, inv_mem) = (c.tau_mem, c.inv_mem);
    for l in 0..n {
        let found = quadratic::first_crossing(u[l], i[l], d[l], theta[l], tau_mem, inv_mem);
        hit[l] = if found.hit { T::ONE } else { T::ZERO };
        s[l] = found.s;
        at[l] = found.current;
    }
}

/// Where the bracket of the first crossing ends: at the maximum ahead, or at the end of the span.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn bracket_lanes<T: Real>(
    n: usize,
    u: &[T],
    i: &[T],
    d: &[T],
    tau_mem: &[T],
    tau_syn: &[T],
    inv_mem: &[T],
    hi: &mut [T],
) {
    let (u, i, d, tau_mem, tau_syn) = (&u[..n], &i[..n], &d[..n], &tau_mem[..n], &tau_syn[..n]);
    let (inv_mem, hi) = (&inv_mem[..n], &mut hi[..n]);
    for l in 0..n {
        let rising = (i[l] > T::ZERO) & (i[l] > u[l]);
        let peak = peak_time(u[l], i[l], tau_mem[l], tau_syn[l], inv_mem[l]);
        hi[l] = if rising & (peak < d[l]) { peak } else { d[l] };
    }
}

/// One step of the safeguarded iteration from the state `(u, i)` at `s`.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn step_lanes<T: Real>(
    n: usize,
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
    let (u, i, theta, inv_mem, inv_syn) = (&u[..n], &i[..n], &theta[..n], &inv_mem[..n], &inv_syn[..n]);
    let (lo, hi, s, at, open) = (&mut lo[..n], &mut hi[..n], &mut s[..n], &mut at[..n], &mut open[..n]);
    for l in 0..n {
        // Read everything first: a choice between two places in memory can't become a vector, one between values can.
        let was = Step { lo: lo[l], hi: hi[l], s: s[l], at: at[l], open: open[l] };
        let now = was.next(u[l], i[l], theta[l], inv_mem[l], inv_syn[l]);
        (lo[l], hi[l], s[l], at[l], open[l]) = (now.lo, now.hi, now.s, now.at, now.open);
    }
}

/// Where the safeguarded iteration of one lane stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step<T> {
    /// Bracket: below threshold here,
    pub lo: T,
    /// above here.
    pub hi: T,
    /// Where the state is taken next; the crossing, once it is found.
    pub s: T,
    /// The current there, once it is found.
    pub at: T,
    /// 1 until it is found, then 0 (a number, so that loops over lanes vectorise).
    pub open: T,
}

impl<T: Real> Step<T> {
    /// One step from the state `(u, i)` at `s`.
    #[inline(always)]
    pub fn next(self, u: T, i: T, theta: T, inv_mem: T, inv_syn: T) -> Self {
        let last_bit = T::HALF * T::EPSILON;
        // Up to here the decay of the current over the last step needs four terms.
        let short = T::of(if T::EPSILON.f64() < 1e-10 { 1e-3 } else { 6e-2 });
        let Self { lo: lo_was, hi: hi_was, s: s_was, at: at_was, open: open_was } = self;
        let f = u - theta;
        let f1 = (i - u) * inv_mem;
        let f2 = -(i * inv_syn + f1) * inv_mem;
        let square_syn = inv_syn * inv_syn;
        let f3 = (i * square_syn - f2) * inv_mem;
        let f4 = -(i * square_syn * inv_syn + f3) * inv_mem;
        let f5 = (i * square_syn * square_syn - f4) * inv_mem;
        // Parabola; where it has no root, the tangent.
        let disc = f1 * f1 - (f + f) * f2;
        let curved = disc > T::ZERO;
        let root = if curved { disc.sqrt() } else { f1 };
        let parabola = -(f + f) / (f1 + root);
        // What the third and fourth derivatives add there, over the slope there; then what this adds to the slope.
        let inverse = T::ONE / root;
        let square = parabola * parabola;
        let cube = square * parabola;
        let first = -(T::of(1.0 / 6.0) * f3 + T::of(1.0 / 24.0) * f4 * parabola) * cube * inverse;
        let steeper = T::HALF * (f3 * square + f2 * first) * inverse;
        let small = curved & (first.abs() <= T::HALF * parabola.abs());
        let step = parabola + if small { first - first * steeper } else { T::ZERO };
        let fifth = T::of(1.0 / 60.0) * f5.abs() * square;
        let left_out = (fifth + T::of(1.0 / 3.0) * f4.abs() * first.abs()) * cube.abs() * inverse
            + T::of(2.0) * first.abs() * steeper * steeper;
        let below = f < T::ZERO;
        let low = if below { s_was } else { lo_was };
        let high = if below { hi_was } else { s_was };
        let next = s_was + step;
        // NaN fails both comparisons.
        let inside = (next > low) & (next < high);
        let x = step * inv_syn;
        let close = inside & small & (left_out <= last_bit * next) & (x.abs() <= short);
        let next = if inside { next } else { T::HALF * (low + high) };
        // Rounding may have left u at theta at the very start: that crossing is taken as it is.
        let exact = (f == T::ZERO) | (!below & (s_was == T::ZERO));
        let stuck = (next <= low) | (next >= high);
        let stay = exact | stuck;
        let last = if stay { s_was } else { next };
        // The current at the end of the last, short step.
        let decay = T::ONE - x * (T::ONE - T::HALF * x * (T::ONE - T::of(1.0 / 3.0) * x * (T::ONE - T::of(0.25) * x)));
        let end = if stay { i } else { i * decay };
        let was_open = open_was > T::ZERO;
        let finished = stay | close;
        Self {
            lo: if was_open { low } else { lo_was },
            hi: if was_open { high } else { hi_was },
            at: if was_open & finished { end } else { at_was },
            s: if was_open { last } else { s_was },
            open: if was_open & !finished { T::ONE } else { T::ZERO },
        }
    }
}
