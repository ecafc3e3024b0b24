//! The adjoint: one launch over the batch, gradients by block, and their sum.
use super::Sizes;
use super::driver::{Buffer, Device, Plain};
use super::forward::threads;
use super::sample::Samples;
use super::tables::{Loaded, NetworkTable, Number, Own};
use super::weighting::Weight;
use crate::adjoint::{Gradients, Request, check};
use crate::error::{Error, Result};
use crate::network::{Kind, Network, Params};
use crate::neuron::Constants;
use crate::parallel::CancelFlag;
use crate::record::{Readout, Record};
use crate::spikes::SpikeBatch;

/// Bytes that the gradients of all blocks may take, and the most blocks: a choice by the network and the batch alone, so
/// that sums have one order on every GPU.
const GRADIENT_BYTES: usize = 1 << 30;
const MOST_BLOCKS: usize = 1024;

#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct Places {
    tau_mem: i64,
    tau_syn: i64,
    v_th: i64,
    v_reset: i64,
    i_bias: i64,
    v_init: i64,
}

#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct SynapsePlaces {
    weight: i64,
    delay: i64,
}

#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct Cotangent {
    population: i32,
    kinks: i32,
    weight: Weight,
    g: u64,
    times: u64,
    knots: u64,
    n_knots: i64,
}

#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct BackwardArgs {
    net: NetworkTable,
    own: Own,
    n_neurons: i32,
    n_projections: i32,
    slots: i32,
    n_cotangents: i32,
    dt: u64,
    places: u64,
    synapses: u64,
    gradients: u64,
    sample: u64,
    n_places: i64,
    cotangents: u64,
    look_start: u64,
    look_time: u64,
    look_g: u64,
    look_spike: u64,
    node_end: u64,
    most_nodes: i64,
    node_time: u64,
    node_v: u64,
    node_i: u64,
    direct_v: u64,
    direct_i: u64,
    node_kind: u64,
    head: u64,
    at: u64,
    look: u64,
    released: u64,
    most_spikes: i64,
    left: u64,
    max_dw_norm: f64,
    min_vdot: f64,
    least_vdot: u64,
    counts: u64,
    input_times: i32,
    unused: i32,
}

#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct TotalArgs {
    gradients: u64,
    n_places: i64,
    blocks: i64,
}

// SAFETY: repr(C), numbers alone.
unsafe impl Plain for Places {}
// SAFETY: as above.
unsafe impl Plain for SynapsePlaces {}
// SAFETY: as above.
unsafe impl Plain for Cotangent {}
// SAFETY: as above.
unsafe impl Plain for BackwardArgs {}
// SAFETY: as above.
unsafe impl Plain for TotalArgs {}

