//! Samples that end early: as soon as every neuron of one population has spiked once.
//!
//! ```text
//! T* = max over its neurons of the first spike time;   a spike at t is kept if t <= T*   (all, where a neuron is silent)
//! ```
//!
//! A loss of the first spikes of that population feels no later event: values and gradients stay what they are.
//!
//! Where all populations are [`Uniform`], they take turns, a stretch of time each, until the last neuron has spiked; no
//! step is cut in two, so the spikes have the same bits as those of a whole trial. All other networks are played to the
//! end of the trial, and what came too late is left out.
use super::uniform::Uniform;
use super::{Chunk, Limits, Settings, Spike};
use crate::error::{Error, Result};
use crate::math::Real;
use crate::network::{Kind, Network, Params};
use crate::neuron::Constants;
use crate::record::ReadoutRequest;
use crate::record::sample::{afferents, trains};
use crate::spikes::SpikeBatch;

/// A trial is played in at most about this many turns.
const TURNS: usize = 16;

/// Refuses what makes no sense.
pub fn check(network: &Network, p: usize, requests: &[ReadoutRequest]) -> Result<()> {
    let refuse = |why: String| Err(Error::Argument(format!("a sample can't end with the spikes of {why}")));
    match network.populations().get(p) {
        None => refuse(format!("population {p}: there are {}", network.populations().len())),
        Some(population) if population.kind != Kind::Lif => {
            refuse(format!("'{}': only leaky integrate-and-fire neurons spike", population.name))
        }
        Some(population) if !requests.is_empty() => refuse(format!(
            "'{}' while voltages are read: they would not be known up to the end of the trial",
            population.name
        )),
        Some(_) => Ok(()),
    }
}

/// When each neuron of a population has spiked, in the last sample of a chunk.
#[derive(Debug, Clone, Default)]
pub struct Fired {
    seen: Vec<bool>,
}

impl Fired {
    /// `T*` of the spikes `(times, units)` of `n` neurons, sorted by time; `None` while one is silent.
    pub fn all_by(&mut self, n: usize, times: &[f64], units: &[u32]) -> Option<f64> {
        self.seen.clear();
        self.seen.resize(n, false);
        let mut missing = n;
        for (&t, &unit) in times.iter().zip(units) {
            if !std::mem::replace(&mut self.seen[unit as usize], true) {
                missing -= 1;
                if missing == 0 {
                    return Some(t);
                }
            }
        }
        None
    }

    /// Ends the sample `local` of a chunk, its last so far, with the first spikes of population `p`.
    pub fn cut<T: Real>(&mut self, n: usize, p: usize, local: usize, chunk: &mut Chunk<T>) {
        let train = chunk.populations[p].train(local);
        let Some(end) = self.all_by(n, train.times, train.units) else { return };
        for population in &mut chunk.populations {
            let range = population.range(local);
            let keep = range.start + population.times[range].partition_point(|&t| t <= end);
            population.times.truncate(keep);
            population.units.truncate(keep);
            population.current.truncate(keep);
            population.release.truncate(keep);
            population.offsets[local + 1] = keep as i64;
        }
    }
}

/// Populations that take turns.
#[derive(Debug, Clone)]
pub struct Turns<T> {
    /// The population whose spikes end the sample.
    stop: usize,
    /// By population (idle for those that don't spike).
    players: Vec<Uniform<T>>,
    spikes: Vec<Vec<Spike<T>>>,
    /// How many of the spikes are in the chunk.
    done: Vec<usize>,
    /// Where turns end, ms.
    ends: Vec<f64>,
    fired: Fired,
}

