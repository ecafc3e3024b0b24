//! The arrivals of one slab: by window and lane, in the order in which they were met.
use super::{BLOCK, Lane, Play};
use crate::math::{Real, prefetch};
use crate::record::deliveries::{Deliveries, Rows};
use crate::simulate::eventwise::Source;
use crate::vectorised;

/// A spike under way: its row from `next` on has yet to arrive.
#[derive(Debug, Clone, Copy)]
pub struct Live {
    time: f64,
    pub next: usize,
    end: usize,
}

impl Live {
    /// Nothing has arrived yet.
    pub fn new(time: f64, inlet: &Rows, sender: u32) -> Self {
        let sender = sender as usize;
        Self { time, next: inlet.start[sender], end: inlet.start[sender + 1] }
    }
}

/// Spikes from outside, inlet by inlet, that have not set out yet.
#[derive(Debug)]
pub struct Outside<'a> {
    trains: Vec<(&'a Rows, crate::spikes::Train<'a>, usize)>,
}

impl<'a> Outside<'a> {
    /// None has set out.
    pub fn new<T>(play: &Play<'a, T>) -> Self {
        let train = |(rows, source): (&'a Rows, &Source<'a>)| match *source {
            Source::Outside(train) => Some((rows, train, 0)),
            Source::Member(_) => None,
        };
        Self { trains: play.deliveries.inlets.iter().zip(play.sources).filter_map(train).collect() }
    }

    /// When the next one sets out.
    pub fn next_time(&self) -> f64 {
        let next = |(_, train, sent): &(_, crate::spikes::Train<'_>, usize)| train.times.get(*sent).copied();
        self.trains.iter().filter_map(next).fold(f64::INFINITY, f64::min)
    }

    /// Those before `until` set out.
    pub fn admit(&mut self, until: f64, live: &mut Vec<Live>) {
        for (rows, train, sent) in &mut self.trains {
            while let Some(&t) = train.times.get(*sent).filter(|&&t| t < until) {
                live.push(Live::new(t, rows, train.units[*sent]));
                *sent += 1;
            }
        }
    }
}

/// Number of arrivals that spikes from outside bring, if all of them come in time.
pub fn outside_arrivals<T>(play: &Play<'_, T>) -> usize {
    let arrivals = |(rows, source): (&Rows, &Source<'_>)| match source {
        Source::Outside(train) => {
            train.units.iter().map(|&j| rows.start[j as usize + 1] - rows.start[j as usize]).sum()
        }
        Source::Member(_) => 0,
    };
    play.deliveries.inlets.iter().zip(play.sources).map(arrivals).sum()
}

/// Arrivals by (window, block of lanes, position, lane): the lanes of one position are neighbours, so that they fill
/// vectors.
#[derive(Debug, Clone, Default)]
pub struct Lists<T> {
    lanes: usize,
    /// Positions of a lane in a window.
    room: usize,
    /// By (window, lane).
    count: Vec<u32>,
    /// Time from the window's start in ms, and weight.
    items: Vec<[T; 2]>,
    start: f64,
    step: f64,
    inv_step: f64,
    /// The slab's last window.
    last: usize,
}

/// What arrives in one window.
#[derive(Clone, Copy)]
pub struct View<'a, T> {
    room: usize,
    count: &'a [u32],
    items: &'a [[T; 2]],
}

/// Entries of a row that are placed at a time.
const CHUNK: usize = 16;

/// How many spikes ahead rows are fetched.
const AHEAD: usize = 6;

/// Where entries of a row go.
struct Placed<T> {
    /// How many come in time.
    len: usize,
    /// Their windows.
    index: [u64; CHUNK],
    /// Times within them.
    x: [T; CHUNK],
}

impl<T: Real> Lists<T> {
    /// Room for some arrivals; `lanes` is a multiple of the block.
    pub fn reset(&mut self, windows: usize, lanes: usize) {
        self.room = self.room.max(16);
        self.lanes = lanes;
        self.count.clear();
        self.count.resize(windows * lanes, 0);
        self.items.resize(windows * lanes * self.room, [T::ZERO; 2]);
    }

    /// Forgets the slab before; windows of length `step` follow one another from `start` on.
    pub fn start_slab(&mut self, start: f64, step: f64, windows: usize) {
        self.count.fill(0);
        (self.start, self.step, self.inv_step, self.last) = (start, step, 1.0 / step, windows - 1);
    }

    /// Takes in what the spike brings before `until`; whether there is more to come.
    #[inline(always)]
    pub fn pull(&mut self, deliveries: &Deliveries<T>, spike: &mut Live, until: f64, earliest: usize) -> bool {
        while spike.next < spike.end {
            let own = spike.next..(spike.next + CHUNK).min(spike.end);
            let delay = &deliveries.delay[own.clone()];
            let placed = match own.len() {
                CHUNK => self.place_chunk(CHUNK, delay, spike.time, until, earliest),
                rest => self.place_chunk(rest, delay, spike.time, until, earliest),
            };
            let (lane, weight) = (&deliveries.lane[own.clone()], &deliveries.weight[own.clone()]);
            let mut k = 0;
            loop {
                k += self.push(&placed, k, lane, weight);
                if k == placed.len {
                    break;
                }
                self.grow();
            }
            spike.next += placed.len;
            if placed.len < own.len() {
                return true;
            }
        }
        false
    }

