"""Which neurons go to which core, what that takes of each, and whether it fits.

A population has cores of its own, as few as hold it, with equal shares of its neurons, and cores follow each other
along the rows of routers. A core holds the synapses that end at its neurons.

    synapses   (weight bits + delay bits, if its connection has delays) for each weight that is not 0
    delays     accumulator bits x neurons x (longest delay + 1)
    state      state bits x neurons
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ...errors import HardwareError
from .limits import LOIHI2, Limit, Limits
from .program import Loihi2Connection, Loihi2Program

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Core:
    """One core: neurons ``first`` to ``last`` - 1 of a population, and what they take of it."""

    population: str
    first: int
    last: int
    synapses: int
    axons_in: int
    axons_out: int
    synapse_bytes: int
    delay_bytes: int
    state_bytes: int

    @property
    def neurons(self) -> int:
        """How many."""
        return self.last - self.first

    @property
    def core_bytes(self) -> int:
        """All memory."""
        return self.synapse_bytes + self.delay_bytes + self.state_bytes


@dataclass(frozen=True)
class Placement:
    """Where a program lies. ``cores`` are in the order of the chip's cores."""

    cores: tuple[Core, ...]
    limits: Limits

    def of(self, population: str) -> list[int]:
        """The cores of a population, by index."""
        return [k for k, core in enumerate(self.cores) if core.population == population]

    def router(self, core: int) -> tuple[int, int]:
        """(column, row) of a core's router."""
        row, column = divmod(core // self.limits.cores_per_router.value, self.limits.columns.value)
        return column, row

    def __str__(self) -> str:
        total = f"{len(self.cores)} of {self.limits.cores.value} cores ({self.limits.name})"
        lines = [total]
        for name in dict.fromkeys(core.population for core in self.cores):
            own = [core for core in self.cores if core.population == name]
            lines.append(
                f"{name}: {len(own)} core{'s' * (len(own) > 1)}; at most {max(c.neurons for c in own):,} neurons, "
                f"{max(c.axons_in for c in own):,} axons in, {max(c.synapse_bytes for c in own) / 1024:.1f} KiB of "
                f"synapses, {max(c.delay_bytes for c in own) / 1024:.1f} KiB of delays in one core"
            )
        return "\n".join(lines)


def place(program: Loihi2Program, limits: Limits | None = None) -> Placement:
    """Put a program on one chip, that of `LOIHI2` unless other limits are given.

    Raises:
        HardwareError: it does not fit; with the population, the number and the limit.
    """
    chip = LOIHI2 if limits is None else limits
    masks = [program.effective_weights(k) != 0 for k in range(len(program.connections))]
    shares = dict.fromkeys(program.populations, 1)
    while True:
        cores = _cores(program, masks, shares, chip)
        asked = _more(cores, shares, program, chip)
        if not asked:
            break
        shares |= asked
        _check_total(shares, chip)
    _check_total(shares, chip)
    return Placement(tuple(cores), chip)


def _check_total(shares: Mapping[str, int], limits: Limits) -> None:
    total = sum(shares.values())
    if total > limits.cores.value:
        name = max(shares, key=lambda n: shares[n])
        raise HardwareError(
            f"the program needs at least {total} cores, {shares[name]} of them for {name!r}; a chip has "
            f"{limits.cores.value}. Make {name!r} smaller or its connections sparser."
        )


def _more(
    cores: list[Core], shares: Mapping[str, int], program: Loihi2Program, limits: Limits
) -> dict[str, int]:
    """{population: how many cores it should have instead} where a core is too full."""
    asked: dict[str, int] = {}
    for core in cores:
        for what, used, limit in _uses(core, limits):
            if used <= limit.value:
                continue
            size, now = program.populations[core.population].n, shares[core.population]
            if core.neurons == 1:
                raise HardwareError(
                    f"neuron {core.first} of {core.population!r} alone needs {used:,} {what}; a core has "
                    f"{limit.value:,} ({limit.source}). Give it fewer synapses or shorter delays."
                )
            wanted = min(size, max(now + 1, math.ceil(now * used / limit.value)))
            asked[core.population] = max(asked.get(core.population, 0), wanted)
    return asked


def _uses(core: Core, limits: Limits) -> tuple[tuple[str, int, Limit], ...]:
    return (
        ("neurons", core.neurons, limits.neurons_per_core),
        ("bytes for synapses", core.synapse_bytes, limits.synapse_bytes),
        ("bytes in all", core.core_bytes, limits.core_bytes),
        ("axons in", core.axons_in, limits.axons_in),
        ("axons out", core.axons_out, limits.axons_out),
    )


def slices(n: int, share: int) -> list[tuple[int, int]]:
    """``share`` equal parts of n neurons, the first ones larger by 1 where they do not divide."""
    ends = [n * k // share for k in range(share + 1)]
    return list(pairwise(ends))


def _cores(
    program: Loihi2Program, masks: list[Mask], shares: Mapping[str, int], limits: Limits
) -> list[Core]:
    parts = {name: slices(p.n, shares[name]) for name, p in program.populations.items()}
    found = []
    for name, population in program.populations.items():
        incoming = [(c, m) for c, m in zip(program.connections, masks, strict=True) if c.target == name]
        longest = max((int(c.delays.max(initial=0)) for c, _ in incoming), default=0)
        # per neuron: the other cores that it reaches
        reached = np.zeros(population.n, np.int64)
        for c, m in zip(program.connections, masks, strict=True):
            if c.source == name:
                reached += np.sum([m[:, a:b].any(axis=1) for a, b in parts[c.target]], axis=0)
        for a, b in parts[name]:
            own = [(c, m[:, a:b]) for c, m in incoming]
            bits = sum(int(m.sum()) * _synapse_bits(c, limits) for c, m in own)
            found.append(
                Core(
                    name,
                    a,
                    b,
                    synapses=sum(int(m.sum()) for _, m in own),
                    axons_in=sum(int(m.any(axis=1).sum()) for _, m in own),
                    axons_out=int(reached[a:b].sum()),
                    synapse_bytes=math.ceil(bits / 8),
                    delay_bytes=math.ceil(limits.accumulator_bits.value * (b - a) * (longest + 1) / 8),
                    state_bytes=math.ceil(limits.state_bits.value * (b - a) / 8),
                )
            )
    return found


def _synapse_bits(connection: Loihi2Connection, limits: Limits) -> int:
    delays = limits.delay_bits.value if connection.delays.any() else 0
    return connection.num_weight_bits + delays
