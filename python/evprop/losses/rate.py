"""A regulariser of firing rates, by a named pseudo-gradient.

    L = 1/2 sum_i s_i (n_i - target)^2            s_i = upper where n_i > target, lower where n_i < target

n_i: spikes of neuron i per sample, mean over the batch. A spike count has gradient zero almost everywhere, so an exact
gradient would do nothing. In its place each spike of neuron i kicks the adjoint of its voltage (theory: lambda_v):

    lambda_v(t_k-)  +=  s_i (n_i - target)        of each sample; the batch's mean divides by the number of samples

that is, dn_i/dV(t_k-) is taken to be 1 at each spike and 0 elsewhere. mlGeNN's ``reg_lambda_upper/lower`` and
``reg_nu_upper`` (Knight & Nowotny 2023) are the same kick on a lambda that is smaller by tau_mem^2 (tau_mem in ms), so
that ``upper = reg_lambda_upper * tau_mem**2`` weighs as much against a cross entropy here as there: 5e-11 at 20 ms is
2e-8.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import NetworkError, ParameterError
from ..network import Network
from ..record import Record
from .base import Floats, Loss, LossResult


@dataclass(frozen=True)
class Rate(Loss):
    """Pulls the spikes per neuron and sample towards a target; a pseudo-gradient, see the module's text.

    Args:
        population: a LIF population.
        target: spikes per neuron and sample (mlGeNN's SHD and SSC: 14).
        upper: strength for neurons that fire more often.
        lower: strength for neurons that fire less often; nothing reaches a neuron without any spike (`PeakVoltage`).
    """

    population: str
    target: float
    upper: float = 0.0
    lower: float = 0.0

    def __post_init__(self) -> None:
        for name, value in (("target", self.target), ("upper", self.upper), ("lower", self.lower)):
            if not (np.isfinite(value) and value >= 0):
                raise ParameterError(f"Rate: {name} is {value!r}; it must be finite and >= 0.")

    def evaluate(self, record: Record, targets: Any) -> LossResult:
        excess = record.spikes[self.population].counts_per_unit() / record.batch_size - self.target
        strength = np.where(excess > 0, self.upper, self.lower)
        value = 0.5 * float(np.add.reduce(strength * excess**2))
        kick = strength * excess
        return LossResult(
            np.full(record.batch_size, value),
            {self.population: -self._vdot(record) * kick[self._units(record)]},
        )

    def check_targets(self, where: Network | Record, targets: Any) -> Any:
        net = where.network if isinstance(where, Record) else where
        if net.population(self.population).kind != "lif":
            raise NetworkError(
                f"Rate: population {self.population!r} has no spikes to count; name a LIF one."
            )
        return targets

    def _units(self, record: Record) -> Any:
        return record.spikes[self.population].units

    def _vdot(self, record: Record) -> Floats:
        """dV/dt at each spike, as the adjoint uses it: a cotangent -c dV/dt of a spike time is a kick c of lambda_v."""
        units = self._units(record)
        constants = (
            np.asarray(record.params[f"{self.population}.{name}"], np.float64)
            for name in ("i_bias", "v_th", "tau_mem")
        )
        i_bias, v_th, tau_mem = (
            np.broadcast_to(c, record.spikes[self.population].n_units)[units] for c in constants
        )
        vdot: Floats = (record.currents(self.population) + i_bias - v_th) / tau_mem
        return vdot if record.min_vdot is None else np.maximum(vdot, record.min_vdot)
