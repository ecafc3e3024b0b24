"""Losses: values against the plain formula, cotangents against finite differences, sums, targets, predictions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import evprop
from evprop import LI, LIF, Dense, Input, Network, Record, Spikes
from evprop.errors import ConfigError, EvpropError, NetworkError, ParameterError, RecordError, TargetError
from evprop.losses import (
    CrossEntropy,
    Final,
    FirstSpike,
    Integral,
    LinearIntegral,
    Loss,
    LossResult,
    Max,
    Readout,
    RelativeMSE,
    Sampled,
    SigmoidIntegral,
    SpikeTimeMSE,
    WeightedIntegral,
)

N = 3
DURATION = 30.0
SPIKING = Network({"in": Input(1), "out": LIF(N)}, [Dense("in", "out", weight=1.0)])
READING = Network({"in": Input(1), "out": LI(N)}, [Dense("in", "out", weight=1.0)])


class Given(Record):
    """A record of given spikes and readouts, so that losses can be tested without a simulation."""

    def __init__(
        self,
        network: Network,
        batch: int,
        spikes: Spikes | None = None,
        readouts: dict[str, list[Readout]] | None = None,
        values: dict[str, list[np.ndarray]] | None = None,
    ) -> None:
        self.network = network
        self.batch_size = batch
        self.duration = DURATION
        self.spikes = {} if spikes is None else {"out": spikes}
        self.readouts = readouts or {}
        self._readout = values or {}


def spiking(spikes: Spikes) -> Record:
    return Given(SPIKING, len(spikes), spikes)


def reading(readout: Readout, y: np.ndarray, *before: Readout) -> Record:
    values = [np.zeros(0)] * len(before) + [y]
    return Given(READING, len(y), readouts={"out": [*before, readout]}, values={"out": values})


def some_spikes() -> Spikes:
    """Samples with several spikes a neuron, a silent neuron, only one neuron, equal first times, and no spike."""
    return Spikes.from_lists(
        [
            ([3.0, 4.5, 4.75, 9.0, 12.0], [1, 0, 2, 1, 0]),
            ([2.0, 8.0, 8.5], [2, 0, 0]),
            ([6.25], [1]),
            ([5.0, 5.0, 5.5], [2, 0, 1]),
            ([], []),
        ],
        n_units=N,
    )


LABELS = np.array([0, 1, 1, 2, 0])


def moved(spikes: Spikes, k: int, step: float) -> Spikes:
    times = spikes.times.copy()
    times[k] += step
    return Spikes.from_lists(
        [
            (times[a:b], spikes.units[a:b])
            for a, b in zip(spikes.offsets[:-1], spikes.offsets[1:], strict=True)
        ],
        n_units=N,
    )


def check_spike_cotangents(loss: Loss, spikes: Spikes, targets: Any) -> None:
    """Central differences of every spike time against the cotangents."""
    result = loss.evaluate(spiking(spikes), targets)
    step = 1e-4
    for k, d in enumerate(result.spike_times["out"]):
        up = loss.evaluate(spiking(moved(spikes, k, step)), targets).values
        down = loss.evaluate(spiking(moved(spikes, k, -step)), targets).values
        slopes = (up - down) / (2 * step)
        assert slopes[spikes.samples[k]] == pytest.approx(d, rel=1e-6, abs=1e-7)
        assert np.count_nonzero(slopes) <= 1  # no other sample


# -- the formulas, as plainly as possible ------------------------------------------------------------------------


def plain_first_spike(first: np.ndarray, label: int, tau_0: float, tau_1: float, alpha: float) -> float:
    t = first[label]
    return t / tau_0 + math.log(sum(math.exp(-x / tau_0) for x in first)) + alpha * (math.exp(t / tau_1) - 1)


def plain_relative_mse(first: np.ndarray, label: int, delta: float) -> float:
    return 0.5 * sum(
        (first[n] - first[label] - (delta if n != label else 0.0)) ** 2 for n in range(len(first))
    )


def plain_spike_time_mse(first: np.ndarray, target: np.ndarray) -> float:
    return 0.5 * sum((t - w) ** 2 for t, w in zip(first, target, strict=True) if not math.isnan(w))


def first_times(spikes: Spikes, silent: float) -> np.ndarray:
    first = spikes.first_times()
    return np.where(np.isinf(first), silent, first)


@pytest.mark.parametrize("silent", [None, 20.0])
@pytest.mark.parametrize(("tau_0", "tau_1", "alpha"), [(0.5, 6.4, 3e-3), (2.0, 10.0, 0.0), (3.0, 5.0, 0.1)])
def test_first_spike(tau_0: float, tau_1: float, alpha: float, silent: float | None) -> None:
    loss = FirstSpike(tau_0, tau_1, alpha, silent=silent)
    spikes = some_spikes()
    result = loss.evaluate(spiking(spikes), LABELS)
    first = first_times(spikes, DURATION if silent is None else silent)
    wanted = [plain_first_spike(f, y, tau_0, tau_1, alpha) for f, y in zip(first, LABELS, strict=True)]
    assert result.values == pytest.approx(np.array(wanted), rel=1e-12)
    assert result.values.shape == (5,)
    assert list(result.spike_times) == ["out"]
    assert result.readouts == {}
    check_spike_cotangents(loss, spikes, LABELS)


@pytest.mark.parametrize("silent", [None, 20.0])
def test_relative_mse(silent: float | None) -> None:
    loss = RelativeMSE(1.5, silent=silent)
    spikes = some_spikes()
    first = first_times(spikes, DURATION if silent is None else silent)
    wanted = [plain_relative_mse(f, y, 1.5) for f, y in zip(first, LABELS, strict=True)]
    assert loss.evaluate(spiking(spikes), LABELS).values == pytest.approx(np.array(wanted), rel=1e-12)
    check_spike_cotangents(loss, spikes, LABELS)


@pytest.mark.parametrize("silent", [None, 20.0])
def test_spike_time_mse(silent: float | None) -> None:
    loss = SpikeTimeMSE(silent=silent)
    spikes = some_spikes()
    targets = np.array(
        [[4.0, np.nan, 5.0], [1.0, 2.0, 3.0], [np.nan, 7.0, np.nan], [np.nan] * 3, [1.0, 2.0, 3.0]]
    )
    first = first_times(spikes, DURATION if silent is None else silent)
    wanted = [plain_spike_time_mse(f, w) for f, w in zip(first, targets, strict=True)]
    result = loss.evaluate(spiking(spikes), targets)
    assert result.values == pytest.approx(np.array(wanted), rel=1e-12)
    assert result.values[3] == 0.0
    check_spike_cotangents(loss, spikes, targets)


def test_only_first_spikes_carry_a_cotangent() -> None:
    for loss, targets in [
        (FirstSpike(0.5, 6.4, 3e-3), LABELS),
        (RelativeMSE(1.0), LABELS),
        (SpikeTimeMSE(), np.ones((5, 3))),
    ]:
        d = loss.evaluate(spiking(some_spikes()), targets).spike_times["out"]
        assert d.shape == (12,)
        assert d.dtype == np.float64
        assert (d[[3, 4, 7]] == 0).all()  # second spikes of a neuron
        assert np.isfinite(d).all()


def test_first_spike_does_not_overflow() -> None:
    """Differences of 1,000 widths of the softmax, at late times."""
    spikes = Spikes.from_lists([([10.0, 29.0, 29.5], [1, 0, 2])], n_units=N)
    result = FirstSpike(0.01, 6.4, 0.0).evaluate(spiking(spikes), np.array([2]))
    assert result.values[0] == pytest.approx((29.5 - 10.0) / 0.01, rel=1e-12)
    assert result.spike_times["out"] == pytest.approx(np.array([-100.0, 0.0, 100.0]), abs=1e-9)


@given(
    st.lists(
        st.lists(st.tuples(st.floats(0, 30), st.integers(0, N - 1)), max_size=6), min_size=1, max_size=4
    ),
    st.data(),
)
def test_values_on_any_spikes(samples: Any, data: st.DataObject) -> None:
    spikes = Spikes.from_lists([([t for t, _ in s], [u for _, u in s]) for s in samples], n_units=N)
    labels = np.array(
        data.draw(st.lists(st.integers(0, N - 1), min_size=len(samples), max_size=len(samples)))
    )
    first = first_times(spikes, DURATION)
    ttfs = FirstSpike(2.0, 6.0, 0.01).evaluate(spiking(spikes), labels)
    relative = RelativeMSE(1.0).evaluate(spiking(spikes), labels)
    for b, (f, y) in enumerate(zip(first, labels, strict=True)):
        assert ttfs.values[b] == pytest.approx(plain_first_spike(f, y, 2.0, 6.0, 0.01), rel=1e-11, abs=1e-11)
        assert relative.values[b] == pytest.approx(plain_relative_mse(f, y, 1.0), rel=1e-11, abs=1e-11)
    fired = np.unique(spikes.samples * N + spikes.units)
    d = relative.spike_times["out"]
    silent_label = [y not in spikes[b][1] for b, y in enumerate(labels)]
    for b in range(len(samples)):
        if not silent_label[b] and len([f for f in fired if f // N == b]) == N:
            # no neuron silent: shift-invariant (equal first times may share one neuron's cotangent)
            assert abs(d[spikes.offsets[b] : spikes.offsets[b + 1]].sum()) < 1e-9


# -- cross entropy -----------------------------------------------------------------------------------------------


def plain_cross_entropy(y: np.ndarray, label: int) -> float:
    return math.log(sum(math.exp(v) for v in y)) - y[label]


READOUTS = [Integral(), WeightedIntegral(100.0), LinearIntegral(), SigmoidIntegral(50.0, 20.0), Max(), Final()]


@pytest.mark.parametrize("readout", READOUTS, ids=repr)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_cross_entropy(readout: Readout, dtype: str) -> None:
    y = np.random.default_rng(0).normal(size=(4, N)).astype(dtype)
    labels = np.array([0, 2, 1, 1])
    loss = CrossEntropy(readout)
    assert loss.readouts(READING) == {"out": [readout]}
    result = loss.evaluate(reading(readout, y, Sampled([1.0])), labels)
    wanted = [plain_cross_entropy(v.astype(np.float64), k) for v, k in zip(y, labels, strict=True)]
    assert result.values == pytest.approx(np.array(wanted), rel=1e-12)
    assert result.spike_times == {}
    before, d = result.readouts["out"]
    assert before is None
    softmax = np.exp(y.astype(np.float64)) / np.exp(y.astype(np.float64)).sum(axis=1, keepdims=True)
    assert d == pytest.approx(softmax - np.eye(N)[labels], rel=1e-12)


def differences(value: Callable[[np.ndarray], float], y: np.ndarray, step: float = 1e-5) -> np.ndarray:
    slopes = np.empty_like(y)
    for index in np.ndindex(y.shape):
        up, down = y.copy(), y.copy()
        up[index] += step
        down[index] -= step
        slopes[index] = (value(up) - value(down)) / (2 * step)
    return slopes


@pytest.mark.parametrize("readout", [Final(), Sampled([1.0, 2.0])], ids=repr)
def test_cross_entropy_cotangents(readout: Readout) -> None:
    shape = (4, 2, N) if isinstance(readout, Sampled) else (4, N)
    y = np.random.default_rng(1).normal(size=shape)
    labels = np.array([0, 2, 1, 1])
    loss = CrossEntropy(readout)
    result = loss.evaluate(reading(readout, y), labels)
    wanted = differences(lambda v: float(loss.evaluate(reading(readout, v), labels).values.sum()), y)
    assert result.readouts["out"][0] == pytest.approx(wanted, rel=1e-7, abs=1e-9)


def test_cross_entropy_of_samples_is_the_mean_over_the_times() -> None:
    y = np.random.default_rng(2).normal(size=(4, 5, N))
    labels = np.array([0, 2, 1, 1])
    many = CrossEntropy(Sampled(range(5))).evaluate(reading(Sampled(range(5)), y), labels)
    each = [CrossEntropy(Final()).evaluate(reading(Final(), y[:, j]), labels).values for j in range(5)]
    assert many.values == pytest.approx(np.mean(each, axis=0), rel=1e-12)


def test_cross_entropy_does_not_overflow() -> None:
    y = np.array([[1000.0, 0.0, -1000.0]])
    result = CrossEntropy(Final()).evaluate(reading(Final(), y), np.array([2]))
    assert result.values == pytest.approx([2000.0])
    assert result.readouts["out"][0] == pytest.approx(np.array([[1.0, 0.0, -1.0]]))


def test_a_record_without_the_readout() -> None:
    with pytest.raises(
        RecordError, match=r"holds no Final\(\) of population 'out' \(it holds \[Max\(\)\]\).*readouts="
    ):
        CrossEntropy(Final()).evaluate(reading(Max(), np.zeros((1, N))), np.array([0]))


# -- predictions -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", [FirstSpike(0.5, 6.4, 3e-3), RelativeMSE(1.0), SpikeTimeMSE()], ids=repr)
def test_the_earliest_spike_wins(loss: Loss) -> None:
    classes = loss.predict(spiking(some_spikes()))
    assert classes.tolist() == [1, 2, 1, 2, -1]
    assert classes.dtype == np.int64


def test_the_largest_readout_wins() -> None:
    y = np.array([[0.0, 2.0, 1.0], [-1.0, -2.0, -3.0]])
    assert CrossEntropy(Max()).predict(reading(Max(), y)).tolist() == [1, 0]
    sampled = Sampled([1.0, 2.0])
    assert CrossEntropy(sampled).predict(reading(sampled, np.stack([y, -3 * y], axis=1))).tolist() == [0, 2]


# -- sums and losses of one's own --------------------------------------------------------------------------------


class Squares(Loss):
    """Half the sum of squares of Final(), and of all spike times: written by a user, in Python only."""

    def __init__(self, population: str) -> None:
        self.population = population

    def readouts(self, net: Network) -> dict[str, list[Readout]]:
        return {self.population: [Final()]}

    def evaluate(self, record: Record, targets: Any) -> LossResult:
        y = record.readout[self.population][record.readout_index(self.population, Final())]
        return LossResult(0.5 * (y**2).sum(axis=1), readouts={self.population: [y]})


def test_sums() -> None:
    spikes = some_spikes()
    a, b = FirstSpike(0.5, 6.4, 3e-3), RelativeMSE(1.0)
    total = 2.0 * a + b * 0.5
    parts = [loss.evaluate(spiking(spikes), LABELS) for loss in (a, b)]
    result = total.evaluate(spiking(spikes), LABELS)
    assert result.values == pytest.approx(2 * parts[0].values + 0.5 * parts[1].values)
    assert result.spike_times["out"] == pytest.approx(
        2 * parts[0].spike_times["out"] + 0.5 * parts[1].spike_times["out"]
    )
    check_spike_cotangents(total, spikes, LABELS)
    assert total.predict(spiking(spikes)).tolist() == [1, 2, 1, 2, -1]
    assert sum([a, b]).evaluate(spiking(spikes), LABELS).values == pytest.approx(
        parts[0].values + parts[1].values
    )
    assert repr(total) == f"2 * {a!r} + 0.5 * {b!r}"


def test_sums_share_readouts() -> None:
    total = CrossEntropy(Max()) + 3.0 * CrossEntropy(Final()) + 0.5 * CrossEntropy(Max())
    assert total.readouts(READING) == {"out": [Max(), Final()]}
    y = np.random.default_rng(0).normal(size=(2, 4, N))
    labels = np.array([0, 1, 2, 0])
    record = Given(READING, 4, readouts={"out": [Max(), Final()]}, values={"out": list(y)})
    result = total.evaluate(record, labels)
    one = CrossEntropy(Max()).evaluate(record, labels)
    two = CrossEntropy(Final()).evaluate(record, labels)
    assert result.values == pytest.approx(1.5 * one.values + 3.0 * two.values)
    assert result.readouts["out"][0] == pytest.approx(1.5 * one.readouts["out"][0])
    assert result.readouts["out"][1] == pytest.approx(3.0 * two.readouts["out"][1])


def test_only_numbers_multiply() -> None:
    for factor in ("2", math.nan, math.inf, None):
        with pytest.raises(ParameterError, match="finite number"):
            factor * CrossEntropy(Max())  # type: ignore[operator]
    with pytest.raises(TypeError):
        CrossEntropy(Max()) + 1.0  # type: ignore[operator]


def test_a_loss_of_ones_own_trains() -> None:
    net = Network(
        {"in": Input(2), "out": LI(N)}, [Dense("in", "out", weight=evprop.init.Normal(0, 1), delay=1.0)]
    )
    params = net.init(seed=0)
    spikes = Spikes.from_lists([([1.0, 2.0], [0, 1]), ([3.0], [1])], n_units=2)

    def value(name: str, index: Any, step: float) -> float:
        changed = {k: v.copy() for k, v in params.items()}
        changed[name][index] += step
        return evprop.value_and_grad(net, changed, spikes, None, Squares("out"), duration=10.0)[0]

    _, grads, _ = evprop.value_and_grad(net, params, spikes, None, Squares("out"), duration=10.0)
    for name in net.trainable:
        for index in np.ndindex(params[name].shape):
            slope = (value(name, index, 1e-5) - value(name, index, -1e-5)) / 2e-5
            assert grads[name][index] == pytest.approx(slope, rel=1e-6, abs=1e-10)
    with pytest.raises(ConfigError, match="Squares predicts no classes"):
        evprop.predict(net, params, spikes, Squares("out"), duration=10.0)


class MeanSquareWeight(Loss):
    """A penalty that reads a parameter directly."""

    def evaluate(self, record: Record, targets: Any) -> LossResult:
        w = record.params["in_out.weight"]
        values = np.full(record.batch_size, 0.5 * float((w**2).sum()))
        return LossResult(values, parameters={"in_out.weight": w.copy()})


def test_penalties_on_parameters() -> None:
    params = READING.init(seed=0)
    spikes = Spikes.from_lists([([1.0], [0]), ([], [])], n_units=1)
    plain = CrossEntropy(Max())
    labels = np.array([0, 1])
    _, bare, _ = evprop.value_and_grad(READING, params, spikes, labels, plain, duration=10.0)
    loss = plain + 0.1 * MeanSquareWeight()
    value, grads, _ = evprop.value_and_grad(READING, params, spikes, labels, loss, duration=10.0)
    assert grads["in_out.weight"] == pytest.approx(bare["in_out.weight"] + 0.1 * params["in_out.weight"])
    assert value == pytest.approx(
        evprop.value_and_grad(READING, params, spikes, labels, plain, duration=10.0)[0] + 0.15
    )


# -- targets and settings that are refused -----------------------------------------------------------------------

WITH_LABELS = [FirstSpike(0.5, 6.4, 3e-3), RelativeMSE(1.0), CrossEntropy(Final())]


@pytest.mark.parametrize("loss", WITH_LABELS, ids=repr)
@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 1, 3, 0, 0], r"label 3 of sample 2 is out of range; population 'out' has 3 units, .* 0..2"),
        ([0, 1, 2, -1, 0], r"label -1 of sample 3 is out of range"),
        ([0, 1], r"labels have shape \(2,\); they must have shape \(5,\), one label per sample"),
        ([[0], [1], [2], [0], [0]], r"labels have shape \(5, 1\)"),
        (np.zeros(5), r"labels have dtype float64; they must be integers in 0..2"),
        (np.zeros(5, bool), r"labels have dtype bool"),
        (["a"] * 5, r"labels have dtype <U1"),
    ],
)
def test_labels_refused(loss: Loss, labels: Any, message: str) -> None:
    net = READING if isinstance(loss, CrossEntropy) else SPIKING
    record = reading(Final(), np.zeros((5, N))) if net is READING else spiking(some_spikes())
    with pytest.raises(TargetError, match=message):
        loss.evaluate(record, labels)
    with pytest.raises(TargetError, match=message):
        (2.0 * loss).check_targets(record, labels)


@pytest.mark.parametrize("loss", WITH_LABELS, ids=repr)
def test_labels_are_checked_before_any_record(loss: Loss) -> None:
    net = READING if isinstance(loss, CrossEntropy) else SPIKING
    assert loss.check_targets(net, np.array([0, 2], np.uint8)).dtype == np.int64
    with pytest.raises(TargetError, match="label 7 of sample 1"):
        loss.check_targets(net, [0, 7])


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (np.zeros((5, 2)), r"target times have shape \(5, 2\); they must have shape \(5, 3\)"),
        (np.zeros((4, 3)), r"shape \(4, 3\); they must have shape \(5, 3\)"),
        (np.zeros(5), r"shape \(5,\)"),
        (np.zeros((5, 3), int), r"dtype int64; they must be float64"),
        (
            np.array([[0.0, np.inf, 0.0]] * 5),
            r"target time of sample 0, neuron 1 is inf; .* NaN for don't care",
        ),
    ],
)
def test_target_times_refused(targets: Any, message: str) -> None:
    with pytest.raises(TargetError, match=message):
        SpikeTimeMSE().evaluate(spiking(some_spikes()), targets)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FirstSpike(0.0, 6.4, 3e-3), "FirstSpike: tau_0 is 0.0; it must be finite and > 0"),
        (lambda: FirstSpike(0.5, math.inf, 3e-3), "FirstSpike: tau_1 is inf"),
        (lambda: FirstSpike(0.5, 6.4, -1.0), "FirstSpike: alpha is -1.0; it must be finite and >= 0"),
        (lambda: FirstSpike(0.5, 6.4, math.nan), "FirstSpike: alpha is nan"),
        (lambda: FirstSpike(0.5, 6.4, 0.0, silent=-1.0), "FirstSpike: silent is -1.0 ms"),
        (lambda: RelativeMSE(-0.2), "RelativeMSE: delta is -0.2"),
        (lambda: RelativeMSE(0.2, silent=math.inf), "RelativeMSE: silent is inf"),
        (lambda: SpikeTimeMSE(silent=math.nan), "SpikeTimeMSE: silent is nan"),
        (lambda: CrossEntropy(Max), "CrossEntropy: readout is .*give a readout such as"),
        (lambda: WeightedIntegral(0.0), "WeightedIntegral: tau is 0.0 ms; it must be finite and > 0"),
        (lambda: WeightedIntegral(math.nan), "WeightedIntegral: tau is nan"),
        (lambda: SigmoidIntegral(math.inf, 1.0), "SigmoidIntegral: centre is inf ms; it must be finite"),
        (lambda: SigmoidIntegral(1.0, 0.0), "SigmoidIntegral: width is 0.0 ms; it must be finite and > 0"),
        (lambda: LinearIntegral(normalise="yes"), "normalise is 'yes'; it must be"),
        (lambda: Integral(normalise="yes"), "normalise is 'yes'; it must be \"duration\""),
        (lambda: Sampled([]), "Sampled: times is empty"),
        (lambda: Sampled([1.0, -1.0]), r"Sampled: times\[1\] is -1.0 ms; it must be finite and >= 0"),
        (lambda: Sampled([2.0, 1.0]), r"Sampled: times\[1\] is 1.0 ms after 2.0 ms; give them ascending"),
        (lambda: Sampled([math.nan]), r"Sampled: times\[0\] is nan"),
    ],
)
def test_settings_refused(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(EvpropError, match=message):
        make()


def test_the_output_population() -> None:
    layers = {"in": Input(1), "a": LIF(2), "b": LI(2), "c": LIF(3)}
    net = Network(layers, [Dense("in", n, weight=1.0) for n in "abc"])
    with pytest.raises(
        NetworkError, match=r"not clear: \['a', 'b', 'c'\] reach no other population; give population="
    ):
        CrossEntropy(Max()).readouts(net)
    assert CrossEntropy(Max(), population="c").readouts(net) == {"c": [Max()]}
    with pytest.raises(NetworkError, match="FirstSpike reads spike times, but population 'b' is no LIF"):
        FirstSpike(0.5, 6.4, 0.0, population="b").check_targets(net, [0])
    with pytest.raises(NetworkError, match="CrossEntropy reads a voltage, but population 'in' is an Input"):
        CrossEntropy(Max(), population="in").readouts(net)
    with pytest.raises(NetworkError, match="unknown population 'd'"):
        RelativeMSE(1.0, population="d").check_targets(net, [0])
    with pytest.raises(TargetError, match=r"label 2 .*population 'a' has 2 units"):
        FirstSpike(0.5, 6.4, 0.0, population="a").check_targets(net, [2])
