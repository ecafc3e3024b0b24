"""Bad input to the calls that run: a clear error before anything is computed, and nothing changed by it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import evprop
from evprop import LI, LIF, Dense, Exact, Input, Network, Record, Spikes
from evprop.errors import (
    ConfigError,
    CotangentError,
    DtypeError,
    EvpropError,
    NetworkError,
    ParameterError,
    RunawayError,
    ShapeError,
    SpikesError,
    TargetError,
)
from evprop.init import Normal
from evprop.losses import CrossEntropy, Final, FirstSpike, Loss, LossResult, Max, Sampled

NET = Network(
    {"in": Input(2), "hidden": LIF(3), "out": LI(2)},
    [
        Dense("in", "hidden", weight=Normal(4.0, 0.1), delay=1.0),
        Dense("hidden", "out", weight=1.0),
    ],
)
SPIKES = Spikes.from_lists([([1.0, 2.0], [0, 1]), ([], [])], n_units=2)
LABELS = np.array([0, 1])
LOSS = CrossEntropy(Max())


def params(**changes: Any) -> dict[str, Any]:
    values = NET.init(seed=0)
    for name, value in changes.items():
        owner, _, kind = name.rpartition("_")
        values[f"{owner}.{kind}"][...] = value
    return values


def simulate(p: Any = None, spikes: Any = SPIKES, duration: Any = 20.0, **more: Any) -> Record:
    return evprop.simulate(NET, params() if p is None else p, spikes, duration=duration, **more)


def value_and_grad(
    p: Any = None, spikes: Any = SPIKES, targets: Any = LABELS, loss: Any = LOSS, **more: Any
) -> Any:
    more = {"duration": 20.0} | more
    return evprop.value_and_grad(NET, params() if p is None else p, spikes, targets, loss, **more)


def test_the_good_case_works() -> None:
    assert np.isfinite(value_and_grad()[0])
    assert simulate().spikes["hidden"].n_spikes > 0


def test_a_sample_without_spikes_is_data() -> None:
    quiet = Spikes([], [], [0, 0, 0], n_units=2)
    value, grads, record = value_and_grad(spikes=quiet)
    assert value == pytest.approx(math.log(2))
    assert record.spikes["hidden"].n_spikes == 0
    assert all(np.isfinite(g).all() for g in grads.values())
    assert grads.input_times.shape == (0,)
    assert grads.health.min_vdot == math.inf
    assert grads.health.silent == {"hidden": 1.0}


CASES: list[tuple[str, Callable[[], Any], type[EvpropError], str]] = [
    # spikes
    ("late", lambda: simulate(duration=1.5), SpikesError, r"sample 0, spike 1 \(unit 1\) is at 2 ms, after the duration of 1.5 ms .*spikes.crop\(1.5\)"),
    ("empty batch", lambda: simulate(spikes=SPIKES[:0]), SpikesError, r"the batch is empty \(0 samples\); give at least one"),
    ("wrong units", lambda: simulate(spikes=Spikes([], [], [0, 0], n_units=3)), SpikesError, r"spikes of 'in': n_units=3 but the population has 2 units"),
    ("no Spikes", lambda: simulate(spikes=[[1.0]]), SpikesError, r"spikes is list; it must be an evprop.Spikes \(see Spikes.from_lists\)"),
    ("dict of arrays", lambda: simulate(spikes={"in": np.ones(3)}), SpikesError, r"spikes of 'in': got ndarray"),
    ("unknown input", lambda: simulate(spikes={"inn": SPIKES}), SpikesError, r"lacks the Input population 'in' \(given: \['inn'\]\)"),
    # duration
    ("duration 0", lambda: simulate(duration=0.0), ParameterError, r"duration is 0.0 ms; it must be finite and > 0"),
    ("duration negative", lambda: simulate(duration=-1), ParameterError, r"duration is -1 ms"),
    ("duration nan", lambda: simulate(duration=math.nan), ParameterError, r"duration is nan ms"),
    ("duration inf", lambda: simulate(duration=math.inf), ParameterError, r"duration is inf ms"),
    ("duration text", lambda: simulate(duration="long"), ParameterError, r"duration is 'long'; it must be a number of ms"),
    # parameters (all of them: test_parameters.py)
    ("nan weight", lambda: simulate(params(in_hidden_weight=np.nan)), ParameterError, r"in_hidden.weight\[0, 0\] is nan \(6 such values in all\); it must be finite"),
    ("inf weight", lambda: value_and_grad(params(in_hidden_weight=np.inf)), ParameterError, r"in_hidden.weight\[0, 0\] is inf"),
    ("nan delay", lambda: simulate(params(in_hidden_delay=np.nan)), ParameterError, r"in_hidden.delay\[0, 0\] is nan"),
    ("inf delay", lambda: simulate(params(in_hidden_delay=np.inf)), ParameterError, r"in_hidden.delay\[0, 0\] is inf"),
    ("negative delay", lambda: simulate(params(in_hidden_delay=-0.5)), ParameterError, r"in_hidden.delay\[0, 0\] is -0.5 .*>= 0. A delay cannot"),
    ("tau 0", lambda: simulate({**params(), "hidden.tau_mem": np.zeros(3)}), ParameterError, r"hidden.tau_mem\[0\] is 0.0 .*> 0"),
    ("v_reset", lambda: simulate({**params(), "hidden.v_reset": np.ones(3)}), ParameterError, r"hidden.v_reset\[0\] is 1.0 but hidden.v_th\[0\] is 1.0"),
    ("dtype", lambda: simulate(NET.init(seed=0, dtype="float32")), DtypeError, r'float32 but the simulator computes in float64; use Exact\(dtype="float32"\)'),
    ("dtype of simulator", lambda: simulate(simulator=Exact(dtype="float32")), DtypeError, r'float64 but the simulator computes in float32; use Exact\(dtype="float64"\)'),
    ("shape", lambda: simulate({**params(), "in_hidden.weight": np.ones((3, 2))}), ShapeError, r"shape \(3, 2\); it must have shape \(2, 3\)"),
    ("stride", lambda: simulate({**params(), "in_hidden.weight": np.ones((3, 2)).T}), ShapeError, r"strides \(8, 16\); .*ascontiguousarray"),
    ("missing", lambda: simulate({}), ParameterError, r"parameter 'hidden.tau_mem' .*is missing; net.init"),
    ("extra", lambda: simulate({**params(), "hidden.tau": np.ones(3)}), ParameterError, r"unknown parameter 'hidden.tau': did you mean"),
    # the simulator
    ("simulator dtype", lambda: Exact(dtype="float16"), DtypeError, r'dtype is float16; it must be "float64" or "float32"'),
    ("max_spikes 0", lambda: Exact(max_spikes=0), ConfigError, r"max_spikes is 0; it must be >= 1"),
    ("max_spikes float", lambda: Exact(max_spikes=1e6), ConfigError, r"max_spikes is 1000000.0; it must be an integer"),
    ("device", lambda: Exact(device="tpu"), ConfigError, r"device is 'tpu'; known are"),
    ("threads", lambda: evprop.set_num_threads(0), ConfigError, r"number of threads is 0; it must be an integer >= 1"),
    ("threads float", lambda: evprop.set_num_threads(1.5), ConfigError, r"number of threads is 1.5"),  # type: ignore[arg-type]
    # readouts
    ("readout of input", lambda: simulate(readouts={"in": [Max()]}), NetworkError, r"readout of 'in' .* an Input population has no voltage"),
    ("readout of nobody", lambda: simulate(readouts={"outt": [Max()]}), NetworkError, r"unknown population 'outt': did you mean 'out'"),
    ("readout class", lambda: simulate(readouts={"out": [Max]}), ParameterError, r"which is no readout; give an instance: Max\(...\)"),
    ("readout alone", lambda: simulate(readouts={"out": Max()}), ParameterError, r"readouts\['out'\] is Max\(\); give a list of readouts: \[Max\(\)\]"),
    ("late sample", lambda: simulate(readouts={"out": [Sampled([1.0, 21.0])]}), ParameterError, r"Sampled: time 21.0 ms is after the duration of 20 ms"),
    # targets (all of them: test_losses.py)
    ("label", lambda: value_and_grad(targets=np.array([0, 2])), TargetError, r"label 2 of sample 1 is out of range; .* 0..1"),
    ("labels short", lambda: value_and_grad(targets=np.array([0])), TargetError, r"labels have shape \(1,\); they must have shape \(2,\)"),
    ("loss on LI", lambda: value_and_grad(loss=FirstSpike(1.0, 1.0, 0.0)), NetworkError, r"FirstSpike reads spike times, but population 'out' is no LIF"),
    # gradients
    ("wrt", lambda: value_and_grad(wrt=["in_hidden.wieght"]), ParameterError, r"wrt names an unknown parameter 'in_hidden.wieght': did you mean 'in_hidden.weight'"),
    ("wrt text", lambda: value_and_grad(wrt="in_hidden.weight"), ParameterError, r"is one string; give a list"),
    ("max_dw_norm 0", lambda: value_and_grad(max_dw_norm=0.0), ParameterError, r"max_dw_norm is 0.0; it must be finite and > 0, or None"),
    ("max_dw_norm nan", lambda: value_and_grad(max_dw_norm=math.nan), ParameterError, r"max_dw_norm is nan"),
    # predict
    ("predict late", lambda: evprop.predict(NET, params(), SPIKES, LOSS, duration=1.0), SpikesError, r"crop\(1\)"),
    # trace
    ("trace of input", lambda: evprop.trace(NET, params(), SPIKES[0], "in", [1.0]), NetworkError, r"trace of 'in' .*no voltage"),
    ("trace of nobody", lambda: evprop.trace(NET, params(), SPIKES[0], "hiden", [1.0]), NetworkError, r"unknown population 'hiden': did you mean 'hidden'"),
    ("trace of a batch", lambda: evprop.trace(NET, params(), SPIKES, "out", [1.0]), SpikesError, r"one sample, but 2 are given; give spikes\[b\]"),
    ("trace times nan", lambda: evprop.trace(NET, params(), SPIKES[0], "out", [1.0, np.nan]), ParameterError, r"times\[1\] is nan ms"),
    ("trace times negative", lambda: evprop.trace(NET, params(), SPIKES[0], "out", [-1.0]), ParameterError, r"times\[0\] is -1.0 ms"),
    ("trace without times", lambda: evprop.trace(NET, params(), SPIKES[0], "out", []), ShapeError, r"give at least one time"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "message"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_refused(call: Callable[[], Any], error: type[EvpropError], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


COTANGENTS: list[tuple[str, dict[str, Any], str]] = [
    ("shape of spikes", {"spike_times": {"hidden": np.ones(99)}}, r"spike_times\['hidden'\] has shape \(99,\); it must have shape"),
    ("LI spikes", {"spike_times": {"out": np.ones(1)}}, r"spike_times names 'out', which is no LIF population"),
    ("input spikes", {"spike_times": {"in": np.ones(2)}}, r"spike_times names 'in', which is no LIF population"),
    ("unknown", {"readouts": {"ouut": [None]}}, r"readouts names 'ouut': did you mean 'out'"),
    ("too many", {"readouts": {"out": [None, None, None]}}, r"has 3 cotangents but the record has 2 readouts \(\[Final\(\), Max\(\)\]\); .*None for"),
    ("shape", {"readouts": {"out": [np.ones((2, 3)), None]}}, r"readouts\['out'\]\[0\] has shape \(2, 3\); it must have shape \(2, 2\)"),
    ("nan", {"readouts": {"out": [None, np.array([[0, np.nan], [0, 0]])]}}, r"readouts\['out'\]\[1\]\[0, 1\] is nan; cotangents must be finite"),
    ("dtype", {"readouts": {"out": [np.ones((2, 2), complex), None]}}, r"has dtype complex128; it must be float64"),
    ("text", {"readouts": {"out": [np.full((2, 2), "a"), None]}}, r"has dtype <U1"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "message"), [c[1:] for c in COTANGENTS], ids=[c[0] for c in COTANGENTS])
def test_cotangents_refused(given: dict[str, Any], message: str) -> None:
    record = simulate(readouts={"out": [Final(), Max()]})
    with pytest.raises((CotangentError, NetworkError), match=message):
        evprop.backward(record, **given)


def test_backward_wants_a_record() -> None:
    with pytest.raises(CotangentError, match="record is dict; give the Record that simulate returned"):
        evprop.backward({})  # type: ignore[arg-type]


class Wrong(Loss):
    """A user's loss with a mistake in it."""

    def __init__(self, result: LossResult) -> None:
        self.result = result

    def evaluate(self, record: Record, targets: Any) -> LossResult:
        return self.result


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (LossResult(np.zeros(3)), r"Wrong.evaluate gave values of shape \(3,\); .* shape \(2,\)"),
        (LossResult(0.0), r"values of shape \(\)"),  # type: ignore[arg-type]
        (LossResult(np.zeros(2), {"hidden": np.zeros(999)}), r"spike_times\['hidden'\] has shape \(999,\)"),
        (
            LossResult(np.zeros(2), readouts={"out": [np.zeros((2, 2))]}),
            r"readouts names 'out': there are none",
        ),
        (LossResult(np.zeros(2), parameters={"hidden.tau": 0.0}), r"gradient of 'hidden.tau': did you mean"),
    ],
)
def test_wrong_losses(result: LossResult, message: str) -> None:
    with pytest.raises(CotangentError, match=message):
        value_and_grad(loss=Wrong(result))


