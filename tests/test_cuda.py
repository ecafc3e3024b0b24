"""The GPU backend without a GPU: its kernels, compiled as plain C++ inside an emulated driver, against the CPU engine.

The emulator (rust/evprop/tests/cuda/emulator.cpp) is a libcuda of its own: loaded first, it is the one that evprop finds.
Drivers that misbehave, and none at all, are tried in processes of their own.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings

import evprop
from cuda_tools import close, cotangents, example, raw_gradients, reorder, same_counts, simulate, trains
from emulator import build_emulator
from evprop import _core, check
from evprop.cli import main
from evprop.errors import ConfigError, DeviceError, RunawayError
from evprop.readouts import Final, Integral, LinearIntegral, Max, Sampled, SigmoidIntegral, WeightedIntegral
from strategies import Problem, busy_problems

GIVEN = settings(deadline=None, max_examples=60, derandomize=True)


def readouts_of(problem: Problem) -> dict[str, list[Any]]:
    """Every readout, of every population that has a voltage; a maximum's derivative is tried where it is smooth."""
    times = np.linspace(0.0, problem.duration, 5)
    weighted = [WeightedIntegral(12.0), LinearIntegral(), SigmoidIntegral(15.0, 4.0)]
    asked = [Final(), Integral(), *weighted, Sampled(times), Max()]
    return {name: asked for name, p in problem.net.populations.items() if p.kind != "input"}


def both(problem: Problem, dtype: str, **readouts: Any) -> tuple[evprop.Record, evprop.Record] | None:
    """The records of CPU and GPU; None where the network runs away, on both."""
    try:
        expected = simulate(problem, dtype, "cpu", **readouts)
    except RunawayError:
        with pytest.raises(RunawayError):
            simulate(problem, dtype, "cuda", **readouts)
        return None
    return expected, simulate(problem, dtype, "cuda", **readouts)


@GIVEN
@given(problem=busy_problems())
def test_spikes_readouts_and_gradients_agree(gpu_for_hypothesis: None, problem: Problem) -> None:
    pair = both(problem, "float64", readouts=readouts_of(problem))
    if pair is None:
        return
    expected, found = pair
    for (who, times), (who_found, times_found) in zip(trains(expected), trains(found), strict=True):
        assert who == who_found
        close(times, times_found, 1e-9, f"spikes of {who[0]}")
    for name, values in expected.readout.items():
        for k, value in enumerate(values):
            close(value, found.readout[name][k], 1e-8, f"readout {k} of {name}")
    if steep(expected):
        times, values = cotangents(expected, 1)
        aligned = reorder(expected, found, times)
        every = problem.net.layout.names
        a = evprop.backward(expected, times, values, wrt=[n for n in every if not n.endswith("t_ref")])
        b = evprop.backward(found, aligned, values, wrt=[n for n in every if not n.endswith("t_ref")])
        for name in a:
            close(a[name], b[name], 1e-6, f"gradient of {name}")
        if isinstance(a.input_times, dict):
            for name in a.input_times:
                close(a.input_times[name], b.input_times[name], 1e-6, f"input times of {name}")
        else:
            close(a.input_times, b.input_times, 1e-6, "input times")
        assert np.isclose(a.health.min_vdot, b.health.min_vdot, rtol=1e-6)


def steep(record: evprop.Record) -> bool:
    """Whether no spike is about to vanish: there, a gradient amplifies rounding without bound."""
    return bool(evprop.backward(record, wrt=[]).health.min_vdot > 1e-3)


@pytest.mark.parametrize("delay_kind", [None, "axonal", "dendritic", "synaptic"])
def test_float32_agrees_too(gpu: ctypes.CDLL, delay_kind: str | None) -> None:
    problem = example(3, delay_kind=delay_kind)
    asked = {"output": [Final(), Integral(), WeightedIntegral(50.0)], "hidden": [Integral()]}
    pair = both(problem, "float32", readouts=asked)
    assert pair is not None
    expected, found = pair
    assert same_counts(expected, found)
    assert len(expected.spikes["hidden"].times) > 50
    for (_, times), (_, times_found) in zip(trains(expected), trains(found), strict=True):
        close(times, times_found, 1e-5, "spike times")
    times, values = cotangents(expected, 2)
    a = evprop.backward(expected, times, values)
    b = evprop.backward(found, reorder(expected, found, times), values)
    for name in a:
        assert a[name].dtype == b[name].dtype == np.float32
        close(a[name], b[name], 2e-3, name)


