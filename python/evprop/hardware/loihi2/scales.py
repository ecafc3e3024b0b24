"""Scales: how many of the chip's units one unit of voltage is, population by population.

A population has one scale S for its threshold, its bias and all the weights that reach it:

    vth = round(S v_th)      m = round(S 2^-j kappa(dt) w)      bias = 64 S i_bias d_v/4096 a step      v_chip = 64 S V

m are the levels of the weights that reach a population: -2^(B-1)..2^(B-1) - 1 with B bits and both signs, 0..2^B - 1 or
-(2^B - 1)..0 with one. A spike brings m 2^j, with j as large as 8 bits and a sign allow: so u and v are large, and
rounding them counts for little. S is as large as the weights, by one of the rules below, the threshold's 17 bits and
v's 24 bits let it be.

    "percentile"   99th percentile p of the positive and of the |negative| weights that reach the population, the larger
                   of the two; 1/S = 2^(floor(log2 p) - (B - 2)), j = 0; larger weights are clipped
                   (ml_genn_netx, Shoesmith et al. 2025)
    "max"          no weight is clipped: the largest takes the last level
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...errors import HardwareError, nearest

Floats = NDArray[np.float64]

RULES = ("percentile", "max")
MAX_THRESHOLD = 2**17 - 1
"""17 bits (Lava's declaration of vth)."""
MAX_VOLTAGE = 2**17 - 1
"""v is clipped at 2^23 - 1, 64 times this."""


class Levels(NamedTuple):
    """What a weight may be, in units of one step."""

    low: int
    high: int
    mode: str
    spare: int
    """How many bits 8 bits and a sign have beyond those of the levels."""

    @classmethod
    def of(cls, weights: Floats, bits: int) -> Levels:
        """The levels for weights of these signs."""
        if not weights.size or weights.min() >= 0.0:
            return cls(0, 2**bits - 1, "excitatory", 8 - bits)
        if weights.max() <= 0.0:
            return cls(1 - 2**bits, 0, "inhibitory", 8 - bits)
        return cls(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1, "mixed", 9 - bits)

    def largest_scale(self, weights: Floats) -> float:
        """The largest factor that leaves all weights within the levels."""
        limits = [math.inf]
        if self.high > 0 and weights.size and weights.max() > 0.0:
            limits.append(self.high / float(weights.max()))
        if self.low < 0 and weights.size and weights.min() < 0.0:
            limits.append(self.low / float(weights.min()))
        return min(limits)


class Room(NamedTuple):
    """What else bounds a scale: the largest threshold and the largest voltage of a population, in its own unit."""

    threshold: float
    voltage: float

    def bounds(self) -> tuple[tuple[str, float], ...]:
        """(what bounds, the scale it allows)."""
        return (
            ("threshold", MAX_THRESHOLD / self.threshold if self.threshold > 0.0 else math.inf),
            ("voltage", MAX_VOLTAGE / self.voltage if self.voltage > 0.0 else math.inf),
        )


def check_rule(rule: object) -> str:
    """The name of a rule."""
    if rule not in RULES:
        raise HardwareError(
            f"scale is {rule!r}: {nearest(rule, RULES)} Or give a number for each population: {{name: scale}}."
        )
    return str(rule)


class Chosen(NamedTuple):
    """A population's scale, what bounds it, and S 2^-j."""

    scale: float
    bound: str
    factor: float


def choose(rule: str, weights: Sequence[Floats], bits: int, room: Room) -> Chosen:
    """Scales for the weights of all projections to a population, already multiplied by kappa(dt)."""
    every = np.concatenate([w.ravel() for w in weights]) if weights else np.empty(0)
    if rule == "max":
        return fit(Levels.of(every, bits), every, room)
    scale, bound = _power_of_two(every, bits), "weights"
    for what, most in room.bounds():
        if scale > most:
            scale, bound = 2.0 ** math.floor(math.log2(most)), what  # the rule knows powers of two only
    return Chosen(scale, bound, scale) if math.isfinite(scale) else NOTHING


def fit(levels: Levels, weights: Floats, room: Room) -> Chosen:
    """The largest scale at which no weight is clipped."""
    largest = levels.largest_scale(weights)
    # the spare bits make u and v larger, so that rounding them counts for less
    scale, bound = largest * 2.0**levels.spare, "weights"
    for what, most in room.bounds():
        if scale > most:
            scale, bound = most, what
    if not math.isfinite(scale):
        return NOTHING
    # the margin: a scale that was made to fit must not need a coarser step by its last bit
    j = max(0, math.ceil(math.log2(scale / largest) - 1e-9)) if math.isfinite(largest) else 0
    return Chosen(scale, bound, scale * 2.0**-j)


NOTHING = Chosen(1.0, "nothing", 1.0)
"""Where there is nothing to be scaled."""


def _power_of_two(every: Floats, bits: int) -> float:
    largest = 0.0
    for part in (every[every > 0.0], -every[every < 0.0]):
        if part.size:
            largest = max(largest, float(np.percentile(part, 99)))
    if largest == 0.0:
        return math.inf
    return 2.0 ** ((bits - 2) - math.floor(math.log2(largest)))
