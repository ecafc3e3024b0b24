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
const FEW: usize = 64;

impl<T: Real> Order<T> {
    /// By (time, unit).
    #[inline(always)]
    pub fn sort(&mut self, spikes: &mut [Spike<T>]) {
        let n = spikes.len();
        if n <= 1 {
            return;
        }
        if n > FEW {
            spikes.sort_unstable_by(|a, b| a.time.total_cmp(&b.time).then(a.unit.cmp(&b.unit)));
            return;
        }
        let (mut times, mut units) = ([f64::INFINITY; FEW], [u32::MAX; FEW]);
        for (k, spike) in spikes.iter().enumerate() {
            times[k] = spike.time;
            units[k] = spike.unit;
        }
        self.copy.clear();
        self.copy.extend_from_slice(spikes);
        let lanes = n.next_multiple_of(LANES);
        for (k, &spike) in self.copy.iter().enumerate() {
            let mut rank = 0u64;
            for other in 0..lanes {
                let (t, unit) = (times[other], units[other]);
                let tie = (t == spike.time) & ((unit < spike.unit) | ((unit == spike.unit) & (other < k)));
                rank += u64::from((t < spike.time) | tie);
            }
            spikes[rank as usize] = spike;
        }
    }
}
