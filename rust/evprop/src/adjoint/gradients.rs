//! Where gradients are gathered: laid out like the parameters.
use crate::math::{Lines, Real};
use crate::network::{Kind, Network};
use crate::projection::{Connectivity, DelayKind};

/// Gradients of a chunk of samples, and their health.
#[derive(Debug, Clone)]
pub struct Gradients<T> {
    /// By parameter slot; empty where not asked for.
    pub slots: Vec<Lines<T>>,
    /// By projection: what its synapses gather mode by mode, in place of its slots; empty where slots are in use.
    pub modes: Vec<Lines<[T; 2]>>,
    /// Smallest `Vdot-` of the spikes gone through, before any floor, in voltage per ms.
    pub min_vdot: f64,
    /// (sample, neuron) pairs whose weight gradient was dropped by `max_dw_norm`.
    pub dropped: u64,
    /// Spikes whose `Vdot-` was raised to `min_vdot`.
    pub floored: u64,
}

impl<T: Real> Gradients<T> {
    /// Zeros for the slots in `wrt`.
    pub fn zeros(network: &Network, wrt: &[bool]) -> Self {
        let size = |k: usize| network.layout()[k].shape.iter().product();
        let slots = wrt.iter().enumerate().map(|(k, &on)| Lines::new(T::ZERO, if on { size(k) } else { 0 })).collect();
        let modes = network.projections().iter().map(|_| Lines::default()).collect();
        Self { slots, modes, min_vdot: f64::INFINITY, dropped: 0, floored: 0 }
    }

    /// Sets everything back to zero.
    pub fn clear(&mut self) {
        for slot in &mut self.slots {
            slot.fill(T::ZERO);
        }
        for modes in &mut self.modes {
            modes.fill([T::ZERO; 2]);
        }
        self.min_vdot = f64::INFINITY;
        self.dropped = 0;
        self.floored = 0;
    }

    /// Adds `value` to one entry, if that slot was asked for.
    #[inline(always)]
    pub fn add(&mut self, slot: usize, index: usize, value: T) {
        if let Some(x) = self.slots[slot].get_mut(index) {
            *x += value;
        }
    }

    /// Adds another chunk, element by element, and leaves zeros there: in one pass, for neither need fit the caches.
    pub fn take(&mut self, other: &mut Self) {
        for (mine, theirs) in self.slots.iter_mut().zip(&mut other.slots) {
            take(mine, theirs);
        }
        for (mine, theirs) in self.modes.iter_mut().zip(&mut other.modes) {
            take(mine.as_flattened_mut(), theirs.as_flattened_mut());
        }
        self.min_vdot = self.min_vdot.min(std::mem::replace(&mut other.min_vdot, f64::INFINITY));
        self.dropped += std::mem::take(&mut other.dropped);
        self.floored += std::mem::take(&mut other.floored);
    }

    /// Scales all gradients, and clears the diagonal of projections without self-connections: there is no synapse.
    pub fn finish(&mut self, network: &Network, scale: f64) {
        let scale = T::of(scale);
        for slot in &mut self.slots {
            for x in slot.iter_mut() {
                *x *= scale;
            }
        }
        for (q, projection) in network.projections().iter().enumerate() {
            let dense = projection.connectivity == Connectivity::Dense;
            if projection.self_connections || projection.pre != projection.post || !dense {
                continue;
            }
            let n = network.populations()[projection.pre].size;
            debug_assert_eq!(network.populations()[projection.pre].kind, Kind::Lif);
            let full_delay = projection.delay == DelayKind::Synaptic;
            for slot in
                [Some(network.weight_slot(q)), network.delay_slot(q).filter(|_| full_delay)].into_iter().flatten()
            {
                for x in self.slots[slot].iter_mut().step_by(n + 1) {
                    *x = T::ZERO;
                }
            }
        }
    }
}

fn take<T: Real>(mine: &mut [T], theirs: &mut [T]) {
    for (a, b) in mine.iter_mut().zip(theirs) {
        *a += std::mem::replace(b, T::ZERO);
    }
}
