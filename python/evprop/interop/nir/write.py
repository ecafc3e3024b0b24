"""`to_nir`: a network and its parameters as a graph of NIR's own nodes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

import nir
import numpy as np
from numpy.typing import NDArray

from ...errors import NetworkError
from ...network import Network
from ...parameters import Array
from ...projections import Projection

METADATA = "evprop"
MS = 1000.0

Floats = NDArray[np.float64]


def to_nir(net: Network, params: Mapping[str, Array], *, max_delays: int = 16) -> nir.NIRGraph:
    """The network as a NIR graph, for `nir.write` and every reader of NIR.

    Populations become Input, CubaLIF and CubaLI nodes of their own names, projections Linear nodes, axonal and
    dendritic delays Delay nodes before and after them. Delays at each synapse have no primitive: they become one branch
    of Delay and Linear for each distinct value.

    Args:
        max_delays: the most distinct values of the delays of one synaptic projection.

    Raises:
        NetworkError: for what NIR cannot say: refractory times, first voltages, synaptic delays of too many values.
    """
    arrays = {name: np.asarray(array, dtype=np.float64) for name, array in params.items()}
    net.layout.collect(arrays, "float64")
    nodes, edges = graph_parts(net, arrays, max_delays)
    return nir.NIRGraph(nodes=nodes, edges=edges, metadata=_metadata(net, params))


def graph_parts(
    net: Network, arrays: Mapping[str, Floats], max_delays: int
) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Nodes and edges, without metadata."""
    nodes: dict[str, Any] = {name: _population(net, name, arrays) for name in net.populations}
    edges: list[tuple[str, str]] = []
    for projection in net.projections:
        for part, chain in _branches(net, projection, arrays, max_delays):
            names = [f"{projection.name}{part}{suffix}" for suffix in chain]
            for label, node in zip(names, chain.values(), strict=True):
                if label in nodes:
                    raise NetworkError(f"two nodes would be called {label!r}; rename projection {projection.name!r}.")
                nodes[label] = node
            path = [projection.pre, *names, projection.post]
            edges += pairwise(path)
    for name in net.outputs:
        label = f"{name}_out"
        while label in nodes:
            label += "_"
        nodes[label] = nir.Output(np.array([net.populations[name].size]))
        edges.append((name, label))
    return nodes, edges


def _population(net: Network, name: str, arrays: Mapping[str, Floats]) -> Any:
    population = net.populations[name]
    if population.kind == "input":
        return nir.Input(np.array([population.size]))

    def value(kind: str) -> Floats:
        return arrays[f"{name}.{kind}"].copy()

    for kind, meaning in (("t_ref", "refractory time"), ("v_init", "first voltage other than 0")):
        values = arrays.get(f"{name}.{kind}")
        if values is not None and values.any():
            k = int(np.flatnonzero(values)[0])
            raise NetworkError(f"{name}.{kind}[{k}] is {values[k]:g}; NIR has no {meaning}. Set it to 0 to export.")
    tau_syn = value("tau_syn") / MS
    common = {
        "tau_syn": tau_syn,
        "tau_mem": value("tau_mem") / MS,
        "r": np.ones(population.size),
        "v_leak": value("i_bias"),
        "w_in": tau_syn.copy(),
    }
    if population.kind == "li":
        return nir.CubaLI(**common)
    return nir.CubaLIF(**common, v_threshold=value("v_th"), v_reset=value("v_reset"))


def _branches(
    net: Network, projection: Projection, arrays: Mapping[str, Floats], max_delays: int
) -> Iterator[tuple[str, dict[str, Any]]]:
    """(suffix of the branch, {suffix of the node: node, in the order of the signal}) of one projection."""
    weight = dense(net, projection, arrays[f"{projection.name}.weight"])
    if projection.delay_kind is None:
        yield "", {"": nir.Linear(weight.T.copy())}
        return
    delay = arrays[f"{projection.name}.delay"]
    if projection.delay_kind == "axonal":
        yield "", {"_delay": nir.Delay(delay.ravel() / MS), "": nir.Linear(weight.T.copy())}
        return
    if projection.delay_kind == "dendritic":
        yield "", {"": nir.Linear(weight.T.copy()), "_delay": nir.Delay(delay.ravel() / MS)}
        return
    values = np.unique(delay)
    if len(values) > max_delays:
        raise NetworkError(
            f"projection {projection.name!r} has delays of {len(values)} distinct values at its synapses, and NIR has "
            f"no delay per synapse: each value would take a branch of its own (max_delays={max_delays}). Use axonal or "
            "dendritic delays, round them to fewer values, or raise max_delays."
        )
    table = dense(net, projection, delay)
    for k, d in enumerate(values):
        here = np.where(table == d, weight, 0.0)
        yield f"_{k}", {"_delay": nir.Delay(np.full(len(weight), d / MS)), "": nir.Linear(here.T.copy())}


def dense(net: Network, projection: Projection, values: Floats) -> Floats:
    """Values of each connection as a matrix (pre, post): 0 where a sparse projection has none."""
    pattern = projection.structure()
    if pattern is None:
        return values
    indptr, indices = pattern
    matrix = np.zeros((net.populations[projection.pre].size, net.populations[projection.post].size))
    rows = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    matrix[rows, indices] = values
    return matrix


def _metadata(net: Network, params: Mapping[str, Array]) -> dict[str, Any]:
    """Our own description and values, in types that NIR's files can hold."""
    tensors: dict[str, Any] = {}
    described = net.to_dict(tensors)
    return {
        METADATA: json.dumps(described),
        **{f"{METADATA} tensor {name}": np.asarray(array) for name, array in tensors.items()},
        **{f"{METADATA} parameter {name}": np.asarray(array) for name, array in params.items()},
    }
