"""Samples that end with the last first spike of a population: nothing that a first-spike loss sees is lost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import evprop
from evprop import LI, LIF, Dense, Exact, Input, Network, Spikes
from evprop.errors import ConfigError, NetworkError
from evprop.losses import CrossEntropy, FirstSpike, RelativeMSE, SpikeTimeMSE
from evprop.losses.skip_silent import SkipSilentLabels
from evprop.readouts import Final

DURATION = 60.0
STOP = Exact(stop_when_fired="output")
LOSS = FirstSpike(tau_0=1.0, tau_1=10.0, alpha=0.01)


def network(seed: int, *, delay: str | None = None, recurrent: bool = False, t_ref: float = 0.0) -> Network:
    rng = np.random.default_rng(seed)

    def dense(pre: str, post: str, n_pre: int, n_post: int, mean: float) -> Dense:
        shapes = {"axonal": (n_pre, 1), "dendritic": (1, n_post), "synaptic": (n_pre, n_post)}
        late = {} if delay is None else {"delay": rng.uniform(0, 8, shapes[delay]), "delay_kind": delay}
        return Dense(pre, post, weight=rng.normal(mean, 0.6, (n_pre, n_post)), **late)

    projections = [dense("input", "hidden", 4, 20, 2.0), dense("hidden", "output", 20, 3, 0.5)]
    if recurrent:
        projections.append(Dense("hidden", "hidden", weight=rng.normal(0, 0.1, (20, 20))))
    lif = {"tau_mem": 20.0, "tau_syn": 5.0, "v_th": 1.0}
    return Network(
        {"input": Input(4), "hidden": LIF(20, t_ref=t_ref, **lif), "output": LIF(3, **lif)}, projections
    )


def batch(seed: int, n: int = 5) -> Spikes:
    rng = np.random.default_rng(seed)
    rows = [(np.sort(rng.uniform(0, 40, 8)), rng.integers(0, 4, 8)) for _ in range(n)]
    return Spikes.from_lists([*rows, ([], [])], n_units=4)


LABELS = np.array([0, 1, 2, 0, 1, 2])


@given(
    seed=st.integers(0, 10_000),
    delay=st.sampled_from([None, "axonal", "dendritic", "synaptic"]),
    recurrent=st.booleans(),
    t_ref=st.sampled_from([0.0, 2.0, np.inf]),
    loss=st.sampled_from(
        [LOSS, RelativeMSE(delta=2.0), SkipSilentLabels(LOSS), LOSS + 0.5 * RelativeMSE(delta=1.0)]
    ),
    dtype=st.sampled_from(["float64", "float32"]),
)
@settings(max_examples=60, deadline=None)
def test_value_and_gradients_are_those_of_whole_trials(
    seed: int, delay: str | None, recurrent: bool, t_ref: float, loss: Any, dtype: str
) -> None:
    net = network(seed, delay=delay, recurrent=recurrent, t_ref=t_ref)
    params = net.init(seed=0, dtype=dtype)
    spikes = batch(seed)
    whole, short = Exact(dtype=dtype), Exact(dtype=dtype, stop_when_fired="output")
    wrt = [name for name in net.layout.names if not name.endswith(("t_ref",))]
    value, grads, record = evprop.value_and_grad(
        net, params, spikes, LABELS, loss, duration=DURATION, simulator=whole, wrt=wrt
    )
    other, early, cut = evprop.value_and_grad(
        net, params, spikes, LABELS, loss, duration=DURATION, simulator=short, wrt=wrt
    )
    assert other == value
    tolerance = 1e-12 if dtype == "float64" else 1e-5
    for name in wrt:
        scale = np.abs(grads[name]).max()
        np.testing.assert_allclose(early[name], grads[name], rtol=0, atol=tolerance * scale, err_msg=name)
    np.testing.assert_allclose(
        early.input_times, grads.input_times, rtol=0, atol=tolerance * np.abs(grads.input_times).max()
    )
    for name in ("hidden", "output"):
        for b in range(len(spikes)):
            (t, u), (t_cut, u_cut) = record.spikes[name][b], cut.spikes[name][b]
            kept = t <= cut.ends[b]
            np.testing.assert_array_equal(t_cut, t[kept])
            np.testing.assert_array_equal(u_cut, u[kept])


def test_ends_are_the_last_first_spikes() -> None:
    net = network(3)
    params = net.init(seed=0)
    whole = evprop.simulate(net, params, batch(3), duration=DURATION)
    record = evprop.simulate(net, params, batch(3), duration=DURATION, simulator=STOP)
    assert (whole.ends == DURATION).all()
    assert whole.stop_when_fired is None
    expected = []
    for b in range(6):
        t, u = whole.spikes["output"][b]
        first = [t[u == k][0] if (u == k).any() else np.inf for k in range(3)]
        expected.append(max(first) if np.isfinite(max(first)) else DURATION)
    np.testing.assert_array_equal(record.ends, expected)
    assert expected[0] < DURATION
    assert expected[-1] == DURATION  # without input spikes
    assert record.spikes["hidden"].n_spikes < whole.spikes["hidden"].n_spikes
    assert record.stop_when_fired == "output"


def test_same_bits_for_any_number_of_threads() -> None:
    net = network(5)
    params = net.init(seed=0)
    spikes = batch(5, n=40)
    before = evprop.num_threads()
    try:
        seen = []
        for threads in (1, 2, 3):
            evprop.set_num_threads(threads)
            record = evprop.simulate(net, params, spikes, duration=DURATION, simulator=STOP)
            seen.append((record.spikes["hidden"].times, record.spikes["output"].times))
    finally:
        evprop.set_num_threads(before)
    for hidden, output in seen[1:]:
        np.testing.assert_array_equal(hidden, seen[0][0])
        np.testing.assert_array_equal(output, seen[0][1])


def test_works_in_the_tools_around_it() -> None:
    net = network(7)
    params = net.init(seed=0)
    spikes = batch(7)
    classes = evprop.predict(net, params, spikes, LOSS, duration=DURATION)
    np.testing.assert_array_equal(
        evprop.predict(net, params, spikes, LOSS, duration=DURATION, simulator=STOP), classes
    )
    targets = np.full((6, 3), 20.0)
    short, _, _ = evprop.value_and_grad(
        net, params, spikes, targets, SpikeTimeMSE(), duration=DURATION, simulator=STOP
    )
    whole, _, _ = evprop.value_and_grad(net, params, spikes, targets, SpikeTimeMSE(), duration=DURATION)
    assert short == whole


@dataclass(frozen=True)
class AllSpikes(evprop.losses.Loss):
    def evaluate(self, record: evprop.Record, targets: Any) -> evprop.losses.LossResult:
        times = record.spikes["output"].times
        return evprop.losses.LossResult(
            np.full(record.batch_size, times.sum()), {"output": np.ones_like(times)}
        )

    def predict(self, record: evprop.Record) -> Any:
        return np.zeros(record.batch_size, np.int64)


def test_refuses_what_would_be_wrong() -> None:
    net = network(1)
    params = net.init(seed=0)
    spikes = batch(1)
    run: dict[str, Any] = {"duration": DURATION}
    with pytest.raises(ConfigError, match="stop_when_fired is 3"):
        Exact(stop_when_fired=3)  # type: ignore[arg-type]
    with pytest.raises(NetworkError, match="outptu"):
        evprop.simulate(net, params, spikes, simulator=Exact(stop_when_fired="outptu"), **run)
    with pytest.raises(NetworkError, match="Input population"):
        evprop.simulate(net, params, spikes, simulator=Exact(stop_when_fired="input"), **run)
    with pytest.raises(ConfigError, match="readouts of the whole trial"):
        evprop.simulate(net, params, spikes, simulator=STOP, readouts={"hidden": [Final()]}, **run)
    with pytest.raises(ConfigError, match="whole trial"):
        evprop.trace(net, params, spikes[0], "hidden", [1.0, 2.0], simulator=STOP)
    for loss in (
        AllSpikes(),
        FirstSpike(tau_0=1.0, tau_1=1.0, alpha=0.0, population="hidden"),
        LOSS + AllSpikes(),
    ):
        with pytest.raises(ConfigError, match="may read"):
            evprop.value_and_grad(net, params, spikes, LABELS, loss, simulator=STOP, **run)
        with pytest.raises(ConfigError, match="may read"):
            evprop.predict(net, params, spikes, loss, simulator=STOP, **run)
    li = Network(
        {"input": Input(4), "output": LI(3, tau_mem=20.0, tau_syn=5.0)},
        [Dense("input", "output", weight=np.ones((4, 3)))],
    )
    with pytest.raises(NetworkError, match="LI population"):
        evprop.simulate(li, li.init(seed=0), spikes, simulator=STOP, **run)
    with pytest.raises(ConfigError, match="readouts of the whole trial"):
        evprop.value_and_grad(
            net, params, spikes, LABELS, CrossEntropy(Final(), population="hidden"), simulator=STOP, **run
        )
