"""Voltages read from a finished run, each by its own plain means, with tangents.

    integral            int_0^T V dt               20-point Gauss-Legendre on every stretch without an event,
    weighted integral   int_0^T e^{-t/tau} V dt    in panels no longer than the fastest time constant;
                                                   linear: (1 - t/T), sigmoid: 1/(1 + e^{(t - centre)/width})
    max                 max_t V                    over the ends and the stationary point of every stretch
    final, sampled      V(T), V(t_j)

With dV the derivative of V at fixed time, d int V = int dV + sum over spikes (v_th - v_reset) dt_k; and a maximum
that sits at an arrival (the current turns V down) moves with it: dmax = dV + Vdot ds.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from . import flow
from .events import Neuron, Result, Span
from .flow import Number

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(20)
GAUSS_20 = [(0.5 * (float(x) + 1.0), 0.5 * float(w)) for x, w in zip(_NODES, _WEIGHTS, strict=True)]

Tangent = Any  # (directions,) or 0
Spec = tuple[Any, ...]


def read(result: Result, population: str, spec: Spec) -> tuple[np.ndarray, np.ndarray]:
    """Values (n,) and tangents (n, directions) of a readout; ("sampled", times): (m, n) and (m, n, directions).

    The others: ("integral", normalise), ("weighted_integral", tau, normalise), ("linear_integral", normalise),
    ("sigmoid_integral", centre, width, normalise), ("max",), ("final",).
    """
    values, tangents = [], []
    for neuron in result.neurons[population]:
        if spec[0] == "sampled":
            pairs = [_at(result, neuron, result.math.number(t)) for t in spec[1]]
        elif spec[0] == "final":
            pairs = [_at(result, neuron, result.duration)]
        elif spec[0] == "max":
            pairs = [_maximum(result, neuron)]
        elif spec[0] == "integral":
            pairs = [_integral(result, neuron, lambda t: 1, None, spec[1])]
        elif spec[0] == "weighted_integral":
            tau = result.math.number(spec[1])
            pairs = [_integral(result, neuron, lambda t, tau=tau: result.math.exp(-t / tau), tau, spec[2])]
        elif spec[0] == "linear_integral":
            pairs = [_integral(result, neuron, lambda t: 1 - t / result.duration, None, spec[1])]
        elif spec[0] == "sigmoid_integral":
            centre, width = result.math.number(spec[1]), result.math.number(spec[2])
            sigmoid = _sigmoid(result, centre, width)
            pairs = [_integral(result, neuron, sigmoid, width, spec[3])]
        else:
            raise ValueError(f"no readout {spec!r}")
        values.append([v for v, _ in pairs])
        tangents.append([np.broadcast_to(d, (result.directions.count,)) for _, d in pairs])
    kind = object if result.math.exact else float
    value = np.array(values, dtype=kind)
    tangent = np.array(tangents, dtype=np.float64)
    if spec[0] == "sampled":
        return value.T, tangent.transpose(1, 0, 2)
    return value[:, 0], tangent[:, 0]


def trace(result: Result, population: str, unit: int, times: Any) -> tuple[np.ndarray, np.ndarray]:
    """V and I at the given times; at an event the state just before it."""
    neuron = result.neurons[population][unit]
    pairs = []
    for t in times:
        span = _span_at(neuron, float(t))
        d = float(t) - span.start
        pairs.append(
            (_inside(result, neuron, span, d)[0], flow.current(result.math, d, span.i, neuron.p["tau_syn"]))
        )
    v, i = zip(*pairs, strict=True)
    return np.array(v), np.array(i)


def _span_at(neuron: Neuron, t: Number) -> Span:
    return next((s for s in neuron.spans if t <= s.end), neuron.spans[-1])


def _inside(result: Result, neuron: Neuron, span: Span, d: Number) -> tuple[Number, Tangent]:
    """V and its fixed-time tangent, d after the start of a span."""
    if span.held:
        return neuron.p["v_reset"], neuron.dp["v_reset"]
    m, constants = result.math, neuron.flow_constants()
    _, tau_mem, tau_syn = constants
    v = flow.voltage(m, d, span.v, span.i, *constants)
    if not result.directions.count:
        return v, 0
    by_mem, by_syn, by_bias, _ = flow.constants_derivatives(m, d, span.v, span.i, *constants)
    dv = (
        span.dv * math.exp(-d / tau_mem)
        + span.di * flow.kappa(m, d, tau_mem, tau_syn)
        + by_mem * neuron.dp["tau_mem"]
        + by_syn * neuron.dp["tau_syn"]
        + by_bias * neuron.dp["i_bias"]
    )
    return v, dv


def _at(result: Result, neuron: Neuron, t: Number) -> tuple[Number, Tangent]:
    span = _span_at(neuron, t)
    return _inside(result, neuron, span, t - span.start)


def _maximum(result: Result, neuron: Neuron) -> tuple[Number, Tangent]:
    bias, tau_mem, tau_syn = neuron.flow_constants()
    best: tuple[Number, Tangent] = (neuron.p["v_init"], neuron.dp["v_init"])
    for span in neuron.spans:
        d = span.end - span.start
        if not span.held and span.i > 0:
            peak = flow.stationary_point(result.math, span.v, span.i, bias, tau_mem, tau_syn)
            if peak is not None and peak < d:
                found = _inside(result, neuron, span, peak)
                best = found if found[0] > best[0] else best
        if span.ends_with_spike:
            found = (neuron.p["v_th"], neuron.dp["v_th"])
        else:
            v, dv = _inside(result, neuron, span, d)
            i = flow.current(result.math, d, span.i, tau_syn)
            slope = 0 if span.held or span.end_fixed else (i + bias - v) / tau_mem
            found = (v, dv + slope * span.end_tangent if result.directions.count else dv)
        best = found if found[0] > best[0] else best
    return best


def _sigmoid(result: Result, centre: Number, width: Number) -> Callable[[Number], Number]:
    return lambda t: 1 / (1 + result.math.exp((t - centre) / width))


def _integral(
    result: Result, neuron: Neuron, weight: Callable[[Number], Number], scale_of_weight: Number | None, normalise: bool
) -> tuple[Number, Tangent]:
    nodes = [(result.math.number(x), result.math.number(w)) for x, w in GAUSS_20]
    own = [] if scale_of_weight is None else [scale_of_weight]
    fastest = min(neuron.p["tau_mem"], neuron.p["tau_syn"], *own)
    total: Number = 0
    tangent: Tangent = 0
    for span in neuron.spans:
        d = span.end - span.start
        panels = max(1, math.ceil(float(d / fastest)))
        h = d / panels
        for k in range(panels):
            for node, w in nodes:
                u = (k + node) * h
                v, dv = _inside(result, neuron, span, u)
                share = w * h * weight(span.start + u)
                total = total + share * v
                tangent = tangent + share * dv
        if span.ends_with_spike:
            tangent = tangent + (neuron.p["v_th"] - neuron.p["v_reset"]) * weight(span.end) * span.end_tangent
    scale = 1 / result.duration if normalise else 1
    return total * scale, tangent * scale
