//! The adjoint: one launch over the batch, gradients by block, and their sum.
use super::forward::threads;
use super::lane::{Buffer, Lane, Plain};
use super::resident::Resident;
use super::tables::{Loaded, NetworkTable, Number, Own};
use super::weighting::Weight;
use super::{Health, Sizes};
use crate::adjoint::{Gradients, Request, check_cotangents};
use crate::error::{Error, Result};
use crate::network::{Kind, Network};
use crate::parallel::CancelFlag;
use crate::record::{Peak, Readout};

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
    nodes_per_spike: i64,
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
    release: u64,
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
pub fn backward<T: Number>(
    cancel: &CancelFlag,
    network: &Network,
    record: &Resident<T>,
    request: &Request<'_>,
    sizes: &Sizes,
) -> Result<(Gradients<T>, Vec<Vec<f64>>)> {
    let lane = &Lane::new(&record.device)?;
    with_pass(cancel, lane, network, record, request, sizes, |pass| {
        let asked = Asked::new(network, request.wrt);
        let found = pass.run(&Looks::new(pass), &asked)?;
        let flat = lane.download(&found.gradients, asked.n_places)?;
        let mut out = Gradients::zeros(network, request.wrt);
        for (slot, &place) in out.slots.iter_mut().zip(&asked.place) {
            if place >= 0 {
                let n = slot.len();
                slot.copy_from_slice(&flat[place as usize..place as usize + n]);
            }
        }
        pass.for_each_threshold(|slot, i, g| out.add(slot, i, g));
        Health { min_vdot: out.min_vdot, dropped: out.dropped, floored: out.floored } = found.health(lane)?;
        out.finish(network, request.scale);
        Ok((out, pass.input_times(&found.dt)?))
    })
}

/// The gradients of a batch before they are finished, on the device; how sound they are.
pub(super) fn gradients<T: Number>(
    cancel: &CancelFlag,
    lane: &Lane,
    network: &Network,
    record: &Resident<T>,
    request: &Request<'_>,
    asked: &Asked,
) -> Result<(Buffer<T>, Health)> {
    with_pass(cancel, lane, network, record, request, &Sizes::default(), |pass| {
        let found = pass.run(&Looks::new(pass), asked)?;
        pass.add_thresholds(asked, &found.gradients)?;
        let health = found.health(lane)?;
        Ok((found.gradients, health))
    })
}

