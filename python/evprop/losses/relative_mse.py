"""DelGrad's shift-invariant loss of first spike times (Goltz, Weber, Kriener et al. 2025).

    L = 1/2 sum_n ( t_n - t* - delta [n != *] )^2

t_n: first spike of output neuron n (ms); t*: that of the label's neuron. The label's neuron shall be ``delta`` ahead
of all others; when does not matter.

    dL/dt_n = t_n - t* - delta   (n != *),     dL/dt* = -sum of these

A neuron without a spike counts with the time ``silent`` and has no gradient of its own. The class is that of the
earliest spike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .._core import CoreLoss, loss_relative_mse
from ..network import Network
from ..record import Record
from .base import (
    Labels,
    Loss,
    LossResult,
    check_labels,
    check_positive,
    check_silent,
    evaluate_first_spikes,
    output_population,
)


@dataclass(frozen=True)
class RelativeMSE(Loss):
    """Squared error of the lead of the label's neuron over each other one.

    Args:
        delta: ms, > 0, the lead wanted.
        population: the only output population unless given.
        silent: ms, the time put in place of a missing spike; the record's duration unless given.
    """

    delta: float
    population: str | None = None
    silent: float | None = None

    def __post_init__(self) -> None:
        check_positive("RelativeMSE", delta=self.delta)
        check_silent("RelativeMSE", self.silent)

    def evaluate(self, record: Record, targets: Any) -> LossResult:
        name = output_population(record.network, self.population, "RelativeMSE", spiking=True)
        silent = record.duration if self.silent is None else float(self.silent)
        return evaluate_first_spikes(loss_relative_mse, record, name, targets, self.delta, silent)

    def in_core(self, net: Network, duration: float) -> CoreLoss | None:
        if type(self) is not RelativeMSE:  # a subclass may evaluate something else
            return None
        name = output_population(net, self.population, "RelativeMSE", spiking=True)
        silent = duration if self.silent is None else float(self.silent)
        return CoreLoss("relative_mse", net.index[name], [self.delta], silent)

    def predict(self, record: Record) -> Labels:
        population = output_population(record.network, self.population, "RelativeMSE", spiking=True)
        return record.spikes[population].first_units()

    def first_spikes_of(self, net: Network) -> str | None:
        return output_population(net, self.population, "RelativeMSE", spiking=True)

    def check_targets(self, where: Network | Record, targets: Any) -> Labels:
        net = where.network if isinstance(where, Record) else where
        return check_labels(
            where, output_population(net, self.population, "RelativeMSE", spiking=True), targets
        )
