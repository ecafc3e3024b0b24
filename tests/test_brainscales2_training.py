"""Training with the chip in the loop: experiment files, clipping, resuming, and that it learns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import evprop
from evprop.callbacks import ClipWeights
from evprop.config import load_config
from evprop.errors import ConfigError
from evprop.experiment import build_experiment
from evprop.hardware import BrainScaleS2, chip_cost

CHIP_TASKS = ("yin-yang-chip", "yin-yang-chip-weights", "yin-yang-chip-fast-and-deep")


@pytest.mark.parametrize("task", CHIP_TASKS)
def test_shipped_experiments_are_on_a_chip_that_holds_them(task: str) -> None:
    experiment = build_experiment(load_config(task))
    assert isinstance(experiment.simulator, BrainScaleS2)
    assert experiment.simulator == BrainScaleS2(chip=0, min_vdot=0.05, weight_scale=78.0, copies={"input": 5})
    placed = experiment.simulator.place(experiment.net)
    assert sum(placed.delay_pairs.values()) == (50 if task == "yin-yang-chip" else 0)


def test_files_can_switch_distortions_off() -> None:
    change = 'simulator={kind="BrainScaleS2", chip=1, min_vdot=0.1, weight_scale=false, membrane_range=false}'
    sim = build_experiment(load_config("yin-yang-chip", [change])).simulator
    assert sim == BrainScaleS2(chip=1, min_vdot=0.1, weight_scale=None, membrane_range=None)
    ideal = 'simulator={kind="BrainScaleS2.ideal", spike_jitter=0.03}'
    assert build_experiment(load_config("yin-yang-chip", [ideal])).simulator == BrainScaleS2.ideal(
        spike_jitter=0.03
    )
    with pytest.raises(ConfigError, match="spike_jiter"):
        load_config("yin-yang-chip", ['simulator={kind="BrainScaleS2.ideal", spike_jiter=0.03}'])


def fit(folder: Path | None, epochs: int, **given: Any) -> tuple[Any, Any]:
    experiment = build_experiment(load_config("yin-yang-chip", ["data.size=400"]))
    params = experiment.init()
    history = evprop.train.fit(
        *(experiment.net, params, experiment.data["train"], experiment.loss, experiment.optimiser),
        epochs=epochs,
        batch_size=50,
        duration=experiment.duration,
        seed=0,
        simulator=experiment.simulator,
        callbacks=[c for c in experiment.callbacks if c.name != "KeepBest"],
        max_dw_norm=100.0,
        run_dir=folder,
        **given,
    )
    return history, params


def test_it_learns_and_resumes_to_the_same_bits(tmp_path: Path) -> None:
    history, params = fit(None, 6)
    assert history["accuracy"][-1] > history["accuracy"][0] + 0.15
    assert np.abs(params["hidden_output.weight"]).max() <= 0.807
    fit(tmp_path, 3)
    _, again = fit(tmp_path, 6, resume=True)
    for name, values in params.items():
        np.testing.assert_array_equal(again[name], values)


def test_clip_weights_refuses_what_it_cannot_do() -> None:
    with pytest.raises(ConfigError, match="must be finite and > 0"):
        ClipWeights({"a": 0.0})
    experiment = build_experiment(load_config("yin-yang-chip", ["data.size=50"]))
    parts = (
        experiment.net,
        experiment.init(),
        experiment.data["train"],
        experiment.loss,
        experiment.optimiser,
    )
    given: dict[str, Any] = {"epochs": 1, "batch_size": 50, "duration": 100.0, "seed": 0}
    with pytest.raises(ConfigError, match="did you mean 'input_hidden'"):
        evprop.train.fit(*parts, **given, callbacks=[ClipWeights({"input_hiden": 1.0})])


def test_the_fifth_unit_of_fast_and_deep() -> None:
    five = evprop.datasets.yin_yang("test", encoding="fast_and_deep", tau_syn=6.0, size=20).spikes
    four = evprop.datasets.yin_yang("test", encoding="delgrad", tau_syn=6.0, size=20).spikes
    bias = five.units == 4
    np.testing.assert_allclose(five.times[bias], 5.4)
    assert np.array_equal(five.times[~bias], four.times)


def test_costs_say_that_they_are_published() -> None:
    cost = chip_cost(10_000, 48.0)
    assert cost.energy_uj == pytest.approx(8.4)
    assert "not measured" in str(cost)
    assert "0.48 s" in str(cost)


def test_settings_of_delgrads_and_fast_and_deeps_nets() -> None:
    """The facts of their code, one by one; weights and rates in evprop's unit."""
    sizes = {"yin-yang-delgrad": 420, "yin-yang-delgrad-axonal": 244, "yin-yang-delgrad-dendritic": 243}
    sizes |= {"yin-yang-delgrad-weights": 210, "yin-yang-delgrad-weights-5": 35, "yin-yang-delgrad-5": 70}
    sizes |= {"yin-yang-delgrad-axonal-5": 44, "yin-yang-delgrad-dendritic-5": 43, "yin-yang-delgrad-weights-10": 70}
    sizes |= {"yin-yang-delgrad-axonal-10": 84, "yin-yang-delgrad-dendritic-10": 83, "yin-yang-delgrad-10": 140}
    rates = {"yin-yang-delgrad": (0.02, 0.003), "yin-yang-delgrad-5": (0.03, 0.01)}
    for task, parameters in sizes.items():
        e = build_experiment(load_config(task))
        assert e.net.n_trainable == parameters
        assert (e.config["training.epochs"], e.config["training.batch_size"]) == (300, 150)
        if task in rates:
            groups = e.config["optimiser.groups"]["*.delay"]
            assert (e.config["optimiser.lr"], groups["lr"]) == rates[task]
    deep = build_experiment(load_config("yin-yang-fast-and-deep"))
    assert [p.size for p in deep.net.populations.values()] == [5, 120, 3]
    assert [(p.weight.mean, p.weight.std) for p in deep.net.projections] == [(1.5, 0.8), (0.5, 0.8)]
    assert {p.tau_mem for n, p in deep.net.populations.items() if n != "input"} == {1.0}


