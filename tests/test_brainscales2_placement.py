"""What fits on BrainScaleS-2, where it lies, and what is refused with which numbers."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import evprop
from evprop.errors import HardwareError
from evprop.hardware import BrainScaleS2, BrainScaleS2Placement
from evprop.hardware.brainscales2.placement import place


def layers(*sizes: int, delay: str | None = None, recurrent: bool = False) -> evprop.Network:
    names = ["input", *(f"hidden{k}" for k in range(len(sizes) - 2)), "output"]
    late: dict[str, Any] = {} if delay is None else {"delay": 10.0, "delay_kind": delay}
    populations = {
        n: evprop.Input(s) if n == "input" else evprop.LIF(s) for n, s in zip(names, sizes, strict=True)
    }
    projections = [evprop.Dense(a, b, weight=1.0, **late) for a, b in itertools.pairwise(names)]
    if recurrent:
        projections.append(evprop.Dense("hidden0", "hidden0", weight=0.1))
    return evprop.Network(populations, projections)


def check(net: evprop.Network, placed: BrainScaleS2Placement) -> None:
    """No circuit twice, every neuron meets every line of its inputs once, and no two lines on one driver."""
    circuits = np.concatenate(
        [np.stack([c[:, k] + 1000 * k for k in (0, 1)], axis=1) for c in placed.circuits.values()]
    )
    used = circuits[np.concatenate(list(placed.circuits.values())) >= 0]
    assert len(set(used.tolist())) == len(used)
    assert used.size == 0 or max(used % 1000) < 256
    for name, columns in placed.circuits.items():
        heard: list[set[tuple[int, int]]] = [set() for _ in columns]
        lines = [placed.drivers[p.name].reshape(2, -1).T for p in net.projections if p.post == name]
        for line in np.concatenate(lines) if lines else []:
            meets = (line >= 0) & (columns >= 0)
            assert np.all(meets.sum(axis=1) == 1)
            for neuron, half in enumerate(np.argmax(meets, axis=1).tolist()):
                assert (half, int(line[half])) not in heard[neuron]
                heard[neuron].add((half, int(line[half])))
    assert max(placed.drivers_used) <= 128
    assert placed.circuits_used <= 512


def test_delgrads_net_has_fifty_delay_neurons() -> None:
    net = layers(4, 30, 3, delay="axonal")
    placed = place(net, {"input": 5})
    check(net, placed)
    assert placed.delay_pairs == {"input_hidden0": 20, "hidden0_output": 30}
    assert placed.circuits_used == 33 + 2 * 50
    assert placed.drivers_used == (30, 0)
    assert "delay pairs   50 of 128" in str(placed)
    assert placed.synapses == 2 * (5 * 4 * 30 + 30 * 3)


@pytest.mark.parametrize(
    ("sizes", "copies"),
    [((4, 120, 3), 5), ((256, 246, 10), 1), ((100, 300), 1), ((128, 128, 128), 1), ((1, 1), 1)],
)
def test_published_and_other_sizes_fit(sizes: tuple[int, ...], copies: int) -> None:
    net = layers(*sizes)
    check(net, place(net, {"input": copies}))


def test_two_merged_circuits_see_both_halves() -> None:
    net = layers(200, 40)
    placed = place(net)
    assert np.all(placed.circuits["output"] >= 0)
    assert placed.circuits_used == 80
    assert placed.drivers_used == (128, 72)
    gains = (
        BrainScaleS2.ideal(synapse_gain_spread=0.1, resources=True)
        .map(net)
        .write(net.init(0))
        .effective["input_output.weight"]
    )
    assert len(set(gains.ravel().tolist())) == 200 * 40


def test_populations_share_drivers_by_address() -> None:
    net = evprop.Network(
        {"input": evprop.Input(10), "a": evprop.LIF(5), "b": evprop.LIF(5)},
        [evprop.Dense("input", "a", weight=1.0), evprop.Dense("input", "b", weight=1.0)],
    )
    placed = place(net)
    check(net, placed)
    assert placed.drivers_used == (10, 0)
    np.testing.assert_array_equal(placed.drivers["input_a"], placed.drivers["input_b"])


@pytest.mark.parametrize(
    ("net", "copies", "message"),
    [
        (layers(300, 10), {}, "hears 300 signed lines; a neuron of two merged circuits sees 256"),
        (layers(100, 10), {"input": 5}, "hears 500 signed lines"),
        (layers(10, 600), {}, "'output' needs 600 circuits, .*256 and 256 are left"),
        (
            layers(4, 30, 3, delay="synaptic"),
            {},
            'has synaptic delays; the chip delays whole lines: delay_kind="axonal"',
        ),
        (layers(4, 130, 3, delay="axonal"), {}, "take 134 delay neurons; there are 128"),
        (
            layers(100, 400, delay="axonal"),
            {},
            "take 100 pairs of circuits, but 112 of the chip's 512 circuits are left",
        ),
        (layers(4, 5), {"inputt": 5}, "did you mean 'input'"),
        (layers(4, 5), {"input": 0}, "it must be an integer from 1 to 128"),
        (layers(200, 100, 400), {}, "'output' needs 400 circuits, .*156 and 156 are left"),
    ],
)
def test_what_does_not_fit_is_refused(net: evprop.Network, copies: dict[str, int], message: str) -> None:
    with pytest.raises(HardwareError, match=message):
        place(net, copies)


def test_the_simulator_refuses_too_unless_told_not_to() -> None:
    net = layers(4, 30, 3, delay="synaptic")
    spikes = evprop.Spikes.from_lists([([1.0], [0])], n_units=4)
    given: dict[str, Any] = {"chip": 0, "min_vdot": 0.01, "weight_scale": 30.0, "refractory_range": None}
    with pytest.raises(HardwareError, match="synaptic delays"):
        evprop.simulate(net, net.init(0), spikes, duration=50.0, simulator=BrainScaleS2(**given))
    sim = BrainScaleS2(**given, resources=False)
    assert evprop.simulate(net, net.init(0), spikes, duration=50.0, simulator=sim).batch_size == 1


def test_recurrent_nets_fit() -> None:
    net = layers(20, 60, 3, recurrent=True)
    check(net, place(net))
