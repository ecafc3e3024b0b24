//! Delays by target, where connectivity is sparse: what finds the arrivals of one neuron among spikes of many senders.
use crate::math::{Real, Ticks};
use crate::projection::Synapses;

/// The delays of one projection, in 64ths of a window, target by target.
#[derive(Debug, Clone)]
pub struct Columns {
    n_pre: usize,
    /// By target: its first synapse.
    starts: Vec<usize>,
    /// By synapse.
    senders: Vec<u32>,
    delay: Vec<u16>,
}

impl Columns {
    /// `ticks`: delays as they lie in the projection. `None` where rows are dense.
    pub fn new<T: Real>(synapses: &Synapses<'_, T>, n_pre: usize, ticks: &[T::Ticks]) -> Option<Self> {
        if synapses.connectivity.is_dense() {
            return None;
        }
        let n_post = synapses.n_post;
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
            let (row, along) = (synapses.row(j), synapses.delays_of(ticks, j));
            for k in 0..row.weight.len() {
                let at = &mut next[row.target(k)];
                (delay[*at], senders[*at]) = (row.along(along, k).coarse(), j as u32);
                *at += 1;
            }
        }
        Some(Self { n_pre, starts, senders, delay })
    }

    /// The delays to target `i` by sender. Where there is no synapse, any: in `scratch` they are another target's.
    #[inline(always)]
    pub fn of<'s>(&self, i: usize, scratch: &'s mut Vec<u16>) -> &'s [u16] {
        scratch.resize(self.n_pre.max(scratch.len()), 0);
        let own = self.starts[i]..self.starts[i + 1];
        for (&j, &delay) in self.senders[own.clone()].iter().zip(&self.delay[own]) {
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
        let synapses = |connectivity| Synapses::<f32> {
            n_post: 3,
            connectivity,
            weight: &weight,
            delay: &delay,
            delay_kind: DelayKind::Synaptic,
        };
        let mut scratch = Vec::new();
        assert!(Columns::new(&synapses(&Connectivity::Dense), 2, &ticks).is_none());
        let Some(of) = Columns::new(&synapses(&sparse), 3, &ticks) else { panic!("rows are sparse") };
        assert_eq!(of.of(2, &mut scratch)[0], ticks[1].coarse());
        assert_eq!(of.of(2, &mut scratch)[2], ticks[3].coarse());
        assert_eq!(of.of(1, &mut scratch)[2], ticks[2].coarse());
        assert_eq!(of.of(0, &mut scratch)[0], ticks[0].coarse());
    }
}
