"""What the slow simulator simulates: populations, projections, and directions to differentiate along.

Parameters live in one dict of arrays under the names "population.constant", "projection.weight" and
"projection.delay": weights (pre, post), or (nnz,) for a sparse projection in CSR order; delays axonal (pre, 1),
dendritic (1, post), synaptic as the weights. Times ms.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

LIF_CONSTANTS = ("tau_mem", "tau_syn", "v_th", "v_reset", "i_bias", "v_init", "t_ref")
LI_CONSTANTS = ("tau_mem", "tau_syn", "i_bias", "v_init")
CONSTANTS: dict[str, tuple[str, ...]] = {"input": (), "lif": LIF_CONSTANTS, "li": LI_CONSTANTS}

Index = tuple[int, ...]


@dataclass(frozen=True)
class Population:
    name: str
    kind: str  # "input", "lif" or "li"
    size: int


@dataclass(frozen=True)
class Projection:
    name: str
    pre: str
    post: str
    delay_kind: str | None = None  # None, "axonal", "dendritic" or "synaptic"
    sparse: tuple[Sequence[int], Sequence[int]] | None = None  # (indptr, indices), rows are senders
    self_connections: bool = True

    def fan_out(self, unit: int, n_post: int) -> list[tuple[int, Index, Index | None]]:
        """(receiver, index of the weight, index of the delay) of every connection that leaves `unit`."""
        reached: list[tuple[int, Index, Index | None]] = []
        if self.sparse is None:
            for i in range(n_post):
                if self.pre == self.post and not self.self_connections and i == unit:
                    continue
                reached.append((i, (unit, i), self._delay_index(unit, i, (unit, i))))
        else:
            indptr, indices = self.sparse
            for k in range(int(indptr[unit]), int(indptr[unit + 1])):
                i = int(indices[k])
                reached.append((i, (k,), self._delay_index(unit, i, (k,))))
        return reached

    def _delay_index(self, j: int, i: int, synapse: Index) -> Index | None:
        return {None: None, "axonal": (j, 0), "dendritic": (0, i), "synaptic": synapse}[self.delay_kind]


@dataclass(frozen=True)
class Model:
    populations: Sequence[Population]
    projections: Sequence[Projection]

    def population(self, name: str) -> Population:
        return next(p for p in self.populations if p.name == name)

    def parameter_names(self) -> list[str]:
        names = [f"{p.name}.{c}" for p in self.populations for c in CONSTANTS[p.kind]]
        for p in self.projections:
            names += [f"{p.name}.weight"] + ([f"{p.name}.delay"] if p.delay_kind else [])
        return names


@dataclass
class Directions:
    """Tangents of parameters and input times along `count` directions at once.

    values["hidden.tau_mem"] has the parameter's shape and one more axis of length count; input_times["input"] has
    shape (spikes of the sample, count). What is absent does not move. `noise`, if given, draws for every spike of the
    run a vector (count,) that is added to the tangent of its time: how much an error made at a spike grows later.
    """

    count: int
    values: dict[str, np.ndarray] = field(default_factory=dict)
    input_times: dict[str, np.ndarray] = field(default_factory=dict)
    noise: Any = None
    columns: dict[str, tuple[slice, Index]] = field(default_factory=dict)  # where a name's columns lie

    def of(self, name: str, index: Index) -> np.ndarray | float:
        """The tangent (count,) of one number, or 0."""
        array = self.values.get(name)
        return 0 if array is None else array[index]

    def of_input(self, population: str, spike: int) -> np.ndarray | float:
        array = self.input_times.get(population)
        return 0 if array is None else array[spike]

    def gradient(self, name: str, along: np.ndarray) -> np.ndarray:
        """The columns of `along` (count,) that belong to `name`, in the shape of that parameter."""
        columns, shape = self.columns[name]
        return along[columns].reshape(shape)


def unit_directions(
    params: Mapping[str, np.ndarray],
    inputs: Mapping[str, tuple[np.ndarray, np.ndarray]],
    names: Sequence[str],
) -> Directions:
    """One direction for every number of the parameters in `names`; "input_times:POPULATION" names the input times."""
    shapes: dict[str, Index] = {}
    for name in names:
        if name.startswith("input_times:"):
            shapes[name] = (len(inputs[name.partition(":")[2]][0]),)
        else:
            shapes[name] = tuple(np.shape(params[name]))
    directions = Directions(count=sum(int(np.prod(s)) for s in shapes.values()))
    start = 0
    for name, shape in shapes.items():
        size = int(np.prod(shape))
        tangent = np.zeros((size, directions.count))
        tangent[np.arange(size), start + np.arange(size)] = 1.0
        if name.startswith("input_times:"):
            directions.input_times[name.partition(":")[2]] = tangent
        else:
            directions.values[name] = tangent.reshape((*shape, directions.count))
        directions.columns[name] = (slice(start, start + size), shape)
        start += size
    return directions
