//! All synapses into a component that is played in windows: by sender, to give a spike to all of its targets, and by
//! target, to find what reaches one neuron. Delays are in `Ticks`.
use super::columns::Columns;
use super::grid::{Grid, largest};
use crate::math::{Real, Simd, prefetch};
use crate::network::{Component, Network, Params};
use crate::neuron::Constants;
use crate::neuron::modes::{Pace, pairs};
use crate::projection::{Row, Synapses};
use std::ops::Range;

/// Lanes of a block: vectors are filled block by block.
pub const BLOCK: usize = 16;

/// The synapses into the populations of one component. A lane is a neuron of the component: its members one after
/// the other, each padded to whole blocks.
#[derive(Debug, Clone)]
pub struct Inlets<'a, T: Real> {
    /// First lane of each member.
    pub base: Vec<usize>,
    /// Number of lanes, with padding.
    pub lanes: usize,
    /// Projections into the component, as listed in the network.
    pub all: Vec<Inlet<'a, T>>,
    /// By member: how fast its modes go, where what arrives is summed up in modes.
    pub paces: Vec<Option<Pace>>,
    /// Windows of time.
    pub grid: Grid,
    /// The longest delay, ms, where it is shorter than the trial.
    pub longest: f64,
    /// Windows of the ring in which arrivals are summed up.
    pub windows: usize,
    /// Turns of it for which modes refer to one instant.
    pub turns: usize,
}

/// Windows for which the spikes from outside are taken in at a time.
pub const SLAB: usize = 16;

/// Turns of the ring for which modes refer to one instant, at most.
const TURNS: usize = 8;

/// One projection into the component.
#[derive(Debug, Clone)]
pub struct Inlet<'a, T: Real> {
    /// Sending population.
    pub pre: usize,
    /// First lane of the receiving member.
    pub base: usize,
    /// Weights, and delays in ms.
    pub synapses: Synapses<'a, T>,
    /// The longest delay, ms.
    pub longest: f64,
    /// The same in ticks.
    pub longest_ticks: T::Ticks,
    /// Delays by target, where rows are sparse.
    pub columns: Option<Columns>,
    /// Its rows, as spikes are given to their targets.
    pub rows: InletRows<T>,
    grid: Grid,
    /// Longer delays count as this: they reach beyond the trial, ms.
    over: f64,
}

/// Rows of synapses, sparse or dense, by how the receiving neurons' states are summed up.
#[derive(Debug, Clone)]
pub enum InletRows<T: Real> {
    /// As they are, delays in ticks.
    Sparse(Vec<T::Ticks>),
    /// As they are.
    Dense(Rows<RowBlock<T>>),
    /// In modes: delays in ticks, and what synapses add.
    SparseModes(Pace, Vec<T::Ticks>, Vec<[T; 2]>),
    /// In modes.
    DenseModes(Pace, Rows<PairBlock<T>>),
}

impl<'a, T: Real> Inlets<'a, T> {
    /// Gathers and turns round. `duration`: of the trial; what arrives after it does so in any window after it. `None` where
    /// delays are too long for windows.
    pub fn new(
        simd: Simd,
        network: &'a Network,
        params: &'a Params<'_, T>,
        constants: &[Constants<T>],
        component: &Component,
        duration: f64,
    ) -> Option<Self> {
        let into = component.populations.iter().flat_map(|&p| network.incoming(p));
        let reach = into.map(|&q| longest(params.synapses(network, q).delay)).fold(0.0, f64::max);
        let grid = Grid::of(component.populations.iter().map(|&p| &constants[p]), duration, reach)?;
        let over = duration + grid.step;
        let reach = reach.min(over);
        let (mut base, mut lanes) = (Vec::new(), 0);
        for &p in &component.populations {
            base.push(lanes);
            lanes += network.populations()[p].size.next_multiple_of(BLOCK);
        }
        let pace = |&p: &usize| {
            let mut into = network.incoming(p).iter().map(|&q| params.synapses(network, q));
            Pace::of(&constants[p]).filter(|&pace| into.all(|synapses| grid.carries(pace, synapses.weight, reach)))
        };
        let paces: Vec<_> = component.populations.iter().map(pace).collect();
        let windows = SLAB + 2 + (reach / grid.step) as usize;
        let in_modes: Vec<_> = component
            .populations
            .iter()
            .zip(&paces)
            .filter_map(|(&p, pace)| {
                let into = network.incoming(p).iter().map(|&q| largest(params.synapses(network, q).weight));
                Some(((*pace)?, into.fold(0.0, f64::max)))
            })
            .collect();
        let in_range = |&turns: &usize| {
            let range = (turns + 1) as f64 * windows as f64 * grid.step;
            in_modes.iter().all(|&(pace, largest)| Grid::in_range::<T>(pace, largest, range))
        };
        let turns = (2..=TURNS).rev().find(in_range).unwrap_or(1);
        let mut all = Vec::new();
        for (q, projection) in network.projections().iter().enumerate() {
            let Some(member) = component.populations.iter().position(|&p| p == projection.post) else { continue };
            let synapses = params.synapses(network, q);
            let n_pre = network.populations()[projection.pre].size;
            let ticks = |d: &T| grid.ticks::<T>(d.f64().min(over));
            let delay: Vec<_> = synapses.delay.iter().map(ticks).collect();
            let longest = longest(synapses.delay);
            let (pre, base) = (projection.pre, base[member]);
            let longest_ticks = grid.ticks::<T>(longest.min(over));
            let columns = Columns::new(&synapses, n_pre, &delay);
            let rows = InletRows::new(simd, &synapses, n_pre, delay, paces[member], over);
            all.push(Inlet { pre, base, synapses, longest, longest_ticks, columns, rows, grid, over });
        }
        Some(Self { base, lanes, all, paces, grid, longest: reach, windows, turns })
    }

