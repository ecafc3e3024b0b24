//! Spike trains of a batch: CSR by sample.
use crate::error::{Error, Result};

/// The spikes of one population in one sample, sorted by time.
#[derive(Debug, Clone, Copy, Default)]
pub struct Train<'a> {
    /// Spike times, ms, ascending.
    pub times: &'a [f64],
    /// Which unit fired.
    pub units: &'a [u32],
}

impl Train<'_> {
    /// Number of spikes.
    pub fn len(&self) -> usize {
        self.times.len()
    }

    /// Whether there is no spike.
    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }
}

/// Spikes of one population over a batch: sample `b` owns `offsets[b]..offsets[b + 1]`.
#[derive(Debug, Clone, Copy)]
pub struct SpikeBatch<'a> {
    times: &'a [f64],
    units: &'a [u32],
    offsets: &'a [i64],
}

impl<'a> SpikeBatch<'a> {
    /// A batch whose arrays were checked by [`check`] before.
    pub fn new(times: &'a [f64], units: &'a [u32], offsets: &'a [i64]) -> Result<Self> {
        let n_spikes = times.len();
        if units.len() != n_spikes {
            return Err(Error::Argument(format!("{n_spikes} spike times but {} units", units.len())));
        }
        check_offsets(offsets, n_spikes)?;
        Ok(Self { times, units, offsets })
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Whether there is no sample.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of spikes in all samples.
    pub fn n_spikes(&self) -> usize {
        self.times.len()
    }

    /// Where the spikes of sample `b` lie in the flat arrays.
    pub fn range(&self, b: usize) -> std::ops::Range<usize> {
        self.offsets[b] as usize..self.offsets[b + 1] as usize
    }

    /// The spikes of sample `b`.
    pub fn sample(&self, b: usize) -> Train<'a> {
        let range = self.range(b);
        Train { times: &self.times[range.clone()], units: &self.units[range] }
    }

    /// The spikes of samples `first..end`, one after the other.
    pub fn samples(&self, first: usize, end: usize) -> Train<'a> {
        let range = self.offsets[first] as usize..self.offsets[end] as usize;
        Train { times: &self.times[range.clone()], units: &self.units[range] }
    }

    /// Where each sample begins, and the end.
    pub fn offsets(&self) -> &'a [i64] {
        self.offsets
    }

    /// Refuses units beyond `n_units` and spikes beyond `duration` (both cheap to look at again).
    pub fn check_fits(&self, n_units: usize, duration: f64) -> Result<()> {
        for sample in 0..self.len() {
            let train = self.sample(sample);
            if let Some(index) = train.units.iter().position(|&u| u as usize >= n_units) {
                return Err(Error::SpikeUnit { sample, index, unit: train.units[index], n_units });
            }
            // A NaN fails this comparison too.
            if let Some(index) = train.times.iter().position(|&t| !(t >= 0.0 && t <= duration)) {
                let time = train.times[index];
                return Err(if time > duration && time.is_finite() {
                    Error::SpikeBeyond { sample, index, time, duration }
                } else {
                    Error::SpikeTime { sample, index, time }
                });
            }
            if let Some(index) = train.times.windows(2).position(|w| w[1] < w[0]) {
                let (previous, time) = (train.times[index], train.times[index + 1]);
                return Err(Error::SpikeOrder { sample, index: index + 1, time, previous });
            }
        }
        Ok(())
    }
}

/// Whether each of `n_units` units spikes at all, sample by sample.
pub fn fired(batch: &SpikeBatch<'_>, n_units: usize) -> Result<Vec<bool>> {
    let mut fired = vec![false; batch.len() * n_units];
    for (sample, flags) in fired.chunks_exact_mut(n_units).enumerate() {
        for (index, &unit) in batch.sample(sample).units.iter().enumerate() {
            let Some(flag) = flags.get_mut(unit as usize) else {
                return Err(Error::SpikeUnit { sample, index, unit, n_units });
            };
            *flag = true;
        }
    }
    Ok(fired)
}

/// The unit of each sample's first spike, -1 in a sample without one.
pub fn first_units(batch: &SpikeBatch<'_>) -> Vec<i64> {
    (0..batch.len()).map(|b| batch.sample(b).units.first().map_or(-1, |&unit| i64::from(unit))).collect()
}

/// Times, units and offsets of a batch of their own.
pub type Taken = (Vec<f64>, Vec<u32>, Vec<i64>);

