//! The single arrivals of the few lanes that are played one by one: found by asking the spikes under way.
//!
//! Asking is cheap in 64ths of a window: a block of lanes keeps when, about, each spike under way arrives, and exact times
//! and weights are looked up of those alone that fall into the window in question.
use super::{Play, Spike};
use crate::math::{Real, Simd, Ticks};
use crate::record::inlets::{BLOCK, Inlet};
use crate::simulate::eventwise::Source;
use crate::vectorised;

/// 64ths of a window.
const PARTS: u16 = 64;

/// Arrivals of spikes that are over, kept at most.
const STALE: usize = 512;

/// The spikes of one inlet that have set out.
#[derive(Debug, Clone, Default)]
pub struct Sent<K> {
    /// The first that may still arrive.
    pub first: usize,
    /// When.
    pub ticks: Vec<K>,
    marks: Vec<Mark>,
}

/// A spike, as small as may be: all that are under way are looked through.
#[derive(Debug, Clone, Copy)]
struct Mark {
    unit: u32,
    /// In 64ths of a window.
    at: u16,
}

impl<K: Ticks> Sent<K> {
    /// None has set out.
    pub fn reset(&mut self) {
        self.first = 0;
        self.ticks.clear();
        self.marks.clear();
    }

    /// One more sets out.
    pub fn push(&mut self, ticks: K, unit: u32) {
        self.ticks.push(ticks);
        self.marks.push(Mark { unit, at: ticks.coarse() });
    }
}

impl<K> Sent<K> {
    /// How many have set out.
    pub fn len(&self) -> usize {
        self.marks.len()
    }
}

/// When sixteen spikes reach the lanes of a block: by lane, by spike.
type Tile = [[u16; BLOCK]; BLOCK];

/// When the spikes of one inlet reach one block of lanes, in 64ths of a window; too early by one at most.
#[derive(Debug, Clone, Default)]
struct List {
    /// The spike that the first tile begins with.
    first: usize,
    /// How many spikes the tiles hold.
    len: usize,
    tiles: Vec<Tile>,
}

impl List {
    /// Forgets spikes before `first`, when they are many.
    fn forget(&mut self, first: usize) {
        let over = first - self.first;
        if over >= self.len {
            (self.first, self.len) = (first, 0);
            self.tiles.clear();
        } else if over > STALE {
            self.first += over / BLOCK * BLOCK;
            self.len -= over / BLOCK * BLOCK;
            self.tiles.drain(..over / BLOCK);
        }
    }

    /// Takes in the spikes that have set out since it was asked last. `block`: which of the inlet's.
    fn extend<T: Real>(&mut self, simd: Simd, inlet: &Inlet<'_, T>, block: usize, marks: &[Mark]) {
        let (full, all) = (self.len / BLOCK, marks.len() - self.first);
        self.len = all;
        self.tiles.resize(all.div_ceil(BLOCK), [[0; BLOCK]; BLOCK]);
        let fresh = marks[self.first..].chunks(BLOCK).zip(&mut self.tiles).skip(full);
        let Some(rows) = &inlet.coarse else {
            for (marks, tile) in fresh {
                for (k, mark) in marks.iter().enumerate() {
                    for (l, lane) in tile.iter_mut().enumerate() {
                        // Where there is no synapse any time will do: none is found in the end.
                        let synapse = inlet.synapse(mark.unit as usize, block * BLOCK + l);
                        lane[k] = mark.at.wrapping_add(synapse.map_or(0, |(_, ticks, _)| ticks.coarse()));
                    }
                }
            }
            return;
        };
        for mark in &marks[self.first + full * BLOCK..] {
            rows.fetch(mark.unit as usize, block);
        }
        for (marks, tile) in fresh {
            let mut arrivals = [[0; BLOCK]; BLOCK];
            for (at, mark) in arrivals.iter_mut().zip(marks) {
                let delay = &rows.of(mark.unit as usize)[block];
                for l in 0..BLOCK {
                    at[l] = delay[l].wrapping_add(mark.at);
                }
            }
            turn::<T>(simd, &mut arrivals, tile);
        }
    }
}