    /// Appends the entries from `first` on, as long as there is room; how many.
    #[inline(always)]
    fn push(&mut self, placed: &Placed<T>, first: usize, lane: &[u32], weight: &[T]) -> usize {
        let (lanes, room) = (self.lanes, self.room);
        let (count, items) = (&mut self.count[..], &mut self.items[..]);
        let own = first..placed.len;
        let (index, x) = (&placed.index[own.clone()], &placed.x[own.clone()]);
        let (lane, weight) = (&lane[own.clone()], &weight[own]);
        let mut done = 0;
        for (((&index, &x), &lane), &w) in index.iter().zip(x).zip(lane).zip(weight) {
            let at = index as usize * lanes + lane as usize;
            let position = count[at] as usize;
            if position == room {
                break;
            }
            count[at] = position as u32 + 1;
            items[slot(at, room) + position * BLOCK] = [x, w];
            done += 1;
        }
        done
    }

    /// Window of an arrival; `earliest`: the one under way.
    pub fn place(&self, time: f64, delay: T, earliest: usize) -> usize {
        self.place_chunk(1, &[delay], time, f64::INFINITY, earliest).index[0] as usize
    }

    /// Places the entries of a row that arrive before `until`: how many they are, their windows, and when within them.
    #[inline(always)]
    fn place_chunk(&self, n: usize, delay: &[T], time: f64, until: f64, earliest: usize) -> Placed<T> {
        let (mut index, mut x) = ([0; CHUNK], [T::ZERO; CHUNK]);
        let grid = (self.start, self.step, self.inv_step, earliest as f64, self.last as f64);
        let len = place_lanes(n, time, until, grid, delay, &mut index, &mut x);
        Placed { len, index, x }
    }

    #[cold]
    #[inline(never)]
    fn grow(&mut self) {
        let (old, new) = (self.room * BLOCK, 2 * self.room * BLOCK);
        let blocks = self.count.len() / BLOCK;
        let mut larger = vec![[T::ZERO; 2]; blocks * new];
        for block in 0..blocks {
            larger[block * new..block * new + old].copy_from_slice(&self.items[block * old..(block + 1) * old]);
        }
        self.items = larger;
        self.room *= 2;
    }

    /// The arrivals of one window.
    pub fn window(&self, index: usize) -> View<'_, T> {
        let (lanes, size) = (self.lanes, self.lanes * self.room);
        View {
            room: self.room,
            count: &self.count[index * lanes..(index + 1) * lanes],
            items: &self.items[index * size..(index + 1) * size],
        }
    }
}

/// Where the first position of a lane lies (`at` counts lanes, window after window).
#[inline(always)]
fn slot(at: usize, room: usize) -> usize {
    at / BLOCK * BLOCK * room + at % BLOCK
}

impl<T: Real> View<'_, T> {
    /// Arrivals of each lane of a block, as numbers to compare with, and the most of any.
    #[inline(always)]
    pub fn counts(&self, first: usize) -> (Lane<T>, usize) {
        let count = &self.count[first..first + BLOCK];
        let mut numbers = [T::ZERO; BLOCK];
        let mut most = 0;
        for l in 0..BLOCK {
            numbers[l] = T::of(f64::from(count[l]));
            most = most.max(count[l]);
        }
        (numbers, most as usize)
    }

    /// Position `k` of a block: times and weights.
    #[inline(always)]
    pub fn row(&self, k: usize, first: usize) -> (Lane<T>, Lane<T>) {
        let at = slot(first, self.room) + k * BLOCK;
        let items = &self.items[at..at + BLOCK];
        let (mut x, mut w) = ([T::ZERO; BLOCK], [T::ZERO; BLOCK]);
        for l in 0..BLOCK {
            [x[l], w[l]] = items[l];
        }
        (x, w)
    }

    /// The arrivals of one lane, as they lie: time and weight.
    pub fn of(&self, lane: usize) -> impl Iterator<Item = (T, T)> {
        let first = slot(lane, self.room);
        (0..self.count[lane] as usize).map(move |k| self.items[first + k * BLOCK].into())
    }
}

vectorised! {
    /// Takes in what all spikes under way bring before `until`; those that have arrived in full are dropped.
    pub fn pull_all<T>(
        lists: &mut Lists<T>,
        deliveries: &Deliveries<T>,
        live: &mut Vec<Live>,
        until: f64,
    ) {
        let mut kept = 0;
        for k in 0..live.len() {
            if let Some(soon) = live.get(k + AHEAD) {
                // A row is met again only after thousands of others.
                prefetch(&deliveries.delay, soon.next);
                prefetch(&deliveries.weight, soon.next);
                prefetch(&deliveries.lane, soon.next);
            }
            let mut spike = live[k];
            if lists.pull(deliveries, &mut spike, until, 0) {
                live[kept] = spike;
                kept += 1;
            }
        }
        live.truncate(kept);
    }
}

/// Entries side by side. Delays ascend, so those in time come first.
#[inline(always)]
fn place_lanes<T: Real>(
    n: usize,
    time: f64,
    until: f64,
    (start, step, inv_step, earliest, last): (f64, f64, f64, f64, f64),
    delay: &[T],
    index: &mut [u64; CHUNK],
    x: &mut [T; CHUNK],
) -> usize {
    // 1.5 * 2^52: adding it rounds to a whole number, which is left in the low bits. An arrival on the border of two
    // windows may go to either.
    const SHIFT: f64 = 6_755_399_441_055_744.0;
    let delay = &delay[..n];
    let mut in_time = 0u64;
    for k in 0..n {
        let at = time + delay[k].f64();
        in_time += u64::from(at < until);
        let from_start = at - start;
        let whole = (from_start * inv_step - 0.5).larger(earliest).smaller(last) + SHIFT;
        index[k] = whole.to_bits() & 0xffff;
        x[k] = T::of((from_start - (whole - SHIFT) * step).larger(0.0).smaller(step));
    }
    in_time as usize
}
