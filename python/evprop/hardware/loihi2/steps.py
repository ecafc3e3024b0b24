"""Spikes between milliseconds and the chip's steps.

An input spike at t is sent in row round(t/dt) and arrives in the row after it; row r holds the state at r dt. So an
arrival in row a acts from (a - 1) dt on, and a neuron that is over its threshold in row r spikes at r dt.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...errors import HardwareError
from ...spikes import Spikes

MAX_ROWS = 2**24


def rows_of(duration: float, dt: float) -> int:
    """How many rows a trial has: those at 0, dt, ..., up to the duration."""
    rows = math.floor(duration / dt * (1.0 + 1e-12)) + 1
    if rows > MAX_ROWS:
        raise HardwareError(
            f"{duration:g} ms in steps of {dt:g} ms are {rows:,} steps; at most {MAX_ROWS:,} are run. Use a larger dt."
        )
    return rows


def row_times(n_rows: int, dt: float, duration: float) -> NDArray[np.float64]:
    """(n_rows,) ms."""
    times: NDArray[np.float64] = np.minimum(np.arange(n_rows) * dt, duration)
    return times


class Sent(NamedTuple):
    """Input spikes as the chip gets them: CSR by sample, sorted by step and unit; ``payloads`` count those of one unit
    that fell into one step."""

    steps: NDArray[np.uint32]
    units: NDArray[np.uint32]
    offsets: NDArray[np.int64]
    payloads: NDArray[np.int32]


def on_grid(spikes: Spikes, n_rows: int, dt: float, duration: float) -> tuple[Spikes, Sent]:
    """(the same spikes at the times of their rows, in the same order; what is sent)."""
    rows = np.minimum(np.rint(spikes.times / dt), n_rows - 1).astype(np.int64)
    rounded = Spikes._trusted(
        np.minimum(rows * dt, duration), spikes.units, spikes.offsets, spikes.n_units, dropped=spikes.dropped
    )
    key = (spikes.samples * n_rows + rows) * spikes.n_units + spikes.units
    found, payloads = np.unique(key, return_counts=True)
    place, units = np.divmod(found, spikes.n_units)
    samples, steps = np.divmod(place, n_rows)
    offsets = np.searchsorted(samples, np.arange(len(spikes) + 1)).astype(np.int64)
    return rounded, Sent(
        steps.astype(np.uint32), units.astype(np.uint32), offsets, payloads.astype(np.int32)
    )


def in_time(
    steps: NDArray[np.uint32],
    units: NDArray[np.uint32],
    offsets: NDArray[np.int64],
    n_units: int,
    times: NDArray[np.float64],
) -> Spikes:
    """Spikes of a population in ms."""
    return Spikes._trusted(times[steps], units, offsets, n_units)
