"""What Loihi 2 is loaded with, in the chip's integers, and the bit-exact model that runs it.

The arithmetic is that of Lava's fixed-point models (lava-nc 0.10.0: PyLifModelBitAcc, PyLifResetModelBitAcc,
PyDenseModelBitAcc, PyDelayDenseModelBitAcc and their sparse twins), stated in rust/evprop/src/hardware/loihi2.rs.
It is software's definition of the chip; strict runs name every place where the chip may differ from it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ... import _core
from ...errors import HardwareError, ShapeError, nearest

Ints = NDArray[np.int32]

MAX_DELAY = 63
SIGN_MODES = (None, "mixed", "excitatory", "inhibitory")
ALARMS = ("accumulator", "current_wrap", "voltage_clip")
"""What a strict run reports: a step's input beyond 16 bits, u wrapped at 24 bits, v clipped at 24 bits."""

DEFAULT_ALARMS = 1000


@dataclass(frozen=True, eq=False)
class Loihi2Population:
    """Current-based LIF neurons in the chip's registers; each constant is an integer, or one per neuron.

    Args:
        n: the number of neurons.
        du: decay of the current, -1 to 4095 (the decay is (du + 1) / 4096; -1: none).
        dv: decay of the voltage, 0 to 4096.
        vth: threshold in weight units; v is compared with vth * 64. At 2**17 and above no neuron ever fires.
        bias_mant, bias_exp: bias_mant * 2**bias_exp is added to v in each step (rounded down), in units of 1/64.
        u0, v0: state before the first step.
        reset_interval, reset_offset: u = v = 0 before the step t = 1, 2, ... where t % interval == offset % interval.
    """

    n: int
    du: Any
    dv: Any
    vth: Any
    bias_mant: Any = 0
    bias_exp: Any = 0
    u0: Any = 0
    v0: Any = 0
    reset_interval: int | None = None
    reset_offset: int = 0

    def __post_init__(self) -> None:
        for name in _CONSTANTS:
            values = _integers(getattr(self, name), f"{name}")
            if values.shape not in ((), (self.n,)):
                raise ShapeError(f"{name} has shape {values.shape}; give one integer, or {self.n}, one per neuron.")
            object.__setattr__(self, name, np.ascontiguousarray(np.broadcast_to(values, (self.n,))))


_CONSTANTS = ("du", "dv", "vth", "bias_mant", "bias_exp", "u0", "v0")


@dataclass(frozen=True, eq=False)
class Loihi2Connection:
    """Synapses between an input or a population and a population.

    Args:
        source, target: names.
        weights: (n_source, n_target) integers as given to the connection: clipped and truncated as the chip does.
        delays: 0 to 63 steps, a number or (n_source, n_target); lava-dl clips to 62.
        weight_exp: the sum over the spikes of one step is shifted by this.
        num_weight_bits: 1 to 8.
        sign_mode: "mixed", "excitatory", "inhibitory", or None: what the weights are.
        graded: whether spikes carry a payload that multiplies the weights; else any payload counts as 1.
        sparse: keep only the synapses where this (n_source, n_target) mask is true; None keeps all.
    """

    source: str
    target: str
    weights: Any
    delays: Any = 0
    weight_exp: int = 0
    num_weight_bits: int = 8
    sign_mode: str | None = None
    graded: bool = False
    sparse: Any = None

    def __post_init__(self) -> None:
        weights = _integers(self.weights, f"weights of {self.name}")
        delays = _integers(self.delays, f"delays of {self.name}")
        if weights.ndim != 2:
            raise ShapeError(f"weights of {self.name} have shape {weights.shape}; (n_source, n_target) is needed.")
        if delays.shape not in ((), weights.shape):
            raise ShapeError(f"delays of {self.name} have shape {delays.shape}; a number or {weights.shape} is needed.")
        if delays.size and not 0 <= delays.min() <= delays.max() <= MAX_DELAY:
            raise HardwareError(
                f"delays of {self.name} lie in {delays.min()} to {delays.max()} steps; the chip has 0 to {MAX_DELAY}. "
                "Use a larger dt or shorter delays."
            )
        if self.sign_mode not in SIGN_MODES:
            raise HardwareError(f"sign_mode is {self.sign_mode!r}: {nearest(self.sign_mode, SIGN_MODES[1:])}")
        if self.sparse is not None:
            mask = np.asarray(self.sparse, dtype=bool)
            if mask.shape != weights.shape:
                raise ShapeError(f"sparse of {self.name} has shape {mask.shape}; {weights.shape} is needed.")
            object.__setattr__(self, "sparse", mask)
        object.__setattr__(self, "weights", weights)
        object.__setattr__(self, "delays", delays)

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"{self.source} -> {self.target}"

    def _core(self, sources: Mapping[str, tuple[bool, int]], targets: Mapping[str, int]) -> tuple[Any, ...]:
        mask = np.ones(self.weights.shape, bool) if self.sparse is None else self.sparse
        rows, columns = np.nonzero(mask)
        starts = np.concatenate([[0], np.cumsum(mask.sum(axis=1))]).astype(np.int64)
        delays = np.ascontiguousarray(np.broadcast_to(self.delays, mask.shape)[rows, columns].astype(np.uint8))
        arrays = [starts, columns.astype(np.uint32), np.ascontiguousarray(self.weights[rows, columns])]
        if self.source not in sources:
            raise HardwareError(f"connection {self.name} starts at {self.source!r}: {nearest(self.source, sources)}")
        if self.target not in targets:
            raise HardwareError(f"connection {self.name} ends at {self.target!r}: {nearest(self.target, targets)}")
        mode = SIGN_MODES.index(self.sign_mode)
        precision = (int(self.num_weight_bits), int(self.weight_exp))
        return (
            *(self.name, sources[self.source], targets[self.target], arrays),
            *(delays if delays.any() else None, precision, mode, bool(self.graded)),
        )


