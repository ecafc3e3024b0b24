"""Gradients in parts, folded in order (see the package's text).

    value = sum_k (n_k / n) value_k        gradient = sum_k (n_k / n) gradient_k        k = 0, 1, ..., parts - 1

value_k and gradient_k: the means over the n_k samples of part k. Part k belongs to rank k mod size. The parts of one
round are handed round while the next round is computed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError
from ..gradients import value_and_grad as of_one_process
from ..loader import take
from ..losses import Loss
from ..network import Network
from ..parameters import Array
from ..record import SpikesGiven
from ..simulators import Simulator
from ..spikes import Spikes

Bytes = NDArray[np.uint8]


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
    rank, size = (0, 1) if comm is None else (comm.Get_rank(), comm.Get_size())
    n = len(spikes) if isinstance(spikes, Spikes) else len(next(iter(spikes.values())))
    _check_parts(parts, size, n)
    edges = [n * k // parts for k in range(parts + 1)]
    labels = np.asarray(targets)
    names = [name for name, chosen in zip(net.layout.names, net.layout.select(wrt), strict=True) if chosen]
    sent: list[Bytes] = []
    found: list[Bytes] = []
    waiting = []
    for first in range(0, parts, size):
        part = slice(edges[first + rank], edges[first + rank + 1])
        value, grads, _ = of_one_process(
            net,
            params,
            take(spikes, part),
            labels[part],
            loss,
            duration=duration,
            simulator=simulator,
            max_dw_norm=max_dw_norm,
            wrt=names,
            input_times=False,
        )
        mine = np.concatenate([_bytes(np.array([value])), *(_bytes(grads[name]) for name in names)])
        sent.append(mine)
        found.append(np.empty((size, mine.size), np.uint8) if comm is not None else mine[None])
        if comm is not None:
            waiting.append(comm.Iallgather(mine, found[-1]))
    for request in waiting:
        request.Wait()
    shares = [(edges[k + 1] - edges[k]) / n for k in range(parts)]
    return _fold([row for table in found for row in table], shares, {name: params[name] for name in names})


def _fold(rows: list[Bytes], shares: list[float], like: Mapping[str, Array]) -> tuple[float, dict[str, Array]]:
    """The sums, part by part in order."""
    value = 0.0
    total = {name: np.zeros_like(array) for name, array in like.items()}
    for row, share in zip(rows, shares, strict=True):
        value += share * float(row[:8].view(np.float64)[0])
        start = 8
        for array in total.values():
            flat = row[start : start + array.nbytes].view(array.dtype)
            array += flat.reshape(array.shape) * array.dtype.type(share)
            start += array.nbytes
    return value, total


def _bytes(array: Array) -> Bytes:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def _check_parts(parts: int, size: int, n: int) -> None:
    if parts < 1 or parts % size:
        raise ConfigError(f"parts is {parts}; with {size} processes it must be a multiple of {size}.")
    if parts > n:
        raise ConfigError(f"parts is {parts} but the batch has {n} samples; use at most {n} parts.")


@contextmanager
def abort_together(comm: Any) -> Iterator[None]:
    """An exception in one process ends all of them: without it the others would wait for it for ever."""
    try:
        yield
    except BaseException:
        import sys
        import traceback

        traceback.print_exc()
        sys.stderr.flush()
        comm.Abort(1)
        raise
