"""Training steps that stay on the device, in the emulated driver: the bits of the optimiser on the host."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pytest

import evprop
from evprop.errors import ConfigError, RecordError, TrainingError
from evprop.losses import CrossEntropy, DelayL2, LossResult
from evprop.on_device import OnDevice
from evprop.optim import SGD, Adam, AdamW, Log, Optimiser, StepDecay
from evprop.readouts import Max, WeightedIntegral

T = 40.0
LABELS = np.array([0, 1, 2])
LOSS = CrossEntropy(WeightedIntegral(50.0), population="output")


def trained_everywhere(seed: int, dtype: str) -> tuple[evprop.Network, dict[str, Any], evprop.Spikes]:
    """Weights, delays, time constants, thresholds and resets are learnt; no self-connections."""
    hidden = evprop.LIF(12, tau_mem=20.0, tau_syn=5.0, trainable=("tau_mem", "tau_syn", "v_th", "v_reset", "i_bias"))
    rng = np.random.default_rng(seed)

    def dense(pre: str, post: str, low: float, high: float, **more: Any) -> evprop.Dense:
        sizes = {"input": 12, "hidden": 12, "output": 3}
        shape = (sizes[pre], sizes[post])
        weight, delay = rng.uniform(low, high, shape), rng.uniform(0.0, 5.0, shape)
        if pre == post:
            np.fill_diagonal(weight, 0.0)
        return evprop.Dense(pre, post, weight=weight, delay=delay, **more)

    net = evprop.Network(
        {"input": evprop.Input(12), "hidden": hidden, "output": evprop.LI(3, tau_mem=15.0, tau_syn=5.0)},
        [
            dense("input", "hidden", -0.3, 1.5),
            dense("hidden", "hidden", -0.2, 0.15, self_connections=False),
            dense("hidden", "output", -1.0, 1.0),
        ],
    )
    samples = [(np.sort(rng.uniform(0.0, T, k)), rng.integers(0, 12, k)) for k in (25, 0, 40)]
    return net, net.init(0, dtype=dtype), evprop.Spikes.from_lists(samples, n_units=12)


OPTIMISERS = {
    "SGD": lambda: SGD(0.05),
    "momentum": lambda: SGD(0.02, momentum=0.9, schedule=StepDecay(1, 0.5)),
    "Nesterov": lambda: SGD(0.02, momentum=0.9, nesterov=True),
    # delays move by several ms: the longest one grows
    "Adam": lambda: Adam(0.05, groups={"*.delay": {"lr": 3.0, "max": 12.0}, "*.v_th": {"lr": 0.4}}, min_swing=0.9),
    "AdamW": lambda: AdamW(0.02, weight_decay=0.1, groups={"hidden_output.*": {"min": -0.5, "weight_decay": 0.3}}),
}


@pytest.mark.parametrize(
    ("name", "dtype", "order"),
    [
        ("SGD", "float64", "eager"),
        ("momentum", "float32", "late"),
        ("Nesterov", "float64", "late"),
        ("Adam", "float64", "eager"),
        ("Adam", "float32", "late"),
        ("AdamW", "float32", "eager"),
    ],
)
def test_the_bits_of_the_optimiser_on_the_host(
    gpu: ctypes.CDLL, monkeypatch: pytest.MonkeyPatch, name: str, dtype: str, order: str
) -> None:
    monkeypatch.setenv("EVPROP_EMULATOR_STREAMS", order)
    net, params, spikes = trained_everywhere(21, dtype)
    simulator = evprop.Exact(dtype=dtype, device="cuda")
    there, here = OPTIMISERS[name](), OPTIMISERS[name]()
    training = OnDevice(net, params, there, simulator)
    state = here.init(net, params)
    first = {name: array.copy() for name, array in params.items()}
    for _ in range(3):
        value, grads, _ = evprop.value_and_grad(net, params, spikes, LABELS, LOSS, duration=T, simulator=simulator)
        here.step(params, grads, state)
        found, health, _ = training.step(spikes, LABELS, LOSS, duration=T)
        assert found == value
        assert health.min_vdot == grads.health.min_vdot
    fetched, kept = training.params(), training.state()
    for key, array in params.items():
        assert fetched[key].tobytes() == array.tobytes(), key
    for key in net.trainable:
        assert not np.array_equal(first[key], params[key]), key
    for key, entry in state.items():
        if key == "grad_norm":
            assert kept[key] == pytest.approx(entry, rel=1e-5)
        else:
            assert np.array_equal(kept[key], entry), key


def test_a_step_that_is_clipped_agrees_to_rounding(gpu: ctypes.CDLL) -> None:
    net, params, spikes = trained_everywhere(22, "float64")
    simulator = evprop.Exact(device="cuda")
    training = OnDevice(net, params, Adam(0.01, clip_norm=0.1), simulator)
    host = Adam(0.01, clip_norm=0.1)
    state = host.init(net, params)
    for _ in range(2):
        grads = evprop.value_and_grad(net, params, spikes, LABELS, LOSS, duration=T, simulator=simulator)[1]
        host.step(params, grads, state)
        training.step(spikes, LABELS, LOSS, duration=T)
    assert state["grad_norm"] > 0.1
    for key, array in training.params().items():
        np.testing.assert_allclose(array, params[key], rtol=1e-9, atol=1e-12)


def test_losses_that_feel_parameters_and_maxima(gpu: ctypes.CDLL) -> None:
    """A penalty on delays goes to the gradient directly, a maximum of a neuron that spiked to its threshold."""
    net, params, spikes = trained_everywhere(23, "float64")
    loss = CrossEntropy(Max(), population="output") + DelayL2("input_hidden", 0.1) + _Peaks()
    simulator = evprop.Exact(device="cuda")
    training, host = OnDevice(net, params, SGD(0.01), simulator), SGD(0.01)
    state = host.init(net, params)
    for _ in range(2):
        value, grads, _ = evprop.value_and_grad(net, params, spikes, LABELS, loss, duration=T, simulator=simulator)
        host.step(params, grads, state)
        assert training.step(spikes, LABELS, loss, duration=T)[0] == value
    for key, array in training.params().items():
        assert array.tobytes() == params[key].tobytes(), key


class _Peaks(evprop.losses.Loss):
    """The mean maximum of every hidden neuron."""

    def readouts(self, net: evprop.Network) -> dict[str, list[Any]]:
        return {"hidden": [Max()]}

    def evaluate(self, record: evprop.Record, targets: Any) -> LossResult:
        y = record.readout["hidden"][record.readout_index("hidden", Max())]
        return LossResult(y.mean(axis=1), {}, {"hidden": [np.full(y.shape, 1.0 / y.shape[1])]})


def test_what_crosses_over(gpu: ctypes.CDLL) -> None:
    net, params, spikes = trained_everywhere(24, "float32")
    simulator = evprop.Exact(dtype="float32", device="cuda")
    training = OnDevice(net, params, Adam(0.01, groups={"hidden.*": {"lr": 0.0}}), simulator)
    training.step(spikes, LABELS, LOSS, duration=T)
    before = gpu.emulator_fetched()
    training.step(spikes, LABELS, LOSS, duration=T)
    crossed = gpu.emulator_fetched() - before
    gradient = sum(params[name].nbytes for name in net.trainable)
    assert crossed < gradient, f"{crossed} bytes, {gradient} are the gradient"


def test_it_goes_on_from_a_state(gpu: ctypes.CDLL) -> None:
    net, params, spikes = trained_everywhere(25, "float64")
    simulator = evprop.Exact(device="cuda")
    straight = OnDevice(net, params, Adam(0.01), simulator)
    for _ in range(3):
        straight.step(spikes, LABELS, LOSS, duration=T)
    one = OnDevice(net, params, Adam(0.01), simulator)
    one.step(spikes, LABELS, LOSS, duration=T)
    other = OnDevice(net, one.params(), Adam(0.01), simulator, state=one.state())
    for _ in range(2):
        other.step(spikes, LABELS, LOSS, duration=T)
    for key, array in straight.params().items():
        assert array.tobytes() == other.params()[key].tobytes(), key


def test_a_gradient_that_is_not_finite_changes_nothing(gpu: ctypes.CDLL) -> None:
    net, params, spikes = trained_everywhere(26, "float64")
    training = OnDevice(net, params, SGD(0.01), evprop.Exact(device="cuda"))

    class Huge(_Peaks):
        def evaluate(self, record: evprop.Record, targets: Any) -> LossResult:
            result = super().evaluate(record, targets)
            return LossResult(result.values, {}, {"hidden": [np.full(result.readouts["hidden"][0].shape, 1e308)]})

    with pytest.raises(TrainingError, match="gradient is not finite"):
        training.step(spikes, LABELS, Huge(), duration=T)
    for key, array in training.params().items():
        assert array.tobytes() == params[key].tobytes(), key


def test_what_is_refused(gpu: ctypes.CDLL) -> None:
    net, params, spikes = trained_everywhere(27, "float64")
    gpu_simulator = evprop.Exact(device="cuda")
    with pytest.raises(ConfigError, match='give an Exact with device="cuda"'):
        OnDevice(net, params, Adam(0.01), evprop.Exact())
    mapped: Optimiser = Adam(0.01, groups={"hidden.tau_mem": {"map": Log()}})
    with pytest.raises(ConfigError, match=r"hidden\.tau_mem has a map"):
        OnDevice(net, params, mapped, gpu_simulator)
    training = OnDevice(net, params, Adam(0.01), gpu_simulator)
    record = training.step(spikes, LABELS, LOSS, duration=T)[2]
    with pytest.raises(RecordError, match="went into a step"):
        evprop.backward(record)