class Alarm(NamedTuple):
    """A place where the chip may differ from the model: ``value`` did not fit."""

    kind: str
    sample: int
    population: str
    neuron: int
    step: int
    value: int


@dataclass(frozen=True, eq=False)
class Loihi2Run:
    """What a run leaves behind.

    Attributes:
        steps, units, offsets: {population: arrays}: row (from 0) and neuron of each spike, CSR by sample.
        currents: {population: u of that neuron in that row, for each spike}.
        u, v: {population: (batch, n_steps, n)} after each step, for the populations traced.
        alarms: the first places where the chip may differ (strict runs), by sample and step.
        alarm_counts: {kind: how many places in all}.
    """

    steps: Mapping[str, NDArray[np.uint32]]
    units: Mapping[str, NDArray[np.uint32]]
    offsets: Mapping[str, NDArray[np.int64]]
    currents: Mapping[str, NDArray[np.int64]]
    u: Mapping[str, NDArray[np.int64]]
    v: Mapping[str, Ints]
    alarms: tuple[Alarm, ...]
    alarm_counts: Mapping[str, int]

    def raster(self, population: str, sample: int, n_steps: int, n: int) -> NDArray[np.int8]:
        """(n_steps, n): 1 where a neuron of the population spiked."""
        a, b = self.offsets[population][sample : sample + 2]
        dense = np.zeros((n_steps, n), np.int8)
        dense[self.steps[population][a:b], self.units[population][a:b]] = 1
        return dense