def test_a_runaway_network_ends() -> None:
    net = Network(
        {"in": Input(1), "loop": LIF(4)},
        [Dense("in", "loop", weight=50.0), Dense("loop", "loop", weight=50.0)],
    )
    spikes = Spikes([1.0], [0], [0, 1], n_units=1)
    with pytest.raises(RunawayError, match=r"'loop'.* 2000 .*Exact\(max_spikes="):
        evprop.simulate(net, net.init(seed=0), spikes, duration=100.0, simulator=Exact(max_spikes=2000))


def test_a_limit_that_is_enough_changes_nothing() -> None:
    n = int(np.max(simulate().spikes["hidden"].counts_per_sample()))
    assert simulate(simulator=Exact(max_spikes=n)).spikes["hidden"] == simulate().spikes["hidden"]
    with pytest.raises(RunawayError):
        simulate(simulator=Exact(max_spikes=n - 1))


def test_errors_change_nothing() -> None:
    p = params()
    before = {name: array.copy() for name, array in p.items()}
    for call in (lambda: simulate(p, duration=1.5), lambda: value_and_grad(p, targets=[5, 5])):
        with pytest.raises(EvpropError):
            call()
    assert all((p[name] == array).all() for name, array in before.items())
    assert np.isfinite(value_and_grad(p)[0])


