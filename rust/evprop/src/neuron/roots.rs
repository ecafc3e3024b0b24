//! First crossings of many states of neurons that share their time constants: the method of [`super::crossing`], with
//! the constants as numbers instead of columns, problems that remember whose they are, and a better start.
//!
//! Both ends of the bracket are known when it is drawn (the lower one is the given state, the upper one decides whether
//! there is a crossing at all), so the iteration starts from the end whose voltage is nearer to the threshold.
use super::constants::{LANES, Neuron};
use super::crossing::Step;
use super::flow::{peak_time, propagator};
use crate::math::Real;

/// When does this state first cross within its span?
#[derive(Debug, Clone, Copy)]
pub struct Problem<T> {
    /// Whose state.
    pub lane: u32,
    /// When it was taken, ms.
    pub start: f64,
    /// Membrane.
    pub u: T,
    /// Current.
    pub i: T,
    /// Span, ms.
    pub d: T,
    /// Threshold.
    pub theta: T,
}

/// Problems, one a lane, column by column.
#[derive(Debug, Clone, Default)]
struct Problems<T> {
    len: usize,
    lane: Vec<u32>,
    start: Vec<f64>,
    u: Vec<T>,
    i: Vec<T>,
    d: Vec<T>,
    theta: Vec<T>,
}

impl<T: Real> Problems<T> {
    fn make_room(&mut self, n: usize) {
        self.lane.resize(n, 0);
        self.start.resize(n, 0.0);
        for column in [&mut self.u, &mut self.i, &mut self.d, &mut self.theta] {
            column.resize(n, T::ZERO);
        }
    }

    #[inline(always)]
    fn push(&mut self, x: Problem<T>) {
        let k = self.len;
        self.lane[k] = x.lane;
        self.start[k] = x.start;
        self.u[k] = x.u;
        self.i[k] = x.i;
        self.d[k] = x.d;
        self.theta[k] = x.theta;
        self.len = k + 1;
    }

    #[inline(always)]
    fn get(&self, k: usize) -> Problem<T> {
        let (lane, start, u, i) = (self.lane[k], self.start[k], self.u[k], self.i[k]);
        Problem { lane, start, u, i, d: self.d[k], theta: self.theta[k] }
    }

    /// Fills the last vector with problems that have no answer; returns the number of lanes.
    #[inline(always)]
    fn fill_up(&mut self) -> usize {
        let n = self.len.next_multiple_of(LANES);
        for l in self.len..n {
            (self.u[l], self.i[l], self.d[l], self.theta[l]) = (T::ZERO, T::ZERO, T::ZERO, T::ONE);
        }
        n
    }
}

/// Problems and their answers.
#[derive(Debug, Clone, Default)]
pub struct Roots<T> {
    room: usize,
    open: Problems<T>,
    lo: Vec<T>,
    hi: Vec<T>,
    end_u: Vec<T>,
    end_i: Vec<T>,
    unsolved: Vec<T>,
    s: Vec<T>,
    at: Vec<T>,
    hits: Vec<u32>,
}

impl<T: Real> Roots<T> {
    /// Forgets all; makes room for `n` problems, a multiple of the vector width.
    #[inline(always)]
    pub fn clear(&mut self, n: usize) {
        if self.room < n {
            self.grow(n);
        }
        self.open.len = 0;
    }

    #[inline(never)]
    fn grow(&mut self, n: usize) {
        self.room = n;
        self.open.make_room(n);
        self.hits.resize(n, 0);
        let Self { lo, hi, end_u, end_i, unsolved, s, at, .. } = self;
        for column in [lo, hi, end_u, end_i, unsolved, s, at] {
            column.resize(n, T::ZERO);
        }
    }

    /// Adds a problem.
    #[inline(always)]
    pub fn ask(&mut self, problem: Problem<T>) {
        self.open.push(problem);
    }

    /// How many problems there are.
    #[inline(always)]
    pub fn len(&self) -> usize {
        self.open.len
    }

    /// Whether there is none.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.open.len == 0
    }

    /// Keeps the problems that have a crossing, in their order, and solves them; returns how many.
    #[inline(always)]
    pub fn solve(&mut self, c: &Neuron<T>) -> usize {
        let n = self.open.fill_up();
        let Self { open, hi, end_u, end_i, .. } = self;
        bracket(c, &open.u[..n], &open.i, &open.d, hi);
        flow(c, &hi[..n], &open.u, &open.i, end_u, end_i);
        self.keep_hits();
        let n = self.open.fill_up();
        let hits = self.open.len;
        let Self { open, lo, hi, end_u, end_i, unsolved, s, at, .. } = self;
        begin(hits, &open.u[..n], &open.i, &open.theta, hi, end_u, end_i, lo, s, unsolved);
        for _round in 0..100 {
            step(c, &open.theta[..n], end_u, end_i, lo, hi, s, at, unsolved);
            if unsolved[..n].iter().all(|&x| x == T::ZERO) {
                break;
            }
            flow(c, &s[..n], &open.u, &open.i, end_u, end_i);
        }
        hits
    }

    #[inline(always)]
    fn keep_hits(&mut self) {
        let Self { open, hi, end_u, end_i, hits, .. } = self;
        let mut count = 0;
        for (l, &end) in end_u.iter().enumerate().take(open.len) {
            let (u, i, theta) = (open.u[l], open.i[l], open.theta[l]);
            let rising = (i > T::ZERO) & (i > u);
            let hit = (rising | (theta <= T::ZERO)) & (open.d[l] > T::ZERO) & (end > theta);
            hits[count] = l as u32;
            count += usize::from(hit);
        }
        for (k, &l) in hits[..count].iter().enumerate() {
            let l = l as usize;
            open.lane[k] = open.lane[l];
            open.start[k] = open.start[l];
            open.u[k] = open.u[l];
            open.i[k] = open.i[l];
            open.d[k] = open.d[l];
            open.theta[k] = open.theta[l];
            hi[k] = hi[l];
            end_u[k] = end_u[l];
            end_i[k] = end_i[l];
        }
        open.len = count;
    }

    /// Answer `k`: the problem, the time from its start to the first crossing, and the current there.
    #[inline(always)]
    pub fn answer(&self, k: usize) -> (Problem<T>, T, T) {
        (self.open.get(k), self.s[k], self.at[k])
    }

    /// Puts `problem` in the place of problem `k`.
    #[inline(always)]
    pub fn replace(&mut self, k: usize, problem: Problem<T>) {
        let len = self.open.len;
        self.open.len = k;
        self.open.push(problem);
        self.open.len = len;
    }

    /// Keeps the first `n` problems.
    #[inline(always)]
    pub fn keep(&mut self, n: usize) {
        self.open.len = n;
    }

    /// Keeps the first `n` problems and takes them to the ends of their spans.
    #[inline(always)]
    pub fn flow(&mut self, c: &Neuron<T>, n: usize) {
        self.open.len = n;
        let n = self.open.fill_up();
        let Self { open, end_u, end_i, .. } = self;
        flow(c, &open.d[..n], &open.u, &open.i, end_u, end_i);
    }

    /// Problem `k` and its state at the end, after [`Self::flow`].
    #[inline(always)]
    pub fn end(&self, k: usize) -> (Problem<T>, T, T) {
        (self.open.get(k), self.end_u[k], self.end_i[k])
    }
}

