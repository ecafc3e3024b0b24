//! One worker's player: samples in, a chunk of the record out.
use super::abreast::{self, Abreast};
use super::eventwise::{Eventwise, Inlet, Member, Source};
use super::lockstep::Lockstep;
use super::readout::View;
use super::replay::currents_at;
use super::until_fired::{Fired, Turns};
use super::windows::{self, Windows};
use super::{Chunk, Limits, Settings, Spike};
use crate::error::Result;
use crate::math::Real;
use crate::network::{Component, Kind, Network, Params};
use crate::neuron::Constants;
use crate::parallel::CancelFlag;
use crate::record::arrivals::Sorted;
use crate::record::inlets::Inlets;
use crate::record::sample::{afferents, afferents_of, releases, train, trains};
use crate::record::spans::Spans;
use crate::record::{PopulationRecord, ReadoutRequest, ReadoutValues};
use crate::spikes::{SpikeBatch, Train};

/// Plays samples one after the other, reusing its storage.
#[derive(Debug)]
pub struct Player<'a, T: Real> {
    network: &'a Network,
    params: &'a Params<'a, T>,
    constants: &'a [Constants<T>],
    /// By component: its synapses, where it is played in windows.
    inlets: &'a [Option<Inlets<'a, T>>],
    requests: &'a [ReadoutRequest],
    settings: &'a Settings,
    cancel: &'a CancelFlag,
    lockstep: Lockstep<T>,
    abreast: Abreast<T>,
    eventwise: Eventwise<T>,
    windows: Windows<T>,
    turns: Option<Turns<T>>,
    fired: Fired,
    spans: Spans<T>,
    sorted: Sorted<T>,
    scratch: Vec<Vec<Spike<T>>>,
    /// Spikes of the last chunk, by population: room for those of the next.
    expected: Vec<usize>,
}

