//! A model of the mixed-signal chip BrainScaleS-2: continuous-time neuron circuits that differ, drift and saturate.
//!
//! What is simulated how:
//!
//! * *Fixed pattern* (time constants, thresholds, reset, gains of neurons, drivers and synapses; weights of 6 bits; delays
//!   in steps): different constants, no different equations. The caller folds them into `effective` parameters of the same
//!   layout, and the circuits follow the exact flow of [`crate::neuron`] with them.
//! * *Threshold noise*: one draw a neuron and trial, added to its threshold before the trial.
//! * *Spike jitter*: a spike is an analog crossing that becomes a digital event a little earlier or later. The event's time
//!   is what every target and the host go by; the membrane was reset at the crossing.
//! * *Delay jitter*: one draw for each event on each line of a projection that has delays.
//! * *Membrane range*: the flow is kept between two rails ([`cell`]), in closed form; so spikes stay exact crossings.
//! * *Links* ([`link`]): input events pass a serial link before the chip, spikes another one on their way to the host.
//! * *Time stamps and converter* ([`adc`]) act on what the host sees, not on the circuits.
//!
//! The engine's vector loops know neither rails nor thresholds that change from trial to trial, so circuits are walked one
//! by one: a population that does not hear itself neuron by neuron through its sorted arrivals, the others in an event loop
//! ([`coupled`]). With everything switched off both give the spikes of the exact simulator to rounding.
//!
//! The record holds the *observed* spikes with the currents that the *nominal* network would have at these times
//! (maths.md section 6): what a program that trains with the chip in the loop can know.
//!
//! Sources: J. Schemmel et al., arXiv 2003.11996 (the chip); J. Göltz et al., Nat. Mach. Intell. 3 (2021), and DelGrad,
//! Nat. Commun. 16 (2025) (training through it, and the hardware-aware model).
pub mod adc;
pub mod cell;
pub mod coupled;
pub mod link;
pub mod noise;
pub mod trial;

use crate::error::{Error, Result};
use crate::network::{Kind, Network, Params};
use crate::neuron::Constants;
use crate::parallel::{self, CancelFlag};
use crate::record::sample::check_inputs;
use crate::record::{ReadoutRequest, Record};
use crate::simulate::{assemble, replay};
use crate::spikes::SpikeBatch;

use adc::Adc;
use link::{Link, Traffic};
use trial::Player;

/// What the trials of a call have in common, beside the parameters.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Trial length, ms.
    pub duration: f64,
    /// Most spikes of one population in one sample.
    pub max_spikes: usize,
    /// Names the draws of this call.
    pub noise_key: u64,
    /// By population, by neuron: standard deviation of the threshold from trial to trial; empty: 0.
    pub threshold_noise: Vec<Vec<f64>>,
    /// Standard deviation of spike times, ms.
    pub spike_jitter: f64,
    /// Standard deviation of delays from event to event, ms.
    pub delay_jitter: f64,
    /// Lowest and highest membrane voltage.
    pub membrane: Option<(f64, f64)>,
    /// From the host to the chip.
    pub input_link: Link,
    /// From the chip to the host.
    pub output_link: Link,
    /// By population: packets that one of its input events takes.
    pub packets: Vec<u32>,
    /// Step of the host's time stamps, ms; 0: none.
    pub time_stamp: f64,
    /// How membranes are read; `None`: exactly.
    pub adc: Option<Adc>,
}

/// What happened on the way, over a batch.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Counts {
    /// The link to the chip.
    pub input: Traffic,
    /// The link from the chip.
    pub output: Traffic,
    /// Spikes whose jitter was cut: at time 0, or, in a recurrent component, at their own crossing.
    pub early: u64,
    /// Spikes that the host would have seen after the trial's end.
    pub after_end: u64,
}

impl Counts {
    fn add(&mut self, other: &Counts) {
        self.input.add(&other.input);
        self.output.add(&other.output);
        self.early += other.early;
        self.after_end += other.after_end;
    }
}

/// A network on the chip.
#[derive(Debug)]
pub struct Chip<'a> {
    /// The network.
    pub network: &'a Network,
    /// What its circuits really have.
    pub effective: &'a Params<'a, f64>,
    /// Their constants, by population.
    pub constants: Vec<Constants<f64>>,
    /// What is read.
    pub requests: &'a [ReadoutRequest],
    /// The rest.
    pub settings: &'a Settings,
}

/// Plays a batch on circuits with `effective` parameters; the record is what a host that believes in `nominal` sees.
pub fn simulate(
    cancel: &CancelFlag,
    network: &Network,
    nominal: &Params<'_, f64>,
    effective: &Params<'_, f64>,
    inputs: &[SpikeBatch<'_>],
    requests: &[ReadoutRequest],
    settings: &Settings,
) -> Result<(Record<f64>, Counts)> {
    let batch = check_inputs(network, inputs, settings.duration)?;
    check(network, requests, settings)?;
    let constants = effective.all_constants(network);
    let chip = Chip { network, effective, constants, requests, settings };
    let played =
        parallel::map_chunks(batch, cancel, || Player::new(&chip, cancel), |player, range| player.play(inputs, range))?;
    let mut counts = Counts::default();
    let mut chunks = Vec::with_capacity(played.len());
    for (chunk, part) in played {
        counts.add(&part);
        chunks.push(chunk);
    }
    let seen = assemble(network, batch, settings.duration, requests, chunks);
    let observed = network
        .populations()
        .iter()
        .zip(&seen.populations)
        .map(|(population, spikes)| {
            (population.kind == Kind::Lif)
                .then(|| SpikeBatch::new(&spikes.times, &spikes.units, &spikes.offsets))
                .transpose()
        })
        .collect::<Result<Vec<_>>>()?;
    let mut record = replay::from_spikes(cancel, network, nominal, inputs, &observed, settings.duration)?;
    (record.requests, record.readouts) = (seen.requests, seen.readouts);
    Ok((record, counts))
}

fn check(network: &Network, requests: &[ReadoutRequest], settings: &Settings) -> Result<()> {
    for request in requests {
        request.readout.check(settings.duration)?;
        let population = &network.populations()[request.population];
        if population.kind == Kind::Input {
            return Err(Error::Argument("an input population has no voltage to read".into()));
        }
        if settings.adc.is_some() {
            continue;
        }
        if settings.membrane.is_some() {
            return Err(Error::Argument(format!(
                "population '{}' is read without a converter, but its membrane is kept within a range, which has no \
                 readout in closed form; give readout_period, or membrane_range=None",
                population.name
            )));
        }
        let shaken = settings.spike_jitter > 0.0 || settings.delay_jitter > 0.0;
        let recurrent = network.components().iter().any(|c| c.recurrent && c.populations.contains(&request.population));
        if shaken && recurrent {
            return Err(Error::Argument(format!(
                "population '{}' hears itself and its spikes jitter: it can only be read with a converter; give \
                 readout_period",
                population.name
            )));
        }
    }
    Ok(())
}
