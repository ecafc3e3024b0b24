"""`evprop.Loihi2`: the chip's model behind the face of a simulator."""

from __future__ import annotations

import numpy as np
import pytest

import evprop
from evprop.datasets import yin_yang
from evprop.errors import HardwareError, ParameterError
from evprop.hardware.loihi2 import simulator as module
from evprop.losses import (
    CrossEntropy,
    Final,
    FirstSpike,
    Integral,
    LinearIntegral,
    Max,
    Sampled,
    SigmoidIntegral,
    WeightedIntegral,
)

N_IN, N_HIDDEN, N_OUT, T = 7, 12, 3, 60.0


def network(*, output: object = None, delays: bool = True) -> evprop.Network:
    init = evprop.init
    delay = init.Uniform(0.0, 6.0) if delays else None
    return evprop.Network(
        {
            "input": evprop.Input(N_IN),
            "hidden": evprop.LIF(N_HIDDEN, tau_mem=20.0, tau_syn=5.0, i_bias=0.1),
            "output": output or evprop.LI(N_OUT, tau_mem=20.0, tau_syn=5.0),
        },
        [
            evprop.Dense("input", "hidden", weight=init.Normal(1.6, 0.6), delay=delay),
            evprop.Dense("hidden", "hidden", weight=init.Normal(0.0, 0.4), delay=delay),
            evprop.Dense("hidden", "output", weight=init.Normal(0.3, 0.4), delay=delay),
        ],
    )


def spikes(batch: int = 4, *, grid: float | None = None, seed: int = 0) -> evprop.Spikes:
    rng = np.random.default_rng(seed)
    samples = []
    for _ in range(batch):
        times, units = rng.uniform(0.0, 40.0, 20), rng.integers(0, N_IN, 20)
        samples.append((np.rint(times / grid) * grid if grid else times, units))
    return evprop.Spikes.from_lists(samples, n_units=N_IN)


def program_run(record, n_rows: int):
    sent = {name: tuple(one) for name, one in record.sent.items()}
    return record.quantised.program.run(sent, n_rows, trace=["hidden", "output"])


@pytest.mark.parametrize(("dt", "tolerance"), [(0.1, 5e-3), (0.5, 1e-3), (1.0, 1e-3)])  # rounding towards 0, step by step
def test_what_it_holds_does_in_continuous_time_what_the_chip_does(dt: float, tolerance: float) -> None:
    """The record's parameters, replayed by the exact engine through the record's spikes, give the chip's voltages."""
    net = network()
    params = net.init(1)
    params["hidden.i_bias"][...] = 0.0
    params["output.i_bias"][...] = 0.2
    simulator = evprop.Loihi2(dt=dt, scale="max")
    one = spikes(1, seed=3)
    record = evprop.simulate(net, params, one, duration=T, simulator=simulator)
    assert record.spikes["hidden"].n_spikes > 10
    run = program_run(record, record.n_steps)
    rows = np.arange(1, record.n_steps)
    for name in ("hidden", "output"):
        v, _ = evprop.trace(net, params, one[0], name, rows * dt, simulator=simulator)
        chip = run.v[name][0, 1:] / (64.0 * record.quantised.scales[name])
        quiet = np.ones(chip.shape, bool)
        if name == "hidden":
            fired = run.raster(name, 0, record.n_steps, N_HIDDEN)[1:].astype(bool)
            assert (v[fired] > 0.97).all()
            quiet = ~fired
        # the chip's bias acts in row 0 already; delays are held a thousandth of a step too long
        stays = np.exp(-dt / record.params[f"{name}.tau_mem"][0])
        lead = 0.2 * (1.0 - stays) * stays ** rows[:, None] * (name == "output")
        np.testing.assert_allclose(v[quiet], (chip - lead)[quiet], atol=tolerance, rtol=tolerance)


def test_a_fine_grid_finds_the_exact_spikes() -> None:
    net = network()
    params = net.init(2)
    given = spikes(8)
    exact = evprop.simulate(net, params, given, duration=T)
    chip = evprop.simulate(net, params, given, duration=T, simulator=evprop.Loihi2(dt=0.2, scale="max"))
    a, b = exact.spikes["hidden"], chip.spikes["hidden"]
    assert a.n_spikes > 100
    assert abs(a.n_spikes - b.n_spikes) <= 0.05 * a.n_spikes
    first = np.abs(a.first_times() - b.first_times())
    both = np.isfinite(first)
    assert both.mean() > 0.8
    assert np.median(first[both]) < 0.3


