//! A spike's row of arrivals against lambda in its two modes.
//!
//! With `gamma = tau_syn/(tau_mem - tau_syn)` and an instant `r` before all others, lambda between two nodes is
//!
//! ```text
//! lambda_v(s) = P e^{(s - r)/tau_mem} / gamma        lambda_i(s) = P e^{(s - r)/tau_mem} + Q e^{(s - r)/tau_syn}
//! P = gamma lambda_v(e) e^{-(e - r)/tau_mem}         Q = (lambda_i(e) - gamma lambda_v(e)) e^{-(e - r)/tau_syn}
//! ```
//!
//! with any `e` there: P and Q do not change from one window to the next. A spike that sets out at `t` arrives at
//! `s = t + d`, so
//!
//! ```text
//! dL/dw = e^{d/tau_mem} X + e^{d/tau_syn} Y          X = sum over spikes of P e^{(t - r)/tau_mem}, Y likewise
//! dL/dd = w (e^{d/tau_mem} X / tau_mem + e^{d/tau_syn} Y / tau_syn)
//! ```
//!
//! and a synapse only gathers X and Y; what belongs to the synapse comes in once a step ([`Rows::settle`]).
use super::table::{Near, View};
use crate::math::sums::folded;
use crate::math::{Real, Simd, Sums, Ticks, prefetch, within};
use crate::neuron::modes::{self as neuron, Pace};
use crate::projection::{DelayKind, Synapses};
use crate::record::grid::Grid;
use crate::record::inlets::{BLOCK, Group, Groups, TOGETHER};
use crate::vectorised;

/// Parts of a window, in which arrivals are placed; the sum of an instant and a delay is too early by two at most.
const PARTS: u32 = 64;

/// How much too early arrivals are placed, in windows.
pub const SLACK: f64 = 2.0 / PARTS as f64;

/// P and Q of lambda at `span` ms after the instant that they refer to.
#[inline(always)]
pub fn of_lambda<T: Real>(pace: Pace, (lambda_v, lambda_i): (T, T), span: f64) -> (T, T) {
    let [mem, syn] = pace.decay::<T>(span);
    let p = T::of(pace.gamma) * lambda_v;
    (p * mem, (lambda_i - p) * syn)
}

/// The synapses of one projection, row by row, in blocks.
#[derive(Debug, Clone)]
pub struct Rows<T> {
    pace: Pace,
    /// Longer delays count as this: they reach beyond the trial, ms.
    over: f64,
    n_post: usize,
    /// Blocks of a row.
    wide: usize,
    /// Delays in parts of a window.
    delay: Vec<[u16; BLOCK]>,
    /// `w gamma e^{d/tau_mem}` and `w e^{d/tau_syn}`; empty where nobody asks when spikes set out.
    pairs: Vec<[[T; 2]; BLOCK]>,
}

impl<T: Real> Rows<T> {
    /// Delays longer than `over` count as that. `times`: whether `dL/dt` of the senders' spikes is asked for.
    pub fn new(
        simd: Simd,
        synapses: &Synapses<'_, T>,
        n_pre: usize,
        grid: Grid,
        over: f64,
        pace: Pace,
        times: bool,
    ) -> Self {
        let (n_post, wide) = (synapses.n_post, synapses.n_post.div_ceil(BLOCK));
        let (mut delay, mut pairs) = (Vec::new(), Vec::new());
        delay.reserve_exact(n_pre * wide);
        pairs.reserve_exact(if times { n_pre * wide } else { 0 });
        for j in 0..n_pre {
            let row = synapses.row(j);
            for first in (0..n_post).step_by(BLOCK) {
                let d: [f64; BLOCK] = std::array::from_fn(|k| row.delay_of((first + k).min(n_post - 1)).min(over));
                delay.push(d.map(|d| grid.ticks::<T>(d).coarse()));
                if times {
                    let mut own = [[T::ZERO; 2]; BLOCK];
                    let weight = &row.weight[first..(first + BLOCK).min(n_post)];
                    neuron::pairs(simd, pace, weight, &d, &mut own);
                    pairs.push(own);
                }
            }
        }
        Self { pace, over, n_post, wide, delay, pairs }
    }

    /// Number of synapses.
    pub fn len(&self) -> usize {
        self.delay.len() / self.wide * self.n_post
    }

    /// Constants of the population.
    pub fn pace(&self) -> Pace {
        self.pace
    }

    /// Whether `dL/dt` of the senders' spikes is asked for.
    pub fn times(&self) -> bool {
        !self.pairs.is_empty()
    }

    #[inline(always)]
    fn fetch(&self, sender: usize, wide: usize, gathered: &[[T; 2]]) {
        prefetch(&self.delay, sender * self.wide + wide);
        let first = sender * self.n_post + wide * BLOCK;
        prefetch(gathered, first);
        prefetch(gathered, first + BLOCK / 2);
        if self.times() {
            let at = sender * self.wide + wide;
            prefetch(&self.pairs, at);
        }
    }

