"""Each way in which another event-based gradient package was seen to fail, as a test that this one passes.

The failures were measured on released packages; the docstrings say what went wrong, not where.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

import evprop
from agreement import Jacobian, compare, slow_runs, worst_error
from evprop.losses import CrossEntropy, Final, FirstSpike, Max
from evprop.testing import gradcheck


def single(weights: Any, times: Any, **constants: Any) -> tuple[Any, Any, Any]:
    """(net, params, spikes) of one neuron with one input line for each spike."""
    weights, times = np.atleast_1d(np.asarray(weights, float)), np.atleast_1d(np.asarray(times, float))
    net = evprop.Network(
        {"in": evprop.Input(len(weights)), "n": evprop.LIF(1, **constants)},
        [evprop.Dense("in", "n", weight=weights[:, None])],
    )
    return net, net.init(0), evprop.Spikes.from_lists([(times, np.arange(len(times)))], n_units=len(weights))


def assert_exact(net: Any, params: Any, spikes: Any, duration: float) -> evprop.Record:
    record = evprop.simulate(net, params, spikes, duration=duration)
    found = compare(record, slow_runs(net, params, spikes, duration), tolerance=1e-9, margin=1e-12)
    assert not found.disagreements, "\n".join(found.disagreements)
    return record


# -- spikes that were lost or invented -----------------------------------------------------------------------


def test_no_spike_is_lost_after_a_reset() -> None:
    """A peer looked for the maximum after a reset at the wrong time: in 15 of 200 neurons V stayed above threshold."""
    rng = np.random.default_rng(0)
    several = 0
    for _ in range(200):
        n = int(rng.integers(2, 8))
        net, params, spikes = single(
            rng.normal(5.0, 5.0, n), rng.uniform(0.0, 30.0, n), tau_mem=20.0, tau_syn=5.0
        )
        record = assert_exact(net, params, spikes, 80.0)
        several += record.spikes["n"].n_spikes > 1
        v, _ = evprop.trace(net, params, spikes, "n", np.linspace(0.0, 80.0, 2001))
        assert v.max() <= 1.0 + 1e-12
    assert several > 50


@pytest.mark.parametrize("start", [3600.0, 1e6])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_inputs_at_late_times(start: float, dtype: str) -> None:
    """exp(t / tau_syn) of absolute times overflows at 3.6 s with tau_syn 5 ms: silently no spikes."""
    weights, times = [4.0, 5.0, 3.0, 6.0], np.array([0.0, 2.5, 3.0, 11.0])
    net, _, early = single(weights, times)
    params = net.init(0, dtype=dtype)
    simulator = evprop.Exact(dtype=dtype)
    late = evprop.Spikes.from_lists([(times + start, np.arange(4))], n_units=4)
    first = evprop.simulate(net, params, early, duration=60.0, simulator=simulator).spikes["n"].times
    shifted = evprop.simulate(net, params, late, duration=start + 60.0, simulator=simulator)
    assert len(first) >= 2
    np.testing.assert_allclose(shifted.spikes["n"].times - start, first, rtol=0, atol=1e-8)
    grads = evprop.backward(shifted, {"n": np.ones(len(first))})
    assert np.isfinite(grads["in_n.weight"]).all()
    assert grads.input_times.sum() == pytest.approx(len(first), rel=1e-6 if dtype == "float64" else 1e-3)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("tau_mem", "tau_syn"), [(20.0, 5.0), (5.0, 5.0), (5.0, 20.0)])
def test_a_long_silence_after_the_last_input(tau_mem: float, tau_syn: float, dtype: str) -> None:
    """exp(-t / tau) underflows over long spans; the spikes at their beginning must not go with it."""
    net, _, spikes = single(30.0, 1.0, tau_mem=tau_mem, tau_syn=tau_syn)
    params, simulator = net.init(0, dtype=dtype), evprop.Exact(dtype=dtype)
    expected = evprop.simulate(net, params, spikes, duration=200.0, simulator=simulator).spikes["n"].times
    assert len(expected) >= 5
    for duration in (1e3, 3e3, 1e4, 1e5, 1e7):
        found = evprop.simulate(net, params, spikes, duration=duration, simulator=simulator).spikes["n"].times
        np.testing.assert_allclose(found, expected, rtol=1e-12 if dtype == "float64" else 1e-4)


@pytest.mark.parametrize("ratio", [1.0, 1.4, 1.6, 3.0, 4.0])
def test_the_ratio_of_the_time_constants_is_taken_as_given(ratio: float) -> None:
    """Peers gave no spikes for equal constants, or rounded the ratio to 1 or 2."""
    rng = np.random.default_rng(int(10 * ratio))
    for _ in range(20):
        n = int(rng.integers(1, 6))
        assert_exact(
            *single(rng.normal(6.0, 3.0, n), rng.uniform(0.0, 20.0, n), tau_mem=5.0 * ratio, tau_syn=5.0),
            80.0,
        )


def test_a_spike_that_a_rounded_ratio_invents() -> None:
    """At ratio 4 a current of 6 peaks at 6 * 4^(-4/3) = 0.945 of the threshold; at ratio 2 it would cross."""
    arguments = single(6.0, 0.0, tau_mem=20.0, tau_syn=5.0)
    assert assert_exact(*arguments, 100.0).spikes["n"].n_spikes == 0
    record = evprop.simulate(*arguments, duration=100.0, readouts={"n": [Max()]})
    assert record.readout["n"][0][0, 0] == pytest.approx(6.0 * 4.0 ** (-4.0 / 3.0), rel=1e-13)


def test_no_cap_on_events() -> None:
    """A cap of 50 events in a layer of 120: 47.7 of 120 spikes and two thirds of the gradient's norm, without a word."""
    rng = np.random.default_rng(1)
    net = evprop.Network(
        {"in": evprop.Input(5), "h": evprop.LIF(120, t_ref=np.inf), "o": evprop.LI(3)},
        [
            evprop.Dense("in", "h", weight=rng.normal(6.0, 1.0, (5, 120))),
            evprop.Dense("h", "o", weight=rng.uniform(0.05, 0.1, (120, 3))),
        ],
    )
    params = net.init(0)
    spikes = evprop.Spikes.from_lists([(np.array([0.0, 5.0, 7.0, 12.0, 20.0]), np.arange(5))], n_units=5)
    record = assert_exact(net, params, spikes, 60.0)
    assert record.spikes["h"].n_spikes == 120
    loss, labels = CrossEntropy(Final()), np.array([1])
    _, grads, _ = evprop.value_and_grad(net, params, spikes, labels, loss, duration=60.0)
    assert np.count_nonzero(np.abs(grads["in_h.weight"]).sum(axis=0)) == 120
    gradcheck(
        net, params, spikes, loss, duration=60.0, targets=labels, wrt=["in_h.weight"], n_directions=2
    ).raise_if_wrong()


