"""evprop networks under NeuroBench's own harness, and the same numbers counted from events.

NeuroBench (Yik et al. 2025) measures torch modules by hooks and steps in time. `Model` runs the network in evprop, puts
the spikes into bins of ``dt`` and plays them through a shadow: one nn.Linear per projection, which sees the spikes of
its senders, and one tap per LIF population, whose output are its spikes. So the harness counts

    Effective_ACs        connections reached by a spike, zero weights left out, per sample
    Dense                all connections times the number of bins, per sample          (grows as dt shrinks)
    ActivationSparsity   1 - spikes / (neurons x bins), inputs left out                (grows as dt shrinks)

Several spikes of a unit in one bin count once, or the harness would call them MACs. So always say dt. `report` counts
the same from the events, without torch and without bins of memory, and adds what needs no dt. MembraneUpdates and
NeuronOperations are those of snnTorch's modules, which change at every step: the harness finds none here and says 0.
`StateUpdates` is the metric for the harness that says what there is instead: a neuron's state is computed at each
arrival and at each of its own spikes, and at no other time.

The harness takes a DataLoader of tensors: `events` makes them of `Spikes`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ParameterError
from ..losses import Loss
from ..network import Network
from ..parameters import Array, check_duration
from ..projections import Projection
from ..record import Record, SpikesGiven
from ..simulators import Simulator, simulate
from ..spikes import Spikes

try:
    import torch
    from neurobench.metrics.abstract.workload_metric import AccumulatedMetric
    from neurobench.models import NeuroBenchModel
except ImportError as error:
    from ._extras import missing

    raise missing("neurobench (with PyTorch and snnTorch)", "neurobench") from error

__all__ = ["Model", "StateUpdates", "events", "report"]


def events(spikes: Spikes) -> torch.Tensor:
    """(batch, k, 2) float64: time in ms and unit of each spike; (+inf, -1) behind the last spike of a sample."""
    counts = spikes.counts_per_sample()
    table = np.full((len(spikes), int(counts.max(initial=0)), 2), (math.inf, -1.0))
    samples = spikes.samples
    place = np.arange(spikes.n_spikes) - spikes.offsets[samples]
    table[samples, place] = np.stack([spikes.times, spikes.units.astype(np.float64)], axis=1)
    return torch.from_numpy(table)


def _from_events(table: torch.Tensor, n_units: int) -> Spikes:
    rows = table.numpy()
    present = rows[:, :, 0] != math.inf
    offsets = np.concatenate([[0], np.cumsum(present.sum(axis=1))])
    return Spikes(rows[:, :, 0][present], rows[:, :, 1][present].astype(np.int64), offsets, n_units=n_units)


class Model(NeuroBenchModel):
    """A network as a NeuroBench model: ``Benchmark(Model(...), loader, [], [], metrics).run()``.

    Args:
        network: with one Input population.
        params: its parameters. What training changes counts as parameters, the other constants as buffers.
        loss: decides the class (`Loss.predict`).
        duration: ms, of every sample.
        dt: ms, the length of a bin.
        simulator: `Exact()` unless given.

    A batch is the tensor that `events` makes; the answer is (batch,) int64 classes.
    """

    def __init__(
        self,
        network: Network,
        params: Mapping[str, Array],
        loss: Loss,
        *,
        duration: float,
        dt: float,
        simulator: Simulator | None = None,
    ) -> None:
        super().__init__()
        if len(network.inputs) != 1:
            raise ParameterError(f"NeuroBench takes one input, this network has {len(network.inputs)}.")
        self.network, self.params, self.loss = network, dict(params), loss
        self.duration, self.dt = check_duration(duration), _check_dt(dt)
        self.simulator = simulator
        self._fan_out = _fan_out(network, params)
        self.state_updates = 0  # of the last batch
        self.add_activation_module(_Tap)
        self._shadow = _shadow(network, params)

    def __net__(self) -> torch.nn.Module:
        return self._shadow

    def __call__(self, batch: torch.Tensor) -> torch.Tensor:
        spikes = _from_events(batch, self.network.populations[self.network.inputs[0]].size)
        record = _play(self.network, self.params, spikes, self.loss, self.duration, self.simulator)
        self.state_updates = _synaptic_events(record, self._fan_out) + _own_spikes(record)
        with torch.no_grad():
            for name, part in record.spikes.items():
                raster = torch.from_numpy(_raster(part, self.duration, self.dt))
                if self.network.populations[name].kind == "lif":
                    self._shadow.get_submodule(f"population {name}")(raster)
                for projection in self.network.projections:
                    if projection.pre == name:
                        layer = self._shadow.get_submodule(f"projection {projection.name}")
                        layer(raster.to(layer.weight.dtype))
        return torch.from_numpy(self.loss.predict(record))


class StateUpdates(AccumulatedMetric):
    """A workload metric for the harness: how often a neuron's state is computed, per sample.

    At each arrival through a weight that is not zero and at each own spike: events, which no dt enters. `report` has
    it under "Events".
    """

    def __init__(self) -> None:
        super().__init__(requires_hooks=False)
        self.reset()

    def reset(self) -> None:
        """Begin anew."""
        self._updates = self._samples = 0

    def __call__(self, model: Any, preds: Any, data: Any) -> float:
        self._updates += model.state_updates
        self._samples += len(data[0])
        return self.compute()

    def compute(self) -> float:
        """The mean over the samples so far."""
        return self._updates / self._samples if self._samples else 0.0


class _Tap(torch.nn.Module):
    """Hands on the spikes of a population, so that the harness' hook sees them."""

    def forward(self, spikes: torch.Tensor) -> torch.Tensor:
        return spikes


