//! What can go wrong in the core, with the numbers, and what to try.
use thiserror::Error;

/// The result of every fallible call of the core.
pub type Result<T> = std::result::Result<T, Error>;

/// An error of the core.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum Error {
    /// A spike time that is NaN, infinite or negative.
    #[error("sample {sample}: spike {index} has time {time} ms; spike times must be finite and >= 0")]
    SpikeTime {
        /// Sample in the batch.
        sample: usize,
        /// Index of the spike within the sample.
        index: usize,
        /// The offending time, ms.
        time: f64,
    },
    /// Spikes of a sample that are not sorted by time.
    #[error(
        "sample {sample}: spike {index} at {time} ms comes after one at {previous} ms; \
         spikes must be sorted by time (Spikes.from_lists sorts for you)"
    )]
    SpikeOrder {
        /// Sample in the batch.
        sample: usize,
        /// Index of the spike within the sample.
        index: usize,
        /// Its time, ms.
        time: f64,
        /// The time before it, ms.
        previous: f64,
    },
    /// A unit beyond the population.
    #[error("sample {sample}: spike {index} is of unit {unit}, but there are {n_units} units (0 to n_units - 1)")]
    SpikeUnit {
        /// Sample in the batch.
        sample: usize,
        /// Index of the spike within the sample.
        index: usize,
        /// The offending unit.
        unit: u32,
        /// Number of units.
        n_units: usize,
    },
    /// Offsets that do not describe the arrays.
    #[error("offsets {problem}; they must start at 0, never fall, and end at the number of spikes ({n_spikes})")]
    SpikeOffsets {
        /// What is wrong.
        problem: String,
        /// Number of spikes given.
        n_spikes: usize,
    },
    /// An input spike after the trial's end.
    #[error(
        "sample {sample}: spike {index} at {time} ms lies beyond the duration {duration} ms; \
         use a longer duration or Spikes.crop(duration)"
    )]
    SpikeBeyond {
        /// Sample in the batch.
        sample: usize,
        /// Index of the spike within the sample.
        index: usize,
        /// Its time, ms.
        time: f64,
        /// The duration, ms.
        duration: f64,
    },
    /// A network that makes no sense.
    #[error("{0}")]
    Network(String),
    /// A parameter value out of its range.
    #[error("{name}[{index}] = {value}: {must}")]
    Parameter {
        /// Name of the parameter, `population.constant` or `projection.weight`.
        name: String,
        /// Flat index.
        index: usize,
        /// The offending value.
        value: f64,
        /// What it must be, and what to try.
        must: &'static str,
    },
    /// An array of the wrong length or a value that does not fit the call.
    #[error("{0}")]
    Argument(String),
    /// A network that spikes without bound.
    #[error(
        "population '{population}' emitted more than {limit} spikes in sample {sample} by {time} ms: the network runs \
         away. Use smaller weights, a refractory time, or raise the limit with Exact(max_spikes=...)"
    )]
    Runaway {
        /// Name of the population.
        population: String,
        /// The limit per population and sample.
        limit: usize,
        /// Sample in the batch.
        sample: usize,
        /// Time reached, ms.
        time: f64,
    },
    /// An iteration that did not reach its tolerance.
    #[error(
        "sample {sample}: the duality gap is {gap:e} of ||x||^2 / 2 after {iterations} iterations; allow more \
         (max_iterations), a larger gap (tolerance; rounding ends at about 1e-15), or use larger weights"
    )]
    NotConverged {
        /// Sample in the batch.
        sample: usize,
        /// The relative gap reached.
        gap: f64,
        /// How many iterations were made.
        iterations: usize,
    },
    /// A GPU that is not there, or not fit, or that failed.
    #[error("{0}")]
    Device(String),
    /// The caller asked to stop (Ctrl-C).
    #[error("interrupted")]
    Cancelled,
}
