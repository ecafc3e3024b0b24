//! Gradients of the neuron constants, by superposition: within a span the state at each node is linear in the state at
//! the span's start and in each arrival, so no state at arrivals is ever stored.
//!
//! ```text
//! dL/dp += sum over nodes of the span: direct_v dV(node)/dp + direct_i dI(node)/dp      + sources
//! V(node) = i_bias + u E_m + i kappa + sum_w w kappa(node - s)      I(node) = i E_s + sum_w w E_s(node - s)
//! ```
mod rows;

use super::gradients::Gradients;
use super::nodes::{Node, Nodes};
use super::sources::Source;
use crate::math::{Real, Simd};
use crate::network::Network;
use crate::neuron::Constants;
use crate::neuron::constants::Neuron;
use crate::neuron::kernels;
use crate::record::arrivals::Afferent;
use crate::record::spans::Spans;
use rows::Rows;

/// Slots of the constants of one population that are asked for.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    tau_mem: Option<usize>,
    tau_syn: Option<usize>,
    i_bias: Option<usize>,
}

impl Wanted {
    /// What `wrt` asks of population `p`.
    pub fn new(network: &Network, wrt: &[bool], p: usize) -> Self {
        let slot = |constant| network.constant_slot(p, constant).filter(|&k| wrt[k]);
        Self { tau_mem: slot("tau_mem"), tau_syn: slot("tau_syn"), i_bias: slot("i_bias") }
    }

    /// Whether arrivals matter.
    fn taus(self) -> bool {
        self.tau_mem.is_some() || self.tau_syn.is_some()
    }

    /// Whether there is anything to do.
    pub fn any(self) -> bool {
        self.taus() || self.i_bias.is_some()
    }
}

/// One population in one sample, its lambda known.
#[derive(Debug, Clone, Copy)]
pub struct Lives<'a, T> {
    /// Constants.
    pub constants: &'a Constants<T>,
    /// lambda.
    pub nodes: &'a Nodes<T>,
    /// Free and held spans.
    pub spans: &'a Spans<T>,
    /// What reaches it.
    pub afferents: &'a [Afferent<'a, T>],
    /// Integral readouts.
    pub sources: &'a [Source],
    /// Trial length, ms.
    pub duration: f64,
    /// Vector width.
    pub simd: Simd,
}

/// Derivatives with respect to (tau_mem, tau_syn).
type Pair = (f64, f64);

fn add((a, b): Pair, x: f64, (c, d): Pair) -> Pair {
    (a + x * c, b + x * d)
}

/// Of kappa(d).
fn d_kappa<T: Real>(c: &Neuron<T>, d: f64) -> Pair {
    let (tm, ts) = (c.tau_mem.f64(), c.tau_syn.f64());
    (kernels::kappa_dtm(d, tm, ts), kernels::kappa_dts(d, tm, ts))
}

impl<T: Real> Lives<'_, T> {
    /// Adds the gradients of the wanted constants.
    pub fn gradients(&self, wanted: Wanted, out: &mut Gradients<T>) {
        let n = self.constants.n;
        let mut tau = vec![(0.0, 0.0); n];
        for (i, tau) in tau.iter_mut().enumerate() {
            *tau = self.starts(i, wanted, out);
        }
        if wanted.taus() {
            self.arrivals(&mut tau);
            for (i, (m, s)) in tau.into_iter().enumerate() {
                if let Some(slot) = wanted.tau_mem {
                    out.add(slot, i, T::of(m));
                }
                if let Some(slot) = wanted.tau_syn {
                    out.add(slot, i, T::of(s));
                }
            }
        }
    }

    /// What the starts of the spans of neuron `i` give; the bias acts through them alone.
    fn starts(&self, i: usize, wanted: Wanted, out: &mut Gradients<T>) -> Pair {
        let c = self.constants.neuron(i);
        let (tm, ts) = (c.tau_mem.f64(), c.tau_syn.f64());
        let (mut tau, mut bias) = ((0.0, 0.0), 0.0);
        for span in self.spans.of(i) {
            let (u, i0) = (span.u.f64(), span.i.f64());
            for node in within(self.nodes.after(i, span.start)) {
                let d = node.time - span.start;
                let (gv, gi) = (node.direct_v.f64(), node.direct_i.f64());
                if gv != 0.0 {
                    tau = add(tau, gv * i0, d_kappa(c, d));
                    tau.0 += gv * u * kernels::decay_dtau(d, tm);
                    bias += gv * kernels::rise(d, tm);
                }
                if gi != 0.0 {
                    tau.1 += gi * i0 * kernels::decay_dtau(d, ts);
                }
            }
            if span.held {
                continue;
            }
            for source in self.sources {
                let (g, d) = (source.g[i], span.end - span.start);
                if g != 0.0 {
                    bias += g * source.weighting.bias(c, span.start, d);
                    tau = add(tau, g * i0, source.weighting.current_dtau(c, span.start, d));
                    tau.0 += g * u * source.weighting.voltage_dtau(c, span.start, d);
                }
            }
        }
        if let Some(slot) = wanted.i_bias {
            out.add(slot, i, T::of(bias));
        }
        tau
    }

    fn arrivals(&self, tau: &mut [Pair]) {
        let mut rows = Rows::new(self);
        for a in self.afferents {
            for (&t, &sender) in a.train.times.iter().zip(a.train.units) {
                let row = a.synapses.row(sender as usize);
                let mut one = |k: usize| {
                    let s = t + row.delay_of(k);
                    if s < self.duration {
                        let i = row.target(k);
                        tau[i] = add(tau[i], row.weight[k].f64(), self.arrival(i, s));
                    }
                };
                if row.targets.is_some() {
                    (0..row.weight.len()).for_each(one);
                } else {
                    rows.arrive(self.simd, self, t, &row);
                    rows.others().iter().for_each(|&i| one(i));
                }
            }
        }
        rows.add_to(tau);
    }

    /// Per unit of weight arriving at neuron `i` at `s`.
    fn arrival(&self, i: usize, s: f64) -> Pair {
        let c = self.constants.neuron(i);
        let mut felt = (0.0, 0.0);
        let (mut end, mut free) = (s, false);
        for node in within(self.nodes.after(i, s)) {
            let d = node.time - s;
            let (gv, gi) = (node.direct_v.f64(), node.direct_i.f64());
            if gv != 0.0 {
                felt = add(felt, gv, d_kappa(c, d));
            }
            if gi != 0.0 {
                felt.1 += gi * kernels::decay_dtau(d, c.tau_syn.f64());
            }
            (end, free) = (node.time, node.free);
        }
        if free {
            for source in self.sources {
                let g = source.g[i];
                if g != 0.0 {
                    felt = add(felt, g, source.weighting.current_dtau(c, s, end - s));
                }
            }
        }
        felt
    }
}

/// The nodes up to the one that ends the span.
fn within<T>(nodes: &[Node<T>]) -> &[Node<T>] {
    let end = nodes.iter().position(|node| node.ends_span).map_or(nodes.len(), |k| k + 1);
    &nodes[..end]
}
