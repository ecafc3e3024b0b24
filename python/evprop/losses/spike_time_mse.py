"""Squared error of first spike times.

    L = 1/2 sum_n ( t_n - target_n )^2        over the n with a target (NaN: don't care)

t_n: first spike of output neuron n (ms). dL/dt_n = t_n - target_n. A neuron without a spike counts with the time
``silent`` and has no gradient of its own. The class is that of the earliest spike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .._core import loss_spike_time_mse
from ..errors import TargetError
from ..network import Network
from ..record import Record
from .base import Floats, Labels, Loss, LossResult, check_silent, output_population


@dataclass(frozen=True)
class SpikeTimeMSE(Loss):
    """Squared error between first spike times and target times.

    Targets: (batch, n) float64, ms; NaN where a neuron's time does not matter.

    Args:
        population: the only output population unless given.
        silent: ms, the time put in place of a missing spike; the record's duration unless given.
    """

    population: str | None = None
    silent: float | None = None

    def __post_init__(self) -> None:
        check_silent("SpikeTimeMSE", self.silent)

    def evaluate(self, record: Record, targets: Any) -> LossResult:
        name = output_population(record.network, self.population, "SpikeTimeMSE", spiking=True)
        wanted = self.check_targets(record, targets)
        s = record.spikes[name]
        silent = record.duration if self.silent is None else float(self.silent)
        values, d_times = loss_spike_time_mse(s.times, s.units, s.offsets, s.n_units, wanted, silent)
        return LossResult(values, {name: d_times})

    def predict(self, record: Record) -> Labels:
        population = output_population(record.network, self.population, "SpikeTimeMSE", spiking=True)
        return record.spikes[population].first_units()

    def first_spikes_of(self, net: Network) -> str | None:
        return output_population(net, self.population, "SpikeTimeMSE", spiking=True)

    def check_targets(self, where: Network | Record, targets: Any) -> Floats:
        net, batch = (where.network, where.batch_size) if isinstance(where, Record) else (where, None)
        n = net.populations[output_population(net, self.population, "SpikeTimeMSE", spiking=True)].size
        wanted = np.asarray(targets)
        if wanted.ndim != 2 or wanted.shape[1] != n or (batch is not None and len(wanted) != batch):
            rows = "batch" if batch is None else batch
            raise TargetError(f"target times have shape {wanted.shape}; they must have shape ({rows}, {n}).")
        if wanted.dtype != np.float64:
            raise TargetError(
                f"target times have dtype {wanted.dtype}; they must be float64, in ms (NaN: don't care)."
            )
        if np.isinf(wanted).any():
            b, i = (int(k) for k in np.argwhere(np.isinf(wanted))[0])
            raise TargetError(
                f"target time of sample {b}, neuron {i} is {wanted[b, i]}; give a finite time, or NaN for don't care."
            )
        return np.ascontiguousarray(wanted)
