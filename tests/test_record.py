"""Records: what they hold, replayed spikes, and parameters that changed behind their back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import evprop
from evprop import LI, LIF, Dense, Exact, Input, Network, Record, Spikes
from evprop.errors import EvpropError, ParameterError, RecordError, SpikesError, UnknownNameError
from evprop.init import Normal, Uniform
from evprop.losses import Final, FirstSpike, Integral, Max, Sampled, WeightedIntegral

DURATION = 60.0


def network() -> Network:
    return Network(
        {"input": Input(5), "hidden": LIF(20), "fast": LIF(3, tau_mem=10.0), "output": LI(2)},
        [
            Dense("input", "hidden", weight=Normal(2.0, 0.8), delay=Uniform(0.0, 3.0)),
            Dense("hidden", "fast", weight=Normal(1.0, 0.2)),
            Dense("hidden", "output", weight=Normal(0.0, 0.5)),
        ],
    )


def inputs(batch: int = 4) -> Spikes:
    rng = np.random.default_rng(0)
    return Spikes.from_lists(
        [(rng.uniform(0, 30, 8), rng.integers(0, 5, 8)) for _ in range(batch)], n_units=5
    )


READOUTS = {
    "output": [Final(), Sampled([1.0, 20.0, DURATION]), Integral(), Max()],
    "fast": [Max(), WeightedIntegral(20.0, normalise=None)],
}


@pytest.fixture(scope="module")
def record() -> Record:
    net = network()
    return evprop.simulate(net, net.init(seed=1), inputs(), duration=DURATION, readouts=READOUTS)


def test_what_it_holds(record: Record) -> None:
    assert (record.batch_size, record.duration, record.dtype, record.min_vdot) == (
        4,
        DURATION,
        "float64",
        None,
    )
    assert list(record.spikes) == ["input", "hidden", "fast"]
    assert len(record.spikes) == 3
    assert record.spikes["input"] == record.inputs["input"] == inputs()
    hidden = record.spikes["hidden"]
    assert isinstance(hidden, Spikes)
    assert (len(hidden), hidden.n_units) == (4, 20)
    assert hidden.n_spikes > 20
    assert record.spikes["hidden"] is hidden
    assert Spikes(hidden.times, hidden.units, hidden.offsets, 20) == hidden  # it passes every check
    assert hidden.times.max() <= DURATION
    assert record.currents("hidden").shape == hidden.times.shape
    assert (record.currents("hidden") > 0).all()  # with v_th > i_bias there is no other way to cross
    assert repr(record).startswith("Record(4 samples of 60 ms, float64; hidden: ")


def test_activity_is_counted_where_the_spikes_lie(record: Record) -> None:
    hidden = record.spikes["hidden"]
    assert record.activity("hidden") == (hidden.n_spikes, int(hidden.fired().sum()))
    assert 0 < record.activity("hidden")[1] < hidden.n_spikes
    for name in ("output", "input"):
        with pytest.raises(RecordError, match=f"population '{name}' has no spikes of its own"):
            record.activity(name)
    with pytest.raises(RecordError, match="a spike is of unit"):
        record._core_record.activity(record.network.index["hidden"], 1)


def test_readouts_come_in_the_order_asked_for(record: Record) -> None:
    assert {name: len(values) for name, values in record.readout.items()} == {"output": 4, "fast": 2}
    final, sampled, integral, peak = record.readout["output"]
    assert final.shape == integral.shape == peak.shape == (4, 2)
    assert sampled.shape == (4, 3, 2)
    assert sampled[:, 2] == pytest.approx(final, rel=1e-12, abs=1e-14)
    assert (peak >= sampled.max(axis=1) - 1e-12).all()
    assert record.readout["fast"][0].shape == (4, 3)
    assert record.readout_index("output", Max()) == 3
    assert record.readout_index("fast", WeightedIntegral(20.0, normalise=None)) == 1
    with pytest.raises(RecordError, match=r"holds no WeightedIntegral\(tau=20.0, normalise='duration'\)"):
        record.readout_index("fast", WeightedIntegral(20.0))
    times = record.max_times("output", Max())
    assert times.shape == (4, 2)
    assert ((times >= 0) & (times <= DURATION)).all()


def test_readouts_depend_on_no_other_readout(record: Record) -> None:
    alone = evprop.simulate(
        record.network, record.params, inputs(), duration=DURATION, readouts={"output": [Integral()]}
    )
    assert (alone.readout["output"][0] == record.readout["output"][2]).all()
    assert alone.spikes["hidden"] == record.spikes["hidden"]


def test_samples_are_independent(record: Record) -> None:
    one = evprop.simulate(record.network, record.params, inputs()[2:3], duration=DURATION)
    assert one.spikes["hidden"] == record.spikes["hidden"][2:3]


def test_unknown_names(record: Record) -> None:
    with pytest.raises(UnknownNameError, match="no spikes of 'hiden': did you mean 'hidden'"):
        record.spikes["hiden"]
    with pytest.raises(UnknownNameError, match="'output': it is an LI population, which never spikes"):
        record.spikes["output"]
    assert "output" not in record.spikes
    assert record.spikes.get("output") is None
    with pytest.raises(RecordError, match="population 'output' has no spikes of its own"):
        record.currents("output")


def test_float32() -> None:
    net = network()
    record = evprop.simulate(
        net,
        net.init(seed=1, dtype="float32"),
        inputs(),
        duration=DURATION,
        readouts={"output": [Final()]},
        simulator=Exact(dtype="float32"),
    )
    assert record.dtype == "float32"
    assert record.readout["output"][0].dtype == np.float32
    assert record.currents("hidden").dtype == np.float32
    assert record.spikes["hidden"].times.dtype == np.float64
    grads = evprop.backward(record, readouts={"output": [np.ones((4, 2), np.float32)]})
    assert {g.dtype for g in grads.values()} == {np.dtype(np.float32)}
    assert grads.input_times.dtype == np.float64


# -- parameters that changed -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["input_hidden.weight", "input_hidden.delay", "hidden.tau_mem", "output.v_init"]
)
def test_backward_refuses_parameters_changed_in_place(name: str) -> None:
    net = network()
    params = net.init(seed=1)
    record = evprop.simulate(net, params, inputs(), duration=DURATION, readouts={"output": [Final()]})
    cotangents = {"output": [np.ones((4, 2))]}
    before = evprop.backward(record, readouts=cotangents)
    old = params[name].flat[0]
    params[name].flat[0] = np.nextafter(old, np.inf)
    with pytest.raises(
        RecordError, match=r"parameters changed in place since this record was made.*simulate again"
    ):
        evprop.backward(record, readouts=cotangents)
    params[name].flat[0] = old
    again = evprop.backward(record, readouts=cotangents)
    assert all((again[k] == before[k]).all() for k in before)
    params[name] = params[name].copy()
    with pytest.raises(RecordError, match=f"parameter '{name}' was replaced"):
        evprop.backward(record, readouts=cotangents)


def test_a_new_dict_leaves_the_record_alone() -> None:
    net = network()
    params = net.init(seed=1)
    record = evprop.simulate(net, params, inputs(), duration=DURATION, readouts={"output": [Final()]})
    params = {name: 2.0 * values for name, values in params.items()}
    evprop.backward(record, readouts={"output": [np.ones((4, 2))]})


# -- gradients as a mapping --------------------------------------------------------------------------------------


def test_gradients_of_a_record(record: Record) -> None:
    net = record.network
    grads = evprop.backward(record, readouts={"output": [np.ones((4, 2)), None, None, None]})
    assert tuple(grads) == net.trainable
    assert {name: g.shape for name, g in grads.items()} == {n: net.parameter_shapes[n] for n in net.trainable}
    assert grads.input_times.shape == inputs().times.shape
    assert "hidden.tau_mem" not in grads
    with pytest.raises(UnknownNameError, match=r"no gradient of 'hidden.tau_mem'.*Name it in wrt=\[...\]"):
        grads["hidden.tau_mem"]
    with pytest.raises(KeyError):
        grads["hidden.tau_mem"]
    some = evprop.backward(
        record,
        readouts={"output": [np.ones((4, 2)), None, None, None]},
        wrt=["input_hidden.weight", "hidden.tau_mem"],
        input_times=False,
    )
    assert sorted(some) == ["hidden.tau_mem", "input_hidden.weight"]
    assert (some["input_hidden.weight"] == grads["input_hidden.weight"]).all()
    with pytest.raises(UnknownNameError, match="give input_times=True"):
        some.input_times  # noqa: B018


def test_health(record: Record) -> None:
    health = evprop.backward(record, spike_times={"fast": np.ones(record.spikes["fast"].n_spikes)}).health
    assert health.min_vdot > 0
    assert (health.dropped, health.floored) == (0, 0)
    for name in ("hidden", "fast"):
        assert health.silent[name] == pytest.approx(np.mean(record.spikes[name].counts() == 0))
    assert list(health.silent) == ["hidden", "fast"]
    assert "dropped" in repr(health)


def test_nothing_asked_for_gives_zeros(record: Record) -> None:
    grads = evprop.backward(record)
    assert all((g == 0).all() for g in grads.values())
    assert (grads.input_times == 0).all()


def test_cotangents_add_up(record: Record) -> None:
    rng = np.random.default_rng(0)
    on_spikes = rng.normal(size=record.spikes["fast"].n_spikes)
    on_final = rng.normal(size=(4, 2))
    a = evprop.backward(record, spike_times={"fast": on_spikes})
    b = evprop.backward(record, readouts={"output": [on_final, None, None, None]})
    both = evprop.backward(record, {"fast": 2 * on_spikes}, {"output": [3 * on_final, None, None, None]})
    for name in both:
        assert both[name] == pytest.approx(2 * a[name] + 3 * b[name], rel=1e-9, abs=1e-12)
    assert both.input_times == pytest.approx(2 * a.input_times + 3 * b.input_times, rel=1e-9, abs=1e-12)


def test_several_inputs() -> None:
    net = Network(
        {"left": Input(2), "right": Input(3), "out": LIF(2)},
        [Dense("left", "out", weight=3.0), Dense("right", "out", weight=2.0)],
    )
    left = Spikes.from_lists([([1.0, 4.0], [0, 1]), ([2.0], [0])], n_units=2)
    right = Spikes.from_lists([([3.0], [2]), ([], [])], n_units=3)
    params = net.init(seed=0)
    loss = FirstSpike(1.0, 10.0, 0.01)
    given = {"right": right, "left": left}  # in any order
    _, grads, record = evprop.value_and_grad(net, params, given, np.array([0, 1]), loss, duration=20.0)
    assert {name: g.shape for name, g in grads.input_times.items()} == {"left": (3,), "right": (1,)}
    assert list(record.inputs) == ["left", "right"]
    for spikes, message in [
        (left, "2 Input populations; give spikes as a dict"),
        ({"left": left}, "lacks the Input population 'right'"),
        (given | {"up": left}, "names 'up', which is no Input population"),
        ({"left": left, "right": right[:1]}, r"different numbers of samples: \{'left': 2, 'right': 1\}"),
    ]:
        with pytest.raises(SpikesError, match=message):
            evprop.simulate(net, params, spikes, duration=20.0)


# -- spikes seen elsewhere ---------------------------------------------------------------------------------------


def test_replaying_a_records_own_spikes_gives_its_gradients() -> None:
    net = network()
    params = net.init(seed=1)
    spikes = inputs()
    own = evprop.simulate(net, params, spikes, duration=DURATION)
    seen = {name: own.spikes[name] for name in ("hidden", "fast")}
    record = Record.from_spikes(net, params, spikes, seen, duration=DURATION, min_vdot=1e-9)
    assert record.min_vdot == 1e-9
    assert record.spikes["fast"] == own.spikes["fast"]
    assert record.currents("hidden") == pytest.approx(own.currents("hidden"), rel=1e-9)
    cotangent = np.random.default_rng(0).normal(size=own.spikes["fast"].n_spikes)
    a = evprop.backward(own, spike_times={"fast": cotangent})
    b = evprop.backward(record, spike_times={"fast": cotangent})
    for name in a:
        assert b[name] == pytest.approx(a[name], rel=1e-6, abs=1e-9)
    assert b.health.floored == 0
    floor = Record.from_spikes(net, params, spikes, seen, duration=DURATION, min_vdot=1e6)
    floored = evprop.backward(floor, spike_times={"fast": cotangent}).health
    assert floored.floored == sum(s.n_spikes for s in seen.values())


def test_observed_spikes_are_losses_too() -> None:
    """A loss evaluated on observed spikes, then the general door."""
    net = network()
    params = net.init(seed=1)
    spikes = inputs()
    seen = {
        name: s
        for name, s in evprop.simulate(net, params, spikes, duration=DURATION).spikes.items()
        if name != "input"
    }
    record = Record.from_spikes(net, params, spikes, seen, duration=DURATION, min_vdot=0.01)
    result = FirstSpike(1.0, 10.0, 0.0, population="fast").evaluate(record, np.zeros(4, int))
    grads = evprop.backward(record, spike_times=result.spike_times)
    assert np.isfinite(grads["input_hidden.delay"]).all()
    params["hidden.v_th"] += 0.5
    with pytest.raises(RecordError, match="changed in place"):
        evprop.backward(record, spike_times=result.spike_times)


def test_from_spikes_refuses() -> None:
    net = network()
    params = net.init(seed=1)
    empty = {"hidden": Spikes([], [], [0] * 5, n_units=20), "fast": Spikes([], [], [0] * 5, n_units=3)}
    late = Spikes([99.0], [0], [0, 0, 0, 0, 1], n_units=3)
    good: dict[str, Any] = {"observed": empty, "duration": DURATION, "min_vdot": 0.1}
    Record.from_spikes(net, params, inputs(), **good)
    cases: list[tuple[dict[str, Any], type[EvpropError], str]] = [
        ({"observed": {"hidden": empty["hidden"]}}, SpikesError, "lacks the LIF population 'fast'"),
        ({"observed": empty | {"output": late}}, SpikesError, "'output', which is no LIF population"),
        ({"observed": empty | {"fats": late}}, EvpropError, "unknown population 'fats': did you mean 'fast'"),
        ({"observed": empty | {"fast": empty["hidden"]}}, SpikesError, "n_units=20 but the population has 3"),
        (
            {"observed": empty | {"fast": empty["fast"][:2]}},
            SpikesError,
            "have 2 samples but the inputs have 4",
        ),
        ({"observed": empty | {"fast": late}}, SpikesError, r"observed spikes of 'fast': sample 3.*at 99 ms"),
        ({"observed": empty | {"fast": [1.0]}}, SpikesError, "got list; it must be an evprop.Spikes"),
        ({"min_vdot": 0.0}, ParameterError, "min_vdot is 0.0; it must be finite and > 0"),
        ({"min_vdot": -1.0}, ParameterError, "min_vdot is -1.0"),
        ({"duration": 0.0}, ParameterError, "duration is 0.0 ms; it must be finite and > 0"),
    ]
    for change, error, message in cases:
        with pytest.raises(error, match=message):
            Record.from_spikes(net, params, inputs(), **(good | change))
