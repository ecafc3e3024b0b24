//! The single arrivals of the few lanes that are played one by one: found by asking the spikes under way.
//!
//! Asking is cheap in 64ths of a window: a block of lanes keeps when, about, each spike under way arrives, and exact times
//! and weights are looked up of those alone that fall into the window in question.
use super::{Play, Spike};
use crate::math::{Real, Simd, Ticks};
use crate::record::inlets::{BLOCK, Inlet};
use crate::simulate::eventwise::Source;
use crate::vectorised;
use std::collections::VecDeque;

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

/// When a spike reaches the lanes of a block.
pub type Row = [u16; BLOCK];

/// When the spikes of one inlet reach one block of lanes, in 64ths of a window; too early by one at most.
#[derive(Debug, Clone, Default)]
pub struct List {
    /// The spike that the first tile begins with.
    first: usize,
    tiles: VecDeque<Tile>,
    /// Those after the tiles, spike by spike.
    rows: Vec<Row>,
}

impl List {
    /// One more sets out.
    #[inline(always)]
    pub fn push(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// The first spike that is not in a tile.
    fn tiled(&self) -> usize {
        self.first + self.tiles.len() * BLOCK
    }

    /// Forgets spikes before `first`, when they are many.
    pub fn forget(&mut self, first: usize) {
        let over = first - self.first;
        if over <= STALE {
            return;
        }
        let tiles = (over / BLOCK).min(self.tiles.len());
        self.tiles.drain(..tiles);
        self.first += tiles * BLOCK;
        if self.tiles.is_empty() {
            self.rows.drain(..(first - self.first).min(self.rows.len()));
            self.first = first;
        }
    }

    /// Where rows are sparse: takes in the spikes that have set out since it was asked last. `block`: which of the inlet's.
    fn extend<T: Real>(&mut self, inlet: &Inlet<'_, T>, block: usize, marks: &[Mark]) {
        for mark in &marks[(self.tiled() + self.rows.len()).min(marks.len())..] {
            // Where there is no synapse any time will do: none is found in the end.
            let delay =
                |l: usize| inlet.synapse(mark.unit as usize, block * BLOCK + l).map_or(0, |(_, d, _)| d.coarse());
            self.rows.push(std::array::from_fn(|l| mark.at.wrapping_add(delay(l))));
        }
    }

    /// Makes tiles of rows.
    fn settle<T: Real>(&mut self, simd: Simd) {
        let full = self.rows.len() / BLOCK * BLOCK;
        if full > 0 {
            for rows in self.rows[..full].chunks(BLOCK) {
                let mut tile = [[0; BLOCK]; BLOCK];
                turn::<T>(simd, rows, &mut tile);
                self.tiles.push_back(tile);
            }
            self.rows.drain(..full);
        }
    }
}

vectorised! {
    /// By spike, by lane -> by lane, by spike: every pass moves the highest bit of a number's place to its end.
    fn turn<T>(by_spike: &[Row], by_lane: &mut Tile) {
        const HALF: usize = BLOCK * BLOCK / 2;
        let mut a = [0; 2 * HALF];
        a.copy_from_slice(by_spike.as_flattened());
        let b = by_lane.as_flattened_mut();
        let b = &mut b[..2 * HALF];
        for _ in 0..2 {
            for k in 0..HALF {
                (b[2 * k], b[2 * k + 1]) = (a[k], a[k + HALF]);
            }
            for k in 0..HALF {
                (a[2 * k], a[2 * k + 1]) = (b[k], b[k + HALF]);
            }
        }
        b.copy_from_slice(&a);
    }
}

/// Lists by inlet and block of lanes.
#[derive(Debug, Clone, Default)]
pub struct Lists<T> {
    of: Vec<List>,
    blocks: usize,
    hits: Vec<u32>,
    arrivals: Vec<(T, T)>,
}

impl<T: Real> Lists<T> {
    /// Forgets all.
    pub fn reset(&mut self, lanes: usize, inlets: usize) {
        self.blocks = lanes / BLOCK;
        self.of.resize_with(self.blocks * inlets, List::default);
        for list in &mut self.of {
            list.first = 0;
            list.tiles.clear();
            list.rows.clear();
        }
    }

    /// Those of one inlet.
    pub fn of_inlet(&mut self, q: usize) -> &mut [List] {
        &mut self.of[q * self.blocks..(q + 1) * self.blocks]
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
        let Self { of, blocks, hits, arrivals } = self;
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
            let list = &mut of[q * *blocks + lane / BLOCK];
            if !inlet.synapses.connectivity.is_dense() {
                list.extend(inlet, target / BLOCK, &sent.marks);
            }
            list.settle::<T>(play.simd);
            hits.clear();
            let over = ((sent.first - list.first) / BLOCK).min(list.tiles.len());
            let (tiles, more) = list.tiles.as_slices();
            let (tiles, more) = (&tiles[over.min(tiles.len())..], &more[over.saturating_sub(tiles.len())..]);
            let from = start.coarse().wrapping_sub(1);
            find::<T>(play.simd, tiles, 0, lane % BLOCK, from, hits);
            find::<T>(play.simd, more, tiles.len(), lane % BLOCK, from, hits);
            let last = tiles.len() + more.len();
            for (k, row) in list.rows.iter().enumerate() {
                if row[lane % BLOCK].wrapping_sub(from) <= PARTS {
                    hits.push((last * BLOCK + k) as u32);
                }
            }
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
    /// Which spikes reach a lane within a window that begins at `from`, or one part beside it; `first`: number of the first
    /// tile.
    fn find<T>(tiles: &[Tile], first: usize, lane: usize, from: u16, hits: &mut Vec<u32>) {
        for (n, tile) in tiles.iter().enumerate() {
            let at = &tile[lane % BLOCK];
            let mut any = 0;
            for &at in at {
                any |= u16::from(at.wrapping_sub(from) <= PARTS);
            }
            if any != 0 {
                // Without a branch that nobody can foresee.
                let (mut some, mut m) = ([0; BLOCK + 1], 0);
                for (k, &at) in at.iter().enumerate() {
                    some[m] = ((first + n) * BLOCK + k) as u32;
                    m += usize::from(at.wrapping_sub(from) <= PARTS);
                }
                hits.extend_from_slice(&some[..m]);
            }
        }
    }
}
