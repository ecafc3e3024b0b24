//! The forward pass: rounds of launches until every sample has had room enough, then the record.
use super::Sizes;
use super::driver::{Buffer, Device, Plain};
use super::readout;
use super::tables::{ListTable, Lists, Loaded, NetworkTable, Number, Status, Train, Trains};
use crate::error::{Error, Result};
use crate::network::{Kind, Network, Params};
use crate::parallel::CancelFlag;
use crate::record::sample::check_inputs;
use crate::record::{PopulationRecord, ReadoutRequest, Record};
use crate::simulate::until_fired::{self, Fired};
use crate::simulate::{Chunk, Settings, assemble};
use crate::spikes::SpikeBatch;

/// Most threads of a block (`kernels/block.cuh`).
const MOST_THREADS: usize = 256;

/// Most samples at a time: enough to fill any GPU.
pub const MOST_SLOTS: usize = 4096;

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

/// The spikes of one population in one sample.
#[derive(Debug, Clone)]
struct Played<T> {
    times: Vec<f64>,
    units: Vec<u32>,
    current: Vec<T>,
    release: Vec<T>,
}

/// The exact simulator on a GPU.
#[allow(clippy::too_many_arguments)]
pub fn simulate<T: Number>(
    cancel: &CancelFlag,
    device: &Device,
    network: &Network,
    params: &Params<'_, T>,
    inputs: &[SpikeBatch<'_>],
    requests: &[ReadoutRequest],
    settings: &Settings,
    sizes: &Sizes,
) -> Result<Record<T>> {
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
    device.enter()?;
    let constants = params.all_constants(network);
    let loaded = Loaded::new(device, network, params, &constants)?;
    let forward = Forward { cancel, device, network, loaded: &loaded, inputs, settings, sizes };
    let played = forward.all(batch)?;
    let holds: Vec<bool> = constants.iter().map(|c| c.holds).collect();
    let chunks = played.into_iter().map(|sample| forward.chunk(sample, &holds)).collect();
    let mut record = assemble(network, batch, settings.duration, &[], chunks);
    record.requests = requests.to_vec();
    record.readouts =
        readout::read(cancel, device, network, &loaded, &constants, inputs, &record, forward.windows(), sizes)?;
    Ok(record)
}

struct Forward<'a, T> {
    cancel: &'a CancelFlag,
    device: &'a Device,
    network: &'a Network,
    loaded: &'a Loaded<T>,
    inputs: &'a [SpikeBatch<'a>],
    settings: &'a Settings,
    sizes: &'a Sizes,
}

impl<T: Number> Forward<'_, T> {
    fn lif(&self) -> impl Iterator<Item = usize> {
        let all = self.network.populations();
        (0..all.len()).filter(|&p| all[p].kind == Kind::Lif)
    }

    /// Plays all samples; `[sample][population]`.
    fn all(&self, batch: usize) -> Result<Vec<Vec<Played<T>>>> {
        let mut done: Vec<Option<Vec<Played<T>>>> = vec![None; batch];
        let duration = self.settings.duration;
        // A guess, which costs a second round where it is too low.
        let guess = Spikes::PerNeuron(4 + (duration / 50.0).min(1e6) as usize);
        let mut room = Room {
            spikes: self.sizes.spikes.map_or(guess, Spikes::PerPopulation),
            arrivals: self.sizes.arrivals.unwrap_or(32).max(1),
        };
        let mut pending: Vec<usize> = (0..batch).collect();
        // The first sample that runs away is told, as on the CPU; one before it may still turn out to.
        let mut runaway: Option<(usize, Status)> = None;
        while !pending.is_empty() {
            let slots = self.slots(room)?;
            let (mut spikes, mut arrivals, mut again) = (false, false, Vec::new());
            for samples in pending.chunks(slots) {
                if self.cancel.is_cancelled() {
                    return Err(Error::Cancelled);
                }
                let round = Round::new(self, samples, room)?;
                for (slot, (&sample, status)) in samples.iter().zip(round.run(self)?).enumerate() {
                    match status.code {
                        0 => done[sample] = Some(round.played(self, slot)?),
                        RUNAWAY if runaway.is_none_or(|(first, _)| sample < first) => runaway = Some((sample, status)),
                        RUNAWAY => {}
                        code => {
                            spikes |= code == SPIKES_FULL;
                            arrivals |= code == ARRIVALS_FULL;
                            again.push(sample);
                        }
                    }
                }
            }
            room.spikes = if spikes { room.spikes.doubled() } else { room.spikes };
            room.arrivals *= if arrivals { 2 } else { 1 };
            if let Some((first, status)) = runaway {
                again.retain(|&sample| sample < first);
                if again.is_empty() {
                    return Err(self.runaway(first, status));
                }
            }
            pending = again;
        }
        Ok(done.into_iter().flatten().collect())
    }

    fn runaway(&self, sample: usize, status: Status) -> Error {
        Error::Runaway {
            population: self.network.populations()[status.population as usize].name.clone(),
            limit: self.settings.max_spikes,
            sample,
            time: status.time,
        }
    }

    /// How many samples go at a time.
    fn slots(&self, room: Room) -> Result<usize> {
        let (t, n) = (size_of::<T>(), self.loaded.n_lif);
        let spikes: usize = self.lif().map(|p| self.room(room, p)).sum();
        let neuron = 4 * 8 + 3 * t + 4;
        let slot = spikes * (8 + 4 + 2 * t) + n * neuron + Lists::<T>::bytes(n, room.arrivals) + 64;
        let (free, _) = self.device.memory()?;
        let fit = (free / 10 * 9 / slot).max(1);
        Ok(fit.min(self.sizes.slots.unwrap_or(MOST_SLOTS)).max(1))
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

    /// A sample as part of a record.
    fn chunk(&self, sample: Vec<Played<T>>, holds: &[bool]) -> Chunk<T> {
        let mut populations: Vec<_> =
            sample.iter().map(|played| PopulationRecord::with_room(1, played.times.len())).collect();
        for ((p, record), played) in populations.iter_mut().enumerate().zip(sample) {
            record.times.extend(played.times);
            record.units.extend(played.units);
            record.current.extend(played.current);
            if holds[p] {
                record.release.extend(played.release);
            }
            record.offsets.push(record.times.len() as i64);
        }
        let mut chunk = Chunk { populations, readouts: Vec::new() };
        if let Some(p) = self.settings.stop_when_fired {
            Fired::default().cut(self.network.populations()[p].size, p, 0, &mut chunk);
        }
        chunk
    }
}

