//! One trial: input link, circuits, jitter, output link, converter.
use super::adc;
use super::cell::{Cell, Rails};
use super::coupled::{Circuit, Coupled, Inlet, Jitter};
use super::link::Traffic;
use super::noise::{Noise, Of};
use super::{Chip, Counts};
use crate::error::Result;
use crate::math::Simd;
use crate::network::{Component, Kind};
use crate::neuron::constants::Neuron;
use crate::parallel::CancelFlag;
use crate::record::arrivals::{Afferent, Arrival, Sorted};
use crate::record::sample::releases;
use crate::record::spans::Spans;
use crate::record::{PopulationRecord, Readout, ReadoutValues};
use crate::simulate::readout::View;
use crate::simulate::replay::currents_at;
use crate::simulate::{Chunk, Limits, Spike};
use crate::spikes::{SpikeBatch, Train};

/// Events of one population in one trial, by time.
#[derive(Debug, Clone, Default)]
struct Events {
    times: Vec<f64>,
    units: Vec<u32>,
}

impl Events {
    fn train(&self) -> Train<'_> {
        Train { times: &self.times, units: &self.units }
    }

    fn fill(&mut self, events: impl Iterator<Item = (f64, u32)>) {
        self.times.clear();
        self.units.clear();
        for (time, unit) in events {
            self.times.push(time);
            self.units.push(unit);
        }
    }
}

/// Plays trials one after the other, reusing its storage.
#[derive(Debug)]
pub struct Player<'a> {
    chip: &'a Chip<'a>,
    cancel: &'a CancelFlag,
    noise: Noise,
    /// By population: what its senders' targets hear.
    events: Vec<Events>,
    /// By projection: the same with the jitter of its delays.
    delayed: Vec<Events>,
    /// By population: crossings, by (time, unit).
    spikes: Vec<Vec<Spike<f64>>>,
    /// By population: the membrane at each conversion, where it is read.
    samples: Vec<Vec<f64>>,
    conversions: Vec<f64>,
    sorted: Sorted<f64>,
    order: Vec<(f64, u32, u32)>,
    counts: Counts,
}

impl<'a> Player<'a> {
    /// A player with empty storage.
    pub fn new(chip: &'a Chip<'a>, cancel: &'a CancelFlag) -> Self {
        let (populations, projections) = (chip.network.populations().len(), chip.network.projections().len());
        Self {
            chip,
            cancel,
            noise: Noise::new(chip.settings.noise_key),
            events: vec![Events::default(); populations],
            delayed: vec![Events::default(); projections],
            spikes: vec![Vec::new(); populations],
            samples: vec![Vec::new(); populations],
            conversions: chip.settings.adc.map_or_else(Vec::new, |adc| adc.times(chip.settings.duration)),
            sorted: Sorted::default(),
            order: Vec::new(),
            counts: Counts::default(),
        }
    }