    /// Asks for a whole row, and where it gathers, ahead of use.
    #[inline(always)]
    pub fn fetch_row(&self, sender: usize, gathered: &[[T; 2]]) {
        for wide in 0..self.wide {
            self.fetch(sender, wide, gathered);
        }
    }

    /// `dL/ds` at the arrival of a spike that gathers `(x, y)` through the synapse onto target `k`; 0 where nobody asks.
    #[inline(always)]
    pub fn slope(&self, sender: usize, k: usize, (x, y): (T, T)) -> T {
        let Some(pairs) = self.pairs.get(sender * self.wide + k / BLOCK) else { return T::ZERO };
        let [mem, syn] = [pairs[k % BLOCK][0] * x, pairs[k % BLOCK][1] * y];
        self.pace.slope(mem, syn)
    }

    /// Gradients of weights and delays from what has been gathered.
    pub fn settle(
        &self,
        simd: Simd,
        synapses: &Synapses<'_, T>,
        gathered: &[[T; 2]],
        weight: &mut [T],
        delay: &mut [T],
    ) {
        if gathered.is_empty() {
            return;
        }
        let rates = self.pace.rates.map(T::of);
        let (ones, mut d) = (vec![T::ONE; self.n_post], vec![0.0; self.n_post]);
        let (mut growth, gamma) = (vec![[T::ZERO; 2]; self.n_post], T::of(self.pace.gamma));
        for j in 0..gathered.len() / self.n_post {
            let row = synapses.row(j);
            d.iter_mut().enumerate().for_each(|(k, d)| *d = row.delay_of(k).min(self.over));
            neuron::pairs(simd, self.pace, &ones, &d, &mut growth);
            for (k, (&[x, y], [mem, syn])) in gathered[row.start..][..self.n_post].iter().zip(&growth).enumerate() {
                let (x, y) = (x * *mem / gamma, y * *syn);
                if let Some(weight) = weight.get_mut(row.start + k) {
                    *weight = x + y;
                }
                let at = match synapses.delay_kind {
                    DelayKind::None => continue,
                    DelayKind::Axonal => j,
                    DelayKind::Dendritic => k,
                    DelayKind::Synaptic => row.start + k,
                };
                if let Some(delay) = delay.get_mut(at) {
                    *delay += row.weight[k] * (x * rates[0] + y * rates[1]);
                }
            }
        }
    }
}

/// Spikes of one sender after the other.
#[derive(Debug, Clone, Copy)]
pub struct Spikes<'a, T: Real> {
    /// Senders.
    pub units: &'a [u32],
    /// From the ring's seam to each of them.
    pub since: &'a [T::Ticks],
    /// The same in both modes: `e^{(t - r)/tau}`.
    pub growth: &'a [[T; 2]],
}

/// One of them.
#[derive(Debug, Clone, Copy)]
pub struct Spike<T: Real> {
    /// Sender.
    pub unit: u32,
    /// From the ring's seam to it.
    pub since: T::Ticks,
    /// The same in both modes.
    pub growth: [T; 2],
}

/// Scratch.
///
/// Aligned, because a vector that is stored across two cache lines is slow to be read again.
#[derive(Debug, Clone)]
#[repr(C, align(64))]
pub struct Looks<T> {
    /// Place in the table of the block.
    at: [[u16; BLOCK]; TOGETHER],
    /// By spike: sums over its arrivals.
    sums: Vec<[[T; 2]; BLOCK]>,
    /// Synapses whose targets have a node near.
    pub near: Vec<Near>,
}

impl<T: Real> Default for Looks<T> {
    fn default() -> Self {
        Self { at: [[0; BLOCK]; TOGETHER], sums: Vec::new(), near: Vec::new() }
    }
}

impl<T: Real> Looks<T> {
    /// `spikes`: of how many sums are asked for.
    fn reset(&mut self, spikes: usize) {
        self.near.clear();
        self.sums.clear();
        self.sums.resize(spikes, [[T::ZERO; 2]; BLOCK]);
    }

    /// `dL/dt` of a spike, as far as the table knows.
    pub fn total(&self, spike: usize, pace: Pace) -> T {
        let mut flat = [T::ZERO; 2 * BLOCK];
        flat.copy_from_slice(self.sums[spike].as_flattened());
        let [mem, syn] = folded(flat);
        pace.slope(mem, syn)
    }

    /// Places a block; `last` receives the largest places so far.
    #[inline(always)]
    fn place(&mut self, b: usize, since: u16, delay: &[u16; BLOCK], windows: u16, last: &mut [u16; BLOCK]) {
        let at = &mut self.at[b];
        for k in 0..BLOCK {
            let ahead = since.wrapping_add(delay[k]) / PARTS as u16;
            // Where `ahead` does not reach round the ring, the difference is a huge number.
            at[k] = ahead.min(ahead.wrapping_sub(windows)) * BLOCK as u16 + k as u16;
            last[k] = last[k].max(at[k]);
        }
    }

