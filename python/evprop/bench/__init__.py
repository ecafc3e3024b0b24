"""Whole training steps on fixed workloads: forward pass, loss, backward pass, Adam step.

``Y`` is of Yin-Yang size; ``S-none``, ``S-learn``, ``S-axonal`` and ``S-paper`` are of keyword-spotting size. Weights,
inputs and labels are drawn from fixed seeds. The networks learn meanwhile, as in any training, but the learning rate is
so small that all steps are of the same kind.
"""

from __future__ import annotations

from .speed import Speed, Workload, machine, measure, peak_mib, table
from .workload_s import workload_s
from .workload_y import workload_y

WORKLOADS = ("Y", "S-none", "S-learn", "S-axonal", "S-paper")


def workload(name: str, *, dtype: str = "float32", device: str = "cpu") -> Workload:
    """The workload of that name, one of `WORKLOADS`, ready to be measured on a device."""
    if name == "Y":
        return workload_y(dtype=dtype, device=device)
    return workload_s(name.removeprefix("S-"), dtype=dtype, device=device)


__all__ = [
    "WORKLOADS",
    "Speed",
    "Workload",
    "machine",
    "measure",
    "peak_mib",
    "table",
    "workload",
    "workload_s",
    "workload_y",
]