/// One launch: its samples and their storage.
struct Round<T> {
    trains: Vec<Train<T>>,
    table: Buffer<Trains>,
    samples: usize,
    room: Room,
}

impl<T: Number> Round<T> {
    fn new(forward: &Forward<'_, T>, samples: &[usize], room: Room) -> Result<Self> {
        let device = forward.device;
        let mut given = forward.inputs.iter();
        let mut trains = Vec::new();
        for (p, population) in forward.network.populations().iter().enumerate() {
            let input = if population.kind == Kind::Input { given.next() } else { None };
            trains.push(match (population.kind, input) {
                (Kind::Input, Some(input)) => {
                    Train::known(device, samples.iter().map(|&sample| input.sample(sample)), &[], &[])?
                }
                (Kind::Lif, _) => Train::empty(device, samples.len(), forward.room(room, p))?,
                _ => Train::empty(device, samples.len(), 0)?,
            });
        }
        let tables: Vec<_> = trains.iter().map(Train::table).collect();
        Ok(Self { table: device.upload(&tables)?, trains, samples: samples.len(), room })
    }

    /// How each slot ended.
    fn run(&self, forward: &Forward<'_, T>) -> Result<Vec<Status>> {
        let (device, n) = (forward.device, forward.loaded.n_lif);
        let cells = n * self.samples;
        let [time, hold, cross] = [device.alloc::<f64>(cells)?, device.alloc(cells)?, device.alloc(cells)?];
        let [u, i, cross_i] = [device.alloc::<T>(cells)?, device.alloc(cells)?, device.alloc(cells)?];
        let last = device.alloc::<i64>(cells)?;
        let past = device.alloc::<i32>(cells)?;
        let lists = Lists::<T>::new(device, self.samples, n, self.room.arrivals)?;
        let status = device.zeros::<Status>(self.samples)?;
        let (window, windows) = forward.windows();
        let args = ForwardArgs {
            net: forward.loaded.table(forward.network, &self.table, forward.settings.duration),
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
            max_spikes: forward.settings.max_spikes.min(i64::MAX as usize) as i64,
        };
        let threads = threads(forward.sizes, n);
        let kernel = format!("evprop_forward_{}", T::KERNELS);
        // SAFETY: the tables hold addresses of live buffers, of the sizes that they tell.
        unsafe { device.launch(&kernel, self.samples as u32, threads, &args)? };
        device.download(&status, self.samples)
    }

    /// The spikes of a slot that ended well, by population.
    fn played(&self, forward: &Forward<'_, T>, slot: usize) -> Result<Vec<Played<T>>> {
        let device = forward.device;
        let spiking: Vec<_> = forward.lif().collect();
        let one = |(p, train): (usize, &Train<T>)| {
            if !spiking.contains(&p) {
                return Ok(Played { times: vec![], units: vec![], current: vec![], release: vec![] });
            }
            let count = device.download_part(&train.count, slot, 1)?[0] as usize;
            let first = slot * train.room;
            Ok(Played {
                times: device.download_part(&train.times, first, count)?,
                units: device.download_part(&train.units, first, count)?,
                current: device.download_part(&train.current, first, count)?,
                release: device.download_part(&train.release, first, count)?,
            })
        };
        self.trains.iter().enumerate().map(one).collect()
    }
}