def _shadow(network: Network, params: Mapping[str, Array]) -> torch.nn.Module:
    shadow = torch.nn.Module()
    learnt = set(network.trainable)
    for name, population in network.populations.items():
        if population.kind != "input":
            module = _Tap() if population.kind == "lif" else torch.nn.Module()
            for kind in population.sources():
                _keep(module, kind, params[f"{name}.{kind}"], f"{name}.{kind}" in learnt)
            shadow.add_module(f"population {name}", module)
    for projection in network.projections:
        weight = _matrix(network, projection, params)
        layer = torch.nn.Linear(*weight.shape, bias=False)
        layer.weight = torch.nn.Parameter(torch.from_numpy(weight.T.copy()), requires_grad=False)
        shadow.add_module(f"projection {projection.name}", layer)
        if projection.delay_kind is not None:
            # beside the layer, not in it: the harness does not count a layer that has children of its own
            delays = torch.nn.Module()
            _keep(delays, "delay", params[f"{projection.name}.delay"], f"{projection.name}.delay" in learnt)
            shadow.add_module(f"delays {projection.name}", delays)
    return shadow


def _keep(module: torch.nn.Module, kind: str, values: Array, learnt: bool) -> None:
    tensor = torch.from_numpy(np.array(values))
    if learnt:
        module.register_parameter(kind, torch.nn.Parameter(tensor, requires_grad=False))
    else:
        module.register_buffer(kind, tensor)


def _matrix(network: Network, projection: Projection, params: Mapping[str, Array]) -> Array:
    """Weights (pre, post); a sparse projection with zeros where it has no connection."""
    weight = np.asarray(params[f"{projection.name}.weight"])
    pattern = projection.structure()
    if pattern is None:
        return weight
    indptr, indices = pattern
    shape = (network.populations[projection.pre].size, network.populations[projection.post].size)
    matrix = np.zeros(shape, weight.dtype)
    matrix[np.repeat(np.arange(len(indptr) - 1), np.diff(indptr)), indices] = weight
    return matrix


def _bins(spikes: Spikes, dt: float, n_bins: int) -> NDArray[np.int64]:
    """The bin of each spike; the end of the trial belongs to the last one."""
    return np.minimum((spikes.times / dt).astype(np.int64), n_bins - 1)


def _raster(spikes: Spikes, duration: float, dt: float) -> NDArray[np.float32]:
    """(batch, bins, n_units): 1 where a unit spiked in a bin."""
    n_bins = math.ceil(duration / dt)
    raster = np.zeros((len(spikes), n_bins, spikes.n_units), np.float32)
    raster[spikes.samples, _bins(spikes, dt, n_bins), spikes.units] = 1.0
    return raster


