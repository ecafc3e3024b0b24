//! A spike's row of arrivals, each at its own instant, against the table of lambda at the ends of windows.
//!
//! ```text
//! lambda_i(s) = lambda_i(e) E_s + lambda_v(e) kappa          lambda_v(s) = lambda_v(e) E_m
//! dL/dw += lambda_i(s)                                       dL/dd += w (lambda_i(s)/tau_syn - lambda_v(s)/tau_mem)
//! ```
//!
//! over what is left of the window, where `E_m = E_s + kappa (tau_mem/tau_syn - 1)`.
use super::table::{Near, View};
use crate::math::sums::{add, folded};
use crate::math::{Real, Ticks, prefetch};
use crate::neuron::Constants;
use crate::neuron::constants::Neuron;
use crate::neuron::series::{Series, Whole, propagators};
use crate::projection::{Row, RowDelay};
use crate::record::inlets::{BLOCK, Group, Groups, RowBlock, Rows, TOGETHER};
use crate::vectorised;

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

/// Gradients of a projection, where they are wanted (empty: not).
#[derive(Debug)]
pub struct Gathered<'a, T> {
    /// Of the weights.
    pub weight: &'a mut [T],
    /// Of the delays of synapses or of targets.
    pub delay: &'a mut [T],
    /// Each sender has delays of its own.
    pub by_sender: bool,
}

impl<T: Real> Gathered<'_, T> {
    /// Where the delays of a row that begins with synapse `start` begin.
    #[inline(always)]
    fn delays_at(&self, start: usize) -> usize {
        if self.by_sender { start } else { 0 }
    }

    /// Adds to the gradients of synapse `k` of the row that begins with synapse `row`.
    pub fn add(&mut self, row: usize, k: usize, weight: T, delay: T) {
        let delays = self.delays_at(row);
        if let Some(g) = self.weight.get_mut(row + k) {
            *g += weight;
        }
        if let Some(g) = self.delay.get_mut(delays + k) {
            *g += delay;
        }
    }

    /// Asks for the gradients of a block ahead of use.
    #[inline(always)]
    fn fetch(&self, synapse: usize) {
        prefetch(self.weight, synapse);
        prefetch(self.delay, self.delays_at(synapse));
    }
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
    /// Place in the table of the block.
    at: [[u32; BLOCK]; TOGETHER],
    /// What is left of the window.
    left: [[T; BLOCK]; TOGETHER],
    found: [[[T; 2]; BLOCK]; TOGETHER],
    /// By spike: sums of `dL/ds` of its arrivals.
    sums: Vec<[T; BLOCK]>,
    /// Synapses whose targets have a node near.
    pub near: Vec<Near>,
}

impl<T: Real> Default for Looks<T> {
    fn default() -> Self {
        let zero = [T::ZERO; BLOCK];
        Self {
            at: [[0; BLOCK]; TOGETHER],
            left: [zero; TOGETHER],
            found: [[[T::ZERO; 2]; BLOCK]; TOGETHER],
            sums: Vec::new(),
            near: Vec::new(),
        }
    }
}

impl<T: Real> Looks<T> {
    fn reset(&mut self, spikes: usize) {
        self.near.clear();
        self.sums.clear();
        self.sums.resize(spikes, [T::ZERO; BLOCK]);
    }

    /// `dL/dt` of a spike, as far as the table knows.
    pub fn total(&self, spike: usize) -> T {
        let [total] = folded(self.sums[spike]);
        total
    }
}

/// Delays of a row, in ticks.
#[derive(Debug, Clone, Copy)]
pub enum RowTicks<'a, T: Real> {
    /// With the weights, block by block.
    Dense(&'a [RowBlock<T>]),
    /// Synapse by synapse.
    Sparse(RowDelay<'a, T::Ticks>),
}

/// A spike's row.
#[derive(Debug, Clone, Copy)]
pub struct Arrivals<'a, T: Real> {
    /// Weights and targets.
    pub row: Row<'a, T>,
    /// Delays.
    pub delay: RowTicks<'a, T>,
    /// From the ring's seam to the spike.
    pub since: T::Ticks,
}

/// Spikes from one population, for dense rows.
#[derive(Debug, Clone, Copy)]
pub struct Spikes<'a, T: Real> {
    /// Senders.
    pub units: &'a [u32],
    /// From the ring's seam to each of them.
    pub since: &'a [T::Ticks],
    /// Their synapses.
    pub rows: &'a Rows<RowBlock<T>>,
    /// How many targets there are.
    pub n_post: usize,
}

/// A block of synapses of one row.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// Which of the spikes.
    spike: usize,
    /// First synapse of the row, in the projection.
    row: usize,
    /// First synapse of the block, in the row.
    first: usize,
    /// How many they are.
    n: usize,
}

impl<T: Real> Looks<T> {
    /// Places a block.
    #[inline(always)]
    fn place(&mut self, b: usize, since: T::Ticks, delay: &[T::Ticks; BLOCK], view: &View<'_, T>) {
        let windows = T::Ticks::window(view.windows).whole();
        let (at, left) = (&mut self.at[b], &mut self.left[b]);
        let scale = T::of(1.0 / (1u64 << T::Ticks::FRACTION) as f64);
        for k in 0..BLOCK {
            let s = since.plus(delay[k]);
            let ahead = s.whole();
            // Where `ahead` does not reach round the ring, the difference is a huge number.
            at[k] = ahead.min(ahead.minus(windows)).u32() * BLOCK as u32;
            left[k] = T::of_ticks(s.left()) * scale;
        }
    }