    /// The blocks of a member.
    pub fn blocks(&self, m: usize) -> Range<usize> {
        self.base[m] / BLOCK..self.base.get(m + 1).copied().unwrap_or(self.lanes) / BLOCK
    }

    /// The member that a lane belongs to.
    pub fn member(&self, lane: usize) -> usize {
        self.base.partition_point(|&base| base <= lane) - 1
    }
}

/// The longest of some delays, ms; 0 if there is none.
pub fn longest<T: Real>(delays: &[T]) -> f64 {
    delays.iter().fold(T::ZERO, |longest, &d| longest.larger(d)).f64()
}

impl<T: Real> Inlet<'_, T> {
    /// How fast the modes of its targets go, where what arrives is summed up in modes.
    #[inline(always)]
    pub fn pace(&self) -> Option<Pace> {
        match self.rows {
            InletRows::SparseModes(pace, ..) | InletRows::DenseModes(pace, _) => Some(pace),
            InletRows::Sparse(_) | InletRows::Dense(_) => None,
        }
    }

    /// Blocks of targets, where rows are dense.
    pub fn noted(&self) -> usize {
        if self.columns.is_none() { self.synapses.n_post.div_ceil(BLOCK) } else { 0 }
    }

    /// Asks for the row of a sender ahead of use.
    #[inline(always)]
    pub fn fetch(&self, sender: usize) {
        match &self.rows {
            InletRows::Dense(rows) => rows.fetch_all(sender),
            InletRows::DenseModes(_, rows) => rows.fetch_all(sender),
            InletRows::Sparse(_) | InletRows::SparseModes(..) => {}
        }
    }

    /// Delay in ms and in ticks, and weight, of the synapse from `sender` to target `i`, if there is one.
    #[inline(always)]
    pub fn synapse(&self, sender: usize, i: usize) -> Option<(f64, T::Ticks, T)> {
        let row = self.synapses.row(sender);
        let k = match row.targets {
            None => i,
            Some(targets) => targets.binary_search(&(i as u32)).ok()?,
        };
        let delay = row.delay_of(k);
        Some((delay, self.grid.ticks::<T>(delay.min(self.over)), row.weight[k]))
    }
}

/// Sixteen synapses of a dense row: two cache lines in single precision, because what is waited for is memory.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub struct RowBlock<T: Real> {
    /// Delays in ticks.
    pub delay: [T::Ticks; BLOCK],
    /// Weights.
    pub weight: [T; BLOCK],
}

/// Blocks of synapses that are worked on at a time, one step for all of them after the other: a block alone would wait for
/// each of its own results.
pub const TOGETHER: usize = 8;

/// A block of targets, and some spikes that reach it.
#[derive(Debug, Clone, Copy)]
pub struct Group<'a> {
    /// The block.
    pub block: usize,
    /// Number of the first of the spikes.
    pub first: usize,
    /// Their senders, at most [`TOGETHER`].
    pub units: &'a [u32],
    /// Senders whose synapses are to be asked for ahead, because they come next,
    pub next: &'a [u32],
    /// and onto which block.
    pub beside: usize,
}

/// Spikes of one population, group by group, a block of targets after the other.
#[derive(Debug, Clone)]
pub struct Groups<'a> {
    units: &'a [u32],
    /// How many are missing from the first group.
    missing: usize,
    blocks: usize,
    block: usize,
    first: usize,
}

impl<'a> Groups<'a> {
    /// `units`: senders; `number`: of the first spike, where groups are those of all spikes; `n_post`: number of targets.
    #[inline(always)]
    pub fn new(units: &'a [u32], number: usize, n_post: usize) -> Self {
        let blocks = if units.is_empty() { 0 } else { n_post.div_ceil(BLOCK) };
        Self { units, missing: number % TOGETHER, blocks, block: 0, first: 0 }
    }

    /// The group that begins with a spike.
    #[inline(always)]
    fn group(&self, first: usize) -> &'a [u32] {
        let most = if first == 0 { TOGETHER - self.missing } else { TOGETHER };
        &self.units[first..(first + most).min(self.units.len())]
    }
}