impl<T: Real> Turns<T> {
    /// `None` where the network has to be played population by population.
    pub fn new(network: &Network, constants: &[Constants<T>], settings: &Settings) -> Option<Self> {
        let stop = settings.stop_when_fired.filter(|_| !settings.eventwise_only)?;
        let spiking = |p: usize| network.populations()[p].kind == Kind::Lif;
        let ordered = |p: usize| network.incoming(p).iter().all(|&q| network.projections()[q].delay.keeps_order());
        let plain = network.components().iter().all(|component| {
            let uniform = |&p: &usize| !spiking(p) || (Uniform::fits(&constants[p]) && ordered(p));
            !component.recurrent && component.populations.iter().all(uniform)
        });
        let n = network.populations().len();
        plain.then(|| Self {
            stop,
            players: vec![Uniform::default(); n],
            spikes: vec![Vec::new(); n],
            done: vec![0; n],
            ends: Vec::new(),
            fired: Fired::default(),
        })
    }

    /// Plays sample `local` of the chunk; `limits` are those of a population.
    #[allow(clippy::too_many_arguments)]
    pub fn play<'a>(
        &mut self,
        network: &'a Network,
        params: &'a Params<'a, T>,
        constants: &[Constants<T>],
        settings: &Settings,
        limits: impl Fn(usize) -> Limits<'a>,
        inputs: &[SpikeBatch<'_>],
        (sample, local): (usize, usize),
        chunk: &mut Chunk<T>,
    ) -> Result<()> {
        for (p, record) in chunk.populations.iter_mut().enumerate() {
            record.offsets.push(record.times.len() as i64);
            self.players[p].begin(&constants[p], network.incoming(p).len());
            self.spikes[p].clear();
            self.done[p] = 0;
        }
        self.plan(inputs, sample);
        let order = network.components().iter().flat_map(|component| component.populations.iter().copied());
        let spiking = |p: &usize| network.populations()[*p].kind == Kind::Lif;
        for k in 0..self.ends.len() {
            let end = self.ends[k];
            for p in order.clone().filter(spiking) {
                let known = |&q: &usize| network.projections()[q].pre;
                let known = network.incoming(p).iter().map(known).filter(spiking);
                let known = known.map(|pre| self.players[pre].now()).fold(f64::INFINITY, f64::min);
                let known = if end == f64::INFINITY { end } else { known };
                let trains = trains(network, inputs, sample, &chunk.populations, local);
                let afferents = afferents(network, params, p, &trains);
                let out = &mut self.spikes[p];
                self.players[p].go_on(settings.simd, &constants[p], &afferents, (end, known), &limits(p), out)?;
                self.hand_over(p, end == f64::INFINITY, local, chunk);
            }
            let train = chunk.populations[self.stop].train(local);
            let n = network.populations()[self.stop].size;
            if let Some(last) = self.fired.all_by(n, train.times, train.units)
                && order.clone().filter(spiking).all(|p| self.players[p].now() > last)
            {
                break;
            }
        }
        Ok(())
    }

    /// Turns end with input spikes, the last one with the trial.
    fn plan(&mut self, inputs: &[SpikeBatch<'_>], sample: usize) {
        self.ends.clear();
        for input in inputs {
            let times = input.sample(sample).times;
            self.ends.extend(times.iter().step_by(times.len().div_ceil(TURNS).max(1)).filter(|&&t| t > 0.0));
        }
        self.ends.sort_unstable_by(f64::total_cmp);
        self.ends.dedup();
        self.ends.push(f64::INFINITY);
    }

    /// Puts the spikes of population `p` that are complete into the chunk: in the last turn all, else those before its
    /// `now` (another one may be found at that very time).
    fn hand_over(&mut self, p: usize, all: bool, local: usize, chunk: &mut Chunk<T>) {
        let new = &mut self.spikes[p][self.done[p]..];
        let before = |a: &Spike<T>, b: &Spike<T>| (a.time, a.unit) <= (b.time, b.unit);
        if !new.is_sorted_by(before) {
            new.sort_unstable_by(|a, b| a.time.total_cmp(&b.time).then(a.unit.cmp(&b.unit)));
        }
        let now = self.players[p].now();
        let count = if all { new.len() } else { new.partition_point(|spike| spike.time < now) };
        let record = &mut chunk.populations[p];
        record.extend(&new[..count]);
        record.offsets[local + 1] = record.times.len() as i64;
        self.done[p] += count;
    }
}
