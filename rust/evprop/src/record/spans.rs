//! The life of each neuron cut at its own spikes: spans of free flow, and spans in which V is held.
use crate::math::Real;
use crate::neuron::Constants;
use crate::spikes::Train;

/// A stretch of time between a neuron's own events.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Span<T> {
    /// From, ms.
    pub start: f64,
    /// To, ms.
    pub end: f64,
    /// `V - i_bias` at the start.
    pub u: T,
    /// Current at the start.
    pub i: T,
    /// V is held at reset.
    pub held: bool,
}

/// The spans of all neurons of a population in one sample.
#[derive(Debug, Clone, Default)]
pub struct Spans<T> {
    offsets: Vec<usize>,
    len: Vec<usize>,
    items: Vec<Span<T>>,
}

impl<T: Real> Spans<T> {
    /// Cuts at the spikes in `train`; `current` and `release` as in the record.
    pub fn fill(&mut self, c: &Constants<T>, train: Train<'_>, current: &[T], release: &[T], duration: f64) {
        self.offsets.clear();
        self.offsets.resize(c.n + 1, 0);
        for &unit in train.units {
            self.offsets[unit as usize + 1] += 1;
        }
        let per_spike = if c.refractory { 2 } else { 1 };
        for i in 0..c.n {
            self.offsets[i + 1] = self.offsets[i] + 1 + per_spike * self.offsets[i + 1];
        }
        let empty = Span { start: 0.0, end: duration, u: T::ZERO, i: T::ZERO, held: false };
        self.items.clear();
        self.items.resize(self.offsets[c.n], empty);
        self.len.clear();
        self.len.resize(c.n, 1);
        for i in 0..c.n {
            self.items[self.offsets[i]].u = c.neuron(i).u_init;
        }
        for (k, (&time, &unit)) in train.times.iter().zip(train.units).enumerate() {
            let i = unit as usize;
            let neuron = c.neuron(i);
            self.last(i).end = time;
            if neuron.t_ref > 0.0 {
                let end = (time + neuron.t_ref).min(duration);
                self.push(i, Span { start: time, end, u: neuron.u_reset, i: current[k], held: true });
                if time + neuron.t_ref < duration {
                    self.push(i, Span { start: end, end: duration, u: neuron.u_reset, i: release[k], held: false });
                }
            } else {
                self.push(i, Span { start: time, end: duration, u: neuron.u_reset, i: current[k], held: false });
            }
        }
    }

    /// Whether no neuron has spiked.
    pub fn whole(&self) -> bool {
        self.items.len() == self.len.len()
    }

    fn last(&mut self, i: usize) -> &mut Span<T> {
        &mut self.items[self.offsets[i] + self.len[i] - 1]
    }

    fn push(&mut self, i: usize, span: Span<T>) {
        self.items[self.offsets[i] + self.len[i]] = span;
        self.len[i] += 1;
    }

    /// The spans of neuron `i`, in time.
    #[inline(always)]
    pub fn of(&self, i: usize) -> &[Span<T>] {
        &self.items[self.offsets[i]..self.offsets[i] + self.len[i]]
    }

    /// The span of neuron `i` that an arrival at `s` belongs to (a spike at `s` came before it).
    #[inline(always)]
    pub fn at_arrival(&self, i: usize, s: f64) -> &Span<T> {
        let own = self.of(i);
        &own[own.partition_point(|span| span.start <= s).max(1) - 1]
    }

    /// The span of neuron `i` whose voltage is seen at time `t` (at a spike: the span that ends there).
    #[inline(always)]
    pub fn seen_at(&self, i: usize, t: f64) -> &Span<T> {
        let own = self.of(i);
        &own[own.partition_point(|span| span.end < t).min(own.len() - 1)]
    }
}
