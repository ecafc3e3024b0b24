"""One batch over several processes, on one machine or many, with the same bits for any number of them.

A batch is cut into a fixed number of parts. Each process takes the gradients of some of them, and they are added up in
the order of the parts. What the sum is rounded to depends on the number of parts alone: one process, two or four give
the same bits, and every process ends with the same gradients.

    mpiexec -n 4 evprop train yin-yang --parts 4                                # extra evprop[mpi]

    from mpi4py import MPI
    fit(net, params, data, loss, optimiser, ..., parts=4, comm=MPI.COMM_WORLD)
    value, grads = value_and_grad(net, params, spikes, labels, loss, duration=60.0, parts=4, comm=MPI.COMM_WORLD)

team.py has the sums, mpi.py what is known of the launcher.
"""

from .mpi import abort_together, world
from .parts import value_and_grad
from .team import Team

__all__ = ["Team", "abort_together", "value_and_grad", "world"]
