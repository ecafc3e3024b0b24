"""Workload S: what every library runs here, and how it is timed.

700 inputs with 8,000 spikes a sample, uniformly random over 1,000 ms and over channels; 256 hidden LIF, recurrent; 20
leaky integrators; tau 20/5 ms, threshold 1; cross entropy over the mean of the outputs' voltage; batches of 32, Adam
included. Weights N(0.026, 0.01) in, N(0, 0.02) recurrent, N(0, 0.03) out, so that hidden neurons fire some 14 times a
sample. Libraries on a grid take steps of 1 ms.

Each script here runs one library alone, on one core and one thread, and prints one JSON line:

    ms_per_sample       wall time, median over the repeats
    cpu_ms_per_sample   CPU time of the process
    hidden_spikes       spikes of a hidden neuron in a sample: libraries differ in what they compute
    over_import_mib     peak memory less that after the imports
"""

from __future__ import annotations

import json
import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

N_IN, N_HIDDEN, N_OUT, BATCH = 700, 256, 20, 32
N_SPIKES, DURATION, LONGEST_DELAY = 8_000, 1_000.0, 62.0
TAU_MEM, TAU_SYN, V_TH = 20.0, 5.0, 1.0
LEARNING_RATE = 1e-6
DT, STEPS = 1.0, 1_000


def one_thread() -> None:
    """Pin this process to one core and every thread pool to one thread. Call before importing numpy."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[-1]})
    for name in ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "RAYON", "EVPROP"):
        os.environ[f"{name}_NUM_THREADS"] = "1"
    os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    os.environ["JAX_PLATFORMS"] = "cpu"


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0


def events() -> tuple[list[tuple[Any, Any]], Any]:
    """([(times, units) of each sample], labels)."""
    import numpy as np

    rng = np.random.default_rng(0)
    samples = [
        (np.sort(rng.uniform(0.0, DURATION, N_SPIKES)), rng.integers(0, N_IN, N_SPIKES)) for _ in range(BATCH)
    ]
    return samples, rng.integers(0, N_OUT, BATCH)


def frames(dt: float = DT) -> tuple[Any, Any]:
    """The same as counts on a grid: (steps, BATCH, N_IN) float32, and labels."""
    import numpy as np

    samples, labels = events()
    dense = np.zeros((round(DURATION / dt), BATCH, N_IN), dtype=np.float32)
    for b, (times, units) in enumerate(samples):
        np.add.at(dense, ((times / dt).astype(int), b, units), 1.0)
    return dense, labels


def weights() -> dict[str, Any]:
    """(pre, post) arrays ``input``, ``hidden``, ``output``."""
    import numpy as np

    rng = np.random.default_rng(1)
    draw = {
        "input": (0.026, 0.01, (N_IN, N_HIDDEN)),
        "hidden": (0.0, 0.02, (N_HIDDEN, N_HIDDEN)),
        "output": (0.0, 0.03, (N_HIDDEN, N_OUT)),
    }
    return {name: rng.normal(mean, std, shape).astype(np.float32) for name, (mean, std, shape) in draw.items()}


def gain(dt: float = DT) -> float:
    """Libraries that add the current to V as it is need weights times this."""
    import math

    return 1.0 - math.exp(-dt / TAU_MEM)


def measure(step: Callable[[], Any], *, seconds: float = 6.0, repeats: int = 3) -> dict[str, float]:
    """Time `step`, which returns when its work is done."""
    step()  # compile, fill caches
    began = time.perf_counter()
    step()
    n = max(1, round(seconds / repeats / (time.perf_counter() - began)))
    wall, cpu = [], []
    for _ in range(repeats):
        w, c = time.perf_counter(), time.process_time()
        for _ in range(n):
            step()
        wall.append((time.perf_counter() - w) / n)
        cpu.append((time.process_time() - c) / n)
    scale = 1000.0 / BATCH
    return {
        "ms_per_sample": statistics.median(wall) * scale,
        "cpu_ms_per_sample": statistics.median(cpu) * scale,
        "spread": (max(wall) - min(wall)) / statistics.median(wall),
    }


def report(library: str, version: str, figures: dict[str, float], after_import: float, **about: Any) -> None:
    """Print the one JSON line."""
    line = {"library": library, "version": version, "batch": BATCH, **figures, **about}
    line |= {"over_import_mib": peak_mib() - after_import, "python": platform.python_version()}
    json.dump({k: round(v, 4) if isinstance(v, float) else v for k, v in line.items()}, sys.stdout)
    print()
