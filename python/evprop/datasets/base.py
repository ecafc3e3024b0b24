"""A labelled set of spike trains, its file format, and latency encoding (a value becomes the time of one spike)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import DatasetError, EvpropError
from ..spikes import Spikes

FILE_ARRAYS = ("times", "units", "offsets", "labels", "n_units")


@dataclass(frozen=True, eq=False)
class Dataset:
    """Spikes with one integer label per sample.

    Attributes:
        spikes: `Spikes` of n samples (ms).
        labels: (n,) int64 in 0..n_classes-1.
        name: for tables and error messages.
        n_classes: the number of classes; the largest label + 1 unless given.
        class_names: one name per class, or empty.
        points: (n, d) float64 or None: what was encoded, where there is such a thing (the Yin-Yang
            coordinates).
        groups: {name: (n,) int64}: what else is known of each sample, such as its "speaker"; see `split_groups`.
    """

    spikes: Spikes
    labels: NDArray[np.int64]
    name: str = "data"
    n_classes: int = 0
    class_names: tuple[str, ...] = ()
    points: NDArray[np.float64] | None = None
    groups: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        labels = np.asarray(self.labels)
        if labels.ndim != 1 or (labels.size and labels.dtype.kind not in "iu"):
            raise DatasetError(
                f"{self.name}: labels have shape {labels.shape} and dtype {labels.dtype}; give one integer per sample."
            )
        if len(labels) != len(self.spikes):
            raise DatasetError(f"{self.name}: {len(self.spikes)} samples but {len(labels)} labels.")
        labels = labels.astype(np.int64)
        labels.setflags(write=False)
        top = int(labels.max()) + 1 if labels.size else 0
        n_classes = self.n_classes or top
        if labels.size and (labels.min() < 0 or top > n_classes):
            bad = int(np.flatnonzero((labels < 0) | (labels >= n_classes))[0])
            raise DatasetError(
                f"{self.name}: label {labels[bad]} of sample {bad} is out of range; "
                f"{n_classes} classes allow 0..{n_classes - 1}."
            )
        for group, members in self.groups.items():
            if np.shape(members) != labels.shape or np.asarray(members).dtype.kind not in "iu":
                raise DatasetError(
                    f"{self.name}: group {group!r} has shape {np.shape(members)}; give one integer per sample."
                )
        object.__setattr__(self, "labels", labels)
        object.__setattr__(self, "n_classes", n_classes)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: Any) -> Dataset:
        """The samples at a slice, an index array or a boolean mask."""
        points = None if self.points is None else self.points[index]
        groups = {name: members[index] for name, members in self.groups.items()}
        return Dataset(
            self.spikes[index],
            self.labels[index],
            self.name,
            self.n_classes,
            self.class_names,
            points,
            groups,
        )

    def crop(self, duration: float) -> Dataset:
        """The same samples without their spikes after ``duration`` (ms); ``spikes.dropped`` says how many those are."""
        return replace(self, spikes=self.spikes.crop(duration))

    def class_counts(self) -> NDArray[np.int64]:
        """(n_classes,) int64: the number of samples of each class."""
        return np.bincount(self.labels, minlength=self.n_classes).astype(np.int64, copy=False)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write an .npz file for `Dataset.load` and ``evprop eval --data``: FILE_ARRAYS with times in ms, and
        n_classes, class_names and group.NAME, which `load` can do without. ``points`` are not in it."""
        groups: dict[str, Any] = {f"group.{name}": members for name, members in self.groups.items()}
        with Path(path).open("wb") as file:
            np.savez_compressed(
                file,
                times=self.spikes.times,
                units=self.spikes.units,
                offsets=self.spikes.offsets,
                labels=self.labels,
                n_units=np.int64(self.spikes.n_units),
                n_classes=np.int64(self.n_classes),
                class_names=np.array(self.class_names, dtype=np.str_),
                **groups,
            )

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Dataset:
        """Read such a file; it is checked like any other input."""
        name = os.fspath(path)
        try:
            with Path(name).open("rb") as opened, np.lib.npyio.NpzFile(opened, allow_pickle=False) as file:
                found = {key: file[key] for key in file.files}
        except FileNotFoundError:
            raise DatasetError(f"{name}: no such file.") from None
        except (OSError, ValueError, EOFError, BadZipFile) as error:
            raise DatasetError(f"{name} is no .npz file or is damaged: {error}") from error
        missing = [key for key in FILE_ARRAYS if key not in found]
        if missing:
            raise DatasetError(
                f"{name} lacks the array {missing[0]!r}; it holds {sorted(found)} and must hold {list(FILE_ARRAYS)}."
            )
        try:
            spikes = Spikes(found["times"], found["units"], found["offsets"], n_units=int(found["n_units"]))
            names = tuple(str(key) for key in found.get("class_names", ()))
            groups = {k.removeprefix("group."): a for k, a in found.items() if k.startswith("group.")}
            n_classes = int(found.get("n_classes", 0))
            return cls(spikes, found["labels"], Path(name).name, n_classes, names, groups=groups)
        except EvpropError as error:
            raise DatasetError(f"{name}: {error}") from error


@dataclass(frozen=True)
class Latency:
    """One spike per value: t = early + v (late - early) for v in [0, 1], and spikes at fixed times from units
    of their own.

    Attributes:
        early, late: ms, the times of v = 0 and v = 1.
        bias: ms, the time of one further unit's spike each, the same in every sample.
    """

    early: float
    late: float
    bias: tuple[float, ...] = ()

    def encode(self, values: ArrayLike) -> Spikes:
        """`Spikes` of (n, d) values in [0, 1]: units 0..d-1 are the values, then come the bias units."""
        v = np.asarray(values, dtype=np.float64)
        if v.ndim != 2 or not ((v >= 0) & (v <= 1)).all():
            raise DatasetError(
                f"latency encoding takes values in [0, 1] of shape (n, d), got shape {v.shape}."
            )
        n = len(v)
        times = self.early + v * (self.late - self.early)
        if self.bias:
            times = np.hstack(
                [times, np.broadcast_to(np.asarray(self.bias, dtype=np.float64), (n, len(self.bias)))]
            )
        order = np.argsort(times, axis=1, kind="stable")
        width = times.shape[1]
        return Spikes(
            np.take_along_axis(times, order, axis=1).reshape(-1),
            order.astype(np.uint32).reshape(-1),
            np.arange(n + 1, dtype=np.int64) * width,
            n_units=width,
        )


def sequence_of(samples: Sequence[tuple[Sequence[float], Sequence[int]]], n_units: int) -> Spikes:
    """`Spikes` of a few samples written by hand as (times in ms, units)."""
    return Spikes.from_lists(
        [(np.asarray(t, dtype=np.float64), np.asarray(u, dtype=np.int64)) for t, u in samples],
        n_units=n_units,
    )