/// The gradients of a batch and `dL/dt` of its input spikes, like [`crate::adjoint::backward`].
#[allow(clippy::too_many_arguments)]
pub fn backward<T: Number>(
    cancel: &CancelFlag,
    device: &Device,
    network: &Network,
    params: &Params<'_, T>,
    inputs: &[SpikeBatch<'_>],
    record: &Record<T>,
    request: &Request<'_>,
    sizes: &Sizes,
) -> Result<(Gradients<T>, Vec<Vec<f64>>)> {
    check(network, inputs, record, request)?;
    if cancel.is_cancelled() {
        return Err(Error::Cancelled);
    }
    device.enter()?;
    let constants = params.all_constants(network);
    let loaded = Loaded::new(device, network, params, &constants)?;
    let samples = Samples::new(device, network, &loaded, inputs, record, 0..record.batch)?;
    let looks = Looks::new(network, &loaded, &constants, record, request);
    let asked = Asked::new(network, request);
    Pass { device, network, loaded: &loaded, constants: &constants, samples: &samples, inputs, record, request, sizes }
        .run(&looks, &asked)
}

/// What readouts look at, and releases: by sample and neuron, ascending.
struct Looks {
    start: Vec<i64>,
    time: Vec<f64>,
    g: Vec<f64>,
    spike: Vec<i64>,
    /// By sample and neuron: where its nodes end.
    node_end: Vec<i64>,
    most_nodes: i64,
    most_spikes: i64,
}

impl Looks {
    fn new<T: Number>(
        network: &Network,
        loaded: &Loaded<T>,
        constants: &[Constants<T>],
        record: &Record<T>,
        request: &Request<'_>,
    ) -> Self {
        let mut out = Self {
            start: vec![],
            time: vec![],
            g: vec![],
            spike: vec![],
            node_end: vec![],
            most_nodes: 0,
            most_spikes: 0,
        };
        for b in 0..record.batch {
            let mut looks: Vec<Vec<(f64, f64, i64)>> = vec![Vec::new(); loaded.n_neurons];
            let mut own = vec![0i64; loaded.n_neurons];
            for_each_jump(network, record, request, b, |p, i, time, g| looks[loaded.first[p] + i].push((time, g, -1)));
            for (p, population) in network.populations().iter().enumerate().filter(|(_, x)| x.kind == Kind::Lif) {
                debug_assert!(population.size > 0);
                let train = record.populations[p].train(b);
                for (&t, &unit) in train.times.iter().zip(train.units) {
                    let n = loaded.first[p] + unit as usize;
                    let release = t + constants[p].neuron(unit as usize).t_ref;
                    if release > t && release < record.duration {
                        looks[n].push((release, 0.0, own[n]));
                    }
                    own[n] += 1;
                }
            }
            let (mut end, mut spikes) = (0, 0);
            out.node_end.push(0);
            for (looks, own) in looks.iter_mut().zip(own) {
                looks.sort_by(|a, b| a.0.total_cmp(&b.0));
                out.start.push(out.time.len() as i64);
                out.time.extend(looks.iter().map(|x| x.0));
                out.g.extend(looks.iter().map(|x| x.1));
                out.spike.extend(looks.iter().map(|x| x.2));
                end += 1 + own + looks.len() as i64;
                out.node_end.push(end);
                spikes += own;
            }
            out.start.push(out.time.len() as i64);
            out.most_nodes = out.most_nodes.max(end);
            out.most_spikes = out.most_spikes.max(spikes);
        }
        out
    }
}

/// Every instant at which a readout of sample `b` looks at a voltage: population, unit, time, `dL/dV`.
fn for_each_jump<T: Number>(
    network: &Network,
    record: &Record<T>,
    request: &Request<'_>,
    b: usize,
    mut visit: impl FnMut(usize, usize, f64, f64),
) {
    for ((asked, values), given) in record.requests.iter().zip(&record.readouts).zip(request.readouts) {
        let Some(given) = given else { continue };
        let n = network.populations()[asked.population].size;
        let given = &given[b * asked.readout.width() * n..];
        let mut at = |i: usize, time: f64, g: f64| {
            if g != 0.0 {
                visit(asked.population, i, time, g);
            }
        };
        match &asked.readout {
            Readout::Final => (0..n).for_each(|i| at(i, record.duration, given[i])),
            Readout::Sampled(times) => {
                for (j, &time) in times.iter().enumerate() {
                    (0..n).for_each(|i| at(i, time, given[j * n + i]));
                }
            }
            Readout::Max => {
                let peaks = &values.peaks[b * n..(b + 1) * n];
                let seen = (0..n).filter(|&i| !peaks[i].time.is_nan());
                seen.for_each(|i| at(i, peaks[i].time, given[i]));
            }
            _ => {}
        }
    }
}

/// Where the gradients asked for lie.
struct Asked {
    /// By parameter slot; -1: not asked for.
    place: Vec<i64>,
    n_places: usize,
}

impl Asked {
    fn new(network: &Network, request: &Request<'_>) -> Self {
        let mut n_places = 0;
        let place = |(slot, &on): (&crate::network::Slot, &bool)| {
            if !on {
                return -1;
            }
            let at = n_places as i64;
            n_places += slot.shape.iter().product::<usize>();
            at
        };
        let place = network.layout().iter().zip(request.wrt).map(place).collect();
        Self { place, n_places }
    }

    fn populations(&self, network: &Network) -> Vec<Places> {
        let one = |p: usize| {
            let of = |constant| network.constant_slot(p, constant).map_or(-1, |slot| self.place[slot]);
            Places {
                tau_mem: of("tau_mem"),
                tau_syn: of("tau_syn"),
                v_th: of("v_th"),
                v_reset: of("v_reset"),
                i_bias: of("i_bias"),
                v_init: of("v_init"),
            }
        };
        (0..network.populations().len()).map(one).collect()
    }

    fn projections(&self, network: &Network) -> Vec<SynapsePlaces> {
        let one = |q: usize| SynapsePlaces {
            weight: self.place[network.weight_slot(q)],
            delay: network.delay_slot(q).map_or(-1, |slot| self.place[slot]),
        };
        (0..network.projections().len()).map(one).collect()
    }
}

struct Pass<'a, T> {
    device: &'a Device,
    network: &'a Network,
    loaded: &'a Loaded<T>,
    constants: &'a [Constants<T>],
    samples: &'a Samples<T>,
    inputs: &'a [SpikeBatch<'a>],
    record: &'a Record<T>,
    request: &'a Request<'a>,
    sizes: &'a Sizes,
}

