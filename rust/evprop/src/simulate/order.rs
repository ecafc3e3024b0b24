//! The spikes of one step, by time and unit.
use super::Spike;
use crate::math::Real;
use crate::neuron::constants::LANES;

/// Puts the spikes of one step in order.
#[derive(Debug, Clone, Default)]
pub struct Order<T> {
    copy: Vec<Spike<T>>,
}

/// Up to this many spikes are put in order by counting, for each, those that come before it.
const FEW: usize = 32;

impl<T: Real> Order<T> {
    /// By (time, unit).
    #[inline(always)]
    pub fn sort(&mut self, spikes: &mut [Spike<T>]) {
        let n = spikes.len();
        if n <= 1 {
            return;
        }
        if n > FEW || !self.count(spikes) {
            spikes.sort_unstable_by(|a, b| a.time.total_cmp(&b.time).then(a.unit.cmp(&b.unit)));
        }
    }

    /// Whether all times differ; then they are in order.
    #[inline(always)]
    fn count(&mut self, spikes: &mut [Spike<T>]) -> bool {
        let mut times = [[f64::INFINITY; LANES]; FEW / LANES];
        for (k, spike) in spikes.iter().enumerate() {
            times[k / LANES][k % LANES] = spike.time;
        }
        self.copy.clear();
        self.copy.extend_from_slice(spikes);
        let blocks = &times[..spikes.len().div_ceil(LANES)];
        let mut equals = 0;
        for &spike in &self.copy {
            let (mut before, mut equal) = ([0u64; LANES], [0u64; LANES]);
            for block in blocks {
                for l in 0..LANES {
                    before[l] += u64::from(block[l] < spike.time);
                    equal[l] += u64::from(block[l] == spike.time);
                }
            }
            let mut rank = 0;
            for l in 0..LANES {
                rank += before[l];
                equals += equal[l];
            }
            spikes[rank as usize] = spike;
        }
        // Each time equals itself.
        let differ = equals == self.copy.len() as u64;
        if !differ {
            spikes.copy_from_slice(&self.copy);
        }
        differ
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spike(time: f64, unit: u32) -> Spike<f32> {
        Spike { time, unit, current: unit as f32 }
    }

    #[test]
    fn by_time_and_unit_however_many() {
        for n in [0, 1, 2, 7, 8, 9, FEW as u32, FEW as u32 + 1, 100] {
            for (of, many) in [(1.0, 1000), (0.25, 3)] {
                let time = |k: u32| of * f64::from((k * 7919 + 13) % 101 % many);
                let mut spikes: Vec<_> = (0..n).map(|k| spike(time(k), (k * 31) % 97 + 97 * (k / 97))).collect();
                let mut sorted = spikes.clone();
                sorted.sort_by(|a, b| a.time.total_cmp(&b.time).then(a.unit.cmp(&b.unit)));
                Order::default().sort(&mut spikes);
                assert_eq!(spikes, sorted);
            }
        }
    }
}
