//! Readouts: what the kernels find in the voltages of a record's samples.
use super::Sizes;
use super::driver::{Buffer, Device, Plain};
use super::forward::{ARRIVALS_FULL, MOST_SLOTS, threads};
use super::sample::Samples;
use super::tables::{ListTable, Lists, Loaded, NetworkTable, Number, Own, Status};
use super::weighting::Weight;
use crate::error::{Error, Result};
use crate::network::Network;
use crate::neuron::Constants;
use crate::parallel::CancelFlag;
use crate::record::{Peak, Readout, ReadoutValues, Record};
use crate::spikes::SpikeBatch;

#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct ReadoutTable {
    functional: i32,
    population: i32,
    weight: Weight,
    scale: f64,
    times: u64,
    n_times: i64,
    values: u64,
    peaks: u64,
    knots: u64,
    n_knots: i64,
}

#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct ReadoutArgs {
    net: NetworkTable,
    own: Own,
    lists: ListTable,
    readouts: u64,
    status: u64,
    window: f64,
    windows: i64,
    n_readouts: i64,
}

// SAFETY: repr(C), numbers alone.
unsafe impl Plain for ReadoutTable {}
// SAFETY: as above.
unsafe impl Plain for ReadoutArgs {}

/// A readout's storage.
struct Asked {
    times: Buffer<f64>,
    values: Buffer<f64>,
    peaks: Buffer<f64>,
    knots: Buffer<f64>,
    n_knots: usize,
    n_values: usize,
    n_peaks: usize,
}

/// The values of all readouts that the record asks for.
#[allow(clippy::too_many_arguments)]
pub fn read<T: Number>(
    cancel: &CancelFlag,
    device: &Device,
    network: &Network,
    loaded: &Loaded<T>,
    constants: &[Constants<T>],
    inputs: &[SpikeBatch<'_>],
    record: &Record<T>,
    (window, windows): (f64, i64),
    sizes: &Sizes,
) -> Result<Vec<ReadoutValues<T>>> {
    let mut found = vec![ReadoutValues::default(); record.requests.len()];
    if found.is_empty() {
        return Ok(found);
    }
    let slots = sizes.slots.unwrap_or(MOST_SLOTS).max(1);
    let mut room = sizes.arrivals.unwrap_or(32).max(1);
    for first in (0..record.batch).step_by(slots) {
        let range = first..(first + slots).min(record.batch);
        let samples = Samples::new(device, network, loaded, inputs, record, range)?;
        let asked = asked(device, network, constants, record, samples.slots)?;
        let table: Vec<_> = record.requests.iter().zip(&asked).map(|(r, a)| entry(r, a, record.duration)).collect();
        let readouts = device.upload(&table)?;
        let status = device.zeros::<Status>(samples.slots)?;
        loop {
            if cancel.is_cancelled() {
                return Err(Error::Cancelled);
            }
            let lists = Lists::<T>::new(device, samples.slots, loaded.n_neurons, room)?;
            let args = ReadoutArgs {
                net: samples.network(network, loaded, record.duration),
                own: samples.own(),
                lists: lists.table(),
                readouts: readouts.at(),
                status: status.at(),
                window,
                windows,
                n_readouts: table.len() as i64,
            };
            let kernel = format!("evprop_readout_{}", T::KERNELS);
            // SAFETY: the tables hold addresses of live buffers, of the sizes that they tell.
            unsafe { device.launch(&kernel, samples.slots as u32, threads(sizes, loaded.n_neurons), &args)? };
            let full = device.download(&status, samples.slots)?.iter().any(|s| s.code == ARRIVALS_FULL);
            if !full {
                break;
            }
            room *= 2;
        }
        for (values, asked) in found.iter_mut().zip(&asked) {
            values.values.extend(device.download(&asked.values, asked.n_values)?.into_iter().map(T::of));
            let peaks = device.download(&asked.peaks, 2 * asked.n_peaks)?;
            values.peaks.extend(peaks.chunks_exact(2).map(|x| Peak { time: x[0], slope: x[1] }));
        }
    }
    Ok(found)
}

fn asked<T: Number>(
    device: &Device,
    network: &Network,
    constants: &[Constants<T>],
    record: &Record<T>,
    slots: usize,
) -> Result<Vec<Asked>> {
    let one = |request: &crate::record::ReadoutRequest| {
        let n = network.populations()[request.population].size;
        let times = match &request.readout {
            Readout::Final => vec![record.duration],
            Readout::Sampled(times) => times.clone(),
            _ => Vec::new(),
        };
        let n_values = slots * n * request.readout.width();
        let n_peaks = if request.readout == Readout::Max { slots * n } else { 0 };
        let n_knots = Weight::of(&request.readout, record.duration)
            .map_or(0, |(weight, _)| weight.knots(&constants[request.population], record.duration));
        Ok(Asked {
            knots: device.alloc((2 * slots * n).saturating_mul(n_knots))?,
            n_knots,
            times: device.upload(&times)?,
            values: device.alloc(n_values)?,
            peaks: device.alloc(2 * n_peaks)?,
            n_values,
            n_peaks,
        })
    };
    record.requests.iter().map(one).collect()
}

fn entry(request: &crate::record::ReadoutRequest, asked: &Asked, duration: f64) -> ReadoutTable {
    let (functional, n_times) = match &request.readout {
        Readout::Final => (1, 1),
        Readout::Sampled(times) => (1, times.len()),
        Readout::Max => (2, 0),
        _ => (0, 0),
    };
    let (weight, scale) = Weight::of(&request.readout, duration).unwrap_or((Weight::default(), 1.0));
    ReadoutTable {
        functional,
        population: request.population as i32,
        weight,
        scale,
        times: asked.times.at(),
        n_times: n_times as i64,
        values: asked.values.at(),
        peaks: asked.peaks.at(),
        knots: asked.knots.at(),
        n_knots: asked.n_knots as i64,
    }
}
