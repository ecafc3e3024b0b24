//! Populations that reach one another, event by event: spikes are shaken as they set out.
//!
//! As in the exact engine, all crossings of an instant come before all arrivals of it. A spike that jitter would send
//! out before its own crossing sets out at the crossing: no neuron may hear of what has not happened yet.
use super::cell::{Cell, Rails};
use super::noise::{Noise, Of};
use crate::error::Result;
use crate::neuron::constants::Neuron;
use crate::projection::Synapses;
use crate::simulate::queue::{Pending, Queue, Tournament};
use crate::simulate::{Limits, Spike};

/// A neuron of the component: where it lives, its constants in this trial, its rails.
#[derive(Debug, Clone, Copy)]
pub struct Circuit {
    /// Member of the component.
    pub member: usize,
    /// Unit of its population.
    pub unit: usize,
    /// Constants with this trial's threshold.
    pub constants: Neuron<f64>,
    /// Range of its membrane.
    pub rails: Rails,
}

/// A projection onto a member.
#[derive(Debug, Clone, Copy)]
pub struct Inlet<'a> {
    /// Index of the projection in the network.
    pub projection: usize,
    /// First circuit of the receiving member.
    pub base: usize,
    /// The sending member; `None`: from outside, its events are given.
    pub sender: Option<usize>,
    /// Weights and delays.
    pub synapses: Synapses<'a, f64>,
}

/// Jitter of spikes and of delays, ms.
#[derive(Debug, Clone, Copy)]
pub struct Jitter {
    /// Where draws come from.
    pub noise: Noise,
    /// Sample in the batch.
    pub sample: usize,
    /// Of each spike.
    pub spike: f64,
    /// Of each delayed event.
    pub delay: f64,
}

impl Jitter {
    /// When spike `k` of a unit that crosses at `time` sets out.
    pub fn spike(&self, time: f64, population: usize, unit: usize, k: usize) -> f64 {
        if self.spike == 0.0 {
            return time;
        }
        time + self.spike * self.noise.normal(Of::Spike, self.sample, population, unit, k)
    }

    /// What is added to the delays of event `k` of a unit.
    pub fn delay(&self, projection: usize, unit: usize, k: usize) -> f64 {
        if self.delay == 0.0 {
            return 0.0;
        }
        self.delay * self.noise.normal(Of::Delay, self.sample, projection, unit, k)
    }
}

/// One trial of a component.
#[derive(Debug)]
pub struct Coupled<'a> {
    circuits: &'a [Circuit],
    inlets: &'a [Inlet<'a>],
    /// Index of each member's population in the network.
    populations: &'a [usize],
    jitter: Jitter,
    duration: f64,
    cells: Vec<Cell>,
    /// Where the next crossing of each neuron leaves it.
    ahead: Vec<Cell>,
    fired: Vec<usize>,
    queue: Queue,
    keys: Tournament,
    /// Spikes that jitter would have sent out too early.
    pub early: u64,
}

