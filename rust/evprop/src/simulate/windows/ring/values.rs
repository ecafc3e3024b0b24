//! Arrivals as what they add to `u` and `i` at the end of their window, from power series over the time left in it.
use super::{BLOCK, Column, Departure, Departures, Notes, Ring, Turn};
use crate::math::{Cell, Real, Ticks, prefetch};
use crate::neuron::series::{Series, propagators};
use crate::record::inlets::{Group, Groups, Inlet, RowBlock, Rows, TOGETHER};
use crate::vectorised;

/// The lanes of a block.
const ALL: [usize; BLOCK] = {
    let mut all = [0; BLOCK];
    let mut k = 0;
    while k < BLOCK {
        all[k] = k;
        k += 1;
    }
    all
};

/// Where the arrivals of some blocks fall, and what they add: scratch.
///
/// Aligned, because a vector that is stored across two cache lines is slow to be read again.
#[derive(Debug, Clone)]
#[repr(C, align(64))]
pub struct Falls<T: Real> {
    /// The cell of the ring.
    pub at: [[u32; BLOCK]; TOGETHER],
    /// Time left in it.
    left: [[T; BLOCK]; TOGETHER],
    weight: [[T; BLOCK]; TOGETHER],
    /// What they add, quantity by quantity, and cell by cell.
    parts: [[[T; BLOCK]; 3]; TOGETHER],
    cells: [[Cell<T>; BLOCK]; TOGETHER],
}

impl<T: Real> Default for Falls<T> {
    fn default() -> Self {
        let zero = [[T::ZERO; BLOCK]; TOGETHER];
        let at = [[0; BLOCK]; TOGETHER];
        let (parts, cells) = ([[[T::ZERO; BLOCK]; 3]; TOGETHER], [[[T::ZERO; 4]; BLOCK]; TOGETHER]);
        Self { at, left: zero, weight: zero, parts, cells }
    }
}

impl<T: Real> Falls<T> {
    /// Places block `b`, whose synapses reach `lanes` of blocks. Returns whether any arrives within `early` windows of the seam.
    #[inline(always)]
    fn place(
        &mut self,
        b: usize,
        turn: Turn<T>,
        since: T::Ticks,
        delay: &[T::Ticks; BLOCK],
        lanes: &[usize; BLOCK],
        early: T::Ticks,
    ) -> bool {
        let (at, left) = (&mut self.at[b], &mut self.left[b]);
        let scale = T::of(1.0 / (1u64 << T::Ticks::FRACTION) as f64);
        let mut any = false;
        for k in 0..BLOCK {
            let s = since.plus(delay[k]);
            let ahead = s.whole();
            any |= ahead < early;
            at[k] = turn.at(ahead, lanes[k]);
            left[k] = T::of_ticks(s.left()) * scale;
        }
        any
    }

    /// What the arrivals of block `b` add.
    #[inline(always)]
    fn weigh(&mut self, b: usize, terms: &[[T; BLOCK]], w: &[T; BLOCK]) {
        let (kappa, decay) = propagators(terms, &self.left[b]);
        let [u, i, above] = &mut self.parts[b];
        for k in 0..BLOCK {
            u[k] = w[k] * kappa[k];
            let more = w[k] + w[k] * decay[k];
            i[k] = more;
            above[k] = more.larger(T::ZERO);
        }
    }

    /// Turns the first `blocks` round, quantities to cells. A step of its own: together with the one before it, the
    /// compiler makes single numbers of it.
    #[inline(always)]
    fn turn(&mut self, blocks: usize) {
        for b in 0..blocks {
            let (parts, cells) = (&self.parts[b], &mut self.cells[b]);
            for k in 0..BLOCK {
                cells[k] = [parts[0][k], parts[1][k], T::ZERO, parts[2][k]];
            }
        }
    }

    /// Adds block `b` to the cells of its lanes.
    #[inline(always)]
    fn add(&self, b: usize, column: &mut Column<'_, T>) {
        for k in 0..BLOCK {
            column.add(self.at[b][k], &self.cells[b][k]);
        }
    }
}

