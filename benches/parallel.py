"""What a training step costs in several processes: computation, assembly, exchange, bytes.

    EVPROP_DATA=... mpiexec -n 2 python benches/parallel.py benches/words-700.toml --batch 32 --parts 2 --steps 6

The step of `evprop train` on one thread per process. Compute: gradients of the process's own parts. Assembly: making
them, augmentation included. Waiting: time in MPI, for others included. Bytes: what one process hands to others through
the communicator, counted at each call. Slowest over mean: the longest sample's gradient over the mean one, which is
what a core waits for where each has one sample. CPU times where it says so, wall times else. Without mpiexec: one
process.
"""

from __future__ import annotations

import argparse
import pickle
import time
from typing import Any

import numpy as np

import evprop
from evprop.config import load_config
from evprop.distributed import Team, world
from evprop.experiment import Experiment, build_experiment
from evprop.loader import Cut, Loader


class Counted:
    """A communicator that counts what this process hands to others, and the time that it waits."""

    def __init__(self, comm: Any) -> None:
        self._comm, self.bytes, self.seconds = comm, 0, 0.0

    def Get_size(self) -> int:
        return int(self._comm.Get_size())

    def Get_rank(self) -> int:
        return int(self._comm.Get_rank())

    def Ialltoall(self, row: Any, segments: Any) -> Any:
        self.bytes += row.nbytes * (self.Get_size() - 1) // self.Get_size()
        request, outer = self._comm.Ialltoall(row, segments), self

        class Timed:
            def Wait(self) -> None:
                began = time.perf_counter()
                request.Wait()
                outer.seconds += time.perf_counter() - began

        return Timed()

    def Allgather(self, mine: Any, whole: Any) -> None:
        self.bytes += mine.nbytes * (self.Get_size() - 1)
        began = time.perf_counter()
        self._comm.Allgather(mine, whole)
        self.seconds += time.perf_counter() - began

    def allgather(self, thing: Any) -> Any:
        self.bytes += len(pickle.dumps(thing)) * (self.Get_size() - 1)
        began = time.perf_counter()
        found = self._comm.allgather(thing)
        self.seconds += time.perf_counter() - began
        return found


def steps(experiment: Experiment, batches: list[Cut], team: Team) -> float:
    """Wall seconds of the steps of an epoch on parts that are ready."""
    params = experiment.init()
    state = experiment.optimiser.init(experiment.net, params)
    began = time.perf_counter()
    for batch in batches:
        _, grads, _ = team.value_and_grad(
            experiment.net,
            params,
            batch,
            experiment.loss,
            duration=experiment.duration,
            simulator=experiment.simulator,
        )
        experiment.optimiser.step(params, grads, state)
    return time.perf_counter() - began


def optimiser_step(experiment: Experiment) -> float:
    """CPU seconds of one step of the optimiser, which every process takes."""
    params = experiment.init()
    state = experiment.optimiser.init(experiment.net, params)
    grads = {name: params[name] for name in experiment.net.trainable}
    times = []
    for _ in range(5):
        began = time.process_time()
        experiment.optimiser.step(params, grads, state)
        times.append(time.process_time() - began)
    return min(times)


def slowest(experiment: Experiment, batch: Cut) -> float:
    """The longest gradient of one sample over the mean one, by CPU time."""
    params, times = experiment.init(), []
    for _, piece in batch.pieces:
        for b in range(len(piece.labels)):
            began = time.process_time()
            evprop.value_and_grad(
                experiment.net,
                params,
                piece.spikes[b : b + 1],
                piece.labels[b : b + 1],
                experiment.loss,
                duration=experiment.duration,
                simulator=experiment.simulator,
                input_times=False,
            )
            times.append(time.process_time() - began)
    return float(np.max(times) / np.mean(times))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", help="a shipped experiment or a .toml file")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--parts", type=int, default=1)
    parser.add_argument("--steps", type=int, default=5)
    given = parser.parse_args()
    evprop.set_num_threads(1)
    comm = world()
    counted = None if comm is None else Counted(comm)
    team = Team(given.parts, counted)
    experiment = build_experiment(load_config(given.task))
    data = experiment.data["train"][: given.batch * given.steps]
    loader = Loader(data, given.batch, 0, augment=experiment.augment, duration=experiment.duration)
    began = time.process_time()
    batches = list(loader.cut_batches(0, team.parts, team.own))
    assembly = time.process_time() - began
    steps(experiment, batches[:1], team)  # warm
    if counted is not None:
        counted.bytes, counted.seconds = 0, 0.0
    cpu = time.process_time()
    wall = steps(experiment, batches, team)
    cpu = time.process_time() - cpu
    if team.rank:
        return
    own = sum(len(piece.labels) for batch in batches for _, piece in batch.pieces)
    gradient = sum(array.nbytes for name, array in experiment.init().items() if name in experiment.net.trainable)
    print(f"{given.task}, batches of {given.batch} in {team.parts} parts, {team.size} processes of one thread")
    print(f"gradient                     {gradient / 1e6:.3f} MB")
    if counted is not None:
        print(f"sent by a process, per step  {counted.bytes / given.steps / 1e6:.3f} MB")
        print(f"in MPI, per step             {1e3 * counted.seconds / given.steps:.2f} ms")
    print(f"step                         {1e3 * wall / given.steps:.1f} ms wall, {1e3 * cpu / given.steps:.1f} ms CPU")
    optimiser = optimiser_step(experiment)
    busy = cpu - given.steps * optimiser - (counted.seconds if counted else 0.0)
    print(f"gradient of a sample         {1e3 * busy / own:.3f} ms CPU")
    print(f"step of the optimiser        {1e3 * optimiser:.2f} ms CPU")
    print(f"assembly of a sample         {1e3 * assembly / own:.3f} ms CPU")
    print(f"slowest sample over the mean {slowest(experiment, batches[0]):.2f}")


if __name__ == "__main__":
    main()
