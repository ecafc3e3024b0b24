"""The adjoint against a second method (forward tangents of the event map) and against finite differences.

Every parameter kind, every kind of delay, dense and sparse, every readout, recurrent, refractory, tonic.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings

import evprop
import oracle
from agreement import Jacobian, slow_runs, worst_error
from evprop.losses import (
    CrossEntropy,
    Final,
    FirstSpike,
    Integral,
    LinearIntegral,
    Max,
    RelativeMSE,
    Sampled,
    SigmoidIntegral,
    SpikeTimeMSE,
    WeightedIntegral,
)
from evprop.testing import gradcheck
from oracle.ttfs import double_constant, equal_constants
from strategies import Problem, small_problems

SECOND_METHOD = 1e-10
SHAPED: list[Any] = [WeightedIntegral(11.0), LinearIntegral(), SigmoidIntegral(8.0, 3.0)]
READOUTS: list[Any] = [Integral(), *SHAPED, Max(), Final(), Sampled([3.3, 12.1])]


def differentiable(net: Any) -> list[str]:
    return [name for name in net.parameter_names if not name.endswith(".t_ref")]


def assert_adjoint_matches_tangents(
    net: Any, params: Any, spikes: Any, duration: float, readouts: dict[str, list[Any]], seed: int = 0
) -> evprop.Record:
    """Random cotangents of all spikes, of each readout alone, and of everything together."""
    rng = np.random.default_rng(seed)
    record = evprop.simulate(net, params, spikes, duration=duration, readouts=readouts)
    jacobian = Jacobian(net, params, spikes, duration)
    lifs = [name for name, p in net.populations.items() if p.kind == "lif"]
    on_spikes = {name: rng.normal(size=record.spikes[name].n_spikes) for name in lifs}
    on_readouts: dict[str, list[Any]] = {
        name: [rng.normal(size=y.shape) for y in record.readout[name]] for name in readouts
    }
    asked: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
        ("spike times", on_spikes, {}),
        ("everything", on_spikes, on_readouts),
    ]
    for name, all_of_it in on_readouts.items():
        for k, cotangent in enumerate(all_of_it):
            only = [cotangent if k == j else None for j in range(len(all_of_it))]
            asked.append((f"{readouts[name][k]} of {name}", {}, {name: only}))
    for label, spike_times, given_readouts in asked:
        found = evprop.backward(record, spike_times, given_readouts, wrt=differentiable(net))
        used = {name: readouts[name] for name in given_readouts}
        error, where = worst_error(found, jacobian.gradients(spike_times, used, given_readouts))
        assert error <= SECOND_METHOD, f"{label}: gradient of {where} is off by {error:.2g}"
    return record


# -- the second method ---------------------------------------------------------------------------------------


@settings(max_examples=50, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(small_problems())
def test_adjoint_matches_tangents_on_random_networks(problem: Problem) -> None:
    try:
        results = slow_runs(problem.net, problem.params, problem.spikes, problem.duration, max_spikes=200)
    except oracle.TooManySpikes:
        assume(False)
    assume(all(result.margin() > 1e-7 for result in results))  # nothing on the brink
    assert_adjoint_matches_tangents(
        problem.net, problem.params, problem.spikes, problem.duration, {problem.net.outputs[-1]: READOUTS}
    )


def recurrent(
    kind: str | None,
    *,
    sparse: bool = False,
    t_ref: Any = 0.0,
    i_bias: Any = 0.0,
    seed: int = 0,
    ratio: Any = None,
) -> tuple[Any, Any, Any, float]:
    """In -> 5 hidden, recurrent with delays of one kind -> LI and LIF outputs, all constants different."""
    rng = np.random.default_rng(seed)
    n = 5
    tau_syn = rng.uniform(2.0, 8.0, n)
    tau_mem = rng.uniform(5.0, 20.0, n) if ratio is None else tau_syn * ratio

    def delayed(pre: str, post: str, shape: tuple[int, int], weight: np.ndarray) -> Any:
        delays = {"axonal": (shape[0], 1), "dendritic": (1, shape[1]), "synaptic": shape}
        delay = None if kind is None else rng.uniform(0.0, 5.0, delays[kind])
        if not sparse:
            return evprop.Dense(pre, post, weight=weight, delay=delay, delay_kind=kind)
        mask = rng.random(shape) < 0.7
        mask[0, 0] = True
        if kind == "synaptic":
            delay = delay[mask]  # type: ignore[index]
        return evprop.Sparse(pre, post, weight=weight[mask], delay=delay, delay_kind=kind, mask=mask)

    hidden = evprop.LIF(
        n,
        tau_mem=tau_mem,
        tau_syn=tau_syn,
        v_th=rng.uniform(0.9, 1.1, n),
        v_reset=rng.uniform(-0.3, 0.3, n),
        v_init=rng.uniform(-0.3, 0.3, n),
        i_bias=i_bias,
        t_ref=t_ref,
    )
    net = evprop.Network(
        {
            "in": evprop.Input(3),
            "h": hidden,
            "lif": evprop.LIF(2, v_reset=-0.1),
            "li": evprop.LI(2, i_bias=0.1),
        },
        [
            delayed("in", "h", (3, n), rng.normal(6.0, 2.0, (3, n))),
            delayed("h", "h", (n, n), rng.normal(0.0, 0.5, (n, n))),
            delayed("h", "lif", (n, 2), rng.normal(1.5, 1.0, (n, 2))),
            delayed("h", "li", (n, 2), rng.normal(0.0, 1.0, (n, 2))),
            evprop.Dense("in", "li", weight=rng.normal(0.0, 1.0, (3, 2)), name="skip"),
        ],
    )
    trains = [(rng.uniform(0.0, 12.0, 6), rng.integers(0, 3, 6)) for _ in range(2)]
    return net, net.init(0), evprop.Spikes.from_lists(trains, n_units=3), 25.0


BOTH = {"li": READOUTS, "lif": [Integral(), *SHAPED, Final(), Sampled([3.3, 12.1])]}


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
@pytest.mark.parametrize("kind", [None, "axonal", "dendritic", "synaptic"])
def test_each_kind_of_delay(kind: str | None, sparse: bool) -> None:
    record = assert_adjoint_matches_tangents(*recurrent(kind, sparse=sparse), BOTH)
    assert record.spikes["h"].n_spikes > 20
    assert record.spikes["lif"].n_spikes > 0


@pytest.mark.parametrize("kind", [None, "synaptic"])
@pytest.mark.parametrize(
    "t_ref", [2.3, np.inf, [0.0, 1.0, 4.0, np.inf, 0.5]], ids=["all", "single spikes", "mixed"]
)
def test_refractory_neurons(t_ref: Any, kind: str | None) -> None:
    """Arrivals from inside and outside the recurrent population while V is held, and after."""
    assert_adjoint_matches_tangents(
        *recurrent(kind, t_ref=t_ref), {**BOTH, "h": [Integral(), Final(), Sampled([6.0])]}
    )


@pytest.mark.parametrize("t_ref", [0.0, 2.3])
def test_tonic_neurons(t_ref: float) -> None:
    assert_adjoint_matches_tangents(
        *recurrent("axonal", i_bias=[1.2, 0.0, 1.5, -0.2, 1.1], t_ref=t_ref), BOTH
    )


def test_tonic_neurons_without_any_input() -> None:
    net = evprop.Network(
        {"in": evprop.Input(1), "h": evprop.LIF(2, tau_mem=6.0, tau_syn=6.0, i_bias=[1.36, 1.4], t_ref=2.3)},
        [evprop.Dense("h", "h", weight=np.array([[0.0, -0.06], [0.0, 0.0]]))],
    )
    spikes = evprop.Spikes.from_lists([([], np.empty(0, np.int64))], n_units=1)
    record = assert_adjoint_matches_tangents(net, net.init(0), spikes, 25.0, {"h": [Final()]})
    assert record.spikes["h"].n_spikes >= 4


@pytest.mark.parametrize("ratio", [0.5, 1.0, 1.0 + 1e-12, 1.0 + 1e-6, 1.4, 2.0, 4.0, 20.0])
def test_any_ratio_of_the_time_constants(ratio: float) -> None:
    net, params, spikes, _ = recurrent("dendritic", ratio=ratio, seed=3)
    record = assert_adjoint_matches_tangents(net, params, spikes, 14.0, BOTH)
    assert record.spikes["h"].n_spikes > 3


@pytest.mark.parametrize(
    "readout", [Integral(None), WeightedIntegral(7.0, None), LinearIntegral(None), SigmoidIntegral(9.0, 2.0, None)]
)
def test_integral_of_a_neuron_that_spikes(readout: Any) -> None:
    """V jumps down at a time that moves: the integral gains (v_th - v_reset) dt."""
    net = evprop.Network(
        {"in": evprop.Input(1), "n": evprop.LIF(1, tau_mem=5.8, tau_syn=5.8, v_reset=-0.2)},
        [evprop.Dense("in", "n", weight=8.0)],
    )
    spikes = evprop.Spikes.from_lists([([1.0], [0])], n_units=1)
    record = assert_adjoint_matches_tangents(net, net.init(0), spikes, 25.0, {"n": [readout]})
    assert record.spikes["n"].n_spikes >= 3


@pytest.mark.parametrize("weights", [(3.0, -6.0), (3.0, 0.5), (-1.0, -1.0)], ids=["corner", "peak", "start"])
def test_maximum_wherever_it_lies(weights: tuple[float, float]) -> None:
    """At an arrival that turns V down (it moves with the arrival), between arrivals, at the start of the trial."""
    net = evprop.Network(
        {"in": evprop.Input(2), "o": evprop.LI(1)},
        [evprop.Dense("in", "o", weight=np.array(weights)[:, None], delay=0.5)],
    )
    spikes = evprop.Spikes.from_lists([([1.0, 4.0], [0, 1])], n_units=2)
    assert_adjoint_matches_tangents(net, net.init(0), spikes, 40.0, {"o": [Max()]})


def test_peak_voltage_of_a_silent_neuron() -> None:
    net = evprop.Network(
        {"in": evprop.Input(1), "n": evprop.LIF(2)}, [evprop.Dense("in", "n", weight=np.array([[3.0, 20.0]]))]
    )
    spikes = evprop.Spikes.from_lists([([1.0], [0])], n_units=1)
    record = assert_adjoint_matches_tangents(net, net.init(0), spikes, 40.0, {"n": [Max()]})
    assert set(record.spikes["n"].units.tolist()) == {1}


def test_several_inputs_and_parallel_projections() -> None:
    rng = np.random.default_rng(4)
    net = evprop.Network(
        {"a": evprop.Input(2), "b": evprop.Input(1), "h": evprop.LIF(3), "o": evprop.LI(2)},
        [
            evprop.Dense("a", "h", weight=rng.normal(5.0, 1.0, (2, 3)), delay=1.0),
            evprop.Dense("a", "h", weight=rng.normal(3.0, 1.0, (2, 3)), delay=6.0, name="late"),
            evprop.Dense("b", "h", weight=rng.normal(2.0, 1.0, (1, 3))),
            evprop.Dense("h", "o", weight=rng.normal(1.0, 1.0, (3, 2))),
            evprop.Dense("b", "o", weight=rng.normal(1.0, 1.0, (1, 2))),
        ],
    )
    spikes = {
        "a": evprop.Spikes.from_lists([([1.0, 1.0, 5.0], [0, 1, 0]), ([2.0], [1])], n_units=2),
        "b": evprop.Spikes.from_lists([([3.0], [0]), ([1.0, 4.0], [0, 0])], n_units=1),
    }
    assert_adjoint_matches_tangents(net, net.init(0), spikes, 30.0, {"o": READOUTS})


# -- closed forms: the true gradient in size, not only in direction ------------------------------------------


@pytest.mark.parametrize("ratio", [1, 2])
def test_gradient_of_a_first_spike_is_the_published_closed_form(ratio: int) -> None:
    rng = np.random.default_rng(ratio)
    times, weights = np.sort(rng.uniform(0.0, 10.0, 6)), rng.normal(1.2, 0.8, 6)
    formula = equal_constants if ratio == 1 else double_constant
    expected = formula(times.tolist(), weights.tolist(), 5.0, 1.0)
    assert expected is not None
    net = evprop.Network(
        {"in": evprop.Input(6), "n": evprop.LIF(1, tau_mem=5.0 * ratio, tau_syn=5.0, t_ref=np.inf)},
        [evprop.Dense("in", "n", weight=weights[:, None])],
    )
    record = evprop.simulate(
        net, net.init(0), evprop.Spikes.from_lists([(times, np.arange(6))], n_units=6), duration=100.0
    )
    grads = evprop.backward(record, {"n": np.ones(1)})
    spike, by_w, by_t = expected
    assert record.spikes["n"].times[0] == pytest.approx(spike, abs=1e-12)
    np.testing.assert_allclose(grads["in_n.weight"][:, 0], by_w, rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(grads.input_times, by_t, rtol=1e-10, atol=1e-13)


def test_single_sample_gradient_has_its_true_size() -> None:
    """dL/dw of a mean voltage is K(T - s)/T, not K(T - s)/(T tau_mem)."""
    tau_mem, tau_syn, duration, s = 20.0, 5.0, 30.0, 4.0
    net = evprop.Network({"in": evprop.Input(1), "o": evprop.LI(1)}, [evprop.Dense("in", "o", weight=0.7)])
    spikes = evprop.Spikes.from_lists([([s], [0])], n_units=1)
    record = evprop.simulate(net, net.init(0), spikes, duration=duration, readouts={"o": [Integral()]})
    grads = evprop.backward(record, readouts={"o": [np.ones((1, 1))]})
    d = duration - s
    integral = tau_mem * (1 - np.exp(-d / tau_mem)) - tau_syn * (1 - np.exp(-d / tau_syn))
    expected = tau_syn / (tau_mem - tau_syn) * integral / duration
    assert grads["in_o.weight"][0, 0] == pytest.approx(expected, rel=1e-13)


def test_batch_gradient_is_the_sum_over_samples() -> None:
    net, params, spikes, duration = recurrent("synaptic")
    loss, labels = CrossEntropy(Max(), population="li"), np.array([1, 0])
    _, together, _ = evprop.value_and_grad(net, params, spikes, labels, loss, duration=duration)
    alone = [
        evprop.value_and_grad(net, params, spikes[b : b + 1], labels[b : b + 1], loss, duration=duration)[1]
        for b in (0, 1)
    ]
    for name in together:
        np.testing.assert_allclose(
            together[name], (alone[0][name] + alone[1][name]) / 2, rtol=1e-12, atol=1e-15
        )


def test_float32_gradients_are_close_to_float64() -> None:
    net, params, spikes, duration = recurrent("synaptic", t_ref=1.0)
    single = {name: value.astype(np.float32) for name, value in params.items()}
    double = {name: value.astype(np.float64) for name, value in single.items()}
    loss, labels = CrossEntropy(Integral(), population="li"), np.array([1, 0])
    names = differentiable(net)
    _, exact, _ = evprop.value_and_grad(net, double, spikes, labels, loss, duration=duration, wrt=names)
    _, close, _ = evprop.value_and_grad(
        net,
        single,
        spikes,
        labels,
        loss,
        duration=duration,
        wrt=names,
        simulator=evprop.Exact(dtype="float32"),
    )
    for name in names:
        assert close[name].dtype == np.float32
        size = max(np.abs(exact[name]).max(), 1e-3)
        np.testing.assert_allclose(close[name], exact[name], rtol=0, atol=1e-3 * size, err_msg=name)


# -- finite differences --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loss", "targets"),
    [
        (CrossEntropy(Integral(), population="li"), np.array([1, 0])),
        (CrossEntropy(WeightedIntegral(9.0), population="li"), np.array([1, 0])),
        (CrossEntropy(LinearIntegral(), population="li"), np.array([1, 0])),
        (CrossEntropy(SigmoidIntegral(9.0, 4.0), population="li"), np.array([1, 0])),
        (CrossEntropy(Max(), population="li"), np.array([1, 0])),
        (CrossEntropy(Final(), population="li"), np.array([1, 0])),
        (CrossEntropy(Sampled([4.0, 17.0]), population="li"), np.array([1, 0])),
        (CrossEntropy(Integral(), population="lif"), np.array([1, 0])),
        (FirstSpike(2.0, 10.0, 0.01, population="lif"), np.array([1, 0])),
        (RelativeMSE(1.0, population="lif"), np.array([1, 0])),
        (SpikeTimeMSE(population="lif"), np.array([[8.0, 11.0], [np.nan, 9.0]])),
    ],
    ids=lambda x: type(getattr(x, "readout", x)).__name__ if not isinstance(x, np.ndarray) else "",
)
def test_every_loss_and_parameter_against_finite_differences(loss: Any, targets: Any) -> None:
    net, params, spikes, duration = recurrent("synaptic", t_ref=[0.0, 1.0, 0.0, 3.0, 0.0])
    report = gradcheck(net, params, spikes, loss, duration=duration, targets=targets, n_directions=2)
    assert report.ok, str(report)
    assert not report.undecided, str(report)
    assert report.max_error <= 1e-6, str(report)


@pytest.mark.parametrize("kind", [None, "axonal", "dendritic"])
def test_every_kind_of_delay_against_finite_differences(kind: str | None) -> None:
    net, params, spikes, duration = recurrent(
        kind, sparse=kind == "axonal", i_bias=[1.2, 0.0, 0.1, -0.2, 1.1]
    )
    loss = CrossEntropy(Final(), population="li") + 0.01 * SpikeTimeMSE(population="lif")  # type: ignore[operator]

    class Both(evprop.losses.Loss):
        def readouts(self, net: Any) -> Any:
            return loss.terms[0][1].readouts(net)

        def evaluate(self, record: Any, targets: Any) -> Any:
            first = CrossEntropy(Final(), population="li").evaluate(record, targets[0])
            second = SpikeTimeMSE(population="lif").evaluate(record, targets[1])
            first.values = first.values + second.values
            first.spike_times = second.spike_times
            return first

    targets = (np.array([1, 0]), np.full((2, 2), 9.0))
    report = gradcheck(net, params, spikes, Both(), duration=duration, targets=targets, n_directions=3)
    assert report.ok, str(report)
    assert not report.undecided, str(report)
