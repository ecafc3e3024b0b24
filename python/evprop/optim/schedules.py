"""Learning-rate schedules: a factor on the learning rate as a function of training time.

    StepDecay         factor^floor(x / every)        DelGrad, fast & deep: 0.95 every 20 epochs
    ExponentialDecay  factor^max(x - start, 0)       Wunderlich & Pehle 2021: 0.95 every epoch, start 1
    CosineDecay       final + (1 - final) (1 + cos(pi min(x / over, 1))) / 2   Loshchilov & Hutter 2017
    EaseIn            min(start growth^x, 1), times another schedule   Nowotny et al. 2025: 1e-3 and 1.05 each step

x is the number of finished epochs (``per="epoch"``, the default) or of finished optimiser steps
(``per="step"``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Protocol

from ..errors import ConfigError

Per = Literal["epoch", "step"]


class Schedule(Protocol):
    """Anything that gives the factor for a step count and an epoch count."""

    def __call__(self, step: int, epoch: int) -> float:
        """The factor on the learning rate after ``step`` finished steps and ``epoch`` finished epochs."""


@dataclass(frozen=True)
class Constant:
    """No schedule: the factor is 1."""

    def __call__(self, step: int, epoch: int) -> float:
        """1."""
        return 1.0


@dataclass(frozen=True)
class StepDecay:
    """factor^floor(x / every)."""

    every: int
    factor: float
    per: Per = "epoch"

    def __post_init__(self) -> None:
        _check_per(self.per)
        if self.every < 1:
            raise ConfigError(f"StepDecay: every must be at least 1, got {self.every}.")
        _check_factor("StepDecay", self.factor)

    def __call__(self, step: int, epoch: int) -> float:
        """The factor now."""
        return float(self.factor ** ((epoch if self.per == "epoch" else step) // self.every))


@dataclass(frozen=True)
class ExponentialDecay:
    """factor^max(x - start, 0)."""

    factor: float
    start: int = 0
    per: Per = "epoch"

    def __post_init__(self) -> None:
        _check_per(self.per)
        _check_factor("ExponentialDecay", self.factor)

    def __call__(self, step: int, epoch: int) -> float:
        """The factor now."""
        return float(self.factor ** max((epoch if self.per == "epoch" else step) - self.start, 0))


@dataclass(frozen=True)
class CosineDecay:
    """From 1 down to ``final`` along half a cosine over ``over`` epochs (or steps), ``final`` after that."""

    over: int
    final: float = 0.0
    per: Per = "epoch"

    def __post_init__(self) -> None:
        _check_per(self.per)
        if self.over < 1:
            raise ConfigError(f"CosineDecay: over must be at least 1, got {self.over}.")

    def __call__(self, step: int, epoch: int) -> float:
        """The factor now."""
        x = min((epoch if self.per == "epoch" else step) / self.over, 1.0)
        return self.final + (1.0 - self.final) * 0.5 * (1.0 + math.cos(math.pi * x))


@dataclass(frozen=True)
class EaseIn:
    """min(start growth^x, 1), times the factor of the schedule ``then``."""

    start: float
    growth: float
    then: Schedule = Constant()
    per: Per = "step"

    def __post_init__(self) -> None:
        _check_per(self.per)
        if not (0.0 < self.start <= 1.0 and 1.0 < self.growth < math.inf):
            raise ConfigError(
                f"EaseIn: start is {self.start!r} and growth {self.growth!r}; they must lie in (0, 1] and above 1."
            )

    def __call__(self, step: int, epoch: int) -> float:
        """The factor now."""
        x = step if self.per == "step" else epoch
        done = math.log(self.start) + x * math.log(self.growth) >= 0.0  # the power itself would overflow
        return (1.0 if done else self.start * self.growth**x) * self.then(step, epoch)


def _check_per(per: str) -> None:
    if per not in ("epoch", "step"):
        raise ConfigError(f"A schedule counts per='epoch' or per='step', got per={per!r}.")


def _check_factor(name: str, factor: float) -> None:
    if not (math.isfinite(factor) and factor > 0):
        raise ConfigError(f"{name}: factor must be positive and finite, got {factor}.")
