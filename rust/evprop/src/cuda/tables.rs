//! The network as the kernels see it: laid out like `kernels/tables.cuh`.
use std::mem::offset_of;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::lane::{Buffer, Lane, Plain};
use crate::error::Result;
use crate::math::Real;
use crate::network::{Kind, Network, Params};
use crate::neuron::Constants;
use crate::projection::{Connectivity, DelayKind};

#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Population {
    kind: i32,
    size: i32,
    first: i32,
    inlets: i32,
    n_inlets: i32,
    unused: i32,
}

#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Projection {
    pre: i32,
    post: i32,
    delay_kind: i32,
    n_post: i32,
    longest: f64,
    weight: u64,
    delay: u64,
    indptr: u64,
    targets: u64,
}

#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Neuron<T> {
    t_ref: f64,
    values: [T; 14],
}

/// Addresses of the spikes of one population, by slot.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub struct Trains {
    pub times: u64,
    pub units: u64,
    pub current: u64,
    pub release: u64,
    pub first: u64,
    pub count: u64,
    pub room: i64,
}

/// Addresses of each neuron's own spikes.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Own {
    pub start: u64,
    pub index: u64,
}

/// Addresses of lists of arrivals.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct ListTable {
    pub len: u64,
    pub due: u64,
    pub charge: u64,
    pub room: i32,
    pub lanes: i32,
}

/// Lists of arrivals in the device's memory.
#[derive(Debug)]
pub struct Lists<T> {
    len: Buffer<i32>,
    due: Buffer<f64>,
    charge: Buffer<T>,
    room: usize,
    lanes: usize,
}

impl<T: Number> Lists<T> {
    pub fn new(lane: &Lane, slots: usize, lanes: usize, room: usize) -> Result<Self> {
        let cells = slots * lanes;
        let (len, due) = (lane.alloc(cells)?, lane.alloc(cells * room)?);
        Ok(Self { len, due, charge: lane.alloc(cells * room)?, room, lanes })
    }

    /// Bytes of one slot.
    pub fn bytes(lanes: usize, room: usize) -> usize {
        lanes * (4 + room * (8 + size_of::<T>()))
    }

    pub fn table(&self) -> ListTable {
        ListTable {
            len: self.len.at(),
            due: self.due.at(),
            charge: self.charge.at(),
            room: self.room as i32,
            lanes: self.lanes as i32,
        }
    }
}

/// How a slot ended.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub struct Status {
    pub code: i32,
    pub population: i32,
    pub time: f64,
}

/// Addresses of a network and of the spikes that go with it.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct NetworkTable {
    pub populations: u64,
    pub projections: u64,
    pub incoming: u64,
    pub neurons: u64,
    pub owner: u64,
    pub trains: u64,
    pub n_populations: i32,
    pub n_lif: i32,
    pub duration: f64,
}

#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct LongestArgs {
    delays: u64,
    n: i64,
    longest: u64,
}

/// What a neuron's constants are made of.
const CONSTANTS: [&str; 7] = ["tau_mem", "tau_syn", "v_th", "v_reset", "i_bias", "v_init", "t_ref"];

// SAFETY: repr(C), numbers alone.
unsafe impl Plain for LongestArgs {}
// SAFETY: all are repr(C) and hold numbers alone.
unsafe impl Plain for Population {}
// SAFETY: as above.
unsafe impl Plain for Projection {}
// SAFETY: as above.
unsafe impl<T: Plain> Plain for Neuron<T> {}
// SAFETY: as above.
unsafe impl Plain for Trains {}
// SAFETY: as above.
unsafe impl Plain for Status {}
// SAFETY: as above.
unsafe impl Plain for Own {}
// SAFETY: as above.
unsafe impl Plain for NetworkTable {}

/// A number type of the kernels.
pub trait Number: Real + Plain + Default {
    /// Ending of the kernels' names.
    const KERNELS: &'static str;
}
impl Number for f32 {
    const KERNELS: &'static str = "f32";
}
impl Number for f64 {
    const KERNELS: &'static str = "f64";
}

/// The spikes of one population by slot, in the device's memory.
#[derive(Debug)]
pub struct Train<T> {
    pub times: Buffer<f64>,
    pub units: Buffer<u32>,
    pub current: Buffer<T>,
    pub release: Buffer<T>,
    pub first: Buffer<i64>,
    pub count: Buffer<i64>,
    pub room: usize,
}

impl<T: Number> Train<T> {
    /// Room for the spikes of `slots` samples, `room` each.
    pub fn empty(lane: &Lane, slots: usize, room: usize) -> Result<Self> {
        let first: Vec<_> = (0..slots).map(|slot| (slot * room) as i64).collect();
        Self::with(lane, slots * room, slots * room, &first, &vec![0; slots], room)
    }

