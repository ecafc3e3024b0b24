//! A spike's row of arrivals, each at its own instant, against the table of lambda at the ends of windows.
//!
//! ```text
//! lambda_i(s) = lambda_i(e) E_s + lambda_v(e) kappa          lambda_v(s) = lambda_v(e) E_m
//! dL/dw += lambda_i(s)                                       dL/dd += w (lambda_i(s)/tau_syn - lambda_v(s)/tau_mem)
//! ```
//!
//! over what is left of the window, where `E_m = E_s + kappa (tau_mem/tau_syn - 1)`.
use crate::math::{Real, Ticks};
use crate::neuron::Constants;
use crate::neuron::constants::Neuron;
use crate::neuron::series::{Series, Whole, propagators};
use crate::projection::{Row, RowDelay};
use crate::record::inlets::{BLOCK, RowBlock};
use crate::vectorised;

/// Blocks that are worked on at a time, one step for all of them after the other.
const TOGETHER: usize = 8;

/// lambda_v and lambda_i of all lanes at the ends of windows: by (window of the ring, lane); NaN where a node lies in the
/// window.
#[derive(Debug, Clone, Copy)]
pub struct View<'a, T> {
    /// The table.
    pub items: &'a [[T; 2]],
    /// Lanes of a window.
    pub lanes: usize,
    /// First lane of the receiving population.
    pub first_lane: usize,
    /// Windows of the ring.
    pub windows: usize,
}

/// The receiving population.
#[derive(Debug, Clone)]
pub struct Target<T> {
    series: Series<T>,
    /// Over a whole window.
    pub whole: Whole<T>,
    /// `1/tau_mem`, `1/tau_syn` and `tau_mem/tau_syn - 1`, by block.
    constants: Vec<[[T; BLOCK]; 3]>,
}

impl<T: Real> Target<T> {
    /// For windows of length `step`.
    pub fn new(c: &Constants<T>, step: f64) -> Self {
        let neurons: Vec<_> = (0..c.n.next_multiple_of(BLOCK)).map(|i| *c.neuron(i.min(c.n - 1))).collect();
        let mut series = Series::default();
        series.fill(&neurons, step);
        let mut whole = Whole::default();
        whole.fill(&neurons, step);
        let block = |block: &[Neuron<T>]| {
            let column = |f: &dyn Fn(&Neuron<T>) -> T| std::array::from_fn(|k| f(&block[k]));
            let ratio = |c: &Neuron<T>| T::of(c.tau_mem.f64() / c.tau_syn.f64() - 1.0);
            [column(&|c| c.inv_mem), column(&|c| c.inv_syn), column(&ratio)]
        };
        Self { series, whole, constants: neurons.chunks(BLOCK).map(block).collect() }
    }
}

/// Gradients of a row, where they are wanted (empty: not).
#[derive(Debug)]
pub struct Into<'a, T> {
    /// Of the weights.
    pub weight: &'a mut [T],
    /// Of the delays.
    pub delay: &'a mut [T],
}

/// A vector on a cache line of its own.
#[repr(align(64))]
struct Aligned<T>([T; BLOCK]);

/// Scratch.
///
/// Aligned, because a vector that is stored across two cache lines is slow to be read again.
#[derive(Debug, Clone)]
#[repr(align(64))]
pub struct Looks<T> {
    /// Place in the table, but for the lane.
    at: [[u32; BLOCK]; TOGETHER],
    /// What is left of the window.
    left: [[T; BLOCK]; TOGETHER],
    found: [[[T; 2]; BLOCK]; TOGETHER],
    sums: [T; BLOCK],
    /// Synapses of the row whose targets have a node near.
    pub near: Vec<u32>,
}

impl<T: Real> Default for Looks<T> {
    fn default() -> Self {
        let zero = [T::ZERO; BLOCK];
        Self {
            at: [[0; BLOCK]; TOGETHER],
            left: [zero; TOGETHER],
            found: [[[T::ZERO; 2]; BLOCK]; TOGETHER],
            sums: zero,
            near: Vec::new(),
        }
    }
}

/// A spike's row.
#[derive(Debug, Clone, Copy)]
pub struct Arrivals<'a, T: Real> {
    /// Weights and targets.
    pub row: Row<'a, T>,
    /// Delays in ticks.
    pub delay: RowDelay<'a, T::Ticks>,
    /// Both, block by block, where the row is dense.
    pub blocks: &'a [RowBlock<T>],
    /// From the ring's seam to the spike.
    pub since: T::Ticks,
}

impl<T: Real> Looks<T> {
    /// Places a block.
    #[inline(always)]
    fn place(&mut self, b: usize, since: T::Ticks, delay: &[T::Ticks; BLOCK], view: &View<'_, T>) {
        let windows = T::Ticks::window(view.windows).whole();
        let (at, left) = (&mut self.at[b], &mut self.left[b]);
        let scale = T::of(1.0 / (1u64 << T::Ticks::FRACTION) as f64);
        let lanes = view.lanes as u32;
        for k in 0..BLOCK {
            let s = since.plus(delay[k]);
            let ahead = s.whole();
            // Where `ahead` does not reach round the ring, the difference is a huge number.
            at[k] = ahead.min(ahead.minus(windows)).u32() * lanes;
            left[k] = T::of_ticks(s.left()) * scale;
        }
    }

