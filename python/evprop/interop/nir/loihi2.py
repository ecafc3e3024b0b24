"""Programs for Loihi 2 to NIR and back, in the chip's own integers.

    v_threshold = vth           weight = what arrives for one spike        (weight units: u and v over 64)
    tau = -dt / ln(1 - d/4096)  d: the decay register                      delay = steps dt           (s)
    r = 1 / kappa(dt)           v_leak = (bias / 64) 4096 / d_v            w_in = tau_syn

kappa(dt) (hardware/loihi2/decays.py) is the voltage that a current of 1 has brought about after a step, where the chip
adds the whole current: so between two steps the graph does in continuous time what the chip does, but for the
rounding of u and v. Populations that never fire become CubaLI nodes. A connection with delays becomes one branch of
Delay and Linear for each distinct delay; without delays it is one Linear node. The metadata hold dt (ms) and the
format's version.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path as FilePath
from typing import Any

import nir
import numpy as np
from numpy.typing import NDArray

from ...errors import EvpropError, HardwareError
from ...files import write_atomically
from ...hardware import Loihi2Connection, Loihi2Population, Loihi2Program
from ...hardware.loihi2.decays import FULL, kappa
from ...hardware.loihi2.quantise import check_dt
from ...hardware.loihi2.registers import MAX_EXPONENT, MAX_MANTISSA, NEVER, PLACES
from .paths import NEURONS, STATELESS, Floats, Path, Wire, array, flatten, paths
from .write import MS

Ints = NDArray[np.int64]

VERSION = 1
KEY_VERSION, KEY_DT = "evprop loihi2 version", "evprop loihi2 dt (ms)"
NEAR = 1e-6
"""How far from an integer a number may lie that is one but for rounding in its last places."""


# -- writing -------------------------------------------------------------------------------------------------


def save_nir(path: str | os.PathLike[str], program: Loihi2Program, *, dt: float) -> None:
    """Write a program as a NIR file, whole or not at all; ``dt``: ms. See `program_to_nir`."""
    image = io.BytesIO()
    nir.write(image, program_to_nir(program, dt=dt))
    write_atomically(path, image.getvalue())


def program_to_nir(program: Loihi2Program, *, dt: float) -> nir.NIRGraph:
    """A program as a graph of NIR's own nodes; ``dt``: ms.

    Raises:
        HardwareError: what NIR cannot say (states to start from, periodic resets, no decay or a whole one), with the
            population and the remedy.
    """
    step = check_dt(dt)
    nodes: dict[str, Any] = {name: nir.Input(np.array([n])) for name, n in program.inputs.items()}
    nodes |= {name: _neurons(name, p, step) for name, p in program.populations.items()}
    edges: list[tuple[str, str]] = []
    for k, connection in enumerate(program.connections):
        for part, chain in _branches(program, k, step):
            names = [_free(f"{connection.source}_{connection.target}{part}{suffix}", nodes) for suffix in chain]
            nodes |= dict(zip(names, chain.values(), strict=True))
            edges += pairwise([connection.source, *names, connection.target])
    senders = {c.source for c in program.connections if c.source != c.target}
    for name in [name for name in program.populations if name not in senders] or list(program.populations):
        label = _free(f"{name}_out", nodes)
        nodes[label] = nir.Output(np.array([program.populations[name].n]))
        edges.append((name, label))
    return nir.NIRGraph(nodes=nodes, edges=edges, metadata={KEY_VERSION: str(VERSION), KEY_DT: repr(step)})


def _free(name: str, taken: Mapping[str, Any]) -> str:
    while name in taken:
        name += "_"
    return name


def _neurons(name: str, population: Loihi2Population, dt: float) -> Any:
    for what in ("u0", "v0"):
        if getattr(population, what).any():
            raise HardwareError(f"{name}: {what} is not 0; NIR has no initial state. Start from 0 (v_init = 0).")
    if population.reset_interval is not None:
        raise HardwareError(f"{name}: NIR has no periodic reset. Leave it out of the program.")
    syn, mem = population.du.astype(np.int64) + 1, population.dv.astype(np.int64)
    _check_decays(name, syn, mem)
    tau_syn, tau_mem = (-dt / np.log1p(-decay / FULL) for decay in (syn, mem))
    common = {
        "tau_syn": tau_syn / MS,
        "tau_mem": tau_mem / MS,
        "r": 1.0 / _kappas(dt, tau_mem, tau_syn),
        "v_leak": _bias(population) / PLACES * FULL / mem,
        "w_in": tau_syn / MS,
    }
    if (population.vth >= NEVER).all():
        return nir.CubaLI(**common)
    return nir.CubaLIF(**common, v_threshold=population.vth.astype(np.float64), v_reset=np.zeros(population.n))


def _check_decays(name: str, syn: Ints, mem: Ints) -> None:
    for what, decay in (("current", syn), ("voltage", mem)):
        if (bad := np.flatnonzero((decay < 1) | (decay >= FULL))).size:
            raise HardwareError(
                f"{name}, neuron {bad[0]}: the {what}'s decay is {decay[bad[0]]}/{FULL}; no finite time constant above "
                f"0 says that. Use 1 to {FULL - 1}."
            )


def _kappas(dt: float, tau_mem: Floats, tau_syn: Floats) -> Floats:
    pairs = zip(tau_mem.tolist(), tau_syn.tolist(), strict=True)
    return np.array([kappa(dt, *pair) for pair in pairs])


def _bias(population: Loihi2Population) -> Ints:
    """What is added to v in each step."""
    mantissa, exponent = population.bias_mant.astype(np.int64), population.bias_exp.astype(np.int64)
    shifted: Ints = np.where(exponent >= 0, mantissa << np.maximum(exponent, 0), mantissa >> np.maximum(-exponent, 0))
    return shifted


def _branches(program: Loihi2Program, k: int, dt: float) -> Iterator[tuple[str, dict[str, Any]]]:
    """(suffix of the branch, {suffix of the node: node, in the order of the signal}) of one connection."""
    weights, connection = program.received(k).astype(np.float64), program.connections[k]
    if not connection.delays.any():
        yield "", {"": nir.Linear(weights.T.copy())}
        return
    delays = np.broadcast_to(connection.delays, weights.shape)
    for steps in np.unique(delays):
        here = np.where(delays == steps, weights, 0.0)
        late = nir.Delay(np.full(len(weights), steps * dt / MS))
        yield f"_{steps}", {"_delay": late, "": nir.Linear(here.T.copy())}


# -- reading -------------------------------------------------------------------------------------------------


def load_nir(
    path: str | os.PathLike[str], *, dt: float | None = None, graded_input: bool = True
) -> Loihi2Program:
    """Read a NIR file as a program; see `program_from_nir`.

    Raises:
        HardwareError: besides, no such file, or a damaged one.
    """
    name = os.fspath(path)
    if not FilePath(name).is_file():
        raise HardwareError(f"{name}: no such file.")
    try:
        graph = nir.read(name)
    except Exception as error:  # nir lets through whatever h5py, NumPy or its own nodes raise
        raise HardwareError(f"{name} is no NIR file or is damaged: {error}") from error
    try:
        return program_from_nir(graph, dt=dt, graded_input=graded_input)
    except EvpropError as error:
        raise HardwareError(f"{name}: {error}") from error


def program_from_nir(
    graph: nir.NIRGraph, *, dt: float | None = None, graded_input: bool = True
) -> Loihi2Program:
    """The program of a graph in the chip's integers: of `program_to_nir`, or of any tool that writes such numbers.

    Branches of distinct delays between two populations become one connection again. What ``from_nir`` reads (any
    network) and `quantise` makes of it is another way, for graphs of other numbers.

    Args:
        dt: ms; that of the metadata unless given.
        graded_input: whether input spikes carry payloads, which NIR has no words for.

    Raises:
        HardwareError: another version, or a number that is none of the chip's, with the node and the remedy.
    """
    step = _step(graph.metadata, dt)
    found, edges = flatten(graph)
    # files keep the order of edges, not that of nodes
    nodes = {name: found[name] for name in dict.fromkeys([*(end for edge in edges for end in edge), *found])}
    for name, node in nodes.items():
        if not isinstance(node, (*NEURONS, *STATELESS, nir.Input, nir.Output, Wire)):
            raise HardwareError(f"node {name!r} is a {type(node).__name__}, which the chip's model has not.")
    inputs = {n: int(np.prod(v.input_type["input"])) for n, v in nodes.items() if isinstance(v, nir.Input)}
    populations = {name: _population(name, v, step) for name, v in nodes.items() if isinstance(v, NEURONS)}
    made: dict[tuple[str, str], list[tuple[Ints, Ints]]] = {}
    for path in paths(nodes, edges):
        sizes = [inputs[n] if n in inputs else populations[n].n for n in (path.source, path.target)]
        _merge(made.setdefault((path.source, path.target), []), *_synapses(path, nodes[path.target], sizes, step))
    connections = [
        _connection(*ends, weights, delays, graded=graded_input and ends[0] in inputs)
        for ends, parts in made.items()
        for weights, delays in parts
    ]
    return Loihi2Program(inputs, populations, connections)


def _step(metadata: Mapping[str, Any], dt: float | None) -> float:
    def text(key: str) -> str:
        found = metadata[key]
        return found.decode() if isinstance(found, bytes) else str(found)

    if KEY_VERSION in metadata and text(KEY_VERSION) != str(VERSION):
        raise HardwareError(
            f"written by another version (format {text(KEY_VERSION)}; this one reads {VERSION}). Update evprop."
        )
    if dt is None and KEY_DT not in metadata:
        raise HardwareError("the graph does not say how long the chip's step is: give dt=... in ms.")
    return check_dt(float(text(KEY_DT)) if dt is None else dt)


def _integers(values: Floats, what: str) -> Ints:
    rounded = np.rint(values)
    far = np.abs(values - rounded) > NEAR * np.maximum(1.0, np.abs(values))
    if not np.isfinite(values).all() or far.any():
        bad = values[~np.isfinite(values) | far].flat[0]
        raise HardwareError(
            f"{what} of {bad:.9g} is no whole number of the chip's units. Give the dt that the graph was written for, "
            "or read any network by from_nir and make integers of it by quantise."
        )
    return rounded.astype(np.int64)


def _population(name: str, node: Any, dt: float) -> Loihi2Population:
    taus = [np.atleast_1d(array(values)) * MS for values in (node.tau_syn, node.tau_mem)]
    syn, mem = (_integers(-FULL * np.expm1(-dt / tau), f"{name}: a decay (in {FULL}ths)") for tau in taus)
    _check_decays(name, syn, mem)
    bias = _integers(array(node.v_leak) * PLACES * mem / FULL, f"{name}: a bias (in {PLACES}ths)")
    exponent = next((e for e in range(MAX_EXPONENT, -1, -1) if not (bias & (1 << e) - 1).any()), 0)
    if np.abs(bias >> exponent).max(initial=0) > MAX_MANTISSA:
        raise HardwareError(f"{name}: a bias of {np.abs(bias).max()} a step; 13 bits and an exponent do not hold it.")
    vth: Ints | int = NEVER
    if isinstance(node, nir.CubaLIF):
        if np.any(array(node.v_reset)):
            raise HardwareError(f"{name}: v_reset is not 0; the chip resets to 0. Shift all voltages.")
        vth = _integers(np.broadcast_to(array(node.v_threshold), mem.shape), f"{name}: a threshold")
    return Loihi2Population(len(mem), syn - 1, mem, vth, bias_mant=bias >> exponent, bias_exp=exponent)


def _synapses(path: Path, node: Any, sizes: list[int], dt: float) -> tuple[Ints, Ints]:
    """(weights, delays in steps) of one branch, each (n_source, n_target)."""
    label = f"{path.source} -> {path.target}"
    matrix = np.eye(sizes[0]) if path.weight is None else path.weight.T
    if matrix.shape != (sizes[0], sizes[1]):
        raise HardwareError(f"{label}: a matrix of {matrix.T.shape}; {(sizes[1], sizes[0])} is needed.")
    taus = [np.atleast_1d(array(values)) * MS for values in (node.tau_mem, node.tau_syn)]
    worth = array(node.r) * array(node.w_in) * MS / taus[1] * _kappas(dt, *taus)
    gains = (np.broadcast_to(path.gains[0], (sizes[0],)), np.broadcast_to(path.gains[1] * worth, (sizes[1],)))
    weights = _integers(matrix * gains[0][:, None] * gains[1], f"{label}: a weight")
    before, after = (np.zeros(1) if d is None else np.atleast_1d(d) * MS / dt for d in path.delays)
    late = _integers(before[:, None] + after, f"{label}: a delay (in steps)")
    return weights, np.broadcast_to(late, weights.shape)


def _merge(parts: list[tuple[Ints, Ints]], weights: Ints, delays: Ints) -> None:
    """Put a branch among those known, where its synapses are free."""
    mine = weights != 0
    for k, (known, late) in enumerate(parts):
        if not (mine & (known != 0)).any():
            parts[k] = (known + weights, np.where(mine, delays, late))
            return
    parts.append((weights, np.where(mine, delays, 0)))


def _connection(source: str, target: str, weights: Ints, delays: Ints, *, graded: bool) -> Loihi2Connection:
    """With the fewest bits that hold the weights; what arrives is the weight itself."""
    union = int(np.bitwise_or.reduce(np.abs(weights), axis=None))
    exponent = max((union & -union).bit_length() - 1, 0)
    levels = weights >> exponent
    low, high = int(levels.min(initial=0)), int(levels.max(initial=0))
    mixed = low < 0 < high
    bits = max(1, high.bit_length(), (-low - mixed).bit_length()) + mixed
    if bits > 8:
        raise HardwareError(
            f"{source} -> {target}: weights from {weights.min()} to {weights.max()} need {bits} bits; 8 are held."
        )
    spare = 8 - bits + mixed
    return Loihi2Connection(
        *(source, target, (levels << spare).astype(np.int32)),
        delays=delays.astype(np.int32) if delays.any() else 0,
        weight_exp=exponent - spare,
        num_weight_bits=bits,
        sign_mode="mixed" if mixed else "inhibitory" if low < 0 else "excitatory",
        graded=graded,
    )
