"""One batch over several processes, on one machine or many, with the same bits for any number of them.

A batch is cut into a fixed number of parts. Each process takes the gradients of some of them, all hand theirs round,
and everyone adds them up in the order of the parts. What the sum is rounded to depends on the number of parts alone:
one process, two or four give the same bits, and every process ends with the same gradients.

    from mpi4py import MPI                                                      # extra evprop[mpi]
    value, grads = value_and_grad(net, params, spikes, labels, loss, duration=60.0, parts=4, comm=MPI.COMM_WORLD)
"""

from .parts import abort_together, value_and_grad

__all__ = ["abort_together", "value_and_grad"]
