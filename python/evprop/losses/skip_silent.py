"""Leaves samples out of a first-spike loss whose label neuron did not spike.

    L_b = loss_b      where the label's output neuron spikes in sample b
    L_b = value       where it is silent: a constant, so no gradient at all

A silent label neuron has no gradient of its own, but the other outputs still have: theirs is to spike later
and later, until they fall silent too and whole classes are lost. Published codes leave such samples out:
Wunderlich & Pehle 2021 (github eventprop/eventprop, loss_layer.py: no error is set where the label's first
spike is missing), fast & deep (Göltz et al. 2021: the loss of such a sample is the constant 100).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import ConfigError
from ..network import Network
from ..readouts import Readout
from ..record import Record
from .base import Labels, Loss, LossResult, check_labels


@dataclass(frozen=True)
class SkipSilentLabels(Loss):
    """A first-spike loss without the samples whose label neuron is silent.

    Args:
        loss: a loss of the spike times of one population with class labels, such as FirstSpike or
            RelativeMSE.
        value: what such a sample counts in the value; 100 as in fast & deep.
    """

    loss: Loss
    value: float = 100.0

    def __post_init__(self) -> None:
        if not isinstance(self.loss, Loss):
            raise ConfigError(
                f"SkipSilentLabels: loss is {self.loss!r}; give a loss such as FirstSpike(...)."
            )

    def readouts(self, net: Network) -> dict[str, list[Readout]]:
        return self.loss.readouts(net)

    def evaluate(self, record: Record, targets: Any) -> LossResult:
        result = self.loss.evaluate(record, targets)
        if len(result.spike_times) != 1 or result.readouts or result.parameters:
            raise ConfigError(
                f"SkipSilentLabels needs a loss of the spike times of one population, not {self.loss!r}."
            )
        ((name, times),) = result.spike_times.items()
        spikes = record.spikes[name]
        labels = check_labels(record, name, targets)
        samples = spikes.samples
        hits = np.bincount(samples[spikes.units == labels[samples]], minlength=record.batch_size)
        if hits.all():
            return result
        values, kept = np.where(hits > 0, result.values, self.value), np.array(times)
        kept[hits[samples] == 0] = 0.0
        return LossResult(values, {name: kept})

    def predict(self, record: Record) -> Labels:
        return self.loss.predict(record)

    def first_spikes_of(self, net: Network) -> str | None:
        return self.loss.first_spikes_of(net)

    def check_targets(self, where: Network | Record, targets: Any) -> Any:
        return self.loss.check_targets(where, targets)
