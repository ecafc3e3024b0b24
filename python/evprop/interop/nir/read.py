"""`from_nir`: a NIR graph as a network and its parameters.

Every way from a source (an Input or a spiking node) through linear nodes, delays and scales to a neuron node becomes
one projection. What evprop cannot express is refused by the name of its node.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

import nir
import numpy as np

from ...errors import EvpropError, NetworkError, ParameterError
from ...network import Network
from ...parameters import Array
from ...populations import LI, LIF, Input, Population
from ...projections import Dense, Projection, Sparse
from .paths import NEURONS, STATELESS, Floats, Path, Wire, array, flatten, paths
from .write import METADATA, MS, graph_parts


def from_nir(
    graph: nir.NIRGraph, *, spike_area: float | str = 1.0, metadata: bool = True
) -> tuple[Network, dict[str, Array]]:
    """The network of a NIR graph and its parameters (float64, or as they were written by `to_nir`).

    Args:
        graph: as `nir.read` returns it, or any tool makes it.
        spike_area: what one spike is worth at a synapse, in s. 1.0: a Dirac pulse, by the letter of NIR's equations.
            The time step of a simulator whose spikes last one step (snnTorch's exporter writes for 1e-4). "jump": a
            spike adds w_in times its weight to the current, whatever tau_syn (Norse's LIFCell).
        metadata: take our own values from a graph that `to_nir` wrote and nobody changed; False reads NIR's alone.

    Raises:
        NetworkError: for what evprop cannot express, with the name of the node.
    """
    if not isinstance(graph, nir.NIRGraph):
        raise NetworkError(f"graph is {type(graph).__name__}; give a nir.NIRGraph (nir.read reads a file).")
    if spike_area != "jump" and not (isinstance(spike_area, int | float) and 0.0 < spike_area < math.inf):
        raise ParameterError(f'spike_area is {spike_area!r}; it must be > 0 (s), or "jump".')
    if metadata and (own := _own(graph)) is not None:
        return own
    nodes, edges = flatten(graph)
    for name, node in nodes.items():
        if not isinstance(node, (*NEURONS, *STATELESS, nir.Input, nir.Output, Wire)):
            raise NetworkError(f"node {name!r} is a {type(node).__name__}, which evprop cannot express.{_hint(node)}")
    found = list(paths(nodes, edges))
    names = _names(nodes)
    sizes = {name: _size(name, nodes[name], found) for name in names}
    populations = {names[name]: _population(nodes[name], n) for name, n in sizes.items()}
    taken: set[str] = set(populations)
    projections = [_projection(path, nodes, names, sizes, spike_area, taken) for path in found]
    net = Network(populations, projections)
    return net, net.init(seed=0)  # all values are given: nothing is drawn


def _hint(node: Any) -> str:
    if isinstance(node, nir.LIF | nir.LI | nir.IF | nir.I):
        return " Its input acts on the voltage at once; evprop's synapses are exponential (CubaLIF, CubaLI)."
    return ""


def _names(nodes: Mapping[str, Any]) -> dict[str, str]:
    """{node: name of its population}: letters, digits, "_" and "-" only, each once."""
    names: dict[str, str] = {}
    for name, node in nodes.items():
        if isinstance(node, (nir.Input, *NEURONS)):
            names[name] = _free(re.sub(r"[^\w\-]", "_", name), set(names.values()))
    return names


def _free(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    return name


def _size(name: str, node: Any, found: list[Path]) -> int:
    """Units of a population: the shape of its constants, or for one constant for all, what its matrices say."""
    shape = tuple(np.ravel(node.input_type["input"])) if isinstance(node, nir.Input) else array(node.tau_mem).shape
    if isinstance(node, nir.Input):
        if len(shape) != 1:
            raise NetworkError(f"input {name!r} has shape {shape}; evprop's inputs have one dimension.")
        return int(shape[0])
    if len(shape) > 1:
        raise NetworkError(f"node {name!r} has constants of shape {shape}; evprop's populations have one dimension.")
    rows: set[int] = {len(path.weight) for path in found if path.target == name and path.weight is not None}
    rows |= {path.weight.shape[1] for path in found if path.source == name and path.weight is not None}
    if shape and (shape[0] > 1 or not rows):
        rows.add(shape[0])
    if len(rows) != 1:
        raise NetworkError(f"the size of node {name!r} is not clear: its constants and matrices say {sorted(rows)}.")
    return rows.pop()


def _population(node: Any, size: int) -> Population:
    if isinstance(node, nir.Input):
        return Input(size)

    def each(values: Any, factor: float = 1.0) -> Floats:
        return np.broadcast_to(array(values).ravel(), (size,)) * factor

    common: dict[str, Any] = {
        "tau_mem": each(node.tau_mem, MS),
        "tau_syn": each(node.tau_syn, MS),
        "i_bias": each(node.v_leak),
    }
    if isinstance(node, nir.CubaLI):
        return LI(size, **common)
    return LIF(size, **common, v_th=each(node.v_threshold), v_reset=each(node.v_reset))


def _projection(
    path: Path,
    nodes: Mapping[str, Any],
    names: Mapping[str, str],
    sizes: Mapping[str, int],
    spike_area: float | str,
    taken: set[str],
) -> Projection:
    n_pre, n_post = sizes[path.source], sizes[path.target]
    matrices = [name for name in path.via if isinstance(nodes[name], nir.Linear | nir.Affine)]
    name = re.sub(r"[^\w\-]", "_", matrices[0]) if matrices else f"{names[path.source]}_{names[path.target]}"
    name = _free(name, taken)
    taken.add(name)
    factor = _factor(nodes[path.target], spike_area)
    before, after = np.broadcast_to(path.gains[0], (n_pre,)), np.broadcast_to(path.gains[1] * factor, (n_post,))
    given = {"name": name, **_delay(path, n_pre, n_post)}
    pre, post = names[path.source], names[path.target]
    if path.weight is None:
        if n_pre != n_post:
            raise NetworkError(f"{path.source!r} ({n_pre}) reaches {path.target!r} ({n_post}) without a matrix.")
        return Sparse(pre, post, weight=before * after, mask=np.eye(n_pre, dtype=bool), **given)
    if path.weight.shape != (n_post, n_pre):
        raise NetworkError(
            f"node {matrices[0]!r} has shape {path.weight.shape}; between {path.source!r} and {path.target!r} it must "
            f"be {(n_post, n_pre)}."
        )
    return Dense(pre, post, weight=path.weight.T * before[:, None] * after[None, :], **given)


def _factor(neuron: Any, spike_area: float | str) -> Floats:
    """What a spike of weight 1 adds to the current in evprop's units, for each neuron."""
    r, w_in, tau_syn = array(neuron.r), array(neuron.w_in), array(neuron.tau_syn)
    return r * w_in if spike_area == "jump" else r * (w_in * float(spike_area) / tau_syn)


def _delay(path: Path, n_pre: int, n_post: int) -> dict[str, Any]:
    before, after = path.delays
    if before is None and after is None:
        return {}
    if path.weight is None:  # one to one: sender and receiver have the same number
        total = sum((d for d in (before, after) if d is not None), np.zeros(n_pre))
        return {"delay": total[:, None] * MS, "delay_kind": "axonal"}
    if after is None:
        return {"delay": np.broadcast_to(array(before), (n_pre,))[:, None] * MS, "delay_kind": "axonal"}
    if before is None:
        return {"delay": np.broadcast_to(array(after), (n_post,))[None, :] * MS, "delay_kind": "dendritic"}
    return {"delay": (before[:, None] + after[None, :]) * MS, "delay_kind": "synaptic"}


def _own(graph: nir.NIRGraph) -> tuple[Network, dict[str, Array]] | None:
    """The network that `to_nir` put into the metadata, if the graph is still what that network becomes."""
    kept = graph.metadata
    if METADATA not in kept:
        return None

    def part(kind: str) -> dict[str, Array]:
        start = f"{METADATA} {kind} "
        return {key.removeprefix(start): np.array(kept[key]) for key in kept if key.startswith(start)}

    text = kept[METADATA]
    try:
        described = json.loads(text.decode() if isinstance(text, bytes) else text)
        net = Network.from_dict(described, part("tensor"))
        given = part("parameter")
        params = {name: given[name] for name in net.parameter_names}
        widened = {name: value.astype(np.float64) for name, value in params.items()}
        nodes, edges = graph_parts(net, widened, max_delays=2**63)
    except (EvpropError, KeyError, ValueError) as error:
        raise NetworkError(
            f"evprop's metadata of this graph is damaged: {error} Read it by from_nir(graph, metadata=False)."
        ) from error
    unchanged = set(edges) == {tuple(edge) for edge in graph.edges} and _same(nodes, graph.nodes)
    return (net, params) if unchanged else None


def _same(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> bool:
    """Whether the nodes agree in name, type and every value, bit for bit."""
    if set(ours) != set(theirs):
        return False
    for name, node in ours.items():
        mine, other = node.to_dict(), theirs[name].to_dict()
        for described in (mine, other):
            described.pop("metadata", None)
        if mine.keys() != other.keys():
            return False
        for key, value in mine.items():
            if not np.array_equal(np.asarray(value), np.asarray(other[key])):
                return False
    return True
