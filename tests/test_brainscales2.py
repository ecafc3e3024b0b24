"""The model of BrainScaleS-2: everything off is the exact simulator; each distortion does what it says, alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

import evprop
from evprop.errors import HardwareError, ParameterError
from evprop.hardware import BrainScaleS2
from evprop.hardware.brainscales2.mapping import round_weights
from evprop.hardware.brainscales2.simulator import OFF
from evprop.losses import (
    CrossEntropy,
    Final,
    Integral,
    LinearIntegral,
    Max,
    RelativeMSE,
    Sampled,
    SigmoidIntegral,
    WeightedIntegral,
)
from strategies import Problem, busy_problems

SHAPED = [WeightedIntegral(10.0), LinearIntegral(), SigmoidIntegral(8.0, 3.0)]
READOUTS = [Final(), Integral(), *SHAPED, Sampled([1.0, 7.5]), Max()]


def layered(
    hidden: int = 12, *, delay: str | None = None, output: str = "lif", **constants: Any
) -> evprop.Network:
    given: dict[str, Any] = {"tau_mem": 6.0, "tau_syn": 6.0, "t_ref": 20.0} | constants
    late = {} if delay is None else {"delay": evprop.init.Uniform(9.0, 20.0), "delay_kind": delay}
    last = evprop.LIF(3, **given) if output == "lif" else evprop.LI(3, tau_mem=6.0, tau_syn=6.0)
    return evprop.Network(
        {"input": evprop.Input(4), "hidden": evprop.LIF(hidden, **given), "output": last},
        [
            evprop.Dense("input", "hidden", weight=evprop.init.Normal(1.8, 1.0), **late),
            evprop.Dense("hidden", "output", weight=evprop.init.Normal(1.0, 0.5)),
        ],
    )


def some_spikes(batch: int = 20, n: int = 4, seed: int = 0) -> evprop.Spikes:
    rng = np.random.default_rng(seed)
    samples = [(np.sort(rng.uniform(0.9, 12.0, n)), rng.permutation(n)) for _ in range(batch)]
    return evprop.Spikes.from_lists(samples, n_units=n)


def run(sim: Any, net: evprop.Network, params: Any, spikes: Any, duration: float = 60.0, **given: Any) -> Any:
    return evprop.simulate(net, params, spikes, duration=duration, simulator=sim, **given)


def same_times(a: Any, b: Any, population: str, tolerance: float) -> bool:
    """Spikes of each sample, unit by unit, lie within the tolerance."""
    one, other = a.spikes[population], b.spikes[population]
    if not np.array_equal(one.offsets, other.offsets):
        return False
    rank = [np.lexsort((s.times, s.units, s.samples)) for s in (one, other)]
    units = [s.units[r] for s, r in zip((one, other), rank, strict=True)]
    times = [s.times[r] for s, r in zip((one, other), rank, strict=True)]
    return bool(np.array_equal(*units) and np.allclose(*times, rtol=0.0, atol=tolerance))


# -- everything off ------------------------------------------------------------------------------------------


@settings(max_examples=30)
@given(busy_problems())
def test_all_off_is_exact(problem: Problem) -> None:
    """Any network: recurrent, delayed, sparse, refractory, tonic. Up to spikes that rounding may move (chaotic nets)."""
    net, params = problem.net, problem.params
    readouts = {n: READOUTS[:2] for n, p in net.populations.items() if p.kind == "li"}
    try:
        exact = run(
            evprop.Exact(max_spikes=2000), net, params, problem.spikes, problem.duration, readouts=readouts
        )
    except evprop.errors.RunawayError:
        with pytest.raises(evprop.errors.RunawayError):
            run(BrainScaleS2.ideal(max_spikes=2000), net, params, problem.spikes, problem.duration)
        return
    chip = run(
        BrainScaleS2.ideal(max_spikes=2000), net, params, problem.spikes, problem.duration, readouts=readouts
    )
    lif = [n for n, p in net.populations.items() if p.kind == "lif"]
    assert all(same_times(exact, chip, name, 1e-8) for name in lif)
    for name, values in exact.readout.items():
        for a, b in zip(values, chip.readout[name], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-9)
    assert chip.report.input_link.late == chip.report.input_link.lost == chip.report.early == 0


def test_all_off_has_the_exact_gradients_and_readouts() -> None:
    net = layered(delay="axonal")
    params, spikes, labels = net.init(1), some_spikes(), np.arange(20) % 3
    loss = RelativeMSE(delta=1.0)
    given = {"duration": 80.0}
    value, grads, _ = evprop.value_and_grad(net, params, spikes, labels, loss, **given)
    ours, chip, record = evprop.value_and_grad(
        net, params, spikes, labels, loss, simulator=BrainScaleS2.ideal(), **given
    )
    assert ours == pytest.approx(value, rel=1e-12)
    assert chip.health.floored == 0
    for name in grads:
        np.testing.assert_allclose(chip[name], grads[name], rtol=1e-8, atol=1e-12)
    net = layered(output="li")
    params = net.init(2)
    exact = run(evprop.Exact(), net, params, spikes, readouts={"output": READOUTS, "hidden": [Final()]})
    record = run(
        BrainScaleS2.ideal(), net, params, spikes, readouts={"output": READOUTS, "hidden": [Final()]}
    )
    for name in ("output", "hidden"):
        for a, b in zip(exact.readout[name], record.readout[name], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def test_every_distortion_can_be_switched_off_alone() -> None:
    sim = BrainScaleS2(chip=1, weight_scale=30.0, min_vdot=0.01)
    assert sim.without(*OFF) == replace(BrainScaleS2.ideal(), chip=1, min_vdot=0.01)
    for name, off in OFF.items():
        assert getattr(sim.without(name), name) == off
    with pytest.raises(HardwareError, match="did you mean 'spike_jitter'"):
        sim.without("spike_jiter")
    with pytest.raises(HardwareError, match="did you mean 'chip'"):
        BrainScaleS2.ideal(chipp=2)


# -- fixed pattern -------------------------------------------------------------------------------------------

STATIC = ("tau_mem_spread", "tau_syn_spread", "threshold_offset", "threshold_spread", "reset_spread")
GAINS = ("neuron_gain_spread", "driver_gain_spread", "synapse_gain_spread")


@pytest.mark.parametrize("name", [*STATIC, *GAINS])
def test_a_fixed_pattern_is_other_constants(name: str) -> None:
    """Simulating the effective parameters exactly is the same; the same chip has the same, another chip another."""
    net = layered(t_ref=0.5)
    params, spikes = net.init(3), some_spikes()
    sim = BrainScaleS2.ideal(**{name: 0.1, "chip": 5})
    written = sim.map(net).write(params)
    changed = {k for k in params if not np.array_equal(written.effective[k], params[k])}
    kinds = {"tau_mem": "tau_mem", "tau_syn": "tau_syn", "threshold": "v_th", "reset": "v_reset"}
    kind = "weight" if name in GAINS else next(v for k, v in kinds.items() if name.startswith(k))
    assert {k.rpartition(".")[2] for k in changed} == {kind}
    assert len(changed) == 2
    record = run(sim, net, params, spikes)
    exact = run(evprop.Exact(), net, written.effective, spikes)
    assert all(same_times(record, exact, n, 1e-9) for n in ("hidden", "output"))
    again = run(BrainScaleS2.ideal(**{name: 0.1, "chip": 5}), net, params, spikes)
    assert same_times(record, again, "output", 0.0)
    if name != "threshold_offset":
        other = run(replace(sim, chip=6), net, params, spikes)
        assert not same_times(record, other, "hidden", 1e-6)


def test_spreads_have_their_size() -> None:
    net = layered(250, tau_mem=10.0)
    params = net.init(0)
    sim = BrainScaleS2.ideal(tau_mem_spread=0.08, threshold_spread=0.03, threshold_offset=0.05)
    found = sim.map(net).write(params).effective
    assert np.std(np.log(found["hidden.tau_mem"] / 10.0)) == pytest.approx(0.08, rel=0.15)
    assert np.std(found["hidden.v_th"]) == pytest.approx(0.03, rel=0.15)
    assert np.mean(found["hidden.v_th"]) == pytest.approx(1.05, abs=0.01)
    gains = (
        BrainScaleS2.ideal(synapse_gain_spread=0.07).map(net).write(params).effective["input_hidden.weight"]
    )
    assert np.std(np.log(gains / params["input_hidden.weight"])) == pytest.approx(0.07, rel=0.1)


def test_a_line_has_one_driver_and_a_sign_has_a_row() -> None:
    net = layered()
    params = net.init(0)
    weight = params["input_hidden.weight"]
    driver = (
        BrainScaleS2.ideal(driver_gain_spread=0.1).map(net).write(params).effective["input_hidden.weight"]
    )
    gain = driver / weight
    np.testing.assert_allclose(gain, np.broadcast_to(gain[:, :1], gain.shape), rtol=1e-12)
    weight[...] = np.abs(weight)
    sim = BrainScaleS2.ideal(neuron_gain_spread=0.1)
    plus = sim.map(net).write(params).effective["input_hidden.weight"] / weight
    params["input_hidden.weight"] = -weight
    minus = sim.map(net).write(params).effective["input_hidden.weight"] / -weight
    assert not np.allclose(plus, minus)
    np.testing.assert_allclose(plus, np.broadcast_to(plus[:1], plus.shape), rtol=1e-12)


# -- weights and delays --------------------------------------------------------------------------------------


def test_weights_are_rounded_clipped_and_counted() -> None:
    found = round_weights(np.array([[0.04, -0.051, 2.4, -9.0]]), 30.0, 6, 1)
    assert found.codes.tolist() == [[[1, -2, 63, -63]]]
    np.testing.assert_allclose(found.weight, np.array([[1, -2, 63, -63]]) / 30)
    assert found.clipped == 2
    five = round_weights(np.array([4.0, -0.1, 20.0]), 30.0, 6, 5)
    assert five.codes.T.tolist() == [[24] * 5, [-1, -1, -1, 0, 0], [63] * 5]
    np.testing.assert_allclose(five.weight, np.array([120, -3, 315]) / 30)
    assert five.clipped == 1


@pytest.mark.parametrize("bits", [2, 6])
def test_straight_through(bits: int) -> None:
    """The gradient of the float weights is that of the written ones, by finite differences of the loss there."""
    net = layered()
    params, spikes, labels = net.init(7), some_spikes(), np.arange(20) % 3
    sim = BrainScaleS2.ideal(weight_scale=4.0, weight_bits=bits, copies={"input": 2})
    loss = RelativeMSE(delta=1.0)
    value, grads, record = evprop.value_and_grad(
        net, params, spikes, labels, loss, duration=60.0, simulator=sim
    )
    written = dict(record.params)
    assert all(float(w * 4.0).is_integer() for w in written["input_hidden.weight"].ravel())
    assert (record.report.weights_clipped > 0) == (bits == 2)
    exact, true, _ = evprop.value_and_grad(net, written, spikes, labels, loss, duration=60.0)
    assert value == pytest.approx(exact, rel=1e-10)
    for name in net.trainable:
        np.testing.assert_allclose(grads[name], true[name], rtol=1e-7, atol=1e-10)
    name, k = "hidden_output.weight", (4, 1)
    up, down = ({**written, name: written[name].copy()} for _ in range(2))
    up[name][k] += 1e-6
    down[name][k] -= 1e-6
    losses = [evprop.value_and_grad(net, p, spikes, labels, loss, duration=60.0)[0] for p in (up, down)]
    assert grads[name][k] == pytest.approx((losses[0] - losses[1]) / 2e-6, rel=1e-4, abs=1e-7)


def test_delays_come_in_steps_within_their_range() -> None:
    net = layered(delay="axonal")
    params = net.init(0)
    params["input_hidden.delay"][:, 0] = [1.0, 9.07, 33.2, 50.0]
    sim = BrainScaleS2.ideal(delay_range=(8.25, 33.25), delay_step=0.125)
    record = run(sim, net, params, some_spikes())
    assert record.params["input_hidden.delay"][:, 0].tolist() == [8.25, 9.125, 33.25, 33.25]
    assert record.report.delays_clipped == 2


# -- noise ---------------------------------------------------------------------------------------------------


def test_noise_has_its_size_and_is_a_function_of_the_call() -> None:
    net, spikes = layered(), some_spikes(400)
    params = net.init(1)
    exact = run(BrainScaleS2.ideal(), net, params, spikes)
    shaken = run(BrainScaleS2.ideal(spike_jitter=0.05), net, params, spikes)
    assert same_times(exact, shaken, "hidden", 0.5)
    apart = [_ordered(r) for r in (exact, shaken)]
    assert np.std(apart[1] - apart[0]) == pytest.approx(0.05, rel=0.05)
    assert abs(np.mean(apart[1] - apart[0])) < 0.004
    again = run(BrainScaleS2.ideal(spike_jitter=0.05), net, params, spikes)
    assert same_times(shaken, again, "hidden", 0.0)
    other = run(BrainScaleS2.ideal(spike_jitter=0.05, trial=1), net, params, spikes)
    assert not same_times(shaken, other, "hidden", 1e-9)
    moved = {**params, "hidden_output.weight": params["hidden_output.weight"] * 1.0000001}
    assert not same_times(
        shaken, run(BrainScaleS2.ideal(spike_jitter=0.05), net, moved, spikes), "hidden", 1e-9
    )
    noisy = run(BrainScaleS2.ideal(threshold_noise=0.02), net, params, spikes)
    assert not same_times(exact, noisy, "hidden", 1e-6)


def _ordered(record: Any) -> np.ndarray:
    spikes = record.spikes["hidden"]
    return spikes.times[np.lexsort((spikes.times, spikes.units, spikes.samples))]


def test_threshold_noise_has_its_size() -> None:
    """A neuron under a constant input: the spread of its spike times is that of the thresholds over dV/dt."""
    net = evprop.Network(
        {"input": evprop.Input(1), "a": evprop.LIF(40, tau_mem=10.0, tau_syn=5.0, i_bias=2.0, t_ref=np.inf)},
        [evprop.Dense("input", "a", weight=0.0)],
    )
    spikes = evprop.Spikes.from_lists([([0.0], [0])] * 100, n_units=1)
    record = run(BrainScaleS2.ideal(threshold_noise=0.02), net, net.init(0), spikes)
    # V = 2 (1 - e^(-t/10)) crosses 1 at 10 ln 2 with dV/dt = 0.1
    times = record.spikes["a"].times
    assert np.mean(times) == pytest.approx(10.0 * np.log(2.0), abs=0.02)
    assert np.std(times) == pytest.approx(0.2, rel=0.05)


@pytest.mark.parametrize("threads", [2, 5])
def test_the_bits_do_not_depend_on_threads(threads: int) -> None:
    net, spikes = layered(delay="axonal"), some_spikes(60)
    sim = BrainScaleS2(chip=2, weight_scale=30.0, min_vdot=0.01)
    before = evprop.num_threads()
    try:
        evprop.set_num_threads(1)
        one = run(sim, net, net.init(0), spikes)
        evprop.set_num_threads(threads)
        many = run(sim, net, net.init(0), spikes)
    finally:
        evprop.set_num_threads(before)
    assert np.array_equal(one.spikes["output"].times, many.spikes["output"].times)
    assert one.report == many.report


def test_delay_jitter_shakes_a_line_as_a_whole() -> None:
    net = layered(delay="axonal", t_ref=np.inf)
    params, spikes = net.init(1), some_spikes(300)
    still = run(BrainScaleS2.ideal(), net, params, spikes)
    shaken = run(BrainScaleS2.ideal(delay_jitter=0.05), net, params, spikes)
    assert not same_times(still, shaken, "hidden", 1e-6)
    # one input alone: all hidden neurons that it fires move together
    net = evprop.Network(
        {"input": evprop.Input(1), "a": evprop.LIF(5, tau_mem=6.0, tau_syn=6.0, t_ref=np.inf)},
        [evprop.Dense("input", "a", weight=4.0, delay=10.0, delay_kind="axonal")],
    )
    spikes = evprop.Spikes.from_lists([([1.0], [0])] * 50, n_units=1)
    times = (
        run(BrainScaleS2.ideal(delay_jitter=0.05), net, net.init(0), spikes).spikes["a"].times.reshape(50, 5)
    )
    assert np.ptp(times, axis=1).max() < 1e-9
    assert np.std(times[:, 0]) == pytest.approx(0.05, rel=0.3)


# -- links, clock, converter ---------------------------------------------------------------------------------


def test_late_and_lost_events_are_counted() -> None:
    net = layered()
    params = net.init(0)
    spikes = evprop.Spikes.from_lists([([1.0] * 4, [0, 1, 2, 3])] * 3, n_units=4)
    free = run(BrainScaleS2.ideal(), net, params, spikes)
    slow = run(BrainScaleS2.ideal(link_rate=2.0), net, params, spikes)
    report = slow.report.input_link
    assert (report.events, report.late, report.lost, report.longest_wait) == (12, 9, 0, 1.5)
    assert slow.spikes["hidden"].times.min() > free.spikes["hidden"].times.min()
    lossy = run(BrainScaleS2.ideal(link_rate=2.0, link_buffer=1), net, params, spikes).report
    assert (lossy.input_link.late, lossy.input_link.lost) == (3, 6)
    assert lossy.output_link.lost > 0
    five = run(BrainScaleS2.ideal(link_rate=2.0, copies={"input": 5}), net, params, spikes).report.input_link
    assert five.longest_wait == pytest.approx(7.5)


def test_time_stamps_lie_on_the_clock() -> None:
    net, spikes = layered(), some_spikes()
    params = net.init(0)
    record = run(BrainScaleS2.ideal(time_stamp=0.25), net, params, spikes)
    exact = run(BrainScaleS2.ideal(), net, params, spikes)
    steps = record.spikes["hidden"].times / 0.25
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-12)
    assert same_times(record, exact, "hidden", 0.125)
    late = run(BrainScaleS2.ideal(time_stamp=14.0), net, params, spikes, 13.0)
    assert late.report.after_end > 0


def test_converter_reads_codes_at_its_period() -> None:
    net, spikes = layered(output="li"), some_spikes()
    params = net.init(0)
    params["hidden_output.weight"] *= 0.3
    exact = run(evprop.Exact(), net, params, spikes, readouts={"output": READOUTS})
    read = run(
        BrainScaleS2.ideal(readout_period=0.01, adc_scale=35.0),
        net,
        params,
        spikes,
        readouts={"output": READOUTS},
    )
    for a, b in zip(exact.readout["output"], read.readout["output"], strict=True):
        np.testing.assert_allclose(a, b, atol=0.02)  # half a code is 1/70; samples lie 0.01 ms apart
    codes = read.readout["output"][0] * 35.0
    np.testing.assert_allclose(codes, np.rint(codes), atol=1e-9)
    times = read.max_times("output", Max()) / 0.01
    np.testing.assert_allclose(times, np.rint(times), atol=1e-6)


def test_gradients_through_the_readout_are_the_exact_ones() -> None:
    net, spikes, labels = layered(output="li"), some_spikes(), np.arange(20) % 3
    params, loss = net.init(0), CrossEntropy(Final())
    fine = BrainScaleS2.ideal(readout_period=0.01, adc_bits=16, adc_scale=5000.0)
    _, grads, _ = evprop.value_and_grad(net, params, spikes, labels, loss, duration=60.0, simulator=fine)
    _, exact, _ = evprop.value_and_grad(net, params, spikes, labels, loss, duration=60.0)
    for name in exact:
        np.testing.assert_allclose(grads[name], exact[name], rtol=1e-3, atol=1e-5)


def test_the_membrane_saturates() -> None:
    """A strong inhibition: within its range the membrane comes back sooner, and the neuron fires sooner."""
    net = evprop.Network(
        {
            "input": evprop.Input(2),
            "a": evprop.LIF(1, tau_mem=6.0, tau_syn=6.0, t_ref=np.inf),
            "o": evprop.LI(1),
        },
        [
            evprop.Dense("input", "a", weight=np.array([[-9.0], [12.0]])),
            evprop.Dense("input", "o", weight=np.array([[-9.0], [0.0]])),
        ],
    )
    spikes = evprop.Spikes.from_lists([([0.0, 8.0], [0, 1])], n_units=2)
    params = net.init(0)
    free = run(BrainScaleS2.ideal(), net, params, spikes)
    kept = run(BrainScaleS2.ideal(membrane_range=(30.0, 210.0)), net, params, spikes)
    assert kept.spikes["a"].times[0] < free.spikes["a"].times[0] - 0.1
    asked = {"o": [Sampled(np.linspace(0.0, 60.0, 61))]}
    sim = BrainScaleS2.ideal(membrane_range=(30.0, 210.0), readout_period=0.5)
    assert run(sim, net, params, spikes, readouts=asked).readout["o"][0].min() == pytest.approx(-50 / 70)
    with pytest.raises(ParameterError, match="give readout_period"):
        run(BrainScaleS2.ideal(membrane_range=(30.0, 210.0)), net, params, spikes, readouts=asked)


def test_refractory_times_beyond_the_counter_are_refused() -> None:
    net = layered(t_ref=np.inf)
    with pytest.raises(
        HardwareError, match=r"hidden.t_ref\[0\] is inf ms \(12 such neurons\).*0.04 to 32 us"
    ):
        run(BrainScaleS2.ideal(refractory_range=(0.04, 32.0)), net, net.init(0), some_spikes())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"spike_jitter": -0.1}, "spike_jitter is -0.1; it must be finite and >= 0"),
        ({"min_vdot": 0.0}, "min_vdot is 0.0; it must be finite and > 0."),
        ({"weight_scale": 0.0}, "or None to switch it off"),
        ({"weight_bits": 0}, "weight_bits is 0; it must be an integer from 1 to 16"),
        ({"chip": -1}, "chip is -1"),
        ({"chip": True}, "chip is True"),
        ({"membrane_range": (3.0, 1.0)}, "low < high"),
        ({"threshold_noise": 0.2}, "beyond 0.1"),
        ({"delay_range": (-1.0, 3.0)}, "no delay is negative"),
        ({"readout_period": float("nan")}, "readout_period is nan"),
    ],
)
def test_bad_settings(given: dict[str, Any], message: str) -> None:
    with pytest.raises(HardwareError, match=message):
        BrainScaleS2.ideal(**given)


def test_float32_parameters_are_refused() -> None:
    net = layered()
    with pytest.raises(evprop.errors.DtypeError, match="float64"):
        run(BrainScaleS2.ideal(), net, net.init(0, dtype="float32"), some_spikes())


def test_time_is_a_thousandfold() -> None:
    assert BrainScaleS2.ideal().hardware_us(6.0) == 6.0
    assert BrainScaleS2.ideal(acceleration=500.0).hardware_us([6.0]).tolist() == [12.0]
