"""Records that stay on the device, and the streams that they are made on, in the emulated driver."""

from __future__ import annotations

import ctypes
import gc
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import evprop
from cuda_tools import close, cotangents, example, raw_gradients, reorder, same_counts, simulate
from evprop import _core
from evprop.errors import DeviceError, RunawayError
from evprop.readouts import Final, Max, WeightedIntegral
from strategies import Problem

ONE_BY_ONE = 1
"""Samples a chunk: every stream gets work, and the record is put together from pieces."""


def sizes(lanes: int, slots: int | None = ONE_BY_ONE, spikes: int | None = None) -> tuple[Any, ...]:
    return (32, None, spikes, None, slots, lanes)


@pytest.mark.parametrize("order", ["eager", "late"])
@pytest.mark.parametrize("lanes", [1, 2, 3])
def test_streams_change_no_bit(
    gpu: ctypes.CDLL, monkeypatch: pytest.MonkeyPatch, order: str, lanes: int
) -> None:
    """Late: nothing happens on a stream before it is waited for, so that what relies on another one finds nothing."""
    problem = large(11)
    plain = raw_gradients(problem, sizes(1, slots=None))
    monkeypatch.setenv("EVPROP_EMULATOR_STREAMS", order)
    for given in (sizes(lanes), sizes(lanes, slots=3), sizes(lanes, slots=2, spikes=1)):
        found = raw_gradients(problem, given)
        assert all(np.array_equal(a, b) for a, b in zip(plain, found, strict=True))


SCRIPT = """
import hashlib
from cuda_tools import raw_gradients
from test_cuda_resident import large
found = raw_gradients(large(12), (32, None, None, None, 1, 2))
print(hashlib.sha256(b"".join(array.tobytes() for array in found)).hexdigest())
"""


def test_what_a_driver_may_lack(library: Path) -> None:
    """Memory pools (buffers are then given back after waiting), pinned memory (copies then start from plain memory)."""

    def bits(**environment: str) -> str:
        given = os.environ | {"LD_LIBRARY_PATH": str(library.parent)} | environment
        command = [sys.executable, "-c", SCRIPT]
        folder = Path(__file__).parent
        return subprocess.run(command, env=given, cwd=folder, check=True, capture_output=True, text=True).stdout

    plain = bits()
    assert len(plain) == 65
    for lacks in ("no_pools", "no_pinned"):
        assert bits(EVPROP_EMULATOR=lacks, EVPROP_EMULATOR_STREAMS="late") == plain


def large(seed: int) -> Problem:
    """Seven samples, one of them without spikes."""
    problem = example(seed)
    rng = np.random.default_rng(seed)
    samples = [(np.sort(rng.uniform(0.0, 100.0, k)), rng.integers(0, 12, k)) for k in (60, 0, 120, 30, 90, 45, 70)]
    return Problem(problem.net, problem.params, evprop.Spikes.from_lists(samples, n_units=12), problem.duration)


def test_the_record_stays_until_it_is_asked_for(gpu: ctypes.CDLL) -> None:
    problem = large(13)
    asked = {"output": [Final(), WeightedIntegral(50.0)]}
    before = gpu.emulator_fetched()
    record = simulate(problem, "float64", "cuda", readouts=asked)
    batch = len(problem.spikes)
    told = gpu.emulator_fetched() - before
    assert told <= 4 * batch * (16 + 8), "only how each sample ended, in two rounds, and how many spikes it has"
    held = gpu.emulator_in_use()
    before = gpu.emulator_fetched()
    output = record.readout["output"][0]
    assert gpu.emulator_fetched() - before == output.size * 8 * 2
    before = gpu.emulator_fetched()
    n = len(record.spikes["hidden"].times)
    assert n > 100
    assert gpu.emulator_fetched() - before == n * (8 + 4 + 8), "times, units and currents"
    assert gpu.emulator_in_use() == held
    before = gpu.emulator_fetched()
    record.spikes["hidden"], record.readout["output"][1]
    assert gpu.emulator_fetched() == before, "what was fetched is kept"
    del record, output
    gc.collect()
    assert gpu.emulator_in_use() == 0


