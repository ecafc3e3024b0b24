//! How a component is played: what all workers need of it.
use super::modes::Rows as ModeRows;
use super::series::Target;
use crate::adjoint::{Gradients, Request};
use crate::math::{Lines, Real, Simd};
use crate::network::{Component, Network, Params};
use crate::neuron::Constants;
use crate::neuron::modes::Pace;
use crate::projection::{Connectivity, DelayKind};
use crate::record::grid::Grid;
use crate::record::inlets::{BLOCK, RowBlock, Rows, longest};
use crate::record::{Readout, Record};
use std::ops::Range;

/// Windows for which the spikes from outside are taken at a time, at most: so many that what a sender's synapses gather is
/// asked for again before the cache has forgotten it.
const SLAB: usize = 256;

/// How lambda of a population is kept.
#[derive(Debug, Clone)]
pub enum Keeping<T> {
    /// Its values at the ends of windows.
    Values(Target<T>),
    /// Its two modes, with respect to the start of the slab under way.
    Modes(Pace),
}

/// Delays of a projection's synapses, and weights, as its rows are taken.
#[derive(Debug, Clone)]
pub enum Synapses<T: Real> {
    /// Delays in ticks, onto lambda's values.
    Sparse(Vec<T::Ticks>),
    /// With weights, onto lambda's values.
    Dense(Rows<RowBlock<T>>),
    /// Onto lambda's modes.
    Modes(ModeRows<T>),
}

/// What all workers need of a component that is played here.
#[derive(Debug, Clone)]
pub struct Plan<T: Real> {
    pub(super) grid: Grid,
    /// Windows of the ring.
    pub(super) windows: usize,
    /// Windows for which the spikes from outside are taken at a time.
    pub(super) slab: usize,
    /// First lane of each population of the component, and number of lanes.
    pub(super) base: Vec<usize>,
    pub(super) lanes: usize,
    /// Neurons of each population.
    sizes: Vec<usize>,
    /// By population; `None` outside the component.
    pub(super) keeping: Vec<Option<Keeping<T>>>,
    /// By projection, where it runs into the component.
    pub(super) synapses: Vec<Option<Synapses<T>>>,
}

impl<T: Real> Plan<T> {
    /// `None` where the component has no delays of its neurons' or synapses' own, or where they are too long for windows.
    pub fn new(
        simd: Simd,
        network: &Network,
        params: &Params<'_, T>,
        constants: &[Constants<T>],
        component: &Component,
        record: &Record<T>,
        request: &Request<'_>,
    ) -> Option<Self> {
        let duration = record.duration;
        let incoming: Vec<_> = component.populations.iter().flat_map(|&p| network.incoming(p)).copied().collect();
        let neurons: usize = component.populations.iter().map(|&p| constants[p].n).sum();
        let kind = |q: usize| network.projections()[q].delay;
        let own = incoming.iter().any(|&q| !kind(q).keeps_order());
        let dense = |q: usize| network.projections()[q].connectivity == Connectivity::Dense;
        if !own || neurons < 16 || incoming.iter().any(|&q| kind(q) == DelayKind::Dendritic && !dense(q)) {
            return None;
        }
        let longest = incoming.iter().map(|&q| longest(params.synapses(network, q).delay)).fold(0.0, f64::max);
        let grid = Grid::of(component.populations.iter().map(|&p| &constants[p]), duration, longest)?;
        let over = duration + grid.step;
        let slab = SLAB.min(grid.window(duration) + 1);
        let windows = (longest.min(over) / grid.step) as usize + slab + 3;
        let plain = request.max_dw_norm.is_none() && only_lambda(component, record, request);
        let (mut base, mut lanes) = (vec![0; network.populations().len()], 0);
        let mut keeping: Vec<_> = (0..network.populations().len()).map(|_| None).collect();
        for &p in &component.populations {
            base[p] = lanes;
            lanes += constants[p].n.next_multiple_of(BLOCK);
            let fits = |pace: &Pace| {
                let carries =
                    |&q: &usize| dense(q) && grid.carries(*pace, params.synapses(network, q).weight, longest.min(over));
                network.incoming(p).iter().all(carries)
            };
            let pace = Pace::of(&constants[p]).filter(|_| plain).filter(fits);
            keeping[p] =
                Some(pace.map_or_else(|| Keeping::Values(Target::new(&constants[p], grid.step)), Keeping::Modes));
        }
        let mut synapses: Vec<_> = (0..network.projections().len()).map(|_| None).collect();
        for q in incoming {
            let projection = &network.projections()[q];
            let (own, pre) = (params.synapses(network, q), network.populations()[projection.pre].size);
            if let Some(Keeping::Modes(pace)) = keeping[projection.post] {
                let times = request.asks_when(network, q);
                synapses[q] = Some(Synapses::Modes(ModeRows::new(simd, &own, pre, grid, over, pace, times)));
                continue;
            }
            let ticks = |d: &T| grid.ticks::<T>(d.f64().min(over));
            let ticks: Vec<_> = own.delay.iter().map(ticks).collect();
            synapses[q] = Some(match dense(q) {
                true => Synapses::Dense(Rows::new(&own, pre, &ticks)),
                false => Synapses::Sparse(ticks),
            });
        }
        let sizes = network.populations().iter().map(|population| population.size).collect();
        Some(Self { grid, windows, slab, base, lanes, sizes, keeping, synapses })
    }

