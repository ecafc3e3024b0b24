//! Currents and voltages of neurons whose spikes are known: currents replayed through given spike times.
use super::{Chunk, assemble};
use crate::error::{Error, Result};
use crate::math::{Real, Simd};
use crate::network::{Kind, Network, Params};
use crate::neuron::Constants;
use crate::parallel::{self, CancelFlag};
use crate::record::arrivals::{Afferent, Sorted};
use crate::record::sample::{afferents, check_inputs, releases, trains};
use crate::record::spans::Spans;
use crate::record::{PopulationRecord, Record};
use crate::spikes::SpikeBatch;

/// The synaptic current of `unit` at `time` for each query; an arrival at that very time is not in it.
/// Queries beyond `duration` give 0.
pub fn currents_at<T: Real>(
    c: &Constants<T>,
    afferents: &[Afferent<'_, T>],
    queries: &[(u32, f64)],
    duration: f64,
    sorted: &mut Sorted<T>,
) -> Vec<T> {
    let mut order: Vec<usize> = (0..queries.len()).collect();
    order.sort_by(|&a, &b| queries[a].0.cmp(&queries[b].0).then(queries[a].1.total_cmp(&queries[b].1)));
    let mut found = vec![T::ZERO; queries.len()];
    sorted.fill(afferents, 0, c.n, duration);
    let mut state = (u32::MAX, 0usize, 0.0, T::ZERO);
    for k in order {
        let (unit, time) = queries[k];
        if time > duration {
            continue;
        }
        if state.0 != unit {
            state = (unit, 0, 0.0, T::ZERO);
        }
        let inv_syn = c.neuron(unit as usize).inv_syn;
        let own = sorted.of(unit as usize);
        let (_, next, now, i) = &mut state;
        let mut advance = |i: &mut T, until: f64| {
            *i *= (-(T::of(until - *now) * inv_syn)).exp_neg();
            *now = until;
        };
        while let Some(a) = own.get(*next).filter(|a| a.time < time) {
            advance(i, a.time);
            *i += a.weight;
            *next += 1;
        }
        advance(i, time);
        found[k] = *i;
    }
    found
}

/// A record made from spikes that came from elsewhere (a chip): the currents are those that the nominal network would
/// have had at the observed times.
pub fn from_spikes<T: Real>(
    cancel: &CancelFlag,
    network: &Network,
    params: &Params<'_, T>,
    inputs: &[SpikeBatch<'_>],
    observed: &[Option<SpikeBatch<'_>>],
    duration: f64,
) -> Result<Record<T>> {
    let batch = check_inputs(network, inputs, duration)?;
    for (population, spikes) in network.populations().iter().zip(observed) {
        match (population.kind, spikes) {
            (Kind::Lif, None) => {
                return Err(Error::Argument(format!("no observed spikes given for population '{}'", population.name)));
            }
            (Kind::Lif, Some(spikes)) => {
                if spikes.len() != batch {
                    return Err(Error::Argument(format!(
                        "population '{}': {} observed samples, but the inputs have {batch}",
                        population.name,
                        spikes.len()
                    )));
                }
                spikes.check_fits(population.size, duration)?;
            }
            (_, Some(_)) => {
                return Err(Error::Argument(format!("population '{}' does not spike by itself", population.name)));
            }
            (_, None) => {}
        }
    }
    let constants = params.all_constants(network);
    let chunks = parallel::map_chunks(batch, cancel, Sorted::default, |sorted, range| {
        let empty = PopulationRecord { offsets: vec![0], ..Default::default() };
        let mut populations = vec![empty; network.populations().len()];
        let first = range.start;
        for sample in range {
            for (record, spikes) in populations.iter_mut().zip(observed) {
                if let Some(spikes) = spikes {
                    let train = spikes.sample(sample);
                    record.times.extend_from_slice(train.times);
                    record.units.extend_from_slice(train.units);
                }
                record.offsets.push(record.times.len() as i64);
            }
            for p in 0..populations.len() {
                let trains = trains(network, inputs, sample, &populations, sample - first);
                let afferents = afferents(network, params, p, &trains);
                let c = &constants[p];
                if network.populations()[p].kind != Kind::Lif {
                    continue;
                }
                let at: Vec<_> = trains[p].units.iter().copied().zip(trains[p].times.iter().copied()).collect();
                let current = currents_at(c, &afferents, &at, duration, sorted);
                let release = if c.holds {
                    currents_at(c, &afferents, &releases(c, trains[p]), duration, sorted)
                } else {
                    Vec::new()
                };
                populations[p].current.extend(current);
                populations[p].release.extend(release);
            }
        }
        Ok(Chunk { populations, readouts: Vec::new() })
    })?;
    Ok(assemble(network, batch, duration, &[], chunks))
}

/// Voltage and current of every neuron of population `p` at `times` in sample `b` of a record: two arrays `(times, n)`.
/// At a spike the voltage is the one before the reset; an arrival at the very time is not yet in the current.
pub fn trace<T: Real>(
    network: &Network,
    params: &Params<'_, T>,
    inputs: &[SpikeBatch<'_>],
    record: &Record<T>,
    b: usize,
    p: usize,
    times: &[f64],
) -> (Vec<f64>, Vec<f64>) {
    let c = &params.constants(network, p);
    let trains = trains(network, inputs, b, &record.populations, b);
    let afferents = afferents(network, params, p, &trains);
    let own = &record.populations[p];
    let range = own.range(b);
    let release = if own.release.is_empty() { &[][..] } else { &own.release[range.clone()] };
    let mut spans = Spans::default();
    spans.fill(c, trains[p], &own.current[range], release, record.duration);
    let view = super::readout::View {
        constants: c,
        spans: &spans,
        afferents: &afferents,
        duration: record.duration,
        simd: Simd::detect(),
    };
    let (mut v, mut ignored) = (Vec::new(), Vec::new());
    let mut sorted = Sorted::default();
    view.read(&crate::record::Readout::Sampled(times.to_vec()), &mut sorted, &mut v, &mut ignored);
    let queries: Vec<_> = times.iter().flat_map(|&t| (0..c.n as u32).map(move |i| (i, t))).collect();
    let i = currents_at(c, &afferents, &queries, record.duration, &mut sorted);
    (v.iter().map(|x| x.f64()).collect(), i.iter().map(|x| x.f64()).collect())
}
