"""Sweeps: many workers on one storage, a trial of a killed worker goes on from its checkpoint, bad settings are refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("optuna", reason="needs the extra evprop[sweep]")

import evprop
from evprop.checkpoint import Checkpoint
from evprop.config import load_config
from evprop.errors import CheckpointError, ConfigError
from evprop.sweep import Sweep, Trial

SMALL = ("data.size=40", "populations.hidden.size=8", "training.epochs=1", "training.batch_size=20")
VARY: dict[str, Any] = {
    "optimiser.lr": {"low": 1e-3, "high": 1e-1, "log": True},
    'optimiser.groups."*.delay".lr': [0.01, 0.1],
    "populations.hidden.size": {"low": 6, "high": 10, "step": 2},
}


def sweep(folder: Path, trials: int = 3, *, changes: tuple[str, ...] = SMALL, **more: Any) -> Sweep:
    return Sweep.create(load_config("yin-yang", changes), more.pop("vary", VARY), folder, trials=trials, **more)


@pytest.mark.parametrize("storage", [None, "sqlite"])
def test_trials_and_their_folders(tmp_path: Path, storage: str | None) -> None:
    url = None if storage is None else f"sqlite:///{tmp_path / 'sweep.db'}"
    made: list[Trial] = []
    sweep(tmp_path / "s", 2, storage=url).work(made.append)
    joined = Sweep.open(tmp_path / "s")
    joined.work(made.append)  # there are enough
    assert [trial.number for trial in made] == [0, 1]
    assert joined.found() == sorted(made, key=lambda t: (t.value, -t.number), reverse=True)
    for trial in made:
        folder = tmp_path / "s" / f"trial-{trial.number:04d}"
        config = load_config(folder / "config.toml")
        for key, value in trial.settings.items():
            if '"' not in key:
                assert config[key] == value
        assert config["optimiser"]["groups"]["*.delay"]["lr"] == trial.settings['optimiser.groups."*.delay".lr']
        rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        assert trial.value == pytest.approx(max(row["val_accuracy"] for row in rows))
        net, _ = evprop.load(folder / "best.safetensors")
        assert net.populations["hidden"].size == trial.settings["populations.hidden.size"] in (6, 8, 10)
        assert not (folder / "result.json").exists()  # no look at the test set
        assert load_config("yin-yang", [*SMALL, *trial.overrides]).values == config.values


def test_one_worker_makes_the_same_sweep_again(tmp_path: Path) -> None:
    found = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        one = sweep(tmp_path / name, 2, seed=seed)
        one.work()
        found.append([(trial.settings, trial.value) for trial in one.found()])
    assert found[0] == found[1]
    assert found[0] != found[2]


def test_a_trial_that_fails_is_counted_and_told(tmp_path: Path) -> None:
    vary = {"projections.input_hidden.weight.mean": [-5.0], "seed": [0]}  # all neurons are silent
    one = sweep(tmp_path / "s", 1, vary=vary, changes=(*SMALL, "callbacks.StopOnSilence={}"))
    one.work()
    (trial,) = one.found()
    assert (trial.state, trial.value) == ("fail", None)
    assert "hidden" in (tmp_path / "s/trial-0000/error.txt").read_text()


@pytest.mark.parametrize(
    ("vary", "words"),
    [
        ({}, "nothing varies"),
        ({"optimiser.rl": [1.0]}, "unknown setting 'optimiser.rl'"),
        ({"optimiser.lr": 1.0}, "neither choices such as"),
        ({"optimiser.lr": []}, "neither choices such as"),
        ({"optimiser.lr": [[1.0]]}, "choices are numbers, texts and truth values"),
        ({"optimiser.lr": {"low": 1.0}}, "neither choices such as"),
        ({"optimiser.lr": {"low": 1.0, "high": 0.5}}, "optimiser.lr: .*low <= high"),
        ({"optimiser.lr": {"low": 0.0, "high": 0.5, "log": True}}, "optimiser.lr: .*low > 0"),
        ({"optimiser.lr": {"low": "a", "high": 0.5}}, "they must be numbers"),
    ],
)
def test_bad_settings(tmp_path: Path, vary: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        sweep(tmp_path / "s", vary=vary)
    assert not (tmp_path / "s" / "sweep.json").exists()


def test_bad_folders(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds no sweep"):
        Sweep.open(tmp_path)
    sweep(tmp_path / "s")
    with pytest.raises(CheckpointError, match="already holds a sweep"):
        sweep(tmp_path / "s")
    (tmp_path / "s/sweep.json").write_text("{")
    with pytest.raises(CheckpointError, match="holds no sweep that can be read"):
        Sweep.open(tmp_path / "s")
    with pytest.raises(ConfigError, match="trials is 0"):
        sweep(tmp_path / "t", 0)


HASTY = """
import functools
import evprop.train
from evprop.cli import main
evprop.train.SaveCheckpoint = functools.partial(evprop.train.SaveCheckpoint, seconds=0.3)
main()
"""
"""The command with a checkpoint more often than every ten seconds."""


def worker(*arguments: str) -> subprocess.Popen[str]:
    """`evprop sweep` in a process of its own."""
    env = {**os.environ, "PYTHONPATH": str(Path(evprop.__file__).parents[1]), "EVPROP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", HASTY, "sweep", *arguments]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def said(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return out


def test_two_workers_and_one_that_is_killed(tmp_path: Path) -> None:
    """The killed worker's trial ends with the bits of a run that nobody killed; no trial is made twice or lost."""
    folder = tmp_path / "s"
    sets = [word for change in (*SMALL, "training.epochs=100000") for word in ("--set", change)]
    first = worker(
        "yin-yang", *sets, "--vary", "optimiser.lr=[0.001, 0.01]", "--trials", "3", "--out", str(folder), "--quiet"
    )
    checkpoint, until = folder / "trial-0000/checkpoint.safetensors", time.monotonic() + 120
    while not checkpoint.exists() or Checkpoint.read(checkpoint).progress["epoch"] < 1:
        assert first.poll() is None, first.communicate()
        assert time.monotonic() < until
        time.sleep(0.1)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    epochs = int(Checkpoint.read(checkpoint).progress["epoch"]) + 2
    base = folder / "experiment.toml"
    base.write_text(base.read_text().replace("epochs = 100000", f"epochs = {epochs}"))
    others = [worker("--join", str(folder), "--quiet") for _ in range(2)]
    outputs = [said(one) for one in others]
    trials = sorted(Sweep.open(folder).found(), key=lambda trial: trial.number)
    assert [(trial.number, trial.state) for trial in trials] == [(k, "complete") for k in range(3)]
    for trial in trials:
        rows = (folder / f"trial-{trial.number:04d}" / "metrics.jsonl").read_text().splitlines()
        assert [json.loads(row)["epoch"] for row in rows] == list(range(1, epochs + 1))
    assert any("best of 3 trials" in out for out in outputs)
    again = sweep(tmp_path / "straight", 1, changes=(*SMALL, f"training.epochs={epochs}"), vary={"optimiser.lr": [trials[0].settings["optimiser.lr"]]})
    again.work()
    straight, resumed = (evprop.load(f / "trial-0000/best.safetensors")[1] for f in (tmp_path / "straight", folder))
    assert all(straight[name].tobytes() == array.tobytes() for name, array in resumed.items())
