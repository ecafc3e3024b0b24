"""`fit` and `evprop train` in several processes: the same bits for any number of them, one that dies ends all, resume."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import evprop
from evprop.callbacks import Callback, KeepBest, WeightBumping
from evprop.checkpoint import Checkpoint
from evprop.datasets import yin_yang
from evprop.distributed import Team
from evprop.errors import CheckpointError, ConfigError
from evprop.losses import FirstSpike
from evprop.optim import Adam
from evprop.train import fit

SMALL = ("--set", "data.size=53", "--set", "populations.hidden.size=20", "--no-pictures", "--quiet")


def trained(parts: int | None, epochs: int = 2, **more: Any) -> tuple[Any, dict[str, np.ndarray[Any, Any]]]:
    data = yin_yang("train", size=53)
    net = evprop.Network(
        {"in": evprop.Input(5), "h": evprop.LIF(10), "out": evprop.LIF(3)},
        [
            evprop.Dense("in", "h", weight=evprop.init.Normal(1.5, 0.8), delay=evprop.init.Uniform(0.0, 5.0)),
            evprop.Dense("h", "out", weight=evprop.init.Normal(1.0, 0.3)),
        ],
    )
    params = net.init(0)
    history = fit(
        net,
        params,
        data,
        FirstSpike(tau_0=0.5, tau_1=6.4, alpha=3e-3),
        Adam(5e-3),
        epochs=epochs,
        batch_size=10,
        duration=60.0,
        seed=0,
        parts=parts,
        validation=data,
        **more,
    )
    return history, params


def test_parts_in_one_process_are_the_batch_but_for_rounding() -> None:
    whole, params = trained(None)
    for parts in (1, 4):  # the last batch of an epoch has 3 samples: one part is empty
        history, found = trained(parts)
        for name, array in params.items():
            np.testing.assert_allclose(found[name], array, rtol=1e-9, atol=1e-12)
        for row, expected in zip(history, whole, strict=True):
            assert row["loss"] == pytest.approx(expected["loss"], rel=1e-12)
            assert row["val_loss"] == pytest.approx(expected["val_loss"], rel=1e-12)
            for same in ("accuracy", "val_accuracy", "spikes_per_neuron"):
                assert row[same] == expected[same]
            assert row["health"]["silent"] == expected["health"]["silent"]
            assert row["health"]["min_vdot"] == pytest.approx(expected["health"]["min_vdot"], rel=1e-9)


def test_resume_needs_the_same_parts(tmp_path: Path) -> None:
    _, straight = trained(2, epochs=3)
    trained(2, run_dir=tmp_path)
    with pytest.raises(CheckpointError, match="another parts"):
        trained(5, epochs=3, run_dir=tmp_path, resume=True)
    history, params = trained(2, epochs=3, run_dir=tmp_path, resume=True)
    assert len(history) == 3
    assert all(params[name].tobytes() == array.tobytes() for name, array in straight.items())


def test_bad_teams() -> None:
    class Three:
        def Get_size(self) -> int:
            return 3

        def Get_rank(self) -> int:
            return 0

    with pytest.raises(ConfigError, match="parts is 11 but a batch has 10"):
        trained(11)
    with pytest.raises(ConfigError, match="WeightBumping looks at whole batches"):
        trained(2, callbacks=[WeightBumping({"h": 0.3})])
    with pytest.raises(ConfigError, match="with 3 processes it must be a multiple of 3"):
        Team(4, Three())
    with pytest.raises(ConfigError, match="3 processes share each batch, but parts is not given"):
        trained(None, comm=Three())
    with pytest.raises(ConfigError, match="parts is True"):
        Team(True)


def test_who_is_called() -> None:
    """Of several processes only the first writes."""
    calls = []

    class Alone:
        def Get_size(self) -> int:
            return 1

        def Get_rank(self) -> int:
            return 1  # as if there were a first one elsewhere

    class Mute(Callback):
        first_only = True

        def on_start(self, run: Any) -> None:
            calls.append("mute")

    class Other(Callback):
        def on_start(self, run: Any) -> None:
            calls.append("other")
            assert [c.name for c in run.callbacks] == ["Mute", "Other", "KeepBest"]
            assert [c.name for c in run.called] == ["Other", "KeepBest"]
            raise ConfigError("enough seen")

        def on_end(self, run: Any, outcome: str) -> None:
            calls.append(outcome)

    team = Team(1, Alone())
    assert (team.rank, team.size) == (1, 1)
    with pytest.raises(ConfigError, match="enough seen"):
        trained(1, comm=Alone(), callbacks=[Mute(), Other(), KeepBest()])
    assert calls == ["other", "failed"]


HASTY = """
import functools
import evprop.train
from evprop.cli import main
evprop.train.SaveCheckpoint = functools.partial(evprop.train.SaveCheckpoint, seconds=0.3)
main()
"""
"""The command with a checkpoint more often than every ten seconds."""


# -- under mpiexec ---------------------------------------------------------------------------------------------


@pytest.fixture
def launcher() -> str:
    pytest.importorskip("mpi4py", reason="needs the extra evprop[mpi]")
    beside = Path(sys.executable).with_name("mpiexec")
    command = str(beside) if beside.exists() else shutil.which("mpiexec")
    if command is None:
        pytest.skip("needs mpiexec (pip install mpich)")
    return command


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(evprop.__file__).parents[1]), "EVPROP_NUM_THREADS": "1"}


def train(launcher: str, size: int | None, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`evprop train` in that many processes; None: without MPI."""
    started = [] if size is None else [launcher, "-n", str(size)]
    command = [*started, sys.executable, "-m", "evprop", "train", *arguments]
    return subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=600, check=False)