@pytest.mark.parametrize("above", [1e-3, 1e-6, 1e-9, 1e-11])
@pytest.mark.parametrize("ratio", [1.0, 1.4, 4.0])
def test_near_threshold_spikes_are_found(above: float, ratio: float) -> None:
    """Probing V at a few instants misses them (0.67 % of all spikes of one peer)."""
    tau_syn, tau_mem = 5.0, 5.0 * ratio
    peak = np.exp(-1.0) if ratio == 1.0 else ratio ** (-ratio / (ratio - 1.0))
    for sign, expected in ((1.0, 1), (-1.0, 0)):
        weight = (1.0 + sign * above) / peak
        arguments = single(weight, 0.0, tau_mem=tau_mem, tau_syn=tau_syn)
        assert assert_exact(*arguments, 100.0).spikes["n"].n_spikes == expected


def test_crossings_converge() -> None:
    """A clamped Newton iteration stopped up to 8.4 of 40 ms away, unflagged. Here V is at the threshold."""
    rng = np.random.default_rng(5)
    for _ in range(50):
        n = int(rng.integers(1, 6))
        net, params, spikes = single(rng.normal(8.0, 4.0, n), rng.uniform(0.0, 20.0, n), t_ref=np.inf)
        record = evprop.simulate(net, params, spikes, duration=60.0)
        for at in record.spikes["n"].times:
            before, _ = evprop.trace(net, params, spikes, "n", [at - 1e-9])
            assert 1.0 - 1e-8 < before[0, 0] < 1.0


@pytest.mark.parametrize("weight", [30.0, 300.0])
def test_more_spikes_of_a_neuron_than_any_cap(weight: float) -> None:
    """Caps of 3, 4, 12 or 1500 spikes per neuron, the rest dropped silently."""
    record = assert_exact(*single([weight] * 6, np.arange(6.0)), 100.0)
    assert record.spikes["n"].n_spikes > 30


