//! All synapses into a component that is played in windows: by sender, to give a spike to all of its targets, and by
//! target, to find what reaches one neuron. Delays are in [`Ticks`].
use super::grid::Grid;
use crate::math::{Real, Ticks, prefetch};
use crate::network::{Component, Network, Params};
use crate::projection::{Connectivity, DelayKind, RowDelay, Synapses};

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
    /// Delays in ticks where rows are sparse, laid out like those in ms.
    delay: Vec<T::Ticks>,
    columns: Columns,
    /// Weights and delays of dense rows.
    pub rows: Rows<T>,
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
        grid: Grid,
        duration: f64,
    ) -> Self {
        let (mut base, mut lanes) = (Vec::new(), 0);
        for &p in &component.populations {
            base.push(lanes);
            lanes += network.populations()[p].size.next_multiple_of(BLOCK);
        }
        let (mut all, mut reach) = (Vec::new(), 0.0f64);
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
            let rows = Rows::new(&synapses, n_pre, &delay);
            let delay = if synapses.connectivity.is_dense() { Vec::new() } else { delay };
            all.push(Inlet { pre, base, synapses, longest, longest_ticks, delay, columns, rows });
        }
        Self { base, lanes, all, grid, longest: reach.min(duration + grid.step) }
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
    /// Delays of all synapses onto target `i`, where they are known by sender.
    #[inline(always)]
    pub fn column(&self, i: usize) -> Option<Column<'_>> {
        self.columns.of(i)
    }

    /// Delays of a sender's synapses in ticks, where rows are sparse.
    #[inline(always)]
    pub fn ticks(&self, sender: usize) -> RowDelay<'_, T::Ticks> {
        self.synapses.delays_of(&self.delay, sender)
    }

    /// Delay in ms and in ticks, and weight, of the synapse from `sender` to target `i`, if there is one.
    #[inline(always)]
    pub fn synapse(&self, sender: usize, i: usize) -> Option<(f64, T::Ticks, T)> {
        let row = self.synapses.row(sender);
        let Some(targets) = row.targets else {
            let block = &self.rows.of(sender)[i / BLOCK];
            return Some((row.delay_of(i), block.delay[i % BLOCK], block.weight[i % BLOCK]));
        };
        let k = targets.binary_search(&(i as u32)).ok()?;
        Some((row.delay_of(k), row.along(self.ticks(sender), k), row.weight[k]))
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

/// Dense rows, block by block; missing synapses weigh nothing.
#[derive(Debug, Clone)]
pub struct Rows<T: Real> {
    /// Blocks of a row.
    wide: usize,
    blocks: Vec<RowBlock<T>>,
}

impl<T: Real> Rows<T> {
    /// None where the projection is sparse.
    pub fn new(synapses: &Synapses<'_, T>, n_pre: usize, ticks: &[T::Ticks]) -> Self {
        let wide = synapses.n_post.div_ceil(BLOCK);
        let mut blocks = Vec::new();
        if synapses.connectivity.is_dense() {
            blocks.reserve_exact(n_pre * wide);
            for j in 0..n_pre {
                let (row, delays) = (synapses.row(j), synapses.delays_of(ticks, j));
                for first in (0..synapses.n_post).step_by(BLOCK) {
                    let last = synapses.n_post - 1;
                    let delay = std::array::from_fn(|k| row.along(delays, (first + k).min(last)));
                    let weight = std::array::from_fn(|k| row.weight.get(first + k).copied().unwrap_or(T::ZERO));
                    blocks.push(RowBlock { delay, weight });
                }
            }
        }
        Self { wide, blocks }
    }

    /// The row of a sender.
    #[inline(always)]
    pub fn of(&self, sender: usize) -> &[RowBlock<T>] {
        &self.blocks[sender * self.wide..(sender + 1) * self.wide]
    }

    /// Asks for a block of a row ahead of use.
    #[inline(always)]
    pub fn fetch(&self, sender: usize, block: usize) {
        let at = sender * self.wide + block;
        prefetch(&self.blocks, at);
        if let Some(block) = self.blocks.get(at) {
            prefetch(&block.weight, 0);
        }
    }

    /// Asks for a whole row.
    #[inline(always)]
    pub fn fetch_all(&self, sender: usize) {
        for block in 0..self.wide {
            self.fetch(sender, block);
        }
    }
}
