"""The gradient of one batch in parts (team.py), as a function."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ..errors import ConfigError
from ..loader import Batch, Cut, edges, take
from ..losses import Loss
from ..network import Network
from ..parameters import Array
from ..record import SpikesGiven
from ..simulators import Simulator
from ..spikes import Spikes
from .team import Team


def value_and_grad(
    net: Network,
    params: Mapping[str, Array],
    spikes: SpikesGiven,
    targets: Any,
    loss: Loss,
    *,
    duration: float,
    parts: int,
    comm: Any = None,
    simulator: Simulator | None = None,
    max_dw_norm: float | None = None,
    wrt: Iterable[str] | None = None,
) -> tuple[float, dict[str, Array]]:
    """The mean loss over a batch and its gradients, computed in parts by all processes of a communicator.

    Args:
        spikes, targets: the whole batch, the same in every process.
        parts: how many parts; a multiple of the number of processes. The bits depend on it, so keep it when the
            number of processes changes.
        comm: an mpi4py communicator; None: this process alone.
        net, params, loss, duration, simulator, max_dw_norm, wrt: as for `evprop.value_and_grad`.
    """
    team = Team(parts, comm)
    labels = np.asarray(targets)
    n = len(spikes) if isinstance(spikes, Spikes) else len(next(iter(spikes.values())))
    if parts > n:
        raise ConfigError(f"parts is {parts} but the batch has {n} samples; use at most {n} parts.")
    at = edges(n, parts)
    index = [np.arange(at[k], at[k + 1]) for k in team.own]
    pieces = zip(team.own, (Batch(i, take(spikes, i), labels[i]) for i in index), strict=True)
    value, grads, _ = team.value_and_grad(
        net,
        params,
        Cut(n, tuple(pieces)),
        loss,
        duration=duration,
        simulator=simulator,
        max_dw_norm=max_dw_norm,
        wrt=wrt,
    )
    return value, grads
