"""Timing of a workload's steps, and the table of figures."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Workload:
    """``step(k)`` is training step number k, and returns the mean number of spikes of a sample by population."""

    name: str
    dtype: str
    batch: int
    step: Callable[[int], dict[str, float]]


@dataclass(frozen=True)
class Speed:
    """Figures of a workload: medians over rounds. Times in milliseconds per sample."""

    name: str
    dtype: str
    batch: int
    wall_ms: float
    cpu_ms: float
    spikes_per_sample: dict[str, float]

    @property
    def samples_per_s(self) -> float:
        """Samples per second of wall time."""
        return 1000.0 / self.wall_ms


def measure(workload: Workload, *, seconds: float = 5.0, rounds: int = 5) -> Speed:
    """Measure training steps for about ``seconds`` in all, after a warm-up. Uses the threads that evprop is set to."""
    began = time.perf_counter()
    spikes: list[dict[str, float]] = []
    while len(spikes) < 2 or (time.perf_counter() - began < seconds / 10 and len(spikes) < 20):
        spikes.append(workload.step(len(spikes)))
    done = len(spikes)
    per_step = (time.perf_counter() - began) / done
    steps = max(1, round(seconds / (rounds * per_step)))
    wall, cpu = [], []
    for _ in range(rounds):
        began, used = time.perf_counter(), time.process_time()
        for k in range(steps):
            workload.step(done + k)
        wall.append(time.perf_counter() - began)
        cpu.append(time.process_time() - used)
    per_sample = 1000.0 / (steps * workload.batch)
    mean = {name: statistics.fmean(s[name] for s in spikes) for name in spikes[0]}
    return Speed(
        workload.name,
        workload.dtype,
        workload.batch,
        statistics.median(wall) * per_sample,
        statistics.median(cpu) * per_sample,
        mean,
    )


def peak_mib() -> float:
    """Largest resident memory of this process so far, in MiB."""
    import resource  # not on Windows

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0


def machine() -> str:
    """Name of the processor, number of cores, operating system."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        name = next((line.split(":", 1)[1].strip() for line in lines if "model name" in line), name)
    return f"{name}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"


def table(speeds: Iterable[Speed]) -> str:
    """A Markdown table."""
    lines = [
        "| workload | type | batch | spikes per sample | ms per sample | CPU ms per sample | samples/s |",
        "|---|---|---|---|---|---|---|",
    ]
    for s in speeds:
        spikes = ", ".join(f"{name} {count:,.1f}" for name, count in s.spikes_per_sample.items())
        lines.append(
            f"| {s.name} | {s.dtype} | {s.batch} | {spikes} | {s.wall_ms:.4g} | {s.cpu_ms:.4g} "
            f"| {s.samples_per_s:,.0f} |"
        )
    return "\n".join(lines)
