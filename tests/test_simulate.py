"""The engine's forward pass against the slow simulator: spike times, counts, readouts, traces."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings

import evprop
import oracle
from agreement import compare, slow_runs
from evprop.losses import Final, Integral, LinearIntegral, Max, Sampled, SigmoidIntegral, WeightedIntegral
from strategies import Problem, busy_problems

F64 = {"tolerance": 1e-9, "margin": 1e-12}  # ms; v_th - v_reset
F32 = {"tolerance": 1e-3, "margin": 1e-4}
MAX_SPIKES = 1500


def assert_agrees(
    net: Any, params: Any, spikes: Any, duration: float, *, dtype: str = "float64", min_spikes: int = 0
) -> evprop.Record:
    results = slow_runs(net, params, spikes, duration)
    record = evprop.simulate(net, params, spikes, duration=duration, simulator=evprop.Exact(dtype=dtype))
    found = compare(record, results, **(F64 if dtype == "float64" else F32))
    assert not found.disagreements, "\n".join(found.disagreements)
    assert found.spikes >= min_spikes
    if dtype == "float64":
        assert found.excused == 0
    return record


def one_lif(
    weight: float, times: list[float], duration: float, *, delay: float | None = None, **constants: Any
) -> Any:
    """(net, params, spikes, duration) of one neuron behind one input."""
    net = evprop.Network(
        {"in": evprop.Input(1), "n": evprop.LIF(1, **constants)},
        [evprop.Dense("in", "n", weight=weight, delay=delay)],
    )
    spikes = evprop.Spikes.from_lists([(np.array(times), np.zeros(len(times), np.int64))], n_units=1)
    return net, net.init(0), spikes, duration


# -- random networks -----------------------------------------------------------------------------------------


@settings(max_examples=120, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(busy_problems())
def test_random_networks_match_the_slow_simulator(problem: Problem) -> None:
    try:
        results = slow_runs(
            problem.net, problem.params, problem.spikes, problem.duration, max_spikes=MAX_SPIKES
        )
    except oracle.TooManySpikes:
        assume(False)
    output = problem.net.outputs[-1]
    readouts: list[Any] = [
        Integral(),
        Integral(None),
        WeightedIntegral(11.0),
        LinearIntegral(),
        SigmoidIntegral(8.0, 3.0),
        Max(),
        Final(),
        Sampled([0.0, 3.3, 12.1]),
    ]
    record = evprop.simulate(
        problem.net, problem.params, problem.spikes, duration=problem.duration, readouts={output: readouts}
    )
    found = compare(record, results, **F64)
    assert not found.disagreements, "\n".join(found.disagreements)
    for k, readout in enumerate(readouts):
        for b, result in enumerate(results):
            expected = oracle.read(result, output, readout.spec(problem.duration))[0]
            atol = 1e-11 * result.gain() * (problem.duration if readout == Integral(None) else 1.0)
            np.testing.assert_allclose(
                record.readout[output][k][b],
                expected,
                rtol=1e-11,
                atol=atol,
                err_msg=f"{readout}, sample {b}",
            )


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(busy_problems(dtype="float32"))
def test_random_networks_in_float32(problem: Problem) -> None:
    try:
        results = slow_runs(
            problem.net, problem.params, problem.spikes, problem.duration, max_spikes=MAX_SPIKES
        )
    except oracle.TooManySpikes:
        assume(False)
    record = evprop.simulate(
        problem.net,
        problem.params,
        problem.spikes,
        duration=problem.duration,
        simulator=evprop.Exact(dtype="float32"),
    )
    found = compare(record, results, **F32)
    assert not found.disagreements, "\n".join(found.disagreements)


# -- cases with a reason -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("ratio", [0.2, 0.5, 0.999, 1.0, 1.0 + 1e-7, 1.01, 1.4, 2.0, 3.0, 4.0, 40.0])
def test_any_ratio_of_the_time_constants(ratio: float, dtype: str) -> None:
    rng = np.random.default_rng(7)
    net = evprop.Network(
        {"in": evprop.Input(5), "h": evprop.LIF(6, tau_mem=5.0 * ratio, tau_syn=5.0), "o": evprop.LIF(3)},
        [
            evprop.Dense("in", "h", weight=rng.normal(2.0, 2.0, (5, 6)) * max(1.0, ratio / 2.0)),
            evprop.Dense("h", "o", weight=rng.normal(1.0, 1.0, (6, 3))),
        ],
    )
    trains = [(rng.uniform(0.0, 30.0, 20), rng.integers(0, 5, 20)) for _ in range(3)]
    spikes = evprop.Spikes.from_lists(trains, n_units=5)
    assert_agrees(net, net.init(0, dtype=dtype), spikes, 60.0, dtype=dtype, min_spikes=15)


def test_many_equal_input_times() -> None:
    """Real data has thousands of them."""
    rng = np.random.default_rng(3)
    net = evprop.Network(
        {"in": evprop.Input(50), "h": evprop.LIF(8), "o": evprop.LIF(2)},
        [
            evprop.Dense(
                "in", "h", weight=rng.normal(0.15, 0.4, (50, 8)), delay=np.floor(rng.uniform(0, 5, (50, 8)))
            ),
            evprop.Dense("h", "h", weight=rng.normal(0.0, 0.3, (8, 8)), self_connections=True),
            evprop.Dense(
                "h", "o", weight=rng.normal(0.5, 0.5, (8, 2)), delay=np.ones((8, 1)), delay_kind="axonal"
            ),
        ],
    )
    times = np.floor(rng.uniform(0.0, 40.0, 600))
    spikes = evprop.Spikes.from_lists([(times, rng.integers(0, 50, 600))], n_units=50)
    assert_agrees(net, net.init(0), spikes, 60.0, min_spikes=20)


def test_crossings_come_before_the_arrivals_of_the_same_instant() -> None:
    """Two neurons alike cross together; the inhibition that each sends at once comes too late for the other."""
    net = evprop.Network(
        {"in": evprop.Input(1), "h": evprop.LIF(2)},
        [
            evprop.Dense("in", "h", weight=9.0),
            evprop.Dense("h", "h", weight=np.array([[0.0, -50.0], [-50.0, 0.0]])),
        ],
    )
    spikes = evprop.Spikes.from_lists([([1.0], [0])], n_units=1)
    record = assert_agrees(net, net.init(0), spikes, 50.0, min_spikes=2)
    times, units = record.spikes["h"][0]
    assert units.tolist() == [0, 1]
    assert times[0] == times[1]


def test_a_touch_is_no_spike() -> None:
    """The peak of w (t/tau) e^{-t/tau} is w/e: one part in 1e9 below the threshold and above it."""
    for weight, spikes in ((np.e * (1.0 - 1e-9), 0), (np.e * (1.0 + 1e-9), 1)):
        record = assert_agrees(*one_lif(weight, [0.0], 60.0, tau_mem=5.0, tau_syn=5.0))
        assert record.spikes["n"].n_spikes == spikes


def test_spike_at_the_duration_and_arrival_at_the_duration() -> None:
    net, params, spikes, _ = one_lif(40.0, [1.0], 30.0, t_ref=np.inf)
    first = evprop.simulate(net, params, spikes, duration=30.0).spikes["n"].times[0]
    for duration, expected in ((np.nextafter(first, 99.0) + 1e-9, 1), (first - 1e-9, 0)):
        assert evprop.simulate(net, params, spikes, duration=duration).spikes["n"].n_spikes == expected
    record = evprop.simulate(net, params, spikes, duration=1.0, readouts={"n": [Final()]})
    assert record.readout["n"][0][0, 0] == 0.0


def test_tonic_firing_has_its_closed_form_period() -> None:
    net, params, spikes, duration = one_lif(
        0.0, [], 1000.0, tau_mem=10.0, i_bias=1.5, v_reset=-0.2, t_ref=2.0
    )
    record = assert_agrees(net, params, spikes, duration)
    first, period = 10.0 * np.log(1.5 / 0.5), 10.0 * np.log(1.7 / 0.5) + 2.0
    expected = first + period * np.arange(100)
    np.testing.assert_allclose(record.spikes["n"].times, expected[expected <= duration], rtol=1e-13)


def test_bias_exactly_at_threshold_never_fires() -> None:
    assert assert_agrees(*one_lif(0.0, [], 1e6, i_bias=1.0)).spikes["n"].n_spikes == 0


@pytest.mark.parametrize("t_ref", [0.0, 3.0, np.inf])
def test_refractory_time(t_ref: float) -> None:
    arguments = one_lif(25.0, [0.0, 1.0, 2.0, 3.0, 20.0], 60.0, t_ref=t_ref, v_reset=-0.5)
    record = assert_agrees(*arguments, min_spikes=1)
    times = record.spikes["n"].times
    assert np.all(np.diff(times) > t_ref)
    assert (len(times) == 1) == np.isinf(t_ref)


@pytest.mark.parametrize("n", [3, 30])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_only_spikes_do_not_depend_on_their_company(n: int, dtype: str) -> None:
    """Where all neurons spike once, spikes are found after the steps; a neuron among them that spikes more often changes
    how, not what. Weak weights make many near misses, more than are noted at a time."""
    rng = np.random.default_rng(n)
    weight = np.hstack([rng.normal(0.0, 1.0, (9, n)), np.full((9, 1), 0.3)])
    constants = {
        "tau_mem": 8.0,
        "tau_syn": 4.0,
        "i_bias": np.append(rng.choice([-0.2, 0.3, 1.2], n), 0.0),
        "v_init": np.append(rng.uniform(-0.5, 0.9, n), 0.0),
        "t_ref": np.append(np.full(n, np.inf), 0.0),
    }
    samples = [(np.sort(rng.uniform(0.0, 60.0, 40)), rng.integers(0, 9, 40)) for _ in range(20)]
    spikes = evprop.Spikes.from_lists(samples, n_units=9)

    def spikes_of(size: int) -> evprop.Spikes:
        own = {name: v[:size] if np.ndim(v) else v for name, v in constants.items()}
        net = evprop.Network(
            {"in": evprop.Input(9), "n": evprop.LIF(size, **own)},
            [evprop.Dense("in", "n", weight=np.ascontiguousarray(weight[:, :size]))],
        )
        params = net.init(0, dtype=dtype)
        return evprop.simulate(
            net, params, spikes, duration=70.0, simulator=evprop.Exact(dtype=dtype)
        ).spikes["n"]

    alone, among = spikes_of(n), spikes_of(n + 1)
    mine = among.units < n
    assert among.n_spikes > mine.sum() > 5 * n
    assert (alone.counts() <= 1).all()
    assert not alone.fired().all()
    np.testing.assert_array_equal(alone.times, among.times[mine])
    np.testing.assert_array_equal(alone.units, among.units[mine])
    np.testing.assert_array_equal(alone.samples, among.samples[mine])


def test_v_init_and_v_reset_of_either_sign() -> None:
    for v_init in (-0.8, 0.0, 0.99):
        for v_reset in (-0.7, 0.9):
            arguments = one_lif(10.0, [0.0, 4.0], 60.0, v_init=v_init, v_reset=v_reset, i_bias=-0.2)
            assert_agrees(*arguments, min_spikes=1)


@pytest.mark.parametrize("kind", ["axonal", "dendritic", "synaptic"])
@pytest.mark.parametrize("sparse", [False, True])
def test_recurrence_with_each_kind_of_delay(kind: str, sparse: bool) -> None:
    rng = np.random.default_rng(5)
    shape = {"axonal": (6, 1), "dendritic": (1, 6), "synaptic": (6, 6)}[kind]
    weight, delay = rng.normal(0.0, 0.8, (6, 6)), rng.uniform(0.0, 8.0, shape)
    if sparse:
        mask = rng.random((6, 6)) < 0.5
        if kind == "synaptic":
            delay = delay[mask]
        recurrent: Any = evprop.Sparse("h", "h", weight=weight[mask], delay=delay, delay_kind=kind, mask=mask)
    else:
        recurrent = evprop.Dense("h", "h", weight=weight, delay=delay, delay_kind=kind)
    net = evprop.Network(
        {
            "in": evprop.Input(3),
            "h": evprop.LIF(6, tau_mem=rng.uniform(5, 25, 6), t_ref=[0.0, 1.0, 0.0, 4.0, 0.0, 2.0]),
        },
        [evprop.Dense("in", "h", weight=rng.normal(5.0, 2.0, (3, 6))), recurrent],
    )
    spikes = evprop.Spikes.from_lists([(rng.uniform(0, 30, 12), rng.integers(0, 3, 12))] * 2, n_units=3)
    assert_agrees(net, net.init(0), spikes, 60.0, min_spikes=30)


def test_trace_matches_the_slow_simulator() -> None:
    rng = np.random.default_rng(9)
    net = evprop.Network(
        {
            "in": evprop.Input(3),
            "h": evprop.LIF(4, tau_mem=rng.uniform(5, 20, 4), t_ref=[0.0, 2.0, 0.0, 1.0]),
        },
        [evprop.Dense("in", "h", weight=rng.normal(6.0, 2.0, (3, 4)), delay=1.5)],
    )
    params = net.init(0)
    spikes = evprop.Spikes.from_lists([(rng.uniform(0, 20, 10), rng.integers(0, 3, 10))], n_units=3)
    result = slow_runs(net, params, spikes, 40.0)[0]
    times = rng.uniform(0.0, 40.0, 60)
    v, i = evprop.trace(net, params, spikes, "h", times)
    for unit in range(4):
        slow_v, slow_i = oracle.readouts.trace(result, "h", unit, times)
        np.testing.assert_allclose(v[:, unit], slow_v, atol=1e-11)
        np.testing.assert_allclose(i[:, unit], slow_i, atol=1e-11)


def test_samples_do_not_know_each_other() -> None:
    rng = np.random.default_rng(2)
    net = evprop.Network(
        {"in": evprop.Input(4), "h": evprop.LIF(5), "o": evprop.LI(2)},
        [
            evprop.Dense("in", "h", weight=rng.normal(4.0, 2.0, (4, 5)), delay=rng.uniform(0, 5, (4, 5))),
            evprop.Dense("h", "h", weight=rng.normal(0.0, 0.5, (5, 5)), delay=1.0),
            evprop.Dense("h", "o", weight=1.0),
        ],
    )
    params = net.init(0)
    trains = [(rng.uniform(0, 20, n), rng.integers(0, 4, n)) for n in (8, 0, 15)]
    together = evprop.simulate(
        net, params, evprop.Spikes.from_lists(trains, n_units=4), duration=40.0, readouts={"o": [Final()]}
    )
    for b, train in enumerate(trains):
        alone = evprop.simulate(
            net,
            params,
            evprop.Spikes.from_lists([train], n_units=4),
            duration=40.0,
            readouts={"o": [Final()]},
        )
        np.testing.assert_array_equal(together.spikes["h"][b][0], alone.spikes["h"].times)
        np.testing.assert_array_equal(together.readout["o"][0][b], alone.readout["o"][0][0])


def test_a_few_of_the_random_networks_over_a_second(exactness: Any) -> None:
    for dtype in ("float64", "float32"):
        total, _ = exactness.spike_times(dtype, range(6))
        assert not total.disagreements, "\n".join(total.disagreements)
        assert total.spikes > 200


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_five_hundred_random_networks_over_a_second(dtype: str, exactness: Any) -> None:
    """The table of docs/results, with its limits."""
    total, _ = exactness.spike_times(dtype, range(500))
    assert not total.disagreements, "\n".join(total.disagreements[:10])
    assert total.within_gain == total.spikes > 50_000