    /// Looks a block up.
    #[inline(always)]
    fn find(&mut self, b: usize, items: &[[T; 2]]) {
        let (at, found) = (&self.at[b], &mut self.found[b]);
        for k in 0..BLOCK {
            found[k] = items[at[k] as usize + k];
        }
    }

    /// Adds a block up; its arrivals without an answer are left for later.
    #[inline(always)]
    fn gather(
        &mut self,
        b: usize,
        terms: &[[T; BLOCK]],
        [inv_mem, inv_syn, ratio]: &[[T; BLOCK]; 3],
        weight: &[T; BLOCK],
        gathered: &mut Gathered<'_, T>,
        Place { spike, row, first, n }: Place,
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
        add(&mut self.sums[spike], &timed.0);
        if lost.iter().any(|&k| k > T::ZERO) {
            self.near.extend((0..n).filter(|&k| v.0[k].is_nan()).map(|k| Near { spike, synapse: first + k }));
        }
        let delays = gathered.delays_at(row);
        for (all, more, row) in [(&mut gathered.weight, &felt.0, row), (&mut gathered.delay, &timed.0, delays)] {
            if all.is_empty() {
                continue;
            }
            add(&mut all[row + first..][..n], more);
        }
    }
}

vectorised! {
    /// A row of arrivals; `looks` then knows the sum of `dL/ds`, and the synapses that the table can't answer.
    pub fn spread_row<T>(
        target: &Target<T>,
        arrivals: &Arrivals<'_, T>,
        view: View<'_, T>,
        gathered: &mut Gathered<'_, T>,
        looks: &mut Looks<T>,
    ) {
        looks.reset(1);
        let n = arrivals.row.weight.len();
        let blocks = match arrivals.delay {
            RowTicks::Dense(blocks) => blocks,
            RowTicks::Sparse(delay) => {
                for first in (0..n).step_by(BLOCK) {
                    sparse_block(target, arrivals, delay, &view, gathered, looks, first);
                }
                return;
            }
        };
        for (start, blocks) in blocks.chunks(TOGETHER).enumerate() {
            let start = start * TOGETHER * BLOCK;
            for (b, block) in blocks.iter().enumerate() {
                prefetch(std::slice::from_ref(block), 0);
                gathered.fetch(arrivals.row.start + start + b * BLOCK);
                looks.place(b, arrivals.since, &block.delay, &view);
            }
            for b in 0..blocks.len() {
                looks.find(b, view.block(start + b * BLOCK));
            }
            for (b, block) in blocks.iter().enumerate() {
                let first = start + b * BLOCK;
                let (terms, constants) = (target.series.block(first), &target.constants[first / BLOCK]);
                let place = Place { spike: 0, row: arrivals.row.start, first, n: BLOCK.min(n - first) };
                looks.gather(b, terms, constants, &block.weight, gathered, place);
            }
        }
    }
}

vectorised! {
    /// The same for spikes that need not be taken one by one: a block of targets after the other, because what the table
    /// knows of one block stays in the cache next to the processor.
    pub fn spread_blocks<T>(
        target: &Target<T>,
        spikes: Spikes<'_, T>,
        view: View<'_, T>,
        gathered: &mut Gathered<'_, T>,
        looks: &mut Looks<T>,
    ) {
        let Spikes { rows, n_post, .. } = spikes;
        looks.reset(spikes.units.len());
        for Group { block, first: start, units, next, beside } in Groups::new(spikes.units, 0, n_post) {
            let first = block * BLOCK;
            let n = BLOCK.min(n_post - first);
            for &unit in next {
                rows.fetch(unit as usize, beside);
                gathered.fetch(unit as usize * n_post + beside * BLOCK);
            }
            for (b, &unit) in units.iter().enumerate() {
                looks.place(b, spikes.since[start + b], &rows.of(unit as usize)[block].delay, &view);
            }
            for b in 0..units.len() {
                looks.find(b, view.block(first));
            }
            for (b, &unit) in units.iter().enumerate() {
                let place = Place { spike: start + b, row: unit as usize * n_post, first, n };
                let (terms, constants) = (target.series.block(first), &target.constants[block]);
                looks.gather(b, terms, constants, &rows.of(unit as usize)[block].weight, gathered, place);
            }
        }
    }
}

#[inline(always)]
fn sparse_block<T: Real>(
    target: &Target<T>,
    arrivals: &Arrivals<'_, T>,
    ticks: RowDelay<'_, T::Ticks>,
    view: &View<'_, T>,
    gathered: &mut Gathered<'_, T>,
    looks: &mut Looks<T>,
    first: usize,
) {
    let row = &arrivals.row;
    let own = BLOCK.min(row.weight.len() - first);
    let (mut delay, mut weight, mut lane) = ([T::Ticks::default(); BLOCK], [T::ZERO; BLOCK], [0; BLOCK]);
    for k in 0..own {
        delay[k] = row.along(ticks, first + k);
        weight[k] = row.weight[first + k];
        lane[k] = row.target(first + k);
    }
    looks.place(0, arrivals.since, &delay, view);
    looks.found[0] = [[T::ZERO; 2]; BLOCK];
    for (k, lane) in lane.iter().enumerate().take(own) {
        looks.found[0][k] = view.block(*lane)[looks.at[0][k] as usize + lane % BLOCK];
    }
    let mut constants = [[T::ZERO; BLOCK]; 3];
    for (n, own) in constants.iter_mut().enumerate() {
        for k in 0..BLOCK {
            own[k] = target.constants[lane[k] / BLOCK][n][lane[k] % BLOCK];
        }
    }
    let place = Place { spike: 0, row: row.start, first, n: own };
    looks.gather(0, &target.series.of(&lane), &constants, &weight, gathered, place);
}
