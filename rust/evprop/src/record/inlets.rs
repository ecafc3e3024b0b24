//! All synapses into a component that is played in windows: by sender, to give a spike to all of its targets, and by
//! target, to find what reaches one neuron. Delays are in [`Ticks`].
use super::grid::Grid;
use crate::math::{Real, Ticks, prefetch};
use crate::network::{Component, Network, Params};
use crate::neuron::Constants;
use crate::neuron::modes::Pace;
use crate::projection::{Connectivity, DelayKind, Row, Synapses};
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
}

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
    /// Its rows, as spikes are given to their targets.
    pub rows: InletRows<T>,
    columns: Columns,
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

/// Delays by target, in small numbers: most spikes under way arrive neither now nor soon, and these tell.
#[derive(Debug, Clone, Default)]
struct Columns {
    delay: Vec<u16>,
    /// How far it is from one target to the next; 0: all targets have the same delays.
    stride: usize,
    /// All ones where senders differ, else 0.
    by_sender: usize,
}

/// Delays onto one target, in 64ths of a window.
#[derive(Debug, Clone, Copy)]
pub struct Column<'a> {
    delay: &'a [u16],
    by_sender: usize,
}

impl Column<'_> {
    /// From a sender.
    #[inline(always)]
    pub fn of(self, sender: u32) -> u16 {
        self.delay[sender as usize & self.by_sender]
    }

    /// Asks for all of it ahead of use.
    #[inline(always)]
    pub fn fetch(self) {
        // A cache line holds 32.
        for at in (0..self.delay.len()).step_by(32) {
            prefetch(self.delay, at);
        }
    }
}

