"""What a run does on the chip, counted; and what that costs by a table.

    synaptic operations   for each spike, the synapses that are not 0
    neuron updates        neurons x steps
    packets               for each spike of a neuron, the other cores that it reaches; hops between routers, X then Y
    energy                sum over operations of count x energy
    time of a step        the busiest core's operations, and the barrier

Loading inputs and reading outputs, the x86 cores and static power are not counted: nothing public says what they take.
A synaptic operation is put into the step in which its spike is sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .costs import OPERATIONS, CostTable, cost_table
from .placement import Placement, place
from .program import Loihi2Program
from .record import Loihi2Record

Ints = NDArray[np.int64]
Pair = tuple[float, float]


@dataclass(frozen=True, eq=False)
class Counts:
    """Exact counts of a batch.

    Attributes:
        samples, steps: how many samples, of how many steps each.
        totals: {operation: count over the batch}.
        busiest: {operation: (samples, steps, cores) int64} of those that a core does one after the other.
        placement: where the program lies.
    """

    samples: int
    steps: int
    totals: Mapping[str, int]
    per_core: Mapping[str, Ints]
    placement: Placement


@dataclass(frozen=True)
class Estimate:
    """Of one sample, by one table: each (low, high). I/O, x86 and static power are not in it."""

    table: CostTable
    energy_uj: Pair
    latency_ms: Pair

    def __str__(self) -> str:
        return (
            f"{self.table.name}: {self.energy_uj[0]:.3g} to {self.energy_uj[1]:.3g} uJ, "
            f"{self.latency_ms[0]:.3g} to {self.latency_ms[1]:.3g} ms a sample "
            f"({self.table.note}; without I/O, x86 cores and static power)"
        )


def count(record: Loihi2Record, placement: Placement | None = None) -> Counts:
    """Count what the chip did for a record; it is placed by `place` unless a placement is given."""
    program = record.quantised.program
    steps = {
        name: np.rint(s.times / record.quantised.dt).astype(np.int64) for name, s in record.spikes.items()
    }
    spikes = {
        name: (steps[name], np.asarray(s.units, np.int64), s.samples)
        for name, s in record.spikes.items()
        if name in program.populations
    }
    for name, sent in record.sent.items():
        samples = np.repeat(np.arange(record.batch_size), np.diff(sent.offsets))
        spikes[name] = (sent.steps.astype(np.int64), sent.units.astype(np.int64), samples)
    where = place(program) if placement is None else placement
    return _count(program, where, spikes, record.batch_size, record.n_steps)


def estimate(counts: Counts, table: str | CostTable = "loihi2-scaled") -> Estimate:
    """Energy and latency of one sample, on average over those counted."""
    chosen = table if isinstance(table, CostTable) else cost_table(table)
    energy, latency = [], []
    for end in (0, 1):
        energy.append(
            sum(counts.totals[op] * chosen.costs[op].energy[end] for op in OPERATIONS) / counts.samples * 1e-6
        )
        busy = sum(n * chosen.costs[op].time[end] for op, n in counts.per_core.items())
        steps = np.asarray(busy).max(axis=2).sum() / counts.samples
        barriers = counts.steps * chosen.costs["barrier"].time[end]
        latency.append(float(steps + barriers) * 1e-6)
    return Estimate(chosen, (energy[0], energy[1]), (latency[0], latency[1]))


def _count(
    program: Loihi2Program,
    placement: Placement,
    spikes: Mapping[str, tuple[Ints, Ints, Ints]],
    batch: int,
    n_steps: int,
) -> Counts:
    none = (np.empty(0, np.int64),) * 3
    n_cores = len(placement.cores)
    synapses = np.zeros((batch, n_steps, n_cores), np.int64)
    fired = np.zeros_like(synapses)
    totals = dict.fromkeys(OPERATIONS, 0)
    owner = {name: _owner(placement, name, p.n) for name, p in program.populations.items()}
    reached: dict[str, Ints] = {}
    for k, c in enumerate(program.connections):
        fan = _fan(placement, c.target, program.effective_weights(k) != 0)
        steps, units, samples = spikes.get(c.source, none)
        np.add.at(synapses, (samples, steps), fan[units])
        if c.source in program.populations:
            known = reached.setdefault(c.source, np.zeros_like(fan))
            np.maximum(known, fan > 0, out=known)
    for name in program.populations:
        steps, units, samples = spikes.get(name, none)  # leaky integrators have none
        np.add.at(fired, (samples, steps, owner[name][units]), 1)
        if name in reached:
            packets, east, north = _hops(placement, owner[name], reached[name])
            totals["packet"] += int(packets[units].sum())
            totals["hop east-west"] += int(east[units].sum())
            totals["hop north-south"] += int(north[units].sum())
    neurons = np.array([core.neurons for core in placement.cores], np.int64)
    totals |= {
        "synaptic operation": int(synapses.sum()),
        "neuron update": int(neurons.sum()) * n_steps * batch,
        "spike": int(fired.sum()),
        "barrier": n_steps * batch,
    }
    updates = np.broadcast_to(neurons, synapses.shape)
    return Counts(
        *(batch, n_steps, totals),
        {"synaptic operation": synapses, "neuron update": updates, "spike": fired},
        placement,
    )


def _owner(placement: Placement, name: str, n: int) -> Ints:
    """(n,): the core of each neuron."""
    owner = np.empty(n, np.int64)
    for k in placement.of(name):
        owner[placement.cores[k].first : placement.cores[k].last] = k
    return owner


def _fan(placement: Placement, target: str, mask: NDArray[np.bool_]) -> Ints:
    """(n_source, cores): synapses of each source on each core."""
    fan = np.zeros((len(mask), len(placement.cores)), np.int64)
    for k in placement.of(target):
        core = placement.cores[k]
        fan[:, k] = mask[:, core.first : core.last].sum(axis=1)
    return fan


def _hops(placement: Placement, owner: Ints, reached: Ints) -> tuple[Ints, Ints, Ints]:
    """(n,) each: packets of a spike to other cores, and hops along rows and columns of routers."""
    routers = np.array([placement.router(k) for k in range(len(placement.cores))], np.int64)
    sent = reached.astype(bool)
    sent[np.arange(len(owner)), owner] = False  # its own core needs no packet
    away = np.abs(routers[owner][:, None, :] - routers[None, :, :]) * sent[:, :, None]
    return sent.sum(axis=1), away[:, :, 0].sum(axis=1), away[:, :, 1].sum(axis=1)
