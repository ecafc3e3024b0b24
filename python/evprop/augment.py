"""Augmentation of spike trains during training, as the keyword-spotting papers do it.

    ShiftChannels  all units of a sample move by one whole number            Nowotny et al. 2025
    Blend          spikes of two samples of a class, their centres aligned   Nowotny et al. 2025
    JitterTimes    each spike time + N(0, std)
    ScaleTimes     all times of a sample x one factor
    RoundTimes     all times of a sample to a grid, as a chip in steps gets them
    DropSpikes     each spike is left out with a probability
    DropChannels   each channel of a sample falls silent with a probability

An augmentation is a value. Batch k of epoch e under seed s draws from PCG64 seeded with (s, e, k), so that a resumed
run sees the same batches, whatever was drawn before. Spikes that leave the channels or the trial are left out: a shift
is not wrapped around, a time is not clipped. Everything is vectorised over the spikes of the batch.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import ConfigError, DatasetError
from .spikes import Spikes

Generator = np.random.Generator


class Pool:
    """The training set that a batch is from, for augmentations that mix in other samples."""

    def __init__(self, spikes: Spikes, labels: NDArray[Any]) -> None:
        self.spikes = spikes
        order = np.argsort(labels, kind="stable")
        self._members = order
        self._labels = np.asarray(labels)[order]

    def partners(self, labels: NDArray[Any], rng: Generator) -> Spikes:
        """A random sample of the class of each label, drawn with replacement."""
        first = np.searchsorted(self._labels, labels, side="left")
        last = np.searchsorted(self._labels, labels, side="right")
        drawn = first + np.floor(rng.random(len(labels)) * (last - first)).astype(np.int64)
        part: Spikes = self.spikes[self._members[drawn]]
        return part


class Augmentation(ABC):
    """Base of the augmentations: spikes of a batch in, spikes of the same samples and labels out."""

    @abstractmethod
    def __call__(
        self, spikes: Spikes, labels: NDArray[Any], pool: Pool, duration: float, rng: Generator
    ) -> Spikes:
        """The changed batch; every spike within ``duration`` (ms)."""


@dataclass(frozen=True)
class ShiftChannels(Augmentation):
    """Each sample's units move by a whole number drawn evenly from -most..most (SHD: 40 of 700).

    The papers' help against different voices: a shift along the cochlea is a shift in pitch.
    """

    most: int

    def __post_init__(self) -> None:
        _check(self, most=(self.most, 0, math.inf))

    def __call__(
        self, spikes: Spikes, labels: NDArray[Any], pool: Pool, duration: float, rng: Generator
    ) -> Spikes:
        shift = np.floor(rng.random(len(spikes)) * (2 * self.most + 1)).astype(np.int64) - self.most
        units = spikes.units.astype(np.int64)
        units += shift.repeat(spikes.counts_per_sample())
        return _kept(spikes, spikes.times, units, (units >= 0) & (units < spikes.n_units))


@dataclass(frozen=True)
class Blend(Augmentation):
    """With probability p, a sample becomes a blend with another one of its class.

    Both move, half the way each, until their centres of mass (mean unit, mean time) agree; then each spike of the
    sample is kept with probability ``share``, each of the other one with 1 - share. Channels move by whole numbers.
    """

    p: float
    share: float = 0.5

    def __post_init__(self) -> None:
        _check(self, p=(self.p, 0.0, 1.0), share=(self.share, 0.0, 1.0))

    def __call__(
        self, spikes: Spikes, labels: NDArray[Any], pool: Pool, duration: float, rng: Generator
    ) -> Spikes:
        chosen = rng.random(len(spikes)) < self.p
        other = pool.partners(np.asarray(labels), rng)
        (t_1, u_1), (t_2, u_2) = _centres(spikes), _centres(other)
        parts = []
        for one, sign, share in ((spikes, 0.5, self.share), (other, -0.5, 1.0 - self.share)):
            samples = one.samples
            blended = chosen[samples]
            d_t = np.where(chosen, sign * (t_2 - t_1), 0.0)
            d_u = np.where(chosen, np.rint(sign * (u_2 - u_1)), 0.0).astype(np.int64)
            kept = np.where(blended, rng.random(len(samples)) < share, sign > 0)
            parts.append((samples[kept], (one.times + d_t[samples])[kept], (one.units + d_u[samples])[kept]))
        samples, times, units = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        return _rebuilt(samples, times, units, spikes, duration)


@dataclass(frozen=True)
class JitterTimes(Augmentation):
    """Each spike time plus a normal number of standard deviation ``std`` (ms)."""

    std: float

    def __post_init__(self) -> None:
        _check(self, std=(self.std, 0.0, math.inf))

    def __call__(
        self, spikes: Spikes, labels: NDArray[Any], pool: Pool, duration: float, rng: Generator
    ) -> Spikes:
        times = spikes.times + rng.normal(0.0, self.std, spikes.n_spikes)
        return _rebuilt(spikes.samples, times, spikes.units, spikes, duration)


@dataclass(frozen=True)
class ScaleTimes(Augmentation):
    """Each sample's times x a factor drawn evenly from low..high: faster and slower speech."""

    low: float
    high: float

    def __post_init__(self) -> None:
        _check(self, low=(self.low, 0.0, self.high), high=(self.high, self.low, math.inf))
        if self.low == 0.0:
            raise ConfigError("ScaleTimes: low is 0; it must be > 0.")

    def __call__(
        self, spikes: Spikes, labels: NDArray[Any], pool: Pool, duration: float, rng: Generator
    ) -> Spikes:
        factor = self.low + rng.random(len(spikes)) * (self.high - self.low)
        times = spikes.times * factor.repeat(spikes.counts_per_sample())
        return _kept(spikes, times, spikes.units, times <= duration)


