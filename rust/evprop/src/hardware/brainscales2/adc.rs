//! The membrane as the column converter shows it: samples at a fixed period, rounded to its codes.
//!
//! A code is `round(offset + scale V)`, kept within 0 to 2^bits - 1; what is read is `(code - offset) / scale`. Readouts
//! are sums over the conversions, as software on the host would form them; their gradients are those of the exact
//! readouts of the nominal network.
use crate::record::{Peak, Readout};

/// The converter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adc {
    /// Between two conversions, ms; the first is at time 0.
    pub period: f64,
    /// Codes per unit of voltage.
    pub scale: f64,
    /// Code at V = 0.
    pub offset: f64,
    /// Highest code.
    pub top: f64,
}

impl Adc {
    /// When it converts, ms.
    pub fn times(&self, duration: f64) -> Vec<f64> {
        (0..=self.last_before(duration)).map(|k| k as f64 * self.period).collect()
    }

    /// The last conversion at or before `t`.
    fn last_before(&self, t: f64) -> usize {
        let k = (t / self.period).floor();
        // The quotient of a multiple may be rounded to just below it.
        if (k + 1.0) * self.period <= t { k as usize + 1 } else { k as usize }
    }

    /// What is read of `v`.
    pub fn read(&self, v: f64) -> f64 {
        ((self.offset + self.scale * v).round_ties_even().clamp(0.0, self.top) - self.offset) / self.scale
    }
}

/// A readout of `n` neurons from their samples `(time, neuron)`: values `(width, n)`, and the peaks of a maximum.
pub fn read(
    readout: &Readout,
    adc: &Adc,
    samples: &[f64],
    n: usize,
    duration: f64,
    values: &mut Vec<f64>,
    peaks: &mut Vec<Peak>,
) {
    let count = samples.len() / n;
    match readout {
        Readout::Final => values.extend_from_slice(&samples[(count - 1) * n..]),
        Readout::Sampled(times) => {
            for t in times {
                let k = adc.last_before(*t).min(count - 1);
                values.extend_from_slice(&samples[k * n..(k + 1) * n]);
            }
        }
        Readout::Max => {
            for i in 0..n {
                let best =
                    (1..count).fold(0, |best, k| if samples[k * n + i] > samples[best * n + i] { k } else { best });
                values.push(samples[best * n + i]);
                peaks.push(Peak { time: best as f64 * adc.period, slope: 0.0 });
            }
        }
        integral => {
            let Some((weighting, scale)) = integral.weighting(duration) else { return };
            values.extend((0..n).map(|i| {
                let at = |k: usize| weighting.at(k as f64 * adc.period) * samples[k * n + i];
                adc.period * scale * (0..count).map(at).fold(0.0, |sum, x| sum + x)
            }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADC: Adc = Adc { period: 0.5, scale: 10.0, offset: 80.0, top: 255.0 };

    #[test]
    fn codes_are_whole_and_bounded() {
        assert_eq!(ADC.times(1.2), [0.0, 0.5, 1.0]);
        assert_eq!((ADC.read(0.123), ADC.read(0.16)), (0.1, 0.2));
        assert_eq!((ADC.read(100.0), ADC.read(-100.0)), (17.5, -8.0));
    }

    #[test]
    fn a_conversion_counts_from_its_very_instant() {
        let adc = Adc { period: 1.7, ..ADC };
        for k in 0..200usize {
            let t = k as f64 * 1.7;
            assert_eq!(adc.last_before(t), k);
            assert_eq!(adc.times(t).len(), k + 1);
        }
    }

    #[test]
    fn readouts_are_sums_over_conversions() {
        // Two neurons, three conversions.
        let samples = [0.0, 1.0, 2.0, 0.5, 1.0, 0.25];
        let get = |readout: Readout| {
            let (mut values, mut peaks) = (Vec::new(), Vec::new());
            read(&readout, &ADC, &samples, 2, 1.0, &mut values, &mut peaks);
            (values, peaks.iter().map(|p| p.time).collect::<Vec<_>>())
        };
        assert_eq!(get(Readout::Integral { normalise: false }).0, [1.5, 0.875]);
        assert_eq!(get(Readout::Final).0, [1.0, 0.25]);
        assert_eq!(get(Readout::Sampled(vec![0.2, 0.9])).0, [0.0, 1.0, 2.0, 0.5]);
        assert_eq!(get(Readout::Max), (vec![2.0, 1.0], vec![0.5, 0.0]));
    }
}