def test_the_backward_pass_reads_the_resident_record(gpu: ctypes.CDLL) -> None:
    """No spike goes to the host and back: only gradients come."""
    problem = large(14)
    expected = simulate(problem, "float64", "cpu", readouts={"output": [Final()]})
    record = simulate(problem, "float64", "cuda", readouts={"output": [Final()]})
    times, values = cotangents(expected, 4)
    assert record.readout["output"][0].shape == values["output"][0].shape, "a loss has seen it"
    before = gpu.emulator_fetched()
    grads = evprop.backward(record, None, values, input_times=False)
    parameters = sum(grads[name].size for name in grads)
    assert gpu.emulator_fetched() - before == 8 * (parameters + 3 * len(problem.spikes)), "and how sound they are"
    reference = evprop.backward(expected, None, values)
    for name in reference:
        close(reference[name], grads[name], 1e-9, name)
    aligned = reorder(expected, record, times)
    reference, grads = evprop.backward(expected, times, values), evprop.backward(record, aligned, values)
    for name in reference:
        close(reference[name], grads[name], 1e-9, name)


def test_maxima_and_traces_of_resident_records(gpu: ctypes.CDLL) -> None:
    problem = example(15)
    pair = [simulate(problem, "float64", device, readouts={"output": [Max()]}) for device in ("cpu", "cuda")]
    times = [record.max_times("output", Max()) for record in pair]
    close(times[0], times[1], 1e-9, "times of maxima")
    at = np.linspace(0.0, 90.0, 7)
    given = (problem.net, problem.params, problem.spikes[2], "hidden", at)
    traces = [evprop.trace(*given, simulator=evprop.Exact(device=device)) for device in ("cpu", "cuda")]
    close(traces[0].v, traces[1].v, 1e-9, "V")


def test_samples_that_end_early_end_in_the_kernel(gpu: ctypes.CDLL) -> None:
    """With the spikes of the last neuron to fire: no later one, in any population, and the same gradients."""
    problem = example(16, n=6)
    loss = evprop.losses.FirstSpike(tau_0=0.5, tau_1=6.4, alpha=3e-3, population="hidden")
    labels = np.array([0, 1, 2])
    found = []
    for device in ("cpu", "cuda"):
        simulator = evprop.Exact(device=device, stop_when_fired="hidden")
        given = (problem.net, problem.params, problem.spikes, labels, loss)
        found.append(evprop.value_and_grad(*given, duration=problem.duration, simulator=simulator))
    (value, grads, record), (value_gpu, grads_gpu, record_gpu) = found
    assert same_counts(record, record_gpu)
    assert record_gpu.ends.min() < problem.duration
    np.testing.assert_allclose(record.ends, record_gpu.ends, rtol=1e-12)
    assert np.isclose(value, value_gpu, rtol=1e-12)
    for name in grads:
        close(grads[name], grads_gpu[name], 1e-9, name)


def test_a_record_outlives_errors_of_other_calls(gpu: ctypes.CDLL) -> None:
    problem = large(17)
    record = simulate(problem, "float64", "cuda")
    first = evprop.backward(record, {"hidden": np.ones(len(record.spikes["hidden"].times))})
    with pytest.raises(RunawayError):
        evprop.simulate(
            *(problem.net, problem.params, problem.spikes),
            duration=problem.duration,
            simulator=evprop.Exact(device="cuda", max_spikes=3),
        )
    again = evprop.backward(record, {"hidden": np.ones(len(record.spikes["hidden"].times))})
    assert all(np.array_equal(first[name], again[name]) for name in first)


def test_devices_are_counted(gpu: ctypes.CDLL, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _core.cuda_count() == 1
    monkeypatch.setenv("EVPROP_EMULATOR_DEVICES", "3")
    assert _core.cuda_count() == 3
    assert "emulated on the CPU (2)" in _core.cuda_device(2)


def test_a_forked_process_leaves_the_memory_alone(gpu: ctypes.CDLL) -> None:
    """CUDA does not survive a fork: what the child inherits is not given back there, and a new pass is refused."""
    record = simulate(example(18), "float64", "cuda")
    held = gpu.emulator_in_use()
    child = os.fork()
    if child == 0:
        try:
            del record
            gc.collect()
            kept = gpu.emulator_in_use() == held
            with pytest.raises(DeviceError, match="forked"):
                evprop.Exact(device="cuda:7")
            os._exit(0 if kept else 1)
        finally:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    assert len(record.spikes["hidden"].times) > 50
