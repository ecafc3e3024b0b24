"""Training towards another network's answers in place of labels (Hinton, Vinyals & Dean 2015, at temperature 1).

    L = sum_k p_k ln(p_k / q_k)      dL/dy_k = q_k - p_k      q = softmax(y), p = softmax(y')

y: the readout of the network that is trained, y' the same readout of the other one, which gets the same input spikes.
With `Sampled` at m times, L is the mean over these times. It is 0 where both give the same answers, so a network on a
chip that is trained by it is brought back to the network in floating point, and learns nothing else from its samples.
Used for networks of few bits by Polino, Pascanu & Alistarh (2018).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError
from ..losses import CrossEntropy, Loss
from ..losses.base import Labels, LossResult, output_population, readout_cotangents
from ..network import Network
from ..parameters import Array
from ..readouts import Readout
from ..record import Record
from ..simulators import Simulator, simulate

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Imitation(Loss):
    """Kullback-Leibler divergence of a network's classes from those of the same network with other parameters.

    Args:
        loss: whose readout and population are compared, and who predicts.
        params: of the network that is imitated.
        simulator: what that one runs on, with the input spikes of the record: each batch once more.

    Targets are checked and not used.

    Raises:
        ConfigError: a loss that is no `CrossEntropy`: its answers are no probabilities.
    """

    loss: CrossEntropy
    params: Mapping[str, Array]
    simulator: Simulator

    def __post_init__(self) -> None:
        if not isinstance(self.loss, CrossEntropy):
            raise ConfigError(
                f"Imitation compares the classes of a CrossEntropy, not of {self.loss!r}; train towards labels instead."
            )

    def readouts(self, net: Network) -> dict[str, list[Readout]]:
        return self.loss.readouts(net)

    def evaluate(self, record: Record, targets: Any) -> LossResult:
        self.loss.check_targets(record, targets)
        net = record.network
        name = output_population(net, self.loss.population, "Imitation")
        index = record.readout_index(name, self.loss.readout)
        other = simulate(
            *(net, self.params, record.inputs),
            duration=record.duration,
            readouts=self.loss.readouts(net),
            simulator=self.simulator,
        )
        values, cotangent = divergence(record.readout[name][index], other.readout[name][0])
        return LossResult(values, readouts=readout_cotangents(record, name, index, cotangent))

    def predict(self, record: Record) -> Labels:
        return self.loss.predict(record)

    def check_targets(self, where: Network | Record, targets: Any) -> Any:
        return self.loss.check_targets(where, targets)


def divergence(readout: Array, wanted: Array) -> tuple[Floats, Floats]:
    """L of each sample, and dL/dy; readouts (batch, classes), or (batch, m, classes) at the times of `Sampled`."""
    log_q, log_p = _log_softmax(readout), _log_softmax(wanted)
    p = np.exp(log_p)
    m = p[0].size // p.shape[-1] if len(p) else 1
    values: Floats = (p * (log_p - log_q)).reshape(len(p), -1).sum(axis=1) / m
    return values, (np.exp(log_q) - p) / m


def class_shares(readout: Array) -> Floats:
    """The softmax over the last axis."""
    shares: Floats = np.exp(_log_softmax(readout))
    return shares


def _log_softmax(readout: Array) -> Floats:
    y = np.asarray(readout, np.float64)
    y = y - y.max(axis=-1, keepdims=True)
    found: Floats = y - np.log(np.exp(y).sum(axis=-1, keepdims=True))
    return found
