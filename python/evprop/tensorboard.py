"""The log of a run for TensorBoard (extra evprop[tensorboard], written by tensorboardX).

Every number of a row of the log becomes a scalar: "loss", "val_accuracy", "spikes_per_neuron/hidden",
"health/min_vdot", ... with the epoch as its step (the group "*" of the learning rates is "_" there).
`callbacks.JsonLog` holds the same numbers as text.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .errors import MissingExtraError
from .run import Callback, Run


class TensorBoard(Callback):
    """Writes each epoch's row of the log for TensorBoard: ``tensorboard --logdir FOLDER``.

    A resumed run goes on in the same folder, and TensorBoard leaves out what was written after its checkpoint.

    Args:
        folder: of the event files; made if need be.
    """

    first_only = True

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._writer: Any = None

    def on_start(self, run: Run) -> None:
        try:
            from tensorboardX import SummaryWriter
        except ImportError as error:
            raise MissingExtraError(
                "logs for TensorBoard need tensorboardX, which is not installed: pip install 'evprop[tensorboard]'"
            ) from error
        # of a resumed run, what its checkpoint does not know was written in vain; file names count in whole seconds
        self._writer = SummaryWriter(
            str(self.folder),
            purge_step=run.epoch + 1 if run.epoch else None,
            filename_suffix=f".{run.epoch}",
        )

    def on_epoch(self, run: Run, row: Mapping[str, Any]) -> None:
        for name, value in _numbers(row):
            self._writer.add_scalar(name, value, run.epoch)
        self._writer.flush()

    def on_end(self, run: Run, outcome: str) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def _numbers(row: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for key, value in row.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{prefix}{key}/")
        elif isinstance(value, int | float) and math.isfinite(value) and key != "epoch":
            yield f"{prefix}{key}", float(value)


__all__ = ("TensorBoard",)