def test_readouts_are_those_of_the_chips_voltages() -> None:
    net = network()
    params = net.init(3)
    params["input_hidden.weight"] *= 0.35
    asked = [Integral(), WeightedIntegral(30.0), Max(), Final(), Sampled([0.0, 7.25, T])]
    record = evprop.simulate(
        *(net, params, spikes()),
        duration=T,
        readouts={"output": asked, "hidden": [Max()]},
        simulator=evprop.Loihi2(dt=0.5),
    )
    run = program_run(record, record.n_steps)
    v = run.v["output"] / (64.0 * record.quantised.scales["output"])
    t = np.arange(121) * 0.5
    mean = (v.sum(axis=1) - (v[:, 0] + v[:, -1]) / 2.0) * 0.5 / T
    np.testing.assert_allclose(record.readout["output"][0], mean, rtol=1e-12)
    weight = np.exp(-t / 30.0)[None, :, None]
    whole = ((v * weight).sum(axis=1) - (v[:, 0] + v[:, -1] * weight[0, -1]) / 2.0) * 0.5 / T
    np.testing.assert_allclose(record.readout["output"][1], whole, rtol=1e-9)
    np.testing.assert_array_equal(record.readout["output"][2], v.max(axis=1))
    np.testing.assert_array_equal(record.max_times("output", Max()), t[v.argmax(axis=1)])
    np.testing.assert_array_equal(record.readout["output"][3], v[:, -1])
    sampled = record.readout["output"][4]
    assert sampled.shape == (4, 3, N_OUT)
    np.testing.assert_array_equal(sampled[:, 0], v[:, 0])
    np.testing.assert_allclose(sampled[:, 1], (v[:, 14] + v[:, 15]) / 2.0)
    np.testing.assert_array_equal(sampled[:, 2], v[:, -1])
    peak = record.readout["hidden"][0]
    fired = record.spikes["hidden"].counts() > 0
    assert fired.any()
    assert not fired.all()
    np.testing.assert_allclose(peak[fired], np.broadcast_to(record.params["hidden.v_th"], peak.shape)[fired])
    np.testing.assert_array_equal(np.isnan(record.max_times("hidden", Max())), fired)


def test_readouts_are_near_those_of_continuous_time() -> None:
    net = network()
    params = net.init(3)
    shaped = [WeightedIntegral(30.0), LinearIntegral(), SigmoidIntegral(30.0, 12.0)]
    asked = {"output": [Integral(), *shaped, Max(), Final(), Sampled([10.0, 33.3])]}
    exact = evprop.simulate(net, params, spikes(), duration=T, readouts=asked)
    chip = evprop.simulate(net, params, spikes(), duration=T, readouts=asked, simulator=evprop.Loihi2(dt=0.1, scale="max"))
    for a, b in zip(exact.readout["output"], chip.readout["output"], strict=True):
        assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.98


@pytest.mark.parametrize("loss", [FirstSpike(1.0, 6.4, 3e-3), CrossEntropy(Max()), CrossEntropy(WeightedIntegral(40.0))])
def test_gradients_are_those_of_the_exact_adjoint_on_the_chips_spikes(loss) -> None:
    output = evprop.LIF(N_OUT) if isinstance(loss, FirstSpike) else None
    net = network(output=output)
    params = net.init(4)
    labels = np.array([0, 1, 2, 0])
    value, grads, record = evprop.value_and_grad(
        *(net, params, spikes(), labels, loss), duration=T, simulator=evprop.Loihi2(dt=0.5, min_vdot=0.02)
    )
    assert value == loss.evaluate(record, labels).values.mean()
    result = loss.evaluate(record, labels)
    again = evprop.backward(record, result.spike_times, result.readouts)
    for name in grads:
        np.testing.assert_allclose(grads[name], again[name] / 4.0, rtol=1e-10, atol=1e-14)
    # a second way: currents replayed by the exact engine through the chip's spikes, where no readout is needed
    observed = {name: record.spikes[name] for name in record.spikes if name != "input"}
    by_hand = evprop.Record.from_spikes(
        net, record.params, record.inputs["input"], observed, duration=T, min_vdot=0.02
    )
    for name in observed:
        replayed = by_hand.currents(name)
        np.testing.assert_allclose(record.currents(name), replayed, atol=0.02 * np.abs(replayed).max())
    if not result.readouts:
        other = evprop.backward(by_hand, result.spike_times)
        for name in grads:
            a, b = grads[name].ravel() * 4.0, other[name].ravel()
            assert np.linalg.norm(a - b) <= 0.05 * np.linalg.norm(b), name
    assert grads["input_hidden.weight"].any()
    assert grads["hidden_hidden.delay"].any()
    assert grads.input_times.shape == spikes().times.shape
    assert grads.health.floored >= 0


