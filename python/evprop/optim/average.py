"""A moving average of parameters over the steps of an optimiser.

    mean <- mean + s (p - mean),   s = max(1 - decay, 1 / k) after step k = 1, 2, ...

so a plain mean of all steps so far until there are 1 / (1 - decay) of them, exponential from then on: what the noise of
the batches adds to single steps averages out (Polyak & Juditsky 1992, SIAM J. Control Optim. 30; Izmailov et al. 2018,
UAI). Parameters that are legal have a legal mean: each constraint of flat.py holds on a convex set.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ..errors import ConfigError
from ..parameters import Array


class Average:
    """The mean of parameters over steps.

    Attributes:
        params: {name: mean}, the first parameters before the first step.
        steps: how many are in it.

    Args:
        decay: of the weight of a step with each later one, in [0, 1): 0.99 averages over some 100 steps.
        params: {name: array}.

    Raises:
        ConfigError: a decay that is none.
    """

    def __init__(self, decay: float, params: Mapping[str, Array]) -> None:
        if isinstance(decay, bool) or not (math.isfinite(decay) and 0.0 <= decay < 1.0):
            raise ConfigError(
                f"average is {decay!r}; it is the decay of a moving average over steps, at least 0 and below 1 "
                "(0.99: over some 100 steps), or None to take none."
            )
        self.decay = float(decay)
        self.steps = 0
        self.params: dict[str, Array] = {name: array.copy() for name, array in params.items()}

    def add(self, params: Mapping[str, Array]) -> None:
        """Take in the parameters after a step."""
        self.steps += 1
        share = max(1.0 - self.decay, 1.0 / self.steps)
        for name, mean in self.params.items():
            mean += share * (params[name] - mean)

    def state(self) -> dict[str, Any]:
        """What a checkpoint must keep."""
        return {"steps": self.steps, **self.params}

    def restore(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state`."""
        self.steps = int(state["steps"])
        for name, mean in self.params.items():
            mean[...] = state[name]