@pytest.mark.parametrize(
    ("task", "parameters"),
    [
        ("five-hidden", 70),
        ("five-hidden-dendritic", 43),
        ("thirty-hidden", 420),
        ("thirty-hidden-axonal", 244),
        ("thirty-hidden-dendritic", 243),
        ("thirty-hidden-weights", 210),
    ],
)
def test_recipes_of_our_own_have_delgrads_nets(task: str, parameters: int) -> None:
    """Their nets, their loss, no more epochs than theirs, and the schedule ends with the training."""
    e, theirs = (build_experiment(load_config(f"yin-yang-{name}")) for name in (task, "delgrad"))
    assert e.net.n_trainable == parameters
    assert e.loss == theirs.loss
    assert e.config["training.epochs"] == e.config["optimiser.schedule.over"] <= 300


@pytest.mark.parametrize("task", ["yin-yang-jitter", "yin-yang-jitter-weights"])
def test_jittered_nets_have_no_other_distortion(task: str) -> None:
    sim = build_experiment(load_config(task, ["simulator.spike_jitter=0.1"])).simulator
    assert sim == BrainScaleS2.ideal(spike_jitter=0.1, min_vdot=0.05)


@pytest.mark.parametrize(
    ("task", "distortion", "limit"),
    [
        ("", {}, None),
        ("-steps-1", {"weight_bits": 16, "weight_scale": 1.0}, None),
        ("-steps-2", {"weight_bits": 16, "weight_scale": 0.5}, None),
        ("-3-bits", {"weight_bits": 3, "weight_scale": 7 / 8}, 8.0),
        ("-2-bits", {"weight_bits": 2, "weight_scale": 3 / 4}, 4.0),
        ("-range-2", {}, 2.0),
        ("-thresholds", {"threshold_spread": 0.05}, None),
        ("-taus-10", {"tau_mem_spread": 0.1, "tau_syn_spread": 0.1}, None),
        ("-taus-20", {"tau_mem_spread": 0.2, "tau_syn_spread": 0.2}, None),
    ],
)
def test_distorted_nets_have_one_distortion_each(
    task: str, distortion: dict[str, float], limit: float | None
) -> None:
    e = build_experiment(load_config(f"yin-yang-distorted{task}", ["simulator.chip=3"]))
    assert e.simulator == BrainScaleS2.ideal(chip=3, min_vdot=0.05, **distortion)
    clips = [c for c in e.callbacks if isinstance(c, evprop.callbacks.ClipWeights)]
    wanted = [] if limit is None else [{"input_hidden": limit, "hidden_output": limit}]
    assert [c.limits for c in clips] == wanted
    assert (e.config["training.epochs"], e.config["optimiser.schedule.over"]) == (15, 15)


