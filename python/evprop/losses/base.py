"""The loss protocol: what a loss reads, its value per sample, and its cotangents.

A loss names the readouts it needs, and turns a record and targets into one value per sample together with the
derivative of that value with respect to every spike time and every readout it used. The adjoint does the rest. To
write one, subclass `Loss` and define `evaluate` (and `readouts`, `predict` where they apply); Python is enough.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._core import CoreLoss
from ..errors import ConfigError, NetworkError, ParameterError, TargetError
from ..network import Network
from ..readouts import Readout
from ..record import Record

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]


@dataclass
class LossResult:
    """What `Loss.evaluate` returns.

    Attributes:
        values: (batch,) float64: the loss of each sample.
        spike_times: {LIF population: d values[b] / d t of every spike, aligned with ``record.spikes[population]``}.
        readouts: {population: [d values[b] / d y for each readout of the record, or None]}.
        parameters: {name: gradient of the batch's mean value}, for terms that read a parameter directly.
    """

    values: Floats
    spike_times: dict[str, Any] = field(default_factory=dict)
    readouts: dict[str, list[Any]] = field(default_factory=dict)
    parameters: dict[str, Any] = field(default_factory=dict)


class Loss(ABC):
    """Base of all losses. ``loss_a + loss_b`` and ``2.0 * loss`` are losses too."""

    def readouts(self, net: Network) -> dict[str, list[Readout]]:
        """{population: the readouts that `evaluate` needs}; none unless overridden."""
        return {}

    @abstractmethod
    def evaluate(self, record: Record, targets: Any) -> LossResult:
        """The value of each sample, and its cotangents."""

    def predict(self, record: Record) -> Labels:
        """(batch,) int64: the class of each sample, -1 where there is no decision."""
        raise ConfigError(f"{type(self).__name__} predicts no classes.")

    def first_spikes_of(self, net: Network) -> str | None:
        """The population of which this loss reads first spikes, and nothing else; None if it may read more.

        Such a loss may be used with ``Exact(stop_when_fired=...)``.
        """
        return None

    def in_core(self, net: Network, duration: float) -> CoreLoss | None:
        """This loss as the core evaluates it by itself, between the forward and the backward pass; None: it can't."""
        return None

    def check_targets(self, where: Network | Record, targets: Any) -> Any:
        """The targets as `evaluate` needs them; raises `TargetError` where they do not fit.

        With a network only the targets themselves are checked, with a record also their number.
        """
        return targets

    def __add__(self, other: Loss) -> Loss:
        return LossSum(_terms(self) + _terms(other)) if isinstance(other, Loss) else NotImplemented

    def __radd__(self, other: Any) -> Loss:
        return self if isinstance(other, int) and other == 0 else NotImplemented  # so that sum([...]) works

    def __mul__(self, factor: float) -> Loss:
        if not isinstance(factor, int | float | np.floating | np.integer) or not np.isfinite(factor):
            raise ParameterError(f"a loss can be multiplied by a finite number only, not by {factor!r}.")
        return LossSum(tuple((float(factor) * weight, loss) for weight, loss in _terms(self)))

    __rmul__ = __mul__


def _terms(loss: Loss) -> tuple[tuple[float, Loss], ...]:
    return loss.terms if isinstance(loss, LossSum) else ((1.0, loss),)


@dataclass(frozen=True)
class LossSum(Loss):
    """A weighted sum of losses of the same targets; it predicts as its first term does."""

    terms: tuple[tuple[float, Loss], ...]

    def readouts(self, net: Network) -> dict[str, list[Readout]]:
        needed: dict[str, list[Readout]] = {}
        for _, loss in self.terms:
            for name, asked in loss.readouts(net).items():
                known = needed.setdefault(name, [])
                known.extend(readout for readout in asked if readout not in known)
        return needed

    def evaluate(self, record: Record, targets: Any) -> LossResult:
        total = LossResult(np.zeros(record.batch_size))
        for weight, loss in self.terms:
            part = loss.evaluate(record, targets)
            total.values += weight * part.values
            _accumulate(total.spike_times, part.spike_times, weight)
            _accumulate(total.parameters, part.parameters, weight)
            for name, cotangents in part.readouts.items():
                known = total.readouts.setdefault(name, [None] * len(cotangents))
                for k, cotangent in enumerate(cotangents):
                    if cotangent is not None:
                        added = weight * np.asarray(cotangent)
                        known[k] = added if known[k] is None else known[k] + added
        return total

    def predict(self, record: Record) -> Labels:
        return self.terms[0][1].predict(record)

    def first_spikes_of(self, net: Network) -> str | None:
        read = {loss.first_spikes_of(net) for _, loss in self.terms}
        return read.pop() if len(read) == 1 else None

    def check_targets(self, where: Network | Record, targets: Any) -> Any:
        for _, loss in self.terms:
            loss.check_targets(where, targets)
        return targets

    def __repr__(self) -> str:
        return " + ".join(
            repr(loss) if weight == 1.0 else f"{weight:g} * {loss!r}" for weight, loss in self.terms
        )


def _accumulate(total: dict[str, Any], part: Mapping[str, Any], weight: float) -> None:
    for name, cotangent in part.items():
        added = weight * np.asarray(cotangent)
        total[name] = total[name] + added if name in total else added


def output_population(net: Network, population: str | None, loss: str, *, spiking: bool = False) -> str:
    """The population that a loss reads: the one named, or the only one that reaches no other."""
    if population is None:
        if len(net.outputs) != 1:
            raise NetworkError(
                f"{loss}: which population is the output is not clear: {list(net.outputs)} reach no other population; "
                "give population=..."
            )
        population = net.outputs[0]
    kind = net.population(population).kind
    if spiking and kind != "lif":
        raise NetworkError(f"{loss} reads spike times, but population {population!r} is no LIF population.")
    if kind == "input":
        raise NetworkError(f"{loss} reads a voltage, but population {population!r} is an Input.")
    return population


def label_array(record: Record, population: str, targets: Any) -> Labels:
    """Labels as C-contiguous int64, for a function of the core that looks itself whether they are in range."""
    if type(targets) is np.ndarray and targets.dtype == np.int64 and targets.shape == (record.batch_size,):
        return np.ascontiguousarray(targets)
    return check_labels(record, population, targets)


def evaluate_first_spikes(
    function: Callable[..., tuple[Floats, Floats]],
    record: Record,
    population: str,
    targets: Any,
    *settings: float,
) -> LossResult:
    """A loss of the core that reads first spikes and labels."""
    labels = label_array(record, population, targets)
    s = record.spikes[population]
    try:
        values, d_times = function(s.times, s.units, s.offsets, s.n_units, labels, *settings)
    except TargetError as error:
        refused = error
    else:
        return LossResult(values, {population: d_times})
    check_labels(record, population, targets)  # says it in full
    raise refused


def check_labels(where: Network | Record, population: str, targets: Any) -> Labels:
    """Integer labels (batch,) in 0..n-1, as C-contiguous int64."""
    net, batch = (where.network, where.batch_size) if isinstance(where, Record) else (where, None)
    n = net.populations[population].size
    labels = targets if type(targets) is np.ndarray else np.asarray(targets)
    if labels.ndim != 1 or (batch is not None and len(labels) != batch):
        wanted = "one label per sample" if batch is None else f"shape ({batch},), one label per sample"
        raise TargetError(f"labels have shape {labels.shape}; they must have {wanted}.")
    if labels.dtype.kind not in "iu":
        raise TargetError(f"labels have dtype {labels.dtype}; they must be integers in 0..{n - 1}.")
    if len(labels) and not (np.minimum.reduce(labels) >= 0 and np.maximum.reduce(labels) < n):
        bad = int(np.flatnonzero((labels < 0) | (labels >= n))[0])
        raise TargetError(
            f"label {labels[bad]} of sample {bad} is out of range; population {population!r} has {n} units, "
            f"so labels must be in 0..{n - 1}."
        )
    return np.ascontiguousarray(labels, dtype=np.int64)


def check_positive(loss: str, **values: float) -> None:
    """Raise unless every value is finite and > 0."""
    for name, value in values.items():
        if not (np.isfinite(value) and value > 0):
            raise ParameterError(f"{loss}: {name} is {value!r}; it must be finite and > 0.")


def check_silent(loss: str, silent: float | None) -> None:
    """Raise unless ``silent`` is None or a finite time >= 0."""
    if silent is not None and not (np.isfinite(silent) and silent >= 0):
        raise ParameterError(
            f"{loss}: silent is {silent!r} ms; it must be finite and >= 0, or None for the duration."
        )


def readout_cotangents(record: Record, population: str, index: int, cotangent: Any) -> dict[str, list[Any]]:
    """One cotangent at its place among the record's readouts of the population."""
    cotangents: list[Any] = [None] * len(record.readouts[population])
    cotangents[index] = cotangent
    return {population: cotangents}