    /// Adds a block up; its arrivals without an answer are left for later.
    ///
    /// # Safety
    ///
    /// All places of the block lie within the table.
    #[inline(always)]
    unsafe fn gather(
        &mut self,
        simd: Simd,
        (b, items): (usize, &[[T; 2]]),
        growth: [T; 2],
        pairs: Option<&[[T; 2]; BLOCK]>,
        sums: &mut [[T; 2]],
        place: Place<'_, T>,
    ) {
        let leaning = pairs.map(|pairs| (pairs, &mut self.sums[place.spike]));
        let lost = if let Some(sums) = sums.first_chunk_mut() {
            // SAFETY: the caller vouches for the places.
            unsafe { T::gather(simd, items, &self.at[b], growth, Sums { plain: sums, leaning }) }
        } else {
            let mut found = [[T::ZERO; 2]; BLOCK];
            // SAFETY: as above.
            let lost = unsafe { T::gather(simd, items, &self.at[b], growth, Sums { plain: &mut found, leaning }) };
            for (sum, found) in sums.as_flattened_mut().iter_mut().zip(found.as_flattened()) {
                *sum += *found;
            }
            lost
        };
        if lost {
            let Place { spike, unit, synapses, first, n } = place;
            for k in (0..n).filter(|&k| items[self.at[b][k] as usize][0].is_nan()) {
                synapses.fetch(unit as usize, first + k);
                self.near.push(Near { spike, synapse: first + k });
            }
        }
    }
}

/// A block of synapses of one row.
#[derive(Debug, Clone, Copy)]
struct Place<'a, T> {
    /// Which of the spikes,
    spike: usize,
    /// and its sender.
    unit: u32,
    /// Those of the projection.
    synapses: &'a Synapses<'a, T>,
    /// First synapse of the block, in the row.
    first: usize,
    /// How many they are.
    n: usize,
}

vectorised! {
    /// Rows of arrivals, a block of targets after the other, because what the table knows of one block stays in the cache
    /// next to the processor. `gathered`: X and Y of all synapses, or nothing. `looks` then knows the sums of `dL/ds`, and
    /// the synapses that the table can't answer.
    pub fn gather_blocks<T>(
        [simd],
        rows: &Rows<T>,
        synapses: &Synapses<'_, T>,
        spikes: Spikes<'_, T>,
        view: View<'_, T>,
        gathered: &mut [[T; 2]],
        looks: &mut Looks<T>,
    ) {
        let (n_post, windows) = (rows.n_post, view.windows as u16);
        looks.reset(if rows.times() { spikes.units.len() } else { 0 });
        for Group { block, first: start, units, next, beside } in Groups::new(spikes.units, 0, n_post) {
            let first = block * BLOCK;
            let n = BLOCK.min(n_post - first);
            for &unit in next {
                rows.fetch(unit as usize, beside, gathered);
            }
            let (items, mut last) = (view.block(first), [0; BLOCK]);
            for (b, &unit) in units.iter().enumerate() {
                let delay = &rows.delay[unit as usize * rows.wide + block];
                looks.place(b, spikes.since[start + b].coarse(), delay, windows, &mut last);
            }
            assert!(within(&last, items.len()), "arrivals beyond the table");
            for (b, &unit) in units.iter().enumerate() {
                let row = unit as usize * n_post + first;
                let sums = gathered.get_mut(row..row + n).unwrap_or_default();
                let pairs = rows.pairs.get(unit as usize * rows.wide + block);
                let place = Place { spike: start + b, unit, synapses, first, n };
                // SAFETY: all places lie within the table.
                unsafe { looks.gather(simd, (b, items), spikes.growth[start + b], pairs, sums, place) };
            }
        }
    }
}

vectorised! {
    /// The same for one spike.
    pub fn gather_row<T>(
        [simd],
        rows: &Rows<T>,
        synapses: &Synapses<'_, T>,
        spike: Spike<T>,
        view: View<'_, T>,
        gathered: &mut [[T; 2]],
        looks: &mut Looks<T>,
    ) {
        let Spike { unit, since, growth } = spike;
        let (n_post, windows, since) = (rows.n_post, view.windows as u16, since.coarse());
        let row = unit as usize * rows.wide;
        looks.reset(usize::from(rows.times()));
        for wide in (0..rows.wide).step_by(TOGETHER) {
            let (blocks, mut last) = (TOGETHER.min(rows.wide - wide), [0; BLOCK]);
            for b in 0..blocks {
                rows.fetch(unit as usize, wide + b, gathered);
                looks.place(b, since, &rows.delay[row + wide + b], windows, &mut last);
            }
            assert!(within(&last, view.block(wide * BLOCK).len()), "arrivals beyond the table");
            for b in 0..blocks {
                let first = (wide + b) * BLOCK;
                let items = view.block(first);
                let n = BLOCK.min(n_post - first);
                let at = unit as usize * n_post + first;
                let sums = gathered.get_mut(at..at + n).unwrap_or_default();
                let place = Place { spike: 0, unit, synapses, first, n };
                // SAFETY: all places lie within the table, and those of all blocks are of one size.
                unsafe { looks.gather(simd, (b, items), growth, rows.pairs.get(row + wide + b), sums, place) };
            }
        }
    }
}
