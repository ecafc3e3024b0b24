//! What arrives in the windows ahead, summed up: a ring of windows that reaches as far ahead as delays do.
use crate::math::{Real, Ticks, prefetch};
use crate::neuron::series::{Series, propagators};
use crate::record::inlets::{BLOCK, Inlet, next_group};
use crate::vectorised;

/// What the arrivals of one lane in one window add to `u` and `i` at its end, and the sums of the positive and of the
/// negative weights.
pub type Cell<T> = [T; 4];

/// Cells by (block of lanes, window of the ring, lane): what one block takes in lies together.
#[derive(Debug, Clone, Default)]
pub struct Ring<T: Real> {
    cells: Vec<Cell<T>>,
    /// Windows it holds.
    windows: usize,
    /// Number of the window at the ring's seam.
    seam: usize,
    /// No window from here on has an arrival.
    pub filled: usize,
}

impl<T: Real> Ring<T> {
    /// Empty, from window 0 on.
    pub fn reset(&mut self, windows: usize, lanes: usize) {
        self.cells.clear();
        self.cells.resize(windows * lanes, [T::ZERO; 4]);
        (self.windows, self.seam, self.filled) = (windows, 0, 0);
    }

    /// Windows before `now` are over: the ring may turn.
    pub fn advance(&mut self, now: usize) {
        self.seam = now - now % self.windows;
    }

    /// The cells of a block of lanes in window `number`.
    #[inline(always)]
    pub fn block(&mut self, first_lane: usize, number: usize) -> &mut [Cell<T>] {
        let at = first_lane * self.windows + number % self.windows * BLOCK;
        &mut self.cells[at..at + BLOCK]
    }

    /// All cells of a block of lanes.
    #[inline(always)]
    fn column(&mut self, first_lane: usize) -> &mut [Cell<T>] {
        let at = first_lane * self.windows;
        &mut self.cells[at..at + BLOCK * self.windows]
    }

    #[inline(always)]
    fn cell(&mut self, lane: usize, slot: u32) -> &mut Cell<T> {
        &mut self.column(lane / BLOCK * BLOCK)[slot as usize * BLOCK + lane % BLOCK]
    }

    /// A spike at `t` in window `now` or later will arrive.
    pub fn reach(&mut self, now: usize, t: T::Ticks, inlet: &Inlet<'_, T>) {
        let since = t.minus(T::Ticks::window(now));
        self.filled = self.filled.max(now + since.plus(inlet.longest_ticks).whole().u32() as usize + 1);
    }

    /// The seam's instant, and the ring's size.
    #[inline(always)]
    fn turn(&self) -> (T::Ticks, T::Ticks) {
        (T::Ticks::window(self.seam), T::Ticks::window(self.windows).whole())
    }
}

/// Blocks that are worked on at a time, one step for all of them after the other: a block alone would wait for each of
/// its own results.
const TOGETHER: usize = 8;

/// Where the arrivals of some blocks fall, and what they add: scratch.
///
/// Aligned, because a vector that is stored across two cache lines is slow to be read again.
#[derive(Debug, Clone)]
#[repr(align(64))]
pub struct Falls<T: Real> {
    /// Window of the ring.
    slot: [[u32; BLOCK]; TOGETHER],
    /// Time left in it.
    left: [[T; BLOCK]; TOGETHER],
    weight: [[T; BLOCK]; TOGETHER],
    /// What they add, quantity by quantity, and cell by cell.
    parts: [[[T; BLOCK]; 4]; TOGETHER],
    cells: [[Cell<T>; BLOCK]; TOGETHER],
}

impl<T: Real> Default for Falls<T> {
    fn default() -> Self {
        let zero = [[T::ZERO; BLOCK]; TOGETHER];
        let slot = [[0; BLOCK]; TOGETHER];
        let (parts, cells) = ([[[T::ZERO; BLOCK]; 4]; TOGETHER], [[[T::ZERO; 4]; BLOCK]; TOGETHER]);
        Self { slot, left: zero, weight: zero, parts, cells }
    }
}

