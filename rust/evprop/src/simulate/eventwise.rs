//! Any graph, one event at a time: populations that reach one another, with or without delay.
//!
//! Each neuron keeps its state at its own last event and a key: a time before which it surely does not cross
//! (while it rises it is concave, so its tangent meets the threshold too early, never too late). The smallest key is
//! looked at first: a key that is only a bound is replaced by the crossing itself, or by infinity; an exact key is a
//! spike. An arrival changes the state of its target, and so its key. Order at one instant: all crossings, then all
//! arrivals, so a spike never depends on an arrival of its own instant.
use super::queue::{Pending, Queue, Tournament};
use super::{Limits, Spike};
use crate::error::Result;
use crate::math::Real;
use crate::neuron::Constants;
use crate::neuron::crossing::{Crossings, Start};
use crate::projection::{RowDelay, Synapses};
use crate::record::arrivals::Afferent;

/// One member of the component.
#[derive(Debug, Clone, Copy)]
pub struct Member<'a, T> {
    /// Its constants.
    pub constants: &'a Constants<T>,
    /// Its name, for errors.
    pub name: &'a str,
}

/// A projection onto a member: from outside (spikes known) or from a member.
#[derive(Debug, Clone, Copy)]
pub struct Inlet<'a, T> {
    /// Receiving member.
    pub member: usize,
    /// Sending member, or the spikes of a population outside.
    pub source: Source<'a>,
    /// Weights and delays.
    pub synapses: Synapses<'a, T>,
}

/// Where spikes come from.
#[derive(Debug, Clone, Copy)]
pub enum Source<'a> {
    /// A population of the same component.
    Member(usize),
    /// A population played before.
    Outside(crate::spikes::Train<'a>),
}