def test_it_learns_from_the_membrane_that_the_converter_shows() -> None:
    """Spikes plus readout: hidden spikes and 8-bit codes of the outputs' membranes are all that the host sees."""
    hidden = {"tau_mem": 6.0, "tau_syn": 6.0, "t_ref": 32.0}
    net = evprop.Network(
        {
            "input": evprop.Input(4),
            "hidden": evprop.LIF(30, **hidden),
            "output": evprop.LI(3, tau_mem=6.0, tau_syn=6.0),
        },
        [
            evprop.Dense("input", "hidden", weight=evprop.init.Normal(1.9, 1.2)),
            evprop.Dense("hidden", "output", weight=evprop.init.Normal(0.0, 0.2)),
        ],
    )
    data = evprop.datasets.yin_yang("train", encoding="delgrad", tau_syn=6.0, size=400)
    params = net.init(0)
    chip = BrainScaleS2(chip=0, min_vdot=0.05, weight_scale=78.0, copies={"input": 5})
    readout = evprop.losses.WeightedIntegral(10.0, normalise=None)
    history = evprop.train.fit(
        *(net, params, data, evprop.losses.CrossEntropy(readout), evprop.optim.Adam(0.02)),
        epochs=8,
        batch_size=50,
        duration=30.0,
        seed=0,
        simulator=chip,
    )
    assert history["accuracy"][-1] > history["accuracy"][0] + 0.15
    readouts = {"output": [evprop.losses.Max()]}
    record = evprop.simulate(net, params, data.spikes, duration=30.0, simulator=chip, readouts=readouts)
    codes = record.readout["output"][0] * 70.0
    np.testing.assert_allclose(codes, np.rint(codes), atol=1e-9)


@pytest.mark.parametrize("mean_and_std", [None, (3.0, 2.0)], ids=["shipped", "wide"])
@pytest.mark.parametrize("seed", [0, 1])
def test_delgrads_loop_in_closed_form_has_the_same_gradients(
    closed_form: Any, mean_and_std: tuple[float, float] | None, seed: int
) -> None:
    """Weights and delays of the 4-5-3 net, large gradients of single samples dropped; theirs is half our unit of weight.

    All outputs spike: where one does not, theirs bump weights in place of a step.
    """
    changes = [f"seed={seed}"]
    if mean_and_std is not None:
        wide = '{{kind="Normal", mean={}, std={}}}'.format(*mean_and_std)
        changes += [f"projections.{name}.weight={wide}" for name in ("input_hidden", "hidden_output")]
    e = build_experiment(load_config("yin-yang-five-hidden", changes))
    params, data = e.init(), e.data["train"]
    names = ("input_hidden", "hidden_output")
    delays = [params[f"{name}.delay"] for name in names]
    theirs = [*(params[f"{name}.weight"] / 2.0 for name in names), *(np.log(d / (1.0 - d)) for d in delays)]
    times, labels = closed_form.encoded("train")
    with np.errstate(all="ignore"):
        layers = closed_form.forward(theirs, times[:150])
        expected = closed_form.backward(theirs, layers, labels[:150])
    _, grads, record = evprop.value_and_grad(
        *(e.net, params, data.spikes[:150], data.labels[:150], e.loss),
        duration=e.duration,
        max_dw_norm=e.config["training.max_dw_norm"],
    )
    assert record.spikes["hidden"].n_spikes == np.isfinite(layers[0][1]).sum()
    for k, name in enumerate(names):
        np.testing.assert_allclose(grads[f"{name}.weight"], expected[k] / 2.0, rtol=1e-9, atol=1e-14)
        slope = delays[k] * (1.0 - delays[k])
        np.testing.assert_allclose(grads[f"{name}.delay"] * slope, expected[2 + k], rtol=1e-9, atol=1e-14)
