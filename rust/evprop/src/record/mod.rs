//! What the forward pass leaves behind: spikes with the current at each, and readout values. Nothing grows with the
//! duration.
pub mod arrivals;
pub mod buckets;
pub mod columns;
pub mod grid;
pub mod inlets;
pub mod sample;
pub mod spans;

use crate::error::{Error, Result};
use crate::math::Real;
use crate::network::{Kind, Network};
use crate::neuron::reach::Weighting;
use crate::spikes::Train;

/// The spikes of one population over the batch, CSR by sample.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PopulationRecord<T> {
    /// Sample `b` owns `offsets[b]..offsets[b + 1]`.
    pub offsets: Vec<i64>,
    /// Spike times, ms.
    pub times: Vec<f64>,
    /// Which unit fired.
    pub units: Vec<u32>,
    /// Synaptic current at each spike.
    pub current: Vec<T>,
    /// Synaptic current when V is released; empty in populations without a finite refractory time.
    pub release: Vec<T>,
}

impl<T: Real> PopulationRecord<T> {
    /// No spikes yet, and room for some.
    pub fn with_room(samples: usize, spikes: usize) -> Self {
        let mut offsets = Vec::with_capacity(samples + 1);
        offsets.push(0);
        Self {
            offsets,
            times: Vec::with_capacity(spikes),
            units: Vec::with_capacity(spikes),
            current: Vec::with_capacity(spikes),
            release: Vec::new(),
        }
    }

    /// Where sample `b` lies.
    pub fn range(&self, b: usize) -> std::ops::Range<usize> {
        self.offsets[b] as usize..self.offsets[b + 1] as usize
    }

    /// How many of the (sample, neuron) pairs of `n` neurons have a spike.
    pub fn fired(&self, n: usize) -> usize {
        let mut last = vec![usize::MAX; n];
        let mut pairs = 0;
        for b in 0..self.offsets.len() - 1 {
            for &unit in self.train(b).units {
                pairs += usize::from(std::mem::replace(&mut last[unit as usize], b) != b);
            }
        }
        pairs
    }

    /// The spikes of sample `b`.
    pub fn train(&self, b: usize) -> Train<'_> {
        let range = self.range(b);
        Train { times: &self.times[range.clone()], units: &self.units[range] }
    }
}

/// A functional of the membrane voltage of a population.
#[derive(Debug, Clone, PartialEq)]
pub enum Readout {
    /// `int_0^T V dt`, divided by `T` if normalised.
    Integral {
        /// Divide by the duration.
        normalise: bool,
    },
    /// `int_0^T e^{-t/tau} V dt`, divided by `T` if normalised.
    WeightedIntegral {
        /// Time constant of the weight, ms.
        tau: f64,
        /// Divide by the duration.
        normalise: bool,
    },
    /// `int_0^T (1 - t/T) V dt`, divided by `T` if normalised.
    LinearIntegral {
        /// Divide by the duration.
        normalise: bool,
    },
    /// `int_0^T V / (1 + e^((t - centre)/width)) dt`, divided by `T` if normalised.
    SigmoidIntegral {
        /// Where the weight is 1/2, ms.
        centre: f64,
        /// How long it takes to fall, ms.
        width: f64,
        /// Divide by the duration.
        normalise: bool,
    },
    /// `max_t V`.
    Max,
    /// `V(T)`.
    Final,
    /// `V` at given times, ms, ascending.
    Sampled(Vec<f64>),
}

impl Readout {
    /// Values per neuron.
    pub fn width(&self) -> usize {
        match self {
            Readout::Sampled(times) => times.len(),
            _ => 1,
        }
    }

    /// The weight of an integral over `duration`, and the factor on the integral; `None` of a readout of another kind.
    pub fn weighting(&self, duration: f64) -> Option<(Weighting, f64)> {
        let (weighting, normalise) = match *self {
            Readout::Integral { normalise } => (Weighting::Plain, normalise),
            Readout::WeightedIntegral { tau, normalise } => (Weighting::Exponential { tau }, normalise),
            Readout::LinearIntegral { normalise } => (Weighting::Linear { end: duration }, normalise),
            Readout::SigmoidIntegral { centre, width, normalise } => (Weighting::Sigmoid { centre, width }, normalise),
            Readout::Max | Readout::Final | Readout::Sampled(_) => return None,
        };
        Some((weighting, if normalise { 1.0 / duration } else { 1.0 }))
    }

    /// Refuses what has no meaning within `duration`.
    pub fn check(&self, duration: f64) -> Result<()> {
        match self {
            Readout::WeightedIntegral { tau, .. } if !(*tau > 0.0 && tau.is_finite()) => {
                Err(Error::Argument(format!("weighted integral: tau is {tau} ms; it must be finite and > 0")))
            }
            Readout::SigmoidIntegral { centre, width, .. }
                if !(*width > 0.0 && width.is_finite() && centre.is_finite()) =>
            {
                Err(Error::Argument(format!(
                    "sigmoid integral: centre is {centre} ms and width {width} ms; both must be finite and the width > 0"
                )))
            }
            Readout::Sampled(times) => {
                if let Some(t) = times.iter().find(|&&t| !(t >= 0.0 && t <= duration)) {
                    return Err(Error::Argument(format!(
                        "sampled readout: time {t} ms is not within the trial, 0 to {duration} ms"
                    )));
                }
                if !times.is_sorted() {
                    return Err(Error::Argument("sampled readout: times must ascend".into()));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// A readout that was asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct ReadoutRequest {
    /// Population read.
    pub population: usize,
    /// What is read.
    pub readout: Readout,
}

/// Where the maximum of a voltage lies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Peak {
    /// When, ms; NaN where the neuron spiked (then the maximum is its threshold).
    pub time: f64,
    /// `dV/dt` just before: 0 on a smooth maximum, positive where an inhibitory arrival cut the rise short; then the
    /// maximum moves with that arrival.
    pub slope: f64,
}

/// Values of one readout, `(batch, width, n)`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ReadoutValues<T> {
    /// The values.
    pub values: Vec<T>,
    /// For `Max`: where the maximum lies, one a neuron. Else empty.
    pub peaks: Vec<Peak>,
}

/// The forward pass over a batch.
#[derive(Debug, Clone, PartialEq)]
pub struct Record<T> {
    /// Number of samples.
    pub batch: usize,
    /// Trial length, ms.
    pub duration: f64,
    /// By population; input populations are empty (their spikes belong to the caller).
    pub populations: Vec<PopulationRecord<T>>,
    /// What was read.
    pub requests: Vec<ReadoutRequest>,
    /// What was found, along `requests`.
    pub readouts: Vec<ReadoutValues<T>>,
}

impl<T: Real> Record<T> {
    /// The smallest `Vdot-` of nominal crossings is found in the adjoint; here: the share of (sample, neuron) pairs
    /// without a spike, by population (0 for populations that can't spike).
    pub fn silent_share(&self, network: &Network) -> Vec<f64> {
        let share = |p: usize| {
            let population = &network.populations()[p];
            if population.kind != Kind::Lif || self.batch == 0 {
                return 0.0;
            }
            let active = self.populations[p].fired(population.size);
            1.0 - active as f64 / (self.batch * population.size) as f64
        };
        (0..network.populations().len()).map(share).collect()
    }
}
