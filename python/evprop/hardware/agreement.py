"""How alike two sets of spike trains are, spike by spike.

d(spike) = min(|time to the nearest spike of the same unit and sample in the other set| / within, 1)
distance = mean of d over the spikes of both sets          agreement = share of them with d < 1
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ..errors import SpikesError
from ..spikes import Spikes

Floats = NDArray[np.float64]


def spike_distance(a: Spikes, b: Spikes, *, within: float) -> float:
    """0 (the same spikes) to 1 (none within ``within`` ms of another); 0 where neither has any."""
    gaps = _gaps(a, b, within)
    return float(np.minimum(gaps / within, 1.0).mean()) if len(gaps) else 0.0


def spike_agreement(a: Spikes, b: Spikes, *, within: float) -> float:
    """The share of the spikes of both with a spike of the other set nearer than ``within`` (ms); 1 without spikes."""
    gaps = _gaps(a, b, within)
    return float(np.mean(gaps < within)) if len(gaps) else 1.0


def median_shift(a: Spikes, b: Spikes, *, within: float) -> float:
    """ms: the median distance of spikes of ``a`` to the nearest of ``b``, where that is below ``within``."""
    gaps = _nearest(a, b, within)
    near = gaps[gaps < within]
    return float(np.median(near)) if len(near) else math.nan


def _gaps(a: Spikes, b: Spikes, within: float) -> Floats:
    if not 0.0 < within < math.inf:
        raise SpikesError(f"within is {within!r} ms; it must be finite and > 0.")
    if a.n_units != b.n_units or len(a) != len(b):
        raise SpikesError(
            f"spikes of {len(a)} samples and {a.n_units} units cannot be compared with {len(b)} and {b.n_units}."
        )
    return np.concatenate([_nearest(a, b, within), _nearest(b, a, within)])


def _nearest(a: Spikes, b: Spikes, within: float) -> Floats:
    """(n_spikes of a,) ms to the nearest spike of b of the same sample and unit; >= ``within`` without one."""
    if not b.n_spikes:
        return np.full(a.n_spikes, within)
    # trains laid end to end, further apart than counts
    span = float(max(a.times.max(initial=0.0), b.times.max(initial=0.0))) + 2.0 * within
    there = np.sort((b.samples * b.n_units + b.units) * span + b.times)
    here = (a.samples * a.n_units + a.units) * span + a.times
    after = np.searchsorted(there, here)
    left = here - there[np.maximum(after - 1, 0)]
    right = there[np.minimum(after, len(there) - 1)] - here
    gaps: Floats = np.minimum(np.abs(left), np.abs(right))
    return gaps
