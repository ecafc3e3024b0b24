"""A seeded batch loader: the order of the samples depends on the seed and the epoch alone.

So a run can be resumed at any batch without storing a random state: ``batches(epoch, start=k)`` goes on
exactly where the interrupted run stopped. The permutation sorts raw 64-bit words of PCG64 seeded with (seed,
epoch); both are guaranteed by NumPy to stay the same from version to version, which ``Generator.permutation``
is not.

``shuffle="in_place"`` is the order of published codes that call numpy.random.seed(seed) once and shuffle their data in
place at the start of every epoch: the order of an epoch is a shuffle of the one before, by RandomState(seed), whose
stream NumPy has frozen. It depends on the seed and the epoch alone as well.

With augmentation, the next batch is made in a thread while the caller works on this one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .augment import Augmentation, Augmenter
from .errors import DatasetError
from .record import SpikesGiven
from .spikes import Spikes

Labels = NDArray[np.int64]


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


def take(spikes: SpikesGiven, index: Any) -> SpikesGiven:
    """The samples at ``index`` (an index array or a slice), for one `Spikes` or several by population."""
    if isinstance(spikes, Mapping):
        return {name: one[index] for name, one in spikes.items()}
    part: Spikes = spikes[index]
    return part


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
        numbers = range(start, len(self))
        if self.augmenter is None:
            yield from (self._batch(order, epoch, k) for k in numbers)
            return
        with ThreadPoolExecutor(1, "evprop-loader") as ahead:
            ready: Future[Batch] | None = None
            for k in numbers:
                batch = self._batch(order, epoch, k) if ready is None else ready.result()
                ready = ahead.submit(self._batch, order, epoch, k + 1) if k + 1 < len(self) else None
                yield batch

    def _batch(self, order: NDArray[np.int64], epoch: int, number: int) -> Batch:
        index = order[number * self.batch_size : (number + 1) * self.batch_size]
        spikes, labels = take(self.data.spikes, index), self._labels[index]
        if self.augmenter is not None and isinstance(spikes, Spikes):
            spikes = self.augmenter(spikes, labels, epoch, number)
        return Batch(index, spikes, labels)
