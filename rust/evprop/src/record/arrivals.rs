//! Arrivals at a population in one sample: which weights arrive when.
use crate::math::Real;
use crate::projection::Synapses;
use crate::spikes::Train;

/// One projection with the spikes that its senders emitted in this sample.
#[derive(Debug, Clone, Copy)]
pub struct Afferent<'a, T> {
    /// Weights and delays.
    pub synapses: Synapses<'a, T>,
    /// Spikes of the sending population.
    pub train: Train<'a>,
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
pub fn rows<T: Real>(afferents: &[Afferent<'_, T>], duration: f64, out: &mut Vec<RowArrival>) {
    out.clear();
    for (k, a) in afferents.iter().enumerate() {
        for (&t, &sender) in a.train.times.iter().zip(a.train.units) {
            let crate::projection::RowDelay::Shared(d) = a.synapses.row(sender as usize).delay else {
                unreachable!("rows() is only for afferents that keep their order")
            };
            let time = t + d.f64();
            if time < duration {
                out.push(RowArrival { time, afferent: k as u32, sender });
            }
        }
    }
    if !out.is_sorted_by(|a, b| a.time <= b.time) {
        out.sort_by(|a, b| a.time.total_cmp(&b.time));
    }
}

/// Arrivals of neurons `first..first + n`, each neuron's own, by (time, projection, sender's spike order): CSR.
#[derive(Debug, Clone, Default)]
pub struct Sorted<T> {
    /// Neuron `first + k` owns `offsets[k]..offsets[k + 1]`.
    pub offsets: Vec<usize>,
    /// The arrivals.
    pub items: Vec<Arrival<T>>,
    keys: Vec<(f64, u32)>,
    unsorted: Vec<Arrival<T>>,
}

impl<T: Real> Sorted<T> {
    /// Gathers and sorts.
    pub fn fill(&mut self, afferents: &[Afferent<'_, T>], first: usize, n: usize, duration: f64) {
        let inside = |target: usize| target >= first && target < first + n;
        self.offsets.clear();
        self.offsets.resize(n + 1, 0);
        each_arrival(afferents, first, n, duration, |target, _| self.offsets[target - first + 1] += 1);
        for k in 0..n {
            self.offsets[k + 1] += self.offsets[k];
        }
        self.unsorted.clear();
        self.unsorted.resize(self.offsets[n], Arrival { time: 0.0, weight: T::ZERO });
        let mut next: Vec<usize> = self.offsets[..n].to_vec();
        let unsorted = &mut self.unsorted;
        each_arrival(afferents, first, n, duration, |target, arrival| {
            debug_assert!(inside(target));
            unsorted[next[target - first]] = arrival;
            next[target - first] += 1;
        });
        self.items.clear();
        for k in 0..n {
            let own = &self.unsorted[self.offsets[k]..self.offsets[k + 1]];
            if own.is_sorted_by(|a, b| a.time <= b.time) {
                self.items.extend_from_slice(own);
                continue;
            }
            self.keys.clear();
            self.keys.extend(own.iter().enumerate().map(|(at, a)| (a.time, at as u32)));
            // Position breaks ties, so the order is stable.
            self.keys.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            self.items.extend(self.keys.iter().map(|&(_, at)| own[at as usize]));
        }
    }

    /// The arrivals of neuron `first + k`.
    pub fn of(&self, k: usize) -> &[Arrival<T>] {
        &self.items[self.offsets[k]..self.offsets[k + 1]]
    }
}

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