class Loihi2Program:
    """Inputs, populations and connections in the chip's integers.

    Args:
        inputs: {name: size}.
        populations: {name: Loihi2Population}.
        connections: Loihi2Connection, in any order (what arrives in a step is summed).
    """

    def __init__(
        self,
        inputs: Mapping[str, int],
        populations: Mapping[str, Loihi2Population],
        connections: Sequence[Loihi2Connection],
    ) -> None:
        self.inputs = dict(inputs)
        self.populations = dict(populations)
        self.connections = tuple(connections)
        if both := self.inputs.keys() & self.populations.keys():
            raise HardwareError(f"{sorted(both)[0]!r} names an input and a population; rename one.")
        sources = {name: (True, k) for k, name in enumerate(self.inputs)}
        sources |= {name: (False, k) for k, name in enumerate(self.populations)}
        targets = {name: k for k, name in enumerate(self.populations)}
        sizes = self.inputs | {name: p.n for name, p in self.populations.items()}
        given = [c._core(sources, targets) for c in self.connections]
        for c in self.connections:
            if c.weights.shape != (sizes[c.source], sizes[c.target]):
                raise ShapeError(
                    f"weights of {c.name} have shape {c.weights.shape}; "
                    f"({sizes[c.source]}, {sizes[c.target]}) is needed."
                )
        self._core = _core.CoreLoihi2(
            list(self.inputs.values()),
            [
                (
                    name,
                    [getattr(p, constant) for constant in _CONSTANTS],
                    None if p.reset_interval is None else (int(p.reset_interval), int(p.reset_offset)),
                )
                for name, p in self.populations.items()
            ],
            given,
        )

    def effective_weights(self, k: int) -> Ints:
        """(n_source, n_target): weights of connection k after clipping and truncation; 0 where there is no synapse."""
        connection = self.connections[k]
        dense: Ints = np.zeros(connection.weights.shape, np.int32)
        mask = np.ones(dense.shape, bool) if connection.sparse is None else connection.sparse
        dense[mask] = self._core.effective(k)
        return dense

    def received(self, k: int) -> Ints:
        """(n_source, n_target): what arrives over connection k for one spike, in whole weight units."""
        connection = self.connections[k]
        exact = np.ldexp(self.effective_weights(k).astype(np.float64), connection.weight_exp)
        whole = exact.astype(np.int32)
        if (whole != exact).any():
            raise HardwareError(
                f"{connection.name}: weight_exp = {connection.weight_exp} leaves fractions of a weight, which files "
                "cannot hold. Give weights that are multiples of 2^-weight_exp."
            )
        return whole

    def warnings(self) -> list[str]:
        """Registers beyond the chip's ranges, which Lava's models accept: strict mode's static half."""
        found = []
        for name, p in self.populations.items():
            for what, low, high in (
                ("vth", 0, 2**17 - 1),
                ("bias_mant", -(2**12), 2**12 - 1),
                ("bias_exp", 0, 7),
                ("du", 0, 4095),
                ("dv", 0, 4095),
            ):
                values = getattr(p, what)
                for k in np.flatnonzero((values < low) | (values > high))[:1]:
                    never = what == "vth" and values[k] > high
                    meant = " (it never fires, as a leaky integrator should)" if never else ""
                    found.append(f"{name}: {what}[{k}] is {values[k]}; the register holds {low} to {high}{meant}")
        for c in self.connections:
            if c.delays.size and c.delays.max() > 62:
                found.append(f"{c.name}: a delay of {c.delays.max()} steps; lava-dl and the chip's tools stop at 62")
        return found

    def run(
        self,
        inputs: Mapping[str, tuple[ArrayLike, ...]],
        n_steps: int,
        *,
        trace: Sequence[str] = (),
        strict: bool = False,
        max_alarms: int = DEFAULT_ALARMS,
    ) -> Loihi2Run:
        """Run a batch.

        Args:
            inputs: {input: (steps, units, offsets) or (steps, units, offsets, payloads)}, CSR by sample, sorted by step
                and unit within each sample, none twice.
            n_steps: rows to run.
            trace: populations whose u and v are kept for every step.
            strict: look for places where the chip may differ; keeps the first ``max_alarms``.
        """
        for name in trace:
            if name not in self.populations:
                raise HardwareError(f"trace names {name!r}: {nearest(name, self.populations)}")
        given = []
        for name in self.inputs:
            if name not in inputs:
                raise HardwareError(f"inputs lacks {name!r}; give (steps, units, offsets).")
            parts = inputs[name]
            kinds = (np.uint32, np.uint32, np.int64, np.int32)
            arrays = [
                _as(a, kind, f"{what} of {name!r}")
                for a, kind, what in zip(parts, kinds, ("steps", "units", "offsets", "payloads"), strict=False)
            ]
            given.append(tuple(arrays) if len(arrays) == 4 else (*arrays, None))
        names = list(self.populations)
        out = self._core.run(given, int(n_steps), [n in trace for n in names], int(max_alarms) if strict else None)
        traces = {name: t for name, t in zip(names, out["traces"], strict=True) if t is not None}
        return Loihi2Run(
            steps={name: s[0] for name, s in zip(names, out["spikes"], strict=True)},
            units={name: s[1] for name, s in zip(names, out["spikes"], strict=True)},
            offsets={name: s[2] for name, s in zip(names, out["spikes"], strict=True)},
            currents={name: s[3] for name, s in zip(names, out["spikes"], strict=True)},
            u={name: t[0] for name, t in traces.items()},
            v={name: t[1] for name, t in traces.items()},
            alarms=tuple(Alarm(ALARMS[a[0]], a[1], names[a[2]], *a[3:]) for a in out["alarms"]),
            alarm_counts=dict(zip(ALARMS, out["counts"], strict=True)),
        )


def _integers(values: Any, label: str) -> Ints:
    array = np.asarray(values)
    if array.dtype.kind not in "iu":
        raise HardwareError(f"{label}: dtype {array.dtype}; the chip's numbers are integers: round them yourself.")
    return _as(array, np.int32, label)


def _as(values: Any, kind: Any, label: str) -> NDArray[Any]:
    array = np.asarray(values)
    limits = np.iinfo(kind)
    if array.dtype.kind not in "iu" and array.size:
        raise HardwareError(f"{label}: dtype {array.dtype}; integers are needed.")
    if array.size and not limits.min <= int(array.min()) <= int(array.max()) <= limits.max:
        raise HardwareError(
            f"{label} lie in {array.min()} to {array.max()}; {limits.min} to {limits.max} can be held."
        )
    return np.asarray(array, dtype=kind, order="C")
