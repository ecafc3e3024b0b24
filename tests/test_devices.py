"""One process per device: which GPU is whose, in an emulated driver that shows several."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import evprop
from evprop.devices import LOCAL_RANKS, device_ordinal
from evprop.errors import ConfigError, DeviceError

SMALL = ("--set", "data.size=24", "--set", "populations.hidden.size=10", "--epochs", "1", "--no-pictures", "--quiet")


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in LOCAL_RANKS:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_names(gpu: ctypes.CDLL, alone: pytest.MonkeyPatch) -> None:
    assert device_ordinal("cpu") is None
    assert [device_ordinal(name) for name in ("cuda", "cuda:0", "cuda:7", "cuda:local")] == [0, 0, 7, 0]
    with pytest.raises(ConfigError, match='known are "cpu", "cuda", "cuda:N" and "cuda:local"'):
        device_ordinal("cuda:first")


@pytest.mark.parametrize("name", LOCAL_RANKS)
def test_the_launcher_tells_which_device(gpu: ctypes.CDLL, alone: pytest.MonkeyPatch, name: str) -> None:
    alone.setenv("EVPROP_EMULATOR_DEVICES", "3")
    alone.setenv(name, "2")
    assert device_ordinal("cuda:local") == 2
    alone.setenv(name, "3")
    with pytest.raises(DeviceError, match="process 3 of its machine, counted from 0, and sees 3 CUDA devices"):
        evprop.Exact(device="cuda:local")


SCRIPT = """
import evprop
from evprop import _core
from evprop.devices import device_ordinal
from evprop.distributed import world
print(world().Get_rank(), _core.cuda_device(device_ordinal("cuda:local")).split(",")[0])
"""


def test_two_processes_on_two_devices(library: Path, tmp_path: Path) -> None:
    """Each has its own, and they end with the bits of one process on one device."""
    pytest.importorskip("mpi4py", reason="needs the extra evprop[mpi]")
    beside = Path(sys.executable).with_name("mpiexec")
    launcher = str(beside) if beside.exists() else shutil.which("mpiexec")
    if launcher is None:
        pytest.skip("needs mpiexec (pip install mpich)")
    environment = os.environ | {
        "PYTHONPATH": str(Path(evprop.__file__).parents[1]),
        "LD_LIBRARY_PATH": str(library.parent),
        "EVPROP_EMULATOR_DEVICES": "2",
    }

    def run(command: list[str]) -> str:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    told = run([launcher, "-n", "2", sys.executable, "-c", SCRIPT])
    assert sorted(told.splitlines()) == ["0 emulated on the CPU", "1 emulated on the CPU (1)"]
    found = []
    for size in (1, 2):
        train = [sys.executable, "-m", "evprop", "train", "yin-yang", *SMALL, "--parts", "2"]
        train += ["--set", "simulator.device=cuda:local", "--out", str(tmp_path / str(size))]
        run([launcher, "-n", str(size), *train])
        _, params = evprop.load(tmp_path / str(size) / "final.safetensors")
        found.append({name: array.tobytes() for name, array in params.items()})
    assert found[0] == found[1]