    /// Room for spikes of known number: sample `b` has `offsets[b]..offsets[b + 1]`; with currents, if they are a network's.
    pub fn packed(lane: &Lane, offsets: &[i64], currents: bool) -> Result<Self> {
        let (slots, all) = (offsets.len() - 1, offsets[offsets.len() - 1] as usize);
        let count: Vec<_> = offsets.windows(2).map(|pair| pair[1] - pair[0]).collect();
        Self::with(lane, all, if currents { all } else { 0 }, &offsets[..slots], &count, 0)
    }

    fn with(lane: &Lane, all: usize, currents: usize, first: &[i64], count: &[i64], room: usize) -> Result<Self> {
        Ok(Self {
            times: lane.alloc(all)?,
            units: lane.alloc(all)?,
            current: lane.alloc(currents)?,
            release: lane.alloc(currents)?,
            first: lane.upload(first)?,
            count: lane.upload(count)?,
            room,
        })
    }

    /// From slot `slot` on.
    pub fn table_from(&self, slot: usize) -> Trains {
        Trains { first: self.first.at_element(slot), count: self.count.at_element(slot), ..self.table() }
    }

    pub fn table(&self) -> Trains {
        Trains {
            times: self.times.at(),
            units: self.units.at(),
            current: self.current.at(),
            release: self.release.at(),
            first: self.first.at(),
            count: self.count.at(),
            room: self.room as i64,
        }
    }
}

/// A network with its parameters in the device's memory.
#[derive(Debug)]
pub struct Loaded<T> {
    pub n_lif: usize,
    /// Neurons that spike, and leaky integrators after them.
    pub n_neurons: usize,
    constants: Mutex<Arc<Vec<Constants<T>>>>,
    /// How often the parameters changed.
    changes: AtomicU64,
    /// By population: its first neuron in the table of neurons.
    pub first: Vec<usize>,
    populations: Buffer<Population>,
    projections: Buffer<Projection>,
    incoming: Buffer<i32>,
    neurons: Buffer<Neuron<T>>,
    owner: Buffer<i32>,
    pub values: Vec<Buffer<T>>,
    _indices: Vec<(Buffer<i64>, Buffer<u32>)>,
}

impl<T: Number> Loaded<T> {
    pub fn new(lane: &Lane, network: &Network, params: &Params<'_, T>) -> Result<Self> {
        let (all, constants) = (network.populations(), params.all_constants(network));
        let (mut first, mut owner) = (vec![0; all.len()], Vec::new());
        let mut n_lif = 0;
        for kind in [Kind::Lif, Kind::Li] {
            for p in (0..all.len()).filter(|&p| all[p].kind == kind) {
                first[p] = owner.len();
                owner.resize(owner.len() + all[p].size, p as i32);
            }
            n_lif = if kind == Kind::Lif { owner.len() } else { n_lif };
        }
        let neurons = neurons(network, &constants);
        let (mut populations, mut incoming) = (Vec::new(), Vec::new());
        for (p, population) in all.iter().enumerate() {
            let kind = match population.kind {
                Kind::Input => 0,
                Kind::Lif => 1,
                Kind::Li => 2,
            };
            let (inlets, n_inlets) = (incoming.len() as i32, network.incoming(p).len() as i32);
            let (size, first) = (population.size as i32, first[p] as i32);
            populations.push(Population { kind, size, first, inlets, n_inlets, unused: 0 });
            incoming.extend(network.incoming(p).iter().map(|&q| q as i32));
        }
        let values = (0..network.layout().len()).map(|k| lane.upload(params.slot(k))).collect::<Result<Vec<_>>>()?;
        let (mut projections, mut indices) = (Vec::new(), Vec::new());
        for (q, projection) in network.projections().iter().enumerate() {
            let (mut indptr_at, mut targets_at) = (0, 0);
            if let Connectivity::Sparse { indptr, indices: targets } = &projection.connectivity {
                let indptr: Vec<i64> = indptr.iter().map(|&at| at as i64).collect();
                let buffers = (lane.upload(&indptr)?, lane.upload(targets)?);
                (indptr_at, targets_at) = (buffers.0.at(), buffers.1.at());
                indices.push(buffers);
            }
            let slot = network.delay_slot(q);
            let longest = slot.map_or(0.0, |k| params.slot(k).iter().map(|d| d.f64()).fold(0.0, f64::max));
            projections.push(Projection {
                pre: projection.pre as i32,
                post: projection.post as i32,
                delay_kind: match projection.delay {
                    DelayKind::None => 0,
                    DelayKind::Axonal => 1,
                    DelayKind::Dendritic => 2,
                    DelayKind::Synaptic => 3,
                },
                n_post: all[projection.post].size as i32,
                longest,
                weight: values[network.weight_slot(q)].at(),
                delay: slot.map_or(0, |k| values[k].at()),
                indptr: indptr_at,
                targets: targets_at,
            });
        }
        Ok(Self {
            n_lif,
            n_neurons: neurons.len(),
            constants: Mutex::new(Arc::new(constants)),
            changes: AtomicU64::new(0),
            first,
            populations: lane.upload(&populations)?,
            projections: lane.upload(&projections)?,
            incoming: lane.upload(&incoming)?,
            neurons: lane.upload(&neurons)?,
            owner: lane.upload(&owner)?,
            values,
            _indices: indices,
        })
    }

