//! Delays by target: what finds the arrivals of one neuron among spikes of many senders.
use crate::math::{Real, Ticks};
use crate::projection::Synapses;

/// The delays of one projection, in 64ths of a window, target by target.
#[derive(Debug, Clone)]
pub struct Columns {
    n_pre: usize,
    delay: Vec<u16>,
    /// Where connectivity is sparse; else each target has a synapse from every sender.
    sparse: Option<Sparse>,
}

#[derive(Debug, Clone)]
struct Sparse {
    /// By target: its first synapse.
    starts: Vec<usize>,
    /// By synapse.
    senders: Vec<u32>,
}

impl Columns {
    /// `ticks`: delays as they lie in the projection.
    pub fn new<T: Real>(synapses: &Synapses<'_, T>, n_pre: usize, ticks: &[T::Ticks]) -> Self {
        let n_post = synapses.n_post;
        let delays = |j: usize| (synapses.row(j), synapses.delays_of(ticks, j));
        if synapses.connectivity.is_dense() {
            let mut delay = vec![0; n_pre * n_post];
            for j in 0..n_pre {
                let (row, along) = delays(j);
                for i in 0..n_post {
                    delay[i * n_pre + j] = row.along(along, i).coarse();
                }
            }
            return Self { n_pre, delay, sparse: None };
        }
        let mut starts = vec![0; n_post + 1];
        for j in 0..n_pre {
            let row = synapses.row(j);
            (0..row.weight.len()).for_each(|k| starts[row.target(k) + 1] += 1);
        }
        for i in 0..n_post {
            starts[i + 1] += starts[i];
        }
        let (mut next, count) = (starts.clone(), starts[n_post]);
        let (mut delay, mut senders) = (vec![0; count], vec![0; count]);
        for j in 0..n_pre {
            let (row, along) = delays(j);
            for k in 0..row.weight.len() {
                let at = &mut next[row.target(k)];
                (delay[*at], senders[*at]) = (row.along(along, k).coarse(), j as u32);
                *at += 1;
            }
        }
        Self { n_pre, delay, sparse: Some(Sparse { starts, senders }) }
    }

    /// The delays to target `i` by sender. Where there is no synapse, any: in `scratch` they are another target's.
    #[inline(always)]
    pub fn of<'s>(&'s self, i: usize, scratch: &'s mut Vec<u16>) -> &'s [u16] {
        let Some(Sparse { starts, senders }) = &self.sparse else {
            return &self.delay[i * self.n_pre..(i + 1) * self.n_pre];
        };
        scratch.resize(self.n_pre.max(scratch.len()), 0);
        let own = starts[i]..starts[i + 1];
        for (&j, &delay) in senders[own.clone()].iter().zip(&self.delay[own]) {
            scratch[j as usize] = delay;
        }
        scratch
    }
}

#[cfg(test)]
mod tests {
    use super::Columns;
    use crate::math::Ticks;
    use crate::projection::{Connectivity, DelayKind, Synapses};

    #[test]
    fn a_column_knows_the_delay_from_every_sender() {
        let weight = [1.0f32; 6];
        let delay: Vec<f32> = (0..6).map(|k| k as f32).collect();
        let ticks: Vec<u32> = (0..6).map(u32::window).collect();
        let sparse = Connectivity::Sparse { indptr: vec![0, 2, 2, 4], indices: vec![0, 2, 1, 2] };
        let dense = Connectivity::Dense;
        let synapses = |connectivity| Synapses::<f32> {
            n_post: 3,
            connectivity,
            weight: &weight,
            delay: &delay,
            delay_kind: DelayKind::Synaptic,
        };
        let mut scratch = Vec::new();
        let of = Columns::new(&synapses(&dense), 2, &ticks);
        for i in 0..3 {
            assert_eq!(of.of(i, &mut scratch), [i, 3 + i].map(|k| ticks[k].coarse()));
        }
        let of = Columns::new(&synapses(&sparse), 3, &ticks);
        assert_eq!(of.of(2, &mut scratch)[0], ticks[1].coarse());
        assert_eq!(of.of(2, &mut scratch)[2], ticks[3].coarse());
        assert_eq!(of.of(1, &mut scratch)[2], ticks[2].coarse());
        assert_eq!(of.of(0, &mut scratch)[0], ticks[0].coarse());
    }
}
