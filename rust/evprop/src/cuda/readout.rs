//! Readouts: what the kernels find in the voltages of a record's samples.
use super::Sizes;
use super::forward::{ARRIVALS_FULL, MOST_SLOTS, threads};
use super::lane::{Buffer, Lane, Plain};
use super::resident::{Resident, Values};
use super::tables::{ListTable, Lists, NetworkTable, Number, Own, Status};
use super::weighting::Weight;
use crate::error::{Error, Result};
use crate::network::Network;
use crate::parallel::CancelFlag;
use crate::record::{Readout, ReadoutRequest};

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

/// What a readout needs besides room for its values.
struct Needs {
    times: Buffer<f64>,
    knots: Buffer<f64>,
    n_knots: usize,
}

/// The values of all readouts that the record asks for, on the device.
pub fn read<T: Number>(
    cancel: &CancelFlag,
    lane: &Lane,
    network: &Network,
    record: &Resident<T>,
    (window, windows): (f64, i64),
    sizes: &Sizes,
) -> Result<Vec<Values>> {
    let requests = record.requests();
    let values = requests.iter().map(|r| room(lane, network, r, record.batch())).collect::<Result<Vec<_>>>()?;
    if values.is_empty() {
        return Ok(values);
    }
    let loaded = &record.loaded;
    let most = sizes.slots.unwrap_or(MOST_SLOTS).clamp(1, MOST_SLOTS);
    let needs = requests.iter().map(|r| needs(lane, network, record, r, most)).collect::<Result<Vec<_>>>()?;
    let mut list_room = sizes.arrivals.unwrap_or(32).max(1);
    for range in record.ranges(most) {
        let entries = requests.iter().zip(&needs).zip(&values);
        let table: Vec<_> =
            entries.map(|((r, n), v)| entry(network, r, n, v, record.duration(), range.start)).collect();
        let (readouts, trains) = (lane.upload(&table)?, record.table(lane, range.start)?);
        let status = lane.zeros::<Status>(range.len())?;
        loop {
            if cancel.is_cancelled() {
                return Err(Error::Cancelled);
            }
            let lists = Lists::<T>::new(lane, range.len(), loaded.n_neurons, list_room)?;
            let args = ReadoutArgs {
                net: record.network(network, &trains),
                own: record.own(range.start),
                lists: lists.table(),
                readouts: readouts.at(),
                status: status.at(),
                window,
                windows,
                n_readouts: table.len() as i64,
            };
            let kernel = format!("evprop_readout_{}", T::KERNELS);
            // SAFETY: the tables hold addresses of live buffers, of the sizes that they tell.
            unsafe { lane.launch(&kernel, range.len(), threads(sizes, loaded.n_neurons), &args)? };
            if !lane.download(&status, range.len())?.iter().any(|s| s.code == ARRIVALS_FULL) {
                break;
            }
            list_room *= 2;
        }
    }
    Ok(values)
}

fn room(lane: &Lane, network: &Network, request: &ReadoutRequest, batch: usize) -> Result<Values> {
    let n = batch * network.populations()[request.population].size;
    let peaks = if request.readout == Readout::Max { 2 * n } else { 0 };
    Ok(Values { values: lane.alloc(n * request.readout.width())?, peaks: lane.alloc(peaks)? })
}

fn needs<T: Number>(
    lane: &Lane,
    network: &Network,
    record: &Resident<T>,
    request: &ReadoutRequest,
    most: usize,
) -> Result<Needs> {
    let n = network.populations()[request.population].size;
    let times = match &request.readout {
        Readout::Final => vec![record.duration()],
        Readout::Sampled(times) => times.clone(),
        _ => Vec::new(),
    };
    let n_knots = Weight::of(&request.readout, record.duration())
        .map_or(0, |(weight, _)| weight.knots(&record.loaded.constants()[request.population], record.duration()));
    let knots = lane.alloc((2 * most.min(record.batch()) * n).saturating_mul(n_knots))?;
    Ok(Needs { times: lane.upload(&times)?, knots, n_knots })
}

/// The readout of samples `first..`.
fn entry(
    network: &Network,
    request: &ReadoutRequest,
    needs: &Needs,
    values: &Values,
    duration: f64,
    first: usize,
) -> ReadoutTable {
    let (functional, n_times) = match &request.readout {
        Readout::Final => (1, 1),
        Readout::Sampled(times) => (1, times.len()),
        Readout::Max => (2, 0),
        _ => (0, 0),
    };
    let (weight, scale) = Weight::of(&request.readout, duration).unwrap_or((Weight::default(), 1.0));
    let before = first * network.populations()[request.population].size;
    ReadoutTable {
        functional,
        population: request.population as i32,
        weight,
        scale,
        times: needs.times.at(),
        n_times: n_times as i64,
        values: values.values.at_element(before * request.readout.width()),
        peaks: values.peaks.at_element(2 * before),
        knots: needs.knots.at(),
        n_knots: needs.n_knots as i64,
    }
}
