//! Arrivals at a population in one sample: which weights arrive when.
use super::buckets::Buckets;
use crate::math::Real;
use crate::projection::{Connectivity, RowDelay, Synapses};
use crate::spikes::Train;

/// One projection with the spikes that its senders emitted in this sample.
#[derive(Debug, Clone, Copy)]
pub struct Afferent<'a, T> {
    /// Weights and delays.
    pub synapses: Synapses<'a, T>,
    /// Spikes of the sending population.
    pub train: Train<'a>,
}

impl<T: Real> Afferent<'_, T> {
    /// When spike `k` arrives at the first of its targets, ms: at all of them, where arrivals come in rows.
    #[inline(always)]
    pub fn row_arrival(&self, k: usize) -> f64 {
        let row = self.synapses.row(self.train.units[k] as usize);
        self.train.times[k] + if row.weight.is_empty() { 0.0 } else { row.delay_of(0) }
    }
}

/// A row of weights that arrives at one instant (no or axonal delay).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RowArrival {
    /// Arrival time, ms.
    pub time: f64,
    /// Index into the afferents.
    pub afferent: u32,
    /// Sending unit.
    pub sender: u32,
}

/// A single arrival.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Arrival<T> {
    /// Arrival time, ms.
    pub time: f64,
    /// Weight.
    pub weight: T,
}

/// Whether all afferents keep their order, so that [`rows`] describes them.
pub fn keep_order<T>(afferents: &[Afferent<'_, T>]) -> bool {
    afferents.iter().all(|a| a.synapses.delay_kind.keeps_order())
}

/// All row arrivals before `duration`, by (time, projection, sender's spike order).
pub fn rows<T: Real>(
    afferents: &[Afferent<'_, T>],
    duration: f64,
    buckets: &mut Buckets<RowArrival>,
    out: &mut Vec<RowArrival>,
) {
    out.clear();
    append_rows(afferents, &[], duration, out);
    // They were appended projection by projection, each in its senders' order.
    buckets.sort(out, |row| row.time);
}

/// [`rows`] as they come to be known: of each afferent the first `heard` spikes are in `out` already, and the first
/// `past` rows are over (no new one arrives before them).
pub fn more_rows<T: Real>(
    afferents: &[Afferent<'_, T>],
    heard: &[usize],
    duration: f64,
    past: usize,
    buckets: &mut Buckets<RowArrival>,
    out: &mut Vec<RowArrival>,
) {
    if out.is_empty() {
        rows(afferents, duration, buckets, out);
        return;
    }
    append_rows(afferents, heard, duration, out);
    let order = |a: &RowArrival, b: &RowArrival| a.time.total_cmp(&b.time).then(a.afferent.cmp(&b.afferent));
    let ahead = &mut out[past..];
    if !ahead.is_sorted_by(|a, b| order(a, b).is_le()) {
        ahead.sort_by(order);
    }
}

fn append_rows<T: Real>(afferents: &[Afferent<'_, T>], heard: &[usize], duration: f64, out: &mut Vec<RowArrival>) {
    for (k, a) in afferents.iter().enumerate() {
        let heard = heard.get(k).copied().unwrap_or(0);
        for (&t, &sender) in a.train.times.iter().zip(a.train.units).skip(heard) {
            let RowDelay::Shared(d) = a.synapses.delays_of(a.synapses.delay, sender as usize) else {
                unreachable!("rows() is only for afferents that keep their order")
            };
            let time = t + d.f64();
            if time < duration {
                out.push(RowArrival { time, afferent: k as u32, sender });
            }
        }
    }
}

/// Arrivals of neurons `first..first + n`, each neuron's own, by (time, projection, sender's spike order).
#[derive(Debug, Clone, Default)]
pub struct Sorted<T> {
    /// Neuron `first + k` has room from `k * room` on.
    room: usize,
    len: Vec<usize>,
    items: Vec<Arrival<T>>,
    keys: Vec<(f64, u32)>,
    copy: Vec<Arrival<T>>,
}

/// Up to this many arrivals are sorted by insertion.
const FEW: usize = 24;

impl<T: Real> Sorted<T> {
    /// Gathers and sorts.
    pub fn fill(&mut self, afferents: &[Afferent<'_, T>], first: usize, n: usize, duration: f64) {
        self.room = afferents.iter().map(|a| a.train.len()).sum();
        if afferents.iter().any(|a| a.synapses.connectivity != &Connectivity::Dense) {
            // Sparse rows fill only a part of that room: count.
            self.len.clear();
            self.len.resize(n, 0);
            each_arrival(afferents, first, n, duration, |target, _| self.len[target - first] += 1);
            self.room = self.len.iter().copied().max().unwrap_or(0);
        }
        self.len.clear();
        self.len.resize(n, 0);
        self.items.resize(n * self.room, Arrival { time: 0.0, weight: T::ZERO });
        let Self { room, len, items, keys, copy } = self;
        each_arrival(afferents, first, n, duration, |target, arrival| {
            let k = target - first;
            items[k * *room + len[k]] = arrival;
            len[k] += 1;
        });
        for (k, &len) in len.iter().enumerate() {
            let own = &mut items[k * *room..k * *room + len];
            if own.is_sorted_by(|a, b| a.time <= b.time) {
                continue;
            }
            if len <= FEW {
                insertion_sort(own);
                continue;
            }
            keys.clear();
            keys.extend(own.iter().enumerate().map(|(at, a)| (a.time, at as u32)));
            // Position breaks ties, so the order is stable.
            keys.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            copy.clear();
            copy.extend_from_slice(own);
            for (slot, &(_, at)) in own.iter_mut().zip(keys.iter()) {
                *slot = copy[at as usize];
            }
        }
    }

    /// The arrivals of neuron `first + k`.
    #[inline(always)]
    pub fn of(&self, k: usize) -> &[Arrival<T>] {
        &self.items[k * self.room..k * self.room + self.len[k]]
    }
}

/// Stable, and quick for a few.
fn insertion_sort<T: Real>(items: &mut [Arrival<T>]) {
    for k in 1..items.len() {
        let item = items[k];
        let mut at = k;
        while at > 0 && items[at - 1].time > item.time {
            items[at] = items[at - 1];
            at -= 1;
        }
        items[at] = item;
    }
}

#[inline(always)]
fn each_arrival<T: Real>(
    afferents: &[Afferent<'_, T>],
    first: usize,
    n: usize,
    duration: f64,
    mut visit: impl FnMut(usize, Arrival<T>),
) {
    for a in afferents {
        for (&t, &sender) in a.train.times.iter().zip(a.train.units) {
            let row = a.synapses.row(sender as usize);
            let range = match row.targets {
                None => first..first + n,
                Some(targets) => {
                    let at = |limit: usize| targets.partition_point(|&i| (i as usize) < limit);
                    at(first)..at(first + n)
                }
            };
            for k in range {
                let time = t + row.delay_of(k);
                if time < duration {
                    visit(row.target(k), Arrival { time, weight: row.weight[k] });
                }
            }
        }
    }
}
