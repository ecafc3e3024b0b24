//! The forward pass: rounds of launches until every sample has had room enough, then the record, which stays on the device.
//!
//! A round is cut into chunks of samples, which lanes take in turn: while one computes, the next one's spikes are copied.
use std::sync::Arc;

use super::Sizes;
use super::driver::Device;
use super::keep::{Piece, merge};
use super::lane::{Buffer, Lane, Plain};
use super::readout;
use super::resident::Resident;
use super::tables::{ListTable, Lists, Loaded, NetworkTable, Number, Status, Train, Trains};
use crate::error::{Error, Result};
use crate::network::{Kind, Network, Params};
use crate::parallel::CancelFlag;
use crate::record::ReadoutRequest;
use crate::record::sample::check_inputs;
use crate::simulate::{Settings, until_fired};
use crate::spikes::SpikeBatch;

/// Most threads of a block (`kernels/block.cuh`).
const MOST_THREADS: usize = 256;

/// Most samples at a time: enough to fill any GPU.
pub const MOST_SLOTS: usize = 4096;

/// A chunk is not made smaller than this: there is little to copy then.
const FEWEST_SLOTS: usize = 32;

const SPIKES_FULL: i32 = 1;
pub const ARRIVALS_FULL: i32 = 2;
const RUNAWAY: i32 = 3;

#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct ScratchTable {
    time: u64,
    hold: u64,
    cross: u64,
    u: u64,
    i: u64,
    cross_i: u64,
    last: u64,
    past: u64,
}

#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct ForwardArgs {
    net: NetworkTable,
    scratch: ScratchTable,
    lists: ListTable,
    status: u64,
    window: f64,
    windows: i64,
    max_spikes: i64,
    stop: i64,
}

// SAFETY: repr(C), numbers alone.
unsafe impl Plain for ForwardArgs {}

/// Threads of a block for `n` neurons.
pub fn threads(sizes: &Sizes, n: usize) -> u32 {
    sizes.threads.map_or(n, |t| t as usize).next_multiple_of(32).clamp(32, MOST_THREADS) as u32
}

/// The room of one round.
#[derive(Debug, Clone, Copy)]
struct Room {
    /// Spikes per neuron of a population.
    spikes: Spikes,
    /// Entries of a list of arrivals.
    arrivals: usize,
}

#[derive(Debug, Clone, Copy)]
enum Spikes {
    PerNeuron(usize),
    PerPopulation(usize),
}

impl Spikes {
    fn of(self, size: usize, most: usize) -> usize {
        let wanted = match self {
            Self::PerNeuron(k) => k * size,
            Self::PerPopulation(k) => k,
        };
        wanted.min(most).max(1)
    }

    fn doubled(self) -> Self {
        match self {
            Self::PerNeuron(k) => Self::PerNeuron(2 * k),
            Self::PerPopulation(k) => Self::PerPopulation(2 * k),
        }
    }
}

