//! First crossings of many states of neurons that share their time constants: the method of [`super::crossing`], with
//! the constants as numbers instead of columns, problems that remember whose they are, and a better start.
//!
//! Both ends of the bracket are known when it is drawn (the lower one is the given state, the upper one decides whether
//! there is a crossing at all), so the iteration starts from the end whose voltage is nearer to the threshold.
//!
//! Where the crossing is known in closed form ([`super::quadratic`]), nothing is iterated.
//!
//! Problems lie in blocks of one vector, whose columns have a fixed length: loops over them need no check, and a problem is
//! written with one.
use super::constants::{Constants, LANES, Neuron};
use super::crossing::Step;
use super::flow::{peak_time, propagator};
use super::quadratic::first_crossing;
use crate::math::Real;

/// When does this state first cross within its span?
#[derive(Debug, Clone, Copy)]
pub struct Problem<T> {
    /// Whose state.
    pub lane: u32,
    /// When it was taken, ms.
    pub start: f64,
    /// When its span ends, ms.
    pub end: f64,
    /// Membrane.
    pub u: T,
    /// Current.
    pub i: T,
    /// Span, ms.
    pub d: T,
    /// Threshold.
    pub theta: T,
}

/// A crossing.
#[derive(Debug, Clone, Copy)]
pub struct Crossing<T> {
    /// Whose.
    pub lane: u32,
    /// When, ms.
    pub time: f64,
    /// When the span ends in which it lies, ms.
    pub end: f64,
    /// The current there.
    pub current: T,
}

/// A number for each problem of a block.
type Column<T> = [T; LANES];

/// Problems and their answers, one a lane.
#[derive(Debug, Clone)]
struct Block<T> {
    lane: Column<u32>,
    start: Column<f64>,
    end: Column<f64>,
    u: Column<T>,
    i: Column<T>,
    d: Column<T>,
    theta: Column<T>,
    lo: Column<T>,
    hi: Column<T>,
    /// The state at `s`, or at the end of the bracket or of the span.
    at_u: Column<T>,
    at_i: Column<T>,
    /// Whether there is a crossing.
    hit: Column<bool>,
    /// 1 until it is found (a number, so that loops vectorise).
    open: Column<T>,
    s: Column<T>,
    current: Column<T>,
}

impl<T: Real> Block<T> {
    fn empty() -> Self {
        let zeros = [T::ZERO; LANES];
        Self {
            lane: [0; LANES],
            start: [0.0; LANES],
            end: [0.0; LANES],
            u: zeros,
            i: zeros,
            d: zeros,
            theta: zeros,
            lo: zeros,
            hi: zeros,
            at_u: zeros,
            at_i: zeros,
            hit: [false; LANES],
            open: zeros,
            s: zeros,
            current: zeros,
        }
    }

    /// Where the bracket of the first crossing ends, the state there, and whether there is a crossing; then the state from
    /// which to look for it, at the better end.
    #[inline(always)]
    fn begin(&mut self, c: &Neuron<T>) {
        let Self { u, i, d, theta, lo, hi, at_u, at_i, hit, open, s, .. } = self;
        for l in 0..LANES {
            let rising = (i[l] > T::ZERO) & (i[l] > u[l]);
            let peak = peak_time(u[l], i[l], c.tau_mem, c.tau_syn, c.inv_mem);
            hi[l] = if rising & (peak < d[l]) { peak } else { d[l] };
        }
        flow(c, hi, u, i, at_u, at_i);
        for l in 0..LANES {
            let (end_u, end_i) = (at_u[l], at_i[l]);
            let rising = (i[l] > T::ZERO) & (i[l] > u[l]);
            let crosses = (rising | (theta[l] <= T::ZERO)) & (d[l] > T::ZERO) & (end_u > theta[l]);
            let (below, above) = (theta[l] - u[l], end_u - theta[l]);
            // A state at or above the threshold is its own answer.
            let late = (above < below) & (below > T::ZERO);
            lo[l] = T::ZERO;
            s[l] = if late { hi[l] } else { T::ZERO };
            at_u[l] = if late { end_u } else { u[l] };
            at_i[l] = if late { end_i } else { i[l] };
            open[l] = if crosses { T::ONE } else { T::ZERO };
        }
        for l in 0..LANES {
            hit[l] = open[l] != T::ZERO;
        }
    }

    /// One step of every lane from its state at `s`. Returns whether a crossing is still to be found.
    #[inline(always)]
    fn step(&mut self, c: &Neuron<T>) -> bool {
        let Self { theta, lo, hi, at_u, at_i, open, s, current, .. } = self;
        let mut left = T::ZERO;
        for l in 0..LANES {
            // Read everything first: a choice between two places in memory can't become a vector, one between values can.
            let was = Step { lo: lo[l], hi: hi[l], s: s[l], at: current[l], open: open[l] };
            let now = was.next(at_u[l], at_i[l], theta[l], c.inv_mem, c.inv_syn);
            (lo[l], hi[l], s[l], current[l], open[l]) = (now.lo, now.hi, now.s, now.at, now.open);
        }
        for &open in open.iter() {
            left += open;
        }
        left != T::ZERO
    }