impl<'a, T> Inlet<'a, T> {
    /// The inlet as an afferent, given the trains of the members.
    pub fn afferent(&self, members: &[crate::spikes::Train<'a>]) -> Afferent<'a, T>
    where
        T: Copy,
    {
        let train = match self.source {
            Source::Member(m) => members[m],
            Source::Outside(train) => train,
        };
        Afferent { synapses: self.synapses, train }
    }
}

#[derive(Debug, Clone, Copy)]
struct Cell<T> {
    time: f64,
    hold: f64,
    u: T,
    i: T,
    /// The exact crossing, if the key is one.
    crossing: Option<(f64, T)>,
}

/// Reusable storage.
#[derive(Debug, Clone, Default)]
pub struct Eventwise<T> {
    cells: Vec<Cell<T>>,
    base: Vec<usize>,
    member_of: Vec<u32>,
    queue: Queue,
    keys: Tournament,
    fired: Vec<usize>,
    crossings: Crossings<T>,
}

impl<T: Real> Eventwise<T> {
    /// Plays one sample; `out[m]` receives the spikes of member `m`, sorted by (time, unit).
    pub fn run(
        &mut self,
        members: &[Member<'_, T>],
        inlets: &[Inlet<'_, T>],
        limits: &[Limits<'_>],
        out: &mut [Vec<Spike<T>>],
    ) -> Result<()> {
        let duration = limits[0].duration;
        self.start(members);
        // External spikes are sent when their time comes, so the heap holds only what is under way.
        let mut outside = OutsideSpikes::new(inlets);
        let mut count = 0usize;
        loop {
            let arrival = self.queue.next_time().min(outside.next_time());
            let (neuron, crossing) = self.keys.min();
            if crossing > duration && arrival >= duration {
                return Ok(());
            }
            count += 1;
            if count.is_multiple_of(4096) {
                limits[0].look_up()?;
            }
            if crossing <= arrival {
                if self.cells[neuron].crossing.is_none() {
                    self.refine(members, neuron, duration);
                    continue;
                }
                self.fire(members, inlets, limits, crossing, duration, out)?;
            } else if outside.next_time() <= self.queue.next_time() {
                outside.send_next(inlets, duration, &mut self.queue);
            } else if let Some(pending) = self.queue.pop() {
                self.deliver(members, inlets, pending);
            }
        }
    }

    fn start(&mut self, members: &[Member<'_, T>]) {
        self.cells.clear();
        self.base.clear();
        self.member_of.clear();
        self.queue.clear();
        for (m, member) in members.iter().enumerate() {
            let c = member.constants;
            self.base.push(self.cells.len());
            self.cells.extend((0..c.n).map(|i| Cell {
                time: 0.0,
                hold: 0.0,
                u: c.neuron(i).u_init,
                i: T::ZERO,
                crossing: None,
            }));
            self.member_of.resize(self.cells.len(), m as u32);
        }
        self.keys.reset(self.cells.len());
        for neuron in 0..self.cells.len() {
            self.set_bound(members, neuron);
        }
    }

    fn member(&self, neuron: usize) -> (usize, usize) {
        let m = self.member_of[neuron] as usize;
        (m, neuron - self.base[m])
    }

    /// State of a neuron at the moment from which it flows freely: now, or its release.
    fn free_state(&self, members: &[Member<'_, T>], neuron: usize) -> (f64, T, T) {
        let (m, unit) = self.member(neuron);
        let cell = &self.cells[neuron];
        if cell.hold <= cell.time {
            return (cell.time, cell.u, cell.i);
        }
        let c = members[m].constants.neuron(unit);
        let held = T::of(cell.hold - cell.time);
        (cell.hold, cell.u, cell.i * (-(held * c.inv_syn)).exp_neg())
    }

    /// A time before which the neuron surely does not cross.
    fn set_bound(&mut self, members: &[Member<'_, T>], neuron: usize) {
        let (m, unit) = self.member(neuron);
        let c = *members[m].constants.neuron(unit);
        self.cells[neuron].crossing = None;
        let cell = &self.cells[neuron];
        let key = if cell.hold == f64::INFINITY {
            f64::INFINITY
        } else if c.theta <= T::ZERO {
            cell.hold.max(cell.time)
        } else {
            let (start, u, i) = self.free_state(members, neuron);
            let margin = T::ONE + T::of(32.0) * T::EPSILON;
            if i <= T::ZERO || i <= u || (u.larger(T::ZERO) + i * c.kappa_max) * margin <= c.theta {
                f64::INFINITY
            } else {
                let rise = (c.theta - u).larger(T::ZERO) * c.tau_mem / (i - u);
                start + rise.f64() * (1.0 - 32.0 * T::EPSILON.f64())
            }
        };
        self.keys.set(neuron, key);
    }

    /// Replaces a bound by the crossing itself.
    fn refine(&mut self, members: &[Member<'_, T>], neuron: usize, duration: f64) {
        let (m, unit) = self.member(neuron);
        let (start, u, i) = self.free_state(members, neuron);
        let span = T::of((duration - start).max(0.0));
        let found = self.crossings.first(members[m].constants, Start { u, i, d: span, neuron: unit });
        let crossing = found.map(|(s, at)| ((start + s.f64()).min(duration), at));
        self.cells[neuron].crossing = crossing;
        self.keys.set(neuron, crossing.map_or(f64::INFINITY, |(t, _)| t));
    }

    /// All neurons that cross at `time`: they spike together, then their spikes are sent.
    fn fire(
        &mut self,
        members: &[Member<'_, T>],
        inlets: &[Inlet<'_, T>],
        limits: &[Limits<'_>],
        time: f64,
        duration: f64,
        out: &mut [Vec<Spike<T>>],
    ) -> Result<()> {
        self.fired.clear();
        loop {
            let (neuron, key) = self.keys.min();
            if key > time {
                break;
            }
            let Some((_, current)) = self.cells[neuron].crossing else {
                self.refine(members, neuron, duration);
                continue;
            };
            let (m, unit) = self.member(neuron);
            out[m].push(Spike { time, unit: unit as u32, current });
            limits[m].check(out[m].len(), time)?;
            let c = members[m].constants.neuron(unit);
            self.cells[neuron] = Cell { time, hold: time + c.t_ref, u: c.u_reset, i: current, crossing: None };
            // Not looked at again before the others of this instant have fired.
            self.keys.set(neuron, f64::INFINITY);
            self.fired.push(neuron);
        }
        self.fired.sort_unstable();
        for k in 0..self.fired.len() {
            self.set_bound(members, self.fired[k]);
        }
        for (q, inlet) in inlets.iter().enumerate() {
            let Source::Member(sender) = inlet.source else { continue };
            for k in 0..self.fired.len() {
                let (m, unit) = self.member(self.fired[k]);
                if m == sender {
                    send(inlet, q, unit, time, duration, &mut self.queue);
                }
            }
        }
        for spikes in out.iter_mut() {
            // Several units of one instant were found in the order of the tournament.
            let start = spikes.partition_point(|s| s.time < time);
            spikes[start..].sort_unstable_by_key(|s| s.unit);
        }
        Ok(())
    }

    fn deliver(&mut self, members: &[Member<'_, T>], inlets: &[Inlet<'_, T>], pending: Pending) {
        let inlet = &inlets[pending.projection as usize];
        let row = inlet.synapses.row(pending.sender as usize);
        if pending.synapse == Pending::WHOLE_ROW {
            for k in 0..row.weight.len() {
                self.arrive(members, self.base[inlet.member] + row.target(k), pending.time, row.weight[k]);
            }
        } else {
            let k = pending.synapse as usize;
            self.arrive(members, self.base[inlet.member] + row.target(k), pending.time, row.weight[k]);
        }
    }

    fn arrive(&mut self, members: &[Member<'_, T>], neuron: usize, time: f64, weight: T) {
        let (m, unit) = self.member(neuron);
        let c = members[m].constants.neuron(unit);
        let cell = &mut self.cells[neuron];
        if cell.hold > cell.time {
            let release = cell.hold.min(time);
            cell.i *= (-(T::of(release - cell.time) * c.inv_syn)).exp_neg();
            cell.time = release;
        }
        if time > cell.time {
            let p = c.propagator(T::of(time - cell.time));
            cell.u = cell.u * p.mem + cell.i * p.kappa;
            cell.i *= p.syn;
            cell.time = time;
        }
        cell.i += weight;
        self.set_bound(members, neuron);
    }
}

/// Puts the arrivals of one spike into the queue.
fn send<T: Real>(inlet: &Inlet<'_, T>, q: usize, unit: usize, time: f64, duration: f64, queue: &mut Queue) {
    let row = inlet.synapses.row(unit);
    match row.delay {
        RowDelay::Shared(d) => {
            let arrival = time + d.f64();
            if arrival < duration {
                queue.push(arrival, q as u32, unit as u32, Pending::WHOLE_ROW);
            }
        }
        RowDelay::ByTarget(_) | RowDelay::BySynapse(_) => {
            for k in 0..row.weight.len() {
                let arrival = time + row.delay_of(k);
                if arrival < duration {
                    queue.push(arrival, q as u32, unit as u32, k as u32);
                }
            }
        }
    }
}

/// Spikes from outside the component, merged by (time, projection, order of the train).
#[derive(Debug)]
struct OutsideSpikes<'a> {
    /// Inlet, its train, and how many of its spikes were sent.
    trains: Vec<(usize, crate::spikes::Train<'a>, usize)>,
    next: Option<usize>,
}

impl<'a> OutsideSpikes<'a> {
    fn new<T>(inlets: &[Inlet<'a, T>]) -> Self {
        let trains = inlets
            .iter()
            .enumerate()
            .filter_map(|(q, inlet)| match inlet.source {
                Source::Outside(train) => Some((q, train, 0)),
                Source::Member(_) => None,
            })
            .collect();
        let mut all = Self { trains, next: None };
        all.find_next();
        all
    }

    fn find_next(&mut self) {
        self.next = None;
        let mut best = f64::INFINITY;
        for (k, (_, train, sent)) in self.trains.iter().enumerate() {
            if let Some(&t) = train.times.get(*sent)
                && t < best
            {
                best = t;
                self.next = Some(k);
            }
        }
    }

    fn next_time(&self) -> f64 {
        self.next.map_or(f64::INFINITY, |k| {
            let (_, train, sent) = &self.trains[k];
            train.times[*sent]
        })
    }

    fn send_next<T: Real>(&mut self, inlets: &[Inlet<'_, T>], duration: f64, queue: &mut Queue) {
        if let Some(k) = self.next {
            let (q, train, sent) = &mut self.trains[k];
            send(&inlets[*q], *q, train.units[*sent] as usize, train.times[*sent], duration, queue);
            *sent += 1;
            self.find_next();
        }
    }
}