impl<T: Real> Falls<T> {
    /// Places block `b`. Returns whether any arrives within `early` windows of the seam. `turn`: from the seam on, and the
    /// ring's size.
    #[inline(always)]
    fn place(
        &mut self,
        b: usize,
        (since, windows): (T::Ticks, T::Ticks),
        delay: &[T::Ticks; BLOCK],
        early: T::Ticks,
    ) -> bool {
        let (slot, left) = (&mut self.slot[b], &mut self.left[b]);
        let scale = T::of(1.0 / (1u64 << T::Ticks::FRACTION) as f64);
        let mut any = false;
        for k in 0..BLOCK {
            let s = since.plus(delay[k]);
            let ahead = s.whole();
            any |= ahead < early;
            // Where `ahead` does not reach round the ring, the difference is a huge number.
            slot[k] = ahead.min(ahead.minus(windows)).u32();
            left[k] = T::of_ticks(s.left()) * scale;
        }
        any
    }

    /// What the arrivals of block `b` add.
    #[inline(always)]
    fn weigh(&mut self, b: usize, terms: &[[T; BLOCK]], w: &[T; BLOCK]) {
        let (kappa, decay) = propagators(terms, &self.left[b]);
        let [u, i, up, down] = &mut self.parts[b];
        for k in 0..BLOCK {
            u[k] = w[k] * kappa[k];
            i[k] = w[k] + w[k] * decay[k];
            up[k] = w[k].larger(T::ZERO);
            down[k] = (-w[k]).larger(T::ZERO);
        }
    }

    /// Turns the first `blocks` round, quantities to cells. A step of its own: together with the one before it, the
    /// compiler makes single numbers of it.
    #[inline(always)]
    fn turn(&mut self, blocks: usize) {
        for b in 0..blocks {
            let (parts, cells) = (&self.parts[b], &mut self.cells[b]);
            for k in 0..BLOCK {
                cells[k] = [parts[0][k], parts[1][k], parts[2][k], parts[3][k]];
            }
        }
    }

    /// Adds block `b` to the cells of its lanes.
    #[inline(always)]
    fn add(&self, b: usize, column: &mut [Cell<T>]) {
        for k in 0..BLOCK {
            add(&mut column[self.slot[b][k] as usize * BLOCK + k], &self.cells[b][k]);
        }
    }
}

#[inline(always)]
fn add<T: Real>(into: &mut Cell<T>, cell: &Cell<T>) {
    // Written so that it is one vector.
    let (a, b) = (*into, *cell);
    *into = [a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3]];
}

/// Spikes that set out, with their instants in ticks.
#[derive(Debug, Clone, Copy)]
pub struct Departures<'a, K> {
    /// Instants.
    pub ticks: &'a [K],
    /// Senders.
    pub units: &'a [u32],
}

vectorised! {
    /// Gives the windows ahead all that some spikes bring through the synapses of one inlet.
    pub fn admit<T>(
        ring: &mut Ring<T>,
        series: &Series<T>,
        inlet: &Inlet<'_, T>,
        spikes: Departures<'_, T::Ticks>,
        falls: &mut Falls<T>,
    ) {
        let (seam, windows) = ring.turn();
        let nothing = T::Ticks::default();
        if !inlet.synapses.connectivity.is_dense() {
            for (&t, &unit) in spikes.ticks.iter().zip(spikes.units) {
                sparse_row(ring, series, inlet, t, unit, nothing, falls, &mut Vec::new());
            }
            return;
        }
        for wide in 0..inlet.synapses.n_post.div_ceil(BLOCK) {
            let lane = inlet.base + wide * BLOCK;
            let terms = series.block(lane);
            let column = ring.column(lane);
            for (at, ticks) in spikes.ticks.chunks(TOGETHER).enumerate() {
                let units = &spikes.units[at * TOGETHER..];
                let (next, beside) = next_group(spikes.units, (at + 1) * TOGETHER, wide, TOGETHER);
                for &unit in next {
                    inlet.rows.fetch(unit as usize, beside);
                }
                for (b, (t, &unit)) in ticks.iter().zip(units).enumerate() {
                    let block = &inlet.rows.of(unit as usize)[wide];
                    falls.place(b, (t.minus(seam), windows), &block.delay, nothing);
                }
                for (b, &unit) in units.iter().take(ticks.len()).enumerate() {
                    let block = &inlet.rows.of(unit as usize)[wide];
                    falls.weigh(b, terms, &block.weight);
                }
                falls.turn(ticks.len());
                for b in 0..ticks.len() {
                    falls.add(b, column);
                }
            }
        }
    }
}

