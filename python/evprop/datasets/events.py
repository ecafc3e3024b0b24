"""Data sets of events as others hold them: any sequence of (structured array of events, label), such as tonic's.

    fields   t (needed), x, y, p            unit = (x size_y + y) size_p + p of the fields that are there

tonic itself is not needed for this, and its caches and subsets are such sequences too. Samples are sorted by time,
stably.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import DatasetError, EvpropError, nearest
from ..spikes import Spikes
from .base import Dataset

TO_MS = {"us": 1e-3, "ms": 1.0, "s": 1e3}
AXES = ("x", "y", "p")


class Events(Protocol):
    """A sequence of (events, label)."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> tuple[Any, Any]: ...


def from_events(
    samples: Events,
    sensor_size: Sequence[int] | Mapping[str, int],
    *,
    time_unit: str = "us",
    name: str = "events",
    class_names: Sequence[str] = (),
) -> Dataset:
    """A `Dataset` of a sequence of (structured array with fields t, x, y, p, label); fields without a size count not.

    Args:
        samples: anything with a length and an index, for example ``tonic.datasets.NMNIST(...)``.
        sensor_size: the sizes of x, y and p, as tonic's ``sensor_size``; (700, 1, 1) for SHD, (34, 34, 2) for N-MNIST.
        time_unit: of t: "us" (tonic), "ms" or "s".
        name, class_names: of the `Dataset`.
    """
    if time_unit not in TO_MS:
        raise DatasetError(f"time_unit is {time_unit!r}: {nearest(time_unit, TO_MS)}")
    sizes = (
        dict(sensor_size) if isinstance(sensor_size, Mapping) else dict(zip(AXES, sensor_size, strict=False))
    )
    if not sizes or set(sizes) - set(AXES) or any(size < 1 for size in sizes.values()):
        raise DatasetError(
            f"sensor_size is {sensor_size!r}; give sizes >= 1 of x, y and p, such as (34, 34, 2)."
        )
    rows, labels = [], []
    for k in range(len(samples)):
        events, label = samples[k]
        rows.append((_times(k, events) * TO_MS[time_unit], _units(k, events, sizes)))
        labels.append(label)
    try:
        spikes = Spikes.from_lists(rows, n_units=int(np.prod(list(sizes.values()))))
        return Dataset(spikes, np.asarray(labels), name, len(class_names), tuple(class_names))
    except EvpropError as error:
        raise DatasetError(f"{name}: {error}") from error


def _times(k: int, events: Any) -> NDArray[np.float64]:
    fields = getattr(getattr(events, "dtype", None), "names", None)
    if fields is None or "t" not in fields:
        raise DatasetError(
            f"sample {k} is {type(events).__name__} with fields {fields}; it must be a structured array with a field t."
        )
    times: NDArray[np.float64] = events["t"].astype(np.float64)
    return times


def _units(k: int, events: Any, sizes: Mapping[str, int]) -> NDArray[np.int64]:
    """One number for each place of the sensor; p may be a truth value."""
    units = np.zeros(len(events), np.int64)
    for axis, size in sizes.items():
        if axis not in events.dtype.names:
            if size == 1:
                continue
            raise DatasetError(
                f"sample {k} has no field {axis!r} (it has {events.dtype.names}), and its size is {size}."
            )
        values = events[axis].astype(np.int64)
        if size == 1:  # tonic's SHD: p is always 1
            continue
        if len(values) and not (values.min() >= 0 and values.max() < size):
            bad = int(np.flatnonzero((values < 0) | (values >= size))[0])
            raise DatasetError(
                f"sample {k}, event {bad}: {axis} is {values[bad]}; its size {size} allows 0..{size - 1}."
            )
        units = units * size + values
    return units
