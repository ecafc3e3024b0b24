//! Exact simulation: network, parameters and input spikes in, a [`Record`] out.
//!
//! Populations are played component by component, senders first: a feed-forward population in [`lockstep`], one that
//! hears itself [`eventwise`]. Order at one instant: all threshold crossings, then all arrivals (projections as listed,
//! senders by time and unit). An arrival at the trial's end or later has no effect.
pub mod abreast;
pub mod eventwise;
pub mod late;
pub mod lockstep;
mod order;
mod passes;
pub mod queue;
pub mod readout;
pub mod replay;
pub mod sample;
mod suspects;
pub mod uniform;
pub mod until_fired;
pub mod windows;

use crate::error::{Error, Result};
use crate::math::{Real, Simd};
use crate::network::{Component, Kind, Network, Params};
use crate::neuron::Constants;
use crate::parallel::{self, CancelFlag};
use crate::record::inlets::Inlets;
use crate::record::sample::check_inputs;
use crate::record::{PopulationRecord, ReadoutRequest, ReadoutValues, Record};
use crate::spikes::SpikeBatch;

use sample::Player;

/// One spike as the simulators leave it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spike<T> {
    /// When, ms.
    pub time: f64,
    /// Who.
    pub unit: u32,
    /// Synaptic current at the spike.
    pub current: T,
}

/// What ends a sample early.
#[derive(Debug, Clone, Copy)]
pub struct Limits<'a> {
    /// Trial length, ms.
    pub duration: f64,
    /// Most spikes of one population in one sample.
    pub max_spikes: usize,
    /// Name of the population, for the error.
    pub population: &'a str,
    /// Sample in the batch, for the error.
    pub sample: usize,
    /// Nobody asks what happens after the step in which the last neuron of the population has spiked.
    pub until_fired: bool,
    /// Set from outside to stop.
    pub cancel: &'a CancelFlag,
}

impl Limits<'_> {
    /// Refuses more than `max_spikes`; looks at the cancel flag.
    #[inline(always)]
    pub fn check(&self, count: usize, time: f64) -> Result<()> {
        if count > self.max_spikes {
            let (population, limit) = (self.population.to_owned(), self.max_spikes);
            return Err(Error::Runaway { population, limit, sample: self.sample, time });
        }
        self.look_up()
    }

    /// Stops if the caller asked for it.
    #[inline(always)]
    pub fn look_up(&self) -> Result<()> {
        if self.cancel.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) }
    }
}

/// How the exact simulator runs.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Trial length, ms.
    pub duration: f64,
    /// Most spikes of one population in one sample.
    pub max_spikes: usize,
    /// Play feed-forward populations eventwise too: slower, and an independent check of the lockstep path.
    pub eventwise_only: bool,
    /// A sample ends once every neuron of this population has spiked: later spikes, of any population, are left out.
    pub stop_when_fired: Option<usize>,
    /// Vector width.
    pub simd: Simd,
}

/// Simulates a batch.
pub fn simulate<T: Real>(
    cancel: &CancelFlag,
    network: &Network,
    params: &Params<'_, T>,
    inputs: &[SpikeBatch<'_>],
    requests: &[ReadoutRequest],
    settings: &Settings,
) -> Result<Record<T>> {
    let batch = check_inputs(network, inputs, settings.duration)?;
    for request in requests {
        request.readout.check(settings.duration)?;
        if network.populations()[request.population].kind == Kind::Input {
            return Err(Error::Argument("an input population has no voltage to read".into()));
        }
    }
    if let Some(p) = settings.stop_when_fired {
        until_fired::check(network, p, requests)?;
    }
    let constants = params.all_constants(network);
    let inlets = |c| inlets(network, params, &constants, c, settings);
    let inlets: Vec<_> = network.components().iter().map(inlets).collect();
    let chunks = parallel::map_joined(
        batch,
        cancel,
        || Player::new(network, params, &constants, &inlets, requests, settings, cancel),
        |player, range| player.play(inputs, range),
    )?;
    Ok(assemble(network, batch, settings.duration, requests, chunks))
}

/// The synapses of a component that is played in [`windows`]: one with delays of its neurons' or synapses' own that hears
/// itself, or that many senders reach.
fn inlets<'a, T: Real>(
    network: &'a Network,
    params: &'a Params<'_, T>,
    constants: &[Constants<T>],
    component: &Component,
    settings: &Settings,
) -> Option<Inlets<'a, T>> {
    let mut inlets =
        component.populations.iter().flat_map(|&p| network.incoming(p)).map(|&q| &network.projections()[q]);
    let fan_in: usize = inlets.clone().map(|q| network.populations()[q.pre].size).sum();
    let neurons: usize = component.populations.iter().map(|&p| network.populations()[p].size).sum();
    let lif = component.populations.iter().all(|&p| network.populations()[p].kind == Kind::Lif);
    let own = inlets.any(|q| !q.delay.keeps_order());
    let many = fan_in >= 64 && neurons >= 16;
    if !lif || !own || !(component.recurrent || many) || settings.eventwise_only {
        return None;
    }
    Inlets::new(settings.simd, network, params, constants, component, settings.duration)
}

/// Part of a record: the samples of one chunk.
#[derive(Debug, Clone)]
pub struct Chunk<T> {
    /// By population; offsets relative to the chunk.
    pub populations: Vec<PopulationRecord<T>>,
    /// By readout.
    pub readouts: Vec<ReadoutValues<T>>,
}

impl<T: Real> PopulationRecord<T> {
    /// Appends spikes to the last sample.
    pub fn extend(&mut self, spikes: &[Spike<T>]) {
        self.times.extend(spikes.iter().map(|s| s.time));
        self.units.extend(spikes.iter().map(|s| s.unit));
        self.current.extend(spikes.iter().map(|s| s.current));
    }
}

/// Joins chunks in order.
pub fn assemble<T: Real>(
    network: &Network,
    batch: usize,
    duration: f64,
    requests: &[ReadoutRequest],
    mut chunks: Vec<Chunk<T>>,
) -> Record<T> {
    if chunks.len() == 1
        && let Some(Chunk { populations, readouts }) = chunks.pop()
    {
        return Record { batch, duration, populations, requests: requests.to_vec(), readouts };
    }
    let spikes = |p: usize| chunks.iter().map(|chunk| chunk.populations[p].times.len()).sum();
    let mut populations: Vec<_> =
        (0..network.populations().len()).map(|p| PopulationRecord::with_room(batch, spikes(p))).collect();
    let mut readouts = vec![ReadoutValues::default(); requests.len()];
    for chunk in chunks {
        for (all, part) in populations.iter_mut().zip(chunk.populations) {
            let base = all.times.len() as i64;
            all.offsets.extend(part.offsets[1..].iter().map(|o| o + base));
            all.times.extend_from_slice(&part.times);
            all.units.extend_from_slice(&part.units);
            all.current.extend_from_slice(&part.current);
            all.release.extend_from_slice(&part.release);
        }
        for (all, part) in readouts.iter_mut().zip(chunk.readouts) {
            all.values.extend_from_slice(&part.values);
            all.peaks.extend_from_slice(&part.peaks);
        }
    }
    Record { batch, duration, populations, requests: requests.to_vec(), readouts }
}