fn with_pass<T: Number, R>(
    cancel: &CancelFlag,
    lane: &Lane,
    network: &Network,
    record: &Resident<T>,
    request: &Request<'_>,
    sizes: &Sizes,
    work: impl FnOnce(&Pass<'_, T>) -> Result<R>,
) -> Result<R> {
    record.check(network)?;
    check_cotangents(network, record.batch(), record.requests(), |p| record.n_spikes(p), request)?;
    if cancel.is_cancelled() {
        return Err(Error::Cancelled);
    }
    let peaks = (0..record.requests().len())
        .map(|k| request.readouts[k].map_or(Ok(Vec::new()), |_| record.peaks(lane, k)))
        .collect::<Result<Vec<_>>>()?;
    work(&Pass { lane, network, loaded: &record.loaded, record, peaks: &peaks, request, sizes })
}

/// What the launch leaves behind.
struct Found<T> {
    gradients: Buffer<T>,
    dt: Vec<Buffer<f64>>,
    least_vdot: Buffer<f64>,
    counts: Buffer<f64>,
}

impl<T: Number> Found<T> {
    fn health(&self, lane: &Lane) -> Result<Health> {
        let least = lane.download(&self.least_vdot, self.least_vdot.len())?;
        let counts = lane.download(&self.counts, self.counts.len())?;
        let sum = |which: usize| counts.chunks_exact(2).map(|pair| pair[which] as u64).sum();
        Ok(Health { min_vdot: least.into_iter().fold(f64::INFINITY, f64::min), dropped: sum(0), floored: sum(1) })
    }
}

/// What readouts look at: by sample and neuron, ascending.
struct Looks {
    start: Vec<i64>,
    time: Vec<f64>,
    g: Vec<f64>,
    /// Nodes that a neuron's spike may leave: its own, and that of the release after it.
    nodes_per_spike: i64,
    most_nodes: i64,
    most_spikes: i64,
}

impl Looks {
    fn new<T: Number>(pass: &Pass<'_, T>) -> Self {
        let Pass { loaded, record, .. } = *pass;
        let holds = loaded.constants().iter().any(|constants| constants.holds);
        let nodes_per_spike = if holds { 2 } else { 1 };
        let mut out = Self { start: vec![], time: vec![], g: vec![], nodes_per_spike, most_nodes: 0, most_spikes: 0 };
        for b in 0..record.batch() {
            let mut looks: Vec<Vec<(f64, f64)>> = vec![Vec::new(); loaded.n_neurons];
            pass.for_each_jump(b, |p, i, time, g| looks[loaded.first[p] + i].push((time, g)));
            let before = out.time.len() as i64;
            for looks in &mut looks {
                looks.sort_by(|a, b| a.0.total_cmp(&b.0));
                out.start.push(out.time.len() as i64);
                out.time.extend(looks.iter().map(|x| x.0));
                out.g.extend(looks.iter().map(|x| x.1));
            }
            let now = out.time.len() as i64;
            out.start.push(now);
            let spikes = record.emitted(b);
            let nodes = loaded.n_neurons as i64 + nodes_per_spike * spikes + now - before;
            out.most_nodes = out.most_nodes.max(nodes);
            out.most_spikes = out.most_spikes.max(spikes);
        }
        out
    }
}

/// Where the gradients asked for lie.
#[derive(Debug)]
pub(super) struct Asked {
    /// By parameter slot; -1: not asked for.
    pub place: Vec<i64>,
    pub n_places: usize,
}

impl Asked {
    pub fn new(network: &Network, wrt: &[bool]) -> Self {
        let mut n_places = 0;
        let place = |(slot, &on): (&crate::network::Slot, &bool)| {
            if !on {
                return -1;
            }
            let at = n_places as i64;
            n_places += slot.shape.iter().product::<usize>();
            at
        };
        let place = network.layout().iter().zip(wrt).map(place).collect();
        Self { place, n_places }
    }

    /// Changes the gradient of one slot, `n` long, if it was asked for.
    pub fn change<T: Number>(
        &self,
        lane: &Lane,
        gradients: &Buffer<T>,
        (slot, n): (usize, usize),
        change: impl FnOnce(&mut [T]),
    ) -> Result<()> {
        let Ok(place) = usize::try_from(self.place[slot]) else { return Ok(()) };
        let mut values = lane.download_part(gradients, place, n)?;
        change(&mut values);
        lane.write(gradients, place, &values)
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
    lane: &'a Lane,
    network: &'a Network,
    loaded: &'a Loaded<T>,
    record: &'a Resident<T>,
    /// Of every readout that is a maximum and has a cotangent.
    peaks: &'a [Vec<Peak>],
    request: &'a Request<'a>,
    sizes: &'a Sizes,
}

impl<T: Number> Pass<'_, T> {
    /// Every instant at which a readout of sample `b` looks at a voltage: population, unit, time, `dL/dV`.
    fn for_each_jump(&self, b: usize, mut visit: impl FnMut(usize, usize, f64, f64)) {
        for ((asked, peaks), given) in self.record.requests().iter().zip(self.peaks).zip(self.request.readouts) {
            let Some(given) = given else { continue };
            let n = self.network.populations()[asked.population].size;
            let given = &given[b * asked.readout.width() * n..];
            let mut at = |i: usize, time: f64, g: f64| {
                if g != 0.0 {
                    visit(asked.population, i, time, g);
                }
            };
            match &asked.readout {
                Readout::Final => (0..n).for_each(|i| at(i, self.record.duration(), given[i])),
                Readout::Sampled(times) => {
                    for (j, &time) in times.iter().enumerate() {
                        (0..n).for_each(|i| at(i, time, given[j * n + i]));
                    }
                }
                Readout::Max => {
                    let peaks = &peaks[b * n..(b + 1) * n];
                    let seen = (0..n).filter(|&i| !peaks[i].time.is_nan());
                    seen.for_each(|i| at(i, peaks[i].time, given[i]));
                }
                _ => {}
            }
        }
    }

    fn run(&self, looks: &Looks, asked: &Asked) -> Result<Found<T>> {
        let Self { lane, network, loaded, record, request, .. } = *self;
        let row = asked.n_places.max(1) * size_of::<T>();
        let blocks = record.batch().min((GRADIENT_BYTES / row).clamp(1, MOST_BLOCKS));
        let gradients = lane.zeros::<T>(blocks * asked.n_places)?;
        let sample = match request.max_dw_norm {
            Some(_) => Some(lane.zeros::<T>(blocks * asked.n_places)?),
            None => None,
        };
        let trains = record.table(lane, 0)?;
        let dt = self.spike_times()?;
        let dt_table = lane.upload(&dt.iter().map(Buffer::at).collect::<Vec<_>>())?;
        let (cotangents, _held) = self.cotangents(blocks)?;
        let n_cotangents = cotangents.len() as i32;
        let cotangents = lane.upload(&cotangents)?;
        let (places, synapses) = (lane.upload(&asked.populations(network))?, lane.upload(&asked.projections(network))?);
        let look_start = lane.upload(&looks.start)?;
        let [look_time, look_g] = [lane.upload(&looks.time)?, lane.upload(&looks.g)?];
        let nodes = blocks * looks.most_nodes as usize;
        let node_time = lane.alloc::<f64>(nodes)?;
        let [node_v, node_i] = [lane.alloc::<T>(nodes)?, lane.alloc(nodes)?];
        let [direct_v, direct_i] = [lane.alloc::<T>(nodes)?, lane.alloc(nodes)?];
        let node_kind = lane.alloc::<i32>(nodes)?;
        let cells = blocks * loaded.n_neurons;
        let [node_end, head, at] = [lane.alloc::<i64>(cells)?, lane.alloc(cells)?, lane.alloc(cells)?];
        let [look, release] = [lane.alloc::<i64>(cells)?, lane.alloc(cells)?];
        let released = lane.alloc::<T>(blocks * looks.most_spikes as usize)?;
        let left = lane.alloc::<i64>(blocks * network.populations().len())?;
        let (least_vdot, counts) = (lane.alloc::<f64>(blocks)?, lane.alloc::<f64>(2 * blocks)?);
        let args = BackwardArgs {
            net: record.network(network, &trains),
            own: record.own(0),
            n_neurons: loaded.n_neurons as i32,
            n_projections: network.projections().len() as i32,
            slots: record.batch() as i32,
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
            nodes_per_spike: looks.nodes_per_spike,
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
            release: release.at(),
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
        unsafe { lane.launch(&kernel, blocks, threads(self.sizes, loaded.n_neurons), &args)? };
        let (n_places, blocks_given) = (asked.n_places as i64, blocks as i64);
        let sum = TotalArgs { gradients: gradients.at(), n_places, blocks: blocks_given };
        let wide = asked.n_places.div_ceil(256).clamp(1, 1024);
        // SAFETY: as above.
        unsafe { lane.launch(&format!("evprop_total_{}", T::KERNELS), wide, 256, &sum)? };
        Ok(Found { gradients, dt, least_vdot, counts })
    }

    /// `dL/dt` as given, by population.
    fn spike_times(&self) -> Result<Vec<Buffer<f64>>> {
        let one = |p: usize| match self.request.spike_times[p] {
            Some(given) => self.lane.upload(given),
            None => self.lane.zeros(self.record.n_spikes(p)),
        };
        (0..self.network.populations().len()).map(one).collect()
    }

    /// `dL/dt` of the input spikes.
    fn input_times(&self, dt: &[Buffer<f64>]) -> Result<Vec<Vec<f64>>> {
        if !self.request.input_times {
            return Ok(Vec::new());
        }
        let all = self.network.populations();
        let one = |p: usize| {
            let mut times = self.lane.download(&dt[p], self.record.n_spikes(p))?;
            times.iter_mut().for_each(|t| *t *= self.request.scale);
            Ok(times)
        };
        (0..all.len()).filter(|&p| all[p].kind == Kind::Input).map(one).collect()
    }

    /// Cotangents of integrals, and of arrivals that cut a rise to a maximum short; and the memory that they lie in.
    fn cotangents(&self, blocks: usize) -> Result<(Vec<Cotangent>, Vec<Buffer<f64>>)> {
        let (mut table, mut held) = (Vec::new(), Vec::new());
        let duration = self.record.duration();
        for ((asked, peaks), given) in self.record.requests().iter().zip(self.peaks).zip(self.request.readouts) {
            let Some(given) = given else { continue };
            let p = asked.population;
            let mut n_knots = 0;
            let (weight, kinks, g, times) = match (Weight::of(&asked.readout, duration), &asked.readout) {
                (Some((weight, scale)), _) => {
                    n_knots = weight.knots(&self.loaded.constants()[p], duration);
                    (weight, 0, given.iter().map(|g| g * scale).collect::<Vec<_>>(), Vec::new())
                }
                (None, Readout::Max) => {
                    let g = given.iter().zip(peaks).map(|(g, peak)| g * peak.slope).collect();
                    (Weight::default(), 1, g, peaks.iter().map(|peak| peak.time).collect())
                }
                _ => continue,
            };
            let (g, times) = (self.lane.upload(&g)?, self.lane.upload(&times)?);
            let lanes = 2 * blocks * self.network.populations()[p].size;
            let knots = self.lane.alloc(lanes.saturating_mul(n_knots))?;
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

    /// What thresholds feel of maxima: that of a neuron that spiked is its threshold. Slot, neuron, `dL/dv_th`.
    fn for_each_threshold(&self, mut visit: impl FnMut(usize, usize, T)) {
        for ((request, peaks), given) in self.record.requests().iter().zip(self.peaks).zip(self.request.readouts) {
            let (Some(given), Readout::Max) = (given, &request.readout) else { continue };
            let Some(slot) = self.network.constant_slot(request.population, "v_th") else { continue };
            let n = self.network.populations()[request.population].size;
            for (k, (&g, peak)) in given.iter().zip(peaks).enumerate() {
                if peak.time.is_nan() {
                    visit(slot, k % n, T::of(g));
                }
            }
        }
    }

    /// The same onto gradients on the device.
    fn add_thresholds(&self, asked: &Asked, gradients: &Buffer<T>) -> Result<()> {
        let mut felt: Vec<Vec<(usize, T)>> = vec![Vec::new(); self.network.layout().len()];
        self.for_each_threshold(|slot, i, g| felt[slot].push((i, g)));
        for (slot, felt) in felt.iter().enumerate().filter(|(_, felt)| !felt.is_empty()) {
            let n = self.loaded.values[slot].len();
            let add = |values: &mut [T]| felt.iter().for_each(|&(i, g)| values[i] += g);
            asked.change(self.lane, gradients, (slot, n), add)?;
        }
        Ok(())
    }
}
