//! The backward pass of a small feed-forward population, spike by spike instead of row by row.
//!
//! Where nothing but spikes is felt (no readout looks at the voltages, no time constant is asked for), lambda is known in
//! closed form from a neuron's next own spike. Only the arrivals between two own spikes of one neuron meet a lambda that
//! is not 0, so pairs (own spike, arrival before it) are listed and worked through, one a lane, whatever neurons and
//! senders they belong to:
//!
//! ```text
//! lambda_v = lambda_v(t_k) E_m(t_k - s)          lambda_i = lambda_i(t_k) E_s(t_k - s) + lambda_v(t_k) kappa(t_k - s)
//! dL/dw += lambda_i                              dL/ds = w (lambda_i/tau_syn - lambda_v/tau_mem)
//! ```
//!
//! A population whose neurons spike so much that most rows reach most neurons is better off row by row.
mod pairs;

use super::Request;
use super::constants::Wanted;
use super::gradients::Gradients;
use super::sweep::Shared;
use crate::math::{Lines, Real, Simd};
use crate::network::{Component, Kind, Network};
use crate::neuron::Constants;
use crate::neuron::constants::LANES;
use crate::neuron::flow::propagators;
use crate::projection::{Connectivity, DelayKind};
use crate::spikes::Train;
use pairs::{Arrivals, Felt, Own, Pairs};

/// No spike has this index.
const NONE: u32 = u32::MAX;

/// One projection onto the population.
#[derive(Debug, Clone, Copy)]
struct Inlet {
    /// Which.
    projection: usize,
    /// Sending population.
    pre: usize,
    /// Slot of the weights, if their gradient is asked for.
    weight: Option<usize>,
    /// Slot of the axonal delays, likewise.
    delay: Option<usize>,
    /// Whether anybody wants `dL/ds`.
    times: bool,
}

/// What can be told of a population before its spikes are known.
#[derive(Debug, Clone)]
pub struct Plan {
    inlets: Vec<Inlet>,
    v_th: Option<usize>,
    v_reset: Option<usize>,
}

impl Plan {
    /// `None` where the population has to go the general way.
    pub fn new<T: Real>(
        network: &Network,
        constants: &[Constants<T>],
        component: &Component,
        request: &Request<'_>,
    ) -> Option<Self> {
        let &[p] = component.populations.as_slice() else { return None };
        let wrt = request.wrt;
        let slot = |constant| network.constant_slot(p, constant).filter(|&slot| wrt[slot]);
        let c = &constants[p];
        let plain = network.populations()[p].kind == Kind::Lif && !component.recurrent && c.homogeneous && !c.holds;
        if !plain || Wanted::new(network, wrt, p).any() || slot("v_init").is_some() {
            return None;
        }
        let mut inlets = Vec::new();
        for &q in network.incoming(p) {
            let projection = &network.projections()[q];
            if projection.connectivity != Connectivity::Dense || !projection.delay.keeps_order() {
                return None;
            }
            let weight = Some(network.weight_slot(q)).filter(|&slot| wrt[slot]);
            let delay = network.delay_slot(q).filter(|&slot| wrt[slot]);
            let times = request.asks_when(network, q) || delay.is_some();
            if times || weight.is_some() {
                inlets.push(Inlet { projection: q, pre: projection.pre, weight, delay, times });
            }
        }
        Some(Self { inlets, v_th: slot("v_th"), v_reset: slot("v_reset") })
    }
}

/// Reusable storage.
#[derive(Debug, Clone, Default)]
pub struct Lean<T> {
    arrivals: Vec<Arrivals>,
    last: Vec<u32>,
    /// By own spike: the one before and the one after of the same neuron.
    previous: Vec<u32>,
    later: Vec<u32>,
    /// To the one after, ms, and the propagators over it.
    gap: Vec<T>,
    mem: Vec<T>,
    syn: Vec<T>,
    kappa: Vec<T>,
    lambda_v: Vec<T>,
    lambda_i: Vec<T>,
    pairs: Pairs<T>,
}