vectorised! {
    /// By spike, by lane -> by lane, by spike: every pass moves the highest bit of a number's place to its end.
    fn turn<T>(by_spike: &mut Tile, by_lane: &mut Tile) {
        let (a, b) = (by_spike.as_flattened_mut(), by_lane.as_flattened_mut());
        const HALF: usize = BLOCK * BLOCK / 2;
        let (a, b) = (&mut a[..2 * HALF], &mut b[..2 * HALF]);
        for _ in 0..2 {
            for k in 0..HALF {
                (b[2 * k], b[2 * k + 1]) = (a[k], a[k + HALF]);
            }
            for k in 0..HALF {
                (a[2 * k], a[2 * k + 1]) = (b[k], b[k + HALF]);
            }
        }
        b.copy_from_slice(a);
    }
}

/// Lists by block of lanes and inlet.
#[derive(Debug, Clone, Default)]
pub struct Lists<T> {
    of: Vec<List>,
    hits: Vec<u32>,
    arrivals: Vec<(T, T)>,
}

impl<T: Real> Lists<T> {
    /// Forgets all.
    pub fn reset(&mut self, lanes: usize, inlets: usize) {
        self.of.resize_with(lanes / BLOCK * inlets, List::default);
        for list in &mut self.of {
            (list.first, list.len) = (0, 0);
            list.tiles.clear();
        }
    }

    /// Arrivals of a lane in window `now`: time from its start, and weight.
    pub fn arrivals(
        &mut self,
        play: &Play<'_, T>,
        lane: usize,
        now: usize,
        sent: &[Sent<T::Ticks>],
        out: &[Vec<Spike<T>>],
    ) -> &[(T, T)] {
        let Self { of, hits, arrivals } = self;
        let inlets = play.inlets;
        let base = inlets.base[inlets.member(lane)];
        let target = lane - base;
        let start = T::Ticks::window(now);
        let (begin, step) = (inlets.grid.start(now), inlets.grid.step);
        arrivals.clear();
        for (q, (inlet, sent)) in inlets.all.iter().zip(sent).enumerate() {
            if inlet.base != base {
                continue;
            }
            let list = &mut of[lane / BLOCK * inlets.all.len() + q];
            list.forget(sent.first);
            list.extend(play.simd, inlet, target / BLOCK, &sent.marks);
            hits.clear();
            let over = (sent.first - list.first) / BLOCK;
            find::<T>(play.simd, &list.tiles[over..], lane % BLOCK, start.coarse().wrapping_sub(1), hits);
            let first = list.first + over * BLOCK;
            for &k in hits.iter() {
                if let Some(mark) = sent.marks.get(first + k as usize) {
                    // Where rows are sparse it is another synapse's, which does no harm.
                    inlet.synapses.fetch(mark.unit as usize, target);
                }
            }
            for &k in hits.iter() {
                let k = first + k as usize;
                let Some(mark) = sent.marks.get(k) else { continue };
                let Some((delay, ticks, w)) = inlet.synapse(mark.unit as usize, target) else { continue };
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
        }
        arrivals
    }
}

vectorised! {
    /// Which spikes reach a lane within a window that begins at `from`, or one part beside it.
    fn find<T>(tiles: &[Tile], lane: usize, from: u16, hits: &mut Vec<u32>) {
        for (first, tile) in tiles.iter().enumerate() {
            let at = &tile[lane % BLOCK];
            let mut any = 0;
            for &at in at {
                any |= u16::from(at.wrapping_sub(from) <= PARTS);
            }
            if any != 0 {
                // Without a branch that nobody can foresee.
                let (mut some, mut n) = ([0; BLOCK + 1], 0);
                for (k, &at) in at.iter().enumerate() {
                    some[n] = (first * BLOCK + k) as u32;
                    n += usize::from(at.wrapping_sub(from) <= PARTS);
                }
                hits.extend_from_slice(&some[..n]);
            }
        }
    }
}
