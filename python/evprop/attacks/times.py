"""Spike times pushed along the exact gradient, step by step (Kurakin, Goodfellow & Bengio 2017; Madry et al. 2018).

    t <- project( t + a sign(g) )        no spike further than the budget from where it was        g = dL/dt
    t <- project( t + a g / ||g||_2 )    the root of the summed squares of a sample's shifts within the budget

and within the trial. The number of spikes and their units stay.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from ..errors import ConfigError, ParameterError, nearest
from ..spikes import Spikes
from .victim import Floats, SpikeAttack, Victim, rebuilt, replaced

NORMS = ("linf", "l2")


def shift_times(
    victim: Victim,
    spikes: Spikes,
    labels: Any,
    *,
    budget: float,
    steps: int,
    norm: str = "linf",
    step_size: float | None = None,
    surrogate: Victim | None = None,
) -> SpikeAttack:
    """Move the input spikes of each sample, within ``budget`` ms, to where the victim's loss is larger.

    norm       "linf": each spike by at most the budget; "l2": all spikes of a sample together
    step_size  ms, a of each of the ``steps``; None: budget / steps, with which the projection to the ball never acts
    surrogate  a `Victim` with the same inputs whose gradient is followed; None: the victim's own

    Of each sample the first version that is misclassified is kept, else the one with the largest loss.
    """
    check_norm(norm)
    check_budget(budget, steps, step_size)
    wanted = victim.check(spikes, labels)
    guide = victim if surrogate is None else surrogate
    size = budget / steps if step_size is None else step_size
    best = spikes
    seen = victim.look(spikes, wanted, slopes=guide is victim)
    losses, classes, slopes = seen.losses.copy(), seen.classes.copy(), seen.slopes
    left = np.flatnonzero(classes == wanted)
    if slopes is not None:
        slopes = slopes[np.isin(spikes.samples, left)]
    mover = _Mover(spikes[left], budget, norm, victim.duration)
    for _ in range(steps if budget > 0.0 else 0):
        if not left.size:
            break
        if slopes is None:
            slopes = guide.look(mover.moved, wanted[left], slopes=True).slopes
        assert slopes is not None
        mover.step(slopes, size)
        seen = victim.look(mover.moved, wanted[left], slopes=guide is victim)
        fooled = seen.classes != wanted[left]
        better = np.flatnonzero(fooled | (seen.losses > losses[left]))
        best = replaced(best, left[better], mover.moved[better])
        losses[left[better]], classes[left[better]] = seen.losses[better], seen.classes[better]
        slopes = None if seen.slopes is None else seen.slopes[~fooled[mover.moved.samples]]
        left = left[~fooled]
        mover.keep(~fooled)
    return SpikeAttack(best, losses, classes, classes != wanted)


class _Mover:
    """Shifts of every spike of a batch, and the batch that they make."""

    def __init__(self, spikes: Spikes, budget: float, norm: str, duration: float) -> None:
        self.start, self.budget, self.norm, self.duration = spikes, budget, norm, duration
        self.shift = np.zeros(spikes.n_spikes)
        self._build()

    def _build(self) -> None:
        times = self.start.times + self.shift
        # place k of the moved batch holds spike order[k] of the start
        self.order = np.lexsort((times, self.start.samples))
        self.moved = rebuilt(self.start.samples, times, self.start.units, self.start)

    def step(self, slopes: Floats, size: float) -> None:
        """One step along the slopes, given in the order of `moved`."""
        g = np.empty_like(slopes)
        g[self.order] = slopes
        if self.norm == "linf":
            shift = np.clip(self.shift + size * np.sign(g), -self.budget, self.budget)
        else:
            length = self._lengths(g)
            direction = np.divide(g, length, out=np.zeros_like(g), where=length > 0.0)
            shift = self.shift + size * direction
            length = self._lengths(shift)
            shift *= np.divide(self.budget, length, out=np.ones_like(g), where=length > self.budget)
        times = np.clip(self.start.times + shift, 0.0, self.duration)  # a spike cannot leave the trial
        self.shift = times - self.start.times
        self._build()

    def keep(self, chosen: Any) -> None:
        """Goes on with some of the samples only."""
        self.shift = self.shift[chosen[self.start.samples]]
        self.start = self.start[np.flatnonzero(chosen)]
        self._build()

    def _lengths(self, values: Floats) -> Floats:
        """For every spike, the norm over its sample."""
        samples = self.start.samples
        squares = np.bincount(samples, values * values, minlength=len(self.start))
        lengths: Floats = np.sqrt(squares)[samples]
        return lengths


def check_norm(norm: str) -> None:
    """Raise for an unknown norm."""
    if norm not in NORMS:
        raise ConfigError(f"norm is {norm!r}; {nearest(norm, NORMS)}")


def check_budget(budget: float, steps: int, step_size: float | None) -> None:
    """Raise unless an iterated attack can be made of these."""
    if not (np.isfinite(budget) and budget >= 0.0):
        raise ParameterError(f"budget is {budget} ms; it must be finite and >= 0.")
    if operator.index(steps) < 1:
        raise ParameterError(f"steps is {steps}; it must be at least 1.")
    if step_size is not None and not (np.isfinite(step_size) and step_size > 0.0):
        raise ParameterError(f"step_size is {step_size} ms; it must be finite and > 0.")