def test_thousands_of_spikes_of_one_neuron_and_their_exact_gradient() -> None:
    """Spikes beyond a fixed ring buffer were dropped from the backward pass.

    Here t_N = N tau ln((b - v_reset) / (b - v_th)), the first period from v_init = v_reset.
    """
    tau, bias, v_reset, count = 10.0, 1.5, -0.3, 5000
    period = tau * np.log((bias - v_reset) / (bias - 1.0))
    net, params, spikes = single(0.0, [], tau_mem=tau, i_bias=bias, v_reset=v_reset, v_init=v_reset)
    record = evprop.simulate(net, params, spikes, duration=period * (count + 0.5))
    assert record.spikes["n"].n_spikes == count
    last = np.zeros(count)
    last[-1] = 1.0
    expected = {
        "n.tau_mem": count * period / tau,
        "n.v_th": count * tau / (bias - 1.0),
        "n.v_reset": -(count - 1) * tau / (bias - v_reset),
        "n.v_init": -tau / (bias - v_reset),
        "n.i_bias": count * tau * (1.0 / (bias - v_reset) - 1.0 / (bias - 1.0)),
    }
    grads = evprop.backward(record, {"n": last}, wrt=list(expected))
    for name, value in expected.items():  # times of 64 s are rounded to 7e-12 ms, 5000 times over
        assert grads[name][0] == pytest.approx(value, rel=2e-9), name


def test_neurons_that_cross_together_all_spike() -> None:
    """One at a time, the others clipped just below threshold: here all of them, at the same instant."""
    net = evprop.Network({"in": evprop.Input(1), "n": evprop.LIF(40)}, [evprop.Dense("in", "n", weight=9.0)])
    spikes = evprop.Spikes.from_lists([([1.0], [0])], n_units=1)
    times, units = evprop.simulate(net, net.init(0), spikes, duration=10.0).spikes["n"][0]
    assert units[:40].tolist() == list(range(40))
    assert len(set(times[:40].tolist())) == 1


def test_a_runaway_network_is_an_error_not_a_truncation() -> None:
    """Truncated without error, or NaN; here an error that names the population and the limit."""
    net = evprop.Network(
        {"in": evprop.Input(1), "loop": evprop.LIF(4)},
        [evprop.Dense("in", "loop", weight=30.0), evprop.Dense("loop", "loop", weight=50.0)],
    )
    spikes = evprop.Spikes.from_lists([([0.0], [0])], n_units=1)
    start = time.monotonic()
    with pytest.raises(evprop.errors.RunawayError, match=r"loop.*20.?000|20.?000.*loop"):
        evprop.simulate(net, net.init(0), spikes, duration=1000.0, simulator=evprop.Exact(max_spikes=20_000))
    assert time.monotonic() - start < 30.0


def test_a_silent_neuron_has_no_spike_at_the_duration() -> None:
    """ "No spike" was coded as a spike at t_max. And a silent output gave NaN in a loss."""
    net, params, spikes = single([0.5, 0.5], [0.0, 1.0])
    record = evprop.simulate(net, params, spikes, duration=20.0)
    assert record.spikes["n"].n_spikes == 0
    value, grads, _ = evprop.value_and_grad(
        net, params, spikes, np.array([0]), FirstSpike(0.5, 6.4, 0.003), duration=20.0
    )
    assert np.isfinite(value)
    assert np.isfinite(grads["in_n.weight"]).all()


# -- gradients that were wrong -------------------------------------------------------------------------------


def test_gradients_near_threshold_are_not_dropped_unless_asked() -> None:
    """A default of max_dw_norm = 0.2 set them to zero: an error of 51 to 74 % of the gradient."""
    net, params, spikes = single(np.e * 1.0005, 0.0, tau_mem=5.0, tau_syn=5.0)
    record = evprop.simulate(net, params, spikes, duration=50.0)
    assert record.spikes["n"].n_spikes == 1
    full = evprop.backward(record, {"n": np.ones(1)})
    assert abs(full["in_n.weight"][0, 0]) > 10.0
    expected = Jacobian(net, params, spikes, 50.0).gradients({"n": np.ones(1)})
    assert full["in_n.weight"] == pytest.approx(expected["in_n.weight"], rel=1e-10)
    assert 0.0 < full.health.min_vdot < 0.01
    dropped = evprop.backward(record, {"n": np.ones(1)}, max_dw_norm=0.2)
    assert dropped["in_n.weight"][0, 0] == 0.0
    assert dropped.health.dropped == 1