impl<'a> Coupled<'a> {
    /// At rest.
    pub fn new(
        circuits: &'a [Circuit],
        inlets: &'a [Inlet<'a>],
        populations: &'a [usize],
        jitter: Jitter,
        duration: f64,
    ) -> Self {
        let cells: Vec<_> = circuits.iter().map(|c| Cell::new(&c.constants, c.rails)).collect();
        let mut keys = Tournament::default();
        keys.reset(cells.len());
        let (ahead, fired, queue) = (cells.clone(), vec![0; cells.len()], Queue::default());
        let mut new =
            Self { circuits, inlets, populations, jitter, duration, cells, ahead, fired, queue, keys, early: 0 };
        for k in 0..circuits.len() {
            new.look_ahead(k);
        }
        new
    }

    /// Event `k` of a unit sets out at `time`.
    pub fn send(&mut self, inlet: usize, unit: usize, time: f64, k: usize, now: f64) {
        let Inlet { projection, synapses, .. } = self.inlets[inlet];
        let row = synapses.row(unit);
        let shaken = time + if synapses.delay.is_empty() { 0.0 } else { self.jitter.delay(projection, unit, k) };
        for s in 0..row.weight.len() {
            let arrival = (shaken + row.delay_of(s)).max(now);
            if arrival < self.duration {
                self.queue.push(arrival, inlet as u32, unit as u32, s as u32);
            }
        }
    }

    /// Plays to the end. `spikes[m]` receives the crossings of member `m` and `events[m]` when they set out, alike in
    /// order; `seen(k, circuit, u)` is told the membrane of every circuit at `times[k]`.
    pub fn run(
        &mut self,
        limits: &[Limits<'_>],
        times: &[f64],
        spikes: &mut [Vec<Spike<f64>>],
        events: &mut [Vec<f64>],
        mut seen: impl FnMut(usize, usize, f64),
    ) -> Result<()> {
        let mut next_sample = 0;
        loop {
            let arrival = self.queue.next_time();
            let sample = times.get(next_sample).copied().unwrap_or(f64::INFINITY);
            let (neuron, crossing) = self.keys.min();
            if crossing <= arrival.min(sample) && crossing <= self.duration {
                self.fire(neuron, limits, spikes, events)?;
            } else if sample <= arrival && sample <= self.duration {
                for (k, circuit) in self.circuits.iter().enumerate() {
                    let mut there = self.cells[k];
                    there.advance(&circuit.constants, circuit.rails, sample);
                    seen(next_sample, k, there.u);
                }
                next_sample += 1;
            } else if let Some(pending) = self.queue.next() {
                self.deliver(pending);
            } else {
                return Ok(());
            }
        }
    }

    fn deliver(&mut self, pending: Pending) {
        let inlet = &self.inlets[pending.projection as usize];
        let row = inlet.synapses.row(pending.sender as usize);
        let s = pending.synapse as usize;
        let k = inlet.base + row.target(s);
        let circuit = &self.circuits[k];
        let mut there = self.cells[k];
        if there.advance(&circuit.constants, circuit.rails, pending.time) {
            // A crossing so flat that only the shorter span shows it: it comes first.
            self.ahead[k] = there;
            self.keys.set(k, there.time);
            return;
        }
        there.i += row.weight[s];
        self.cells[k] = there;
        self.queue.pop();
        self.look_ahead(k);
    }

    /// Sets the key of a neuron: when it crosses next, if nothing arrives before.
    fn look_ahead(&mut self, k: usize) {
        let circuit = &self.circuits[k];
        self.ahead[k] = self.cells[k];
        let crosses = self.ahead[k].advance(&circuit.constants, circuit.rails, self.duration);
        self.keys.set(k, if crosses { self.ahead[k].time } else { f64::INFINITY });
    }

    fn fire(
        &mut self,
        k: usize,
        limits: &[Limits<'_>],
        spikes: &mut [Vec<Spike<f64>>],
        events: &mut [Vec<f64>],
    ) -> Result<()> {
        let circuit = &self.circuits[k];
        self.cells[k] = self.ahead[k];
        let Cell { time, i, .. } = self.cells[k];
        self.cells[k].fire(&circuit.constants, circuit.rails);
        let (m, unit, count) = (circuit.member, circuit.unit, self.fired[k]);
        self.fired[k] += 1;
        let mut out = self.jitter.spike(time, self.populations[m], unit, count);
        if out < time {
            self.early += 1;
            out = time;
        }
        spikes[m].push(Spike { time, unit: unit as u32, current: i });
        events[m].push(out);
        limits[m].check(spikes[m].len(), time)?;
        self.look_ahead(k);
        for inlet in 0..self.inlets.len() {
            if self.inlets[inlet].sender == Some(m) {
                self.send(inlet, unit, out, count, time);
            }
        }
        Ok(())
    }
}