/// The samples `which`, in that order. Looks at what it takes alone, however large the batch is.
pub fn take(times: &[f64], units: &[u32], offsets: &[i64], which: &[usize]) -> Result<Taken> {
    let wrong = |b: usize| {
        let problem = format!("give sample {b} no place in {} times and {} units", times.len(), units.len());
        Error::SpikeOffsets { problem, n_spikes: times.len() }
    };
    let train = |&b: &usize| {
        let range = *offsets.get(b)? as usize..*offsets.get(b + 1)? as usize;
        Some(Train { times: times.get(range.clone())?, units: units.get(range)? })
    };
    let trains = which.iter().map(|b| train(b).ok_or_else(|| wrong(*b))).collect::<Result<Vec<_>>>()?;
    let n_spikes = trains.iter().map(Train::len).sum();
    let (mut times, mut units) = (Vec::with_capacity(n_spikes), Vec::with_capacity(n_spikes));
    let mut offsets = Vec::with_capacity(which.len() + 1);
    offsets.push(0);
    for train in trains {
        times.extend_from_slice(train.times);
        units.extend_from_slice(train.units);
        offsets.push(times.len() as i64);
    }
    Ok((times, units, offsets))
}

fn check_offsets(offsets: &[i64], n_spikes: usize) -> Result<()> {
    let wrong = |problem: String| Err(Error::SpikeOffsets { problem, n_spikes });
    let (Some(&first), Some(&last)) = (offsets.first(), offsets.last()) else {
        return wrong("are empty".into());
    };
    if first != 0 {
        return wrong(format!("start at {first}"));
    }
    if let Some(k) = offsets.windows(2).position(|w| w[1] < w[0]) {
        return wrong(format!("fall from {} to {} at index {}", offsets[k], offsets[k + 1], k + 1));
    }
    if last != n_spikes as i64 {
        return wrong(format!("end at {last}"));
    }
    Ok(())
}

/// Checks a batch as a user gives it: finite, non-negative, sorted times; units in range; sound offsets.
pub fn check(times: &[f64], units: &[u32], offsets: &[i64], n_units: usize) -> Result<()> {
    SpikeBatch::new(times, units, offsets)?.check_fits(n_units, f64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_tells_who_fired_and_gives_samples() {
        let (times, units, offsets) = ([1.0, 2.0, 2.5, 0.5], [2, 0, 2, 1], [0, 3, 3, 4]);
        let batch = SpikeBatch::new(&times, &units, &offsets).unwrap();
        assert_eq!(fired(&batch, 3).unwrap(), [true, false, true, false, false, false, false, true, false]);
        assert!(matches!(fired(&batch, 2), Err(Error::SpikeUnit { sample: 0, index: 0, unit: 2, n_units: 2 })));
        assert_eq!(first_units(&batch), [2, -1, 1]);
        let taken = take(&times, &units, &offsets, &[2, 1, 0, 2]);
        assert_eq!(taken, Ok((vec![0.5, 1.0, 2.0, 2.5, 0.5], vec![1, 2, 0, 2, 1], vec![0, 1, 1, 4, 5])));
        assert_eq!(take(&times, &units, &offsets, &[]), Ok((vec![], vec![], vec![0])));
        assert!(matches!(take(&times, &units, &offsets, &[0, 3]), Err(Error::SpikeOffsets { .. })));
        assert!(matches!(take(&times, &units, &[0, 5], &[0]), Err(Error::SpikeOffsets { .. })));
        assert!(matches!(take(&times, &units, &[0, -1], &[0]), Err(Error::SpikeOffsets { .. })));
    }

    #[test]
    fn refuses_what_is_not_a_batch() {
        let check1 = |t: &[f64], u: &[u32]| check(t, u, &[0, t.len() as i64], 2);
        assert_eq!(check1(&[0.0, 1.0, 1.0], &[0, 1, 0]), Ok(()));
        assert!(matches!(check1(&[f64::NAN], &[0]), Err(Error::SpikeTime { .. })));
        assert!(matches!(check1(&[f64::INFINITY], &[0]), Err(Error::SpikeTime { .. })));
        assert!(matches!(check1(&[-1.0], &[0]), Err(Error::SpikeTime { .. })));
        assert!(matches!(check1(&[1.0, 0.5], &[0, 0]), Err(Error::SpikeOrder { .. })));
        assert!(matches!(check1(&[1.0], &[2]), Err(Error::SpikeUnit { .. })));
        for offsets in [&[][..], &[1, 1], &[0, 2, 1], &[0, 2]] {
            assert!(matches!(check(&[1.0], &[0], offsets, 1), Err(Error::SpikeOffsets { .. })));
        }
    }
}