def test_reset_and_refractory_time_are_in_the_adjoint() -> None:
    """v_reset != 0 and a refractory period were accepted forwards and ignored backwards."""
    for v_reset, t_ref in ((-0.4, 0.0), (0.3, 0.0), (0.0, 2.0), (0.3, 2.0)):
        net, params, spikes = single([40.0, 30.0], [0.0, 6.0], v_reset=v_reset, t_ref=t_ref)
        record = evprop.simulate(net, params, spikes, duration=40.0)
        assert record.spikes["n"].n_spikes >= 3
        cotangent = np.arange(1.0, record.spikes["n"].n_spikes + 1)
        names = [n for n in net.parameter_names if not n.endswith("t_ref")]
        found = evprop.backward(record, {"n": cotangent}, wrt=names)
        error, where = worst_error(found, Jacobian(net, params, spikes, 40.0).gradients({"n": cotangent}))
        assert error <= 1e-10, where


def test_delays_are_neither_rounded_nor_capped() -> None:
    """Delays rounded to time steps and cut at a maximum; their gradient came per step."""
    net = evprop.Network(
        {"in": evprop.Input(1), "n": evprop.LIF(2)},
        [evprop.Dense("in", "n", weight=9.0, delay=np.array([[0.123456789, 12345.678901]]))],
    )
    spikes = evprop.Spikes.from_lists([([1.0], [0])], n_units=1)
    record = evprop.simulate(net, net.init(0), spikes, duration=20_000.0)
    times, units = record.spikes["n"][0]
    first = [times[units == u][0] for u in (0, 1)]
    assert first[1] - first[0] == pytest.approx(12345.678901 - 0.123456789, abs=1e-10)
    grads = evprop.backward(record, {"n": np.ones(len(times))})
    counts = [np.count_nonzero(units == u) for u in (0, 1)]
    np.testing.assert_allclose(grads["in_n.delay"], [counts], rtol=1e-9)


def test_nothing_is_left_over_from_one_call_to_the_next() -> None:
    """Spikes bled from batch to batch; gradients were not zeroed; validation polluted the next batch."""
    rng = np.random.default_rng(8)
    net = evprop.Network(
        {"in": evprop.Input(4), "h": evprop.LIF(10), "o": evprop.LI(3)},
        [
            evprop.Dense("in", "h", weight=rng.normal(5.0, 2.0, (4, 10)), delay=rng.uniform(0, 30, (4, 10))),
            evprop.Dense("h", "h", weight=rng.normal(0.0, 0.3, (10, 10)), delay=3.0),
            evprop.Dense("h", "o", weight=rng.normal(0.0, 1.0, (10, 3))),
        ],
    )
    params, loss = net.init(0), CrossEntropy(Final())
    train = evprop.Spikes.from_lists(
        [(rng.uniform(0, 30, 9), rng.integers(0, 4, 9)) for _ in range(5)], n_units=4
    )
    other = evprop.Spikes.from_lists(
        [(rng.uniform(0, 30, 20), rng.integers(0, 4, 20)) for _ in range(3)], n_units=4
    )
    labels = np.arange(5) % 3
    value, grads, record = evprop.value_and_grad(net, params, train, labels, loss, duration=35.0)
    evprop.value_and_grad(net, params, other, np.zeros(3, np.int64), loss, duration=60.0)
    again, grads_again, record_again = evprop.value_and_grad(net, params, train, labels, loss, duration=35.0)
    assert value == again
    assert record.spikes["h"] == record_again.spikes["h"]
    for name in grads:
        np.testing.assert_array_equal(grads[name], grads_again[name])


def test_more_than_256_classes() -> None:
    """Labels kept as uint8."""
    net = evprop.Network(
        {"in": evprop.Input(1), "o": evprop.LI(300)},
        [evprop.Dense("in", "o", weight=np.linspace(0, 1, 300)[None])],
    )
    spikes = evprop.Spikes.from_lists([([0.0], [0])], n_units=1)
    loss = CrossEntropy(Max())
    value, grads, _ = evprop.value_and_grad(net, net.init(0), spikes, np.array([299]), loss, duration=30.0)
    assert int(np.argmin(grads["in_o.weight"])) == 299
    other, _, _ = evprop.value_and_grad(net, net.init(0), spikes, np.array([299 - 256]), loss, duration=30.0)
    assert value < other


def test_float64_unless_asked_otherwise() -> None:
    """Single precision by default, silently."""
    net, params, spikes = single(9.0, 0.0)
    record = evprop.simulate(net, params, spikes, duration=20.0)
    assert record.dtype == "float64"
    assert params["in_n.weight"].dtype == np.float64
    with pytest.raises(evprop.errors.DtypeError):
        evprop.simulate(net, net.init(0, dtype="float32"), spikes, duration=20.0)
