//! A projection: who reaches whom, with which weight, how much later.
use crate::math::{Real, prefetch};

/// Who is connected to whom.
#[derive(Debug, Clone, PartialEq)]
pub enum Connectivity {
    /// Every pair; row `j` of the weights holds the targets of sender `j`.
    Dense,
    /// CSR by sender: sender `j` reaches `indices[indptr[j]..indptr[j + 1]]`.
    Sparse {
        /// Row starts, length `n_pre + 1`.
        indptr: Vec<usize>,
        /// Targets, row by row.
        indices: Vec<u32>,
    },
}

/// What a delay belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DelayKind {
    /// No delay.
    None,
    /// One per sender.
    Axonal,
    /// One per receiver.
    Dendritic,
    /// One per synapse.
    Synaptic,
}

impl Connectivity {
    /// Whether every pair is connected.
    pub fn is_dense(&self) -> bool {
        *self == Self::Dense
    }
}

impl DelayKind {
    /// Whether the arrivals of a projection reach all targets in the same order.
    pub fn keeps_order(self) -> bool {
        matches!(self, Self::None | Self::Axonal)
    }
}

/// The synapses of one sender.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a, T> {
    /// Where the row starts in the flat weights.
    pub start: usize,
    /// Weights.
    pub weight: &'a [T],
    /// Targets; `None`: target `k` of the row is neuron `k`.
    pub targets: Option<&'a [u32]>,
    /// Delays.
    pub delay: RowDelay<'a, T>,
}

/// The delays of one sender's synapses.
#[derive(Debug, Clone, Copy)]
pub enum RowDelay<'a, T> {
    /// The same for all targets (0 without delay).
    Shared(T),
    /// By target neuron.
    ByTarget(&'a [T]),
    /// By synapse, along the row.
    BySynapse(&'a [T]),
}

impl<T: Real> Row<'_, T> {
    /// Target neuron of synapse `k`.
    #[inline(always)]
    pub fn target(&self, k: usize) -> usize {
        match self.targets {
            None => k,
            Some(targets) => targets[k] as usize,
        }
    }

    /// Delay of synapse `k`, ms.
    #[inline(always)]
    pub fn delay_of(&self, k: usize) -> f64 {
        self.along(self.delay, k).f64()
    }

    /// What synapse `k` has of `delays`, which are laid out like the row's own.
    #[inline(always)]
    pub fn along<D: Copy>(&self, delays: RowDelay<'_, D>, k: usize) -> D {
        match delays {
            RowDelay::Shared(d) => d,
            RowDelay::ByTarget(d) => d[self.target(k)],
            RowDelay::BySynapse(d) => d[k],
        }
    }
}

/// Weights and delays of one projection, ready to be walked by sender.
#[derive(Debug, Clone, Copy)]
pub struct Synapses<'a, T> {
    /// Number of targets of a dense row.
    pub n_post: usize,
    /// Who reaches whom.
    pub connectivity: &'a Connectivity,
    /// What a delay belongs to.
    pub delay_kind: DelayKind,
    /// Weights, row by row.
    pub weight: &'a [T],
    /// Delays, as `delay_kind` lays them out.
    pub delay: &'a [T],
}

impl<'a, T: Real> Synapses<'a, T> {
    /// The synapses of sender `j`.
    #[inline(always)]
    pub fn row(&self, j: usize) -> Row<'a, T> {
        let range = self.range(j);
        let targets = match self.connectivity {
            Connectivity::Dense => None,
            Connectivity::Sparse { indices, .. } => Some(&indices[range.clone()]),
        };
        Row { start: range.start, weight: &self.weight[range], targets, delay: self.delays_of(self.delay, j) }
    }

    /// What sender `j` has of `delays`, which are laid out like the projection's own.
    #[inline(always)]
    pub fn delays_of<'d, D: Copy + Default>(&self, delays: &'d [D], j: usize) -> RowDelay<'d, D> {
        match self.delay_kind {
            DelayKind::None => RowDelay::Shared(D::default()),
            DelayKind::Axonal => RowDelay::Shared(delays[j]),
            DelayKind::Dendritic => RowDelay::ByTarget(delays),
            DelayKind::Synaptic => RowDelay::BySynapse(&delays[self.range(j)]),
        }
    }

    /// Asks for weight and delay of synapse `k` of sender `j` ahead of use.
    #[inline(always)]
    pub fn fetch(&self, j: usize, k: usize) {
        let at = self.range(j).start + k;
        prefetch(self.weight, at);
        if self.delay_kind == DelayKind::Synaptic {
            prefetch(self.delay, at);
        }
    }

    /// Whether a spike reaches all targets, and all at once.
    pub fn comes_in_rows(&self) -> bool {
        self.connectivity.is_dense() && self.delay_kind.keeps_order()
    }

    /// Where the row of sender `j` lies.
    #[inline(always)]
    fn range(&self, j: usize) -> std::ops::Range<usize> {
        match self.connectivity {
            Connectivity::Dense => j * self.n_post..(j + 1) * self.n_post,
            Connectivity::Sparse { indptr, .. } => indptr[j]..indptr[j + 1],
        }
    }
}