impl<T: Number> Pass<'_, T> {
    fn run(&self, looks: &Looks, asked: &Asked) -> Result<(Gradients<T>, Vec<Vec<f64>>)> {
        let Self { device, network, loaded, record, request, .. } = *self;
        let row = asked.n_places.max(1) * size_of::<T>();
        let blocks = record.batch.min((GRADIENT_BYTES / row).clamp(1, MOST_BLOCKS));
        let gradients = device.zeros::<T>(blocks * asked.n_places)?;
        let sample = match request.max_dw_norm {
            Some(_) => Some(device.zeros::<T>(blocks * asked.n_places)?),
            None => None,
        };
        let dt = self.spike_times()?;
        let dt_table = device.upload(&dt.iter().map(Buffer::at).collect::<Vec<_>>())?;
        let (cotangents, _held) = self.cotangents(blocks)?;
        let n_cotangents = cotangents.len() as i32;
        let cotangents = device.upload(&cotangents)?;
        let (places, synapses) =
            (device.upload(&asked.populations(network))?, device.upload(&asked.projections(network))?);
        let [look_start, look_spike] = [device.upload(&looks.start)?, device.upload(&looks.spike)?];
        let [look_time, look_g] = [device.upload(&looks.time)?, device.upload(&looks.g)?];
        let node_end = device.upload(&looks.node_end)?;
        let nodes = blocks * looks.most_nodes as usize;
        let node_time = device.alloc::<f64>(nodes)?;
        let [node_v, node_i] = [device.alloc::<T>(nodes)?, device.alloc(nodes)?];
        let [direct_v, direct_i] = [device.alloc::<T>(nodes)?, device.alloc(nodes)?];
        let node_kind = device.alloc::<i32>(nodes)?;
        let cells = blocks * loaded.n_neurons;
        let [head, at, look] = [device.alloc::<i64>(cells)?, device.alloc(cells)?, device.alloc(cells)?];
        let released = device.alloc::<T>(blocks * looks.most_spikes as usize)?;
        let left = device.alloc::<i64>(blocks * network.populations().len())?;
        let (least_vdot, counts) = (device.alloc::<f64>(blocks)?, device.alloc::<f64>(2 * blocks)?);
        let args = BackwardArgs {
            net: self.samples.network(network, loaded, record.duration),
            own: self.samples.own(),
            n_neurons: loaded.n_neurons as i32,
            n_projections: network.projections().len() as i32,
            slots: record.batch as i32,
            n_cotangents,
            dt: dt_table.at(),
            places: places.at(),
            synapses: synapses.at(),
            gradients: gradients.at(),
            sample: sample.as_ref().map_or(0, Buffer::at),
            n_places: asked.n_places as i64,
            cotangents: cotangents.at(),
            look_start: look_start.at(),
            look_time: look_time.at(),
            look_g: look_g.at(),
            look_spike: look_spike.at(),
            node_end: node_end.at(),
            most_nodes: looks.most_nodes,
            node_time: node_time.at(),
            node_v: node_v.at(),
            node_i: node_i.at(),
            direct_v: direct_v.at(),
            direct_i: direct_i.at(),
            node_kind: node_kind.at(),
            head: head.at(),
            at: at.at(),
            look: look.at(),
            released: released.at(),
            most_spikes: looks.most_spikes,
            left: left.at(),
            max_dw_norm: request.max_dw_norm.unwrap_or(f64::INFINITY),
            min_vdot: request.min_vdot.unwrap_or(f64::NEG_INFINITY),
            least_vdot: least_vdot.at(),
            counts: counts.at(),
            input_times: i32::from(request.input_times),
            unused: 0,
        };
        let kernel = format!("evprop_backward_{}", T::KERNELS);
        // SAFETY: the tables hold addresses of live buffers, of the sizes that they tell.
        unsafe { device.launch(&kernel, blocks as u32, threads(self.sizes, loaded.n_neurons), &args)? };
        let (n_places, blocks_given) = (asked.n_places as i64, blocks as i64);
        let sum = TotalArgs { gradients: gradients.at(), n_places, blocks: blocks_given };
        let wide = asked.n_places.div_ceil(256).clamp(1, 1024) as u32;
        // SAFETY: as above.
        unsafe { device.launch(&format!("evprop_total_{}", T::KERNELS), wide, 256, &sum)? };
        let mut out = self.gather(asked, &device.download(&gradients, asked.n_places)?);
        out.min_vdot = device.download(&least_vdot, blocks)?.into_iter().fold(f64::INFINITY, f64::min);
        for counts in device.download(&counts, 2 * blocks)?.chunks_exact(2) {
            out.dropped += counts[0] as u64;
            out.floored += counts[1] as u64;
        }
        out.finish(network, request.scale);
        Ok((out, self.input_times(&dt)?))
    }

    /// `dL/dt` as given, by population.
    fn spike_times(&self) -> Result<Vec<Buffer<f64>>> {
        let mut inputs = self.inputs.iter();
        let one = |(p, population): (usize, &crate::network::Population)| match population.kind {
            Kind::Input => self.device.zeros(inputs.next().map_or(0, SpikeBatch::n_spikes)),
            _ => match self.request.spike_times[p] {
                Some(given) => self.device.upload(given),
                None => self.device.zeros(self.record.populations[p].times.len()),
            },
        };
        self.network.populations().iter().enumerate().map(one).collect()
    }

    /// `dL/dt` of the input spikes.
    fn input_times(&self, dt: &[Buffer<f64>]) -> Result<Vec<Vec<f64>>> {
        if !self.request.input_times {
            return Ok(Vec::new());
        }
        let all = self.network.populations();
        let populations = (0..all.len()).filter(|&p| all[p].kind == Kind::Input);
        let one = |(p, input): (usize, &SpikeBatch<'_>)| {
            let mut times = self.device.download(&dt[p], input.n_spikes())?;
            times.iter_mut().for_each(|t| *t *= self.request.scale);
            Ok(times)
        };
        populations.zip(self.inputs).map(one).collect()
    }

    /// Cotangents of integrals, and of arrivals that cut a rise to a maximum short; and the memory that they lie in.
    fn cotangents(&self, blocks: usize) -> Result<(Vec<Cotangent>, Vec<Buffer<f64>>)> {
        let (mut table, mut held) = (Vec::new(), Vec::new());
        let Record { requests, readouts, duration, .. } = self.record;
        for ((asked, values), given) in requests.iter().zip(readouts).zip(self.request.readouts) {
            let Some(given) = given else { continue };
            let p = asked.population;
            let mut n_knots = 0;
            let (weight, kinks, g, times) = match (Weight::of(&asked.readout, *duration), &asked.readout) {
                (Some((weight, scale)), _) => {
                    n_knots = weight.knots(&self.constants[p], *duration);
                    (weight, 0, given.iter().map(|g| g * scale).collect::<Vec<_>>(), Vec::new())
                }
                (None, Readout::Max) => {
                    let g = given.iter().zip(&values.peaks).map(|(g, peak)| g * peak.slope).collect();
                    (Weight::default(), 1, g, values.peaks.iter().map(|peak| peak.time).collect())
                }
                _ => continue,
            };
            let (g, times) = (self.device.upload(&g)?, self.device.upload(&times)?);
            let lanes = 2 * blocks * self.network.populations()[p].size;
            let knots = self.device.alloc(lanes.saturating_mul(n_knots))?;
            let (population, n_knots) = (p as i32, n_knots as i64);
            table.push(Cotangent {
                population,
                kinks,
                weight,
                g: g.at(),
                times: times.at(),
                knots: knots.at(),
                n_knots,
            });
            held.extend([g, times, knots]);
        }
        Ok((table, held))
    }

    /// The gradients by slot; the maximum of a neuron that spiked is its threshold.
    fn gather(&self, asked: &Asked, flat: &[T]) -> Gradients<T> {
        let mut out = Gradients::zeros(self.network, self.request.wrt);
        for (slot, &place) in out.slots.iter_mut().zip(&asked.place) {
            if place >= 0 {
                let n = slot.len();
                slot.copy_from_slice(&flat[place as usize..place as usize + n]);
            }
        }
        let Record { requests, readouts, .. } = self.record;
        for ((request, values), given) in requests.iter().zip(readouts).zip(self.request.readouts) {
            let (Some(given), Readout::Max) = (given, &request.readout) else { continue };
            let Some(slot) = self.network.constant_slot(request.population, "v_th") else { continue };
            let n = self.network.populations()[request.population].size;
            for (k, (&g, peak)) in given.iter().zip(&values.peaks).enumerate() {
                if peak.time.is_nan() {
                    out.add(slot, k % n, T::of(g));
                }
            }
        }
        out
    }
}