vectorised! {
    /// The same for one spike within window `now`: `late` receives the synapses of those that arrive in that very window.
    pub fn spread<T>(
        ring: &mut Ring<T>,
        series: &Series<T>,
        inlet: &Inlet<'_, T>,
        t: T::Ticks,
        unit: u32,
        now: usize,
        falls: &mut Falls<T>,
        late: &mut Vec<u32>,
    ) {
        let (seam, windows) = ring.turn();
        let early = T::Ticks::window(now + 1).minus(seam).whole();
        if !inlet.synapses.connectivity.is_dense() {
            sparse_row(ring, series, inlet, t, unit, early, falls, late);
            return;
        }
        inlet.rows.fetch_all(unit as usize);
        let n = inlet.synapses.n_post;
        for (start, blocks) in inlet.rows.of(unit as usize).chunks(TOGETHER).enumerate() {
            let first = start * TOGETHER * BLOCK;
            for (b, block) in blocks.iter().enumerate() {
                falls.weight[b] = block.weight;
                if falls.place(b, (t.minus(seam), windows), &block.delay, early) {
                    let own = BLOCK.min(n - (first + b * BLOCK));
                    hold_back(&block.delay, t.minus(seam), first + b * BLOCK, own, early, &mut falls.weight[b], late);
                }
                let column = ring.column(inlet.base + first + b * BLOCK);
                for k in 0..BLOCK {
                    prefetch(column, falls.slot[b][k] as usize * BLOCK + k);
                }
            }
            for b in 0..blocks.len() {
                let terms = series.block(inlet.base + first + b * BLOCK);
                let weight = falls.weight[b];
                falls.weigh(b, terms, &weight);
            }
            falls.turn(blocks.len());
            for b in 0..blocks.len() {
                falls.add(b, ring.column(inlet.base + first + b * BLOCK));
            }
        }
    }
}

/// Those that arrive within `early` windows of the seam are left to the caller and weigh nothing here.
#[inline(always)]
fn hold_back<T: Real>(
    delay: &[T::Ticks; BLOCK],
    since: T::Ticks,
    first: usize,
    n: usize,
    early: T::Ticks,
    weight: &mut [T; BLOCK],
    late: &mut Vec<u32>,
) {
    for k in 0..n {
        if since.plus(delay[k]).whole() < early {
            late.push((first + k) as u32);
            weight[k] = T::ZERO;
        }
    }
}

#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn sparse_row<T: Real>(
    ring: &mut Ring<T>,
    series: &Series<T>,
    inlet: &Inlet<'_, T>,
    t: T::Ticks,
    unit: u32,
    early: T::Ticks,
    falls: &mut Falls<T>,
    late: &mut Vec<u32>,
) {
    let (seam, windows) = ring.turn();
    let since = t.minus(seam);
    let (row, delays) = (inlet.synapses.row(unit as usize), inlet.ticks(unit as usize));
    for first in (0..row.weight.len()).step_by(BLOCK) {
        let own = BLOCK.min(row.weight.len() - first);
        let (mut delay, mut lane) = ([T::Ticks::default(); BLOCK], [inlet.base; BLOCK]);
        falls.weight[0] = [T::ZERO; BLOCK];
        for k in 0..own {
            falls.weight[0][k] = row.weight[first + k];
            delay[k] = row.along(delays, first + k);
            lane[k] = inlet.base + row.target(first + k);
        }
        if falls.place(0, (since, windows), &delay, early) {
            hold_back(&delay, since, first, own, early, &mut falls.weight[0], late);
        }
        let weight = falls.weight[0];
        falls.weigh(0, &series.of(&lane), &weight);
        falls.turn(1);
        for (k, &lane) in lane.iter().enumerate().take(own) {
            add(ring.cell(lane, falls.slot[0][k]), &falls.cells[0][k]);
        }
    }
}
