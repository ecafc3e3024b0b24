"""Gradients in parts: the same bits for any number of processes; one that fails ends all."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import evprop
from evprop.datasets import yin_yang
from evprop.distributed import value_and_grad
from evprop.errors import ConfigError
from evprop.losses import FirstSpike

LOSS = FirstSpike(tau_0=0.5, tau_1=6.4, alpha=3e-3)


def network() -> evprop.Network:
    return evprop.Network(
        {"in": evprop.Input(5), "h": evprop.LIF(20), "out": evprop.LIF(3)},
        [
            evprop.Dense("in", "h", weight=evprop.init.Normal(1.5, 0.8), delay=evprop.init.Uniform(0.0, 5.0)),
            evprop.Dense("h", "out", weight=evprop.init.Normal(1.0, 0.3)),
        ],
    )


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("parts", [1, 3, 4])
def test_parts_add_up_to_the_whole(parts: int, dtype: str) -> None:
    net, data = network(), yin_yang("train", size=30)
    params, simulator = net.init(0, dtype=dtype), evprop.Exact(dtype=dtype)
    value, grads = value_and_grad(
        net, params, data.spikes, data.labels, LOSS, duration=60.0, parts=parts, simulator=simulator
    )
    whole, expected, _ = evprop.value_and_grad(
        net, params, data.spikes, data.labels, LOSS, duration=60.0, simulator=simulator
    )
    rtol = 1e-12 if dtype == "float64" else 1e-5
    assert value == pytest.approx(whole, rel=rtol)
    assert list(grads) == list(expected)
    for name, array in expected.items():
        assert grads[name].dtype == array.dtype
        np.testing.assert_allclose(grads[name], array, rtol=10 * rtol, atol=rtol * np.abs(array).max())


def test_bad_parts() -> None:
    net, data = network(), yin_yang("train", size=3)
    for parts, words in ((0, "parts is 0"), (4, "has 3 samples")):
        with pytest.raises(ConfigError, match=words):
            value_and_grad(net, net.init(0), data.spikes, data.labels, LOSS, duration=60.0, parts=parts)


TRAIN = """
import sys
import numpy as np
from mpi4py import MPI
import evprop
from test_distributed import LOSS, network
from evprop.datasets import yin_yang
from evprop.distributed import abort_together, value_and_grad

comm = MPI.COMM_WORLD
with abort_together(comm):
    evprop.set_num_threads(1)
    if len(sys.argv) > 2 and comm.Get_rank() == comm.Get_size() - 1:
        raise RuntimeError("this process fails")
    net, data = network(), yin_yang("train", size=40)
    params = net.init(0)
    adam = evprop.optim.Adam(5e-3)
    state = adam.init(net, params)
    values = []
    for step in range(6):
        batch = data[20 * (step % 2) : 20 * (step % 2) + 20]
        value, grads = value_and_grad(
            net, params, batch.spikes, batch.labels, LOSS, duration=60.0, parts=4, comm=comm
        )
        adam.step(params, grads, state)
        values.append(value)
    np.savez(f"{sys.argv[1]}-{comm.Get_size()}-{comm.Get_rank()}.npz", values=values, **params)
"""


def mpiexec(size: int, folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("mpiexec")
    command = str(program) if program.exists() else shutil.which("mpiexec")
    if command is None:
        pytest.skip("needs mpiexec (pip install mpich)")
    paths = f"{Path(evprop.__file__).parents[1]}:{Path(__file__).parent}"
    code = [sys.executable, "-c", f"import sys; sys.path[:0] = {paths.split(':')!r}\n{TRAIN}", str(folder / "run"), *more]
    return subprocess.run([command, "-n", str(size), *code], capture_output=True, text=True, timeout=300, check=False)


def test_one_two_and_four_processes_give_the_same_bits(tmp_path: Path) -> None:
    pytest.importorskip("mpi4py", reason="needs the extra evprop[mpi]")
    results = []
    for size in (1, 2, 4):
        done = mpiexec(size, tmp_path)
        assert done.returncode == 0, done.stderr
        for rank in range(size):
            with np.load(tmp_path / f"run-{size}-{rank}.npz") as file:
                results.append({name: file[name].tobytes() for name in file.files})
    assert len(results) == 7
    assert all(result == results[0] for result in results)


def test_a_process_that_fails_ends_all(tmp_path: Path) -> None:
    pytest.importorskip("mpi4py", reason="needs the extra evprop[mpi]")
    done = mpiexec(2, tmp_path, "fail")
    assert done.returncode != 0
    assert "this process fails" in done.stderr
