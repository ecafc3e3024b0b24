"""Readouts from the chip's voltages, which are known at the ends of its steps: V_r at r dt, r = 0..n.

    Integral and its weighted kin    trapezoids between the steps
    Max                              the largest V_r; v_th where a neuron spiked
    Final                            V_n
    Sampled                          straight lines between the steps
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...errors import HardwareError
from ...readouts import (
    Final,
    Integral,
    LinearIntegral,
    Max,
    Readout,
    Sampled,
    SigmoidIntegral,
    WeightedIntegral,
)

Floats = NDArray[np.float64]


class Read:
    """A readout over a batch: ``values`` (batch, n) or (batch, m, n); of `Max` ``peaks`` (batch, n) ms, NaN: fired."""

    def __init__(self, values: Floats, peaks: Floats | None = None) -> None:
        self.values = values
        self.peaks = peaks


def read(
    readout: Readout, v: Floats, times: Floats, duration: float, v_th: Floats | None, fired: NDArray[np.bool_]
) -> Read:
    """One readout of one population.

    Args:
        v: (batch, n_rows, n), in the network's unit.
        times: (n_rows,) ms.
        v_th: (n,) thresholds, or None without.
        fired: (batch, n): which neurons spiked.
    """
    if isinstance(readout, Integral | WeightedIntegral | LinearIntegral | SigmoidIntegral):
        weight = _trapezoids(times)
        if isinstance(readout, WeightedIntegral):
            weight *= np.exp(-times / readout.tau)
        elif isinstance(readout, LinearIntegral):
            weight *= 1.0 - times / duration
        elif isinstance(readout, SigmoidIntegral):
            weight *= 0.5 * (1.0 - np.tanh(0.5 * (times - readout.centre) / readout.width))
        total = np.einsum("r,brn->bn", weight, v)
        return Read(total if readout.normalise is None else total / duration)
    if isinstance(readout, Final):
        return Read(v[:, -1])
    if isinstance(readout, Sampled):
        return Read(_between(v, times, np.asarray(readout.times)))
    if isinstance(readout, Max):
        row = v.argmax(axis=1)
        values = np.take_along_axis(v, row[:, None], axis=1)[:, 0]
        peaks = times[row]
        if v_th is not None:
            values, peaks = np.where(fired, v_th, values), np.where(fired, np.nan, peaks)
        return Read(values, peaks)
    raise HardwareError(f"{readout!r} cannot be read from the chip's voltages; use a readout of evprop.losses.")


def _trapezoids(times: Floats) -> Floats:
    weight: Floats = np.zeros(len(times))
    half = np.diff(times) / 2.0
    weight[:-1] += half
    weight[1:] += half
    return weight


def _between(v: Floats, times: Floats, at: Floats) -> Floats:
    row = np.clip(np.searchsorted(times, at, side="right") - 1, 0, max(len(times) - 2, 0))
    following = np.minimum(row + 1, len(times) - 1)
    span = times[following] - times[row]
    share = np.clip(np.divide(at - times[row], span, out=np.zeros(len(at)), where=span > 0.0), 0.0, 1.0)
    between: Floats = v[:, row] * (1.0 - share)[:, None] + v[:, following] * share[:, None]
    return between