    /// Adds a block up; its arrivals without an answer are left for later.
    #[inline(always)]
    #[allow(clippy::too_many_arguments)]
    fn gather(
        &mut self,
        b: usize,
        terms: &[[T; BLOCK]],
        [inv_mem, inv_syn, ratio]: &[[T; BLOCK]; 3],
        weight: &[T; BLOCK],
        into: &mut Into<'_, T>,
        first: usize,
        n: usize,
    ) {
        let (kappa, decay) = propagators(terms, &self.left[b]);
        let (mut v, mut i) = (Aligned([T::ZERO; BLOCK]), Aligned([T::ZERO; BLOCK]));
        for (k, found) in self.found[b].iter().enumerate() {
            [v.0[k], i.0[k]] = *found;
        }
        let (mut felt, mut timed) = (Aligned([T::ZERO; BLOCK]), Aligned([T::ZERO; BLOCK]));
        let mut lost = [T::ZERO; BLOCK];
        for k in 0..BLOCK {
            let (v, i) = (v.0[k], i.0[k]);
            let there = !v.is_nan();
            lost[k] = if there { T::ZERO } else { T::ONE };
            let lambda_i = (i + i * decay[k]) + v * kappa[k];
            let lambda_v = (v + v * decay[k]) + v * (kappa[k] * ratio[k]);
            let slope = weight[k] * (lambda_i * inv_syn[k] - lambda_v * inv_mem[k]);
            felt.0[k] = if there { lambda_i } else { T::ZERO };
            timed.0[k] = if there { slope } else { T::ZERO };
        }
        for (sum, more) in self.sums.iter_mut().zip(&timed.0) {
            *sum += *more;
        }
        if lost.iter().any(|&k| k > T::ZERO) {
            self.near.extend((0..n).filter(|&k| v.0[k].is_nan()).map(|k| (first + k) as u32));
        }
        for (all, more) in [(&mut into.weight, &felt.0), (&mut into.delay, &timed.0)] {
            if all.is_empty() {
                continue;
            }
            if let Some(all) = all[first..].first_chunk_mut::<BLOCK>().filter(|_| n == BLOCK) {
                for k in 0..BLOCK {
                    all[k] += more[k];
                }
            } else {
                for k in 0..n {
                    all[first + k] += more[k];
                }
            }
        }
    }
}

vectorised! {
    /// A row of arrivals; `looks.near` receives the synapses that the table can't answer. Returns the sum of `dL/ds`.
    pub fn spread_row<T>(
        target: &Target<T>,
        arrivals: &Arrivals<'_, T>,
        view: View<'_, T>,
        into: &mut Into<'_, T>,
        looks: &mut Looks<T>,
    ) -> T {
        looks.near.clear();
        looks.sums = [T::ZERO; BLOCK];
        let n = arrivals.row.weight.len();
        for (start, blocks) in arrivals.blocks.chunks(TOGETHER).enumerate() {
            let start = start * TOGETHER * BLOCK;
            for (b, block) in blocks.iter().enumerate() {
                looks.place(b, arrivals.since, &block.delay, &view);
            }
            for b in 0..blocks.len() {
                // Lanes are padded to whole blocks.
                let items = &view.items[view.first_lane + start + b * BLOCK..];
                let (at, found) = (&looks.at[b], &mut looks.found[b]);
                for k in 0..BLOCK {
                    found[k] = items[at[k] as usize + k];
                }
            }
            for (b, block) in blocks.iter().enumerate() {
                let first = start + b * BLOCK;
                let (terms, constants) = (target.series.block(first), &target.constants[first / BLOCK]);
                looks.gather(b, terms, constants, &block.weight, into, first, BLOCK.min(n - first));
            }
        }
        if arrivals.blocks.is_empty() {
            for first in (0..n).step_by(BLOCK) {
                sparse_block(target, arrivals, &view, into, looks, first);
            }
        }
        let mut width = BLOCK;
        while width > 1 {
            width /= 2;
            for k in 0..width {
                looks.sums[k] += looks.sums[k + width];
            }
        }
        looks.sums[0]
    }
}

#[inline(always)]
fn sparse_block<T: Real>(
    target: &Target<T>,
    arrivals: &Arrivals<'_, T>,
    view: &View<'_, T>,
    into: &mut Into<'_, T>,
    looks: &mut Looks<T>,
    first: usize,
) {
    let row = &arrivals.row;
    let own = BLOCK.min(row.weight.len() - first);
    let (mut delay, mut weight, mut lane) = ([T::Ticks::default(); BLOCK], [T::ZERO; BLOCK], [0; BLOCK]);
    for k in 0..own {
        delay[k] = row.along(arrivals.delay, first + k);
        weight[k] = row.weight[first + k];
        lane[k] = row.target(first + k);
    }
    looks.place(0, arrivals.since, &delay, view);
    looks.found[0] = [[T::ZERO; 2]; BLOCK];
    for (k, lane) in lane.iter().enumerate().take(own) {
        looks.found[0][k] = view.items[looks.at[0][k] as usize + view.first_lane + lane];
    }
    let mut constants = [[T::ZERO; BLOCK]; 3];
    for (n, own) in constants.iter_mut().enumerate() {
        for k in 0..BLOCK {
            own[k] = target.constants[lane[k] / BLOCK][n][lane[k] % BLOCK];
        }
    }
    looks.gather(0, &target.series.of(&lane), &constants, &weight, into, first, own);
}
