"""From evprop's descriptions to this simulator's own. Duck-typed: reads attributes, imports nothing of the package."""

from __future__ import annotations

from typing import Any

import numpy as np

from .model import Model, Population, Projection


def from_network(net: Any) -> Model:
    populations = [Population(name, p.kind, p.size) for name, p in net.populations.items()]
    projections = []
    for p in net.projections:
        csr = p.structure()
        sparse = None if csr is None else (csr[0].tolist(), csr[1].tolist())
        projections.append(Projection(p.name, p.pre, p.post, p.delay_kind, sparse, p.self_connections))
    return Model(populations, projections)


def sample_inputs(net: Any, spikes: Any, sample: int = 0) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """{"input": (times, units)} of one sample of one Spikes, or of a dict of them."""
    by_name = spikes if isinstance(spikes, dict) else {net.inputs[0]: spikes}
    return {
        name: (s[sample][0].astype(np.float64), s[sample][1].astype(np.int64)) for name, s in by_name.items()
    }


def doubled(params: Any) -> dict[str, np.ndarray]:
    """The same numbers in float64 (exact for float32 values)."""
    return {name: np.asarray(value, dtype=np.float64) for name, value in params.items()}