impl<T: Real> Lean<T> {
    /// Goes through the spikes of population `p` in sample `b` and all that reached it: adds to `weights` (gradients of
    /// weights), to `out` (all others) and to `dt` of the senders. `false`, and nothing done, where rows are better.
    #[allow(clippy::too_many_arguments)]
    pub fn run(
        &mut self,
        shared: &Shared<'_, T>,
        plan: &Plan,
        p: usize,
        b: usize,
        trains: &[Train<'_>],
        dt: &mut [Vec<f64>],
        mut weights: Option<&mut Gradients<T>>,
        out: &mut Gradients<T>,
    ) -> bool {
        let c = &shared.constants[p];
        let train = trains[p];
        let again = self.link(train, c.n);
        self.arrivals.resize(self.arrivals.len().max(plan.inlets.len()), Arrivals::default());
        let (mut pairs, mut lanes) = (0, 0);
        for (arrivals, inlet) in self.arrivals.iter_mut().zip(&plan.inlets) {
            let synapses = shared.params.synapses(shared.network, inlet.projection);
            let delay = Some(synapses.delay).filter(|_| synapses.delay_kind == DelayKind::Axonal);
            pairs += arrivals.list(trains[inlet.pre], delay, train, &self.previous);
            lanes += arrivals.index.len() * c.padded();
        }
        // A pair costs about two lanes of a row; but by rows, each neuron and each own spike costs several lanes more.
        if 2 * pairs > lanes + 8 * train.len() + 4 * c.padded() {
            return false;
        }
        let mut own = std::mem::take(&mut dt[p]);
        if again {
            self.propagate_gaps(shared.simd, c);
        }
        self.own_spikes(shared, plan, p, b, train, &mut own, out);
        dt[p] = own;
        for k in 0..plan.inlets.len() {
            let inlet = plan.inlets[k];
            self.reach(shared, c, inlet, k, train, &mut dt[inlet.pre], weights.as_deref_mut(), out);
        }
        true
    }

    /// Chains the spikes of each neuron. Returns whether any spikes again.
    fn link(&mut self, train: Train<'_>, n: usize) -> bool {
        let count = train.len();
        self.last.clear();
        self.last.resize(n, NONE);
        self.previous.clear();
        self.later.clear();
        self.later.resize(count, NONE);
        self.gap.clear();
        self.gap.resize(count.next_multiple_of(LANES), T::ZERO);
        let mut again = false;
        for (k, (&t, &unit)) in train.times.iter().zip(train.units).enumerate() {
            let previous = std::mem::replace(&mut self.last[unit as usize], k as u32);
            self.previous.push(previous);
            if previous != NONE {
                again = true;
                self.later[previous as usize] = k as u32;
                self.gap[previous as usize] = T::of(t - train.times[previous as usize]);
            }
        }
        again
    }

    /// Propagators over the spans between spikes of one neuron.
    fn propagate_gaps(&mut self, simd: Simd, c: &Constants<T>) {
        let lanes = self.gap.len();
        for column in [&mut self.mem, &mut self.syn, &mut self.kappa] {
            column.resize(lanes, T::ZERO);
        }
        propagators(simd, c.neuron(0), &self.gap, &mut self.mem, &mut self.syn, &mut self.kappa);
    }

    #[allow(clippy::too_many_arguments)]
    fn own_spikes(
        &mut self,
        shared: &Shared<'_, T>,
        plan: &Plan,
        p: usize,
        b: usize,
        train: Train<'_>,
        dt: &mut [f64],
        out: &mut Gradients<T>,
    ) {
        let c = &shared.constants[p];
        let population = &shared.record.populations[p];
        let current = &population.current[population.range(b)];
        for column in [&mut self.lambda_v, &mut self.lambda_i] {
            column.resize(train.len(), T::ZERO);
        }
        let floor = shared.request.min_vdot.map(T::of);
        for k in (0..train.len()).rev() {
            let i = train.units[k] as usize;
            let neuron = c.neuron(i);
            let (mut lambda_v, mut lambda_i) = (T::ZERO, T::ZERO);
            let later = self.later[k];
            if later != NONE {
                let (v, i) = (self.lambda_v[later as usize], self.lambda_i[later as usize]);
                lambda_v = v * self.mem[k];
                lambda_i = i * self.syn[k] + v * self.kappa[k];
            }
            let slope = (current[k] - neuron.u_reset) * neuron.inv_mem;
            // After its only spike nothing is felt: both are 0.
            let total = T::of(dt[k]) - slope * lambda_v;
            dt[k] = total.f64();
            let mut vdot = (current[k] - neuron.theta) * neuron.inv_mem;
            out.min_vdot = out.min_vdot.min(vdot.f64());
            if let Some(floor) = floor
                && vdot < floor
            {
                out.floored += 1;
                vdot = floor;
            }
            let push = total / vdot;
            if let Some(slot) = plan.v_th {
                out.add(slot, i, push);
            }
            if let Some(slot) = plan.v_reset {
                out.add(slot, i, lambda_v);
            }
            self.lambda_v[k] = -push;
            self.lambda_i[k] = lambda_i;
        }
    }

    /// All arrivals through one projection.
    #[allow(clippy::too_many_arguments)]
    fn reach(
        &mut self,
        shared: &Shared<'_, T>,
        c: &Constants<T>,
        inlet: Inlet,
        k: usize,
        train: Train<'_>,
        dt: &mut [f64],
        weights: Option<&mut Gradients<T>>,
        out: &mut Gradients<T>,
    ) {
        let Self { arrivals, previous, lambda_v, lambda_i, pairs, .. } = self;
        let Arrivals { time, index, sender, before, dt: felt, .. } = &mut arrivals[k];
        felt.clear();
        if inlet.times {
            felt.extend(index.iter().map(|&k| dt[k as usize]));
        }
        let synapses = shared.params.synapses(shared.network, inlet.projection);
        pairs.make_room();
        let mut none = Lines::default();
        let mut nothing = Lines::default();
        let [weight_slot, delay_slot] = match weights {
            Some(weights) => [
                inlet.weight.map_or(&mut none, |slot| &mut weights.slots[slot]),
                inlet.delay.map_or(&mut nothing, |slot| &mut out.slots[slot]),
            ],
            None => match (inlet.weight, inlet.delay) {
                (Some(w), Some(d)) => match out.slots.get_disjoint_mut([w, d]) {
                    Ok(both) => both,
                    Err(_) => unreachable!("weights and delays have slots of their own"),
                },
                (Some(w), None) => [&mut out.slots[w], &mut none],
                (None, Some(d)) => [&mut none, &mut out.slots[d]],
                (None, None) => [&mut none, &mut nothing],
            },
        };
        let mut to = Felt { weights: weight_slot, delays: delay_slot, sender, dt: felt };
        for k in (0..train.len()).rev() {
            if lambda_v[k] == T::ZERO && lambda_i[k] == T::ZERO {
                continue;
            }
            let first = if previous[k] == NONE { 0 } else { before[previous[k] as usize] as usize };
            let own = Own {
                time: train.times[k],
                neuron: train.units[k] as usize,
                lambda_v: lambda_v[k],
                lambda_i: lambda_i[k],
            };
            let mut run = first..before[k] as usize;
            while !run.is_empty() {
                run.start = pairs.add(own, time, sender, run.clone(), &synapses);
                if pairs.are_full() {
                    pairs.land(shared.simd, c.neuron(0), &mut to);
                }
            }
        }
        pairs.land(shared.simd, c.neuron(0), &mut to);
        for (&k, &felt) in index.iter().zip(felt.iter()) {
            dt[k as usize] = felt;
        }
    }
}