def report(
    network: Network,
    params: Mapping[str, Array],
    spikes: Spikes,
    labels: Any,
    loss: Loss,
    *,
    duration: float,
    dt: float,
    simulator: Simulator | None = None,
    batch_size: int = 100,
) -> dict[str, Any]:
    """NeuroBench's numbers counted from the events, under its names and by its definitions at bins of ``dt`` ms.

    "Events" holds what needs no dt: per sample the synaptic events (connections reached by a spike, zero weights left
    out, every spike counted), the spikes of all LIF neurons and of the inputs, and the state updates (`StateUpdates`).
    """
    width, n_bins = _check_dt(dt), math.ceil(check_duration(duration) / dt)
    labels = np.asarray(labels)
    fan_out = _fan_out(network, params)
    n_lif = sum(p.size for p in network.populations.values() if p.kind == "lif")
    sums = {"synaptic": 0, "accumulates": 0, "active": 0, "spikes": 0, "inputs": 0, "correct": 0}
    for part, wanted in _parts(spikes, labels, batch_size):
        record = _play(network, params, part, loss, duration, simulator)
        sums["correct"] += int(np.count_nonzero(loss.predict(record) == wanted))
        sums["synaptic"] += _synaptic_events(record, fan_out)
        sums["spikes"] += _own_spikes(record)
        for name, train in record.spikes.items():
            place = (train.samples * n_bins + _bins(train, width, n_bins)) * train.n_units + train.units
            active_units = np.unique(place) % train.n_units
            hidden = network.populations[name].kind == "lif"
            sums["active"] += len(active_units) if hidden else 0
            sums["inputs"] += 0 if hidden else train.n_spikes
            for p in network.projections:
                if p.pre == name:
                    sums["accumulates"] += int(fan_out[p.name][active_units].sum())
    n = len(spikes)
    connections = sum(network.populations[p.pre].size * network.populations[p.post].size for p in network.projections)
    nonzero = sum(int(counts.sum()) for counts in fan_out.values())
    learnt = [p for p in network.layout.parameters if p.kind == "weight" or p.trainable]
    return {
        "Footprint": _footprint(network, params),
        "ParameterCount": sum(_stored(network, p.name, params) for p in learnt),
        "ConnectionSparsity": round((connections - nonzero) / connections, 4),
        "ClassificationAccuracy": sums["correct"] / n,
        "ActivationSparsity": 1.0 - sums["active"] / (n * n_bins * n_lif) if n_lif else 0.0,
        "SynapticOperations": {
            "Effective_MACs": 0.0,
            "Effective_ACs": sums["accumulates"] / n,
            "Dense": float(connections * n_bins),
        },
        "dt": width,
        "Events": {
            "synaptic_events": sums["synaptic"] / n,
            "spikes": sums["spikes"] / n,
            "input_spikes": sums["inputs"] / n,
            "state_updates": (sums["synaptic"] + sums["spikes"]) / n,
        },
    }


def _fan_out(network: Network, params: Mapping[str, Array]) -> dict[str, NDArray[np.int64]]:
    """{projection: (n_pre,) weights of each sender that are not zero}."""
    found = {p.name: np.count_nonzero(_matrix(network, p, params), axis=1) for p in network.projections}
    return {name: np.asarray(counts, np.int64) for name, counts in found.items()}


def _synaptic_events(record: Record, fan_out: Mapping[str, NDArray[np.int64]]) -> int:
    """Connections reached by a spike in a batch."""
    return sum(
        int(fan_out[p.name] @ record.spikes[p.pre].counts_per_unit()) for p in record.network.projections
    )


def _own_spikes(record: Record) -> int:
    """Spikes of all LIF populations in a batch."""
    kinds = record.network.populations
    return sum(train.n_spikes for name, train in record.spikes.items() if kinds[name].kind == "lif")


def _stored(network: Network, name: str, params: Mapping[str, Array]) -> int:
    """Values of a parameter, those of a sparse matrix counted with its zeros, as NeuroBench does."""
    for p in network.projections:
        if name == f"{p.name}.weight":
            return network.populations[p.pre].size * network.populations[p.post].size
    return int(params[name].size)


def _footprint(network: Network, params: Mapping[str, Array]) -> int:
    return sum(_stored(network, name, params) * array.itemsize for name, array in params.items())


def _play(
    network: Network, params: Mapping[str, Array], spikes: SpikesGiven, loss: Loss, duration: float, simulator: Any
) -> Record:
    asked = loss.readouts(network)
    return simulate(network, params, spikes, duration=duration, readouts=asked, simulator=simulator)


def _parts(spikes: Spikes, labels: NDArray[Any], size: int) -> Iterator[tuple[Spikes, NDArray[Any]]]:
    for first in range(0, len(spikes), size):
        yield spikes[first : first + size], labels[first : first + size]


def _check_dt(dt: float) -> float:
    if not 0.0 < float(dt) < math.inf:
        raise ParameterError(f"dt is {dt!r} ms; it must be finite and > 0.")
    return float(dt)
