"""The processes that take one batch together: gradients, figures and evaluation in parts, folded in order.

    value = sum_k (n_k / n) value_k        gradient = sum_k (n_k / n) gradient_k        k = 0, 1, ..., parts - 1

value_k and gradient_k: the means over the n_k samples of part k, which belongs to rank k mod size. The parts of one
round, one of each process, are on their way while the next round is computed.

The sum is shared out as well: the gradient, as one row of numbers, is cut into as many segments as there are
processes; each receives its segment of every part, adds them up in the order of the parts, and hands the sum to all.
So a process receives parts / size + 1 times the size of the gradient in a step, however many processes there are, and
each number is rounded as one process rounds it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError, EvpropError
from ..gradients import batch_step
from ..loader import Batch, Cut, Data, count_samples, edges, take
from ..losses import Loss
from ..metrics import Evaluation, Figures, accuracy, evaluate, predicts
from ..network import Network
from ..parameters import Array
from ..simulators import Simulator
from .mpi import FROM_FIRST

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Team:
    """The processes of an mpi4py communicator, or this one alone, and the parts that they cut a batch into.

    Attributes:
        parts: a multiple of the number of processes. The bits depend on it, so keep it when that number changes.
        comm: an mpi4py communicator; None: this process alone.
    """

    parts: int
    comm: Any = None

    def __post_init__(self) -> None:
        if isinstance(self.parts, bool) or not isinstance(self.parts, int) or self.parts < 1 or self.parts % self.size:
            raise ConfigError(
                f"parts is {self.parts!r}; with {self.size} processes it must be a multiple of {self.size}."
            )

    @classmethod
    def of(cls, parts: int | None, comm: Any) -> Team | None:
        """None where neither is given: this process alone, each batch as a whole."""
        if parts is not None:
            return cls(parts, comm)
        if comm is not None and (size := comm.Get_size()) > 1:
            raise ConfigError(
                f"{size} processes share each batch, but parts is not given. The bits depend on it, so name it: a "
                f"multiple of {size}, to be kept when the number of processes changes."
            )
        return None

    @property
    def size(self) -> int:
        """How many processes."""
        return 1 if self.comm is None else int(self.comm.Get_size())

    @property
    def rank(self) -> int:
        """Which of them this is."""
        return 0 if self.comm is None else int(self.comm.Get_rank())

    def any(self, flag: bool) -> bool:
        """Whether the flag is up in any process."""
        return flag if self.comm is None else any(self.comm.allgather(flag))

    def from_first(self, make: Callable[[], T]) -> T:
        """What ``make`` gives in the first process, in all of them; an `EvpropError` there is raised in all."""
        if self.comm is None:
            return make()
        result: Any = None
        error: EvpropError | None = None
        if self.rank == 0:
            try:
                result = make()
            except EvpropError as raised:
                error = raised
        result, error = self.comm.bcast((result, error))
        if error is not None:
            error.add_note(FROM_FIRST)
            raise error
        return result  # type: ignore[no-any-return]

    @property
    def own(self) -> range:
        """The parts of this process, in order."""
        return range(self.rank, self.parts, self.size)

    def value_and_grad(
        self,
        net: Network,
        params: Mapping[str, Array],
        batch: Cut,
        loss: Loss,
        *,
        duration: float,
        simulator: Simulator | None = None,
        max_dw_norm: float | None = None,
        wrt: Iterable[str] | None = None,
    ) -> tuple[float, dict[str, Array], Figures]:
        """The mean loss over a batch (the same in every process), its gradients, and what a log counts.

        ``batch`` holds the parts of this process (`own`); the other arguments are those of `evprop.value_and_grad`.
        """
        chosen = [name for name, asked in zip(net.layout.names, net.layout.select(wrt), strict=True) if asked]
        total = _Fold(self, {name: params[name] for name in chosen})
        pieces = dict(batch.pieces)
        mine = []
        for k in self.own:
            if k not in pieces:  # the last batch of an epoch may have fewer samples than parts
                total.add(None)
                continue
            piece = pieces[k]
            value, grads, record, correct = batch_step(
                net,
                params,
                piece.spikes,
                piece.labels,
                loss,
                duration=duration,
                simulator=simulator,
                max_dw_norm=max_dw_norm,
                wrt=chosen,
                input_times=False,
            )
            share = len(piece.labels) / batch.size
            total.add(grads, share)
            mine.append((k, share * value, Figures.of(grads, record, loss, piece.labels, correct)))
        found = self._in_order(mine)
        value = 0.0
        for _, weighted, _ in found:
            value += weighted
        return value, total.finish(), Figures.sum([figures for _, _, figures in found])

    def evaluate(
        self,
        net: Network,
        params: Mapping[str, Array],
        data: Data,
        loss: Loss,
        *,
        duration: float,
        simulator: Simulator | None = None,
    ) -> Evaluation:
        """`evprop.metrics.evaluate` with the data set cut into the parts of a batch."""
        n, labels = count_samples(data), np.asarray(data.labels)
        at = edges(n, self.parts)
        mine = []
        for k in self.own:
            part = slice(at[k], at[k + 1])
            if part.start < part.stop:
                piece = Batch(np.arange(part.start, part.stop), take(data.spikes, part), labels[part])
                seen = evaluate(net, params, piece, loss, duration=duration, simulator=simulator)
                mine.append((k, seen, (part.stop - part.start) / n))
        found = self._in_order(mine)
        value, spikes = 0.0, dict.fromkeys(found[0][1].spikes_per_neuron, 0.0)
        for _, seen, share in found:
            value += share * seen.loss
            for name, mean in seen.spikes_per_neuron.items():
                spikes[name] += share * mean
        predictions = np.concatenate([seen.predictions for _, seen, _ in found])
        right = accuracy(predictions, labels) if predicts(loss) else float("nan")
        return Evaluation(value, right, spikes, predictions)

    def _in_order(self, mine: list[Any]) -> list[Any]:
        """What every process found, (part, ...), in the order of the parts."""
        if self.comm is None:
            return mine
        return sorted((one for each in self.comm.allgather(mine) for one in each), key=lambda one: one[0])


class _Fold:
    """The sum of gradients over the parts, in their order: ``add`` one part of this process after the other."""

    def __init__(self, team: Team, like: Mapping[str, Array]) -> None:
        self._team, self._like = team, like
        self._n = sum(array.size for array in like.values())
        self._dtype = np.result_type(*(array.dtype for array in like.values())) if like else np.dtype(np.float64)
        self._length = -(-self._n // team.size)
        self._sum: NDArray[Any] = np.zeros(self._length, self._dtype)
        self._waiting: tuple[Any, NDArray[Any], NDArray[Any]] | None = None

    def add(self, grads: Mapping[str, Array] | None, share: float = 0.0) -> None:
        """A part's gradients, weighted; None: a part without samples."""
        row: NDArray[Any] = np.zeros(self._length * self._team.size, self._dtype)
        if grads is not None and self._n:
            np.concatenate([grads[name].reshape(-1) for name in self._like], out=row[: self._n])
            row *= self._dtype.type(share)
        if self._team.comm is None:
            self._sum += row
            return
        self._fold()
        segments = np.empty((self._team.size, self._length), self._dtype)
        # the row is kept until it has arrived everywhere
        self._waiting = (self._team.comm.Ialltoall(row, segments), segments, row)

    def finish(self) -> dict[str, Array]:
        """The sums, the same in every process."""
        whole = self._sum
        if self._team.comm is not None:
            self._fold()
            whole = np.empty(self._length * self._team.size, self._dtype)
            self._team.comm.Allgather(self._sum, whole)
        found, start = {}, 0
        for name, array in self._like.items():
            found[name] = whole[start : start + array.size].reshape(array.shape)
            start += array.size
        return found

    def _fold(self) -> None:
        if self._waiting is not None:
            request, segments, _ = self._waiting
            request.Wait()
            for segment in segments:
                self._sum += segment
            self._waiting = None
