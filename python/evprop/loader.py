"""A seeded batch loader: the order of the samples depends on the seed and the epoch alone.

So a run can be resumed at any batch without storing a random state: ``batches(epoch, start=k)`` goes on
exactly where the interrupted run stopped. The permutation sorts raw 64-bit words of PCG64 seeded with (seed,
epoch); both are guaranteed by NumPy to stay the same from version to version, which ``Generator.permutation``
is not.

``shuffle="in_place"`` is the order of published codes that call numpy.random.seed(seed) once and shuffle their data in
place at the start of every epoch: the order of an epoch is a shuffle of the one before, by RandomState(seed), whose
stream NumPy has frozen. It depends on the seed and the epoch alone as well.

With augmentation, the next batch is made in a thread while the caller works on this one.

Of a batch that several processes share (distributed/), each makes its own parts only; augmentation then draws for each
part by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from .augment import Augmentation, Augmenter
from .errors import DatasetError
from .record import SpikesGiven
from .spikes import Spikes

Labels = NDArray[np.int64]
T = TypeVar("T")


class Data(Protocol):
    """What training needs of a data set: `Spikes` (or {Input population: Spikes}) and a label per sample."""

    @property
    def spikes(self) -> SpikesGiven: ...
    @property
    def labels(self) -> Any: ...


@dataclass(frozen=True, eq=False, slots=True)
class Batch:
    """One batch: its samples' places in the data set, spikes and labels."""

    index: NDArray[np.int64]
    spikes: SpikesGiven
    labels: Any


@dataclass(frozen=True, eq=False, slots=True)
class Cut:
    """The parts of a batch that one process has made, those without samples left out.

    Attributes:
        size: samples of the whole batch.
        pieces: (number of the part, part), in order.
    """

    size: int
    pieces: tuple[tuple[int, Batch], ...]


def edges(n: int, parts: int) -> list[int]:
    """Where n samples are cut: part k is edges[k] to edges[k + 1]."""
    return [n * k // parts for k in range(parts + 1)]


def take(spikes: SpikesGiven, index: Any) -> SpikesGiven:
    """The samples at ``index`` (an index array or a slice), for one `Spikes` or several by population."""
    if isinstance(spikes, Spikes):
        part: Spikes = spikes[index]
        return part
    return {name: one[index] for name, one in spikes.items()}


def count_samples(data: Data) -> int:
    """The number of samples, after a check that every part of the data set agrees on it."""
    n = len(data.labels)
    parts = dict(data.spikes) if isinstance(data.spikes, Mapping) else {"spikes": data.spikes}
    for name, part in parts.items():
        if not isinstance(part, Spikes):
            raise DatasetError(f"{name} is {type(part).__name__}; a data set holds evprop.Spikes.")
        if len(part) != n:
            raise DatasetError(f"{name} has {len(part)} samples but there are {n} labels; they must agree.")
    if n == 0:
        raise DatasetError("the data set is empty; training and evaluation need at least one sample.")
    return n


class Loader:
    """Batches of a data set in a seeded random order.

    Args:
        data: anything with ``spikes`` and ``labels`` (see `Data`).
        batch_size: samples in a batch; the last batch of an epoch may be smaller.
        seed: >= 0.
        shuffle: True; False keeps the data set's own order in every epoch; "in_place" see the module's text (seed
            below 2^32).
        augment: what is done to each batch (augment.py); needs ``duration``, ms.
    """

    def __init__(
        self,
        data: Data,
        batch_size: int,
        seed: int,
        *,
        shuffle: bool | str = True,
        augment: Sequence[Augmentation] = (),
        duration: float = 0.0,
    ) -> None:
        self.n_samples = count_samples(data)
        if batch_size < 1:
            raise DatasetError(f"batch_size is {batch_size}; it must be at least 1.")
        if seed < 0:
            raise DatasetError(f"seed is {seed}; it must be >= 0.")
        if not isinstance(shuffle, bool) and shuffle != "in_place":
            raise DatasetError(f'shuffle is {shuffle!r}; it must be True, False or "in_place".')
        if shuffle == "in_place" and seed >= 2**32:
            raise DatasetError(f'seed is {seed}; with shuffle="in_place" it must be below 2^32.')
        self.data = data
        self.batch_size = batch_size
        self.seed = seed
        self.shuffle = shuffle
        self._labels = np.asarray(data.labels)
        self.augmenter = (
            Augmenter(augment, data.spikes, self._labels, duration=duration, seed=seed) if augment else None
        )

    def __len__(self) -> int:
        """The number of batches in an epoch."""
        return -(-self.n_samples // self.batch_size)

    def order(self, epoch: int) -> NDArray[np.int64]:
        """(n_samples,) int64: the samples in the order of this epoch."""
        if not self.shuffle:
            return np.arange(self.n_samples, dtype=np.int64)
        if self.shuffle == "in_place":
            rng, order = np.random.RandomState(self.seed), np.arange(self.n_samples, dtype=np.int64)
            for _ in range(epoch + 1):
                rng.shuffle(order)
            return order
        words = np.random.PCG64(np.random.SeedSequence((self.seed, epoch))).random_raw(self.n_samples)
        return np.argsort(words, kind="stable").astype(np.int64, copy=False)

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch, from batch ``start`` on."""
        order = self.order(epoch)
        return self._made(lambda k: self._batch(self._place(order, k), epoch, k), start)

    def cut_batches(self, epoch: int, parts: int, own: Sequence[int], start: int = 0) -> Iterator[Cut]:
        """The same batches cut into ``parts``, of which those named by ``own`` are made."""
        order = self.order(epoch)
        return self._made(lambda k: self._cut(self._place(order, k), epoch, k, parts, own), start)

    def _made(self, make: Callable[[int], T], start: int) -> Iterator[T]:
        """One batch after the other; with augmentation, the next in a thread."""
        numbers = range(start, len(self))
        if self.augmenter is None:
            yield from (make(k) for k in numbers)
            return
        with ThreadPoolExecutor(1, "evprop-loader") as ahead:
            ready: Future[T] | None = None
            for k in numbers:
                batch = make(k) if ready is None else ready.result()
                ready = ahead.submit(make, k + 1) if k + 1 < len(self) else None
                yield batch

    def _place(self, order: NDArray[np.int64], number: int) -> NDArray[np.int64]:
        return order[number * self.batch_size : (number + 1) * self.batch_size]

    def _cut(self, index: NDArray[np.int64], epoch: int, number: int, parts: int, own: Sequence[int]) -> Cut:
        at = edges(len(index), parts)
        pieces = (
            (k, self._batch(index[at[k] : at[k + 1]], epoch, number, k)) for k in own if at[k] < at[k + 1]
        )
        return Cut(len(index), tuple(pieces))

    def _batch(self, index: NDArray[np.int64], epoch: int, number: int, *part: int) -> Batch:
        spikes, labels = take(self.data.spikes, index), self._labels[index]
        if self.augmenter is not None and isinstance(spikes, Spikes):
            spikes = self.augmenter(spikes, labels, epoch, number, *part)
        return Batch(index, spikes, labels)
