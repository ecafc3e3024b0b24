//! DelGrad's `max_dw_norm`: a sample's gradient of the weights onto a neuron counts only if none of them is too large.
//!
//! (J. Göltz et al. 2025, their code: near a grazing crossing a single sample's gradient grows without bound.)
use super::gradients::Gradients;
use crate::math::{Real, Simd};
use crate::network::Network;
use crate::projection::Connectivity;
use crate::vectorised;

/// Adds the weight gradients `own` of one sample to `out`, except those of neurons where one is larger in size than
/// `limit`. `largest` is storage.
pub fn add_small<T: Real>(
    simd: Simd,
    network: &Network,
    wrt: &[bool],
    limit: f64,
    own: &Gradients<T>,
    largest: &mut Vec<T>,
    out: &mut Gradients<T>,
) {
    for (p, population) in network.populations().iter().enumerate() {
        let asked = || network.incoming(p).iter().copied().filter(|&q| wrt[network.weight_slot(q)]);
        largest.clear();
        largest.resize(population.size, T::ZERO);
        for q in asked() {
            let own = &own.slots[network.weight_slot(q)];
            match &network.projections()[q].connectivity {
                Connectivity::Dense => dense_sizes(simd, own, largest),
                Connectivity::Sparse { indices, .. } => {
                    for (&i, &g) in indices.iter().zip(own.iter()) {
                        largest[i as usize] = size_or(g, largest[i as usize]);
                    }
                }
            }
        }
        for q in asked() {
            let slot = network.weight_slot(q);
            let (own, out) = (&own.slots[slot], &mut out.slots[slot]);
            match &network.projections()[q].connectivity {
                Connectivity::Dense => add_dense(simd, own, largest, limit, out),
                Connectivity::Sparse { indices, .. } => {
                    for ((&i, &g), out) in indices.iter().zip(own.iter()).zip(out.iter_mut()) {
                        if largest[i as usize].f64() <= limit {
                            *out += g;
                        }
                    }
                }
            }
        }
        out.dropped += largest.iter().filter(|g| g.f64() > limit).count() as u64;
    }
}

/// The larger of `|g|` and `known`. A NaN gradient is not large: it must stay visible.
#[inline(always)]
fn size_or<T: Real>(g: T, known: T) -> T {
    if g.abs() > known { g.abs() } else { known }
}

vectorised! {
    /// Takes rows of gradients in, one entry a neuron.
    fn dense_sizes<T>(own: &[T], largest: &mut [T]) {
        for row in own.chunks_exact(largest.len()) {
            for (largest, &g) in largest.iter_mut().zip(row) {
                *largest = size_or(g, *largest);
            }
        }
    }
}

vectorised! {
    /// Adds the entries of the neurons within the limit.
    fn add_dense<T>(own: &[T], largest: &[T], limit: f64, out: &mut [T]) {
        let n = largest.len();
        for (out, own) in out.chunks_exact_mut(n).zip(own.chunks_exact(n)) {
            for k in 0..n {
                let sum = out[k] + own[k];
                out[k] = if largest[k].f64() <= limit { sum } else { out[k] };
            }
        }
    }
}
