"""What the chip's model leaves behind, in milliseconds and in the network's units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ... import _core
from ...network import Network
from ...parameters import Array
from ...readouts import Readout
from ...record import Record
from ...spikes import Spikes
from .decays import FULL, kappa
from .quantise import Quantised
from .registers import PLACES
from .steps import Sent
from .voltages import Read

Seen = tuple[Spikes, NDArray[np.int64]]
"""The spikes of a population, and u at each."""


class Loihi2Record(Record):
    """A record of the chip's model.

    Attributes:
        quantised: `Quantised`: the program, its report and its scales. ``params`` are ``quantised.params``.
        sent: {Input: what was sent to the chip}.
        n_steps: rows that were run.
        inputs: the input spikes at the times at which the chip got them, in the order given.
    """

    def __init__(
        self,
        network: Network,
        quantised: Quantised,
        inputs: Mapping[str, Spikes],
        seen: Mapping[str, Seen],
        reads: Sequence[tuple[Any, Read]],
        *,
        sent: Mapping[str, Sent],
        n_steps: int,
        duration: float,
        dtype: str,
        readouts: Mapping[str, Sequence[Readout]],
        min_vdot: float,
    ) -> None:
        populations: list[tuple[Any, Array] | None] = []
        for name in network.populations:
            if name in seen:
                spikes = seen[name][0]
                current = synaptic_current(quantised, name, seen[name][1]).astype(dtype)
                populations.append(((spikes.times, spikes.units, spikes.offsets), current))
            else:
                populations.append(None)
        batch = len(next(iter(inputs.values())))
        given = [(spec, read.values, read.peaks) for spec, read in reads]
        super().__init__(
            network,
            quantised.params,
            inputs,
            _core.observed_record(network.core, batch, duration, dtype, populations, given),
            arrays=network.layout.arrays(quantised.params, dtype),
            duration=duration,
            dtype=dtype,
            readouts=readouts,
            min_vdot=min_vdot,
        )
        self.quantised, self.sent, self.n_steps = quantised, sent, n_steps


def synaptic_current(quantised: Quantised, name: str, u: NDArray[np.int64]) -> NDArray[np.float64]:
    """I at the end of a row, before what arrives then, from u in that row: u is kappa(dt) I at the row's start."""
    population = quantised.program.populations[name]
    tau_mem, tau_syn = (float(quantised.params[f"{name}.{tau}"][0]) for tau in ("tau_mem", "tau_syn"))
    stays = 1.0 - (int(population.du[0]) + 1) / FULL
    unit = PLACES * quantised.scales[name] * kappa(quantised.dt, tau_mem, tau_syn)
    current: NDArray[np.float64] = u.astype(np.float64) * (stays / unit)
    return current
