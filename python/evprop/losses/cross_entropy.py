"""Softmax cross entropy over a voltage readout.

    L = -ln softmax(y)_label        dL/dy_k = softmax(y)_k - [k = label]

y: the readout of the output population, (batch, n). With `Sampled` at m times, L is the mean of the cross entropies
at these times. The class is the largest y (for `Sampled`: the largest mean over the times, the label of least loss).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .._core import loss_cross_entropy
from ..errors import ParameterError, TargetError
from ..network import Network
from ..readouts import Readout
from ..record import Record
from .base import (
    Floats,
    Labels,
    Loss,
    LossResult,
    check_labels,
    label_array,
    output_population,
    readout_cotangents,
)


@dataclass(frozen=True)
class CrossEntropy(Loss):
    """Cross entropy of the softmax of a readout.

    Args:
        readout: Integral(), WeightedIntegral(tau), Max(), Final() or Sampled(times).
        population: the only output population unless given.
    """

    readout: Readout
    population: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.readout, Readout):
            raise ParameterError(
                f"CrossEntropy: readout is {self.readout!r}; give a readout such as evprop.losses.Max()."
            )

    def readouts(self, net: Network) -> dict[str, list[Readout]]:
        return {output_population(net, self.population, "CrossEntropy"): [self.readout]}

    def evaluate(self, record: Record, targets: Any) -> LossResult:
        name = output_population(record.network, self.population, "CrossEntropy")
        labels = label_array(record, name, targets)
        index = record.readout_index(name, self.readout)
        logits = self._logits(record, name, index)
        rows = logits.reshape(-1, logits.shape[-1])
        m = len(rows) // len(labels)  # times of Sampled; 1 of the others
        try:
            values, d_logits = loss_cross_entropy(rows, labels if m == 1 else labels.repeat(m))
        except TargetError as error:
            refused = error
        else:
            if m != 1:
                values, d_logits = values.reshape(-1, m).mean(axis=1), d_logits / m
            return LossResult(
                values, readouts=readout_cotangents(record, name, index, d_logits.reshape(logits.shape))
            )
        check_labels(record, name, targets)  # says it in full
        raise refused

    def predict(self, record: Record) -> Labels:
        name = output_population(record.network, self.population, "CrossEntropy")
        logits = self._logits(record, name, record.readout_index(name, self.readout))
        if logits.ndim == 3:
            logits = logits.mean(axis=1)
        classes: Labels = logits.argmax(axis=1)
        return classes

    def check_targets(self, where: Network | Record, targets: Any) -> Labels:
        net = where.network if isinstance(where, Record) else where
        return check_labels(where, output_population(net, self.population, "CrossEntropy"), targets)

    @staticmethod
    def _logits(record: Record, name: str, index: int) -> Floats:
        return np.ascontiguousarray(record.readout[name][index], dtype=np.float64)