@pytest.mark.parametrize("readout", [LinearIntegral(), SigmoidIntegral(40.0, 1.5), SigmoidIntegral(40.0, 30.0)])
def test_weights_without_a_closed_form_over_many_panels(gpu: ctypes.CDLL, readout: Any) -> None:
    """Neurons that spike, are held, and are silent; a panel is a small part of a span, and of the trial."""
    problem = example(4, t_ref=2.5)
    asked = {"output": [readout, Sampled(np.array([3.0, 50.0, 77.0]))], "hidden": [readout]}
    pair = both(problem, "float64", readouts=asked)
    assert pair is not None
    expected, found = pair
    assert same_counts(expected, found)
    for name, values in expected.readout.items():
        for a, b in zip(values, found.readout[name], strict=True):
            close(a, b, 1e-10, name)
    times, values = cotangents(expected, 5)
    every = [name for name in problem.net.layout.names if not name.endswith("t_ref")]
    a = evprop.backward(expected, times, values, wrt=every)
    b = evprop.backward(found, reorder(expected, found, times), values, wrt=every)
    for name in a:
        assert np.abs(a[name]).max() > 0.0, name
        close(a[name], b[name], 1e-8, name)
    close(a.input_times, b.input_times, 1e-8, "input times")


@pytest.mark.parametrize("given", [(64, None, None, None, None, None), (None, 3.7, 1, 1, 2, 1), (32, 100.0, 7, 2, 1, 2), (32, None, None, None, 1, 3)])
def test_sizes_of_launches_change_no_bit(gpu: ctypes.CDLL, given: tuple[Any, ...]) -> None:
    """Threads, windows, room that must grow, samples at a time. (More threads take sums over targets in another order.)"""
    problem = example(5)
    plain = raw_gradients(problem, (32, None, None, None, None, None))
    other = raw_gradients(problem, given)
    exact = given[0] != 64
    for k, (a, b) in enumerate(zip(plain, other, strict=True)):
        if exact or k < 4:
            assert np.array_equal(a, b)
        else:
            close(a, b, 1e-12, "sums in another order")


