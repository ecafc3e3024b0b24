//! Backwards through leaky integrators whose integrals are read: nothing happens to them, so lambda needs no stepping.
//!
//! With `g` the cotangent of the integral and `R_u(s)`, `R_i(s)` the reach of a unit of `u` and of current from `s` to the
//! trial's end,
//!
//! ```text
//! lambda_v(s) = g R_u(s)          lambda_i(s) = g R_i(s)
//! dL/dw = g sum_s R_i(s)          dL/ds = sum_w w g (R_i(s)/tau_syn - R_u(s)/tau_mem)
//! ```
//!
//! so a row of arrivals costs two numbers, and a sender one product with each of its targets.
use super::constants::Wanted;
use super::gradients::Gradients;
use super::sweep::{Shared, Sweep};
use crate::math::Real;
use crate::network::{Component, Kind};
use crate::neuron::reach::Reaches;
use crate::projection::DelayKind;
use crate::record::arrivals::Afferent;
use crate::spikes::Train;

/// Reusable storage.
#[derive(Debug, Default)]
pub struct Linear {
    reaches: Reaches,
    /// By sender: sum of the reaches of its arrivals, and its weights' product with `g`.
    sums: Vec<f64>,
    products: Vec<f64>,
}

impl<'a, T: Real> Sweep<'a, T> {
    /// Whether the component is such a population, and only its arrivals are asked for.
    pub(super) fn linear_fits(&self, component: &Component) -> bool {
        let Shared { network, params, constants, request, .. } = self.shared;
        let [p] = component.populations[..] else { return false };
        let voltage = &self.voltage[p];
        let initial = network.constant_slot(p, "v_init").is_some_and(|slot| request.wrt[slot]);
        network.populations()[p].kind == Kind::Li
            && constants[p].homogeneous
            && voltage.jumps.is_empty()
            && voltage.thresholds.is_empty()
            && voltage.kinks.is_empty()
            && !initial
            && !Wanted::new(network, request.wrt, p).any()
            && network.incoming(p).iter().all(|&q| params.synapses(network, q).comes_in_rows())
    }

    /// Plays it backwards.
    pub(super) fn play_linear(&mut self, component: &Component, trains: &[Train<'a>], out: &mut Gradients<T>) {
        let Shared { network, params, constants, simd, record, .. } = self.shared;
        let p = component.populations[0];
        let c = constants[p].neuron(0);
        let (inv_mem, inv_syn) = (1.0 / c.tau_mem.f64(), 1.0 / c.tau_syn.f64());
        for &q in network.incoming(p) {
            if !self.asked(q) {
                continue;
            }
            let pre = network.projections()[q].pre;
            let (synapses, train) = (params.synapses(network, q), trains[pre]);
            let afferent = Afferent { synapses, train };
            let axonal = network.projections()[q].delay == DelayKind::Axonal;
            let delay = network.delay_slot(q).filter(|&slot| axonal && !out.slots[slot].is_empty());
            let Self { linear: Linear { reaches, sums, products }, voltage, dt, own, .. } = self;
            reaches.from.clear();
            reaches.from.extend((0..train.len()).map(|k| afferent.row_arrival(k).min(record.duration)));
            for source in &voltage[p].sources {
                reaches.fill(simd, source.weighting, c, record.duration);
                let senders = network.populations()[pre].size;
                for column in [&mut *sums, &mut *products] {
                    column.clear();
                    column.resize(senders, 0.0);
                }
                for (j, product) in products.iter_mut().enumerate() {
                    *product = synapses.row(j).weight.iter().zip(&source.g).map(|(w, g)| w.f64() * g).sum();
                }
                for (k, &sender) in train.units.iter().enumerate() {
                    let sender = sender as usize;
                    sums[sender] += reaches.i[k];
                    let felt = products[sender] * (reaches.i[k] * inv_syn - reaches.u[k] * inv_mem);
                    dt[pre][k] += felt;
                    if let Some(slot) = delay {
                        out.slots[slot][sender] += T::of(felt);
                    }
                }
                let weights = own.as_mut().unwrap_or(out);
                let slot = &mut weights.slots[network.weight_slot(q)];
                for (row, &sum) in slot.chunks_exact_mut(source.g.len()).zip(&*sums) {
                    if sum != 0.0 {
                        for (dw, &g) in row.iter_mut().zip(&source.g) {
                            *dw += T::of(g * sum);
                        }
                    }
                }
            }
        }
    }
}
