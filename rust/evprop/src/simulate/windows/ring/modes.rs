//! Arrivals as what they add to both modes of a state. With respect to an instant `r`, one at `t + d` adds
//!
//! ```text
//! (w gamma e^{d/tau_mem}) e^{(t - r)/tau_mem}          (w e^{d/tau_syn}) e^{(t - r)/tau_syn}
//! ```
//!
//! of which the first factor is the synapse's and known before, and the second the spike's.
use super::{BLOCK, Cell, Column, Departure, Departures, Falls, Notes, Ring, Turn};
use crate::math::{Real, Ticks, prefetch};
use crate::record::inlets::{Group, Groups, Inlet, PairBlock, Rows, TOGETHER};
use crate::vectorised;

impl<T: Real> Turn<T> {
    /// Places a block. Returns whether any arrives within `early` windows of the seam.
    #[inline(always)]
    fn place(self, since: T::Ticks, delay: &[T::Ticks; BLOCK], early: T::Ticks, at: &mut [u32; BLOCK]) -> bool {
        let mut any = false;
        for k in 0..BLOCK {
            let ahead = since.plus(delay[k]).whole();
            any |= ahead < early;
            at[k] = self.at(ahead, k);
        }
        any
    }
}

/// What a synapse adds.
#[inline(always)]
fn cell<T: Real>([mem, syn]: [T; 2], growth: [T; 2]) -> Cell<T> {
    // As one vector: the third number is there because two and two are alike.
    let (pair, by) = ([mem, syn, mem, syn], [growth[0], growth[1], growth[0], growth[1]]);
    let least = [-T::INFINITY, -T::INFINITY, T::ZERO, T::ZERO];
    let mut cell = [T::ZERO; 4];
    for l in 0..4 {
        cell[l] = (pair[l] * by[l]).larger(least[l]);
    }
    cell
}

impl<T: Real> Column<'_, T> {
    /// Adds a block.
    #[inline(always)]
    fn scatter(&mut self, at: &[u32; BLOCK], pairs: &[[T; 2]; BLOCK], growth: [T; 2]) {
        for k in 0..BLOCK {
            self.add(at[k], &cell(pairs[k], growth));
        }
    }
}

vectorised! {
    /// Dense rows of some spikes.
    pub fn admit<T>(
        ring: &mut Ring<T>,
        inlet: &Inlet<'_, T>,
        rows: &Rows<PairBlock<T>>,
        spikes: Departures<'_, T>,
        falls: &mut Falls<T>,
        notes: &mut Notes,
    ) {
        let (turn, nothing) = (ring.turn(), T::Ticks::default());
        for Group { block, first, units, next, beside } in Groups::new(spikes.units, spikes.first, inlet.synapses.n_post) {
            let lane = inlet.base + block * BLOCK;
            let mut column = ring.column(lane);
            for &unit in next {
                rows.fetch(unit as usize, beside);
            }
            for (b, &unit) in units.iter().enumerate() {
                let (t, delay) = (spikes.ticks[first + b], &rows.of(unit as usize)[block].delay);
                turn.place(t.minus(turn.seam), delay, nothing, &mut falls.at[b]);
            }
            notes.leave_many(block, spikes.first + first, &falls.at);
            for (b, &unit) in units.iter().enumerate() {
                let pairs = &rows.of(unit as usize)[block].pairs;
                column.scatter(&falls.at[b], pairs, spikes.growth[first + b]);
            }
        }
    }
}

vectorised! {
    /// A dense row. Arrivals within `early` windows of the seam are left to the caller.
    pub fn spread<T>(
        ring: &mut Ring<T>,
        inlet: &Inlet<'_, T>,
        rows: &Rows<PairBlock<T>>,
        spike: Departure<T>,
        early: T::Ticks,
        falls: &mut Falls<T>,
        notes: &mut Notes,
        late: &mut Vec<u32>,
    ) {
        let Departure { number, ticks, unit, growth, .. } = spike;
        let turn = ring.turn();
        let since = ticks.minus(turn.seam);
        let n = inlet.synapses.n_post;
        for (start, blocks) in rows.of(unit as usize).chunks(TOGETHER).enumerate() {
            let first = start * TOGETHER * BLOCK;
            let mut some = [false; TOGETHER];
            for (b, block) in blocks.iter().enumerate() {
                some[b] = turn.place(since, &block.delay, early, &mut falls.at[b]);
                let column = ring.column(inlet.base + first + b * BLOCK);
                for k in 0..BLOCK {
                    prefetch(column.cells, falls.at[b][k] as usize);
                }
            }
            for (b, block) in blocks.iter().enumerate() {
                let first = first + b * BLOCK;
                notes.leave(first / BLOCK, number, &falls.at[b]);
                let mut column = ring.column(inlet.base + first);
                if some[b] {
                    let mut pairs = block.pairs;
                    for (k, (pair, &delay)) in pairs.iter_mut().zip(&block.delay).take(n - first).enumerate() {
                        if since.plus(delay).whole() < early {
                            late.push((first + k) as u32);
                            inlet.synapses.fetch(unit as usize, first + k);
                            *pair = [T::ZERO; 2];
                        }
                    }
                    column.scatter(&falls.at[b], &pairs, growth);
                } else {
                    column.scatter(&falls.at[b], &block.pairs, growth);
                }
            }
        }
    }
}

/// A sparse row.
#[allow(clippy::too_many_arguments)]
pub fn sparse_row<T: Real>(
    ring: &mut Ring<T>,
    inlet: &Inlet<'_, T>,
    (delays, pairs): (&[T::Ticks], &[[T; 2]]),
    t: T::Ticks,
    unit: u32,
    growth: [T; 2],
    early: T::Ticks,
    late: &mut Vec<u32>,
) {
    let turn = ring.turn();
    let since = t.minus(turn.seam);
    let (row, delays) = (inlet.synapses.row(unit as usize), inlet.synapses.delays_of(delays, unit as usize));
    for (k, &pair) in pairs[row.start..][..row.weight.len()].iter().enumerate() {
        let ahead = since.plus(row.along(delays, k)).whole();
        if ahead < early {
            late.push(k as u32);
        } else {
            let lane = inlet.base + row.target(k);
            let mut column = ring.column(lane / BLOCK * BLOCK);
            column.add(turn.at(ahead, lane % BLOCK), &cell(pair, growth));
        }
    }
}
