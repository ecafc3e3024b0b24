"""The graph taken apart: subgraphs laid flat, and the ways from one neuron to the next through what has no state."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import nir
import numpy as np
from numpy.typing import NDArray

from ...errors import NetworkError

Floats = NDArray[np.float64]
NEURONS = (nir.CubaLIF, nir.CubaLI)
STATELESS = (nir.Linear, nir.Affine, nir.Scale, nir.Delay, nir.Flatten)


class Wire:
    """The Input or Output of a subgraph, which only hands on."""


@dataclass(frozen=True)
class Path:
    """One way between two populations: gain and delay (s) before the matrix, the matrix, gain and delay after it.

    Without a matrix (``weight`` None) the two populations are connected one to one. ``via`` names the nodes passed.
    """

    source: str
    target: str = ""
    weight: Floats | None = None
    gains: tuple[Floats, Floats] = (np.ones(1), np.ones(1))
    delays: tuple[Floats | None, Floats | None] = (None, None)
    via: tuple[str, ...] = ()


def flatten(graph: Any, prefix: str = "") -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Nodes and edges with all subgraphs put in place; the nodes of subgraph "a" are called "a.node"."""
    nodes: dict[str, Any] = {}
    edges: list[tuple[str, str]] = []
    ends: dict[str, tuple[list[str], list[str]]] = {}
    for name, node in graph.nodes.items():
        label = f"{prefix}{name}"
        if not isinstance(node, nir.NIRGraph):
            nodes[label] = Wire() if prefix and isinstance(node, nir.Input | nir.Output) else node
            ends[name] = ([label], [label])
            continue
        inner, inner_edges = flatten(node, f"{label}.")
        nodes |= inner
        edges += inner_edges
        ends[name] = ([f"{label}.{n}" for n in node.inputs], [f"{label}.{n}" for n in node.outputs])
    for a, b in graph.edges:
        for end in (a, b):
            if end not in ends:
                raise NetworkError(f"the graph has an edge to {prefix}{end!r}, which is no node of it.")
        if len(ends[a][1]) != 1 or len(ends[b][0]) != 1:
            raise NetworkError(
                f"the edge {prefix}{a!r} -> {prefix}{b!r} joins subgraphs with several inputs or outputs; "
                "which one is meant is not clear."
            )
        edges.append((ends[a][1][0], ends[b][0][0]))
    return nodes, edges


def paths(nodes: Mapping[str, Any], edges: list[tuple[str, str]]) -> Iterator[Path]:
    """Every way from a source to a neuron, in the order of the edges."""
    onwards: dict[str, list[str]] = {name: [] for name in nodes}
    for a, b in edges:
        onwards[a].append(b)
    for name, node in nodes.items():
        if isinstance(node, nir.Input | nir.CubaLIF):
            yield from _walk(nodes, onwards, Path(name), name)
        elif isinstance(node, nir.CubaLI):
            behind = [b for b in onwards[name] if not isinstance(nodes[b], nir.Output | Wire)]
            if behind:
                raise NetworkError(
                    f"node {name!r} is a CubaLI and feeds {behind[0]!r} with a voltage; in evprop only spikes go on."
                )


def _walk(nodes: Mapping[str, Any], onwards: Mapping[str, list[str]], path: Path, at: str) -> Iterator[Path]:
    for name in onwards[at]:
        node = nodes[name]
        if isinstance(node, NEURONS):
            yield replace(path, target=name)
        elif isinstance(node, nir.Output):
            if any(not isinstance(nodes[passed], Wire) for passed in path.via):
                raise NetworkError(
                    f"output {name!r} reads node {path.via[-1]!r}; evprop reads populations: put a CubaLI behind it."
                )
        elif name in path.via:
            raise NetworkError(f"node {name!r} lies on a loop without a neuron.")
        else:
            yield from _walk(nodes, onwards, _through(path, name, node), name)


def _through(path: Path, name: str, node: Any) -> Path:
    """The path with one more node on it."""
    passed = replace(path, via=(*path.via, name))
    if isinstance(node, Wire):
        return passed
    if isinstance(node, nir.Linear | nir.Affine):
        if path.weight is not None:
            raise NetworkError(f"node {name!r} follows another matrix; multiply the two into one node.")
        if isinstance(node, nir.Affine) and np.any(np.asarray(node.bias)):
            raise NetworkError(
                f"node {name!r} has a bias: a constant current through the synapse, which evprop has not. Fold it into "
                "v_leak of the neurons behind it (i_bias), or train without it."
            )
        weight = array(node.weight)
        if weight.ndim != 2:
            raise NetworkError(f"node {name!r} has weights of shape {weight.shape}; evprop takes one matrix.")
        return replace(passed, weight=weight)
    side = 0 if path.weight is None else 1
    if isinstance(node, nir.Scale):
        gains = list(path.gains)
        gains[side] = gains[side] * array(node.scale)
        return replace(passed, gains=(gains[0], gains[1]))
    if isinstance(node, nir.Delay):
        delays = list(path.delays)
        known = delays[side]
        delays[side] = array(node.delay) if known is None else known + array(node.delay)
        return replace(passed, delays=(delays[0], delays[1]))
    if isinstance(node, nir.Flatten):
        return passed
    raise NetworkError(f"node {name!r} is a {type(node).__name__}, which evprop cannot express.")


def array(values: Any) -> Floats:
    """As float64; a float32 tensor of torch is widened, which loses nothing."""
    return np.asarray(values, dtype=np.float64)
