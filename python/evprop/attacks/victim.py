"""What is attacked, and what an attack leaves behind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import SpikesError, TargetError
from ..gradients import backward
from ..losses import Loss
from ..network import Network
from ..parameters import Array
from ..record import check_played
from ..simulators import DEFAULT, Simulator, simulate
from ..spikes import Spikes

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]

PART = 2048
"""Samples simulated at once where an attack tries many."""


class Seen(NamedTuple):
    """Of a batch: losses (batch,), classes (batch,), and dL/dt of every input spike where it was asked for."""

    losses: Floats
    classes: Labels
    slopes: Floats | None


@dataclass(frozen=True)
class Victim:
    """A trained network with one Input population, as an adversary sees it.

    net, params  as for `evprop.simulate`
    loss         its value is what attacks drive up; it must predict classes
    duration     ms
    simulator    `Exact()` unless given. With a chip's model, gradients are those of its record (straight through its
                 rounding); give an attack a ``surrogate`` to take them from another victim
    """

    net: Network
    params: Mapping[str, Array]
    loss: Loss
    duration: float
    simulator: Simulator = DEFAULT

    def look(self, spikes: Spikes, labels: Any, *, slopes: bool = False) -> Seen:
        """One forward pass of a batch, and with ``slopes`` one backward to its input times."""
        asked = self.loss.readouts(self.net)
        record = simulate(
            self.net, self.params, spikes, duration=self.duration, readouts=asked, simulator=self.simulator
        )
        check_played(record, self.loss)
        result = self.loss.evaluate(record, labels)
        at_inputs = None
        if slopes:
            grads = backward(record, result.spike_times, result.readouts, wrt=())
            at_inputs = grads.input_times
        return Seen(np.asarray(result.values), self.loss.predict(record), at_inputs)

    def look_in_parts(self, spikes: Spikes, labels: Labels) -> Seen:
        """`look` without slopes, `PART` samples at a time."""
        parts = [
            self.look(spikes[k : k + PART], labels[k : k + PART]) for k in range(0, max(len(spikes), 1), PART)
        ]
        return Seen(
            np.concatenate([p.losses for p in parts]), np.concatenate([p.classes for p in parts]), None
        )

    def check(self, spikes: Spikes, labels: Any) -> Labels:
        """Labels (batch,) as int64; raises what does not fit this victim."""
        if len(self.net.inputs) != 1:
            raise SpikesError(
                f"the network has {len(self.net.inputs)} Input populations {self.net.inputs!r}; "
                "attacks are on networks with one."
            )
        given = np.asarray(labels)
        if given.shape != (len(spikes),) or given.dtype.kind not in "iu":
            raise TargetError(
                f"labels are {given.dtype} of shape {given.shape}; integers of shape ({len(spikes)},) are needed."
            )
        self.loss.check_targets(self.net, given)
        return given.astype(np.int64)


@dataclass(frozen=True)
class SpikeAttack:
    """What an attack made of a batch.

    spikes   the batch after the attack; a sample is left alone from the moment on that it is misclassified
    losses   (batch,): the victim's loss of each
    classes  (batch,) int64: the victim's class of each, -1 where it decides for none
    fooled   (batch,) bool: whether that is another class than the label
    """

    spikes: Spikes
    losses: Floats
    classes: Labels
    fooled: NDArray[np.bool_]


def rebuilt(samples: NDArray[np.int64], times: Floats, units: NDArray[Any], like: Spikes) -> Spikes:
    """Spikes in any order as a batch of as many samples as ``like``."""
    order = np.lexsort((times, samples))
    offsets = np.searchsorted(samples[order], np.arange(len(like) + 1))
    return Spikes(times[order], units[order], offsets, like.n_units)


def replaced(batch: Spikes, index: NDArray[np.int64], changed: Spikes) -> Spikes:
    """The batch with the samples at ``index`` replaced."""
    where = np.arange(len(batch))
    where[index] = len(batch) + np.arange(len(index))
    joined: Spikes = Spikes.concatenate([batch, changed])[where]
    return joined