def test_the_order_of_threads_changes_no_bit(gpu: ctypes.CDLL, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two barriers no thread reads what another writes."""
    problem = example(6)
    sizes = (32, None, None, None, None, None)
    for limit in (None, 0.5):
        up = raw_gradients(problem, sizes, limit)
        monkeypatch.setenv("EVPROP_EMULATOR_ORDER", "descending")
        down = raw_gradients(problem, sizes, limit)
        monkeypatch.delenv("EVPROP_EMULATOR_ORDER")
        assert all(np.array_equal(a, b) for a, b in zip(up, down, strict=True))


def test_large_weight_gradients_are_dropped_alike(gpu: ctypes.CDLL) -> None:
    problem = example(7)
    pair = both(problem, "float64", readouts={"output": [Final()]})
    assert pair is not None
    expected, found = pair
    times, values = cotangents(expected, 3)
    aligned = reorder(expected, found, times)
    a = evprop.backward(expected, times, values, max_dw_norm=3.0)
    for input_times in (True, False):
        b = evprop.backward(found, aligned, values, max_dw_norm=3.0, input_times=input_times)
        assert 0 < a.health.dropped == b.health.dropped < 2 * problem.net.populations["hidden"].size
        for name in a:
            close(a[name], b[name], 1e-8, name)


def test_a_loss_is_trained_alike(gpu: ctypes.CDLL) -> None:
    problem = example(8)
    labels = np.array([0, 1, 2])
    loss = evprop.losses.CrossEntropy(WeightedIntegral(50.0), population="output")
    outcomes = [
        evprop.value_and_grad(
            problem.net,
            problem.params,
            problem.spikes,
            labels,
            loss,
            duration=100.0,
            simulator=evprop.Exact(device=device),
        )
        for device in ("cpu", "cuda")
    ]
    (value, grads, _), (value_gpu, grads_gpu, record) = outcomes
    assert record.device == "cuda"
    assert np.isclose(value, value_gpu, rtol=1e-12)
    for name in grads:
        close(grads[name], grads_gpu[name], 1e-10, name)


def test_a_runaway_network_ends_in_the_same_error(gpu: ctypes.CDLL) -> None:
    problem = example(9)
    told = []
    for device in ("cpu", "cuda"):
        with pytest.raises(RunawayError) as caught:
            evprop.simulate(
                problem.net,
                problem.params,
                problem.spikes,
                duration=100.0,
                simulator=evprop.Exact(device=device, max_spikes=20),
            )
        told.append(str(caught.value))
    assert told[0][: told[0].index(" by ")] == told[1][: told[1].index(" by ")]


def test_samples_end_with_the_last_first_spike(gpu: ctypes.CDLL) -> None:
    problem = example(10)
    both_ends = [
        evprop.simulate(
            problem.net,
            problem.params,
            problem.spikes,
            duration=100.0,
            simulator=evprop.Exact(device=device, stop_when_fired="hidden"),
        )
        for device in ("cpu", "cuda")
    ]
    assert same_counts(*both_ends)


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:x", "CUDA", 0, None])
def test_unknown_devices_are_refused(device: Any) -> None:
    with pytest.raises(ConfigError, match="known are"):
        evprop.Exact(device=device)


def test_a_device_that_is_not_there(gpu: ctypes.CDLL) -> None:
    with pytest.raises(DeviceError, match="no CUDA device 3: this machine has 1"):
        evprop.Exact(device="cuda:3")


SCRIPT = """
import numpy as np, evprop
net = evprop.Network({"i": evprop.Input(1), "n": evprop.LIF(1)}, [evprop.Dense("i", "n", weight=np.ones((1, 1)))])
spikes = evprop.Spikes.from_lists([([1.0], [0])], n_units=1)
try:
    evprop.simulate(net, net.init(0), spikes, duration=9.0, simulator=evprop.Exact(device="cuda"))
except evprop.errors.DeviceError as error:
    print("told:", error)
else:
    print("fine")
"""


def alone(folder: Path | None, misbehaviour: str = "", command: list[str] | None = None) -> str:
    """What a process says whose loader finds the libcuda in `folder`, or none."""
    environment = os.environ | {"EVPROP_EMULATOR": misbehaviour}
    environment["LD_LIBRARY_PATH"] = "" if folder is None else str(folder)
    done = subprocess.run(
        command or [sys.executable, "-c", SCRIPT],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("misbehaviour", "told"),
    [
        ("old_driver", "for CUDA 10.2, and evprop needs 12.0"),
        ("old_device", "compute capability 6.0, and evprop needs 7.0"),
        ("no_device", "the CUDA driver sees no device"),
        ("out_of_memory", "out of memory"),
        (
            "refused_ptx",
            "compiling the kernels (try a newer driver): the CUDA driver says CUDA_ERROR_INVALID_PTX",
        ),
        (
            "failed_launch",
            "starting evprop_forward_f64 on emulated on the CPU: the CUDA driver says CUDA_ERROR_LAUNCH_FAILED",
        ),
        ("failed_run", "running kernels on emulated on the CPU: the CUDA driver says CUDA_ERROR_LAUNCH_FAILED"),
    ],
)
def test_drivers_that_misbehave(library: Path, misbehaviour: str, told: str) -> None:
    said = alone(library.parent, misbehaviour)
    assert said.startswith("told: ")
    assert told in said
    assert len(said.splitlines()) == 1


def test_a_driver_that_behaves(library: Path) -> None:
    assert alone(library.parent) == "fine\n"


def test_a_driver_that_lacks_a_function(repository: Path, tmp_path: Path) -> None:
    build_emulator(repository, tmp_path, "-DWITHOUT_LAUNCH")
    assert "lacks the function cuLaunchKernel" in alone(tmp_path)


@pytest.mark.skipif(ctypes.util.find_library("cuda") is not None, reason="this machine has a CUDA driver")
def test_no_driver(library: Path) -> None:
    assert "no CUDA driver was found" in alone(None)


def test_info_tells(library: Path) -> None:
    said = alone(
        library.parent, command=[sys.executable, "-c", "from evprop.cli import main; main()", "info"]
    )
    assert "emulated on the CPU, compute capability 7.0, driver for CUDA 12.1" in said


def test_the_module_links_no_cuda_library() -> None:
    """CUDA is looked for at run time; a wheel needs none, and holds none."""
    told = subprocess.run(["ldd", str(_core.__file__)], capture_output=True, text=True, check=True).stdout
    assert "cuda" not in told.lower()
    assert "nvidia" not in told.lower()


def test_check_up(gpu: ctypes.CDLL, tmp_path: Path) -> None:
    out = tmp_path / "check.json"
    done = CliRunner().invoke(main, ["check", "--networks", "6", "--no-speed", "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert "emulated on the CPU" in done.output
    assert "| float64 | 6 | 6 |" in done.output
    written = json.loads(out.read_text())
    assert [c["good"] for c in written["comparisons"]] == 12 * [True]
    assert all(c["spikes"] > 10 for c in written["comparisons"])


def test_a_check_up_tells_what_does_not_agree(gpu: ctypes.CDLL, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(check.WORST, "float64", (0.0, -1.0))
    done = CliRunner().invoke(main, ["check", "--networks", "1", "--no-speed"])
    assert done.exit_code == 1
    assert "network 0 in float64 does not agree" in done.output


@pytest.mark.parametrize("given", [["--device", "cpu"], ["--networks", "0"]])
def test_check_ups_that_make_no_sense(gpu: ctypes.CDLL, given: list[str]) -> None:
    assert CliRunner().invoke(main, ["check", "--no-speed", *given]).exit_code == 1
