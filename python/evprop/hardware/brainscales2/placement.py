"""Where a network lies on BrainScaleS-2, and what it takes of the chip.

The chip has two halves. Each has 256 neuron circuits (columns) and 128 synapse drivers, each of which drives two rows
of 256 synapses: a row is excitatory or inhibitory, so a line whose weights may have either sign takes one driver and
both its rows (hxtorch; haldls). A circuit sees the rows of its own half only; two circuits, one of each half, merged
into one neuron see both. Every synapse answers to an address of 6 bits, so the columns of different populations may
listen to different senders on the same driver, up to 64 of them: what is scarce is the rows that one column sees.
(So fast & deep's 256-246-10 net fits.) Delays are realised by neurons that wait out a refractory time (DelGrad's chip
runs): one pair of circuits for each delayed line, axonal delays only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...errors import HardwareError, nearest
from ...network import Network
from ...projections import Projection

CIRCUITS_PER_HALF = 256
DRIVERS_PER_HALF = 128
DELAY_PAIRS = 128
ADDRESSES = 64
"""Senders that one driver can tell apart."""

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class BrainScaleS2Placement:
    """Which circuits and drivers a network has.

    Attributes:
        circuits: {population: (n, 2)} column in either half, -1 where a neuron has no circuit there.
        drivers: {projection: (2, copies, n_pre)} driver in either half, -1 where the line does not go there.
        copies: {projection: how many synapses in parallel make one connection}.
        delay_pairs: {projection: pairs of circuits that delay its lines}.
    """

    circuits: Mapping[str, Ints]
    drivers: Mapping[str, Ints]
    copies: Mapping[str, int]
    delay_pairs: Mapping[str, int]
    synapses: int

    @property
    def circuits_used(self) -> int:
        """Of 512, delay neurons included."""
        neurons = sum(int(np.count_nonzero(c >= 0)) for c in self.circuits.values())
        return neurons + 2 * sum(self.delay_pairs.values())

    @property
    def drivers_used(self) -> tuple[int, int]:
        """Of 128 in each half."""
        used: list[set[int]] = [set(), set()]
        for lines in self.drivers.values():
            for half in (0, 1):
                used[half] |= set(lines[half][lines[half] >= 0].tolist())
        return len(used[0]), len(used[1])

    def __str__(self) -> str:
        rows = [f"{'population':<16}{'neurons':>8}{'circuits':>10}"]
        for name, columns in self.circuits.items():
            rows.append(f"{name:<16}{len(columns):>8}{int(np.count_nonzero(columns >= 0)):>10}")
        rows.append(f"{'projection':<16}{'lines':>8}{'copies':>10}{'delay pairs':>13}")
        for name, lines in self.drivers.items():
            rows.append(
                f"{name:<16}{lines.shape[2]:>8}{self.copies[name]:>10}{self.delay_pairs.get(name, 0):>13}"
            )
        top, bottom = self.drivers_used
        rows += [
            f"circuits      {self.circuits_used} of {2 * CIRCUITS_PER_HALF}",
            f"drivers       {top} and {bottom} of {DRIVERS_PER_HALF} a half (two rows each, shared by address)",
            f"delay pairs   {sum(self.delay_pairs.values())} of {DELAY_PAIRS}",
            f"synapses      {self.synapses:,} of {2 * 256 * 256:,} (both signs)",
        ]
        return "\n".join(rows)


def copies_of(net: Network, copies: Mapping[str, int]) -> dict[str, int]:
    """{projection: synapses in parallel}, from {Input population or projection: number}."""
    found = {p.name: 1 for p in net.projections}
    for name, number in copies.items():
        if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= DRIVERS_PER_HALF:
            raise HardwareError(
                f"copies[{name!r}] is {number!r}; it must be an integer from 1 to {DRIVERS_PER_HALF}."
            )
        meant = [p.name for p in net.projections if name in (p.name, p.pre if p.pre in net.inputs else None)]
        if not meant:
            known = [*net.inputs, *found]
            raise HardwareError(
                f"copies names {name!r}, no Input population or projection: {nearest(name, known)}"
            )
        found |= dict.fromkeys(meant, number)
    return found


def place(net: Network, copies: Mapping[str, int] | None = None) -> BrainScaleS2Placement:
    """Put a network on the chip, population by population, or say what does not fit and by how much.

    Args:
        copies: {Input population or projection: synapses in parallel that make one connection}; 1 unless given.
            The published Yin-Yang nets take 5 for the inputs, because one synapse at 63 is too weak.
    """
    many = copies_of(net, copies or {})
    pairs = {
        p.name: many[p.name] * net.populations[p.pre].size
        for p in net.projections
        if p.delay_kind is not None
    }
    _check_delays(net, pairs)
    columns_used = [0, 0]
    circuits = {
        name: _place_population(net, name, many, columns_used)
        for name, population in net.populations.items()
        if population.kind != "input"
    }
    drivers = {p.name: np.full((2, many[p.name], net.populations[p.pre].size), -1) for p in net.projections}
    for name, columns in circuits.items():
        _lay_lines([p for p in net.projections if p.post == name], columns, drivers)
    _check_addresses(drivers)
    needed, free = 2 * sum(pairs.values()), 2 * CIRCUITS_PER_HALF - sum(columns_used)
    if needed > free:
        raise HardwareError(
            f"the delays of {list(pairs)!r} take {needed // 2} pairs of circuits, but {free} of the chip's "
            f"{2 * CIRCUITS_PER_HALF} circuits are left. Use fewer delayed lines, copies or neurons."
        )
    synapses = 2 * sum(_connections(net, p) * many[p.name] for p in net.projections)
    return BrainScaleS2Placement(circuits, drivers, many, pairs, synapses)


def _check_delays(net: Network, pairs: Mapping[str, int]) -> None:
    for p in net.projections:
        if p.delay_kind not in (None, "axonal"):
            raise HardwareError(
                f'projection {p.name!r} has {p.delay_kind} delays; the chip delays whole lines: delay_kind="axonal". '
                "To study what the chip can't do, use BrainScaleS2(resources=False)."
            )
    if sum(pairs.values()) > DELAY_PAIRS:
        raise HardwareError(
            f"the delays of {dict(pairs)!r} take {sum(pairs.values())} delay neurons; there are {DELAY_PAIRS}. "
            "Use fewer delayed lines or copies."
        )


def _connections(net: Network, p: Projection) -> int:
    shape = p.shapes(net.populations[p.pre].size, net.populations[p.post].size)["weight"]
    return int(np.prod(shape))


def _place_population(net: Network, name: str, many: Mapping[str, int], used: list[int]) -> Ints:
    size = net.populations[name].size
    fan_in = sum(many[p.name] * net.populations[p.pre].size for p in net.projections if p.post == name)
    if fan_in > 2 * DRIVERS_PER_HALF:
        raise HardwareError(
            f"population {name!r} hears {fan_in} signed lines; a neuron of two merged circuits sees "
            f"{2 * DRIVERS_PER_HALF} (one circuit: {DRIVERS_PER_HALF}). Use fewer inputs or copies."
        )
    merged = fan_in > DRIVERS_PER_HALF
    free = [CIRCUITS_PER_HALF - n for n in used]
    if size > (min(free) if merged else sum(free)):
        raise HardwareError(
            f"population {name!r} needs {size} circuits{' of each half' if merged else ''}, for its neurons hear "
            f"{fan_in} signed lines each (one circuit sees {DRIVERS_PER_HALF}); of the {CIRCUITS_PER_HALF} of each "
            f"half, {free[0]} and {free[1]} are left. Use fewer neurons{', inputs or copies' if merged else ''}."
        )
    columns = np.full((size, 2), -1)
    first = size if merged else min(size, free[0])
    parts = (slice(0, first), slice(0, size) if merged else slice(first, size))
    for half, part in enumerate(parts):
        n = part.stop - part.start
        columns[part, half] = used[half] + np.arange(n)
        used[half] += n
    return columns


def _lay_lines(incoming: list[Projection], columns: Ints, drivers: dict[str, Ints]) -> None:
    """Lines of a population one after the other; those of merged neurons go on in the other half."""
    halves = [bool((columns[:, half] >= 0).any()) for half in (0, 1)]
    merged = bool((columns >= 0).all())
    line = 0
    for p in incoming:
        lines = drivers[p.name]
        n = lines[0].size
        at = line + np.arange(n)
        for half in (0, 1):
            here = (at // DRIVERS_PER_HALF == half) if merged else np.full(n, halves[half], np.bool_)
            lines[half] = np.where(here, at % DRIVERS_PER_HALF, -1).reshape(lines[half].shape)
        line += n


def _check_addresses(drivers: Mapping[str, Ints]) -> None:
    for half in (0, 1):
        lines = np.concatenate([d[half][d[half] >= 0] for d in drivers.values()])
        if len(lines) and (most := int(np.bincount(lines).max())) > ADDRESSES:
            raise HardwareError(
                f"{most} lines share a driver, which can tell {ADDRESSES} senders apart. Use fewer projections."
            )
