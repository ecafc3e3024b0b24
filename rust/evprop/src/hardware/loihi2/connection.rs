//! A connection: synapses by source, ready to be added to what arrives later.
use super::MAX_DELAY;
use super::weights::SignMode;
use crate::error::{Error, Result};

/// Where the spikes of a connection come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// An input, by index.
    Input(usize),
    /// A population, by index.
    Population(usize),
}

/// The synapses of a connection, by source: those of source `j` are `starts[j]..starts[j + 1]`.
#[derive(Debug, Clone, Copy)]
pub struct Synapses<'a> {
    /// One more than there are sources.
    pub starts: &'a [i64],
    /// Target neurons, ascending for each source.
    pub targets: &'a [u32],
    /// Weights as given to the connection.
    pub weights: &'a [i32],
    /// Steps, 0 to 63; none: no delays.
    pub delays: Option<&'a [u8]>,
}

/// A connection between an input or a population and a population.
#[derive(Debug, Clone)]
pub struct Connection {
    /// Where its spikes come from.
    pub source: Source,
    /// Population that it reaches.
    pub target: usize,
    /// Whether inputs carry their payload; else any payload counts as 1.
    pub graded: bool,
    /// The weights after clipping and truncation (weight_exp not applied), as given.
    pub effective: Vec<i32>,
    /// The longest delay, in steps.
    pub longest: u32,
    pub(super) rows: Rows,
}

/// How the synapses of a source are kept.
#[derive(Debug, Clone)]
pub(super) enum Rows {
    /// One weight per target neuron, all with one delay; the exponent is in the weights.
    Full { delay: usize, weights: Vec<i32> },
    /// Cells (delay * targets + target) and weights. `shift`: what the sums still have to be shifted right by.
    Lists { starts: Vec<usize>, cells: Vec<u32>, weights: Vec<i32>, shift: u32 },
}

impl Connection {
    /// Checks and prepares; `name` is for messages, `sizes` are those of source and target.
    ///
    /// # Errors
    /// Synapses that do not fit, bits or exponents out of range.
    pub fn new(
        name: &str,
        (source, target): (Source, usize),
        sizes: (usize, usize),
        synapses: Synapses<'_>,
        (bits, exponent): (u32, i32),
        mode: Option<SignMode>,
        graded: bool,
    ) -> Result<Self> {
        check(name, sizes, synapses, bits, exponent)?;
        let mode = mode.unwrap_or_else(|| SignMode::of(synapses.weights));
        let effective = mode.effective(synapses.weights, bits);
        let longest = synapses.delays.and_then(|d| d.iter().max()).map_or(0, |&d| u32::from(d));
        let rows = rows(sizes, synapses, &effective, exponent);
        Ok(Self { source, target, graded, effective, longest, rows })
    }
}

fn check(name: &str, sizes: (usize, usize), synapses: Synapses<'_>, bits: u32, exponent: i32) -> Result<()> {
    let refuse = |why: String| Err(Error::Network(format!("connection '{name}': {why}")));
    let (starts, n) = (synapses.starts, synapses.targets.len());
    if !(1..=8).contains(&bits) {
        return refuse(format!("num_weight_bits is {bits}; it must be 1 to 8"));
    }
    if !(-31..=22).contains(&exponent) {
        return refuse(format!("weight_exp is {exponent}; it must lie in -31 to 22"));
    }
    let rising = starts.first() == Some(&0) && starts.windows(2).all(|w| w[0] <= w[1]);
    if starts.len() != sizes.0 + 1 || !rising || starts.last() != i64::try_from(n).ok().as_ref() {
        return refuse(format!("its rows must be {} rising offsets from 0 to {n}", sizes.0 + 1));
    }
    if synapses.weights.len() != n || synapses.delays.is_some_and(|d| d.len() != n) {
        return refuse(format!("{n} targets need as many weights and delays"));
    }
    if let Some(k) = synapses.targets.iter().position(|&t| t as usize >= sizes.1) {
        return refuse(format!("synapse {k} ends at neuron {}, of {}", synapses.targets[k], sizes.1));
    }
    if let Some(delay) = synapses.delays.and_then(|d| d.iter().find(|&&d| u32::from(d) > MAX_DELAY)) {
        return refuse(format!("a delay of {delay} steps; the chip has 6 bits: 0 to {MAX_DELAY}"));
    }
    Ok(())
}

fn rows(sizes: (usize, usize), synapses: Synapses<'_>, effective: &[i32], exponent: i32) -> Rows {
    // A right shift that no weight loses a bit to is the same before the sum as after it.
    let down = u32::try_from(-exponent).unwrap_or(0);
    let exact = down == 0 || effective.iter().all(|w| w.trailing_zeros() >= down);
    let scaled = |w: i32| {
        if exponent >= 0 {
            w << exponent
        } else if exact {
            w >> down
        } else {
            w
        }
    };
    let delay = |k: usize| synapses.delays.map_or(0, |d| usize::from(d[k]));
    let (n_sources, n_targets) = sizes;
    let one_delay = (1..effective.len()).all(|k| delay(k) == delay(0));
    let row = |j: usize| synapses.starts[j] as usize..synapses.starts[j + 1] as usize;
    if exact && one_delay && 2 * effective.len() >= n_sources * n_targets && !effective.is_empty() {
        let mut weights = vec![0; n_sources * n_targets];
        for j in 0..n_sources {
            for k in row(j) {
                weights[j * n_targets + synapses.targets[k] as usize] += scaled(effective[k]);
            }
        }
        return Rows::Full { delay: delay(0), weights };
    }
    let mut starts = vec![0];
    let (mut cells, mut weights) = (Vec::new(), Vec::new());
    let mut list: Vec<(u32, i32)> = Vec::new();
    for j in 0..n_sources {
        list.clear();
        list.extend(row(j).filter(|&k| effective[k] != 0).map(|k| {
            let cell = delay(k) * n_targets + synapses.targets[k] as usize;
            (cell as u32, scaled(effective[k]))
        }));
        list.sort_by_key(|&(cell, _)| cell);
        cells.extend(list.iter().map(|&(cell, _)| cell));
        weights.extend(list.iter().map(|&(_, w)| w));
        starts.push(cells.len());
    }
    Rows::Lists { starts, cells, weights, shift: if exact { 0 } else { down } }
}
