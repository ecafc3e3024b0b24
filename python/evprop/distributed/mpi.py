"""What a program needs to know of the MPI that it was started by, and how its processes end together."""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..errors import EvpropError, MissingExtraError

LAUNCHERS = ("PMI_SIZE", "PMIX_RANK", "OMPI_COMM_WORLD_SIZE")
"""One of these is set in every process that mpiexec or srun started (MPICH and Intel MPI, PMIx, Open MPI)."""

FROM_FIRST = "raised in the first process"
"""The note on an exception that the others have from it."""


def world() -> Any:
    """MPI.COMM_WORLD in a process that an MPI launcher started, None in any other."""
    if not any(name in os.environ for name in LAUNCHERS):
        return None
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:  # RuntimeError: mpi4py without an MPI library
        raise MissingExtraError(
            f"this process was started by MPI, but mpi4py cannot be imported ({error}): pip install 'evprop[mpi]', "
            "and an MPI library such as mpich"
        ) from error
    return MPI.COMM_WORLD


@contextmanager
def abort_together(comm: Any) -> Iterator[None]:
    """An exception in one process ends all of them: without it the others would wait for it for ever.

    What evprop raises on purpose is printed as a message, anything else as a traceback; what `Team.from_first` handed
    round is left to the first process to say.
    """
    try:
        yield
    except BaseException as error:
        rank = comm.Get_rank()
        if rank and FROM_FIRST in getattr(error, "__notes__", ()):
            time.sleep(30.0)  # it is about to end this process too
        if isinstance(error, EvpropError):
            print(f"Error in process {rank}: {error}", file=sys.stderr)
        else:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        comm.Abort(1)
        os._exit(1)  # Abort may come back, and to finalise MPI would wait for the others