impl<'a, T: Real> Player<'a, T> {
    /// A player with empty storage.
    pub fn new(
        network: &'a Network,
        params: &'a Params<'a, T>,
        constants: &'a [Constants<T>],
        inlets: &'a [Option<Inlets<'a, T>>],
        requests: &'a [ReadoutRequest],
        settings: &'a Settings,
        cancel: &'a CancelFlag,
    ) -> Self {
        Self {
            network,
            params,
            constants,
            inlets,
            requests,
            settings,
            cancel,
            lockstep: Lockstep::default(),
            abreast: Abreast::default(),
            eventwise: Eventwise::default(),
            windows: Windows::default(),
            turns: Turns::new(network, constants, settings),
            fired: Fired::default(),
            spans: Spans::default(),
            sorted: Sorted::default(),
            scratch: vec![Vec::new(); network.populations().len()],
            expected: vec![0; network.populations().len()],
        }
    }

    /// Plays the samples of `range`.
    pub fn play(&mut self, inputs: &[SpikeBatch<'_>], range: std::ops::Range<usize>) -> Result<Chunk<T>> {
        let room = |&n: &usize| PopulationRecord::with_room(range.len(), n + n / 4);
        let mut chunk = Chunk {
            populations: self.expected.iter().map(room).collect(),
            readouts: vec![ReadoutValues::default(); self.requests.len()],
        };
        let first = range.start;
        for sample in range {
            self.cancel.check()?;
            let at = (sample, sample - first);
            if let Some(mut turns) = self.turns.take() {
                let Self { network, params, constants, settings, .. } = *self;
                let limits = |p| self.limits(p, sample);
                let played = turns.play(network, params, constants, settings, limits, inputs, at, &mut chunk);
                self.turns = Some(turns);
                played?;
            } else {
                self.components(inputs, at, &mut chunk)?;
            }
            if let Some(p) = self.settings.stop_when_fired {
                self.fired.cut(self.network.populations()[p].size, p, sample - first, &mut chunk);
            }
            self.readouts(inputs, sample, sample - first, &mut chunk);
        }
        for (expected, population) in self.expected.iter_mut().zip(&chunk.populations) {
            *expected = population.times.len();
        }
        Ok(chunk)
    }

    /// Plays one sample, population by population.
    fn components(
        &mut self,
        inputs: &[SpikeBatch<'_>],
        (sample, local): (usize, usize),
        chunk: &mut Chunk<T>,
    ) -> Result<()> {
        for (component, inlets) in self.network.components().iter().zip(self.inlets) {
            self.component(component, inlets.as_ref(), inputs, sample, local, chunk)?;
        }
        Ok(())
    }

    fn limits(&self, p: usize, sample: usize) -> Limits<'a> {
        Limits {
            duration: self.settings.duration,
            max_spikes: self.settings.max_spikes,
            population: &self.network.populations()[p].name,
            sample,
            until_fired: self.settings.stop_when_fired == Some(p),
            cancel: self.cancel,
        }
    }

    fn component(
        &mut self,
        component: &Component,
        inlets: Option<&Inlets<'a, T>>,
        inputs: &[SpikeBatch<'_>],
        sample: usize,
        local: usize,
        chunk: &mut Chunk<T>,
    ) -> Result<()> {
        let (network, params) = (self.network, self.params);
        let spiking = component.populations.iter().any(|&p| network.populations()[p].kind == Kind::Lif);
        if spiking {
            let found = &chunk.populations;
            let trains = || trains(network, inputs, sample, found, local);
            for &p in &component.populations {
                self.scratch[p].clear();
            }
            if let Some(inlets) = inlets {
                self.play_windows(component, inlets, &trains(), sample)?;
            } else if component.recurrent || self.settings.eventwise_only {
                self.play_recurrent(component, &trains(), sample)?;
            } else {
                let p = component.populations[0];
                let train = |pre| train(network, inputs, sample, found, local, pre);
                let afferents = afferents_of(network, params, p, train);
                let limits = self.limits(p, sample);
                let Self { lockstep, scratch, constants, settings, .. } = self;
                lockstep.run(settings.simd, &constants[p], &afferents, &limits, &mut scratch[p])?;
            }
        }
        for &p in &component.populations {
            let record = &mut chunk.populations[p];
            let spikes = &self.scratch[p];
            record.extend(spikes);
            record.offsets.push(record.times.len() as i64);
        }
        if component.populations.iter().any(|&p| self.constants[p].holds) {
            for &p in component.populations.iter().filter(|&&p| self.constants[p].holds) {
                let trains = trains(network, inputs, sample, &chunk.populations, local);
                let afferents = afferents(network, params, p, &trains);
                let at = releases(&self.constants[p], trains[p]);
                let release =
                    currents_at(&self.constants[p], &afferents, &at, self.settings.duration, &mut self.sorted);
                chunk.populations[p].release.extend(release);
            }
        }
        Ok(())
    }

    fn play_recurrent(&mut self, component: &Component, trains: &[Train<'_>], sample: usize) -> Result<()> {
        let (network, params) = (self.network, self.params);
        let populations = &component.populations;
        let member = |p: usize| populations.iter().position(|&m| m == p);
        let members = self.members(populations);
        let limits: Vec<_> = populations.iter().map(|&p| self.limits(p, sample)).collect();
        let mut inlets = Vec::new();
        for (q, projection) in network.projections().iter().enumerate() {
            let Some(to) = member(projection.post) else { continue };
            let source = match member(projection.pre) {
                Some(from) => Source::Member(from),
                None => Source::Outside(trains[projection.pre]),
            };
            inlets.push(Inlet { member: to, source, synapses: params.synapses(network, q) });
        }
        let mut out: Vec<_> = populations.iter().map(|&p| std::mem::take(&mut self.scratch[p])).collect();
        let result = if !self.settings.eventwise_only && abreast::fits(&inlets) {
            self.abreast.run(self.settings.simd, &members, &inlets, &limits, &mut out)
        } else {
            self.eventwise.run(&members, &inlets, &limits, &mut out)
        };
        for (&p, spikes) in populations.iter().zip(out) {
            self.scratch[p] = spikes;
        }
        result
    }

    fn play_windows(
        &mut self,
        component: &Component,
        inlets: &Inlets<'_, T>,
        trains: &[Train<'_>],
        sample: usize,
    ) -> Result<()> {
        let populations = &component.populations;
        let source = |p: usize| match populations.iter().position(|&m| m == p) {
            Some(member) => Source::Member(member),
            None => Source::Outside(trains[p]),
        };
        let sources: Vec<_> = inlets.all.iter().map(|inlet| source(inlet.pre)).collect();
        let members = self.members(populations);
        let limits: Vec<_> = populations.iter().map(|&p| self.limits(p, sample)).collect();
        let play =
            windows::Play { simd: self.settings.simd, members: &members, inlets, sources: &sources, limits: &limits };
        let mut out: Vec<_> = populations.iter().map(|&p| std::mem::take(&mut self.scratch[p])).collect();
        let result = self.windows.run(&play, &mut out);
        for (&p, spikes) in populations.iter().zip(out) {
            self.scratch[p] = spikes;
        }
        result
    }

    fn members(&self, populations: &[usize]) -> Vec<Member<'a, T>> {
        let network = self.network;
        let member = |&p: &usize| Member { constants: &self.constants[p], name: &network.populations()[p].name };
        populations.iter().map(member).collect()
    }

    fn readouts(&mut self, inputs: &[SpikeBatch<'_>], sample: usize, local: usize, chunk: &mut Chunk<T>) {
        for (k, request) in self.requests.iter().enumerate() {
            let p = request.population;
            let trains = trains(self.network, inputs, sample, &chunk.populations, local);
            let afferents = afferents(self.network, self.params, p, &trains);
            let constants = &self.constants[p];
            let record = &chunk.populations[p];
            let range = record.range(local);
            let release = if record.release.is_empty() { &[][..] } else { &record.release[range.clone()] };
            let (duration, simd) = (self.settings.duration, self.settings.simd);
            self.spans.fill(constants, trains[p], &record.current[range], release, duration);
            let view = View { constants, spans: &self.spans, afferents: &afferents, duration, simd };
            let values = &mut chunk.readouts[k];
            view.read(&request.readout, &mut self.sorted, &mut values.values, &mut values.peaks);
        }
    }
}
