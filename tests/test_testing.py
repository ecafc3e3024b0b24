"""evprop.testing: gradcheck finds what is wrong, lets pass what is right, and says when it cannot tell."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

import evprop
from evprop.errors import EvpropError, ParameterError
from evprop.losses import CrossEntropy, Final, Loss, LossResult, Max, SpikeTimeMSE
from evprop.testing import GradientMismatchError, gradcheck, patterns
from evprop.testing.differences import central, one_sided
from strategies import Problem, networks, problems


def problem(seed: int = 0, **constants: Any) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    net = evprop.Network(
        {"in": evprop.Input(3), "h": evprop.LIF(4, **constants), "o": evprop.LI(2, i_bias=0.1)},
        [
            evprop.Dense("in", "h", weight=rng.normal(8.0, 2.0, (3, 4)), delay=rng.uniform(0.5, 5.0, (3, 4))),
            evprop.Dense("h", "h", weight=rng.normal(0.0, 0.5, (4, 4)), delay=2.0, self_connections=True),
            evprop.Dense("h", "o", weight=rng.normal(0.0, 1.0, (4, 2))),
        ],
    )
    spikes = evprop.Spikes.from_lists(
        [(rng.uniform(0, 15, 6), rng.integers(0, 3, 6)) for _ in range(2)], n_units=3
    )
    return {
        "net": net,
        "params": net.init(0),
        "spikes": spikes,
        "duration": 30.0,
        "targets": np.array([0, 1]),
    }


@dataclass(frozen=True)
class Wrong(Loss):
    """A loss whose cotangents are off by a factor, in size only."""

    loss: Loss
    factor: float

    def readouts(self, net: Any) -> Any:
        return self.loss.readouts(net)

    def evaluate(self, record: Any, targets: Any) -> LossResult:
        result = self.loss.evaluate(record, targets)
        result.readouts = {
            name: [None if c is None else self.factor * np.asarray(c) for c in cotangents]
            for name, cotangents in result.readouts.items()
        }
        return result


# -- gradcheck -----------------------------------------------------------------------------------------------


def test_a_right_gradient_passes_for_every_parameter() -> None:
    report = gradcheck(loss=CrossEntropy(Final()), **problem())
    assert report.ok, str(report)
    assert report.max_error <= 1e-6
    given = problem()["net"]
    expected = {n for n in given.parameter_names if not n.endswith(".t_ref")} | {"input_times"}
    assert {p.name for p in report.parameters} == expected
    assert report.raise_if_wrong() is report
    assert "all gradients agree" in str(report)
    assert np.isfinite(report.min_vdot)


@pytest.mark.parametrize("factor", [0.05, 1.001, 1.00001, -1.0])
def test_a_wrong_size_is_found(factor: float) -> None:
    report = gradcheck(
        loss=Wrong(CrossEntropy(Final()), factor), wrt=["h_o.weight", "in_h.delay"], **problem()
    )
    assert not report.ok
    assert set(report.wrong) == {"h_o.weight", "in_h.delay"}
    assert report["in_h.delay"].max_error == pytest.approx(abs(factor - 1.0) / max(1.0, abs(factor)), rel=0.5)
    with pytest.raises(GradientMismatchError, match=r"(?s)in_h\.delay.*finite differences") as caught:
        report.raise_if_wrong()
    assert isinstance(caught.value, EvpropError)
    assert isinstance(caught.value, AssertionError)


def test_one_wrong_entry_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    from evprop.testing import gradcheck as module_function

    module = sys.modules[module_function.__module__]
    honest = module.value_and_grad

    def dishonest(*args: Any, **kwargs: Any) -> Any:
        value, grads, record = honest(*args, **kwargs)
        grads["in_h.weight"][1, 2] *= 1.01
        return value, grads, record

    monkeypatch.setattr(module, "value_and_grad", dishonest)
    given = problem(3)
    report = gradcheck(loss=CrossEntropy(Final()), n_directions=12, wrt=["in_h.weight", "h.tau_mem"], **given)
    assert report.wrong == ("in_h.weight",)
    assert [d.direction for d in report["in_h.weight"].directions if d.status == "wrong"] == ["[1, 2]"]


def test_a_spike_about_to_vanish_is_not_called_wrong() -> None:
    """The peak overshoots by one part in 1e12: whatever the step, the spike goes away on one side."""
    net = evprop.Network(
        {"in": evprop.Input(1), "n": evprop.LIF(1, tau_mem=5.0, tau_syn=5.0)},
        [evprop.Dense("in", "n", weight=np.e * (1 + 1e-12))],
    )
    spikes = evprop.Spikes.from_lists([([1.0], [0])], n_units=1)
    report = gradcheck(
        net,
        net.init(0),
        spikes,
        SpikeTimeMSE(),
        duration=50.0,
        targets=np.array([[3.0]]),
        wrt=["in_n.weight", "n.v_th"],
    )
    assert report.ok
    assert report.undecided == ("in_n.weight", "n.v_th")
    assert "appears, vanishes" in str(report)
    assert report.min_vdot < 1e-5


def test_a_spike_near_threshold_is_judged_with_a_smaller_step() -> None:
    net = evprop.Network(
        {"in": evprop.Input(1), "n": evprop.LIF(1, tau_mem=5.0, tau_syn=5.0)},
        [evprop.Dense("in", "n", weight=np.e * 1.0003)],
    )
    spikes = evprop.Spikes.from_lists([([1.0], [0])], n_units=1)
    report = gradcheck(
        net,
        net.init(0),
        spikes,
        SpikeTimeMSE(),
        duration=50.0,
        targets=np.array([[3.0]]),
        wrt=["in_n.weight", "n.v_th"],
    )
    assert report.ok
    assert not report.undecided
    assert report.max_error <= 1e-6


def test_a_tie_of_two_maxima_is_not_called_wrong() -> None:
    """Two bumps of the same height: max V has two slopes there."""
    net = evprop.Network(
        {"in": evprop.Input(2), "o": evprop.LI(1, tau_mem=2.0, tau_syn=1.0)},
        [evprop.Dense("in", "o", weight=1.0)],
    )
    spikes = evprop.Spikes.from_lists([([0.0, 500.0], [0, 1])], n_units=2)

    class Peak(Loss):
        def readouts(self, net: Any) -> Any:
            return {"o": [Max()]}

        def evaluate(self, record: Any, targets: Any) -> LossResult:
            y = record.readout["o"][0]
            return LossResult(y.sum(axis=1), readouts={"o": [np.ones_like(y)]})

    report = gradcheck(net, net.init(0), spikes, Peak(), duration=600.0, wrt=["in_o.weight"])
    assert report.ok
    assert "slopes from the two sides differ" in str(report)


def test_delays_and_input_times_at_zero_use_one_side() -> None:
    net = evprop.Network(
        {"in": evprop.Input(2), "n": evprop.LIF(2), "o": evprop.LI(2)},
        [
            evprop.Dense(
                "in", "n", weight=np.array([[9.0, 7.0], [5.0, 9.0]]), delay=np.array([[0.0, 2.0], [1.0, 0.0]])
            ),
            evprop.Dense("n", "o", weight=np.array([[1.0, 2.0], [-1.0, 0.5]])),
        ],
    )
    spikes = evprop.Spikes.from_lists([([0.0, 3.0, 30.0], [0, 1, 0])], n_units=2)
    report = gradcheck(
        net,
        net.init(0),
        spikes,
        CrossEntropy(Final()),
        duration=30.0,
        targets=np.array([1]),
        wrt=["in_n.delay", "input_times"],
    )
    assert report.ok, str(report)
    assert not report.undecided


def test_float32_is_held_against_float64_differences() -> None:
    given = problem()
    given["params"] = {name: value.astype(np.float32) for name, value in given["params"].items()}
    loss = CrossEntropy(Final())
    report = gradcheck(loss=loss, simulator=evprop.Exact(dtype="float32"), **given)
    assert report.ok, str(report)
    assert report.tolerance == 1e-3
    wrong = gradcheck(
        loss=Wrong(loss, 1.05), simulator=evprop.Exact(dtype="float32"), wrt=["h_o.weight"], **given
    )
    assert wrong.wrong == ("h_o.weight",)


def test_several_inputs() -> None:
    net = evprop.Network(
        {"a": evprop.Input(1), "b": evprop.Input(1), "o": evprop.LI(2)},
        [
            evprop.Dense("a", "o", weight=1.0, delay=1.0),
            evprop.Dense("b", "o", weight=np.array([[0.5, -1.0]])),
        ],
    )
    spikes = {
        "a": evprop.Spikes.from_lists([([1.0], [0])], n_units=1),
        "b": evprop.Spikes.from_lists([([2.0, 5.0], [0, 0])], n_units=1),
    }
    report = gradcheck(net, net.init(0), spikes, CrossEntropy(Final()), duration=20.0, targets=np.array([0]))
    assert report.ok, str(report)
    assert {"input_times a", "input_times b"} <= {p.name for p in report.parameters}


def test_arguments_are_checked_and_nothing_is_changed() -> None:
    given = problem()
    before = {name: value.copy() for name, value in given["params"].items()}
    gradcheck(loss=CrossEntropy(Final()), wrt=["h_o.weight"], **given)
    for name, value in before.items():
        np.testing.assert_array_equal(given["params"][name], value)
    for bad in ({"step": 0.0}, {"n_directions": 0}, {"wrt": ["h_o.wieght"]}, {"wrt": ["h.t_ref"]}):
        with pytest.raises(ParameterError):
            gradcheck(loss=CrossEntropy(Final()), **given, **bad)


# -- its parts -----------------------------------------------------------------------------------------------


def test_differences_reach_ten_digits() -> None:
    found = central(lambda h: float(np.exp(h)), 0.1, 14, 1e-12)
    assert found is not None
    assert found.value == pytest.approx(1.0, abs=1e-11)
    assert abs(found.value - 1.0) <= 10 * found.error
    side = one_sided(lambda h: float(np.exp(h)), -0.01, 14, 1e-12)
    assert side is not None
    assert side.value == pytest.approx(1.0, abs=1e-8)


def test_differences_skip_steps_that_cannot_be_used() -> None:
    found = central(lambda h: None if abs(h) > 0.004 else float(np.sin(h)), 0.1, 14, 1e-10)
    assert found is not None
    assert found.step <= 0.004
    assert found.value == pytest.approx(1.0, abs=1e-9)
    assert central(lambda h: None if h else 0.0, 0.1, 14, 1e-10) is None


def test_patterns_tell_order_from_count() -> None:
    """An arrival that passes a spike of its receiver changes the order but not the count."""
    net = evprop.Network(
        {"in": evprop.Input(2), "n": evprop.LIF(1, t_ref=np.inf)},
        [evprop.Dense("in", "n", weight=np.array([[30.0], [0.0]]))],
    )
    params = net.init(0)

    def record(second: float) -> Any:
        spikes = evprop.Spikes.from_lists([([0.0, second], [0, 1])], n_units=2)
        return evprop.simulate(net, params, spikes, duration=20.0)

    early, late = record(0.1), record(10.0)
    assert patterns.counts(early)[-8:] == patterns.counts(late)[-8:]
    assert patterns.order(early) != patterns.order(late)
    assert patterns.order(late) == patterns.order(record(10.1))


# -- strategies ----------------------------------------------------------------------------------------------


@settings(max_examples=50)
@given(problems())
def test_problems_can_be_simulated(found: Problem) -> None:
    simulator = evprop.Exact(max_spikes=5000)
    try:
        record = evprop.simulate(
            found.net, found.params, found.spikes, duration=found.duration, simulator=simulator
        )
    except evprop.errors.RunawayError:
        return
    assert record.duration == found.duration
    assert "Problem of 40.0 ms" in repr(found)


def test_strategies_draw_what_they_promise() -> None:
    seen: set[str] = set()

    @settings(max_examples=150, database=None)
    @given(problems(network=networks(max_inputs=2)))
    def look(found: Problem) -> None:
        trains = found.spikes if isinstance(found.spikes, dict) else {"input": found.spikes}
        seen.update(f"delay {p.delay_kind}" for p in found.net.projections)
        seen.update(type(p).__name__ for p in found.net.projections)
        seen.update("recurrent" for p in found.net.projections if p.pre == p.post)
        seen.update("zero delay" for n, v in found.params.items() if n.endswith(".delay") and (v == 0).any())
        seen.update(
            "single spikes" for n, v in found.params.items() if n.endswith(".t_ref") and np.isinf(v).any()
        )
        for name, p in found.net.populations.items():
            if p.kind == "lif":
                tau_mem, tau_syn = found.params[f"{name}.tau_mem"], found.params[f"{name}.tau_syn"]
                seen.update(["equal"] if (tau_mem == tau_syn).any() else [])
                seen.update(
                    ["tonic"] if (found.params[f"{name}.i_bias"] > found.params[f"{name}.v_th"]).any() else []
                )
                seen.update(["own constants"] if len(set(tau_syn)) > 1 else [])
        seen.update(["several inputs"] if len(trains) > 1 else [])
        for s in trains.values():
            seen.update(["empty sample"] if (s.counts_per_sample() == 0).any() else [])
            seen.update("tie" for t, _ in s if len(set(t)) < len(t))

    look()
    wanted = {f"delay {kind}" for kind in (None, "axonal", "dendritic", "synaptic")}
    wanted |= {
        "Dense",
        "Sparse",
        "recurrent",
        "zero delay",
        "single spikes",
        "equal",
        "tonic",
        "own constants",
    }
    wanted |= {"several inputs", "empty sample", "tie"}
    assert wanted <= seen


def test_without_hypothesis_the_extra_is_named() -> None:
    code = (
        "import sys; sys.modules['hypothesis'] = None\n"
        "import evprop\nfrom evprop.testing import gradcheck\n"
        "try:\n    evprop.testing.strategies\n"
        "except evprop.errors.MissingExtraError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "evprop[test]" in done.stdout
