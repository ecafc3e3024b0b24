//! Closed forms of the subthreshold flow, of its integrals, and of their derivatives with respect to the time constants.
//!
//! ```text
//! E(d)     = e^(-d/tau)                                   decay of a membrane or of a synaptic current
//! kappa(d) = tau_syn/(tau_mem - tau_syn) (e^(-d/tau_mem) - e^(-d/tau_syn))
//!                                                         V after a span d per unit of current at its start
//! V(d)     = i_bias (1 - E_m) + V0 E_m + I0 kappa(d)
//! ```
//!
//! Times in ms: `d >= 0` the span, `tm` = tau_mem, `ts` = tau_syn, `tw` the time constant of a weight `e^(-x/tw)`.
//! `kappa` and the decays are pure numbers, their integrals are in ms, `_dtm` and `_dts` are derivatives per ms.
//!
//! All are divided differences of exp ([`crate::math::divided`]), where equal time constants are nothing special:
//! with `m = -d/tm`, `s = -d/ts`,
//!
//! ```text
//! kappa(d)           = (d/tm)   exp[m, s]                   d/dtm exp[.., m, ..] = (d/tm^2) exp[.., m, m, ..]
//! int_0^d kappa      = (d^2/tm) exp[0, m, s]
//! int_0^d E_m        = d        exp[0, m]
//! ```
//!
//! and the weight `e^(-x/tw)` adds `-d/tw` to every node but the 0. Differences of two positive terms are rewritten with
//! Leibniz' rule, `(y e^y)[x0, .., xn] = x0 exp[x0, .., xn] + exp[x1, .., xn]` for any choice of `x0`, so that nothing
//! cancels: only [`kappa_dtm`] changes its sign, and it loses digits nowhere but about that true zero.
use crate::math::Real;
pub use crate::math::divided::SERIES_SPREAD;
use crate::math::divided::{exp1, exp2, exp3};

/// `E(d) = e^(-d/tau)`.
#[inline]
#[must_use]
pub fn decay(d: f64, tau: f64) -> f64 {
    (-d / tau).exp_neg()
}

/// `dE/dtau = (d/tau^2) e^(-d/tau)`, per ms.
#[inline]
#[must_use]
pub fn decay_dtau(d: f64, tau: f64) -> f64 {
    d / tau / tau * decay(d, tau)
}

/// `1 - e^(-d/tau)`: the response of V to a unit of bias; its derivative is `-decay_dtau`.
#[inline]
#[must_use]
pub fn rise(d: f64, tau: f64) -> f64 {
    -(-d / tau).exp_expm1().1
}

/// `kappa(d) = (d/tm) exp[m, s]`.
#[inline]
#[must_use]
pub fn kappa(d: f64, tm: f64, ts: f64) -> f64 {
    d / tm * exp1(-d / tm, -d / ts)
}

/// `dkappa/dtm = -(d/tm^2) (y e^y)[m, m, s]`, per ms.
#[inline]
#[must_use]
pub fn kappa_dtm(d: f64, tm: f64, ts: f64) -> f64 {
    let (m, s) = (-d / tm, -d / ts);
    let twice = exp2(m, m, s);
    // x0 of Leibniz' rule: the node nearer to 0, which leaves no cancellation but the true zero.
    let difference = if m >= s { m * twice + exp1(m, s) } else { s * twice + m.exp_neg() };
    -(d / tm / tm) * difference
}

/// `dkappa/dts = (d/tm) (d/ts^2) exp[m, s, s]`, per ms.
#[inline]
#[must_use]
pub fn kappa_dts(d: f64, tm: f64, ts: f64) -> f64 {
    let (m, s) = (-d / tm, -d / ts);
    (d / tm) * (d / ts / ts) * exp2(m, s, s)
}

/// `K(d) = int_0^d kappa(x) dx = (d^2/tm) exp[0, m, s]`, ms.
#[inline]
#[must_use]
pub fn int_kappa(d: f64, tm: f64, ts: f64) -> f64 {
    d * (d / tm) * exp2(0.0, -d / tm, -d / ts)
}

/// `dK/dtm = -(d^2/tm^2) exp[m, m, s]`.
#[inline]
#[must_use]
pub fn int_kappa_dtm(d: f64, tm: f64, ts: f64) -> f64 {
    let (m, s) = (-d / tm, -d / ts);
    -(d / tm) * (d / tm) * exp2(m, m, s)
}

/// `dK/dts = (d^2/tm) (d/ts^2) exp[0, m, s, s]`.
#[inline]
#[must_use]
pub fn int_kappa_dts(d: f64, tm: f64, ts: f64) -> f64 {
    let (m, s) = (-d / tm, -d / ts);
    (d / tm) * (d / ts) * (d / ts) * exp3(0.0, m, s, s)
}

/// `M(d) = int_0^d e^(-x/tau) dx = tau (1 - e^(-d/tau))`, ms.
#[inline]
#[must_use]
pub fn int_decay(d: f64, tau: f64) -> f64 {
    tau * rise(d, tau)
}

