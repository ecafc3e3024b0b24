"""Readouts: what is read from the membrane voltage of a population, in closed form between events.

    Integral          y = int_0^T V dt                    divided by T unless normalise=None
    WeightedIntegral  y = int_0^T e^{-t/tau} V dt         divided by T unless normalise=None
    LinearIntegral    y = int_0^T (1 - t/T) V dt          likewise
    SigmoidIntegral   y = int_0^T V / (1 + e^{(t - centre)/width}) dt     likewise
    Max               y = max over [0, T] of V            also of a silent LIF population
    Final             y = V(T)
    Sampled           y_j = V(t_j)

T is the duration (ms), V in the unit of v_th; each gives (batch, n), Sampled (batch, m, n).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .errors import ParameterError


class Readout(ABC):
    """Base of the readouts; readouts that are equal read the same thing."""

    @abstractmethod
    def spec(self, duration: float) -> tuple[Any, ...]:
        """What the core is asked for; raises if the readout does not fit the duration (ms)."""


def _check_normalise(normalise: Any) -> None:
    if normalise not in ("duration", None):
        raise ParameterError(
            f'normalise is {normalise!r}; it must be "duration" (divide by the duration) or None.'
        )


@dataclass(frozen=True)
class Integral(Readout):
    """The integral of V over the trial; its mean over time unless normalise=None."""

    normalise: str | None = "duration"

    def __post_init__(self) -> None:
        _check_normalise(self.normalise)

    def spec(self, duration: float) -> tuple[Any, ...]:
        return ("integral", self.normalise is not None)


@dataclass(frozen=True)
class WeightedIntegral(Readout):
    """The integral of e^{-t/tau} V over the trial, tau in ms; divided by the duration unless normalise=None.

    Early voltages count for more, so that gradients reach spikes early in the trial (loss shaping; Nowotny, Turner &
    Knight 2025).
    """

    tau: float
    normalise: str | None = "duration"

    def __post_init__(self) -> None:
        if not 0.0 < self.tau < math.inf:
            raise ParameterError(
                f"WeightedIntegral: tau is {self.tau!r} ms; it must be finite and > 0 (Integral() for none)."
            )
        _check_normalise(self.normalise)

    def spec(self, duration: float) -> tuple[Any, ...]:
        return ("weighted_integral", float(self.tau), self.normalise is not None)


@dataclass(frozen=True)
class LinearIntegral(Readout):
    """The integral of (1 - t/T) V over the trial of T ms; divided by the duration unless normalise=None.

    The linear loss shaping of Nowotny, Turner & Knight 2025 (their ``sum_weigh_linear``).
    """

    normalise: str | None = "duration"

    def __post_init__(self) -> None:
        _check_normalise(self.normalise)

    def spec(self, duration: float) -> tuple[Any, ...]:
        return ("linear_integral", self.normalise is not None)


@dataclass(frozen=True)
class SigmoidIntegral(Readout):
    """The integral of V / (1 + e^{(t - centre)/width}); ms both; divided by the duration unless normalise=None.

    The weight is nearly 1 long before ``centre``, 1/2 there, and nearly 0 long after it. The sigmoid loss shaping of
    Nowotny, Turner & Knight 2025 (their ``sum_weigh_sigmoid``) has its centre at half the trial and a width of a
    fifth of it.
    """

    centre: float
    width: float
    normalise: str | None = "duration"

    def __post_init__(self) -> None:
        if not math.isfinite(self.centre):
            raise ParameterError(f"SigmoidIntegral: centre is {self.centre!r} ms; it must be finite.")
        if not 0.0 < self.width < math.inf:
            raise ParameterError(f"SigmoidIntegral: width is {self.width!r} ms; it must be finite and > 0.")
        _check_normalise(self.normalise)

    def spec(self, duration: float) -> tuple[Any, ...]:
        return ("sigmoid_integral", float(self.centre), float(self.width), self.normalise is not None)


@dataclass(frozen=True)
class Max(Readout):
    """The largest V over the trial; a peak between two events counts."""

    def spec(self, duration: float) -> tuple[Any, ...]:
        return ("max",)


@dataclass(frozen=True)
class Final(Readout):
    """V at the end of the trial."""

    def spec(self, duration: float) -> tuple[Any, ...]:
        return ("final",)


@dataclass(frozen=True)
class Sampled(Readout):
    """V at given times (ms), ascending, within the trial."""

    times: tuple[float, ...]

    def __init__(self, times: Iterable[float]) -> None:
        values = tuple(float(t) for t in times)
        if not values:
            raise ParameterError("Sampled: times is empty; give at least one time.")
        for k, t in enumerate(values):
            if not 0.0 <= t < math.inf:
                raise ParameterError(f"Sampled: times[{k}] is {t!r} ms; it must be finite and >= 0.")
            if k and t < values[k - 1]:
                raise ParameterError(
                    f"Sampled: times[{k}] is {t!r} ms after {values[k - 1]!r} ms; give them ascending."
                )
        object.__setattr__(self, "times", values)

    def spec(self, duration: float) -> tuple[Any, ...]:
        if self.times[-1] > duration:
            raise ParameterError(
                f"Sampled: time {self.times[-1]!r} ms is after the duration of {duration:g} ms."
            )
        return ("sampled", np.asarray(self.times))
