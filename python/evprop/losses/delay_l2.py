"""A penalty on long delays.

    L = strength/2 sum over the delays d of a projection of d^2        (ms)        dL/dd = strength d

Short delays cost less on a chip that holds delayed spikes in memory, and less time here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import NetworkError, nearest
from ..network import Network
from ..record import Record
from .base import Loss, LossResult, check_positive


@dataclass(frozen=True)
class DelayL2(Loss):
    """Half the sum of the squared delays of a projection, times ``strength`` (per ms^2); an exact gradient.

    Args:
        projection: its name, such as "input_hidden".
        strength: > 0.
    """

    projection: str
    strength: float

    def __post_init__(self) -> None:
        check_positive("DelayL2", strength=self.strength)

    def evaluate(self, record: Record, targets: Any) -> LossResult:
        delay = record.params[f"{self.projection}.delay"]
        value = 0.5 * self.strength * float(np.sum(np.square(delay, dtype=np.float64)))
        return LossResult(
            np.full(record.batch_size, value),
            parameters={f"{self.projection}.delay": (self.strength * delay).astype(delay.dtype)},
        )

    def check_targets(self, where: Network | Record, targets: Any) -> Any:
        net = where.network if isinstance(where, Record) else where
        with_delays = [p.name for p in net.projections if p.delay is not None]
        if self.projection not in with_delays:
            raise NetworkError(
                f"DelayL2: {self.projection!r} is no projection with delays: {nearest(self.projection, with_delays)}"
            )
        return targets