@dataclass(frozen=True)
class RoundTimes(Augmentation):
    """Each sample's times rounded to whole steps (ms) from a phase drawn evenly within one.

    For networks that are to run on hardware in steps: they learn not to rely on what is lost there.
    """

    step: float

    def __post_init__(self) -> None:
        _check(self, step=(self.step, 0.0, math.inf))
        if self.step == 0.0:
            raise ConfigError("RoundTimes: step is 0; it must be > 0.")

    def __call__(
        self, spikes: Spikes, labels: NDArray[Any], pool: Pool, duration: float, rng: Generator
    ) -> Spikes:
        phase = rng.random(len(spikes)).repeat(spikes.counts_per_sample())
        times = (np.rint(spikes.times / self.step - phase) + phase) * self.step
        return _kept(spikes, times, spikes.units, (times >= 0.0) & (times <= duration))


@dataclass(frozen=True)
class DropSpikes(Augmentation):
    """Each input spike is left out with probability p: dropout of the input."""

    p: float

    def __post_init__(self) -> None:
        _check(self, p=(self.p, 0.0, 1.0))

    def __call__(
        self, spikes: Spikes, labels: NDArray[Any], pool: Pool, duration: float, rng: Generator
    ) -> Spikes:
        return _kept(spikes, spikes.times, spikes.units, rng.random(spikes.n_spikes) >= self.p)


@dataclass(frozen=True)
class DropChannels(Augmentation):
    """Each channel of each sample falls silent with probability p."""

    p: float

    def __post_init__(self) -> None:
        _check(self, p=(self.p, 0.0, 1.0))

    def __call__(
        self, spikes: Spikes, labels: NDArray[Any], pool: Pool, duration: float, rng: Generator
    ) -> Spikes:
        alive = rng.random((len(spikes), spikes.n_units)) >= self.p
        return _kept(spikes, spikes.times, spikes.units, alive[spikes.samples, spikes.units])


class Augmenter:
    """Augmentations in their order, bound to a training set, a duration and a seed.

    Args:
        augmentations: what is done to each batch.
        spikes, labels: the training set. One Input population.
        duration: ms.
        seed: >= 0.
    """

    def __init__(
        self,
        augmentations: Sequence[Augmentation],
        spikes: Any,
        labels: NDArray[Any],
        *,
        duration: float,
        seed: int,
    ) -> None:
        if not isinstance(spikes, Spikes):
            raise DatasetError(
                f"augmentation takes one Input population's Spikes, not {type(spikes).__name__}; "
                "augment several by hand."
            )
        for augmentation in augmentations:
            if not isinstance(augmentation, Augmentation):
                raise ConfigError(f"augment holds {augmentation!r}, which is no evprop.augment.Augmentation.")
        self.augmentations = tuple(augmentations)
        self._pool = Pool(spikes, labels)
        self._duration = float(duration)
        self._seed = seed

    def __call__(self, spikes: Spikes, labels: NDArray[Any], epoch: int, batch: int, *part: int) -> Spikes:
        """Batch number ``batch`` of epoch ``epoch``, or a numbered part of it, changed."""
        rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence((self._seed, epoch, batch, *part))))
        for augmentation in self.augmentations:
            spikes = augmentation(spikes, labels, self._pool, self._duration, rng)
        return spikes

    def __repr__(self) -> str:
        return repr(self.augmentations)


def _centres(spikes: Spikes) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(batch,) mean time and mean unit; 0 for a sample without spikes."""
    n = len(spikes)
    counts = np.maximum(spikes.counts_per_sample(), 1)
    samples = spikes.samples
    t = np.bincount(samples, weights=spikes.times, minlength=n) / counts
    u = np.bincount(samples, weights=spikes.units, minlength=n) / counts
    return t, u


def _kept(spikes: Spikes, times: NDArray[np.float64], units: NDArray[Any], keep: NDArray[np.bool_]) -> Spikes:
    """Some of the spikes, in the order they have, with new times and units."""
    units = units[keep].astype(np.uint32, copy=False)
    return Spikes._trusted(times[keep], units, spikes._offsets_of(keep), spikes.n_units)


def _rebuilt(
    samples: NDArray[np.int64],
    times: NDArray[np.float64],
    units: NDArray[Any],
    like: Spikes,
    duration: float,
) -> Spikes:
    """Spikes in any order: those within channels and trial, each sample sorted by time, stably."""
    inside = (times >= 0.0) & (times <= duration) & (units >= 0) & (units < like.n_units)
    samples, times, units = samples[inside], times[inside], units[inside]
    order = np.lexsort((times, samples))
    offsets = np.zeros(len(like) + 1, np.int64)
    np.cumsum(np.bincount(samples, minlength=len(like)), out=offsets[1:])
    return Spikes._trusted(times[order], units[order].astype(np.uint32, copy=False), offsets, like.n_units)


def _check(augmentation: Augmentation, **values: tuple[float, float, float]) -> None:
    for name, (value, low, high) in values.items():
        if not (math.isfinite(value) and low <= value <= high):
            raise ConfigError(
                f"{type(augmentation).__name__}: {name} is {value!r}; it must lie in {low:g}..{high:g}."
            )


__all__ = (
    "Augmentation",
    "Augmenter",
    "Blend",
    "DropChannels",
    "DropSpikes",
    "JitterTimes",
    "Pool",
    "RoundTimes",
    "ScaleTimes",
    "ShiftChannels",
)
