//! All synapses into a component, each sender's in the order in which its spike arrives: sorted by delay.
//!
//! A spike's arrivals within any stretch of time are then one run of its row, whatever kinds of delays there are.
use crate::math::Real;
use crate::network::{Component, Network, Params};

/// The synapses into the populations of one component. A lane is a neuron of the component: its members one after
/// the other, in order.
#[derive(Debug, Clone, Default)]
pub struct Deliveries<T> {
    /// First lane of each member.
    pub base: Vec<usize>,
    /// Number of lanes.
    pub lanes: usize,
    /// Delay of each synapse, ms.
    pub delay: Vec<T>,
    /// Weight of each synapse.
    pub weight: Vec<T>,
    /// Target lane of each synapse.
    pub lane: Vec<u32>,
    /// Projections into the component, as listed in the network.
    pub inlets: Vec<Rows>,
}

/// Where the rows of one projection lie.
#[derive(Debug, Clone)]
pub struct Rows {
    /// Sending population.
    pub pre: usize,
    /// Sender `j` owns `start[j]..start[j + 1]`.
    pub start: Vec<usize>,
}

impl<T: Real> Deliveries<T> {
    /// Gathers and sorts.
    pub fn new(network: &Network, params: &Params<'_, T>, component: &Component) -> Self {
        let mut all = Self::default();
        for &p in &component.populations {
            all.base.push(all.lanes);
            all.lanes += network.populations()[p].size;
        }
        let mut order: Vec<(T, u32)> = Vec::new();
        for (q, projection) in network.projections().iter().enumerate() {
            let Some(member) = component.populations.iter().position(|&p| p == projection.post) else { continue };
            let synapses = params.synapses(network, q);
            let mut start = vec![all.lane.len()];
            for j in 0..network.populations()[projection.pre].size {
                let row = synapses.row(j);
                order.clear();
                order.extend((0..row.weight.len()).map(|k| (T::of(row.delay_of(k)), k as u32)));
                // Delays are finite and not negative: as numbers they compare like their bits.
                order.sort_unstable_by(|a, b| a.0.f64().total_cmp(&b.0.f64()).then(a.1.cmp(&b.1)));
                for &(delay, k) in &order {
                    all.delay.push(delay);
                    all.weight.push(row.weight[k as usize]);
                    all.lane.push((all.base[member] + row.target(k as usize)) as u32);
                }
                start.push(all.lane.len());
            }
            all.inlets.push(Rows { pre: projection.pre, start });
        }
        all
    }
}
