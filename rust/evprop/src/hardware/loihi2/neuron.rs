//! The neurons of a population: constants, and one step of them.
use super::run::{AlarmKind, Watch};
use crate::error::{Error, Result};

/// 2^23: u lies in (-2^23, 2^23], v within +-(2^23 - 1).
pub const RANGE: i64 = 1 << 23;
/// Binary places of u and v beyond those of weights and thresholds.
pub const PLACES: u32 = 6;
/// The chip's dendritic accumulator holds 16 bits.
const ACCUMULATOR: i64 = 1 << 15;

/// When u and v are set to 0, before the update of row r: where (r + 1) % interval == offset % interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reset {
    /// Steps, >= 1.
    pub interval: u32,
    /// Steps.
    pub offset: u32,
}

/// A population of current-based LIF neurons; one that never fires is a leaky integrator. One value per neuron.
#[derive(Debug, Clone)]
pub struct Population {
    /// Name, for messages.
    pub name: String,
    /// Decay of the current, as the register holds it: -1 to 4095 (the decay is du + 1).
    pub du: Vec<i32>,
    /// Decay of the voltage, 0 to 4096.
    pub dv: Vec<i32>,
    /// Threshold; compared as vth << 6.
    pub vth: Vec<i32>,
    /// Mantissa of the bias, 16 bits.
    pub bias_mant: Vec<i32>,
    /// Exponent of the bias, -31 to 31.
    pub bias_exp: Vec<i32>,
    /// u at the start.
    pub u0: Vec<i32>,
    /// v at the start.
    pub v0: Vec<i32>,
    /// Periodic reset.
    pub reset: Option<Reset>,
}

impl Population {
    /// Number of neurons.
    #[must_use]
    pub fn len(&self) -> usize {
        self.du.len()
    }

    /// Whether there are none; refused by `check`.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.du.is_empty()
    }

    /// Lengths and ranges.
    pub(super) fn check(&self) -> Result<()> {
        let n = self.len();
        if n == 0 {
            return Err(Error::Network(format!("population '{}' has no neurons", self.name)));
        }
        let ranges = [
            ("du", &self.du, -1, 4095),
            ("dv", &self.dv, 0, 4096),
            ("vth", &self.vth, i32::MIN, i32::MAX),
            ("bias_mant", &self.bias_mant, -(1 << 15), (1 << 15) - 1),
            ("bias_exp", &self.bias_exp, -31, 31),
            ("u0", &self.u0, i32::MIN, i32::MAX),
            ("v0", &self.v0, i32::MIN, i32::MAX),
        ];
        for (what, values, low, high) in ranges {
            if values.len() != n {
                return Err(Error::Network(format!(
                    "population '{}': {what} has {} values, du has {n}; give one per neuron",
                    self.name,
                    values.len()
                )));
            }
            if let Some(k) = values.iter().position(|x| !(low..=high).contains(x)) {
                return Err(Error::Network(format!(
                    "population '{}': {what}[{k}] is {}; it must lie in {low} to {high}",
                    self.name, values[k]
                )));
            }
        }
        if self.reset.is_some_and(|reset| reset.interval == 0) {
            return Err(Error::Network(format!("population '{}': a reset interval of 0 steps", self.name)));
        }
        Ok(())
    }

    /// What is added to v at each step.
    pub(super) fn bias(&self) -> Vec<i64> {
        let one = |(&mant, &exp): (&i32, &i32)| {
            if exp >= 0 { i64::from(mant) << exp } else { i64::from(mant) >> -exp }
        };
        self.bias_mant.iter().zip(&self.bias_exp).map(one).collect()
    }
}

/// u and v of a population while it runs.
#[derive(Debug, Default)]
pub struct State {
    pub u: Vec<i64>,
    pub v: Vec<i64>,
    /// All u and v are 0 and stay so until something arrives.
    pub at_rest: bool,
}

impl State {
    pub fn start(&mut self, population: &Population) {
        self.u.clear();
        self.u.extend(population.u0.iter().map(|&x| i64::from(x)));
        self.v.clear();
        self.v.extend(population.v0.iter().map(|&x| i64::from(x)));
        self.at_rest = false;
    }

    pub fn reset(&mut self) {
        self.u.fill(0);
        self.v.fill(0);
    }

    /// One step; `arrived` is emptied, neurons that fire are appended to `fired`.
    pub fn step<const STRICT: bool>(
        &mut self,
        population: &Population,
        bias: &[i64],
        arrived: &mut [i64],
        fired: &mut Vec<u32>,
        watch: &mut Watch<'_>,
    ) {
        let mut moving = 0;
        let n = population.len();
        let (u, v) = (&mut self.u[..n], &mut self.v[..n]);
        let (du, dv, vth) = (&population.du[..n], &population.dv[..n], &population.vth[..n]);
        let (bias, arrived) = (&bias[..n], &mut arrived[..n]);
        for k in 0..n {
            let a = std::mem::take(&mut arrived[k]);
            let wide = decay(u[k], i64::from(du[k]) + 1) + (a << PLACES);
            u[k] = wrapped(wide);
            let sum = decay(v[k], i64::from(dv[k])) + u[k] + bias[k];
            let mut next = sum.clamp(1 - RANGE, RANGE - 1);
            if STRICT {
                if !(-ACCUMULATOR..ACCUMULATOR).contains(&a) {
                    watch.alarm(AlarmKind::Accumulator, k, a);
                }
                if wide != u[k] || wide.abs() > RANGE {
                    watch.alarm(AlarmKind::CurrentWrap, k, wide);
                }
                if sum != next {
                    watch.alarm(AlarmKind::VoltageClip, k, sum);
                }
            }
            if next > i64::from(vth[k]) << PLACES {
                next = 0;
                fired.push(k as u32);
            }
            v[k] = next;
            // A threshold below 0 or a bias moves even a neuron that nothing reaches.
            moving |= u[k] | next | bias[k] | i64::from(vth[k] < 0);
        }
        self.at_rest = moving == 0;
    }
}

/// Towards zero.
#[inline]
fn decay(x: i64, d: i64) -> i64 {
    let size = (x.abs() * (4096 - d)) >> 12;
    if x < 0 { -size } else { size }
}

/// One wrap: 2^23 itself stays, -2^23 becomes 2^23.
#[inline]
fn wrapped(u: i64) -> i64 {
    if u > RANGE {
        u - 2 * RANGE
    } else if u <= -RANGE {
        u + 2 * RANGE
    } else {
        u
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decay_is_never_stuck() {
        assert_eq!(decay(1, 1), 0);
        assert_eq!(decay(-1, 1), 0);
        assert_eq!(decay(-4096, 1), -4095);
        assert_eq!(decay(77, 0), 77);
        assert_eq!(decay(77, 4096), 0);
    }

    #[test]
    fn the_edges_of_u() {
        assert_eq!(wrapped(RANGE), RANGE);
        assert_eq!(wrapped(RANGE + 1), 1 - RANGE);
        assert_eq!(wrapped(-RANGE), RANGE);
        assert_eq!(wrapped(1 - RANGE), 1 - RANGE);
    }
}