// The loops over lanes: every column an argument of its own (arguments do not alias, which the compiler must know to use
// vectors).

/// States `(u, i)` after spans `d`.
#[inline(always)]
fn flow<T: Real>(c: &Neuron<T>, d: &[T], u: &[T], i: &[T], end_u: &mut [T], end_i: &mut [T]) {
    let n = d.len();
    let (u, i, end_u, end_i) = (&u[..n], &i[..n], &mut end_u[..n], &mut end_i[..n]);
    let (inv_slow, rate, gain, lin, mem_slow) = (c.inv_slow, c.rate, c.gain, c.lin, c.mem_slow);
    for l in 0..n {
        let p = propagator(d[l], inv_slow, rate, gain, lin, mem_slow);
        end_u[l] = u[l] * p.mem + i[l] * p.kappa;
        end_i[l] = i[l] * p.syn;
    }
}

/// Where the bracket of the first crossing ends: at the maximum ahead, or at the end of the span.
#[inline(always)]
fn bracket<T: Real>(c: &Neuron<T>, u: &[T], i: &[T], d: &[T], hi: &mut [T]) {
    let n = u.len();
    let (i, d, hi) = (&i[..n], &d[..n], &mut hi[..n]);
    let (tau_mem, tau_syn, inv_mem) = (c.tau_mem, c.tau_syn, c.inv_mem);
    for l in 0..n {
        let rising = (i[l] > T::ZERO) & (i[l] > u[l]);
        let peak = peak_time(u[l], i[l], tau_mem, tau_syn, inv_mem);
        hi[l] = if rising & (peak < d[l]) { peak } else { d[l] };
    }
}

/// Starts the first `count` lanes from the better end of their brackets: `(end_u, end_i)` is the state at `hi`, and
/// becomes the state at `s`.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn begin<T: Real>(
    count: usize,
    u: &[T],
    i: &[T],
    theta: &[T],
    hi: &[T],
    end_u: &mut [T],
    end_i: &mut [T],
    lo: &mut [T],
    s: &mut [T],
    unsolved: &mut [T],
) {
    let n = u.len();
    let (i, theta, hi, end_u, end_i) = (&i[..n], &theta[..n], &hi[..n], &mut end_u[..n], &mut end_i[..n]);
    let (lo, s, unsolved) = (&mut lo[..n], &mut s[..n], &mut unsolved[..n]);
    for l in 0..n {
        let (below, above) = (theta[l] - u[l], end_u[l] - theta[l]);
        // A state at or above the threshold is its own answer.
        let late = (above < below) & (below > T::ZERO);
        let (end, current) = (end_u[l], end_i[l]);
        lo[l] = T::ZERO;
        s[l] = if late { hi[l] } else { T::ZERO };
        end_u[l] = if late { end } else { u[l] };
        end_i[l] = if late { current } else { i[l] };
    }
    for (l, x) in unsolved.iter_mut().enumerate() {
        *x = if l < count { T::ONE } else { T::ZERO };
    }
}

/// One step of every lane from its state `(u, i)` at `s`.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn step<T: Real>(
    c: &Neuron<T>,
    theta: &[T],
    u: &[T],
    i: &[T],
    lo: &mut [T],
    hi: &mut [T],
    s: &mut [T],
    at: &mut [T],
    unsolved: &mut [T],
) {
    let n = theta.len();
    let (u, i, lo, hi) = (&u[..n], &i[..n], &mut lo[..n], &mut hi[..n]);
    let (s, at, unsolved) = (&mut s[..n], &mut at[..n], &mut unsolved[..n]);
    let (inv_mem, inv_syn) = (c.inv_mem, c.inv_syn);
    for l in 0..n {
        let was = Step { lo: lo[l], hi: hi[l], s: s[l], at: at[l], open: unsolved[l] };
        let now = was.next(u[l], i[l], theta[l], inv_mem, inv_syn);
        (lo[l], hi[l], s[l], at[l], unsolved[l]) = (now.lo, now.hi, now.s, now.at, now.open);
    }
}