/// The exact simulator on a GPU.
#[allow(clippy::too_many_arguments)]
pub fn simulate<T: Number>(
    cancel: &CancelFlag,
    device: &Arc<Device>,
    network: &Network,
    params: &Params<'_, T>,
    inputs: &[SpikeBatch<'_>],
    requests: &[ReadoutRequest],
    settings: &Settings,
    sizes: &Sizes,
) -> Result<Resident<T>> {
    let loaded = Arc::new(Loaded::new(&Lane::new(device)?, network, params)?);
    play(cancel, device, network, &loaded, inputs, requests, settings, sizes)
}

fn check(
    network: &Network,
    inputs: &[SpikeBatch<'_>],
    requests: &[ReadoutRequest],
    settings: &Settings,
) -> Result<usize> {
    let batch = check_inputs(network, inputs, settings.duration)?;
    for request in requests {
        request.readout.check(settings.duration)?;
        if network.populations()[request.population].kind == Kind::Input {
            return Err(Error::Argument("an input population has no voltage to read".into()));
        }
    }
    if let Some(p) = settings.stop_when_fired {
        until_fired::check(network, p, requests)?;
    }
    Ok(batch)
}

/// The same with parameters that are on the device already.
#[allow(clippy::too_many_arguments)]
pub fn play<T: Number>(
    cancel: &CancelFlag,
    device: &Arc<Device>,
    network: &Network,
    loaded: &Arc<Loaded<T>>,
    inputs: &[SpikeBatch<'_>],
    requests: &[ReadoutRequest],
    settings: &Settings,
    sizes: &Sizes,
) -> Result<Resident<T>> {
    let batch = check(network, inputs, requests, settings)?;
    let lanes = (0..sizes.lanes.unwrap_or(2).max(1)).map(|_| Lane::new(device)).collect::<Result<Vec<_>>>()?;
    let lane = &lanes[0];
    let given = inputs.iter().map(|input| Train::packed(lane, input.offsets(), false)).collect::<Result<Vec<_>>>()?;
    lane.wait()?; // all lanes use these
    let forward = Forward { cancel, lanes: &lanes, network, loaded, inputs, given: &given, settings, sizes };
    let windows = forward.windows();
    let mut spikes = merge(&lanes, network, batch, forward.all(batch)?)?;
    let mut given = given.into_iter().zip(inputs);
    for (p, population) in network.populations().iter().enumerate() {
        if population.kind == Kind::Input
            && let Some((train, input)) = given.next()
        {
            (spikes.0[p], spikes.1[p]) = (train, input.offsets().to_vec());
        }
    }
    let mut record = Resident::new(device, lane, network, loaded.clone(), spikes, settings.duration, requests)?;
    record.values = readout::read(cancel, lane, network, &record, windows, sizes)?;
    lane.wait()?;
    Ok(record)
}

struct Forward<'a, T> {
    cancel: &'a CancelFlag,
    lanes: &'a [Lane],
    network: &'a Network,
    loaded: &'a Loaded<T>,
    inputs: &'a [SpikeBatch<'a>],
    /// The inputs on the device, filled chunk by chunk.
    given: &'a [Train<T>],
    settings: &'a Settings,
    sizes: &'a Sizes,
}

/// What is known after a part of a round.
struct Outcome<T> {
    pieces: Vec<Piece<T>>,
    again: Vec<usize>,
    full: [bool; 2],
    /// The first sample that runs away is told, as on the CPU; one before it may still turn out to.
    runaway: Option<(usize, Status)>,
}

impl<T: Number> Forward<'_, T> {
    fn lif(&self) -> impl Iterator<Item = usize> {
        let all = self.network.populations();
        (0..all.len()).filter(|&p| all[p].kind == Kind::Lif)
    }

    /// Plays all samples.
    fn all(&self, batch: usize) -> Result<Vec<Piece<T>>> {
        // A guess, which costs a second round where it is too low.
        let guess = Spikes::PerNeuron(4 + (self.settings.duration / 50.0).min(1e6) as usize);
        let mut room = Room {
            spikes: self.sizes.spikes.map_or(guess, Spikes::PerPopulation),
            arrivals: self.sizes.arrivals.unwrap_or(32).max(1),
        };
        let mut pending: Vec<usize> = (0..batch).collect();
        let mut outcome = Outcome { pieces: Vec::new(), again: Vec::new(), full: [false; 2], runaway: None };
        for round in 0.. {
            self.round(&pending, room, round == 0, &mut outcome)?;
            pending = std::mem::take(&mut outcome.again);
            pending.sort_unstable();
            let [spikes, arrivals] = std::mem::take(&mut outcome.full);
            room.spikes = if spikes { room.spikes.doubled() } else { room.spikes };
            room.arrivals *= if arrivals { 2 } else { 1 };
            if let Some((first, status)) = outcome.runaway {
                pending.retain(|&sample| sample < first);
                if pending.is_empty() {
                    return Err(self.runaway(first, status));
                }
            }
            if pending.is_empty() {
                break;
            }
        }
        Ok(outcome.pieces)
    }

    fn round(&self, pending: &[usize], room: Room, new: bool, outcome: &mut Outcome<T>) -> Result<()> {
        let mut flights: Vec<Option<Flight<T>>> = self.lanes.iter().map(|_| None).collect();
        for (k, samples) in pending.chunks(self.slots(room, pending.len())?).enumerate() {
            let k = k % self.lanes.len();
            if let Some(flight) = flights[k].take() {
                self.land(&self.lanes[k], &flight, outcome)?;
            }
            if self.cancel.is_cancelled() {
                return Err(Error::Cancelled);
            }
            flights[k] = Some(self.start(&self.lanes[k], samples, room, new)?);
        }
        for (lane, flight) in self.lanes.iter().zip(flights) {
            if let Some(flight) = flight {
                self.land(lane, &flight, outcome)?;
            }
        }
        Ok(())
    }

    fn runaway(&self, sample: usize, status: Status) -> Error {
        Error::Runaway {
            population: self.network.populations()[status.population as usize].name.clone(),
            limit: self.settings.max_spikes,
            sample,
            time: status.time,
        }
    }

    /// How many samples go at a time: what fits, and few enough for every lane to get two chunks.
    fn slots(&self, room: Room, samples: usize) -> Result<usize> {
        let (t, n) = (size_of::<T>(), self.loaded.n_lif);
        let spikes: usize = self.lif().map(|p| self.room(room, p)).sum();
        let neuron = 4 * 8 + 3 * t + 4;
        let slot = spikes * (8 + 4 + 2 * t) + n * neuron + Lists::<T>::bytes(n, room.arrivals) + 64;
        let (free, _) = self.lanes[0].device().memory()?;
        let fit = free / 10 * 9 / self.lanes.len() / slot;
        let share = samples.div_ceil(2 * self.lanes.len()).max(FEWEST_SLOTS);
        Ok(self.sizes.slots.unwrap_or(share).min(fit).clamp(1, MOST_SLOTS))
    }

    fn room(&self, room: Room, p: usize) -> usize {
        room.spikes.of(self.network.populations()[p].size, self.settings.max_spikes)
    }

    /// Length and number of the windows: of about eight arrivals at a neuron.
    fn windows(&self) -> (f64, i64) {
        let duration = self.settings.duration;
        let per_sample = |input: &SpikeBatch<'_>| input.n_spikes() as f64 / input.len() as f64;
        let step = self.sizes.window.unwrap_or_else(|| {
            let arrivals: f64 = self.inputs.iter().map(per_sample).sum();
            duration / (arrivals / 8.0).clamp(1.0, 1e6)
        });
        (step, (duration / step).ceil().clamp(1.0, 1e9) as i64)
    }

    /// Asks a lane to play samples; their spikes are sent first if they are `new`.
    fn start(&self, lane: &Lane, samples: &[usize], room: Room, new: bool) -> Result<Flight<T>> {
        let (mut trains, mut tables, mut places) = (Vec::new(), Vec::new(), Vec::new());
        let mut given = self.inputs.iter().zip(self.given);
        for (p, population) in self.network.populations().iter().enumerate() {
            tables.push(match population.kind {
                Kind::Input => match given.next() {
                    Some((input, train)) => {
                        if new {
                            send(lane, input, train, samples)?;
                        }
                        let at = |sample: &usize| input.offsets()[*sample];
                        let first: Vec<_> = samples.iter().map(at).collect();
                        let count: Vec<_> = samples.iter().map(|b| input.sample(*b).len() as i64).collect();
                        let (first, count) = (lane.upload(&first)?, lane.upload(&count)?);
                        let table = Trains { first: first.at(), count: count.at(), ..train.table() };
                        places.extend([first, count]);
                        table
                    }
                    None => Trains::default(),
                },
                Kind::Lif => {
                    let train = Train::empty(lane, samples.len(), self.room(room, p))?;
                    let table = train.table();
                    trains.push((p, train));
                    table
                }
                Kind::Li => Trains::default(),
            });
        }
        let table = lane.upload(&tables)?;
        let status = self.launch(lane, samples.len(), room, &table)?;
        Ok(Flight { samples: samples.to_vec(), trains, status })
    }

    fn launch(&self, lane: &Lane, slots: usize, room: Room, trains: &Buffer<Trains>) -> Result<Buffer<Status>> {
        let n = self.loaded.n_lif;
        let cells = n * slots;
        let [time, hold, cross] = [lane.alloc::<f64>(cells)?, lane.alloc(cells)?, lane.alloc(cells)?];
        let [u, i, cross_i] = [lane.alloc::<T>(cells)?, lane.alloc(cells)?, lane.alloc(cells)?];
        let last = lane.alloc::<i64>(cells)?;
        let past = lane.alloc::<i32>(cells)?;
        let lists = Lists::<T>::new(lane, slots, n, room.arrivals)?;
        let status = lane.zeros::<Status>(slots)?;
        let (window, windows) = self.windows();
        let args = ForwardArgs {
            net: self.loaded.table(self.network, trains, self.settings.duration),
            scratch: ScratchTable {
                time: time.at(),
                hold: hold.at(),
                cross: cross.at(),
                u: u.at(),
                i: i.at(),
                cross_i: cross_i.at(),
                last: last.at(),
                past: past.at(),
            },
            lists: lists.table(),
            status: status.at(),
            window,
            windows,
            max_spikes: self.settings.max_spikes.min(i64::MAX as usize) as i64,
            stop: self.settings.stop_when_fired.map_or(-1, |p| p as i64),
        };
        let kernel = format!("evprop_forward_{}", T::KERNELS);
        // SAFETY: the tables hold addresses of buffers of the sizes that they tell, given back in the order of the lane.
        unsafe { lane.launch(&kernel, slots, threads(self.sizes, n), &args)? };
        Ok(status)
    }

    /// Waits for a flight, and keeps the spikes of the samples that ended well.
    fn land(&self, lane: &Lane, flight: &Flight<T>, outcome: &mut Outcome<T>) -> Result<()> {
        let (mut slots, mut samples) = (Vec::new(), Vec::new());
        let status = lane.download(&flight.status, flight.samples.len())?;
        for (slot, (&sample, status)) in flight.samples.iter().zip(status).enumerate() {
            match status.code {
                0 => {
                    slots.push(slot);
                    samples.push(sample);
                }
                RUNAWAY if outcome.runaway.is_none_or(|(first, _)| sample < first) => {
                    outcome.runaway = Some((sample, status));
                }
                RUNAWAY => {}
                code => {
                    outcome.full[0] |= code == SPIKES_FULL;
                    outcome.full[1] |= code == ARRIVALS_FULL;
                    outcome.again.push(sample);
                }
            }
        }
        if !slots.is_empty() {
            outcome.pieces.push(Piece::new(lane, &flight.trains, &slots, samples)?);
        }
        Ok(())
    }
}

/// Copies the input spikes of neighbouring samples to their place on the device.
fn send<T: Number>(lane: &Lane, input: &SpikeBatch<'_>, train: &Train<T>, samples: &[usize]) -> Result<()> {
    let (first, end) = (samples[0], samples[samples.len() - 1] + 1);
    let (spikes, at) = (input.samples(first, end), input.offsets()[first] as usize);
    lane.write(&train.times, at, spikes.times)?;
    lane.write(&train.units, at, spikes.units)
}

/// One launch: its samples and their storage.
struct Flight<T> {
    samples: Vec<usize>,
    /// Of every LIF population.
    trains: Vec<(usize, Train<T>)>,
    status: Buffer<Status>,
}
