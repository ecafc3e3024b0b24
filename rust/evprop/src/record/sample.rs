//! One sample of a batch: who spiked, and what that brings to whom.
use super::PopulationRecord;
use super::arrivals::Afferent;
use crate::error::{Error, Result};
use crate::math::Real;
use crate::network::{Kind, Network, Params};
use crate::neuron::Constants;
use crate::spikes::{SpikeBatch, Train};

/// Checks a call; gives the number of samples.
pub fn check_inputs(network: &Network, inputs: &[SpikeBatch<'_>], duration: f64) -> Result<usize> {
    if !(duration > 0.0 && duration.is_finite()) {
        return Err(Error::Argument(format!("duration is {duration} ms; it must be finite and > 0")));
    }
    let sizes: Vec<_> = network.populations().iter().filter(|p| p.kind == Kind::Input).map(|p| p.size).collect();
    if sizes.len() != inputs.len() {
        return Err(Error::Argument(format!(
            "{} spike batches given for {} input populations",
            inputs.len(),
            sizes.len()
        )));
    }
    let batch = inputs.first().map_or(1, SpikeBatch::len);
    if batch == 0 {
        return Err(Error::Argument(
            "the batch is empty; give at least one sample (a sample may be without spikes)".into(),
        ));
    }
    for (input, &size) in inputs.iter().zip(&sizes) {
        if input.len() != batch {
            return Err(Error::Argument(format!("input populations have {batch} and {} samples", input.len())));
        }
        input.check_fits(size, duration)?;
    }
    Ok(batch)
}

/// The spikes of population `p` in one sample: given for inputs, found so far for the others.
pub fn train<'a, T: Real>(
    network: &Network,
    inputs: &[SpikeBatch<'a>],
    sample: usize,
    found: &'a [PopulationRecord<T>],
    local: usize,
    p: usize,
) -> Train<'a> {
    let input = |p: &crate::network::Population| p.kind == Kind::Input;
    let (before, rest) = network.populations().split_at(p);
    if rest.first().is_some_and(input) {
        let number = before.iter().filter(|p| input(p)).count();
        return inputs.get(number).map_or(Train::default(), |input| input.sample(sample));
    }
    if found[p].offsets.len() > local + 1 { found[p].train(local) } else { Train::default() }
}

/// [`train`] of every population.
pub fn trains<'a, T: Real>(
    network: &Network,
    inputs: &[SpikeBatch<'a>],
    sample: usize,
    found: &'a [PopulationRecord<T>],
    local: usize,
) -> Vec<Train<'a>> {
    (0..network.populations().len()).map(|p| train(network, inputs, sample, found, local, p)).collect()
}

/// What reaches population `p`.
pub fn afferents<'a, T: Real>(
    network: &'a Network,
    params: &'a Params<'a, T>,
    p: usize,
    trains: &[Train<'a>],
) -> Vec<Afferent<'a, T>> {
    afferents_of(network, params, p, |pre| trains[pre])
}

/// The same, from the trains of the senders alone.
pub fn afferents_of<'a, T: Real>(
    network: &'a Network,
    params: &'a Params<'a, T>,
    p: usize,
    train: impl Fn(usize) -> Train<'a>,
) -> Vec<Afferent<'a, T>> {
    let afferent =
        |&q: &usize| Afferent { synapses: params.synapses(network, q), train: train(network.projections()[q].pre) };
    network.incoming(p).iter().map(afferent).collect()
}

/// When the voltages are released after each spike (unit, time).
pub fn releases<T: Real>(c: &Constants<T>, train: Train<'_>) -> Vec<(u32, f64)> {
    let release = |(&t, &u): (&f64, &u32)| (u, t + c.neuron(u as usize).t_ref);
    train.times.iter().zip(train.units).map(release).collect()
}
