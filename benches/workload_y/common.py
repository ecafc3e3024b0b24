"""Workload Y: what every library runs here, and how it is timed.

A Yin-Yang classifier in one training step: 5 inputs with one spike each (x, y, 1-x, 1-y on 0..30 ms and a
bias spike at 0 ms), 120 hidden LIF, 3 output LIF, tau_mem 20 ms, tau_syn 5 ms, threshold 1, a loss on the
first output spikes, batches of 150, the Adam step included. Network and initial weights are those of
Wunderlich & Pehle 2021 (with 120 instead of 200 hidden neurons).

Each script here runs one library alone, on one core and one thread, and prints one JSON line:

    samples_per_s       samples per second of wall time, median over the repeats
    samples_per_cpu_s   samples per second of process CPU time, median over the repeats
    hidden_spikes       hidden spikes per sample, for libraries differ in what they compute
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

N_IN, N_HIDDEN, N_OUT, BATCH = 5, 120, 3, 150
TAU_MEM, TAU_SYN, V_TH = 20.0, 5.0, 1.0  # ms, ms, 1
T_LATE = 30.0  # ms: inputs lie in 0..T_LATE
TAU_0 = 0.5  # ms: sharpness of the first-spike cross entropy
LEARNING_RATE = 1e-5  # tiny, so that the activity measured is that of the initial weights
N_BATCHES = 20


def one_thread() -> None:
    """Pin this process to one core and every thread pool to one thread. Call before importing numpy."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[-1]})
    for name in ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "RAYON", "EVPROP"):
        os.environ[f"{name}_NUM_THREADS"] = "1"
    os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    os.environ["JAX_PLATFORMS"] = "cpu"


def yin_yang(n: int, seed: int) -> tuple[Any, Any]:
    """Points (n, 4) = x, y, 1-x, 1-y in 0..1 and labels (n,), by the generator of Kriener et al. 2022."""
    import numpy as np

    rng = np.random.RandomState(seed)
    points, labels = [], []
    while len(points) < n:
        goal = rng.randint(3)
        while True:
            x, y = rng.rand(2)
            if np.hypot(x - 0.5, y - 0.5) > 0.5:
                continue
            d_right, d_left = np.hypot(x - 0.75, y - 0.5), np.hypot(x - 0.25, y - 0.5)
            yang = d_right <= 0.1 or 0.1 < d_left <= 0.25 or (y > 0.5 and d_right > 0.25)
            if goal == (2 if min(d_right, d_left) < 0.1 else int(yang)):
                break
        points.append((x, y, 1.0 - x, 1.0 - y))
        labels.append(goal)
    return np.array(points), np.array(labels, dtype=np.int64)


def batches(t_late: float = T_LATE, n_batches: int = N_BATCHES) -> list[tuple[Any, Any]]:
    """[(input times (BATCH, N_IN) in ms with the bias spike in the last column, labels (BATCH,)), ...]."""
    import numpy as np

    points, labels = yin_yang(BATCH * n_batches, seed=42)
    times = np.concatenate([points * t_late, np.zeros((len(points), 1))], axis=1)
    return [(times[i : i + BATCH], labels[i : i + BATCH]) for i in range(0, len(times), BATCH)]


def weights(
    hidden: tuple[float, float] = (1.5, 0.78), output: tuple[float, float] = (0.93, 0.1), seed: int = 0
) -> tuple[Any, Any]:
    """Initial weights (N_IN, N_HIDDEN) and (N_HIDDEN, N_OUT), normal with the (mean, std) given."""
    import numpy as np

    rng = np.random.default_rng(seed)
    return rng.normal(*hidden, (N_IN, N_HIDDEN)), rng.normal(*output, (N_HIDDEN, N_OUT))


def measure(step: Callable[[int], None], *, min_seconds: float = 0.6, repeats: int = 7) -> dict[str, float]:
    """Time `step(i)`, one training step on batch i % N_BATCHES that returns when its work is done."""
    for i in range(5):  # compile, fill caches, start the pool
        step(i)
    start = time.perf_counter()
    for i in range(3):
        step(i)
    n = max(3, round(min_seconds * 3 / (time.perf_counter() - start)))
    wall, cpu = [], []
    for _ in range(repeats):
        w, c = time.perf_counter(), time.process_time()
        for i in range(n):
            step(i)
        wall.append((time.perf_counter() - w) / n)
        cpu.append((time.process_time() - c) / n)
    return {
        "samples_per_s": BATCH / statistics.median(wall),
        "samples_per_cpu_s": BATCH / statistics.median(cpu),
        "spread": (max(wall) - min(wall)) / statistics.median(wall),
        "steps": n,
        "repeats": repeats,
    }


def report(library: str, version: str, figures: dict[str, float], **about: Any) -> None:
    """Print the one JSON line."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0
    line = {"library": library, "version": version, "batch": BATCH, **figures, **about}
    line |= {"peak_rss_mib": peak, "python": platform.python_version(), "cores": len(os.sched_getaffinity(0))}
    json.dump({k: round(v, 4) if isinstance(v, float) else v for k, v in line.items()}, sys.stdout)
    print()
