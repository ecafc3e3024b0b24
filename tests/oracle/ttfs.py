"""Published closed forms of the first spike of one neuron at rest (v_init = 0, i_bias = 0), with their derivatives.

Goeltz et al. 2021 ("Fast and energy-efficient neuromorphic deep learning with first-spike times"), equations for
tau_mem = tau_syn (Lambert W) and tau_mem = 2 tau_syn, written for tau_mem dV/dt = I - V. Times ms.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np


def lambert_w0(z: float) -> float:
    """The principal branch for -1/e <= z, by Halley's iteration."""
    p = math.sqrt(max(0.0, 2.0 * (math.e * z + 1.0)))
    w = -1.0 + p - p * p / 3.0 if z < 0.3 else math.log1p(z) * 0.7
    for _ in range(60):
        e = math.exp(w)
        f = w * e - z
        if w == -1.0:
            break
        step = f / (e * (w + 1.0) - (w + 2.0) * f / (2.0 * w + 2.0))
        w -= step
        if abs(step) <= 1e-16 * (1.0 + abs(w)):
            break
    return w


def _causal_sets(times: Sequence[float]) -> list[tuple[list[int], float]]:
    order = sorted(range(len(times)), key=lambda k: times[k])
    ends = [times[k] for k in order[1:]] + [math.inf]
    return [(order[: k + 1], ends[k]) for k in range(len(order))]


def equal_constants(
    times: Sequence[float], weights: Sequence[float], tau: float, v_th: float
) -> tuple[float, np.ndarray, np.ndarray] | None:
    """(T, dT/dw, dT/dt) for tau_mem = tau_syn = tau, or None without a spike.

    a = sum w e^{t/tau}, b = sum w (t/tau) e^{t/tau}, c = v_th, T = tau [b/a - W0(z)], z = -(c/a) e^{b/a}; times
    relative to the first input.
    """
    t0 = min(times)
    for causal, end in _causal_sets(times):
        e = [math.exp((times[k] - t0) / tau) for k in causal]
        a = sum(weights[k] * x for k, x in zip(causal, e, strict=True))
        if a <= 0:
            continue
        b = sum(weights[k] * (times[k] - t0) / tau * x for k, x in zip(causal, e, strict=True))
        z = -(v_th / a) * math.exp(b / a)
        if z < -math.exp(-1.0):
            continue
        w0 = lambert_w0(z)
        spike = t0 + tau * (b / a - w0)
        if not times[causal[-1]] <= spike <= end:
            continue
        by_w, by_t = np.zeros(len(times)), np.zeros(len(times))
        for k, x in zip(causal, e, strict=True):
            by_w[k] = -x * (spike - times[k]) / (a * (1.0 + w0))
            by_t[k] = -weights[k] * x * (spike - times[k] - tau) / (tau * a * (1.0 + w0))
        return spike, by_w, by_t
    return None


def double_constant(
    times: Sequence[float], weights: Sequence[float], tau_syn: float, v_th: float
) -> tuple[float, np.ndarray, np.ndarray] | None:
    """(T, dT/dw, dT/dt) for tau_mem = 2 tau_syn, or None without a spike.

    a1 = sum w e^{t/tau_syn}, a2 = sum w e^{t/tau_mem}, c = v_th, x = sqrt(a2^2 - 4 a1 c),
    T = tau_mem ln(2 a1 / (a2 + x)).
    """
    tau_mem, t0 = 2.0 * tau_syn, min(times)
    for causal, end in _causal_sets(times):
        rel = [times[k] - t0 for k in causal]
        a1 = sum(weights[k] * math.exp(t / tau_syn) for k, t in zip(causal, rel, strict=True))
        a2 = sum(weights[k] * math.exp(t / tau_mem) for k, t in zip(causal, rel, strict=True))
        inside = a2 * a2 - 4.0 * a1 * v_th
        if inside < 0 or a2 + math.sqrt(inside) == 0:
            continue
        x = math.sqrt(inside)
        arg = 2.0 * a1 / (a2 + x)
        if arg <= 0:
            continue
        spike = tau_mem * math.log(arg)
        if not rel[-1] <= spike <= end - t0:
            continue
        grown = 1.0 + v_th / x * math.exp(spike / tau_mem)
        by_w, by_t = np.zeros(len(times)), np.zeros(len(times))
        for k, t in zip(causal, rel, strict=True):
            slow, fast = math.exp(t / tau_mem) / x, math.exp(t / tau_syn) / a1
            by_w[k] = tau_mem * (grown * fast - slow)
            by_t[k] = weights[k] * (2.0 * grown * fast - slow)
        return t0 + spike, by_w, by_t
    return None