impl<'a, T: Real> Inlets<'a, T> {
    /// Gathers and turns round. `duration`: of the trial; what arrives after it does so in any window after it.
    pub fn new(
        network: &'a Network,
        params: &'a Params<'_, T>,
        component: &Component,
        constants: &[Constants<T>],
        grid: Grid,
        duration: f64,
    ) -> Self {
        let (mut base, mut lanes) = (Vec::new(), 0);
        for &p in &component.populations {
            base.push(lanes);
            lanes += network.populations()[p].size.next_multiple_of(BLOCK);
        }
        let (mut all, mut reach) = (Vec::new(), 0.0f64);
        let paces = paces(network, params, component, constants, grid, duration);
        for (q, projection) in network.projections().iter().enumerate() {
            let Some(member) = component.populations.iter().position(|&p| p == projection.post) else { continue };
            let synapses = params.synapses(network, q);
            let n_pre = network.populations()[projection.pre].size;
            let over = duration + grid.step;
            let ticks = |d: &T| grid.ticks::<T>(d.f64().min(over));
            let delay: Vec<_> = synapses.delay.iter().map(ticks).collect();
            let longest = longest(synapses.delay);
            reach = reach.max(longest);
            let columns = Columns::new(&synapses, n_pre, &delay);
            let (pre, base) = (projection.pre, base[member]);
            let longest_ticks = grid.ticks::<T>(longest.min(over));
            let rows = InletRows::new(&synapses, n_pre, delay, paces[member], over);
            all.push(Inlet { pre, base, synapses, longest, longest_ticks, rows, columns, grid, over });
        }
        Self { base, lanes, all, paces, grid, longest: reach.min(duration + grid.step) }
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

impl Columns {
    fn new<T: Real>(synapses: &Synapses<'_, T>, n_pre: usize, ticks: &[T::Ticks]) -> Self {
        let all = || ticks.iter().map(|d| d.coarse()).collect();
        match synapses.delay_kind {
            DelayKind::None => Self { delay: vec![0], stride: 0, by_sender: 0 },
            DelayKind::Axonal => Self { delay: all(), stride: 0, by_sender: usize::MAX },
            DelayKind::Dendritic => Self { delay: all(), stride: 1, by_sender: 0 },
            DelayKind::Synaptic => match synapses.connectivity {
                Connectivity::Dense => {
                    Self { delay: turned(ticks, n_pre, synapses.n_post), stride: n_pre, by_sender: usize::MAX }
                }
                // Too many pairs to have a place each.
                Connectivity::Sparse { .. } => Self::default(),
            },
        }
    }

    fn of(&self, target: usize) -> Option<Column<'_>> {
        let delay = self.delay.get(target * self.stride..).filter(|delay| !delay.is_empty())?;
        let len = if self.stride == 0 { delay.len() } else { self.stride };
        Some(Column { delay: &delay[..len], by_sender: self.by_sender })
    }
}

/// Rows to columns.
fn turned<K: Ticks>(rows: &[K], n_pre: usize, n_post: usize) -> Vec<u16> {
    let mut columns = vec![0; rows.len()];
    // Tile by tile, so that neither side runs through memory a line at a time.
    for tile in (0..n_post).step_by(BLOCK) {
        for j in 0..n_pre {
            let row = &rows[j * n_post..(j + 1) * n_post];
            for i in tile..(tile + BLOCK).min(n_post) {
                columns[i * n_pre + j] = row[i].coarse();
            }
        }
    }
    columns
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

    /// Delays of all synapses onto target `i`, where they are known by sender.
    #[inline(always)]
    pub fn column(&self, i: usize) -> Option<Column<'_>> {
        self.columns.of(i)
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

    /// Asks for what [`Self::synapse`] needs ahead of use.
    #[inline(always)]
    pub fn fetch(&self, sender: usize, i: usize) {
        if self.synapses.connectivity.is_dense() {
            let at = sender * self.synapses.n_post + i;
            prefetch(self.synapses.weight, at);
            prefetch(self.synapses.delay, at);
        }
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

/// Which senders' blocks come next where a group of them is worked on at a time, `next` being the first that has not had its
/// turn in the column of `block`: others in that column, or the first of the column beside it.
#[inline(always)]
pub fn next_group(units: &[u32], next: usize, block: usize, size: usize) -> (&[u32], usize) {
    let later = &units[next.min(units.len())..];
    let (own, block) = if later.is_empty() { (units, block + 1) } else { (later, block) };
    (&own[..size.min(own.len())], block)
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
    fn in_modes(synapses: &Synapses<'_, T>, n_pre: usize, ticks: &[T::Ticks], pace: Pace, over: f64) -> Self {
        Self::build(n_pre, synapses.n_post, |j, first| {
            let (row, delays, last) = (synapses.row(j), synapses.delays_of(ticks, j), synapses.n_post - 1);
            let pair = |k: usize| {
                let w = row.weight.get(k).copied().unwrap_or(T::ZERO);
                pace.pair(w, row.delay_of(k.min(last)).min(over))
            };
            PairBlock {
                delay: std::array::from_fn(|k| row.along(delays, (first + k).min(last))),
                pairs: std::array::from_fn(|k| pair(first + k)),
            }
        })
    }
}

impl<T: Real> InletRows<T> {
    fn new(synapses: &Synapses<'_, T>, n_pre: usize, ticks: Vec<T::Ticks>, pace: Option<Pace>, over: f64) -> Self {
        match (pace, synapses.connectivity.is_dense()) {
            (None, true) => Self::Dense(Rows::<RowBlock<T>>::new(synapses, n_pre, &ticks)),
            (None, false) => Self::Sparse(ticks),
            (Some(pace), true) => Self::DenseModes(pace, Rows::in_modes(synapses, n_pre, &ticks, pace, over)),
            (Some(pace), false) => {
                let rows = (0..n_pre).map(|j| synapses.row(j));
                let pair = |row: Row<'_, T>, k: usize| pace.pair(row.weight[k], row.delay_of(k).min(over));
                let pairs = rows.flat_map(|row| (0..row.weight.len()).map(move |k| pair(row, k))).collect();
                Self::SparseModes(pace, ticks, pairs)
            }
        }
    }
}

/// By member: how fast its modes go, where its states can be summed up in modes.
fn paces<T: Real>(
    network: &Network,
    params: &Params<'_, T>,
    component: &Component,
    constants: &[Constants<T>],
    grid: Grid,
    duration: f64,
) -> Vec<Option<Pace>> {
    let into = |p: usize| network.incoming(p).iter().map(|&q| params.synapses(network, q));
    let everything = component.populations.iter().flat_map(|&p| into(p));
    let reach = everything.map(|synapses| longest(synapses.delay)).fold(0.0, f64::max).min(duration + grid.step);
    let pace = |&p: &usize| {
        let fits = |pace: &Pace| into(p).all(|synapses| grid.carries(*pace, synapses.weight, reach));
        Pace::of(&constants[p]).filter(fits)
    };
    component.populations.iter().map(pace).collect()
}