vectorised! {
    /// Dense rows of some spikes.
    pub fn admit<T>(
        ring: &mut Ring<T>,
        series: &Series<T>,
        inlet: &Inlet<'_, T>,
        rows: &Rows<RowBlock<T>>,
        spikes: Departures<'_, T>,
        falls: &mut Falls<T>,
        notes: &mut Notes,
    ) {
        let (turn, nothing) = (ring.turn(), T::Ticks::default());
        for Group { block, first, units, next, beside } in Groups::new(spikes.units, spikes.first, inlet.synapses.n_post) {
            let lane = inlet.base + block * BLOCK;
            let terms = series.block(lane);
            let mut column = ring.column(lane);
            for &unit in next {
                rows.fetch(unit as usize, beside);
            }
            for (b, &unit) in units.iter().enumerate() {
                let (t, delay) = (spikes.ticks[first + b], &rows.of(unit as usize)[block].delay);
                falls.place(b, turn, t.minus(turn.seam), delay, &ALL, nothing);
            }
            notes.leave_many(block, spikes.first + first, &falls.at);
            for (b, &unit) in units.iter().enumerate() {
                falls.weigh(b, terms, &rows.of(unit as usize)[block].weight);
            }
            falls.turn(units.len());
            for b in 0..units.len() {
                falls.add(b, &mut column);
            }
        }
    }
}

vectorised! {
    /// A dense row. Arrivals within `early` windows of the seam are left to the caller.
    pub fn spread<T>(
        ring: &mut Ring<T>,
        series: &Series<T>,
        inlet: &Inlet<'_, T>,
        rows: &Rows<RowBlock<T>>,
        spike: Departure<T>,
        early: T::Ticks,
        falls: &mut Falls<T>,
        notes: &mut Notes,
        late: &mut Vec<u32>,
    ) {
        let Departure { number, ticks, unit, .. } = spike;
        let turn = ring.turn();
        let since = ticks.minus(turn.seam);
        let n = inlet.synapses.n_post;
        for (start, blocks) in rows.of(unit as usize).chunks(TOGETHER).enumerate() {
            let first = start * TOGETHER * BLOCK;
            for (b, block) in blocks.iter().enumerate() {
                falls.weight[b] = block.weight;
                if falls.place(b, turn, since, &block.delay, &ALL, early) {
                    let own = BLOCK.min(n - (first + b * BLOCK));
                    hold_back(&block.delay, since, first + b * BLOCK, own, early, &mut falls.weight[b], late);
                }
                let column = ring.column(inlet.base + first + b * BLOCK);
                for k in 0..BLOCK {
                    prefetch(column.cells, falls.at[b][k] as usize);
                }
            }
            for b in 0..blocks.len() {
                let terms = series.block(inlet.base + first + b * BLOCK);
                let weight = falls.weight[b];
                falls.weigh(b, terms, &weight);
            }
            falls.turn(blocks.len());
            for b in 0..blocks.len() {
                notes.leave(first / BLOCK + b, number, &falls.at[b]);
                falls.add(b, &mut ring.column(inlet.base + first + b * BLOCK));
            }
        }
    }
}

/// Those that arrive within `early` windows of the seam weigh nothing here.
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

vectorised! {
    /// A sparse row.
    pub fn sparse_row<T>(
        ring: &mut Ring<T>,
        series: &Series<T>,
        inlet: &Inlet<'_, T>,
        delays: &[T::Ticks],
        t: T::Ticks,
        unit: u32,
        early: T::Ticks,
        falls: &mut Falls<T>,
        late: &mut Vec<u32>,
    ) {
        let turn = ring.turn();
        let since = t.minus(turn.seam);
        let (row, delays) = (inlet.synapses.row(unit as usize), inlet.synapses.delays_of(delays, unit as usize));
        for first in (0..row.weight.len()).step_by(BLOCK) {
            let own = BLOCK.min(row.weight.len() - first);
            let (mut delay, mut lane) = ([T::Ticks::default(); BLOCK], [inlet.base; BLOCK]);
            falls.weight[0] = [T::ZERO; BLOCK];
            for k in 0..own {
                falls.weight[0][k] = row.weight[first + k];
                delay[k] = row.along(delays, first + k);
                lane[k] = inlet.base + row.target(first + k);
            }
            if falls.place(0, turn, since, &delay, &lane.map(|lane| lane % BLOCK), early) {
                hold_back(&delay, since, first, own, early, &mut falls.weight[0], late);
            }
            let weight = falls.weight[0];
            falls.weigh(0, &series.of(&lane), &weight);
            falls.turn(1);
            for (k, &lane) in lane.iter().enumerate().take(own) {
                let mut column = ring.column(lane / BLOCK * BLOCK);
                column.add(falls.at[0][k], &falls.cells[0][k]);
            }
        }
    }
}