    /// Every crossing in closed form.
    #[inline(always)]
    fn close(&mut self, c: &Neuron<T>) {
        let Self { u, i, d, theta, open, s, current, hit, .. } = self;
        for l in 0..LANES {
            let found = first_crossing(u[l], i[l], d[l], theta[l], c.tau_mem, c.inv_mem);
            open[l] = if found.hit { T::ONE } else { T::ZERO };
            s[l] = found.s;
            current[l] = found.current;
        }
        for l in 0..LANES {
            hit[l] = open[l] != T::ZERO;
        }
    }

    /// The state at `s`.
    #[inline(always)]
    fn flow_to_s(&mut self, c: &Neuron<T>) {
        flow(c, &self.s, &self.u, &self.i, &mut self.at_u, &mut self.at_i);
    }
}

/// States `(u, i)` after spans `d`.
#[inline(always)]
fn flow<T: Real>(
    c: &Neuron<T>,
    d: &Column<T>,
    u: &Column<T>,
    i: &Column<T>,
    end_u: &mut Column<T>,
    end_i: &mut Column<T>,
) {
    let (inv_slow, rate, gain, lin, mem_slow) = (c.inv_slow, c.rate, c.gain, c.lin, c.mem_slow);
    for l in 0..LANES {
        let p = propagator(d[l], inv_slow, rate, gain, lin, mem_slow);
        end_u[l] = u[l] * p.mem + i[l] * p.kappa;
        end_i[l] = i[l] * p.syn;
    }
}

/// Problems and their answers.
#[derive(Debug, Clone, Default)]
pub struct Roots<T> {
    blocks: Vec<Block<T>>,
    len: usize,
}

impl<T: Real> Roots<T> {
    /// Forgets all; makes room for `n` problems.
    #[inline(always)]
    pub fn clear(&mut self, n: usize) {
        if self.blocks.len() * LANES < n {
            self.grow(n);
        }
        self.len = 0;
    }

    #[inline(never)]
    fn grow(&mut self, n: usize) {
        self.blocks.resize(n.div_ceil(LANES), Block::empty());
    }

    /// Adds a problem.
    #[inline(always)]
    pub fn ask(&mut self, problem: Problem<T>) {
        self.replace(self.len, problem);
        self.len += 1;
    }

    /// How many problems there are.
    #[inline(always)]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The blocks in use, the last one filled up with problems that have no answer.
    #[inline(always)]
    fn filled(&mut self) -> &mut [Block<T>] {
        for k in self.len..self.len.next_multiple_of(LANES) {
            let nothing = Problem { lane: 0, start: 0.0, end: 0.0, u: T::ZERO, i: T::ZERO, d: T::ZERO, theta: T::ONE };
            self.replace(k, nothing);
        }
        &mut self.blocks[..self.len.div_ceil(LANES)]
    }

    /// Finds the crossings.
    #[inline(always)]
    pub fn solve(&mut self, c: &Constants<T>) {
        let (blocks, closed, c) = (self.filled(), c.quadratic, c.neuron(0));
        if closed {
            // Not `for_each`, whose body would be compiled for the narrowest vectors.
            for block in blocks.iter_mut() {
                block.close(c);
            }
            return;
        }
        for block in blocks.iter_mut() {
            block.begin(c);
        }
        for _round in 0..100 {
            let mut left = false;
            for block in blocks.iter_mut() {
                left |= block.step(c);
            }
            if !left {
                break;
            }
            for block in blocks.iter_mut() {
                block.flow_to_s(c);
            }
        }
    }

    /// The crossing of problem `k`, if there is one.
    #[inline(always)]
    pub fn answer(&self, k: usize) -> Option<Crossing<T>> {
        let (block, l) = (&self.blocks[k / LANES], k % LANES);
        let (end, current) = (block.end[l], block.current[l]);
        let time = (block.start[l] + block.s[l].f64()).smaller(end);
        block.hit[l].then_some(Crossing { lane: block.lane[l], time, end, current })
    }

    /// Puts `problem` in the place of problem `k`.
    #[inline(always)]
    pub fn replace(&mut self, k: usize, problem: Problem<T>) {
        let (block, l) = (&mut self.blocks[k / LANES], k % LANES);
        block.lane[l] = problem.lane;
        block.start[l] = problem.start;
        block.end[l] = problem.end;
        block.u[l] = problem.u;
        block.i[l] = problem.i;
        block.d[l] = problem.d;
        block.theta[l] = problem.theta;
    }

    /// Keeps the first `n` problems.
    #[inline(always)]
    pub fn keep(&mut self, n: usize) {
        self.len = n;
    }

    /// Keeps the first `n` problems and takes them to the ends of their spans.
    #[inline(always)]
    pub fn flow(&mut self, c: &Neuron<T>, n: usize) {
        self.len = n;
        for block in self.filled() {
            flow(c, &block.d, &block.u, &block.i, &mut block.at_u, &mut block.at_i);
        }
    }

    /// Problem `k` and its state at the end, after [`Self::flow`].
    #[inline(always)]
    pub fn end(&self, k: usize) -> (Problem<T>, T, T) {
        let (block, l) = (&self.blocks[k / LANES], k % LANES);
        let (lane, start, end) = (block.lane[l], block.start[l], block.end[l]);
        let problem = Problem { lane, start, end, u: block.u[l], i: block.i[l], d: block.d[l], theta: block.theta[l] };
        (problem, block.at_u[l], block.at_i[l])
    }
}
