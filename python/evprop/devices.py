"""Where a simulator runs: names of devices, and which GPU is whose among the processes of one machine."""

from __future__ import annotations

import os
import re

from . import _core
from .errors import ConfigError, DeviceError

LOCAL_RANKS = ("MPI_LOCALRANKID", "OMPI_COMM_WORLD_LOCAL_RANK", "SLURM_LOCALID")
"""Which process of its machine a process is, as launchers tell it: MPICH and Intel MPI, Open MPI, srun."""


def device_ordinal(device: object) -> int | None:
    """The number of a CUDA device; None for the CPU.

    "cuda:local" is the device with the number that this process has on its machine: one process per device.
    """
    if device == "cpu":
        return None
    found = re.fullmatch(r"cuda(?::(\d{1,4}|local))?", device) if isinstance(device, str) else None
    if found is None:
        raise ConfigError(
            f'Exact: device is {device!r}; known are "cpu", "cuda", "cuda:N" and "cuda:local".'
        )
    return _local_device() if found[1] == "local" else int(found[1] or 0)


def _local_device() -> int:
    rank = next((int(os.environ[name]) for name in LOCAL_RANKS if name in os.environ), 0)
    count = _core.cuda_count()
    if rank >= count:
        raise DeviceError(
            f'device="cuda:local": this is process {rank} of its machine, counted from 0, and sees {count} CUDA '
            f"device{'s' if count > 1 else ''}. Start one process per device; where the scheduler shows each process a "
            'device of its own, give device="cuda".'
        )
    return rank
