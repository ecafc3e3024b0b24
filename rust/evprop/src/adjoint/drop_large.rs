//! DelGrad's `max_dw_norm`: a sample's gradient of the weights onto a neuron counts only if none of them is too large.
//!
//! (J. Göltz et al. 2025, their code: near a grazing crossing a single sample's gradient grows without bound.)
use super::gradients::Gradients;
use crate::math::{Real, Simd};
use crate::network::Network;
use crate::neuron::constants::LANES;
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
        if asked().next().is_none() {
            continue;
        }
        // In most samples none is.
        let within = |q| largest_of(simd, &own.slots[network.weight_slot(q)]).f64() <= limit;
        if asked().all(within) {
            for q in asked() {
                let slot = network.weight_slot(q);
                add_all(simd, &own.slots[slot], &mut out.slots[slot]);
            }
            continue;
        }
        // Of few neurons, several rows side by side: a row of its own would not fill a vector.
        let (n, side) = (population.size, if population.size < LANES { LANES } else { 1 });
        largest.clear();
        largest.resize(n * side, T::ZERO);
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
        let (first, others) = largest.split_at_mut(n);
        for other in others.chunks_exact(n) {
            for (largest, &g) in first.iter_mut().zip(other) {
                *largest = size_or(g, *largest);
            }
        }
        others.chunks_exact_mut(n).for_each(|other| other.copy_from_slice(first));
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
        out.dropped += largest[..n].iter().filter(|g| g.f64() > limit).count() as u64;
    }
}

/// The larger of `|g|` and `known`. A NaN gradient is not large: it must stay visible.
#[inline(always)]
fn size_or<T: Real>(g: T, known: T) -> T {
    if g.abs() > known { g.abs() } else { known }
}

vectorised! {
    /// The largest `|g|`.
    fn largest_of<T>(own: &[T]) -> T {
        let (blocks, rest) = own.as_chunks::<LANES>();
        let mut largest = [T::ZERO; LANES];
        for block in blocks {
            for l in 0..LANES {
                largest[l] = size_or(block[l], largest[l]);
            }
        }
        let mut top = T::ZERO;
        for &g in largest.iter().chain(rest) {
            top = size_or(g, top);
        }
        top
    }
}

vectorised! {
    fn add_all<T>(own: &[T], out: &mut [T]) {
        let n = out.len();
        let own = &own[..n];
        for k in 0..n {
            out[k] += own[k];
        }
    }
}

vectorised! {
    /// Takes rows of gradients in, one entry a neuron, one or several rows side by side.
    fn dense_sizes<T>(own: &[T], largest: &mut [T]) {
        for row in own.chunks(largest.len()) {
            for (largest, &g) in largest.iter_mut().zip(row) {
                *largest = size_or(g, *largest);
            }
        }
    }
}

vectorised! {
    /// Adds the entries of the neurons within the limit.
    fn add_dense<T>(own: &[T], largest: &[T], limit: f64, out: &mut [T]) {
        for (out, own) in out.chunks_mut(largest.len()).zip(own.chunks(largest.len())) {
            let n = own.len();
            let (out, largest) = (&mut out[..n], &largest[..n]);
            for k in 0..n {
                let sum = out[k] + own[k];
                out[k] = if largest[k].f64() <= limit { sum } else { out[k] };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{Kind, Population, Projection};
    use crate::projection::DelayKind;

    /// Populations of 5 and 2 senders, both heard by `n` neurons.
    fn network(n: usize) -> Network {
        let population = |name: &str, kind, size| Population { name: name.into(), kind, size };
        let projection = |pre: usize| Projection {
            name: format!("{pre}"),
            pre,
            post: 2,
            connectivity: Connectivity::Dense,
            delay: DelayKind::None,
            self_connections: true,
        };
        let populations =
            vec![population("a", Kind::Input, 5), population("b", Kind::Input, 2), population("c", Kind::Lif, n)];
        Network::new(populations, vec![projection(0), projection(1)]).unwrap()
    }

    #[test]
    fn a_neuron_counts_if_none_of_its_gradients_is_large() {
        for n in [1, 3, 7, 8, 30] {
            let network = network(n);
            let wrt = vec![true; network.layout().len()];
            let zeros = || Gradients::<f64>::zeros(&network, &wrt);
            let (mut own, mut out) = (zeros(), zeros());
            let slots = [network.weight_slot(0), network.weight_slot(1)];
            for (seed, &slot) in slots.iter().enumerate() {
                for (k, (own, out)) in own.slots[slot].iter_mut().zip(out.slots[slot].iter_mut()).enumerate() {
                    // Up to 1 in size, some 6 % of them above 0.94.
                    *own = ((k * 37 + seed * 11 + n * 5) % 101) as f64 / 50.0 - 1.0;
                    *out = k as f64;
                }
            }
            own.slots[slots[1]][n - 1] = f64::NAN;
            let large = |i: usize| {
                slots.iter().any(|&slot| own.slots[slot].iter().skip(i).step_by(n).any(|g: &f64| g.abs() > 0.94))
            };
            let expected = slots.map(|slot| {
                let entry = |(k, &g): (usize, &f64)| if large(k % n) { k as f64 } else { k as f64 + g };
                own.slots[slot].iter().enumerate().map(entry).collect::<Vec<_>>()
            });
            let dropped = (0..n).filter(|&i| large(i)).count() as u64;
            for simd in Simd::available() {
                let mut out = out.clone();
                add_small(simd, &network, &wrt, 0.94, &own, &mut Vec::new(), &mut out);
                let bits = |x: &[f64]| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
                for (&slot, expected) in slots.iter().zip(&expected) {
                    assert_eq!(bits(&out.slots[slot]), bits(expected), "{n} neurons");
                }
                assert_eq!(out.dropped, dropped);
            }
            assert!(n < 8 || (0 < dropped && dropped < n as u64), "{dropped} of {n}");
        }
    }
}
