"""A training run in progress, and what may look at it or take part in it: `Run` and the base class `Callback`.

Everything that decides how a run goes on is in its `Run`: parameters, optimiser state, place in the data, sums of the
epoch so far, the log, and the state of its callbacks. `Run.checkpoint` and `Run.restore` put it into a file and back.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from .checkpoint import Checkpoint
from .distributed import Team
from .errors import CheckpointError
from .loader import Data, Loader
from .losses import Loss
from .metrics import Totals
from .network import Network
from .optim import Average, Optimiser
from .parameters import Array
from .record import Record, SpikesGiven
from .simulators import Simulator


class Callback:
    """Base of all callbacks: does nothing.

    Attributes:
        name: its key in checkpoints.
        first_only: it writes files or to the terminal, so that of several processes only the first calls it.
    """

    name: str = ""
    first_only: bool = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.name = cls.__name__

    def on_start(self, run: Run) -> None:
        """Before the first batch of this process, after a checkpoint was restored."""

    def replace_step(self, run: Run, record: Record) -> bool:
        """After the gradient of a batch; may change ``run.params``. True: the optimiser leaves this step out."""
        return False

    def on_batch(self, run: Run) -> None:
        """After each batch."""

    def on_epoch(self, run: Run, row: Mapping[str, Any]) -> None:
        """After each epoch, with its row of the log; may set ``run.stop``."""

    def on_end(self, run: Run, outcome: str) -> None:
        """At the very end; ``outcome`` is "finished", "interrupted" (Ctrl-C) or "failed"."""

    def state(self) -> dict[str, Any]:
        """What a checkpoint must keep: a flat dict of arrays and JSON values."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """The inverse of ``state``."""


class Perturbs(Protocol):
    """What `fit` needs of an adversary."""

    def perturb(
        self,
        net: Network,
        params: Mapping[str, Array],
        spikes: Any,
        labels: Any,
        loss: Loss,
        *,
        duration: float,
        simulator: Simulator,
    ) -> SpikesGiven:
        """The spikes of a training batch, changed to the network's disadvantage."""


@dataclass
class Run:
    """A run in progress, as callbacks see it; ``epoch`` and ``batch`` (within the epoch) count what is finished."""

    net: Network
    params: dict[str, Array]
    loss: Loss
    optimiser: Optimiser
    state: dict[str, Any]
    loader: Loader
    epochs: int
    duration: float
    simulator: Simulator
    max_dw_norm: float | None
    validation: Data | None
    callbacks: tuple[Callback, ...]
    team: Team | None = None
    adversary: Perturbs | None = None
    average: Average | None = None
    epoch: int = 0
    batch: int = 0
    totals: Totals = field(default_factory=Totals)
    rows: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
    stop: bool = False

    @property
    def model(self) -> dict[str, Array]:
        """The parameters that are validated and kept: the average over the steps, where the run takes one."""
        return self.params if self.average is None else self.average.params

    @property
    def called(self) -> tuple[Callback, ...]:
        """The callbacks that this process calls."""
        first = self.team is None or self.team.rank == 0
        return tuple(callback for callback in self.callbacks if first or not callback.first_only)

    def checkpoint(self) -> Checkpoint:
        """The run as it stands."""
        progress = {
            "epoch": self.epoch,
            "batch": self.batch,
            "totals": asdict(self.totals),
            "rows": self.rows,
            "seconds": self.seconds,
            "stop": self.stop,
        }
        kept = {callback.name: callback.state() for callback in self.callbacks}
        average = {} if self.average is None else self.average.state()
        return Checkpoint(self.params, self.state, kept, progress, self.setup(), average)

    def restore(self, path: str | Path) -> None:
        """Continue from a checkpoint of the same set-up; of several processes, the first one reads it."""
        saved = Checkpoint.read(path) if self.team is None else self.team.from_first(lambda: Checkpoint.read(path))
        saved.check_setup(self.setup(), path)
        try:
            for name, array in saved.params.items():
                self.params[name][...] = array
            self.optimiser.restore(self.params, self.state, saved.optimiser)
            self.epoch, self.batch = int(saved.progress["epoch"]), int(saved.progress["batch"])
            self.totals = Totals(**saved.progress["totals"])
            self.rows = list(saved.progress["rows"])
            self.seconds = float(saved.progress["seconds"])
            self.stop = bool(saved.progress["stop"])
            for callback in self.callbacks:
                callback.restore(saved.callbacks[callback.name])
            if self.average is not None:
                self.average.restore(saved.average)
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"{path} cannot be restored: {error!r}.") from error

    def setup(self) -> dict[str, Any]:
        """What decides the bits of the run, in a form that can be compared."""
        description = json.dumps(self.net.to_dict(), sort_keys=True).encode()
        also = {
            "adversary": None if self.adversary is None else repr(self.adversary),
            "average": None if self.average is None else self.average.decay,
        }
        return {
            "network": hashlib.sha256(description).hexdigest()[:16],
            "loss": repr(self.loss),
            "optimiser": self.optimiser.settings(),
            "data": _data_checksum(self.loader.data),
            "validation data": None if self.validation is None else _data_checksum(self.validation),
            "batch_size": self.loader.batch_size,
            "seed": self.loader.seed,
            "shuffle": self.loader.shuffle,
            "augmentation": repr(self.loader.augmenter),
            "duration": self.duration,
            "simulator": repr(self.simulator),
            "max_dw_norm": self.max_dw_norm,
            "parts": None if self.team is None else self.team.parts,
            "callbacks": [callback.name for callback in self.callbacks],
        } | {key: value for key, value in also.items() if value is not None}


def _data_checksum(data: Data) -> str:
    parts = data.spikes if isinstance(data.spikes, Mapping) else {"": data.spikes}
    crc = zlib.crc32(np.ascontiguousarray(data.labels).tobytes())
    for name, spikes in parts.items():
        for array in (spikes.times, spikes.units, spikes.offsets):
            crc = zlib.crc32(array.tobytes(), zlib.crc32(name.encode(), crc))
    return f"{crc:08x}"
