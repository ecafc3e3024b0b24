//! Cross entropy of the softmax over readouts.
//!
//! With `y_k` the readout of output neuron `k` (a pure number) and `*` the label:
//!
//! ```text
//! p_k      = e^(y_k) / sum_j e^(y_j)
//! L        = -ln p_*
//! dL/dy_k  = p_k - [k = *]
//! ```
use crate::math::Real;

/// The loss of one sample; writes dL/dy to `dlogits`.
///
/// # Panics
/// If `label` is not below the number of logits, or the lengths of the slices differ.
#[must_use]
pub fn cross_entropy(logits: &[f64], label: usize, dlogits: &mut [f64]) -> f64 {
    assert!(label < logits.len(), "label {label} needs more than {} logits", logits.len());
    assert_eq!(logits.len(), dlogits.len(), "one cotangent per logit");
    let mut largest = 0;
    for (k, &y) in logits.iter().enumerate() {
        if y > logits[largest] {
            largest = k;
        }
    }
    // Relative to the largest, whose term is 1: nothing overflows, and ln_1p keeps the digits of a small loss.
    let mut others = 0.0;
    for (k, (&y, d)) in logits.iter().zip(&mut *dlogits).enumerate() {
        let gap = y - logits[largest];
        // The engine's exp takes no NaN; one in a logit shall show in the loss.
        *d = if gap.is_nan() { gap } else { gap.exp_neg() };
        if k != largest {
            others += *d;
        }
    }
    // 1 - p of the label is the sum of the others' p: no cancellation.
    let mut wrong = 0.0;
    for (k, d) in dlogits.iter_mut().enumerate() {
        *d /= 1.0 + others;
        if k != label {
            wrong += *d;
        }
    }
    dlogits[label] = -wrong;
    (logits[largest] - logits[label]) + Real::ln_1p(others)
}

#[cfg(test)]
mod tests {
    use super::super::tests::check_cotangents;
    use super::*;

    const LOGITS: [f64; 4] = [0.3, -1.25, 2.0, 2.0];

    #[test]
    #[allow(clippy::disallowed_methods, reason = "std's exp and ln are the second opinion here")]
    fn value_is_the_formula() {
        for (label, target) in LOGITS.iter().enumerate() {
            let sum: f64 = LOGITS.iter().map(|y| y.exp()).sum();
            let value = cross_entropy(&LOGITS, label, &mut [0.0; 4]);
            assert!((value - (sum.ln() - target)).abs() < 1e-15);
        }
    }

    #[test]
    fn cotangents_are_derivatives_and_cancel() {
        for label in 0..4 {
            let mut d = [f64::NAN; 4];
            let _ = cross_entropy(&LOGITS, label, &mut d);
            assert!(d.iter().sum::<f64>().abs() < 1e-15);
            check_cotangents(&LOGITS, &d, |logits| cross_entropy(logits, label, &mut [0.0; 4]));
        }
    }

    #[test]
    fn extremes_stay_finite() {
        let mut d = [0.0; 2];
        assert_eq!(cross_entropy(&[1e5, -1e5], 1, &mut d), 2e5);
        assert_eq!(d, [1.0, -1.0]);
        // A confident, right answer keeps its tiny loss and gradient.
        let value = cross_entropy(&[50.0, 0.0], 0, &mut d);
        assert!((value / 1.928_749_847_963_917_8e-22 - 1.0).abs() < 1e-14);
        assert!((d[0] / -1.928_749_847_963_917_8e-22 - 1.0).abs() < 1e-14);
        assert_eq!(cross_entropy(&[7.0], 0, &mut d[..1]), 0.0);
    }

    #[test]
    fn nan_in_nan_out() {
        assert!(cross_entropy(&[f64::NAN, 1.0], 1, &mut [0.0; 2]).is_nan());
        assert!(cross_entropy(&[1.0, f64::NAN], 0, &mut [0.0; 2]).is_nan());
    }
}
