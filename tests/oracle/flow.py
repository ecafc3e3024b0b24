"""One neuron between two events: closed forms over a span d (ms), and the first threshold crossing.

    tau_mem dV/dt = I + b - V        tau_syn dI/dt = -I

    I(d) = I0 e^{-d/tau_syn}
    V(d) = b + (V0 - b) e^{-d/tau_mem} + I0 kappa(d)
    kappa(d) = tau_syn / (tau_mem - tau_syn) (e^{-d/tau_mem} - e^{-d/tau_syn}),    equal constants: (d/tau) e^{-d/tau}

Everything is written for plain numbers, one neuron at a time; `m` supplies exp, sinh and log1p (see arithmetic.py).
"""

from __future__ import annotations

from typing import Any

import numpy as np

Number = Any  # float, or decimal.Decimal

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(16)
GAUSS_16 = [
    (0.5 * (float(x) + 1.0), 0.5 * float(w)) for x, w in zip(_NODES, _WEIGHTS, strict=True)
]  # on [0, 1]


def kappa(m: Any, d: Number, tau_mem: Number, tau_syn: Number) -> Number:
    """Voltage at d after a unit current jump at 0."""
    if tau_mem == tau_syn:
        return d / tau_mem * m.exp(-d / tau_mem)
    gap = tau_mem - tau_syn
    half = gap * d / (2 * tau_mem * tau_syn)
    if (
        abs(half) < 0.5
    ):  # the same difference of exponentials as a product: no cancellation for nearly equal constants
        return 2 * tau_syn / gap * m.exp(-d * (tau_mem + tau_syn) / (2 * tau_mem * tau_syn)) * m.sinh(half)
    return tau_syn / gap * (m.exp(-d / tau_mem) - m.exp(-d / tau_syn))


def voltage(
    m: Any, d: Number, v0: Number, i0: Number, bias: Number, tau_mem: Number, tau_syn: Number
) -> Number:
    return bias + (v0 - bias) * m.exp(-d / tau_mem) + i0 * kappa(m, d, tau_mem, tau_syn)


def current(m: Any, d: Number, i0: Number, tau_syn: Number) -> Number:
    return i0 * m.exp(-d / tau_syn)


def constants_derivatives(
    m: Any, d: Number, v0: Number, i0: Number, bias: Number, tau_mem: Number, tau_syn: Number
) -> tuple[Number, Number, Number, Number]:
    """(dV/dtau_mem, dV/dtau_syn, dV/dbias, dI/dtau_syn) of the flow over d, from the convolution

        kappa(d) = (1/tau_mem) G0,    G0 = int_0^d e^{-(d-u)/tau_mem} e^{-u/tau_syn} du,    G1 = int_0^d u e^{...} du

    G1 by 16-point Gauss-Legendre while the integrand is nearly flat, by parts beyond.
    """
    e_mem, e_syn = m.exp(-d / tau_mem), m.exp(-d / tau_syn)
    g0 = tau_mem * kappa(m, d, tau_mem, tau_syn)
    rate = 1 / tau_mem - 1 / tau_syn
    if abs(rate * d) < 1:
        g1 = d * d * sum(w * s * m.exp(-d * (1 - s) / tau_mem - d * s / tau_syn) for s, w in GAUSS_16)
    else:
        g1 = d * e_syn / rate - (e_syn - e_mem) / rate**2
    kappa_mem = -g0 / tau_mem**2 + (d * g0 - g1) / tau_mem**3
    kappa_syn = g1 / (tau_mem * tau_syn**2)
    by_mem = (v0 - bias) * e_mem * d / tau_mem**2 + i0 * kappa_mem
    return by_mem, i0 * kappa_syn, 1 - e_mem, i0 * e_syn * d / tau_syn**2


def stationary_point(
    m: Any, v0: Number, i0: Number, bias: Number, tau_mem: Number, tau_syn: Number
) -> Number | None:
    """The one d > 0 with dV/dd = 0 (a maximum if i0 > 0, a minimum if i0 < 0), or None.

    From I(d) = V(d) - b:  e^{d (1/tau_mem - 1/tau_syn)} = 1 + (tau_syn - tau_mem)(i0 - (v0 - b)) / (i0 tau_mem).
    """
    if i0 == 0:
        return None
    excess = (i0 - (v0 - bias)) / i0
    if tau_mem == tau_syn:
        d = tau_syn * excess
    else:
        gap = tau_syn - tau_mem
        ratio = gap * excess / tau_mem
        if ratio <= -1:
            return None
        d = m.log1p(ratio) * tau_mem * tau_syn / gap
    return d if d > 0 else None


def span_maximum(
    m: Any, d: Number, v0: Number, i0: Number, bias: Number, tau_mem: Number, tau_syn: Number
) -> tuple[Number, Number]:
    """(where, value) of the largest voltage in [0, d], the earliest of equals."""
    best = (0 * d, v0)
    peak = stationary_point(m, v0, i0, bias, tau_mem, tau_syn)
    for u in (peak, d):
        if u is not None and u <= d:
            v = voltage(m, u, v0, i0, bias, tau_mem, tau_syn)
            if v > best[1]:
                best = (u, v)
    return best


def first_crossing(
    m: Any,
    d_max: Number,
    v0: Number,
    i0: Number,
    bias: Number,
    tau_mem: Number,
    tau_syn: Number,
    v_th: Number,
) -> Number | None:
    """The first d in (0, d_max] where V crosses v_th from below (V(0) = v0 < v_th), or None; a touch is no crossing.

    Where V can rise is one interval, known from the stationary point; V is monotone in it, so halving it until the
    two ends are neighbouring numbers finds the crossing to the last bit.
    """
    if d_max <= 0:
        return None
    lo, hi = 0 * d_max, d_max
    peak = stationary_point(m, v0, i0, bias, tau_mem, tau_syn)
    if peak is not None and i0 > 0:
        hi = min(peak, d_max)  # rises to its maximum, falls afterwards
    elif peak is not None:
        lo = min(peak, d_max)  # falls to its minimum, rises afterwards
    if not voltage(m, hi, v0, i0, bias, tau_mem, tau_syn) > v_th:
        return None
    while True:
        mid = (lo + hi) / 2
        if mid <= lo or mid >= hi:
            return hi
        if voltage(m, mid, v0, i0, bias, tau_mem, tau_syn) > v_th:
            hi = mid
        else:
            lo = mid
