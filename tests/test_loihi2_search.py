"""The search for scales, and how spike trains are compared."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import rel_entr, softmax

import evprop
from evprop.errors import HardwareError, SpikesError
from evprop.hardware import Imitation, median_shift, search_scales, spike_agreement, spike_distance


def two(times: list[list[float]], units: list[list[int]]) -> evprop.Spikes:
    return evprop.Spikes.from_lists(list(zip(times, units, strict=True)), n_units=3)


def test_distances_by_hand() -> None:
    a = two([[1.0, 5.0], [2.0]], [[0, 1], [2]])
    b = two([[1.5, 9.0], []], [[0, 1], []])
    # gaps within 2 ms: a: 0.5, beyond, none; b: 0.5, beyond
    assert spike_distance(a, b, within=2.0) == pytest.approx((0.25 + 1 + 1 + 0.25 + 1) / 5)
    assert spike_agreement(a, b, within=2.0) == pytest.approx(2 / 5)
    assert median_shift(a, b, within=2.0) == 0.5
    assert spike_distance(a, a, within=2.0) == 0.0
    assert spike_agreement(a, a, within=2.0) == 1.0
    silent = two([[], []], [[], []])
    assert spike_distance(silent, silent, within=1.0) == 0.0
    assert spike_agreement(a, silent, within=1.0) == 0.0
    assert np.isnan(median_shift(a, silent, within=1.0))


def test_distances_against_a_double_loop() -> None:
    rng = np.random.default_rng(0)

    def draw() -> evprop.Spikes:
        return evprop.Spikes.from_lists([(rng.uniform(0, 50, 30), rng.integers(0, 4, 30)) for _ in range(5)], n_units=4)

    a, b = draw(), draw()
    gaps = []
    for x, y in ((a, b), (b, a)):
        for sample in range(5):
            for t, u in zip(*x[sample], strict=True):
                other = y[sample][0][y[sample][1] == u]
                gaps.append(min((abs(s - t) for s in other), default=np.inf))
    gaps = np.array(gaps)
    assert spike_distance(a, b, within=3.0) == pytest.approx(np.minimum(gaps / 3.0, 1.0).mean())
    assert spike_agreement(a, b, within=3.0) == pytest.approx((gaps < 3.0).mean())


@pytest.mark.parametrize("bad", [0.0, -1.0, np.inf])
def test_distances_need_a_width(bad: float) -> None:
    a = two([[1.0], []], [[0], []])
    with pytest.raises(SpikesError, match="within is"):
        spike_distance(a, a, within=bad)
    with pytest.raises(SpikesError, match="cannot be compared"):
        spike_distance(a, a[:1], within=1.0)


@pytest.fixture(scope="module")
def problem() -> tuple:
    init = evprop.init
    net = evprop.Network(
        {"input": evprop.Input(6), "hidden": evprop.LIF(10), "output": evprop.LI(3)},
        [
            evprop.Dense("input", "hidden", weight=init.Normal(1.2, 0.6)),
            evprop.Dense("hidden", "output", weight=init.Normal(0.0, 0.4)),
        ],
    )
    rng = np.random.default_rng(1)
    spikes = evprop.Spikes.from_lists([(rng.uniform(0, 40, 25), rng.integers(0, 6, 25)) for _ in range(20)], n_units=6)
    return net, net.init(0), spikes, rng.integers(0, 3, 20)


@pytest.mark.parametrize("bits", [3, 8])
def test_it_is_never_worse_than_the_rules(problem: tuple, bits: int) -> None:
    net, params, spikes, _ = problem
    simulator = evprop.Loihi2(dt=0.5, num_weight_bits=bits)
    found = search_scales(net, params, spikes, simulator, duration=60.0, within=2.0, rounds=1)
    assert set(found.start) == {"percentile", "max"}
    assert found.error <= min(found.start.values())
    if bits == 3:
        assert found.error < min(found.start.values())
    wanted = evprop.simulate(net, params, spikes, duration=60.0).spikes["hidden"]
    seen = evprop.simulate(net, params, spikes, duration=60.0, simulator=found.simulator).spikes["hidden"]
    assert spike_distance(wanted, seen, within=2.0) == pytest.approx(found.error)
    assert found.simulator.scale == found.scales
    assert found.tried > 10


def test_it_minimises_a_loss(problem: tuple) -> None:
    net, params, spikes, labels = problem
    loss = evprop.losses.CrossEntropy(evprop.losses.Max())
    found = search_scales(
        *(net, params, spikes, evprop.Loihi2(dt=1.0)), duration=60.0, loss=loss, targets=labels, rounds=1
    )
    record = evprop.simulate(
        net, params, spikes, duration=60.0, readouts=loss.readouts(net), simulator=found.simulator
    )
    assert loss.evaluate(record, labels).values.mean() == pytest.approx(found.error)
    assert found.error <= min(found.start.values())


@pytest.mark.parametrize("readout", [evprop.losses.Max(), evprop.losses.Sampled([20.0, 40.0])])
def test_it_minimises_the_divergence_of_the_classes(problem: tuple, readout: object) -> None:
    net, params, spikes, labels = problem
    loss = evprop.losses.CrossEntropy(readout)
    found = search_scales(
        *(net, params, spikes, evprop.Loihi2(dt=2.0, num_weight_bits=4)), duration=60.0, imitate=loss, rounds=1
    )
    record = evprop.simulate(
        net, params, spikes, duration=60.0, readouts=loss.readouts(net), simulator=found.simulator
    )
    distance = Imitation(loss, params, evprop.Exact())
    # Imitation gets the inputs of the record, which lie on the grid
    wanted = evprop.simulate(net, params, spikes, duration=60.0, readouts=loss.readouts(net)).readout["output"][0]
    p, q = (softmax(y, axis=-1).reshape(20, -1, 3) for y in (wanted, record.readout["output"][0]))
    assert rel_entr(p, q).sum(axis=-1).mean() == pytest.approx(found.error)
    assert found.error < min(found.start.values())
    assert found.error != pytest.approx(distance.evaluate(record, labels).values.mean(), rel=1e-6)


def test_integrators_are_left_alone_where_spikes_are_compared(problem: tuple) -> None:
    net, params, spikes, _ = problem
    simulator = evprop.Loihi2(dt=1.0)
    found = search_scales(net, params, spikes, simulator, duration=60.0, within=2.0, rounds=1)
    rule = min(found.start, key=found.start.get)
    before = evprop.Loihi2(dt=1.0, scale=rule).quantise(net, params).scales
    assert found.scales["output"] == before["output"]
    assert found.scales["hidden_output"] == before["hidden_output"]
    assert found.tried <= 2 + 5 + 2 + 8  # candidates of one population, those that come out alike run once


def test_it_asks_for_one_error(problem: tuple) -> None:
    net, params, spikes, labels = problem
    loss = evprop.losses.CrossEntropy(evprop.losses.Max())
    both = {"loss": loss, "targets": labels, "within": 1.0}
    for arguments in ({}, {"loss": loss}, both, {"within": 1.0, "imitate": loss}):
        with pytest.raises(HardwareError, match="to minimise a loss, within"):
            search_scales(net, params, spikes, evprop.Loihi2(), duration=60.0, **arguments)
