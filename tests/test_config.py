from __future__ import annotations

import tomllib

import numpy as np
import pytest

from evprop import config as module
from evprop.config import arguments_taken, experiments, load_config, to_toml
from evprop.errors import ConfigError
from evprop.experiment import build_experiment
from evprop.optim import Adam, AdamW, Sigmoid, StepDecay


@pytest.mark.parametrize("name", experiments())
def test_shipped_experiments_build(name):
    config = load_config(name)
    experiment = build_experiment(config)
    assert config["name"] == name
    assert experiment.net.n_trainable > 0
    if config["data.kind"] not in ("recordings", "mnist_16x16"):  # files that not everyone has
        assert set(experiment.data) >= {"train", "test"}
        assert experiment.data["train"].spikes.n_units == experiment.net.populations["input"].size
    assert config.text.startswith("# ")
    assert len(experiments()[name]) > 20


def test_published_settings_of_wunderlich_and_pehle():
    """The facts of their code, one by one."""
    e = build_experiment(load_config("yin-yang-wunderlich-pehle"))
    net = e.net.populations
    assert (net["input"].size, net["hidden"].size, net["output"].size) == (5, 200, 3)
    for population in (net["hidden"], net["output"]):
        assert (population.tau_mem, population.tau_syn, population.v_th) == (20.0, 5.0, 1.0)
    assert [(p.weight.mean, p.weight.std, p.delay) for p in e.net.projections] == [
        (1.5, 0.78, None),
        (0.93, 0.1, None),
    ]
    loss = e.loss.loss
    assert (loss.tau_0, loss.tau_1, loss.alpha) == (0.5, 6.4, 3e-3)
    state = e.optimiser.init(e.net, e.init())
    rates = []
    for epoch in range(3):
        state["epoch"] = epoch
        rates.append(e.optimiser.learning_rates(state)["*"])
    assert rates == pytest.approx([5e-3, 5e-3, 5e-3 * 0.95])
    assert (e.config["training.epochs"], e.config["training.batch_size"]) == (100, 32)
    assert e.config["training.shuffle"] == "in_place"
    weights = build_experiment(load_config("yin-yang-wunderlich-pehle", ["seed=3"])).init()
    for name, mean, std, shape in (
        ("input_hidden", 1.5, 0.78, (5, 200)),
        ("hidden_output", 0.93, 0.1, (200, 3)),
    ):
        drawn = np.random.default_rng(3).normal(mean, std, shape)
        np.testing.assert_array_equal(weights[f"{name}.weight"], drawn)
    assert [len(e.data[s]) for s in ("train", "validation", "test")] == [5000, 1000, 1000]


def test_override_keeps_the_comments():
    plain = load_config("yin-yang")
    changed = load_config("yin-yang", ["optimiser.lr=0.003", "populations.hidden.size=30"])
    assert changed["optimiser.lr"] == 0.003
    assert changed["populations.hidden.size"] == 30
    assert tomllib.loads(changed.text) == changed.values
    assert changed.text.count("#") == plain.text.count("#")
    different = [
        k
        for k, (a, b) in enumerate(zip(plain.text.split("\n"), changed.text.split("\n"), strict=True))
        if a != b
    ]
    assert len(different) == 2


