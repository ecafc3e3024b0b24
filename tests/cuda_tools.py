"""What the tests of the GPU backend share: a network, its passes, and comparisons."""

from __future__ import annotations

from typing import Any

import numpy as np

import evprop
from evprop import _core
from evprop.readouts import WeightedIntegral
from strategies import Problem


def simulate(problem: Problem, dtype: str, device: str, **readouts: Any) -> evprop.Record:
    params = {name: np.ascontiguousarray(value, dtype=dtype) for name, value in problem.params.items()}
    simulator = evprop.Exact(dtype=dtype, max_spikes=3000, device=device)
    return evprop.simulate(
        problem.net, params, problem.spikes, duration=problem.duration, simulator=simulator, **readouts
    )


def trains(record: evprop.Record) -> list[tuple[Any, np.ndarray]]:
    """Unit by unit: rounding may swap two units that fire at nearly one instant."""
    found = []
    for name, spikes in record.spikes.items():
        for b in range(len(spikes)):
            times, units = spikes[b]
            order = np.lexsort((times, units))
            found.append(((name, b, units[order].tolist()), times[order]))
    return found


def same_counts(expected: evprop.Record, found: evprop.Record) -> bool:
    return all(x[0] == y[0] for x, y in zip(trains(expected), trains(found), strict=True))


def close(a: np.ndarray, b: np.ndarray, share: float, what: str) -> None:
    size = max(float(np.abs(a).max(initial=0.0)), 1.0)
    assert a.shape == b.shape, what
    assert np.abs(a - b).max(initial=0.0) <= share * size, what


def cotangents(record: evprop.Record, seed: int) -> tuple[dict[str, Any], dict[str, Any]]:
    rng = np.random.default_rng(seed)
    net = record.network
    times = {
        name: rng.normal(size=len(record.spikes[name].times))
        for name, p in net.populations.items()
        if p.kind == "lif"
    }
    values = {name: [rng.normal(size=y.shape) for y in record.readout[name]] for name in record.readouts}
    return times, values


def reorder(a: evprop.Record, b: evprop.Record, given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The cotangents of a's spikes in b's order."""
    out = {}
    for name, g in given.items():
        x, y = a.spikes[name], b.spikes[name]
        to = np.empty_like(g)
        to[np.lexsort((y.times, y.units, y.samples))] = g[np.lexsort((x.times, x.units, x.samples))]
        out[name] = to
    return out


def example(seed: int, *, delay_kind: str | None = "synaptic", n: int = 20, t_ref: float = 0.0) -> Problem:
    """Twelve inputs, n recurrent neurons, three that integrate; three samples."""
    rng = np.random.default_rng(seed)
    shape = {None: None, "axonal": (-1, 1), "dendritic": (1, -1), "synaptic": (-1, -1)}[delay_kind]

    def dense(pre: str, post: str, sizes: tuple[int, int], low: float, high: float) -> evprop.Dense:
        given: dict[str, Any] = {"weight": rng.uniform(low, high, sizes)}
        if shape is not None:
            delays = tuple(s if d < 0 else 1 for s, d in zip(sizes, shape, strict=True))
            given |= {"delay": rng.uniform(0.0, 12.0, delays), "delay_kind": delay_kind}
        return evprop.Dense(pre, post, **given)

    net = evprop.Network(
        {
            "input": evprop.Input(12),
            "hidden": evprop.LIF(n, tau_mem=20.0, tau_syn=rng.uniform(4.0, 12.0, n), t_ref=t_ref),
            "output": evprop.LI(3, tau_mem=15.0, tau_syn=5.0),
        },
        [
            dense("input", "hidden", (12, n), -0.3, 1.2),
            dense("hidden", "hidden", (n, n), -0.2, 0.15),
            dense("hidden", "output", (n, 3), -1.0, 1.0),
        ],
    )
    samples = [(np.sort(rng.uniform(0.0, 100.0, k)), rng.integers(0, 12, k)) for k in (60, 0, 120)]
    return Problem(net, net.init(0), evprop.Spikes.from_lists(samples, n_units=12), 100.0)


def raw_gradients(problem: Problem, given: tuple[Any, ...], limit: float | None = None) -> list[np.ndarray]:
    """Forward and backward with sizes of the launches as given."""
    net = problem.net
    arrays = net.layout.arrays(problem.params, "float64")
    inputs = [(problem.spikes.times, problem.spikes.units, problem.spikes.offsets)]
    specs = [(net.index["output"], WeightedIntegral(50.0).spec(problem.duration))]
    record = _core.simulate(
        net.core, arrays, inputs, problem.duration, specs, "float64", 10_000, None, 0, given
    )
    g = np.ones(record.readout(0).shape)
    times = np.ones(len(record.spikes(1)[0]))
    wrt = [True] * len(arrays)
    grads, at_inputs, _ = _core.backward(
        net.core, arrays, inputs, record, [None, times, None], [g], wrt, True, 1.0, limit, None, given
    )
    assert at_inputs is not None
    return [*record.spikes(1), record.readout(0), *[x for x in grads if x is not None], *at_inputs]
