"""Time-to-first-spike cross entropy (Wunderlich & Pehle 2021, eq. 8; Goltz et al. 2021).

    L = -ln( e^{-t*/tau_0} / sum_k e^{-t_k/tau_0} ) + alpha ( e^{t*/tau_1} - 1 )

t_k: first spike of output neuron k (ms); t*: that of the label's neuron. Only first spikes carry a cotangent:

    dL/dt_k = ( [k = *] - softmax(-t/tau_0)_k ) / tau_0  +  [k = *] (alpha / tau_1) e^{t*/tau_1}

A neuron without a spike counts with the time ``silent`` and has no gradient of its own; it still takes part in the
softmax. The class is that of the earliest spike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .._core import CoreLoss, loss_first_spike
from ..errors import ParameterError
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
class FirstSpike(Loss):
    """Cross entropy over the first spike times of a LIF population.

    Args:
        tau_0: ms, the width of the softmax over times.
        tau_1: ms, of the term that pulls the label's spike early.
        alpha: >= 0, weight of that term.
        population: the only output population unless given.
        silent: ms, the time put in place of a missing spike; the record's duration unless given.
    """

    tau_0: float
    tau_1: float
    alpha: float
    population: str | None = None
    silent: float | None = None

    def __post_init__(self) -> None:
        check_positive("FirstSpike", tau_0=self.tau_0, tau_1=self.tau_1)
        if not 0.0 <= self.alpha < float("inf"):
            raise ParameterError(f"FirstSpike: alpha is {self.alpha!r}; it must be finite and >= 0.")
        check_silent("FirstSpike", self.silent)

    def evaluate(self, record: Record, targets: Any) -> LossResult:
        name = output_population(record.network, self.population, "FirstSpike", spiking=True)
        silent = record.duration if self.silent is None else float(self.silent)
        return evaluate_first_spikes(
            loss_first_spike, record, name, targets, self.tau_0, self.tau_1, self.alpha, silent
        )

    def in_core(self, net: Network, duration: float) -> CoreLoss | None:
        if type(self) is not FirstSpike:  # a subclass may evaluate something else
            return None
        name = output_population(net, self.population, "FirstSpike", spiking=True)
        silent = duration if self.silent is None else float(self.silent)
        return CoreLoss("first_spike", net.index[name], [self.tau_0, self.tau_1, self.alpha], silent)

    def predict(self, record: Record) -> Labels:
        population = output_population(record.network, self.population, "FirstSpike", spiking=True)
        return record.spikes[population].first_units()

    def first_spikes_of(self, net: Network) -> str | None:
        return output_population(net, self.population, "FirstSpike", spiking=True)

    def check_targets(self, where: Network | Record, targets: Any) -> Labels:
        net = where.network if isinstance(where, Record) else where
        return check_labels(
            where, output_population(net, self.population, "FirstSpike", spiking=True), targets
        )