/// `dM/dtau = (d/tau)^2 exp[0, -d/tau, -d/tau]`.
#[inline]
#[must_use]
pub fn int_decay_dtau(d: f64, tau: f64) -> f64 {
    let x = d / tau;
    x * x * exp2(0.0, -x, -x)
}

/// `int_0^d (1 - e^(-x/tau)) dx = (d^2/tau) exp[0, 0, -d/tau]`, ms; its derivative is `-int_decay_dtau`.
#[inline]
#[must_use]
pub fn int_rise(d: f64, tau: f64) -> f64 {
    let x = d / tau;
    d * x * exp2(0.0, 0.0, -x)
}

/// The same integrals under the weight `e^(-x/tw)`, `x` counted from the start of the span. With `c = -d/tw`,
/// `m = -d/tm + c`, `s = -d/ts + c`.
pub mod weighted {
    use super::{exp1, exp2, exp3};

    /// `int_0^d e^(-x/tw) dx = d exp[0, c]`, ms.
    #[inline]
    #[must_use]
    pub fn int_one(d: f64, tw: f64) -> f64 {
        super::int_decay(d, tw)
    }

    /// `int_0^d e^(-x/tw) kappa(x) dx = (d^2/tm) exp[0, m, s]`, ms.
    #[inline]
    #[must_use]
    pub fn int_kappa(d: f64, tw: f64, tm: f64, ts: f64) -> f64 {
        let (m, s) = (-(d / tm + d / tw), -(d / ts + d / tw));
        d * (d / tm) * exp2(0.0, m, s)
    }

    /// Its derivative with respect to `tm`: `-(d/tm)^2 (exp[m, m, s] + (d/tw) exp[0, m, m, s])`.
    #[inline]
    #[must_use]
    pub fn int_kappa_dtm(d: f64, tw: f64, tm: f64, ts: f64) -> f64 {
        let (m, s) = (-(d / tm + d / tw), -(d / ts + d / tw));
        -(d / tm) * (d / tm) * (exp2(m, m, s) + d / tw * exp3(0.0, m, m, s))
    }

    /// Its derivative with respect to `ts`: `(d^2/tm) (d/ts^2) exp[0, m, s, s]`.
    #[inline]
    #[must_use]
    pub fn int_kappa_dts(d: f64, tw: f64, tm: f64, ts: f64) -> f64 {
        let (m, s) = (-(d / tm + d / tw), -(d / ts + d / tw));
        (d / tm) * (d / ts) * (d / ts) * exp3(0.0, m, s, s)
    }

    /// `int_0^d e^(-x/tw) e^(-x/tau) dx = d exp[0, -d/tau + c]`, ms.
    #[inline]
    #[must_use]
    pub fn int_decay(d: f64, tw: f64, tau: f64) -> f64 {
        d * exp1(0.0, -(d / tau + d / tw))
    }

    /// Its derivative with respect to `tau`: `(d/tau)^2 exp[0, -d/tau + c, -d/tau + c]`.
    #[inline]
    #[must_use]
    pub fn int_decay_dtau(d: f64, tw: f64, tau: f64) -> f64 {
        let m = -(d / tau + d / tw);
        (d / tau) * (d / tau) * exp2(0.0, m, m)
    }

