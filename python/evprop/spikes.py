"""Spike trains of a batch, ragged, in one block of memory.

CSR by sample: the spikes of sample ``b`` are ``times[offsets[b]:offsets[b + 1]]`` (float64, ms, sorted) and the
``units`` (uint32) of the same range. A `Spikes` is checked once, when it is made, and cannot change afterwards, so
that taking a training batch from it costs a few microseconds and checks nothing twice.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar, NoReturn, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _core
from .errors import DtypeError, ShapeError, SpikesError

Times = NDArray[np.float64]
Units = NDArray[np.uint32]
Offsets = NDArray[np.int64]

_MAX_UNITS = 2**32 - 1


class Spikes:
    """Spikes of a batch of samples, sorted by time within each sample, immutable.

    Args:
        times: (n_spikes,) float64, in ms, finite, >= 0, sorted within each sample (`from_lists` sorts for you).
        units: (n_spikes,) of any integer dtype, each in 0..n_units-1; kept as uint32.
        offsets: (batch + 1,) of any integer dtype; sample b owns the spikes offsets[b] to offsets[b + 1].
        n_units: the size of the population that these spikes come from.

    The arrays given are copied, unless they are read-only already. Samples without spikes are valid.
    """

    __slots__ = ("_counts", "_fired", "_latest", "dropped", "n_units", "offsets", "times", "units")
    __hash__: ClassVar[None]  # type: ignore[assignment]  # equality compares arrays

    times: Times
    units: Units
    offsets: Offsets
    n_units: int
    _latest: float
    _counts: NDArray[np.int64] | None
    _fired: NDArray[np.bool_] | None
    dropped: int
    """How many spikes `crop` left out on the way to this object (0 for any other)."""

    def __init__(self, times: ArrayLike, units: ArrayLike, offsets: ArrayLike, n_units: int) -> None:
        size = _size(n_units)
        t = _own(_times(times, "times"))
        o = _own(_offsets(offsets, len(t)))
        u = _own(_units(units, o, size))
        if u.shape != t.shape:
            raise ShapeError(f"units has {len(u)} entries but times has {len(t)}; each spike needs both.")
        _check_times(t, o)
        self._set(t, u, o, size, float(t.max()) if len(t) else 0.0, 0)

    @classmethod
    def from_lists(cls, samples: Iterable[tuple[ArrayLike, ArrayLike]], n_units: int) -> Spikes:
        """Build from one (times, units) pair per sample; each sample is sorted by time, stably.

        Spikes at equal times keep the order in which they were given.
        """
        all_times: list[Times] = []
        all_units: list[NDArray[Any]] = []
        lengths = [0]
        for b, pair in enumerate(samples):
            if not isinstance(pair, Sequence) or len(pair) != 2:
                raise SpikesError(
                    f"sample {b} is {type(pair).__name__}; each sample must be a (times, units) pair."
                )
            t = _times(pair[0], f"times of sample {b}")
            u = _integers(pair[1], f"units of sample {b}")
            if u.shape != t.shape:
                raise ShapeError(f"sample {b}: {len(t)} times but {len(u)} units; each spike needs both.")
            order = np.argsort(t, kind="stable")
            all_times.append(t[order])
            all_units.append(u[order])
            lengths.append(len(t))
        offsets = np.cumsum(np.asarray(lengths, dtype=np.int64))
        times = np.concatenate(all_times) if all_times else np.empty(0)
        size = _size(n_units)
        # unit arrays may differ in dtype: range-check each before they are joined
        parts = [_units(u, offsets, size, b) for b, u in enumerate(all_units)]
        units = np.concatenate(parts) if parts else np.empty(0, np.uint32)
        _check_times(times, offsets)
        return cls._trusted(times, units, offsets, size)

    @classmethod
    def concatenate(cls, parts: Iterable[Spikes]) -> Spikes:
        """Join batches along the sample axis; all must have the same n_units."""
        batches = list(parts)
        if not batches:
            raise SpikesError("nothing to concatenate; give at least one Spikes.")
        size = batches[0].n_units
        for k, part in enumerate(batches):
            if part.n_units != size:
                raise SpikesError(
                    f"part {k} has n_units={part.n_units} but part 0 has n_units={size}; they must agree."
                )
        starts = np.cumsum([0] + [p.n_spikes for p in batches])
        offsets = np.concatenate(
            [np.zeros(1, np.int64)] + [p.offsets[1:] + s for p, s in zip(batches, starts[:-1], strict=True)]
        )
        times = np.concatenate([p.times for p in batches])
        units = np.concatenate([p.units for p in batches])
        return cls._trusted(times, units, offsets, size, max(p._latest for p in batches))

    @classmethod
    def _trusted(
        cls,
        times: Times,
        units: Units,
        offsets: Offsets,
        n_units: int,
        latest: float | None = None,
        dropped: int = 0,
    ) -> Spikes:
        """Wrap arrays known to be valid (cut from a Spikes, or made by the core): no check and no copy.

        ``latest`` is an upper bound of the times; without one it is computed.
        """
        self = object.__new__(cls)
        if latest is None:
            latest = float(times.max()) if len(times) else 0.0
        self._set(times, units, offsets, n_units, latest, dropped)
        return self

    def _set(
        self, times: Times, units: Units, offsets: Offsets, n_units: int, latest: float, dropped: int
    ) -> None:
        times.setflags(write=False)
        units.setflags(write=False)
        offsets.setflags(write=False)
        put = object.__setattr__
        put(self, "times", times)
        put(self, "units", units)
        put(self, "offsets", offsets)
        put(self, "n_units", n_units)
        put(self, "dropped", dropped)
        put(self, "_latest", latest)
        put(self, "_counts", None)
        put(self, "_fired", None)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"Spikes cannot be changed (tried to set {name!r}); make a new one.")

    def __reduce__(self) -> tuple[Any, ...]:
        return Spikes._trusted, (
            self.times,
            self.units,
            self.offsets,
            self.n_units,
            self._latest,
            self.dropped,
        )

    # -- looking at it ---------------------------------------------------------------------------------------

    def __len__(self) -> int:
        """The number of samples."""
        return len(self.offsets) - 1

    @property
    def n_spikes(self) -> int:
        """The number of spikes of all samples together."""
        return len(self.times)

    @property
    def samples(self) -> NDArray[np.int64]:
        """(n_spikes,) int64: the sample that each spike belongs to."""
        return np.repeat(np.arange(len(self), dtype=np.int64), self.counts_per_sample())

    def counts_per_sample(self) -> NDArray[np.int64]:
        """(batch,) int64: the number of spikes of each sample."""
        counts = self._counts
        if counts is None:
            counts = self.offsets[1:] - self.offsets[:-1]
            counts.setflags(write=False)
            object.__setattr__(self, "_counts", counts)
        return counts

    def fired(self) -> NDArray[np.bool_]:
        """(batch, n_units) bool, read-only: whether a unit spiked at all in a sample."""
        fired = self._fired
        if fired is None:
            fired = _core.fired(self.times, self.units, self.offsets, self.n_units)
            fired.setflags(write=False)
            object.__setattr__(self, "_fired", fired)
        return fired

    def first_units(self) -> NDArray[np.int64]:
        """(batch,) int64: the unit of each sample's first spike, -1 in a sample without one.

        Among spikes at the very same time it is the one that is listed first.
        """
        return _core.first_units(self.times, self.units, self.offsets)

    def counts_per_unit(self) -> NDArray[np.int64]:
        """(n_units,) int64: the number of spikes of each unit, all samples together."""
        return np.bincount(self.units, minlength=self.n_units).astype(np.int64, copy=False)

    def counts(self) -> NDArray[np.int64]:
        """(batch, n_units) int64: the number of spikes of each unit in each sample."""
        flat = self.samples * self.n_units + self.units
        table = np.bincount(flat, minlength=len(self) * self.n_units).astype(np.int64, copy=False)
        return table.reshape(len(self), self.n_units)

    def first_times(self) -> Times:
        """(batch, n_units) float64: the first spike of each unit in each sample, in ms; inf where it is silent."""
        first = np.full((len(self), self.n_units), np.inf)
        np.minimum.at(first, (self.samples, self.units), self.times)
        return first

    def __repr__(self) -> str:
        span = f", {self.times.min():g} to {self.times.max():g} ms" if self.n_spikes else ""
        lost = f", {self.dropped} dropped" if self.dropped else ""
        return f"Spikes({len(self)} samples, {self.n_spikes} spikes, {self.n_units} units{span}{lost})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Spikes):
            return NotImplemented
        return (
            self.n_units == other.n_units
            and np.array_equal(self.offsets, other.offsets)
            and np.array_equal(self.times, other.times)
            and np.array_equal(self.units, other.units)
        )

    # -- cutting it ------------------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[tuple[Times, Units]]:
        for a, b in zip(self.offsets[:-1].tolist(), self.offsets[1:].tolist(), strict=True):
            yield self.times[a:b], self.units[a:b]

    @overload
    def __getitem__(self, index: int | np.integer[Any]) -> tuple[Times, Units]: ...
    @overload
    def __getitem__(self, index: Any) -> Spikes: ...
    def __getitem__(self, index: Any) -> Spikes | tuple[Times, Units]:
        """One sample's (times, units) for an integer; a Spikes for a slice, an index array or a boolean mask."""
        if isinstance(index, np.ndarray) and index.ndim == 1 and index.dtype.kind in "iu":
            return self._take(index)
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            if step != 1:
                return self._take(np.arange(start, stop, step))
            return self._cut(start, max(start, stop))
        if index is Ellipsis:
            return self
        try:
            b = operator.index(index)
        except TypeError:
            return self._take(self._index_array(index))
        if not -len(self) <= b < len(self):
            raise IndexError(f"sample {b} is out of range: there are {len(self)} samples.")
        first, last = self.offsets[b % len(self)], self.offsets[b % len(self) + 1]
        return self.times[first:last], self.units[first:last]

    def _index_array(self, index: Any) -> NDArray[np.int64]:
        array = np.asarray(index)
        if array.dtype == np.bool_ and array.shape == (len(self),):
            return np.flatnonzero(array)
        if array.size == 0 and array.ndim == 1:
            return np.empty(0, np.int64)
        if array.ndim != 1 or array.dtype.kind not in "iu":
            raise SpikesError(
                f"cannot index samples with shape {array.shape}, dtype {array.dtype}; "
                f"use integers in one dimension, a slice, or a boolean mask of length {len(self)}."
            )
        return array.astype(np.int64, copy=False)

    def _cut(self, start: int, stop: int) -> Spikes:
        """Consecutive samples: views of the same memory."""
        part = self.offsets[start : stop + 1]
        first, last = part[0], part[-1]
        return Spikes._trusted(
            self.times[first:last], self.units[first:last], part - first, self.n_units, self._latest
        )

    def _take(self, index: NDArray[Any]) -> Spikes:
        """Any samples, in any order, repeated if asked for: one gather."""
        if index.dtype == np.uint64:
            index = np.minimum(index, np.uint64(len(self)))  # beyond the last sample, and an int64
        which = np.ascontiguousarray(index, dtype=np.int64)
        return Spikes._trusted(
            *_core.take_samples(self.times, self.units, self.offsets, which), self.n_units, self._latest
        )

    def crop(self, duration: float) -> Spikes:
        """Only the spikes at times <= duration (ms); the result's ``dropped`` says how many were left out."""
        limit = float(duration)
        if not limit >= 0.0:
            raise SpikesError(f"cannot crop to duration={duration!r}; it must be >= 0 ms.")
        keep = self.times <= limit
        offsets = self._offsets_of(keep)
        dropped = self.n_spikes - int(offsets[-1])
        return Spikes._trusted(self.times[keep], self.units[keep], offsets, self.n_units, dropped=dropped)

    def _offsets_of(self, keep: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Offsets of those spikes alone that ``keep`` marks."""
        before = np.zeros(self.n_spikes + 1, np.int64)
        np.cumsum(keep, out=before[1:])
        return before[self.offsets]

    def _check_within(self, duration: float, label: str) -> None:
        """Raise unless every time is <= duration."""
        if self._latest <= duration or self.n_spikes == 0:
            return
        late = np.flatnonzero(self.times > duration)
        if len(late):
            k = int(late[0])
            b, i = _locate(self.offsets, k)
            raise SpikesError(
                f"{label}: sample {b}, spike {i} (unit {self.units[k]}) is at {self.times[k]:.17g} ms, after the "
                f"duration of {duration:g} ms ({len(late)} such spikes in all). "
                f"Use a longer duration, or drop them by spikes.crop({duration:g})."
            )


# -- the checks ----------------------------------------------------------------------------------------------


def _size(n_units: Any) -> int:
    try:
        size = operator.index(n_units)
    except TypeError:
        raise SpikesError(f"n_units is {n_units!r}; it must be an integer.") from None
    if not 1 <= size <= _MAX_UNITS:
        raise SpikesError(f"n_units is {size}; a population has 1 to {_MAX_UNITS} units.")
    return size


def _own(array: NDArray[Any]) -> NDArray[Any]:
    """C-contiguous and safe from later writes by the caller."""
    if array.flags.writeable or not array.flags.c_contiguous:
        return array.copy(order="C")
    return array.view()


def _one_dimension(array: NDArray[Any], label: str) -> None:
    if array.ndim != 1:
        raise ShapeError(f"{label} has shape {array.shape}; it must have one dimension.")


def _times(values: ArrayLike, label: str) -> Times:
    """An array must be float64 (integers may be microseconds or steps); plain Python numbers are taken as they are."""
    if not isinstance(values, np.ndarray):
        try:
            values = np.asarray(values, dtype=None if hasattr(values, "dtype") else np.float64)
        except (TypeError, ValueError) as error:
            raise SpikesError(f"{label} cannot be read as numbers: {error}") from None
    _one_dimension(values, label)
    if values.dtype != np.float64:
        if values.size:
            raise DtypeError(
                f"{label} has dtype {values.dtype}; it must be float64, in ms (numpy: .astype('float64'))."
            )
        values = np.empty(0)
    return values


def _integers(values: ArrayLike, label: str) -> NDArray[Any]:
    try:
        array = np.asarray(values)
    except (TypeError, ValueError) as error:
        raise SpikesError(f"{label} cannot be read as integers: {error}") from None
    _one_dimension(array, label)
    if array.size == 0:
        return np.empty(0, np.uint32)
    if array.dtype.kind not in "iu":
        raise DtypeError(f"{label} has dtype {array.dtype}; it must be an integer dtype.")
    return array


def _offsets(values: ArrayLike, n_spikes: int) -> Offsets:
    array = _integers(values, "offsets")
    if len(array) == 0:
        raise ShapeError("offsets is empty; it must have length batch + 1 (one zero for an empty batch).")
    if array[0] != 0:
        raise SpikesError(f"offsets[0] is {array[0]}; it must be 0.")
    if array[-1] != n_spikes:
        raise SpikesError(f"offsets[-1] is {array[-1]} but there are {n_spikes} spikes; they must be equal.")
    falls = np.flatnonzero(array[1:] < array[:-1])
    if len(falls):
        b = int(falls[0])
        raise SpikesError(
            f"sample {b}: offsets[{b + 1}]={array[b + 1]} is less than offsets[{b}]={array[b]}; they must not decrease."
        )
    return array.astype(np.int64, copy=False)


def _units(values: ArrayLike, offsets: Offsets, n_units: int, sample: int | None = None) -> Units:
    array = _integers(values, "units")
    if len(array) and not (array.min() >= 0 and array.max() < n_units):
        bad = int(np.flatnonzero((array < 0) | (array >= n_units))[0])
        b, i = (sample, bad) if sample is not None else _locate(offsets, bad)
        raise SpikesError(
            f"sample {b}, spike {i}: unit {array[bad]} is out of range; n_units={n_units} allows 0..{n_units - 1}."
        )
    return array.astype(np.uint32, copy=False)


def _check_times(times: Times, offsets: Offsets) -> None:
    """Finite, >= 0 and sorted within each sample."""
    if len(times) == 0:
        return
    if not (times.min() >= 0.0 and math.isfinite(times.max())):  # min and max hand NaN on
        bad = int(np.flatnonzero(~(np.isfinite(times) & (times >= 0.0)))[0])
        b, i = _locate(offsets, bad)
        raise SpikesError(
            f"sample {b}, spike {i}: time {times[bad]} ms is not valid; times must be finite and >= 0."
        )
    falls = times[1:] < times[:-1]
    first = offsets[1:-1]
    first = first[(first > 0) & (first < len(times))]
    falls[first - 1] = False  # a new sample starts there
    if falls.any():
        k = int(np.flatnonzero(falls)[0]) + 1
        b, i = _locate(offsets, k)
        raise SpikesError(
            f"sample {b}, spike {i}: time {times[k]:.17g} ms comes after {times[k - 1]:.17g} ms; "
            "times must be sorted within a sample (Spikes.from_lists sorts them for you)."
        )


def _locate(offsets: Offsets, k: int) -> tuple[int, int]:
    """(sample, index within the sample) of spike k."""
    b = int(np.searchsorted(offsets, k, side="right")) - 1
    return b, k - int(offsets[b])
