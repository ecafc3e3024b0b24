"""Forward pass, loss and backward pass in one call of the core: the bits and the errors of three calls."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import evprop
from evprop import LI, LIF, Dense, Exact, Input, Network, Spikes
from evprop.errors import CotangentError, ParameterError, RecordError, RunawayError, TargetError
from evprop.gradients import batch_step
from evprop.losses import FirstSpike, RelativeMSE
from evprop.metrics import Figures

DURATION = 40.0


class LongFirstSpike(FirstSpike):
    """The core does not evaluate subclasses by itself: they go the long way."""


class LongRelativeMSE(RelativeMSE):
    """Likewise."""


PAIRS = [
    (FirstSpike(1.0, 10.0, 0.01), LongFirstSpike(1.0, 10.0, 0.01)),
    (RelativeMSE(0.5), LongRelativeMSE(0.5)),
    (RelativeMSE(0.5, silent=20.0), LongRelativeMSE(0.5, silent=20.0)),
]


def network(
    *, delay: str | None = None, t_ref: float = np.inf, tau_mem: float = 4.0, readout: bool = False
) -> Network:
    late: dict[str, Any] = (
        {} if delay is None else {"delay": evprop.init.Uniform(0.0, 3.0), "delay_kind": delay}
    )
    lif: dict[str, Any] = {"tau_mem": tau_mem, "tau_syn": 2.0, "t_ref": t_ref}
    populations: dict[str, Any] = {
        "input": Input(4),
        "hidden": LIF(11, trainable=("tau_mem",), **lif),
        "output": LIF(3, **lif),
    }
    projections = [
        Dense("input", "hidden", weight=evprop.init.Normal(1.5, 1.5), **late),
        Dense("hidden", "output", weight=evprop.init.Normal(1.0, 1.0), **late),
    ]
    if readout:
        populations["level"] = LI(2)
        projections.append(Dense("hidden", "level", weight=evprop.init.Normal(1.0, 1.0)))
    return Network(populations, projections)


def batch(seed: int, n: int = 7) -> tuple[Spikes, np.ndarray]:
    rng = np.random.default_rng(seed)
    rows = [(rng.uniform(0, 10, 6), rng.integers(0, 4, 6)) for _ in range(n)]
    return Spikes.from_lists([*rows, ([], [])], n_units=4), rng.integers(0, 3, n + 1)


@given(
    seed=st.integers(0, 1000),
    pair=st.sampled_from(PAIRS),
    delay=st.sampled_from([None, "axonal", "synaptic"]),
    t_ref=st.sampled_from([0.0, 1.0, np.inf]),
    tau_mem=st.sampled_from([4.0, 7.0]),
    dtype=st.sampled_from(["float64", "float32"]),
    stop=st.sampled_from([None, "output"]),
    limit=st.sampled_from([None, 1.0]),
    input_times=st.booleans(),
)
def test_one_call_has_the_bits_of_three(
    seed: int,
    pair: Any,
    delay: str | None,
    t_ref: float,
    tau_mem: float,
    dtype: str,
    stop: str | None,
    limit: float | None,
    input_times: bool,
) -> None:
    net = network(delay=delay, t_ref=t_ref, tau_mem=tau_mem, readout=stop is None)
    pair = [type(loss)(**{**vars(loss), "population": "output"}) for loss in pair]
    params, (spikes, labels) = net.init(seed, dtype), batch(seed)
    simulator = Exact(dtype=dtype, stop_when_fired=stop)
    short, long = (
        batch_step(
            *(net, params, spikes, labels, loss),
            duration=DURATION,
            simulator=simulator,
            max_dw_norm=limit,
            input_times=input_times,
        )
        for loss in pair
    )
    assert short.correct is not None
    assert long.correct is None
    assert short.value == long.value
    assert list(short.grads) == list(long.grads)
    for name, grad in long.grads.items():
        assert short.grads[name].dtype == grad.dtype
        np.testing.assert_array_equal(short.grads[name], grad)
    if input_times:
        np.testing.assert_array_equal(short.grads.input_times, long.grads.input_times)
    for name in ("input", "hidden", "output"):
        assert short.record.spikes[name] == long.record.spikes[name]
    given = (labels, short.correct), (labels,)
    figures = [
        Figures.of(step.grads, step.record, loss, *rest)
        for step, loss, rest in zip((short, long), pair, given, strict=True)
    ]
    assert figures[0] == figures[1]
    assert repr(short.grads.health) == repr(long.grads.health)
    np.testing.assert_array_equal(short.record.ends, long.record.ends)


def test_the_record_knows_its_parameters() -> None:
    net = network()
    params, (spikes, labels) = net.init(0), batch(0)
    _, grads, record = evprop.value_and_grad(net, params, spikes, labels, RelativeMSE(0.5), duration=DURATION)
    again = evprop.backward(record, RelativeMSE(0.5).evaluate(record, labels).spike_times)
    for name, grad in grads.items():
        np.testing.assert_allclose(again[name] / len(labels), grad, rtol=1e-12, atol=1e-15)
    params["input_hidden.weight"][0, 0] += 1.0
    with pytest.raises(RecordError, match="changed in place"):
        evprop.backward(record)


def test_errors_are_those_of_the_long_way() -> None:
    net = network()
    good, (spikes, labels) = net.init(0), batch(0)
    bad = {**good, "hidden.tau_mem": np.full(11, -1.0)}
    overflowing = {"tau_0": 1.0, "tau_1": 0.01, "alpha": 1.0}
    cases: list[tuple[type[Exception], dict[str, Any], Any]] = [
        (TargetError, {"labels": np.full(8, 3)}, (RelativeMSE(0.5), LongRelativeMSE(0.5))),
        (TargetError, {"labels": labels[:3]}, (RelativeMSE(0.5), LongRelativeMSE(0.5))),
        (ParameterError, {"params": bad}, (RelativeMSE(0.5), LongRelativeMSE(0.5))),
        (CotangentError, {}, (FirstSpike(**overflowing), LongFirstSpike(**overflowing))),
        (RunawayError, {"simulator": Exact(max_spikes=1)}, (RelativeMSE(0.5), LongRelativeMSE(0.5))),
    ]
    for error, changes, losses in cases:
        asked = {"params": good, "labels": labels, "simulator": None, **changes}
        said = []
        for loss in losses:
            with pytest.raises(error) as caught:
                evprop.value_and_grad(
                    *(net, asked["params"], spikes, asked["labels"], loss),
                    duration=DURATION,
                    simulator=asked["simulator"],
                )
            said.append(str(caught.value).replace("Long", ""))
        assert said[0] == said[1]


def test_labels_of_other_types_take_the_long_way() -> None:
    net = network()
    params, (spikes, labels) = net.init(0), batch(0)
    steps = [
        batch_step(net, params, spikes, given, RelativeMSE(0.5), duration=DURATION)
        for given in (labels, labels.astype(np.uint8), labels.tolist())
    ]
    assert [step.correct is None for step in steps] == [False, True, True]
    assert len({step.value for step in steps}) == 1