    /// The lanes of a population, with padding.
    pub(super) fn lanes_of(&self, p: usize) -> Range<usize> {
        self.base[p]..self.base[p] + self.sizes[p].next_multiple_of(BLOCK)
    }

    /// Whether lambda of some population is kept in modes: the component can be played in no other way then.
    pub fn in_modes(&self) -> bool {
        self.keeping.iter().flatten().any(|keeping| matches!(keeping, Keeping::Modes(_)))
    }

    /// Where gradients are gathered mode by mode: those of projections onto populations in modes, as far as asked for.
    pub fn make_room(&self, network: &Network, out: &mut Gradients<T>) {
        for (q, synapses) in self.synapses.iter().enumerate() {
            let Some(Synapses::Modes(rows)) = synapses else { continue };
            let slots = [Some(network.weight_slot(q)), network.delay_slot(q)];
            let asked = |slot: &usize| !out.slots[*slot].is_empty();
            if slots.iter().flatten().any(asked) {
                out.modes[q] = Lines::new([T::ZERO; 2], rows.len());
            }
            for slot in slots.into_iter().flatten() {
                out.slots[slot] = Lines::default();
            }
        }
    }

    /// Makes gradients of weights and of delays of what has been gathered mode by mode.
    pub fn settle(&self, simd: Simd, network: &Network, params: &Params<'_, T>, wrt: &[bool], out: &mut Gradients<T>) {
        for (q, synapses) in self.synapses.iter().enumerate() {
            let Some(Synapses::Modes(rows)) = synapses else { continue };
            let gathered = std::mem::take(&mut out.modes[q]);
            let mut slots = [Some(network.weight_slot(q)), network.delay_slot(q)].map(|slot| {
                let slot = slot.filter(|&slot| wrt[slot]);
                slot.map_or_else(Lines::default, |slot| {
                    Lines::new(T::ZERO, network.layout()[slot].shape.iter().product())
                })
            });
            let [weight, delay] = &mut slots;
            rows.settle(simd, &params.synapses(network, q), &gathered, weight, delay);
            for (slot, own) in [Some(network.weight_slot(q)), network.delay_slot(q)].into_iter().zip(slots) {
                if let Some(slot) = slot {
                    out.slots[slot] = own;
                }
            }
        }
    }
}

/// Whether readouts feel nothing of the component but lambda: neither integrals nor maxima of its voltages.
fn only_lambda<T>(component: &Component, record: &Record<T>, request: &Request<'_>) -> bool {
    let asked = record.requests.iter().zip(request.readouts);
    asked
        .filter(|(asked, given)| given.is_some() && component.populations.contains(&asked.population))
        .all(|(asked, _)| matches!(asked.readout, Readout::Final | Readout::Sampled(_)))
}
