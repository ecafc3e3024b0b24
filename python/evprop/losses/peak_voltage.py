"""A regulariser for silent neurons, by the exact gradient of their largest voltage.

    L_b = strength/2 sum over neurons i silent in sample b of (v_th - max_t V_i)^2

An exact gradient of any other loss is blind to a neuron that does not spike. This one raises its voltage until it does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import NetworkError
from ..network import Network
from ..readouts import Max, Readout
from ..record import Record
from .base import Loss, LossResult, check_positive, readout_cotangents


@dataclass(frozen=True)
class PeakVoltage(Loss):
    """Pulls neurons that are silent in a sample towards their threshold; see the module's text. Reads `Max`.

    Args:
        population: a LIF population.
        strength: > 0, per squared unit of v_th.
    """

    population: str
    strength: float

    def __post_init__(self) -> None:
        check_positive("PeakVoltage", strength=self.strength)

    def readouts(self, net: Network) -> dict[str, list[Readout]]:
        if net.population(self.population).kind != "lif":
            raise NetworkError(
                f"PeakVoltage: population {self.population!r} has no threshold; name a LIF one."
            )
        return {self.population: [Max()]}

    def evaluate(self, record: Record, targets: Any) -> LossResult:
        index = record.readout_index(self.population, Max())
        peak = np.asarray(record.readout[self.population][index], np.float64)
        v_th = np.asarray(record.params[f"{self.population}.v_th"], np.float64)
        gap = np.where(record.spikes[self.population].fired(), 0.0, v_th - peak)
        d_v_th = self.strength * gap.sum(axis=0) / record.batch_size
        return LossResult(
            0.5 * self.strength * np.add.reduce(gap**2, axis=1),
            readouts=readout_cotangents(record, self.population, index, -self.strength * gap),
            parameters={
                f"{self.population}.v_th": d_v_th.astype(record.params[f"{self.population}.v_th"].dtype)
            },
        )
