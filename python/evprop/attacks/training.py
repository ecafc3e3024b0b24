"""Adversarial training (Madry et al. 2018) with spike times: batches are attacked before each step.

evprop.train.fit(net, params, data, loss, optimiser, ..., adversary=Adversary(budget=1.0, steps=3))
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import ParameterError
from ..losses import Loss
from ..network import Network
from ..parameters import Array
from ..simulators import Simulator
from ..spikes import Spikes
from .times import check_budget, check_norm, shift_times
from .victim import Victim


@dataclass(frozen=True)
class Adversary:
    """Moves the spike times of a batch against the network as it is at that moment, as `shift_times` does.

    budget     ms
    steps      of the attack
    norm       "linf" or "l2"
    step_size  ms; None: budget / steps
    share      of each batch that is attacked, its first samples (their order is random); the others stay clean
    """

    budget: float
    steps: int
    norm: str = "linf"
    step_size: float | None = None
    share: float = 1.0

    def __post_init__(self) -> None:
        check_norm(self.norm)
        check_budget(self.budget, self.steps, self.step_size)
        if not 0.0 < self.share <= 1.0:
            raise ParameterError(f"share is {self.share}; it must be above 0 and at most 1.")

    def perturb(
        self,
        net: Network,
        params: Mapping[str, Array],
        spikes: Any,
        labels: Any,
        loss: Loss,
        *,
        duration: float,
        simulator: Simulator,
    ) -> Spikes:
        """The batch after the attack."""
        victim = Victim(net, params, loss, duration, simulator)
        n = int(np.ceil(self.share * len(spikes)))
        settings = {"norm": self.norm, "step_size": self.step_size}
        made = shift_times(victim, spikes[:n], labels[:n], budget=self.budget, steps=self.steps, **settings)  # type: ignore[arg-type]
        return made.spikes if n == len(spikes) else Spikes.concatenate([made.spikes, spikes[n:]])