    /// Plays the samples of `range`: what the host observes, and the counts.
    pub fn play(&mut self, inputs: &[SpikeBatch<'_>], range: std::ops::Range<usize>) -> Result<(Chunk<f64>, Counts)> {
        let n = self.chip.network.populations().len();
        let mut chunk = Chunk {
            populations: vec![PopulationRecord::with_room(range.len(), 0); n],
            readouts: vec![ReadoutValues::default(); self.chip.requests.len()],
        };
        self.counts = Counts::default();
        for sample in range {
            self.cancel.check()?;
            self.send_inputs(inputs, sample);
            for component in self.chip.network.components() {
                if component.recurrent {
                    self.coupled(component, sample)?;
                } else if self.chip.network.populations()[component.populations[0]].kind != Kind::Input {
                    self.alone(component.populations[0], sample)?;
                }
            }
            self.observe(&mut chunk);
            self.readouts(&mut chunk);
        }
        Ok((chunk, self.counts))
    }

    /// The input link: all input events of the trial one after the other.
    fn send_inputs(&mut self, inputs: &[SpikeBatch<'_>], sample: usize) {
        let populations = self.chip.network.populations();
        let inlets = (0..populations.len()).filter(|&p| populations[p].kind == Kind::Input);
        self.order.clear();
        for (p, input) in inlets.clone().zip(inputs) {
            let train = input.sample(sample);
            self.order.extend(train.times.iter().zip(train.units).map(|(&t, &u)| (t, p as u32, u)));
        }
        self.order.sort_by(|a, b| a.0.total_cmp(&b.0).then((a.1, a.2).cmp(&(b.1, b.2))));
        for p in inlets {
            self.events[p].fill(std::iter::empty());
        }
        let settings = self.chip.settings;
        let mut passing = settings.input_link.start();
        for &(t, p, unit) in &self.order {
            let packets = settings.packets[p as usize];
            if let Some(out) = passing.pass(t, packets, &mut self.counts.input) {
                self.events[p as usize].times.push(out);
                self.events[p as usize].units.push(unit);
            }
        }
    }

    /// Events on the way through the delays of projection `q`.
    fn delay(&mut self, q: usize, sample: usize) {
        let projection = &self.chip.network.projections()[q];
        let events = &self.events[projection.pre];
        let jitter = self.jitter(sample);
        let synapses = self.chip.effective.synapses(self.chip.network, q);
        let shaken = |(k, (&t, &u)): (usize, (&f64, &u32))| {
            let late = if synapses.delay.is_empty() { 0.0 } else { jitter.delay(q, u as usize, k) };
            (t + late, u)
        };
        self.delayed[q].fill(events.times.iter().zip(&events.units).enumerate().map(shaken));
    }

    fn jitter(&self, sample: usize) -> Jitter {
        let settings = self.chip.settings;
        Jitter { noise: self.noise, sample, spike: settings.spike_jitter, delay: settings.delay_jitter }
    }

    fn limits(&self, p: usize, sample: usize) -> Limits<'a> {
        let settings = self.chip.settings;
        Limits {
            duration: settings.duration,
            max_spikes: settings.max_spikes,
            population: &self.chip.network.populations()[p].name,
            sample,
            until_fired: false,
            cancel: self.cancel,
        }
    }

    /// A neuron with this trial's threshold, and the range of its membrane.
    fn circuit(&self, p: usize, unit: usize, sample: usize) -> (Neuron<f64>, Rails) {
        let mut c = *self.chip.constants[p].neuron(unit);
        let sigma = self.chip.settings.threshold_noise[p].get(unit).copied().unwrap_or(0.0);
        if sigma > 0.0 {
            c.theta += sigma * self.noise.normal(Of::Threshold, sample, p, unit, 0);
        }
        let (low, high) = self.chip.settings.membrane.unwrap_or((f64::NEG_INFINITY, f64::INFINITY));
        (c, Rails { low: low - c.bias, high: high - c.bias })
    }

    fn is_read(&self, p: usize) -> bool {
        self.chip.requests.iter().any(|r| r.population == p)
    }

    /// A population that does not hear itself: each circuit runs through its own arrivals.
    fn alone(&mut self, p: usize, sample: usize) -> Result<()> {
        let (network, effective) = (self.chip.network, self.chip.effective);
        for &q in network.incoming(p) {
            self.delay(q, sample);
        }
        let n = network.populations()[p].size;
        let duration = self.chip.settings.duration;
        let afferent =
            |&q: &usize| Afferent { synapses: effective.synapses(network, q), train: self.delayed[q].train() };
        let afferents: Vec<_> = network.incoming(p).iter().map(afferent).collect();
        self.sorted.fill(&afferents, 0, n, duration);
        let limits = self.limits(p, sample);
        let conversions = if self.is_read(p) { &self.conversions[..] } else { &[] };
        let mut spikes = std::mem::take(&mut self.spikes[p]);
        let mut samples = std::mem::take(&mut self.samples[p]);
        spikes.clear();
        samples.clear();
        samples.resize(conversions.len() * n, 0.0);
        for unit in 0..n {
            let (c, rails) = self.circuit(p, unit, sample);
            let spike = |time: f64, current: f64| {
                spikes.push(Spike { time, unit: unit as u32, current });
                limits.check(spikes.len(), time)
            };
            let seen = |k: usize, u: f64| samples[k * n + unit] = u + c.bias;
            walk(&c, rails, self.sorted.of(unit), conversions, duration, spike, seen)?;
        }
        // Unit by unit so far, each unit's own in time: so the count of equals is that of its spikes.
        let jitter = self.jitter(sample);
        self.order.clear();
        let mut k = 0;
        for (at, s) in spikes.iter().enumerate() {
            k = if at > 0 && spikes[at - 1].unit == s.unit { k + 1 } else { 0 };
            let out = jitter.spike(s.time, p, s.unit as usize, k);
            self.counts.early += u64::from(out < 0.0);
            self.order.push((out.max(0.0), s.unit, 0));
        }
        self.order.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        self.events[p].fill(self.order.iter().map(|&(t, u, _)| (t, u)));
        spikes.sort_by(|a, b| a.time.total_cmp(&b.time).then(a.unit.cmp(&b.unit)));
        self.spikes[p] = spikes;
        self.samples[p] = samples;
        Ok(())
    }

    /// Populations that reach one another.
    fn coupled(&mut self, component: &Component, sample: usize) -> Result<()> {
        let (network, effective) = (self.chip.network, self.chip.effective);
        let members = &component.populations;
        let mut circuits = Vec::new();
        let mut base = Vec::new();
        for (member, &p) in members.iter().enumerate() {
            base.push(circuits.len());
            for unit in 0..network.populations()[p].size {
                let (constants, rails) = self.circuit(p, unit, sample);
                circuits.push(Circuit { member, unit, constants, rails });
            }
        }
        let place = |p: usize| members.iter().position(|&m| m == p);
        let mut inlets = Vec::new();
        for (q, projection) in network.projections().iter().enumerate() {
            if let Some(to) = place(projection.post) {
                let (sender, synapses) = (place(projection.pre), effective.synapses(network, q));
                inlets.push(Inlet { projection: q, base: base[to], sender, synapses });
            }
        }
        let duration = self.chip.settings.duration;
        let mut component = Coupled::new(&circuits, &inlets, members, self.jitter(sample), duration);
        for (k, inlet) in inlets.iter().enumerate() {
            if inlet.sender.is_none() {
                let events = &self.events[network.projections()[inlet.projection].pre];
                for (nth, (&t, &u)) in events.times.iter().zip(&events.units).enumerate() {
                    component.send(k, u as usize, t, nth, 0.0);
                }
            }
        }
        let limits: Vec<_> = members.iter().map(|&p| self.limits(p, sample)).collect();
        let mut spikes = vec![Vec::new(); members.len()];
        let mut events = vec![Vec::new(); members.len()];
        let read: Vec<bool> = members.iter().map(|&p| self.is_read(p)).collect();
        let conversions = if read.contains(&true) { &self.conversions[..] } else { &[] };
        for (&p, read) in members.iter().zip(&read) {
            let n = network.populations()[p].size;
            self.samples[p].clear();
            self.samples[p].resize(if *read { conversions.len() * n } else { 0 }, 0.0);
        }
        let samples = &mut self.samples;
        component.run(&limits, conversions, &mut spikes, &mut events, |k, circuit, u| {
            let Circuit { member, unit, constants, .. } = &circuits[circuit];
            if read[*member] {
                let p = members[*member];
                samples[p][k * network.populations()[p].size + unit] = u + constants.bias;
            }
        })?;
        self.counts.early += component.early;
        for ((&p, spikes), events) in members.iter().zip(&mut spikes).zip(&events) {
            self.order.clear();
            self.order.extend(spikes.iter().zip(events).map(|(s, &t)| (t, s.unit, 0)));
            self.order.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            self.events[p].fill(self.order.iter().map(|&(t, u, _)| (t, u)));
            spikes.sort_by(|a, b| a.time.total_cmp(&b.time).then(a.unit.cmp(&b.unit)));
            self.spikes[p].clone_from(spikes);
        }
        // Only readouts in closed form look at these, and they go without jitter here.
        for &q in members.iter().flat_map(|&p| network.incoming(p)) {
            self.delay(q, sample);
        }
        Ok(())
    }

    /// The output link and the time stamps: what the host sees of the spikes.
    fn observe(&mut self, chunk: &mut Chunk<f64>) {
        let network = self.chip.network;
        let lif = |p: &usize| network.populations()[*p].kind == Kind::Lif;
        let spiking = (0..network.populations().len()).filter(lif);
        self.order.clear();
        for p in spiking {
            let events = &self.events[p];
            self.order.extend(events.times.iter().zip(&events.units).map(|(&t, &u)| (t, p as u32, u)));
        }
        self.order.sort_by(|a, b| a.0.total_cmp(&b.0).then((a.1, a.2).cmp(&(b.1, b.2))));
        let settings = self.chip.settings;
        let mut passing = settings.output_link.start();
        let mut traffic = Traffic::default();
        for &(t, p, unit) in &self.order {
            let Some(out) = passing.pass(t, 1, &mut traffic) else { continue };
            let step = settings.time_stamp;
            let stamp = if step > 0.0 { (out / step).round_ties_even() * step } else { out };
            if stamp > settings.duration {
                self.counts.after_end += 1;
                continue;
            }
            chunk.populations[p as usize].times.push(stamp);
            chunk.populations[p as usize].units.push(unit);
        }
        self.counts.output.add(&traffic);
        for record in &mut chunk.populations {
            let n = record.times.len() as i64;
            record.offsets.push(n);
        }
    }

    fn readouts(&mut self, chunk: &mut Chunk<f64>) {
        let settings = self.chip.settings;
        for (request, found) in self.chip.requests.iter().zip(&mut chunk.readouts) {
            let p = request.population;
            if let Some(adc) = &settings.adc {
                let n = self.chip.network.populations()[p].size;
                let codes: Vec<f64> = self.samples[p].iter().map(|&v| adc.read(v)).collect();
                let ReadoutValues { values, peaks } = found;
                adc::read(&request.readout, adc, &codes, n, settings.duration, values, peaks);
            } else {
                self.exact_readout(p, &request.readout, found);
            }
        }
    }

    /// Without a converter: the readout in closed form, of the circuits as they are.
    fn exact_readout(&self, p: usize, readout: &Readout, found: &mut ReadoutValues<f64>) {
        let (network, effective) = (self.chip.network, self.chip.effective);
        let (c, duration) = (&self.chip.constants[p], self.chip.settings.duration);
        let afferent =
            |&q: &usize| Afferent { synapses: effective.synapses(network, q), train: self.delayed[q].train() };
        let afferents: Vec<_> = network.incoming(p).iter().map(afferent).collect();
        let (times, units): (Vec<f64>, Vec<u32>) = self.spikes[p].iter().map(|s| (s.time, s.unit)).unzip();
        let current: Vec<f64> = self.spikes[p].iter().map(|s| s.current).collect();
        let own = Train { times: &times, units: &units };
        let mut sorted = Sorted::default();
        let release =
            if c.holds { currents_at(c, &afferents, &releases(c, own), duration, &mut sorted) } else { Vec::new() };
        let mut spans = Spans::default();
        spans.fill(c, own, &current, &release, duration);
        let view = View { constants: c, spans: &spans, afferents: &afferents, duration, simd: Simd::detect() };
        view.read(readout, &mut sorted, &mut found.values, &mut found.peaks);
    }
}

/// One circuit through its arrivals; `seen(k, u)` is told the membrane at `conversions[k]`.
fn walk(
    c: &Neuron<f64>,
    rails: Rails,
    arrivals: &[Arrival<f64>],
    conversions: &[f64],
    duration: f64,
    mut spike: impl FnMut(f64, f64) -> Result<()>,
    mut seen: impl FnMut(usize, f64),
) -> Result<()> {
    let mut cell = Cell::new(c, rails);
    let (mut next, mut k) = (0, 0);
    loop {
        let arrival = arrivals.get(next).map_or(f64::INFINITY, |a| a.time);
        let conversion = conversions.get(k).copied().unwrap_or(f64::INFINITY);
        let until = arrival.min(conversion).min(duration);
        while cell.advance(c, rails, until) {
            spike(cell.time, cell.i)?;
            cell.fire(c, rails);
        }
        if conversion <= until {
            seen(k, cell.u);
            k += 1;
        } else if arrival <= until {
            cell.i += arrivals[next].weight;
            next += 1;
        } else {
            return Ok(());
        }
        if cell.hold == f64::INFINITY && k == conversions.len() {
            return Ok(());
        }
    }
}