    /// Derived constants, by population.
    pub fn constants(&self) -> Arc<Vec<Constants<T>>> {
        self.constants.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// After a change of the values of the slots in `changed`: what follows from them.
    pub fn follow(&self, lane: &Lane, network: &Network, changed: &[bool]) -> Result<()> {
        self.changes.fetch_add(1, Ordering::AcqRel);
        for q in 0..network.projections().len() {
            if let Some(k) = network.delay_slot(q).filter(|&k| changed[k]) {
                let longest = self.projections.at_element(q) + offset_of!(Projection, longest) as u64;
                let args = LongestArgs { delays: self.values[k].at(), n: self.values[k].len() as i64, longest };
                // SAFETY: the addresses are of live buffers, of the sizes that are told.
                unsafe { lane.launch(&format!("evprop_longest_{}", T::KERNELS), 1, 256, &args)? };
            }
        }
        let all = network.populations();
        let touched = |p: usize| CONSTANTS.iter().any(|c| network.constant_slot(p, c).is_some_and(|k| changed[k]));
        if (0..all.len()).any(touched) {
            let small = |p: usize| CONSTANTS.iter().filter_map(move |c| network.constant_slot(p, c));
            let mut slots: Vec<Vec<T>> = vec![Vec::new(); self.values.len()];
            for k in (0..all.len()).flat_map(small) {
                slots[k] = lane.download(&self.values[k], self.values[k].len())?;
            }
            let of = |p: usize| {
                let n = if all[p].kind == Kind::Input { 0 } else { all[p].size };
                Constants::new(n, |c| network.constant_slot(p, c).map(|k| slots[k].as_slice()))
            };
            let constants: Vec<_> = (0..all.len()).map(of).collect();
            lane.write(&self.neurons, 0, &neurons(network, &constants))?;
            *self.constants.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(constants);
        }
        Ok(())
    }

    /// Whether these are parameters of this network.
    pub fn fits(&self, network: &Network) -> bool {
        let size = |slot: &crate::network::Slot| slot.shape.iter().product::<usize>();
        self.values.iter().map(Buffer::len).eq(network.layout().iter().map(size))
            && self.first.len() == network.populations().len()
    }

    /// The addresses, with those of the spikes.
    pub fn table(&self, network: &Network, trains: &Buffer<Trains>, duration: f64) -> NetworkTable {
        NetworkTable {
            populations: self.populations.at(),
            projections: self.projections.at(),
            incoming: self.incoming.at(),
            neurons: self.neurons.at(),
            owner: self.owner.at(),
            trains: trains.at(),
            n_populations: network.populations().len() as i32,
            n_lif: self.n_lif as i32,
            duration,
        }
    }
}

/// The table of neurons.
fn neurons<T: Number>(network: &Network, constants: &[Constants<T>]) -> Vec<Neuron<T>> {
    let all = network.populations();
    let of_kind = |kind| (0..all.len()).filter(move |&p| all[p].kind == kind);
    let own = |p: usize| (0..all[p].size).map(move |i| neuron(constants[p].neuron(i)));
    of_kind(Kind::Lif).chain(of_kind(Kind::Li)).flat_map(own).collect()
}

fn neuron<T: Number>(c: &crate::neuron::constants::Neuron<T>) -> Neuron<T> {
    let mem_slow = if c.mem_slow { T::ONE } else { T::ZERO };
    Neuron {
        t_ref: c.t_ref,
        values: [
            c.theta,
            c.u_reset,
            c.u_init,
            c.bias,
            c.tau_mem,
            c.tau_syn,
            c.inv_mem,
            c.inv_syn,
            c.inv_slow,
            c.rate,
            c.gain,
            c.lin,
            c.kappa_max,
            mem_slow,
        ],
    }
}
