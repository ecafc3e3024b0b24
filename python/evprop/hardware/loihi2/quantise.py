"""A network and its parameters in the chip's integers.

What is asked for (tau, weights, thresholds, delays in ms) becomes registers. What the registers amount to is kept
beside them in the network's own units, so that the two can be compared and gradients taken there.

    decays      of u and v, from tau_syn, tau_mem and dt. Weights make up for what rounding does to the peak of a
                spike's voltage: that of the decays, and that of u and v towards 0 in every step      decays.py
    scales      of weights, thresholds and biases, one for each population                            scales.py
    delays      round(d/dt) steps from inputs, round(d/dt - 1/2), at least 0, from neurons: a spike is seen at the end
                of the step in which the threshold is crossed, half a step late on average            synapses.py
    weights     level 2^(9 - B) (both signs) or level 2^(8 - B) (one sign), and the exponent that takes the factor out
                again: what arrives is the level itself, with nothing to round, in every emulator alike
"""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...errors import HardwareError, nearest
from ...network import Network
from ...parameters import Array
from ...projections import Projection
from ...record import params_dtype
from .program import Loihi2Connection, Loihi2Population, Loihi2Program
from .registers import MAX_EXPONENT, Cell, Step
from .report import PopulationReport, ProjectionReport, QuantisationReport
from .scales import Chosen, Floats, Levels, check_rule, choose
from .synapses import connect

ScaleGiven = str | Mapping[str, float]

DECAY_TOLERANCE = 0.05
MAX_COARSER = 7
"""8 bits and a sign hold levels of 2 bits times 2^7."""


@dataclass(frozen=True, eq=False)
class Quantised:
    """What `quantise` makes.

    Attributes:
        program: `Loihi2Program`: to be run, placed, costed or written to a file.
        report: `QuantisationReport`: what was lost on the way; ``print`` it.
        params: what the program holds, in the network's own units and shapes: a network with these parameters does in
            continuous time, between the steps, what the chip does.
        scales: {population: chip units (v / 64) for one unit of V; projection: the same over 2^j, and times what its
            weights shall be multiplied by}, see scales.py.
        dt: ms.
    """

    program: Loihi2Program
    report: QuantisationReport
    params: dict[str, Array]
    scales: dict[str, float]
    dt: float


def quantise(
    net: Network,
    params: Mapping[str, Array],
    *,
    dt: float,
    num_weight_bits: int = 8,
    scale: ScaleGiven = "max",
    clip_delays: bool = False,
    bias_exp: int | None = None,
    decay_tolerance: float = DECAY_TOLERANCE,
) -> Quantised:
    """A network in the chip's integers.

    Args:
        dt: ms, the chip's time step.
        num_weight_bits: 2 to 8.
        scale: a rule, "percentile" or "max" (scales.py), or numbers as in ``Quantised.scales``: one for each
            population, and for projections that shall have coarser steps.
        clip_delays: shorten delays beyond 62 steps and count them in the report; else they are an error.
        bias_exp: exponent of the biases, 0 to 7; the finest that holds them unless given. NetX files have 6 only.
        decay_tolerance: the largest relative error of a time constant.

    Raises:
        HardwareError: what the chip cannot hold, with the population or projection, the number and the remedy.
    """
    step = Step(
        check_dt(dt), check_bits(num_weight_bits), bool(clip_delays), check_exponent(bias_exp), float(decay_tolerance)
    )
    dtype = params_dtype(net, params)
    net.layout.collect(params, dtype)
    wide: dict[str, Floats] = {name: np.asarray(array, np.float64) for name, array in params.items()}
    known = _check_scales(net, scale)
    held: dict[str, Floats] = {}
    populations: dict[str, Loihi2Population] = {}
    connections: list[Loihi2Connection] = []
    rows: list[PopulationReport] = []
    links: list[ProjectionReport] = []
    scales: dict[str, float] = {}
    for name, population in net.populations.items():
        if population.kind == "input":
            continue
        cell = Cell.of(name, population, wide, step)
        incoming = [p for p in net.projections if p.post == name]
        chosen = _chosen(incoming, cell, wide, known, step)
        scales[name] = chosen.scale
        populations[name], constants, row = cell.registers(wide, chosen.scale, chosen.bound, step)
        rows.append(row)
        held |= constants
        every = [wide[f"{p.name}.weight"].ravel() for p in incoming]
        levels = Levels.of(np.concatenate(every) if every else np.empty(0), step.bits)
        for projection in incoming:
            factor = known.get(projection.name, chosen.factor) if isinstance(known, Mapping) else chosen.factor
            scales[projection.name] = factor
            weight, delay = wide[f"{projection.name}.weight"], wide.get(f"{projection.name}.delay")
            connection, kept, link = connect(net, projection, weight, delay, cell, levels, (chosen.scale, factor), step)
            connections.append(connection)
            links.append(link)
            held[f"{projection.name}.weight"] = kept.weight
            if kept.delay is not None:
                held[f"{projection.name}.delay"] = kept.delay
    program = Loihi2Program({n: net.populations[n].size for n in net.inputs}, populations, connections)
    report = QuantisationReport(step.dt, step.bits, tuple(rows), tuple(links), tuple(program.warnings()))
    return Quantised(
        program, report, {name: held[name].astype(dtype) for name in net.layout.names}, scales, step.dt
    )


