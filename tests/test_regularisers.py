"""Regularisers: values by the plain formula, gradients by finite differences and by a second method."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import evprop
from evprop import LI, LIF, Dense, Input, Network, Spikes
from evprop.errors import NetworkError, ParameterError
from evprop.losses import CrossEntropy, DelayL2, Integral, Loss, Max, PeakVoltage, Rate, Sampled
from evprop.testing import gradcheck

DURATION = 40.0
N_IN, N_HIDDEN, BATCH = 6, 8, 3


def network(weight: float = 0.55) -> Network:
    init = evprop.init
    hidden = LIF(
        N_HIDDEN,
        tau_mem=init.Uniform(8.0, 25.0),
        tau_syn=5.0,
        i_bias=init.Uniform(-0.05, 0.1),
        trainable=("tau_mem", "v_th"),
    )
    return Network(
        {"in": Input(N_IN), "hidden": hidden, "out": LI(2)},
        [
            Dense("in", "hidden", weight=init.Normal(weight, 0.3), delay=init.Uniform(0.0, 5.0)),
            Dense("hidden", "hidden", weight=init.Normal(0.0, 0.3)),
            Dense("hidden", "out", weight=init.Normal(0.0, 1.0)),
        ],
    )


def batch(seed: int = 0, n: int = 25) -> Spikes:
    rng = np.random.default_rng(seed)
    return Spikes.from_lists(
        [(rng.uniform(0.0, DURATION, n), rng.integers(0, N_IN, n)) for _ in range(BATCH)], n_units=N_IN
    )


LABELS = np.array([0, 1, 1])
NET = network()
PARAMS = NET.init(seed=1)
NAMES = ("in_hidden.weight", "hidden_hidden.weight", "in_hidden.delay", "hidden.tau_mem")


def gradient(loss: Loss, params: Any = PARAMS, dtype: str = "float64") -> tuple[float, Any, Any]:
    return evprop.value_and_grad(
        NET, params, batch(), LABELS, loss, duration=DURATION, simulator=evprop.Exact(dtype=dtype)
    )


# -- rate --------------------------------------------------------------------------------------------------------


def test_rate_value_is_the_plain_formula() -> None:
    loss = Rate("hidden", target=2.0, upper=0.3, lower=0.7)
    value, _, record = gradient(loss)
    mean = record.spikes["hidden"].counts().mean(axis=0)
    assert mean.min() < 2.0 < mean.max()  # both sides are there
    plain = sum(0.5 * (0.3 if n > 2.0 else 0.7) * (n - 2.0) ** 2 for n in mean)
    assert value == pytest.approx(plain, rel=1e-12)


def test_rate_gradient_is_that_of_the_voltage_just_before_each_spike() -> None:
    """A kick of lambda_v at t_k- is what the readout V(t_k-) would send back; the two ways share no code."""
    loss = Rate("hidden", target=2.0, upper=0.3, lower=0.7)
    _, grads, record = gradient(loss)
    spikes = record.spikes["hidden"]
    excess = spikes.counts().mean(axis=0) - 2.0
    kick = np.where(excess > 0, 0.3, 0.7) * excess / BATCH
    for b in range(BATCH):
        times, units = spikes[b]
        before = tuple(t - 1e-9 for t in times)
        alone = evprop.simulate(
            NET,
            PARAMS,
            record.inputs["in"][b : b + 1],
            duration=DURATION,
            readouts={"hidden": [Sampled(before)]},
        )
        cotangent = np.zeros((1, len(times), N_HIDDEN))
        cotangent[0, np.arange(len(times)), units] = kick[units]
        part = evprop.backward(alone, readouts={"hidden": [cotangent]})
        total = {n: part[n] + (total[n] if b else 0.0) for n in NAMES}  # noqa: F821
    for name in NAMES:
        assert np.abs(grads[name]).max() > 1e-4
        np.testing.assert_allclose(grads[name], total[name], rtol=1e-6, atol=1e-9)


def test_rate_gradient_against_finite_differences_of_the_voltage() -> None:
    """The same functional, sum over spikes of kick * V(t_k-) at fixed t_k, moved by hand."""
    loss = Rate("hidden", target=2.0, upper=0.3, lower=0.7)
    _, grads, record = gradient(loss)
    spikes = record.spikes["hidden"]
    excess = spikes.counts().mean(axis=0) - 2.0
    kick = np.where(excess > 0, 0.3, 0.7) * excess / BATCH

    def functional(params: Any) -> float:
        total = 0.0
        for b in range(BATCH):
            times, units = spikes[b]
            # early enough that no shifted spike comes first
            readouts = {"hidden": [Sampled(tuple(t - 1e-5 for t in times))]}
            alone = evprop.simulate(
                NET, params, record.inputs["in"][b : b + 1], duration=DURATION, readouts=readouts
            )
            v = alone.readout["hidden"][0][0]
            total += float((v[np.arange(len(times)), units] * kick[units]).sum())
        return total

    rng = np.random.default_rng(4)
    for name in NAMES:
        direction = rng.normal(size=PARAMS[name].shape)
        moved = [{**PARAMS, name: PARAMS[name] + s * 1e-9 * direction} for s in (1.0, -1.0)]
        slope = (functional(moved[0]) - functional(moved[1])) / 2e-9
        assert float((grads[name] * direction).sum()) == pytest.approx(slope, rel=1e-4)


def test_rate_brings_counts_towards_the_target() -> None:
    params = {name: array.copy() for name, array in PARAMS.items()}
    loss = Rate("hidden", target=2.0, upper=1.0, lower=1.0)
    first, _, _ = gradient(loss, params)
    adam = evprop.optim.Adam(0.01)
    state = adam.init(NET, params)
    for _ in range(100):
        last, grads, _ = gradient(loss, params)
        adam.step(params, grads, state)
    assert last < 0.3 * first


def test_rate_in_float32_and_within_a_sum() -> None:
    loss = CrossEntropy(Integral()) + 0.5 * Rate("hidden", target=2.0, upper=0.3)
    single = {name: array.astype("float32") for name, array in PARAMS.items()}
    _, exact, _ = gradient(loss)
    _, grads, _ = gradient(loss, single, "float32")
    _, rate, _ = gradient(Rate("hidden", target=2.0, upper=0.3))
    _, bare, _ = gradient(CrossEntropy(Integral()))
    for name in NAMES:
        np.testing.assert_allclose(exact[name], bare[name] + 0.5 * rate[name], rtol=1e-9, atol=1e-12)
        scale = np.abs(exact[name]).max()
        assert np.abs(grads[name] - exact[name]).max() < 1e-2 * scale


def test_rate_refuses_nonsense() -> None:
    with pytest.raises(ParameterError, match=r"Rate: upper is -1"):
        Rate("hidden", 14.0, upper=-1.0)
    with pytest.raises(NetworkError, match="'out' has no spikes"):
        evprop.train.fit(
            NET,
            dict(PARAMS),
            evprop.datasets.Dataset(batch(), LABELS),
            Rate("out", 1.0),
            evprop.optim.SGD(0.1),
            epochs=1,
            batch_size=3,
            duration=DURATION,
            seed=0,
        )


# -- peak voltage ------------------------------------------------------------------------------------------------


def test_peak_voltage_value_and_exact_gradient() -> None:
    net = network(weight=0.1)
    params = net.init(seed=3)
    loss = PeakVoltage("hidden", strength=0.4)
    value, _, record = evprop.value_and_grad(net, params, batch(), LABELS, loss, duration=DURATION)
    peak = evprop.simulate(net, params, batch(), duration=DURATION, readouts={"hidden": [Max()]}).readout[
        "hidden"
    ][0]
    silent = record.spikes["hidden"].counts() == 0
    assert silent.any()
    assert not silent.all()
    assert value == pytest.approx(0.2 * float(((1.0 - peak)[silent] ** 2).sum()) / BATCH, rel=1e-12)
    report = gradcheck(net, params, batch(), loss, targets=LABELS, duration=DURATION)
    assert report.ok, report


def test_peak_voltage_wakes_silent_neurons() -> None:
    net = network(weight=0.05)
    params = net.init(seed=3)
    loss = PeakVoltage("hidden", strength=1.0)
    adam = evprop.optim.Adam(0.02)
    state = adam.init(net, params)
    silent = []
    for _ in range(60):
        _, grads, _ = evprop.value_and_grad(net, params, batch(), LABELS, loss, duration=DURATION)
        silent.append(grads.health.silent["hidden"])
        adam.step(params, grads, state)
    assert silent[0] > 0.5
    assert silent[-1] < 0.1


def test_peak_voltage_needs_a_threshold() -> None:
    with pytest.raises(NetworkError, match="'out' has no threshold"):
        evprop.value_and_grad(NET, PARAMS, batch(), LABELS, PeakVoltage("out", 1.0), duration=DURATION)
    with pytest.raises(ParameterError, match="strength is 0"):
        PeakVoltage("hidden", 0.0)


# -- delays ------------------------------------------------------------------------------------------------------


def test_delay_l2() -> None:
    loss = DelayL2("in_hidden", strength=0.01)
    value, grads, _ = gradient(loss)
    delay = PARAMS["in_hidden.delay"]
    assert value == pytest.approx(0.005 * float((delay**2).sum()), rel=1e-12)
    np.testing.assert_allclose(grads["in_hidden.delay"], 0.01 * delay, rtol=1e-12)
    both = gradient(CrossEntropy(Integral()) + loss)[1]["in_hidden.delay"]
    bare = gradient(CrossEntropy(Integral()))[1]["in_hidden.delay"]
    np.testing.assert_allclose(both, bare + 0.01 * delay, rtol=1e-9)
    with pytest.raises(NetworkError, match="no projection with delays"):
        DelayL2("hidden_out", 1.0).check_targets(NET, LABELS)