def left_behind(folder: Path) -> tuple[dict[str, bytes], list[dict[str, Any]]]:
    """The trained parameters, bit by bit, and the log without its times."""
    _, params = evprop.load(folder / "final.safetensors")
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return {name: array.tobytes() for name, array in params.items()}, [{**row, "seconds": 0} for row in rows]


def test_the_command_in_one_two_and_four_processes(launcher: str, tmp_path: Path) -> None:
    found = []
    for size in (None, 1, 2, 4):
        folder = tmp_path / f"run-{size}"
        done = train(launcher, size, "yin-yang", *SMALL, "--epochs", "2", "--parts", "4", "--out", str(folder))
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("run folder") == 1
        found.append(left_behind(folder))
        told = json.loads((folder / "environment.json").read_text())
        assert told["processes"] == (size or 1)
    assert all(one == found[0] for one in found)


def test_errors_are_said_once(launcher: str, tmp_path: Path) -> None:
    done = train(launcher, 2, "yin-yang", *SMALL, "--out", str(tmp_path / "run"))
    assert done.returncode != 0
    assert done.stderr.count("2 processes share each batch, but parts is not given") == 1
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()


def ranks(folder: Path) -> Iterator[tuple[int, int]]:
    """(rank, process id) of the training processes of a run folder that are alive."""
    for process in Path("/proc").iterdir():
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
            variables = dict(v.split(b"=", 1) for v in (process / "environ").read_bytes().split(b"\0") if b"=" in v)
        except (OSError, ValueError):
            continue
        if HASTY.encode() in words and words[1] == b"-c" and str(folder).encode() in words and b"PMI_RANK" in variables:
            yield int(variables[b"PMI_RANK"]), int(process.name)


def started(launcher: str, size: int, folder: Path) -> subprocess.Popen[bytes]:
    """A run in that many processes, far enough for a checkpoint in the middle."""
    command = [launcher, "-n", str(size), sys.executable, "-c", HASTY, "train", "yin-yang", *SMALL]
    command += ["--epochs", "100000", "--parts", "4", "--out", str(folder)]
    with (folder.parent / "stderr").open("w") as errors:
        run = subprocess.Popen(command, env=environment(), stderr=errors, start_new_session=True)
    checkpoint, until = folder / "checkpoint.safetensors", time.monotonic() + 300
    while not checkpoint.exists() or Checkpoint.read(checkpoint).progress["epoch"] < 1:
        if run.poll() is not None or time.monotonic() > until:
            run.terminate()
            pytest.fail(f"no checkpoint in the middle of a run: {(folder.parent / 'stderr').read_text()}")
        time.sleep(0.2)
    return run


def gone(folder: Path) -> bool:
    until = time.monotonic() + 30
    while list(ranks(folder)) and time.monotonic() < until:
        time.sleep(0.1)
    return not list(ranks(folder))


def shortened(folder: Path) -> int:
    """Let the run end five epochs after its checkpoint; the number of epochs that it then has."""
    epochs = int(Checkpoint.read(folder / "checkpoint.safetensors").progress["epoch"]) + 5
    config = folder / "config.toml"
    config.write_text(config.read_text().replace("epochs = 100000", f"epochs = {epochs}"))
    return epochs


@pytest.mark.parametrize("dies", [0, 1])
def test_a_process_that_is_killed_ends_all_and_the_run_goes_on(launcher: str, tmp_path: Path, dies: int) -> None:
    folder = tmp_path / "run"
    run = started(launcher, 2, folder)
    os.kill(dict(ranks(folder))[dies], signal.SIGKILL)
    assert run.wait(timeout=60) != 0
    assert gone(folder), "a process outlived the one that was killed"
    epochs = shortened(folder)
    done = train(launcher, 4, "--resume", str(folder), "--no-pictures", "--quiet")
    assert done.returncode == 0, done.stderr
    straight = tmp_path / "straight"
    done = train(launcher, None, "yin-yang", *SMALL, "--epochs", str(epochs), "--parts", "4", "--out", str(straight))
    assert done.returncode == 0, done.stderr
    assert left_behind(folder) == left_behind(straight)


def test_ctrl_c_ends_all_at_one_batch_with_a_checkpoint(launcher: str, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run = started(launcher, 2, folder)
    before = Checkpoint.read(folder / "checkpoint.safetensors").progress
    os.kill(dict(ranks(folder))[1], signal.SIGINT)  # of one process alone: they agree on where to stop
    assert run.wait(timeout=60) != 0
    assert gone(folder)
    assert "interrupted; continue with: evprop train --resume" in (tmp_path / "stderr").read_text()
    after = Checkpoint.read(folder / "checkpoint.safetensors").progress
    assert (after["epoch"], after["batch"]) > (before["epoch"], before["batch"])
