"""Maps that keep a parameter inside its range: the optimiser moves a free variable theta, the network sees
p(theta).

    Log      p = e^theta                      p > 0                       dp/dtheta = p
    Sigmoid  p = shift + s                    shift < p < shift + scale   dp/dtheta = s (1 - s / scale)
             s = scale / (1 + e^-theta)

``Sigmoid`` is DelGrad's map for delays (Göltz, Weber, Kriener et al. 2025, Nat. Commun. 16; their simulations
use shift 0 and scale 1 in units of tau_syn, their chip shift 2.0 and scale 1.5). The chain rule is applied to
the gradient, so the optimiser's moments belong to theta.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ..errors import ParameterError

Array = npt.NDArray[Any]


class Map(Protocol):
    """A smooth, increasing map from the real line onto the open range of a parameter."""

    def forward(self, theta: Array) -> Array:
        """p(theta)."""

    def inverse(self, value: Array, name: str) -> Array:
        """theta with p(theta) = value; ``name`` is for the error message."""

    def slope(self, value: Array) -> Array:
        """dp/dtheta, written in p itself."""

    @property
    def bounds(self) -> tuple[float, float]:
        """The open range of p."""


@dataclass(frozen=True)
class Log:
    """p = e^theta: keeps a parameter positive and makes the learning rate a relative one."""

    def forward(self, theta: Array) -> Array:
        """p = e^theta."""
        return np.exp(theta)

    def inverse(self, value: Array, name: str) -> Array:
        """theta = ln p."""
        _inside(value, name, self)
        return np.log(value)

    def slope(self, value: Array) -> Array:
        """dp/dtheta = p."""
        return value

    @property
    def bounds(self) -> tuple[float, float]:
        """0 and infinity."""
        return 0.0, np.inf


@dataclass(frozen=True)
class Sigmoid:
    """p = shift + scale * sigmoid(theta): strictly between ``shift`` and ``shift + scale`` (the parameter's unit)."""

    shift: float = 0.0
    scale: float = 1.0

    def __post_init__(self) -> None:
        if not (np.isfinite(self.shift) and np.isfinite(self.scale) and self.scale > 0):
            raise ParameterError(
                f"Sigmoid(shift={self.shift}, scale={self.scale}): scale must be positive and both must be finite."
            )

    def forward(self, theta: Array) -> Array:
        """p = shift + scale * sigmoid(theta), without overflow."""
        e = np.exp(-np.abs(theta))
        sigmoid = np.where(theta >= 0, 1.0, e) / (1.0 + e)
        return np.asarray(self.shift + self.scale * sigmoid, dtype=theta.dtype)

    def inverse(self, value: Array, name: str) -> Array:
        """theta = ln s - ln(scale - s), s = p - shift."""
        _inside(value, name, self)
        s = value - self.shift
        return np.asarray(np.log(s) - np.log(self.scale - s), dtype=value.dtype)

    def slope(self, value: Array) -> Array:
        """dp/dtheta = s (1 - s / scale), s = p - shift."""
        s = value - self.shift
        return np.asarray(s * (1.0 - s / self.scale), dtype=value.dtype)

    @property
    def bounds(self) -> tuple[float, float]:
        """``shift`` and ``shift + scale``."""
        return self.shift, self.shift + self.scale


def _inside(value: Array, name: str, map_: Map) -> None:
    low, high = map_.bounds
    outside = ~((value > low) & (value < high))
    if outside.any():
        first = value[outside].flat[0]
        raise ParameterError(
            f"{name}: {int(outside.sum())} of {value.size} values (the first: {first}) are not strictly between "
            f"{low} and {high}, the range of {map_!r}. Start inside the range, choose another map, or leave the map "
            "out: delays and time constants are then kept in range by projection."
        )
