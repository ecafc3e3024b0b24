"""What must not change between two runs for finite differences to mean anything.

Spike times are smooth functions of the parameters as long as no neuron gains or loses a spike and no arrival passes a
spike (or the end of a refractory time) of the neuron it reaches. The counts are cheap to compare; the order is a table
of bits, (sender's spikes x receiver's spikes) for each projection.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..projections import Projection
from ..record import Record


def counts(record: Record) -> bytes:
    """The number of spikes of every neuron in every sample."""
    return b"".join(record.spikes[name].counts().tobytes() for name in record.spikes)


def order(record: Record) -> bytes:
    """`counts`, and for each arrival and each spike of its receiver: which came first."""
    parts = [counts(record)]
    for projection in record.network.projections:
        for b in range(record.batch_size):
            parts.append(np.packbits(_arrives_before(record, projection, b)).tobytes())
    return b"".join(parts)


def _arrives_before(record: Record, projection: Projection, b: int) -> NDArray[np.bool_]:
    """(spikes of the sender, marks of the receivers): a mark is a spike, its release, or the duration."""
    net = record.network
    n_pre, n_post = net.populations[projection.pre].size, net.populations[projection.post].size
    times, units = record.spikes[projection.pre][b]
    marks: list[NDArray[np.float64]] = [np.full(n_post, record.duration)]
    owners: list[NDArray[np.integer]] = [np.arange(n_post)]
    if net.populations[projection.post].kind == "lif":
        own_times, own_units = record.spikes[projection.post][b]
        held = np.asarray(record.params[f"{projection.post}.t_ref"], dtype=np.float64)[own_units]
        marks += [own_times, own_times + held]
        owners += [own_units, own_units]
    at, owner = np.concatenate(marks), np.concatenate(owners)
    delay, connected = _by_pair(record, projection, n_pre, n_post)
    before = np.less(times[:, None] + delay[np.ix_(units, owner)], at)
    both: NDArray[np.bool_] = np.logical_and(before, connected[np.ix_(units, owner)])
    return both


def _by_pair(
    record: Record, projection: Projection, n_pre: int, n_post: int
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Delays and connections as (pre, post) tables."""
    given = record.params.get(f"{projection.name}.delay")
    csr = projection.structure()
    if csr is None:
        delay = np.zeros((n_pre, n_post)) if given is None else np.broadcast_to(given, (n_pre, n_post))
        return np.asarray(delay, dtype=np.float64), np.ones((n_pre, n_post), np.bool_)
    indptr, indices = csr
    rows = np.repeat(np.arange(n_pre), np.diff(indptr))
    connected = np.zeros((n_pre, n_post), np.bool_)
    connected[rows, indices] = True
    if given is None or projection.delay_kind != "synaptic":
        return np.asarray(
            np.broadcast_to(0.0 if given is None else given, (n_pre, n_post)), np.float64
        ), connected
    table = np.zeros((n_pre, n_post))
    table[rows, indices] = given
    return table, connected
