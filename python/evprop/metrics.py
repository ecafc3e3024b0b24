"""What is measured of a network: accuracy, loss, spikes per neuron, silence; over a data set or summed up
over an epoch.

    accuracy           share of samples whose predicted class is the label; no decision (-1) counts as wrong
    spikes per neuron  mean number of spikes of a neuron in a sample
    silent             share of the (sample, neuron) pairs of a LIF population without a spike
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import TargetError
from .gradients import Gradients
from .loader import Data, count_samples, take
from .losses import Loss, LossSum
from .network import Network
from .parameters import Array
from .record import Record, check_played
from .simulators import Simulator, simulate


def accuracy(predictions: ArrayLike, labels: ArrayLike) -> float:
    """The share of equal entries of two integer arrays of the same shape."""
    given, wanted = np.asarray(predictions), np.asarray(labels)
    if given.shape != wanted.shape or given.size == 0:
        raise TargetError(
            f"accuracy needs two arrays of one shape, not empty; got {given.shape} and {wanted.shape}."
        )
    return np.count_nonzero(given == wanted) / given.size


def confusion(predictions: ArrayLike, labels: ArrayLike, n_classes: int) -> NDArray[np.int64]:
    """(n_classes, n_classes + 1) int64: rows are labels, columns predictions; the last column counts "no decision"."""
    given, wanted = np.asarray(predictions), np.asarray(labels)
    table = np.zeros((n_classes, n_classes + 1), dtype=np.int64)
    np.add.at(table, (wanted, np.where(given < 0, n_classes, given)), 1)
    return table


def spikes_per_neuron(record: Record) -> dict[str, float]:
    """{LIF population: mean number of spikes of a neuron in a sample}."""
    sizes = record.network.spiking
    return {name: record.activity(name)[0] / (record.batch_size * size) for name, size in sizes.items()}


def predicts(loss: Loss) -> bool:
    """Whether a loss tells a class from a record, so that there is an accuracy."""
    first = loss.terms[0][1] if isinstance(loss, LossSum) else loss
    return type(first).predict is not Loss.predict


@dataclass(frozen=True)
class Figures:
    """What a log counts of one batch, in whole numbers: those of its parts add up to those of the batch.

    Attributes:
        samples: how many.
        correct: samples whose predicted class is the label; None for a loss that predicts no classes.
        dropped, min_vdot: see `GradientHealth`.
        neurons: {LIF population: its size}.
        spikes: {LIF population: spikes of all samples}.
        fired: {LIF population: (sample, neuron) pairs with a spike}.
    """

    samples: int
    correct: int | None
    dropped: int
    min_vdot: float
    neurons: Mapping[str, int]
    spikes: Mapping[str, int]
    fired: Mapping[str, int]

    @classmethod
    def of(
        cls, grads: Gradients, record: Record, loss: Loss, labels: NDArray[Any], correct: int | None = None
    ) -> Figures:
        """The figures of a batch with its gradients; ``correct`` is asked for unless it is given."""
        neurons = record.network.spiking
        activity = {name: record.activity(name) for name in neurons}
        if correct is None and predicts(loss):
            correct = int(np.count_nonzero(loss.predict(record) == labels))
        return cls(
            samples=record.batch_size,
            correct=correct,
            dropped=grads.health.dropped,
            min_vdot=grads.health.min_vdot,
            neurons=neurons,
            spikes={name: found[0] for name, found in activity.items()},
            fired={name: found[1] for name, found in activity.items()},
        )

    @classmethod
    def sum(cls, parts: Sequence[Figures]) -> Figures:
        """Those of a batch from those of its parts, at least one."""
        names = parts[0].neurons
        counts = [part.correct for part in parts if part.correct is not None]
        return cls(
            samples=sum(part.samples for part in parts),
            correct=sum(counts) if counts else None,
            dropped=sum(part.dropped for part in parts),
            min_vdot=min(part.min_vdot for part in parts),
            neurons=names,
            spikes={name: sum(part.spikes[name] for part in parts) for name in names},
            fired={name: sum(part.fired[name] for part in parts) for name in names},
        )


@dataclass
class Totals:
    """Sums over the batches of an epoch so far: plain numbers, so that a checkpoint can hold them."""

    samples: int = 0
    batches: int = 0
    bumped: int = 0
    dropped: int = 0
    loss: float = 0.0
    correct: float = 0.0
    min_vdot: float = math.inf
    max_grad_norm: float = 0.0
    spikes: dict[str, float] = field(default_factory=dict)
    silent: dict[str, float] = field(default_factory=dict)

    def add(self, value: float, batch: Figures) -> None:
        """Count one batch, whose mean loss is ``value``."""
        n = batch.samples
        self.samples += n
        self.batches += 1
        self.loss += value * n
        self.correct += math.nan if batch.correct is None else batch.correct
        self.dropped += batch.dropped
        self.min_vdot = min(self.min_vdot, batch.min_vdot)
        for name, size in batch.neurons.items():
            pairs = n * size
            self.spikes[name] = self.spikes.get(name, 0.0) + batch.spikes[name] / pairs * n
            self.silent[name] = self.silent.get(name, 0.0) + (1.0 - batch.fired[name] / pairs) * n

    def row(self) -> dict[str, Any]:
        """The means, as one line of a log. ``health`` is the gradient-health line."""
        n = max(self.samples, 1)
        return {
            "loss": self.loss / n,
            "accuracy": self.correct / n,
            "spikes_per_neuron": {name: total / n for name, total in self.spikes.items()},
            "health": {
                "min_vdot": self.min_vdot,
                "silent": {name: total / n for name, total in self.silent.items()},
                "dropped": self.dropped,
                "max_grad_norm": self.max_grad_norm,
                "bumped_steps": self.bumped,
            },
        }


@dataclass(frozen=True)
class Evaluation:
    """A network's figures on a data set.

    ``predictions`` is (n,) int64, -1 where there is no decision; all -1, and the accuracy NaN, for a loss
    that predicts no classes.
    """

    loss: float
    accuracy: float
    spikes_per_neuron: dict[str, float]
    predictions: NDArray[np.int64]

    def row(self, prefix: str) -> dict[str, Any]:
        """Loss and accuracy as entries of a log line."""
        return {f"{prefix}_loss": self.loss, f"{prefix}_accuracy": self.accuracy}


def evaluate(
    net: Network,
    params: Mapping[str, Array],
    data: Data,
    loss: Loss,
    *,
    duration: float,
    simulator: Simulator | None = None,
    batch_size: int = 1000,
) -> Evaluation:
    """Loss, accuracy and spike counts over a data set, without gradients.

    ``batch_size`` bounds the memory and changes nothing else but the last bits of the mean loss.
    """
    n = count_samples(data)
    labels = np.asarray(data.labels)
    readouts = loss.readouts(net)
    total = 0.0
    spikes: dict[str, float] = {}
    predictions = np.full(n, -1, dtype=np.int64)
    classifies = predicts(loss)
    for first in range(0, n, batch_size):
        part = slice(first, min(first + batch_size, n))
        record = simulate(
            net, params, take(data.spikes, part), duration=duration, readouts=readouts, simulator=simulator
        )
        check_played(record, loss)
        total += float(loss.evaluate(record, labels[part]).values.sum())
        if classifies:
            predictions[part] = loss.predict(record)
        for name, mean in spikes_per_neuron(record).items():
            spikes[name] = spikes.get(name, 0.0) + mean * record.batch_size
    share = accuracy(predictions, labels) if classifies else math.nan
    return Evaluation(total / n, share, {name: s / n for name, s in spikes.items()}, predictions)
