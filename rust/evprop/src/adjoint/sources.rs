//! Cotangents of readouts of one population in one sample, as the adjoint needs them.
use crate::neuron::reach::Weighting;

/// `dL/d(int weight V dt)` for every neuron.
#[derive(Debug, Clone)]
pub struct Source {
    /// The weight.
    pub weighting: Weighting,
    /// By neuron.
    pub g: Vec<f64>,
}

/// `dL/dV(time)` of one neuron.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Jump {
    /// When, ms.
    pub time: f64,
    /// Which neuron.
    pub neuron: usize,
    /// How much.
    pub g: f64,
}

/// `dL/ds` of the arrival at `time` that cut the rise to a maximum of one neuron short, besides what its weight does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Kink {
    /// When, ms.
    pub time: f64,
    /// Which neuron.
    pub neuron: usize,
    /// `dL/dV dV/dt`.
    pub g: f64,
}

/// All that the loss asks of the voltages of a population.
#[derive(Debug, Clone, Default)]
pub struct VoltageCotangents {
    /// Integrals.
    pub sources: Vec<Source>,
    /// Instants, in any order.
    pub jumps: Vec<Jump>,
    /// Of the maximum of neurons that spiked, which is their threshold.
    pub thresholds: Vec<(usize, f64)>,
    /// Maxima that end with an arrival.
    pub kinks: Vec<Kink>,
}

impl VoltageCotangents {
    /// Whether nothing is asked.
    pub fn is_empty(&self) -> bool {
        self.sources.is_empty() && self.jumps.is_empty() && self.thresholds.is_empty() && self.kinks.is_empty()
    }

    /// Forgets the sample.
    pub fn clear(&mut self) {
        self.sources.clear();
        self.jumps.clear();
        self.thresholds.clear();
        self.kinks.clear();
    }
}