def test_gradients_approach_the_exact_ones() -> None:
    net = network(delays=True)
    params = net.init(5)
    labels = np.array([0, 1, 2, 0])
    loss = CrossEntropy(Integral())
    _, exact, _ = evprop.value_and_grad(net, params, spikes(), labels, loss, duration=T)
    cosines = []
    for dt in (1.0, 0.1):
        _, chip, _ = evprop.value_and_grad(
            *(net, params, spikes(), labels, loss), duration=T, simulator=evprop.Loihi2(dt=dt, scale="max")
        )
        a, b = exact["hidden_output.weight"].ravel(), chip["hidden_output.weight"].ravel()
        cosines.append(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
    assert cosines[1] > 0.98
    assert cosines[0] > 0.9


def test_a_voltage_gradient_is_a_finite_difference() -> None:
    """Without hidden spikes the readout is linear in the weights, so straight-through gradients are true ones."""
    net = evprop.Network(
        {"input": evprop.Input(N_IN), "output": evprop.LI(N_OUT)},
        [evprop.Dense("input", "output", weight=evprop.init.Normal(0.3, 0.4), delay=evprop.init.Constant(2.0))],
    )
    params = net.init(0)
    labels = np.array([0, 1, 2, 0])
    loss = CrossEntropy(Integral())
    simulator = evprop.Loihi2(dt=0.5, scale="max")
    _, grads, record = evprop.value_and_grad(net, params, spikes(), labels, loss, duration=T, simulator=simulator)
    q = record.quantised
    step = q.report.projections[0].step
    fixed = evprop.Loihi2(dt=0.5, scale=q.scales)
    for index in ((0, 0), (3, 1), (6, 2)):
        ends = []
        for sign in (1, -1):
            moved = {k: v.copy() for k, v in q.params.items()}
            moved["input_output.delay"][...] = params["input_output.delay"]
            for name in ("tau_mem", "tau_syn"):
                moved[f"output.{name}"][...] = params[f"output.{name}"]
            moved["input_output.weight"][index] += sign * 4 * step
            r = evprop.simulate(net, moved, spikes(), duration=T, readouts=loss.readouts(net), simulator=fixed)
            ends.append(loss.evaluate(r, labels).values.mean())
        assert grads["input_output.weight"][index] == pytest.approx((ends[0] - ends[1]) / (8 * step), rel=0.02, abs=1e-5)


def test_training_on_the_chips_model() -> None:
    data = yin_yang("train", size=150)
    init = evprop.init
    net = evprop.Network(
        {"input": evprop.Input(5), "hidden": evprop.LIF(30), "output": evprop.LIF(3)},
        [
            evprop.Dense("input", "hidden", weight=init.Normal(1.5, 0.78)),
            evprop.Dense("hidden", "output", weight=init.Normal(0.93, 0.1)),
        ],
    )
    params = net.init(0)
    loss = FirstSpike(tau_0=0.5, tau_1=6.4, alpha=3e-3)
    history = evprop.train.fit(
        *(net, params, data, loss, evprop.optim.Adam(1e-2)),
        epochs=8,
        batch_size=30,
        duration=60.0,
        seed=0,
        simulator=evprop.Loihi2(dt=0.5, scale="max"),
        validation=data,
    )
    assert history["loss"][-1] < 0.7 * history["loss"][0]
    assert history["val_loss"][-1] < history["val_loss"][0]


def test_spikes_of_one_unit_in_one_step_are_counted_not_dropped() -> None:
    net = evprop.Network(
        {"input": evprop.Input(2), "output": evprop.LI(1)}, [evprop.Dense("input", "output", weight=0.5)]
    )
    params = net.init(0)
    twice = evprop.Spikes.from_lists([([1.0, 1.1, 3.0], [0, 0, 1])], n_units=2)
    record = evprop.simulate(net, params, twice, duration=10.0, readouts={"output": [Final()]}, simulator=evprop.Loihi2(dt=1.0))
    assert record.sent["input"].payloads.tolist() == [2, 1]
    assert record.inputs["input"].times.tolist() == [1.0, 1.0, 3.0]
    once = evprop.Spikes.from_lists([([1.0, 3.0], [0, 1])], n_units=2)
    other = evprop.simulate(net, params, once, duration=10.0, readouts={"output": [Final()]}, simulator=evprop.Loihi2(dt=1.0))
    assert record.readout["output"][0] > 1.4 * other.readout["output"][0]


def test_parts_of_a_batch_are_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    net = network()
    params = net.init(6)
    asked = {"output": [Max(), Integral()]}
    whole = evprop.simulate(net, params, spikes(5), duration=T, readouts=asked, simulator=evprop.Loihi2(dt=1.0))
    monkeypatch.setattr(module, "TRACE_BYTES", 12 * 61 * N_OUT * 2)
    parts = evprop.simulate(net, params, spikes(5), duration=T, readouts=asked, simulator=evprop.Loihi2(dt=1.0))
    assert whole.spikes["hidden"] == parts.spikes["hidden"]
    for a, b in zip(whole.readout["output"], parts.readout["output"], strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(whole.max_times("output", Max()), parts.max_times("output", Max()))


def test_float32_parameters() -> None:
    net = network()
    params = net.init(7, dtype="float32")
    simulator = evprop.Loihi2(dt=1.0, dtype="float32")
    labels = np.array([0, 1, 2, 0])
    _, grads, record = evprop.value_and_grad(
        *(net, params, spikes(), labels, CrossEntropy(Max())), duration=T, simulator=simulator
    )
    assert record.readout["output"][0].dtype == np.float32
    assert grads["input_hidden.weight"].dtype == np.float32
    wide = {name: array.astype(np.float64) for name, array in params.items()}
    other = evprop.simulate(net, wide, spikes(), duration=T, simulator=evprop.Loihi2(dt=1.0))
    assert other.spikes["hidden"] == record.spikes["hidden"]
    with pytest.raises(ParameterError, match="float32"):
        evprop.simulate(net, params, spikes(), duration=T, simulator=evprop.Loihi2(dt=1.0))


def test_pictures_and_metrics_of_its_records() -> None:
    plot = pytest.importorskip("evprop.plot", reason="needs the extra evprop[plot]")
    net = network()
    params = net.init(3)
    simulator = evprop.Loihi2(dt=0.5)
    record = evprop.simulate(net, params, spikes(), duration=T, simulator=simulator)
    drawn = plot.raster(record, 1)
    rows = drawn.axes[1].collections  # eventplot: one for each neuron
    assert len(rows) == N_HIDDEN
    times, units = record.spikes["hidden"][1]
    for unit, row in enumerate(rows):
        np.testing.assert_array_equal(row.get_positions(), times[units == unit])
    per_neuron = evprop.metrics.spikes_per_neuron(record)["hidden"]
    assert per_neuron == record.spikes["hidden"].n_spikes / (4 * N_HIDDEN)
    before, after = plot.histograms(net, params, record.params), plot.histograms(net, params, params)
    assert len(before.axes) == len(after.axes)


def test_strict_names_the_place() -> None:
    net = evprop.Network(
        {"input": evprop.Input(N_IN), "output": evprop.LI(1)}, [evprop.Dense("input", "output", weight=1.0)]
    )
    params = net.init(0)
    loud = evprop.Loihi2(dt=1.0, scale={"output": 4000.0})
    many = evprop.Spikes.from_lists([(np.full(400, 5.0), np.arange(400) % N_IN)], n_units=N_IN)
    with pytest.raises(HardwareError, match=r"exceeds 16 bits in 'output', neuron 0, sample 0, step 6: .*smaller scale"):
        evprop.simulate(net, params, many, duration=10.0, simulator=loud)
    lax = evprop.Loihi2(dt=1.0, scale={"output": 4000.0}, strict=False)
    assert evprop.simulate(net, params, many, duration=10.0, simulator=lax).n_steps == 11


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: evprop.Loihi2(dt=-1.0), "dt is -1.0 ms"),
        (lambda: evprop.Loihi2(scale="best"), "scale is 'best'"),
        (lambda: evprop.Loihi2(num_weight_bits=1), "num_weight_bits is 1"),
        (lambda: evprop.Loihi2(min_vdot=0.0), "min_vdot is 0.0"),
        (lambda: evprop.Loihi2(decay_tolerance=0.0), "decay_tolerance is 0.0"),
        (
            lambda: evprop.simulate(network(), network().init(0), spikes(), duration=1e9, simulator=evprop.Loihi2(dt=1.0)),
            "are 1,000,000,001 steps",
        ),
    ],
)
def test_what_it_refuses(make, message) -> None:
    with pytest.raises(HardwareError, match=message):
        make()
