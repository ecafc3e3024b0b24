"""Ctrl-C and kill: what they leave behind goes on to the same bits as a run that was left alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import evprop
from evprop import init, losses
from evprop.callbacks import Callback
from evprop.datasets import yin_yang
from evprop.interrupts import Interrupts
from evprop.train import fit

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")

SETTINGS = [
    "--set",
    "populations.hidden.size=30",
    "--set",
    "data.size=2000",
    "--epochs",
    "30",
    "--no-pictures",
]


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "evprop", "train", *arguments, "--quiet"]
    return subprocess.Popen(
        command, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )


def wait_for_epochs(run: Path, epochs: int, process: subprocess.Popen[str]) -> None:
    log = run / "metrics.jsonl"
    for _ in range(2000):
        if log.exists() and len(log.read_bytes().splitlines()) >= epochs:
            return
        if process.poll() is not None:
            break
        time.sleep(0.01)
    raise AssertionError(f"no {epochs} epochs: {process.communicate()}")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    process = start(folder, "yin-yang", *SETTINGS, "--out", "run")
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, output + errors
    return folder / "run"


def log_without_seconds(run: Path) -> list[dict]:  # type: ignore[type-arg]
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


def assert_same_run(run: Path, wanted: Path) -> None:
    for name in ("final.safetensors", "best.safetensors"):
        one, other = evprop.load(run / name)[1], evprop.load(wanted / name)[1]
        assert {k: v.tobytes() for k, v in one.items()} == {k: v.tobytes() for k, v in other.items()}, name
    assert log_without_seconds(run) == log_without_seconds(wanted)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_run_goes_on_to_the_same_bits(undisturbed, tmp_path, number):
    process = start(tmp_path, "yin-yang", *SETTINGS, "--out", "run")
    for epochs in (3, 9):  # stopped twice
        wait_for_epochs(tmp_path / "run", epochs, process)
        process.send_signal(number)
        output, errors = process.communicate(timeout=60)
        assert process.returncode != 0
        assert not (tmp_path / "run" / "final.safetensors").exists()
        if number == signal.SIGINT:
            assert process.returncode == 130
            assert "evprop train --resume run" in errors
            assert "Traceback" not in output + errors
        process = start(tmp_path, "--resume", "run", "--no-pictures")
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, output + errors
    assert_same_run(tmp_path / "run", undisturbed)


def test_ctrl_c_is_quick(tmp_path):
    """Within a second, even in the middle of a long batch."""
    more = ["--set", "training.batch_size=5000", "--set", "populations.hidden.size=2000"]
    process = start(tmp_path, "yin-yang", "--epochs", "1000", *more, "--out", "run")
    for _ in range(2000):
        if (tmp_path / "run" / "checkpoint.safetensors").exists():
            break
        time.sleep(0.01)
    time.sleep(0.3)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert time.monotonic() - began < 5.0  # one second, and room for a busy machine


def small():
    net = evprop.Network(
        {"input": evprop.Input(5), "hidden": evprop.LIF(8), "output": evprop.LIF(3)},
        [
            evprop.Dense("input", "hidden", weight=init.Normal(1.5, 0.8)),
            evprop.Dense("hidden", "output", weight=init.Normal(2.0, 0.5)),
        ],
    )
    return net, net.init(0)


def train(params, net, **more):
    loss = losses.FirstSpike(tau_0=0.5, tau_1=6.4, alpha=3e-3)
    adam = evprop.optim.Adam(5e-3)
    data = yin_yang("train", size=100)
    return fit(net, params, data, loss, adam, epochs=3, batch_size=20, duration=60.0, seed=0, **more)


class Press(Callback):
    """Ctrl-C from within a step, where an interrupt would leave things half done."""

    def __init__(self, at):
        self.at = at
        self.count = 0

    def replace_step(self, run, record):
        self.count += 1
        if self.count == self.at:
            os.kill(os.getpid(), signal.SIGINT)
        return False


@pytest.mark.parametrize("at", [1, 4, 5, 6, 15])
def test_ctrl_c_in_the_middle_of_a_step_waits_for_its_end(tmp_path, at):
    net, whole = small()
    train(whole, net, callbacks=[Press(0)])
    _, params = small()
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(params, net, callbacks=[Press(at)], run_dir=tmp_path)
    assert signal.getsignal(signal.SIGINT) is before
    _, params = small()
    train(params, net, callbacks=[Press(0)], run_dir=tmp_path, resume=True)
    for name in params:
        np.testing.assert_array_equal(params[name], whole[name])


def press_and_wait():
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(1.0)


def test_interrupts_are_held_back_and_let_in():
    with Interrupts() as interrupts:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)  # held back
        with pytest.raises(KeyboardInterrupt):
            interrupts.check()
        interrupts.check()  # told once
        with pytest.raises(KeyboardInterrupt), interrupts.allowed():
            press_and_wait()
    late = Interrupts()
    with pytest.raises(KeyboardInterrupt), late:  # arrives after the last check
        os.kill(os.getpid(), signal.SIGINT)


def test_training_works_outside_the_main_thread():
    net, params = small()
    result = []
    thread = threading.Thread(target=lambda: result.append(train(params, net)))
    thread.start()
    thread.join()
    assert len(result[0]) == 3
