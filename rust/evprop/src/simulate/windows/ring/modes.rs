//! Arrivals as what they add to both modes of a state. With respect to an instant `r`, one at `t + d` adds
//!
//! ```text
//! (w gamma e^{d/tau_mem}) e^{(t - r)/tau_mem}          (w e^{d/tau_syn}) e^{(t - r)/tau_syn}
//! ```
//!
//! of which the first factor is the synapse's and known before, and the second the spike's.
use super::{BLOCK, Departure, Departures, Falls, Notes, Ring, Turn};
use crate::math::{Real, Ticks, cell, prefetch, within};
use crate::record::inlets::{Group, Groups, Inlet, PairBlock, Rows, TOGETHER};
use crate::vectorised;

impl<T: Real> Turn<T> {
    /// Places a block; `last` receives the largest places so far. Returns whether any arrives within `early` windows of the seam.
    #[inline(always)]
    fn place(
        self,
        since: T::Ticks,
        delay: &[T::Ticks; BLOCK],
        early: T::Ticks,
        at: &mut [u32; BLOCK],
        last: &mut [u32; BLOCK],
    ) -> bool {
        let mut any = false;
        for k in 0..BLOCK {
            let ahead = since.plus(delay[k]).whole();
            any |= ahead < early;
            at[k] = self.at(ahead, k);
            last[k] = last[k].max(at[k]);
        }
        any
    }
}

vectorised! {
    /// Dense rows of some spikes.
    pub fn admit<T>(
        [simd],
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
            let (column, mut last) = (ring.column(lane), [0; BLOCK]);
            for &unit in next {
                rows.fetch(unit as usize, beside);
            }
            for (b, &unit) in units.iter().enumerate() {
                let (t, delay) = (spikes.ticks[first + b], &rows.of(unit as usize)[block].delay);
                turn.place(t.minus(turn.seam), delay, nothing, &mut falls.at[b], &mut last);
            }
            assert!(within(&last, column.cells.len()), "arrivals beyond the ring");
            notes.leave_many(block, spikes.first + first, &falls.at);
            for (b, &unit) in units.iter().enumerate() {
                let pairs = &rows.of(unit as usize)[block].pairs;
                // SAFETY: all places lie within the column.
                unsafe { T::scatter(simd, column.cells, &falls.at[b], pairs, spikes.growth[first + b]) };
            }
        }
    }
}

vectorised! {
    /// A dense row. Arrivals within `early` windows of the seam are left to the caller.
    pub fn spread<T>(
        [simd],
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
            let (mut some, mut last) = ([false; TOGETHER], [0; BLOCK]);
            for (b, block) in blocks.iter().enumerate() {
                some[b] = turn.place(since, &block.delay, early, &mut falls.at[b], &mut last);
                let column = ring.column(inlet.base + first + b * BLOCK);
                for k in 0..BLOCK {
                    prefetch(column.cells, falls.at[b][k] as usize);
                }
            }
            for (b, block) in blocks.iter().enumerate() {
                let first = first + b * BLOCK;
                notes.leave(first / BLOCK, number, &falls.at[b]);
                let column = ring.column(inlet.base + first);
                assert!(within(&last, column.cells.len()), "arrivals beyond the ring");
                let mut own = None;
                if some[b] {
                    let pairs = own.insert(block.pairs);
                    for (k, (pair, &delay)) in pairs.iter_mut().zip(&block.delay).take(n - first).enumerate() {
                        if since.plus(delay).whole() < early {
                            late.push((first + k) as u32);
                            inlet.synapses.fetch(unit as usize, first + k);
                            *pair = [T::ZERO; 2];
                        }
                    }
                }
                // SAFETY: all places lie within the column.
                unsafe { T::scatter(simd, column.cells, &falls.at[b], own.as_ref().unwrap_or(&block.pairs), growth) };
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
