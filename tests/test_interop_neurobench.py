"""NeuroBench's own harness on evprop's networks: its numbers against counts by hand, and against the event-native report."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import evprop
from evprop.datasets import Dataset, yin_yang
from evprop.errors import ParameterError
from evprop.losses import CrossEntropy, FirstSpike, Max

pytest.importorskip("torch", reason="needs the extra evprop[neurobench]")
pytest.importorskip("neurobench", reason="needs the extra evprop[neurobench]")

import torch
from neurobench.benchmarks import Benchmark
from neurobench.metrics.static import ConnectionSparsity, Footprint, ParameterCount
from neurobench.metrics.workload import (
    ActivationSparsity,
    ClassificationAccuracy,
    MembraneUpdates,
    NeuronOperations,
    SynapticOperations,
)

from evprop.interop.neurobench import Model, StateUpdates, events, report

pytestmark = pytest.mark.filterwarnings("default")  # theirs
STATIC = [Footprint, ParameterCount, ConnectionSparsity]
WORKLOAD = [ClassificationAccuracy, ActivationSparsity, SynapticOperations, MembraneUpdates, NeuronOperations, StateUpdates]


def harness(model: Model, data: Dataset, batch_size: int, capsys: Any) -> dict[str, Any]:
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(events(data.spikes), torch.tensor(data.labels)), batch_size=batch_size
    )
    results = Benchmark(model, loader, [], [], [STATIC, WORKLOAD]).run(quiet=True)
    assert "rror" not in capsys.readouterr().out  # the harness prints errors and goes on
    return dict(results)


def agrees(theirs: dict[str, Any], ours: dict[str, Any]) -> None:
    for name in ("Footprint", "ParameterCount"):
        assert theirs[name] == ours[name], name
    for name in ("ConnectionSparsity", "ClassificationAccuracy", "ActivationSparsity"):
        assert theirs[name] == pytest.approx(ours[name], abs=1e-7), name  # the harness works in float32
    for name, value in theirs["SynapticOperations"].items():
        assert value == pytest.approx(ours["SynapticOperations"][name], rel=1e-6), name
    assert theirs["StateUpdates"] == ours["Events"]["state_updates"]
    assert theirs["MembraneUpdates"] == theirs["NeuronOperations"] == 0  # of snnTorch's modules, of which there are none


def golden() -> tuple[evprop.Network, dict[str, Any]]:
    """The 4-3-2 weights of NeuroBench's own kind of toy, with 7 zeros of 18."""
    first = np.array([[1, 0, 0.5, 0], [0, 1.2, 0, 0.3], [0.4, 0.4, 0.4, 0.4]])
    second = np.array([[1.5, 0, 0.7], [0, 1.1, 0]])
    net = evprop.Network(
        {"in": evprop.Input(4), "h": evprop.LIF(3, tau_mem=10.0), "out": evprop.LI(2)},
        [evprop.Dense("in", "h", weight=5.0 * first.T), evprop.Dense("h", "out", weight=second.T, delay=1.0, delay_kind="axonal")],
    )
    return net, net.init(0)


@pytest.mark.parametrize("batch_size", [1, 2])
def test_by_hand(batch_size: int, capsys: Any) -> None:
    net, params = golden()
    # 10 bins of 1 ms; two spikes of one unit in one bin count once for the harness
    spikes = evprop.Spikes.from_lists([([0.5, 2.5, 2.7, 4.0], [0, 1, 1, 2]), ([1.5], [3])], n_units=4)
    data = Dataset(spikes, np.array([0, 1]))
    loss = CrossEntropy(Max())
    model = Model(net, params, loss, duration=10.0, dt=1.0)
    found = harness(model, data, batch_size, capsys)
    record = evprop.simulate(net, params, spikes, duration=10.0, readouts=loss.readouts(net))
    hidden = record.spikes["h"]
    assert hidden.n_spikes > 0
    fan_in, fan_h = [2, 2, 2, 2], [1, 1, 1]  # weights that are not zero, by sender
    hidden_bins = {(b, int(t), u) for b in range(2) for t, u in zip(*hidden[b], strict=True)}
    by_hand = (fan_in[0] + fan_in[1] + fan_in[2] + fan_in[3] + sum(fan_h[u] for _, _, u in hidden_bins)) / 2
    assert found["ConnectionSparsity"] == 0.3889
    assert found["SynapticOperations"]["Dense"] == 18 * 10
    assert found["SynapticOperations"]["Effective_ACs"] == by_hand
    assert found["SynapticOperations"]["Effective_MACs"] == 0
    assert found["ActivationSparsity"] == pytest.approx(1 - len(hidden_bins) / (2 * 10 * 3))
    assert found["ParameterCount"] == 18 + 3  # weights and learnt delays
    assert found["Footprint"] == 8 * (18 + 3 + 7 * 3 + 4 * 2)  # and the constants of LIF and LI
    assert found["ClassificationAccuracy"] == (loss.predict(record) == data.labels).mean()
    ours = report(net, params, spikes, data.labels, loss, duration=10.0, dt=1.0, batch_size=batch_size)
    agrees(found, ours)
    exact = (sum(fan_in[u] for _, units in spikes for u in units) + sum(fan_h[u] for u in hidden.units)) / 2
    assert ours["Events"]["state_updates"] == exact + hidden.n_spikes / 2
    assert ours["Events"]["synaptic_events"] == exact > ours["SynapticOperations"]["Effective_ACs"]


def test_a_trained_network(capsys: Any) -> None:
    net = evprop.Network(
        {"in": evprop.Input(5), "h": evprop.LIF(30), "out": evprop.LIF(3)},
        [
            evprop.Dense("in", "h", weight=evprop.init.Normal(1.5, 0.8), delay=evprop.init.Uniform(0.0, 10.0)),
            evprop.Sparse("h", "h", weight=evprop.init.Normal(0.0, 0.1), mask=np.random.default_rng(0).random((30, 30)) < 0.1),
            evprop.Dense("h", "out", weight=evprop.init.Normal(0.9, 0.1)),
        ],
    )
    params = net.init(0, dtype="float32")
    simulator = evprop.Exact(dtype="float32")
    loss = FirstSpike(tau_0=0.5, tau_1=6.4, alpha=3e-3)
    train = yin_yang("train", size=500)
    evprop.train.fit(
        net, params, train, loss, evprop.optim.Adam(0.01, groups={"*.delay": {"lr": 0.1}}),
        epochs=4, batch_size=25, duration=60.0, seed=0, simulator=simulator,
    )
    test = yin_yang("test", size=150)
    model = Model(net, params, loss, duration=60.0, dt=0.5, simulator=simulator)
    found = harness(model, test, 40, capsys)
    assert found["ClassificationAccuracy"] > 0.5
    agrees(found, report(net, params, test.spikes, test.labels, loss, duration=60.0, dt=0.5, simulator=simulator))


def test_bad_arguments() -> None:
    net, params = golden()
    with pytest.raises(ParameterError, match="dt is 0"):
        Model(net, params, CrossEntropy(Max()), duration=10.0, dt=0)
