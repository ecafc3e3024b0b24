"""A network written to the chip: rounded weights and delays, and what the circuits make of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...errors import HardwareError
from ...network import Network
from ...parameters import Array
from ...projections import Projection
from .pattern import (
    FixedPattern,
    at_circuits,
    connection_gains,
    mismatched,
    on_connections,
    shifted,
)
from .placement import (
    CIRCUITS_PER_HALF,
    DRIVERS_PER_HALF,
    BrainScaleS2Placement,
    copies_of,
    place,
)

if TYPE_CHECKING:
    from .simulator import BrainScaleS2

Floats = NDArray[np.float64]


class Rounded(NamedTuple):
    """Weights as written: ``codes`` (copies, ...) of every synapse, their ``weight`` in sum, and how many clipped."""

    codes: NDArray[np.int64]
    weight: Floats
    clipped: int


def round_weights(weight: Array, scale: float, bits: int, copies: int) -> Rounded:
    """codes = round(scale w), kept within copies (2**bits - 1), dealt to the copies as evenly as can be.

    The first copies get the larger parts; all have the sign of the weight.
    """
    most = copies * (2**bits - 1)
    wanted = np.rint(weight * scale)
    total = np.clip(wanted, -most, most).astype(np.int64)
    share, left = np.divmod(np.abs(total), copies)
    nth = np.arange(copies).reshape(-1, *([1] * weight.ndim))
    codes = np.sign(total) * (share + (nth < left))
    return Rounded(codes, total / scale, int(np.count_nonzero(total != wanted)))


@dataclass(frozen=True, eq=False)
class Written:
    """Parameters on the chip: ``nominal``, as the host believes them, and ``effective``, as the circuits have them."""

    nominal: dict[str, Array]
    effective: dict[str, Array]
    weights_clipped: int
    delays_clipped: int


class Mapped:
    """One network on one chip.

    Attributes:
        net: the network.
        placement: where it lies.
        packets: by population, the events that one spike of it takes on the input link.
    """

    def __init__(self, sim: BrainScaleS2, net: Network) -> None:
        self.sim, self.net = sim, net
        self.copies = copies_of(net, sim.copies)
        self.placement = place(net, sim.copies) if sim.resources else _wrapped(net, self.copies)
        most = {
            n: max([self.copies[p.name] for p in net.projections if p.pre == n], default=1)
            for n in net.inputs
        }
        self.packets = [most.get(name, 1) for name in net.populations]
        self._pattern = FixedPattern.draw(sim.chip)
        spreads = (sim.neuron_gain_spread, sim.driver_gain_spread, sim.synapse_gain_spread)
        self._gains: dict[str, Floats] = {}
        if any(spreads):
            for p in net.projections:
                dense = connection_gains(self._pattern, self.placement, p, spreads)
                self._gains[p.name] = on_connections(net, p, dense)

    def write(self, params: Mapping[str, Array]) -> Written:
        """Round, clip and distort a dict of parameters."""
        nominal, effective = dict(params), dict(params)
        clipped = [0, 0]
        for p in self.net.projections:
            name = f"{p.name}.weight"
            nominal[name], effective[name], n = self._weights(p, params[name])
            clipped[0] += n
            if p.delay_kind is not None:
                name = f"{p.name}.delay"
                nominal[name], n = self._delays(params[name])
                effective[name] = nominal[name]
                clipped[1] += n
        for name, population in self.net.populations.items():
            if population.kind != "input":
                self._check_refractory(name, params)
                effective |= self._constants(name, params)
        return Written(nominal, effective, clipped[0], clipped[1])

    def threshold_noise(self, params: Mapping[str, Array]) -> list[Floats | None]:
        """By population: the standard deviation of each threshold from trial to trial."""
        return [
            np.ascontiguousarray(self.sim.threshold_noise * self._swing(name, params))
            if population.kind == "lif" and self.sim.threshold_noise
            else None
            for name, population in self.net.populations.items()
        ]

    def _weights(self, p: Projection, weight: Array) -> tuple[Array, Array, int]:
        sim, copies = self.sim, self.copies[p.name]
        gains = self._gains.get(p.name)
        if sim.weight_scale is None:
            if gains is None:
                return weight, weight, 0
            mean = gains.mean(axis=1)
            return weight, np.ascontiguousarray(weight * np.where(weight >= 0.0, mean[0], mean[1])), 0
        codes, nominal, clipped = round_weights(weight, sim.weight_scale, sim.weight_bits, copies)
        if gains is None:
            return nominal, nominal, clipped
        felt = codes * np.where(codes >= 0, gains[0], gains[1])
        return nominal, np.ascontiguousarray(felt.sum(axis=0) / sim.weight_scale), clipped

    def _delays(self, delay: Array) -> tuple[Array, int]:
        sim, clipped = self.sim, 0
        if sim.delay_range is not None:
            low, high = sim.delay_range
            clipped = int(np.count_nonzero((delay < low) | (delay > high)))
            delay = np.clip(delay, low, high)
        if sim.delay_step:
            delay = np.rint(delay / sim.delay_step) * sim.delay_step
        return np.ascontiguousarray(delay), clipped

    def _swing(self, name: str, params: Mapping[str, Array]) -> Array:
        return params[f"{name}.v_th"] - params[f"{name}.v_reset"]

    def _constants(self, name: str, params: Mapping[str, Array]) -> dict[str, Array]:
        sim, circuits = self.sim, self.placement.circuits[name]
        x = {c: at_circuits(values, circuits) for c, values in self._pattern.constants.items()}
        found: dict[str, Array] = {}
        for constant, spread in (("tau_mem", sim.tau_mem_spread), ("tau_syn", sim.tau_syn_spread)):
            if spread:
                key = f"{name}.{constant}"
                found[key] = mismatched(params[key], x[constant], spread)
        if self.net.populations[name].kind != "lif":
            return found
        swing = self._swing(name, params)
        for constant, offset, spread in (
            ("v_th", sim.threshold_offset, sim.threshold_spread),
            ("v_reset", 0.0, sim.reset_spread),
        ):
            if offset or spread:
                key = f"{name}.{constant}"
                found[key] = shifted(params[key], swing, x[constant], offset, spread)
        return found

    def _check_refractory(self, name: str, params: Mapping[str, Array]) -> None:
        limits = self.sim.refractory_range
        if limits is None or self.net.populations[name].kind != "lif":
            return
        t_ref = params[f"{name}.t_ref"]
        bad = np.flatnonzero(~((t_ref >= limits[0]) & (t_ref <= limits[1])))
        if len(bad):
            raise HardwareError(
                f"{name}.t_ref[{bad[0]}] is {t_ref[bad[0]]:g} ms ({len(bad)} such neurons); the chip's counter holds "
                f"{limits[0]:g} to {limits[1]:g} us. Set t_ref within, or refractory_range=None: no counter at all."
            )


def _wrapped(net: Network, copies: Mapping[str, int]) -> BrainScaleS2Placement:
    """Circuits and lines counted through, around one half of the chip as often as need be."""
    circuits, drivers, column, line = {}, {}, 0, 0
    for name, population in net.populations.items():
        if population.kind != "input":
            at = (column + np.arange(population.size)) % CIRCUITS_PER_HALF
            circuits[name] = np.stack([at, np.full(population.size, -1)], axis=1)
            column += population.size
    for p in net.projections:
        n = copies[p.name] * net.populations[p.pre].size
        at = (line + np.arange(n)) % DRIVERS_PER_HALF
        drivers[p.name] = np.stack([at, np.full(n, -1)]).reshape(2, copies[p.name], -1)
        line += n
    return BrainScaleS2Placement(circuits, drivers, copies, {}, 0)
