//! The single arrivals of the few lanes that are played one by one: found by asking the spikes under way.
//!
//! Asking is cheap, where rows are dense by the [`notes`](super::notes) that spikes left, where they are sparse in 64ths of a
//! window: exact times and weights are looked up of those spikes alone that may fall into the window in question.
use super::notes::{self, Notes};
use super::{Play, Spike};
use crate::math::{Real, Ticks};
use crate::record::inlets::BLOCK;
use crate::simulate::eventwise::Source;
use crate::vectorised;

/// 64ths of a window.
const PARTS: u16 = 64;

/// Spikes that are asked together.
const MANY: usize = 64;

/// The spikes of one inlet that have set out.
#[derive(Debug, Clone, Default)]
pub struct Sent<K> {
    /// The first that may still arrive.
    pub first: usize,
    /// When.
    pub ticks: Vec<K>,
    /// The same in 64ths of a window.
    parts: Vec<u16>,
    units: Vec<u32>,
    /// Where their arrivals fall, where rows are dense.
    pub notes: Notes,
}

impl<K: Ticks> Sent<K> {
    /// None has set out. `noted`: blocks of lanes in which notes are left.
    pub fn reset(&mut self, noted: usize) {
        self.notes.reset(noted);
        self.first = 0;
        self.ticks.clear();
        self.parts.clear();
        self.units.clear();
    }

    /// So many more will.
    pub fn make_room(&mut self, more: usize) {
        self.notes.make_room(self.first, self.len() + more);
    }

    /// One more sets out.
    pub fn push(&mut self, ticks: K, unit: u32) {
        self.ticks.push(ticks);
        self.parts.push(ticks.coarse());
        self.units.push(unit);
    }
}

impl<K> Sent<K> {
    /// How many have set out.
    pub fn len(&self) -> usize {
        self.units.len()
    }
}

/// Scratch.
#[derive(Debug, Clone, Default)]
pub struct Lookup<T> {
    column: Vec<u16>,
    /// Spikes under way that may arrive, inlet by inlet, and where those of each end.
    hits: Vec<u32>,
    ends: Vec<usize>,
    arrivals: Vec<(T, T)>,
}

impl<T: Real> Lookup<T> {
    /// Arrivals of a lane in window `now`, of which notes have that name: time from its start, and weight.
    pub fn arrivals(
        &mut self,
        play: &Play<'_, T>,
        lane: usize,
        (now, name): (usize, u8),
        sent: &[Sent<T::Ticks>],
        out: &[Vec<Spike<T>>],
    ) -> &[(T, T)] {
        let Self { column, hits, ends, arrivals } = self;
        let inlets = play.inlets;
        let base = inlets.base[inlets.member(lane)];
        let target = lane - base;
        let start = T::Ticks::window(now);
        let (begin, step) = (inlets.grid.start(now), inlets.grid.step);
        arrivals.clear();
        hits.clear();
        ends.clear();
        for (inlet, sent) in inlets.all.iter().zip(sent).filter(|(inlet, _)| inlet.base == base) {
            let own = sent.first..sent.len();
            let begins = hits.len();
            let units = &sent.units[own.clone()];
            match &inlet.columns {
                None => {
                    let (block, lane) = (target / BLOCK, target % BLOCK);
                    notes::find::<T>(play.simd, &sent.notes, own, block, lane, name, hits);
                }
                Some(columns) => {
                    // The sum of an instant and a delay is too early by one part at most.
                    let from = start.coarse().wrapping_sub(1);
                    find::<T>(play.simd, columns.of(target, column), units, &sent.parts[own], from, hits);
                }
            }
            for &k in &hits[begins..] {
                // Where rows are sparse it is another synapse's, which does no harm.
                inlet.synapses.fetch(units[k as usize] as usize, target);
            }
            ends.push(hits.len());
        }
        // Once all have been asked, what was asked for has come.
        let mut begins = 0;
        let own = inlets.all.iter().zip(sent).enumerate().filter(|(_, (inlet, _))| inlet.base == base);
        for ((q, (inlet, sent)), &ends) in own.zip(ends.iter()) {
            for &k in &hits[begins..ends] {
                let k = sent.first + k as usize;
                let Some((delay, ticks, w)) = inlet.synapse(sent.units[k] as usize, target) else { continue };
                let time = match play.sources[q] {
                    Source::Outside(train) => train.times[k],
                    Source::Member(m) => out[m][k].time,
                };
                let x = time + delay - begin;
                // Ticks decide, as they did when the spike set out; but they repeat.
                let here = sent.ticks[k].plus(ticks).minus(start).whole() == T::Ticks::default();
                if here && x.abs() < 2.0 * step && time + delay < play.limits[0].duration {
                    arrivals.push((T::of(x.clamp(0.0, step)), w));
                }
            }
            begins = ends;
        }
        arrivals
    }
}

vectorised! {
    /// Which spikes, numbered from 0, reach a neuron within a window that begins at `from`, or one part beside it. `column`:
    /// delays by sender.
    fn find<T>(column: &[u16], units: &[u32], parts: &[u16], from: u16, hits: &mut Vec<u32>) {
        let last = units.iter().fold(0, |last, &unit| unit.max(last));
        assert!((last as usize) < column.len() || units.is_empty(), "spikes of unknown senders");
        for first in (0..units.len()).step_by(MANY) {
            let own = first..(first + MANY).min(units.len());
            let (units, parts) = (&units[own.clone()], &parts[own]);
            let mut after = [u16::MAX; MANY];
            if let (Some(units), Some(parts)) = (units.first_chunk::<MANY>(), parts.first_chunk::<MANY>()) {
                for k in 0..MANY {
                    // SAFETY: no unit is larger than `last`, which lies within the column.
                    after[k] = unsafe { *column.get_unchecked(units[k] as usize) };
                }
                for k in 0..MANY {
                    after[k] = after[k].wrapping_add(parts[k]).wrapping_sub(from);
                }
            } else {
                for k in 0..units.len() {
                    after[k] = column[units[k] as usize].wrapping_add(parts[k]).wrapping_sub(from);
                }
            }
            for (n, some) in after.as_chunks::<BLOCK>().0.iter().enumerate() {
                if some.iter().fold(false, |any, &after| any | (after <= PARTS)) {
                    let here = (0..BLOCK).filter(|&k| some[k] <= PARTS);
                    hits.extend(here.map(|k| (first + n * BLOCK + k) as u32));
                }
            }
        }
    }
}