impl<'a> Iterator for Groups<'a> {
    type Item = Group<'a>;

    #[inline(always)]
    fn next(&mut self) -> Option<Group<'a>> {
        let Self { blocks, block, first, .. } = *self;
        if block == blocks {
            return None;
        }
        let units = self.group(first);
        let after = first + units.len();
        (self.block, self.first) = if after == self.units.len() { (block + 1, 0) } else { (block, after) };
        Some(Group { block, first, units, next: self.group(self.first), beside: self.block })
    }
}

/// The same for targets in modes: three cache lines.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub struct PairBlock<T: Real> {
    /// Delays in ticks.
    pub delay: [T::Ticks; BLOCK],
    /// What they add to both modes, with respect to when a spike sets out.
    pub pairs: [[T; 2]; BLOCK],
}

/// Dense rows, block by block; missing synapses weigh nothing.
#[derive(Debug, Clone)]
pub struct Rows<B> {
    /// Blocks of a row.
    wide: usize,
    blocks: Vec<B>,
}

impl<B> Rows<B> {
    /// `block`: the one of a sender that begins with a target.
    fn build(n_pre: usize, n_post: usize, block: impl Fn(usize, usize) -> B) -> Self {
        let wide = n_post.div_ceil(BLOCK);
        let mut blocks = Vec::new();
        blocks.reserve_exact(n_pre * wide);
        for j in 0..n_pre {
            blocks.extend((0..n_post).step_by(BLOCK).map(|first| block(j, first)));
        }
        Self { wide, blocks }
    }

    /// The row of a sender.
    #[inline(always)]
    pub fn of(&self, sender: usize) -> &[B] {
        &self.blocks[sender * self.wide..(sender + 1) * self.wide]
    }

    /// Asks for a block of a row ahead of use.
    #[inline(always)]
    pub fn fetch(&self, sender: usize, block: usize) {
        prefetch(&self.blocks, sender * self.wide + block);
    }

    /// Asks for a whole row.
    #[inline(always)]
    pub fn fetch_all(&self, sender: usize) {
        for block in 0..self.wide {
            self.fetch(sender, block);
        }
    }
}

impl<T: Real> Rows<RowBlock<T>> {
    /// Of dense synapses.
    pub fn new(synapses: &Synapses<'_, T>, n_pre: usize, ticks: &[T::Ticks]) -> Self {
        Self::build(n_pre, synapses.n_post, |j, first| {
            let (row, delays, last) = (synapses.row(j), synapses.delays_of(ticks, j), synapses.n_post - 1);
            RowBlock {
                delay: std::array::from_fn(|k| row.along(delays, (first + k).min(last))),
                weight: std::array::from_fn(|k| row.weight.get(first + k).copied().unwrap_or(T::ZERO)),
            }
        })
    }
}

impl<T: Real> Rows<PairBlock<T>> {
    /// Of dense synapses; delays beyond `over` count as that.
    fn in_modes(
        simd: Simd,
        synapses: &Synapses<'_, T>,
        n_pre: usize,
        ticks: &[T::Ticks],
        pace: Pace,
        over: f64,
    ) -> Self {
        Self::build(n_pre, synapses.n_post, |j, first| {
            let (row, delays, last) = (synapses.row(j), synapses.delays_of(ticks, j), synapses.n_post - 1);
            let weight: [T; BLOCK] = std::array::from_fn(|k| row.weight.get(first + k).copied().unwrap_or(T::ZERO));
            let d: [f64; BLOCK] = std::array::from_fn(|k| row.delay_of((first + k).min(last)).min(over));
            let mut own = [[T::ZERO; 2]; BLOCK];
            pairs(simd, pace, &weight, &d, &mut own);
            PairBlock { delay: std::array::from_fn(|k| row.along(delays, (first + k).min(last))), pairs: own }
        })
    }
}

impl<T: Real> InletRows<T> {
    fn new(
        simd: Simd,
        synapses: &Synapses<'_, T>,
        n_pre: usize,
        ticks: Vec<T::Ticks>,
        pace: Option<Pace>,
        over: f64,
    ) -> Self {
        match (pace, synapses.connectivity.is_dense()) {
            (None, true) => Self::Dense(Rows::<RowBlock<T>>::new(synapses, n_pre, &ticks)),
            (None, false) => Self::Sparse(ticks),
            (Some(pace), true) => Self::DenseModes(pace, Rows::in_modes(simd, synapses, n_pre, &ticks, pace, over)),
            (Some(pace), false) => {
                let along = |row: Row<'_, T>| -> Vec<f64> {
                    (0..row.weight.len()).map(|k| row.delay_of(k).min(over)).collect()
                };
                let d: Vec<f64> = (0..n_pre).flat_map(|j| along(synapses.row(j))).collect();
                let mut own = vec![[T::ZERO; 2]; d.len()];
                pairs(simd, pace, synapses.weight, &d, &mut own);
                Self::SparseModes(pace, ticks, own)
            }
        }
    }
}