def _chosen(
    incoming: Sequence[Projection],
    cell: Cell,
    wide: Mapping[str, Floats],
    known: str | Mapping[str, float],
    step: Step,
) -> Chosen:
    if not isinstance(known, str):
        scale = known[cell.name]
        return Chosen(scale, "given", scale)
    weights, above, below = gather(incoming, cell, wide)
    room = cell.room(wide, above, below)
    first = choose(known, weights, step.bits, room)
    # what makes up for rounding depends on the scale; then the largest weight must fit again
    return choose(known, [w * cell.lift(w, first.scale) for w in weights], step.bits, room)


def gather(
    incoming: Sequence[Projection], cell: Cell, wide: Mapping[str, Floats]
) -> tuple[list[Floats], Floats, Floats]:
    """Weights as they add to v, projection by projection; each neuron's sums of positive and of |negative| weights."""
    weights, above, below = [], np.zeros(cell.size), np.zeros(cell.size)
    for p in incoming:
        weight = wide[f"{p.name}.weight"]
        weights.append(weight * cell.boost * cell.gain)
        pattern = p.structure()
        if pattern is None:
            above += np.maximum(weight, 0.0).sum(axis=0)
            below -= np.minimum(weight, 0.0).sum(axis=0)
        else:
            above += np.bincount(pattern[1], np.maximum(weight, 0.0), cell.size)
            below -= np.bincount(pattern[1], np.minimum(weight, 0.0), cell.size)
    return weights, above, below


def check_dt(dt: float) -> float:
    """A time step in ms, > 0."""
    try:
        value = float(dt)
    except (TypeError, ValueError):
        raise HardwareError(f"dt is {dt!r}; it must be a number of ms.") from None
    if not 0.0 < value < math.inf:
        raise HardwareError(f"dt is {dt!r} ms; it must be finite and > 0.")
    return value


def check_bits(bits: int) -> int:
    """2 to 8."""
    try:
        value = operator.index(bits)
    except TypeError:
        raise HardwareError(f"num_weight_bits is {bits!r}; it must be an integer from 2 to 8.") from None
    if not 2 <= value <= 8:
        raise HardwareError(f"num_weight_bits is {value}; weights have 2 to 8 bits.")
    return value


def check_exponent(exponent: int | None) -> int | None:
    """0 to 7, or None."""
    if exponent is None:
        return None
    try:
        value = operator.index(exponent)
    except TypeError:
        raise HardwareError(f"bias_exp is {exponent!r}; it must be an integer, or None.") from None
    if not 0 <= value <= MAX_EXPONENT:
        raise HardwareError(f"bias_exp is {value}; the register holds 0 to {MAX_EXPONENT}.")
    return value


def _check_scales(net: Network, scale: ScaleGiven) -> str | Mapping[str, float]:
    if not isinstance(scale, Mapping):
        return check_rule(scale)
    neurons = [name for name, p in net.populations.items() if p.kind != "input"]
    target = {p.name: p.post for p in net.projections}
    for name in scale:
        if name not in neurons and name not in target:
            raise HardwareError(f"scale names {name!r}: {nearest(name, [*neurons, *target])}")
    for name in neurons:
        if name not in scale:
            raise HardwareError(f"scale lacks the population {name!r}; give one for each of {neurons}.")
    found = {name: float(value) for name, value in scale.items()}
    for name, value in found.items():
        if not 0.0 < value < math.inf:
            raise HardwareError(f"the scale of {name!r} is {scale[name]!r}; it must be finite and > 0.")
        if name in target and not 0 <= round(math.log2(found[target[name]] / value)) <= MAX_COARSER:
            raise HardwareError(
                f"the scale of {name!r} is {value:g}, that of {target[name]!r} {found[target[name]]:g}; it must be "
                f"smaller by a power of two up to 2^{MAX_COARSER}, but for a small factor that multiplies the weights."
            )
    return found
