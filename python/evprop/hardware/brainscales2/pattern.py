"""The fixed pattern of one chip: how each circuit, driver and synapse differs from what it was told to be.

Drawn once for a chip, place by place, so that the same network lies on the same mismatch every time and two networks on
one chip share what they share in silicon. Standard normal numbers x, y, z from NumPy's frozen generator (MT19937):

    tau_mem, tau_syn          tau e^(spread x)                                    per circuit
    threshold, reset          v + (offset + spread x) (v_th - v_reset)            per circuit
    gain of a connection      e^(neuron x + driver y + synapse z)                 circuit and sign, driver, synapse

A connection made of several synapses has the sum of its synapses' weights, each with its own gain.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...network import Network
from ...parameters import Array
from ...projections import Projection
from .placement import CIRCUITS_PER_HALF, DRIVERS_PER_HALF, BrainScaleS2Placement, Ints

Floats = NDArray[np.float64]

CONSTANTS = ("tau_mem", "tau_syn", "v_th", "v_reset")


@dataclass(frozen=True, eq=False)
class FixedPattern:
    """Standard normal deviations of a whole chip.

    Attributes:
        constants: {constant: (2, 256)} by half and column.
        neuron_gain: (2, 2, 256) by sign (0 excitatory), half and column.
        driver_gain: (2, 128) by half and driver.
        synapse_gain: (2, 2, 128, 256) by sign, half, driver and column.
    """

    constants: dict[str, Floats]
    neuron_gain: Floats
    driver_gain: Floats
    synapse_gain: Floats

    @classmethod
    def draw(cls, chip: int) -> FixedPattern:
        """The pattern of chip number ``chip`` (0 to 2**32 - 1)."""
        return _draw(chip)


@lru_cache(maxsize=8)
def _draw(chip: int) -> FixedPattern:
    rng = np.random.RandomState(chip)
    place = (2, CIRCUITS_PER_HALF)
    return FixedPattern(
        {name: rng.standard_normal(place) for name in CONSTANTS},
        rng.standard_normal((2, *place)),
        rng.standard_normal((2, DRIVERS_PER_HALF)),
        rng.standard_normal((2, 2, DRIVERS_PER_HALF, CIRCUITS_PER_HALF)),
    )


def at_circuits(values: Floats, circuits: Ints) -> Floats:
    """(..., n): the values of neurons; one of two merged circuits has the mean of its two, halved in variance."""
    here = circuits >= 0
    taken = np.where(here, values[..., np.arange(2), np.where(here, circuits, 0)], 0.0)
    return np.asarray(taken.sum(axis=-1) / here.sum(axis=-1))


def connection_gains(
    pattern: FixedPattern,
    placement: BrainScaleS2Placement,
    projection: Projection,
    spreads: tuple[float, float, float],
) -> Floats:
    """(2, copies, n_pre, n_post): gain of each synapse by sign; ``spreads`` of neuron, driver and synapse."""
    circuits = placement.circuits[projection.post]
    lines = placement.drivers[projection.name]
    half, line = _meeting_half(circuits, lines)
    column = np.where(half == 0, circuits[:, 0], circuits[:, 1])
    neuron, driver, synapse = spreads
    log = neuron * at_circuits(pattern.neuron_gain, circuits)[:, None, None, :]
    log = log + driver * pattern.driver_gain[half, line]
    log = log + synapse * pattern.synapse_gain[:, half, line, column]
    return np.exp(log)


def _meeting_half(circuits: Ints, lines: Ints) -> tuple[Ints, Ints]:
    """(copies, n_pre, n_post): in which half line and neuron meet, and the line's driver there."""
    meets = (lines[:, :, :, None] >= 0) & (circuits.T[:, None, None, :] >= 0)
    half = np.argmax(meets, axis=0)
    line = np.where(half == 0, lines[0][:, :, None], lines[1][:, :, None])
    return half, line


def on_connections(net: Network, projection: Projection, dense: Floats) -> Floats:
    """The last two axes (n_pre, n_post) as the projection's weights lie: unchanged, or (..., nnz)."""
    structure = projection.structure()
    if structure is None:
        return dense
    indptr, indices = structure
    rows = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    return np.ascontiguousarray(dense[..., rows, indices])


def mismatched(value: Array, x: Floats, spread: float) -> Array:
    """value e^(spread x)."""
    return np.ascontiguousarray(value * np.exp(spread * x))


def shifted(value: Array, swing: Array, x: Any, offset: float, spread: float) -> Array:
    """value + (offset + spread x) swing."""
    return np.ascontiguousarray(value + (offset + spread * x) * swing)