    /// `int_0^d e^(-x/tw) (1 - e^(-x/tau)) dx = (d^2/tau) exp[0, c, -d/tau + c]`, ms; its derivative with respect to
    /// `tau` is `-int_decay_dtau`.
    #[inline]
    #[must_use]
    pub fn int_rise(d: f64, tw: f64, tau: f64) -> f64 {
        d * (d / tau) * exp2(0.0, -d / tw, -(d / tau + d / tw))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_tables::rows;

    type Kernel = fn(f64, f64, f64, f64) -> f64;

    /// In the order of the table's columns; arguments are `(d, tw, tm, ts)`.
    const KERNELS: [(&str, Kernel); 20] = [
        ("decay", |d, _, tm, _| decay(d, tm)),
        ("decay_dtau", |d, _, tm, _| decay_dtau(d, tm)),
        ("rise", |d, _, tm, _| rise(d, tm)),
        ("kappa", |d, _, tm, ts| kappa(d, tm, ts)),
        ("kappa_dtm", |d, _, tm, ts| kappa_dtm(d, tm, ts)),
        ("kappa_dts", |d, _, tm, ts| kappa_dts(d, tm, ts)),
        ("int_kappa", |d, _, tm, ts| int_kappa(d, tm, ts)),
        ("int_kappa_dtm", |d, _, tm, ts| int_kappa_dtm(d, tm, ts)),
        ("int_kappa_dts", |d, _, tm, ts| int_kappa_dts(d, tm, ts)),
        ("int_decay", |d, _, tm, _| int_decay(d, tm)),
        ("int_decay_dtau", |d, _, tm, _| int_decay_dtau(d, tm)),
        ("int_rise", |d, _, tm, _| int_rise(d, tm)),
        ("weighted::int_one", |d, tw, _, _| weighted::int_one(d, tw)),
        ("weighted::int_kappa", weighted::int_kappa),
        ("weighted::int_kappa_dtm", weighted::int_kappa_dtm),
        ("weighted::int_kappa_dts", weighted::int_kappa_dts),
        ("weighted::int_decay", |d, tw, tm, _| weighted::int_decay(d, tw, tm)),
        ("weighted::int_decay_dtau", |d, tw, tm, _| weighted::int_decay_dtau(d, tw, tm)),
        ("weighted::int_rise", |d, tw, tm, _| weighted::int_rise(d, tw, tm)),
        ("kappa peak", |_, _, tm, ts| kappa(tm, tm, ts)),
    ];

    /// The table holds, for each kernel, its value and how much it changes with its arguments:
    /// `|f| + sum |x df/dx|` over the arguments x. An error within a few roundings of that is the best there is.
    #[test]
    fn agree_with_300_digits_for_any_ratio_of_time_constants() {
        for row in rows(include_str!("../../tests/tables/kernels.txt")) {
            let (arguments, columns) = row.split_at(4);
            let &[d, tw, tm, ts] = arguments else { unreachable!("split at 4") };
            assert_eq!(columns.len(), 2 * KERNELS.len());
            for ((name, kernel), column) in KERNELS.iter().zip(columns.chunks(2)) {
                let (value, expected, scale) = (kernel(d, tw, tm, ts), column[0], column[1]);
                // Below the normal numbers only the size is promised.
                let error = (value - expected).abs() / (scale + 1e-290);
                assert!(
                    error <= 4.0 * f64::EPSILON,
                    "{name}(d = {d}, tw = {tw}, tm = {tm}, ts = {ts}): {value} for {expected}, error {error:e}"
                );
            }
        }
    }

    /// Pairs of a kernel and its derivative: (kernel, with respect to argument, derivative, sign).
    #[test]
    fn derivatives_agree_with_finite_differences() {
        let of = |name: &str| KERNELS.iter().find(|k| k.0 == name).expect("a name of the list above").1;
        let pairs = [
            ("decay", 2, "decay_dtau", 1.0),
            ("rise", 2, "decay_dtau", -1.0),
            ("kappa", 2, "kappa_dtm", 1.0),
            ("kappa", 3, "kappa_dts", 1.0),
            ("int_kappa", 0, "kappa", 1.0),
            ("int_kappa", 2, "int_kappa_dtm", 1.0),
            ("int_kappa", 3, "int_kappa_dts", 1.0),
            ("int_decay", 0, "decay", 1.0),
            ("int_decay", 2, "int_decay_dtau", 1.0),
            ("int_rise", 0, "rise", 1.0),
            ("int_rise", 2, "int_decay_dtau", -1.0),
            ("weighted::int_kappa", 2, "weighted::int_kappa_dtm", 1.0),
            ("weighted::int_kappa", 3, "weighted::int_kappa_dts", 1.0),
            ("weighted::int_decay", 2, "weighted::int_decay_dtau", 1.0),
            ("weighted::int_rise", 2, "weighted::int_decay_dtau", -1.0),
        ];
        for tm in [0.5, 5.0, 20.0] {
            for ts in [0.5, 4.999_999, 5.0, 20.0, 60.0] {
                for d in [0.3, 2.0, 15.0] {
                    for (kernel, argument, derivative, sign) in pairs {
                        let at = |factor: f64| {
                            let mut x = [d, 30.0, tm, ts];
                            x[argument] *= factor;
                            of(kernel)(x[0], x[1], x[2], x[3])
                        };
                        let step = 1e-4;
                        let x = [d, 30.0, tm, ts][argument];
                        // Fourth-order central difference.
                        let near = at(1.0 + step) - at(1.0 - step);
                        let far = at(1.0 + 2.0 * step) - at(1.0 - 2.0 * step);
                        let expected = (8.0 * near - far) / (12.0 * step * x);
                        let value = sign * of(derivative)(d, 30.0, tm, ts);
                        let allowed = 1e-9 * (value.abs() + at(1.0).abs() / x);
                        assert!(
                            (value - expected).abs() <= allowed,
                            "d {kernel} / d argument {argument} at d = {d}, tm = {tm}, ts = {ts}: {value} for {expected}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn zero_span_and_endless_span() {
        for (name, kernel) in KERNELS {
            let start = kernel(0.0, 30.0, 20.0, 5.0);
            let expected = if name == "decay" {
                1.0
            } else if name == "kappa peak" {
                start
            } else {
                0.0
            };
            assert_eq!(start, expected, "{name} at a span of 0");
            assert!(kernel(1e9, 30.0, 20.0, 5.0).is_finite(), "{name} at a span of 1e9");
        }
        assert!((int_kappa(1e9, 20.0, 5.0) - 5.0).abs() < 1e-14);
        assert!((int_decay(1e9, 20.0) - 20.0).abs() < 1e-14);
        assert!((weighted::int_one(1e9, 30.0) - 30.0).abs() < 1e-14);
    }
}
