//! Losses of first spikes and labels, over a batch: value, cotangents and decisions in one pass.
use super::{FirstSpike, RelativeMse, first_spike, relative_mse};
use crate::spikes::Train;

/// A loss of the first spikes of `n` neurons and a label, the index of one of them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Labelled {
    /// Time-to-first-spike cross entropy.
    FirstSpike(FirstSpike),
    /// Shift-invariant squared error.
    RelativeMse(RelativeMse),
}

/// What a loss tells of a batch.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Told {
    /// Of each sample.
    pub values: Vec<f64>,
    /// dL/dt of every spike, sample after sample.
    pub dtimes: Vec<f64>,
    /// Samples whose first spike is that of the label's neuron.
    pub correct: usize,
}

impl Labelled {
    /// The loss of one sample; writes dL/dt of every spike to `dtimes`.
    ///
    /// # Panics
    /// If `label` or a unit is not below `n`, or the lengths of the slices differ.
    #[must_use]
    pub fn sample(&self, train: Train<'_>, n: usize, label: usize, dtimes: &mut [f64]) -> f64 {
        match self {
            Self::FirstSpike(config) => first_spike(train.times, train.units, n, label, config, dtimes),
            Self::RelativeMse(config) => relative_mse(train.times, train.units, n, label, config, dtimes),
        }
    }

    /// The loss of every sample.
    ///
    /// # Panics
    /// As [`Self::sample`].
    #[must_use]
    pub fn batch<'a>(&self, trains: impl Iterator<Item = Train<'a>>, n: usize, labels: &[usize]) -> Told {
        let mut told = Told { values: Vec::with_capacity(labels.len()), ..Told::default() };
        for (train, &label) in trains.zip(labels) {
            let from = told.dtimes.len();
            told.dtimes.resize(from + train.len(), 0.0);
            told.values.push(self.sample(train, n, label, &mut told.dtimes[from..]));
            told.correct += usize::from(train.units.first().is_some_and(|&unit| unit as usize == label));
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{TIMES, UNITS};
    use super::*;

    #[test]
    fn a_batch_is_its_samples() {
        let losses = [
            Labelled::FirstSpike(FirstSpike { tau_0: 0.5, tau_1: 6.4, alpha: 3e-3, silent: 40.0 }),
            Labelled::RelativeMse(RelativeMse { delta: 5.0, silent: 40.0 }),
        ];
        let whole = Train { times: &TIMES, units: &UNITS };
        for loss in losses {
            let told = loss.batch([whole, Train::default(), whole].into_iter(), 4, &[2, 1, 0]);
            let (mut first, mut last) = ([0.0; 5], [0.0; 5]);
            let values = [loss.sample(whole, 4, 2, &mut first), loss.sample(Train::default(), 4, 1, &mut []), {
                loss.sample(whole, 4, 0, &mut last)
            }];
            assert_eq!((told.values, told.correct), (values.to_vec(), 1));
            assert_eq!(told.dtimes, [first, last].concat());
        }
    }
}