def test_overrides_of_all_kinds():
    config = load_config(
        "yin-yang",
        [
            'optimiser.groups."*.delay".lr=1.5',
            "optimiser.clip_norm=3",
            'loss={kind="RelativeMSE", delta=2.0}',
            'callbacks.StopWhen={column="accuracy", at_least=0.5}',
            "callbacks.WeightBumping.max_missing={hidden=0.3, output=0.0}",
            "data.encoding=deventprop",
            "populations.input.size=4",
            "training.max_dw_norm=0.2",
            'optimiser.schedule={kind="StepDecay", every=20, factor=0.95}',
            'optimiser.groups."*.weight".map={kind="Sigmoid", shift=-5.0, scale=10.0}',
        ],
    )
    assert tomllib.loads(config.text) == config.values
    e = build_experiment(config)
    assert isinstance(e.optimiser, Adam)
    assert e.optimiser.clip_norm == 3
    assert e.optimiser._settings[0]["lr"] == 1.5
    assert e.optimiser._settings[-1]["schedule"] == StepDecay(20, 0.95)
    assert e.optimiser._settings[1]["map"] == Sigmoid(-5.0, 10.0)
    assert type(e.loss).__name__ == "RelativeMSE"
    assert e.data["train"].spikes.n_units == 4
    assert {c.name for c in e.callbacks} >= {"StopWhen", "WeightBumping"}
    assert config["training.max_dw_norm"] == 0.2


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optimizer.lr=1", "did you mean 'optimiser'"),
        ("optimiser.lrr=1", "did you mean 'lr'"),
        ("optimiser.weight_decay=1", "unknown setting 'optimiser.weight_decay'"),
        ("populations.hiden.size=3", "did you mean 'hidden'"),
        ("populations.hidden.tau_men=3.0", "did you mean 'tau_mem'"),
        ("projections.input_hidden.wieght=3.0", "did you mean 'weight'"),
        ("projections.input_hidden.weight.mea=3.0", "did you mean 'mean'"),
        ("training.epoch=3", "did you mean 'epochs'"),
        ("callbacks.KeepBst={}", "did you mean 'KeepBest'"),
        ("data.encodng=delgrad", "did you mean 'encoding'"),
        ("data.kind=yinyang", "did you mean 'yin_yang'"),
        ("seeds=3", "did you mean 'seed'"),
        ("seed=abc", "it must be a number"),
        ("training.epochs=many", "it must be an integer"),
        ("name=3", "it must be text"),
        ('optimiser.groups."*.delay".mpa=1', "did you mean"),
        ('optimiser.schedule={kind="StepDcay"}', "did you mean 'StepDecay'"),
        ("optimiser.lr.x=3", "'lr' is"),
        ("nonsense", "give KEY=VALUE"),
        ("=3", "give KEY=VALUE"),
        ("a b=3", "neither key nor value"),
        ("optimiser=3", "lacks 'kind'"),
    ],
)
def test_mistakes_are_told_with_the_nearest_key(override, message):
    with pytest.raises(ConfigError) as caught:
        load_config("yin-yang", [override])
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optimiser.lr=-1.0", "[optimiser] The learning rate"),
        ("populations.hidden.tau_mem=-1.0", "[populations.hidden]"),
        ("optimiser.betas=[0.9]", "[optimiser]"),
        ("loss.loss.tau_0=0.0", "[loss.loss]"),
        ("projections.input_hidden.delay=-1.0", "delay"),
    ],
)
def test_values_out_of_range_name_their_section(override, message):
    config = load_config("yin-yang", [override])
    with pytest.raises((ConfigError, ValueError)) as caught:
        build_experiment(config)
    assert message in str(caught.value)


def test_own_files(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(load_config("sequence-detection").text.replace("sequence-detection", "mine"))
    assert load_config(path)["name"] == "mine"
    path.write_text("name = ")
    with pytest.raises(ConfigError, match="no valid TOML"):
        load_config(path)
    path.write_text('name = "x"\n')
    with pytest.raises(ConfigError, match="lacks 'seed'"):
        load_config(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="did you mean 'yin-yang'"):
        load_config("ying-yang")


def test_toml_writer_is_the_inverse_of_the_reader():
    for name in experiments():
        values = load_config(name).values
        assert tomllib.loads(to_toml(values)) == values
    odd = {
        "a": 'quote " and \\ and \n',
        "b": True,
        "c": [1, 2.5, float("inf")],
        "d": {"x y": {"kind": "K", "e": {}}},
    }
    assert tomllib.loads(to_toml(odd)) == odd


def test_arguments_are_found_through_the_base_class():
    assert {"lr", "betas", "eps", "groups", "clip_norm", "schedule"} <= set(arguments_taken(Adam))
    assert "weight_decay" in arguments_taken(AdamW)
    assert "weight_decay" not in arguments_taken(Adam)
    assert "split" not in arguments_taken(module.DATA["yin_yang"])
