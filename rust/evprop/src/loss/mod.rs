//! Losses: the value for one sample and its cotangents, in closed form, one file a loss.
//!
//! Those on spike times read the spikes of the output population in one sample, sorted by (time, unit), and look at
//! the first spike of each neuron only. A neuron that stays silent takes part with a constant time in its place
//! (`silent`, ms), which carries no gradient.
pub mod cross_entropy;
pub mod first_spike;
pub mod labelled;
pub mod relative_mse;
pub mod spike_time_mse;

pub use cross_entropy::cross_entropy;
pub use first_spike::{FirstSpike, first_spike};
pub use labelled::Labelled;
pub use relative_mse::{RelativeMse, relative_mse};
pub use spike_time_mse::spike_time_mse;

/// First spike of each neuron in one sample.
struct FirstSpikes<'a> {
    times: &'a [f64],
    /// By neuron: which spike, [`SILENT`] for none.
    index: Vec<usize>,
    silent: f64,
}

/// No spike has this index.
const SILENT: usize = usize::MAX;

impl<'a> FirstSpikes<'a> {
    fn new(times: &'a [f64], units: &[u32], n: usize, silent: f64) -> Self {
        assert_eq!(times.len(), units.len(), "one unit per spike time");
        let mut index = vec![SILENT; n];
        for (k, &unit) in units.iter().enumerate() {
            let first = &mut index[unit as usize];
            if *first == SILENT {
                *first = k;
            }
        }
        Self { times, index, silent }
    }

    /// Time of the first spike of `neuron`, ms; `silent` where there is none.
    fn time(&self, neuron: usize) -> f64 {
        self.times.get(self.index[neuron]).copied().unwrap_or(self.silent)
    }

    /// Adds to the cotangent of the first spike of `neuron`; a silent neuron has none.
    fn add(&self, dtimes: &mut [f64], neuron: usize, cotangent: f64) {
        if let Some(d) = dtimes.get_mut(self.index[neuron]) {
            *d += cotangent;
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    /// Two spikes of neuron 0, one of 2 and 3 each, neuron 1 silent; 2 and 3 at one instant.
    pub(crate) const TIMES: [f64; 5] = [8.0, 11.5, 12.25, 12.25, 30.0];
    pub(crate) const UNITS: [u32; 5] = [2, 0, 2, 3, 0];

    /// Compares cotangents with fourth-order central differences of the value.
    pub(crate) fn check_cotangents(x: &[f64], d: &[f64], value: impl Fn(&[f64]) -> f64) {
        let step = 1e-3;
        let mut moved = x.to_vec();
        for k in 0..x.len() {
            let mut at = |change: f64| {
                moved[k] = x[k] + change;
                let value = value(&moved);
                moved[k] = x[k];
                value
            };
            let near = at(step) - at(-step);
            let far = at(2.0 * step) - at(-2.0 * step);
            let expected = (8.0 * near - far) / (12.0 * step);
            assert!((d[k] - expected).abs() <= 1e-9 * (1.0 + expected.abs()), "[{k}]: {} for {expected}", d[k]);
        }
    }
}
