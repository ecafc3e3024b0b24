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
        let n = spikes.len();
        let mut times = [[f64::INFINITY; LANES]; FEW / LANES];
        for (k, spike) in spikes.iter().enumerate() {
            times[k / LANES][k % LANES] = spike.time;
        }
        let blocks = n.div_ceil(LANES);
        let mut before = [[0u64; LANES]; FEW / LANES];
        for spike in spikes.iter() {
            for (before, times) in before[..blocks].iter_mut().zip(&times) {
                for l in 0..LANES {
                    before[l] += u64::from(spike.time < times[l]);
                }
            }
        }
        // Equal times share a place, and then all places together fall short of the numbers below n.
        let before = &before.as_flattened()[..n];
        let differ = before.iter().sum::<u64>() == (n * (n - 1) / 2) as u64;
        if differ {
            self.copy.clear();
            self.copy.extend_from_slice(spikes);
            for (spike, &place) in self.copy.iter().zip(before) {
                spikes[place as usize] = *spike;
            }
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
