"""Placement, counts and costs, against counts made by hand or by a slow second way."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

import evprop
from evprop.errors import HardwareError
from evprop.hardware import (
    COST_TABLES,
    LOIHI2,
    Limit,
    Loihi2Connection,
    Loihi2Population,
    Loihi2Program,
    count,
    estimate,
    place,
    quantise,
)


def network(n_hidden: int = 40) -> evprop.Network:
    init = evprop.init
    return evprop.Network(
        {"input": evprop.Input(10), "hidden": evprop.LIF(n_hidden), "output": evprop.LI(3)},
        [
            evprop.Dense("input", "hidden", weight=init.Normal(1.0, 0.5), delay=init.Uniform(0.0, 20.0)),
            evprop.Dense("hidden", "hidden", weight=init.Normal(0.0, 0.2)),
            evprop.Dense("hidden", "output", weight=init.Normal(0.0, 0.4)),
        ],
    )


def lif(n: int) -> Loihi2Population:
    return Loihi2Population(n, du=741, dv=200, vth=100)


def tight(**limits: int) -> object:
    return replace(LOIHI2, **{name: Limit(value, "a test") for name, value in limits.items()})


def test_a_small_network_takes_a_core_for_each_population() -> None:
    q = quantise(network(), network().init(0), dt=1.0, scale="max")
    placement = place(q.program)
    assert [c.population for c in placement.cores] == ["hidden", "output"]
    hidden, output = placement.cores
    stored = [int((q.program.effective_weights(k) != 0).sum()) for k in range(3)]
    assert hidden.synapses == stored[0] + stored[1]
    assert hidden.synapse_bytes == -(-(stored[0] * (8 + 6) + stored[1] * 8) // 8)
    assert hidden.axons_in == 50
    assert hidden.axons_out == 80  # each hidden neuron reaches both cores
    longest = int(q.program.connections[0].delays.max())
    assert hidden.delay_bytes == 2 * 40 * (longest + 1)
    assert hidden.state_bytes == 6 * 40
    assert output.axons_out == 0
    assert "2 of 128 cores" in str(placement)


@pytest.mark.parametrize(
    ("limit", "value"),
    [("neurons_per_core", 7), ("synapse_bytes", 400), ("core_bytes", 900), ("axons_out", 60)],
)
def test_what_is_too_large_is_split(limit: str, value: int) -> None:
    q = quantise(network(), network().init(0), dt=1.0, scale="max")
    limits = tight(**{limit: value})
    placement = place(q.program, limits)
    own = [placement.cores[k] for k in placement.of("hidden")]
    assert len(own) > 1
    assert own[0].first == 0
    assert own[-1].last == 40
    assert all(a.last == b.first for a, b in pairwise(own))
    used = {"neurons_per_core": "neurons"}.get(limit, limit)
    assert all(getattr(core, used) <= value for core in placement.cores)
    assert sum(core.synapses for core in own) == place(q.program).cores[0].synapses


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"axons_in": 49}, r"neuron \d+ of 'hidden' alone needs \d+ axons in; a core has 49 \(a test\)"),
        ({"neurons_per_core": 1, "cores": 42}, "needs at least 43 cores, 40 of them for 'hidden'; a chip has 42"),
        ({"synapse_bytes": 10}, "neuron 0 of 'hidden' alone needs .* bytes for synapses; a core has 10"),
    ],
)
def test_what_does_not_fit_is_refused(limits: dict, message: str) -> None:
    q = quantise(network(), network().init(0), dt=1.0, scale="max")
    with pytest.raises(HardwareError, match=message):
        place(q.program, tight(**limits))


def test_routers_lie_in_rows_of_eight_with_four_cores_each() -> None:
    program = Loihi2Program({"input": 1}, {"a": lif(128)}, [Loihi2Connection("input", "a", np.ones((1, 128), int))])
    placement = place(program, tight(neurons_per_core=1))
    assert len(placement.cores) == 128
    assert [placement.router(k) for k in (0, 3, 4, 31, 32, 127)] == [(0, 0), (0, 0), (1, 0), (7, 0), (0, 1), (7, 3)]


def test_counts_against_a_walk_over_every_spike() -> None:
    net = network()
    params = net.init(1)
    rng = np.random.default_rng(0)
    spikes = evprop.Spikes.from_lists([(rng.uniform(0.0, 50.0, 40), rng.integers(0, 10, 40)) for _ in range(3)], n_units=10)
    record = evprop.simulate(net, params, spikes, duration=60.0, simulator=evprop.Loihi2(dt=1.0, scale="max"))
    program = record.quantised.program
    placement = place(program, tight(neurons_per_core=9))
    counts = count(record, placement)
    masks = [program.effective_weights(k) != 0 for k in range(3)]
    owner = {name: {n: k for k in placement.of(name) for n in range(placement.cores[k].first, placement.cores[k].last)} for name in program.populations}
    synapses = fired = packets = east = north = 0
    busiest = np.zeros((3, 61, len(placement.cores)), int)
    run = program.run({name: tuple(s) for name, s in record.sent.items()}, record.n_steps)
    sent = [("input", record.sent["input"].offsets, record.sent["input"].steps, record.sent["input"].units)]
    sent += [(n, run.offsets[n], run.steps[n], run.units[n]) for n in program.populations]
    for name, offsets, steps, units in sent:
        for b in range(3):
            for step, unit in zip(steps[offsets[b] : offsets[b + 1]], units[offsets[b] : offsets[b + 1]], strict=True):
                reached = set()
                for c, mask in zip(program.connections, masks, strict=True):
                    if c.source == name:
                        for target in np.flatnonzero(mask[unit]):
                            synapses += 1
                            reached.add(owner[c.target][target])
                            busiest[b, step, owner[c.target][target]] += 1
                if name == "input":
                    continue
                fired += 1
                here = placement.router(owner[name][unit])
                for core in reached - {owner[name][unit]}:
                    there = placement.router(core)
                    packets += 1
                    east += abs(here[0] - there[0])
                    north += abs(here[1] - there[1])
    assert fired > 100
    assert counts.totals == {
        "synaptic operation": synapses,
        "neuron update": 43 * 61 * 3,
        "spike": fired,
        "packet": packets,
        "hop east-west": east,
        "hop north-south": north,
        "barrier": 61 * 3,
    }
    np.testing.assert_array_equal(counts.per_core["synaptic operation"], busiest)

    table = COST_TABLES["sanafe-tcad2025"]
    found = estimate(counts, "sanafe-tcad2025")
    high = sum(counts.totals[op] * table.costs[op].energy[1] for op in counts.totals) / 3 * 1e-6
    assert found.energy_uj[1] == pytest.approx(high)
    assert found.energy_uj[0] < found.energy_uj[1]
    neurons = np.array([c.neurons for c in placement.cores])
    spiked = np.zeros_like(busiest)
    for name, offsets, steps, units in sent[1:]:
        for b in range(3):
            for i in range(offsets[b], offsets[b + 1]):
                spiked[b, steps[i], owner[name][units[i]]] += 1
    slowest = (busiest * 4.7 + neurons * 9.7 + spiked * 30.0).max(axis=2).sum() / 3 + 61 * 1800.0
    assert found.latency_ms[1] == pytest.approx(slowest * 1e-6)
    assert "without I/O" in str(found)


def test_every_table_has_every_operation_and_says_where_from() -> None:
    assert set(COST_TABLES) == {"davies2018", "sanafe-tcad2025", "loihi2-scaled"}
    for table in COST_TABLES.values():
        assert set(table.costs) == set(COST_TABLES["davies2018"].costs)
        assert table.version
        for cost in table.costs.values():
            assert cost.source
            assert 0.0 <= cost.energy[0] <= cost.energy[1]
            assert 0.0 <= cost.time[0] <= cost.time[1]
    assert "not measured" in COST_TABLES["loihi2-scaled"].note
    # two figures of the published tables
    assert COST_TABLES["davies2018"].costs["synaptic operation"].energy == (23.6, 23.6)
    assert COST_TABLES["sanafe-tcad2025"].costs["spike"].energy == (69.3, 69.3)


def test_an_unknown_table_suggests_the_nearest() -> None:
    net = network(4)
    record = evprop.simulate(
        net, net.init(0), evprop.Spikes.from_lists([([1.0], [0])], n_units=10), duration=5.0, simulator=evprop.Loihi2()
    )
    with pytest.raises(HardwareError, match="did you mean 'davies2018'"):
        estimate(count(record), "davies2019")