def test_spikes_after_the_crop_are_fine() -> None:
    record = simulate(spikes=SPIKES.crop(1.5), duration=1.5)
    assert record.inputs["in"].n_spikes == 1
    assert simulate(spikes=SPIKES, duration=2.0).inputs["in"].n_spikes == 2  # at the very end: allowed


def test_trace_takes_a_sample_in_each_form() -> None:
    times = np.array([10.0, 0.0, 3.0])
    a = evprop.trace(NET, params(), SPIKES[0], "out", times)
    b = evprop.trace(NET, params(), SPIKES[:1], "out", times)
    c = evprop.trace(NET, params(), {"in": SPIKES[:1]}, "out", times)
    assert a.v.shape == a.i.shape == (3, 2)
    for other in (b, c):
        assert (other.v == a.v).all()
        assert (other.i == a.i).all()
    v, i = evprop.trace(NET, params(), SPIKES[0], "out", [0.0])
    assert (v == 0).all()
    assert (i == 0).all()


def test_every_error_has_one_base_and_a_builtin_twin() -> None:
    classes = [c for c in vars(evprop.errors).values() if isinstance(c, type) and issubclass(c, EvpropError)]
    assert len(classes) > 12
    builtin = (ValueError, RuntimeError, TypeError, ImportError, KeyError)
    assert all(issubclass(c, builtin) for c in classes if c is not EvpropError)
