"""The training loop: batches in a seeded order, exact gradients, one optimiser step each, a look at the
validation set each epoch.

`fit` changes ``params`` in place. Everything it goes by (parameters, optimiser, place in the data, sums so
far, callbacks) is in a checkpoint, so that a run that was interrupted or killed, in the middle of an epoch or
not, goes on to the same bits as one that was not.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .augment import Augmentation
from .callbacks import JsonLog, SaveCheckpoint
from .errors import CheckpointError, ConfigError, UnknownNameError, nearest
from .gradients import value_and_grad
from .interrupts import Interrupts
from .loader import Data, Loader, count_samples
from .losses import Loss
from .metrics import Totals, evaluate, predicts
from .network import Network
from .optim import Optimiser
from .parameters import Array
from .run import Callback, Run
from .simulators import DEFAULT, Simulator


class History:
    """The log of a run: one row (a dict) per epoch; ``history["val_accuracy"]`` is a column."""

    def __init__(self, rows: Sequence[Mapping[str, Any]], finished: bool = True) -> None:
        self.rows = [dict(row) for row in rows]
        self.finished = finished

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.rows)

    def __getitem__(self, column: str) -> NDArray[np.float64]:
        """(epochs,) float64; a dot goes into nested entries: ``history["health.min_vdot"]``."""
        if not self.rows:
            return np.empty(0)
        return np.array([_entry(row, column) for row in self.rows], dtype=np.float64)


def _entry(row: Mapping[str, Any], column: str) -> Any:
    value: Any = row
    for part in column.split("."):
        if not isinstance(value, Mapping) or part not in value:
            raise UnknownNameError(f"no column {column!r} in the log: {nearest(column, row)}")
        value = value[part]
    return value


def fit(
    net: Network,
    params: dict[str, Array],
    data: Data,
    loss: Loss,
    optimiser: Optimiser,
    *,
    epochs: int,
    batch_size: int,
    duration: float,
    seed: int,
    shuffle: bool | str = True,
    simulator: Simulator | None = None,
    max_dw_norm: float | None = None,
    augment: Sequence[Augmentation] = (),
    validation: Data | None = None,
    callbacks: Sequence[Callback] = (),
    run_dir: str | Path | None = None,
    resume: bool | str | Path = False,
) -> History:
    """Train ``params`` in place and return the log.

    Args:
        data, validation: anything with ``spikes`` and ``labels``, such as `evprop.datasets.Dataset`.
        epochs: how many in all, those of the resumed run included.
        duration: ms, of every sample.
        seed: of the order of the samples.
        shuffle: how the seed makes that order (loader.py): True, False or "in_place".
        simulator: `Exact()` unless given.
        max_dw_norm: see `evprop.value_and_grad`.
        augment: what is done to the spikes of each training batch, in this order (augment.py).
        callbacks: see callbacks.py; called in this order.
        run_dir: a folder, made if need be, that gets metrics.jsonl and checkpoint.safetensors.
        resume: True continues from the checkpoint in ``run_dir``, a path from that file. Ctrl-C leaves such a
            checkpoint.
    """
    if run_dir is not None:
        callbacks = (*callbacks, *_run_folder(Path(run_dir), bool(resume)))
    run = Run(
        net=net,
        params=params,
        loss=loss,
        optimiser=optimiser,
        state=optimiser.init(net, params),
        loader=Loader(data, batch_size, seed, shuffle=shuffle, augment=augment, duration=duration),
        epochs=epochs,
        duration=duration,
        simulator=DEFAULT if simulator is None else simulator,
        max_dw_norm=max_dw_norm,
        validation=validation,
        callbacks=_named_apart(callbacks),
    )
    _check(run)
    if resume:
        run.restore(_checkpoint_to_resume(run_dir, resume))
    outcome = "failed"
    with Interrupts() as interrupts:
        try:
            for callback in run.callbacks:
                callback.on_start(run)
            while run.epoch < run.epochs and not run.stop:
                _train_epoch(run, interrupts)
                _finish_epoch(run, interrupts)
            outcome = "finished"
        except KeyboardInterrupt:
            outcome = "interrupted"
            raise
        finally:
            for callback in run.callbacks:
                callback.on_end(run, outcome)
    return History(run.rows)


def _train_epoch(run: Run, interrupts: Interrupts) -> None:
    """The batches of an epoch that are still to do. Ctrl-C is let in only while nothing changes."""
    has_classes = predicts(run.loss)
    for batch in run.loader.batches(run.epoch, start=run.batch):
        started = time.perf_counter()
        with interrupts.allowed():
            value, grads, record = value_and_grad(
                run.net,
                run.params,
                batch.spikes,
                batch.labels,
                run.loss,
                duration=run.duration,
                simulator=run.simulator,
                max_dw_norm=run.max_dw_norm,
                input_times=False,
            )
            correct = int(np.count_nonzero(run.loss.predict(record) == batch.labels)) if has_classes else None
        replaced = [callback.replace_step(run, record) for callback in run.callbacks]
        if not any(replaced):
            run.optimiser.step(run.params, grads, run.state)
        run.totals.add(value, grads, record, correct)
        run.totals.bumped += any(replaced)
        run.totals.max_grad_norm = max(run.totals.max_grad_norm, run.state["grad_norm"])
        run.batch += 1
        run.seconds += time.perf_counter() - started
        for callback in run.callbacks:
            callback.on_batch(run)


def _finish_epoch(run: Run, interrupts: Interrupts) -> None:
    """Look at the validation set, write the row of the log, go on to the next epoch."""
    row: dict[str, Any] = {"epoch": run.epoch + 1, **run.totals.row()}
    if run.validation is not None:
        with interrupts.allowed():
            seen = evaluate(
                run.net, run.params, run.validation, run.loss, duration=run.duration, simulator=run.simulator
            )
        row |= seen.row("val")
    row["learning_rates"] = run.optimiser.learning_rates(run.state)
    row["seconds"] = round(run.seconds, 4)
    run.rows.append(row)
    run.epoch += 1
    run.batch = 0
    run.totals = Totals()
    run.state["epoch"] = run.epoch
    for callback in run.callbacks:
        callback.on_epoch(run, row)


def _check(run: Run) -> None:
    if run.epochs < 0:
        raise ConfigError(f"epochs is {run.epochs}; it must be >= 0.")
    run.loss.check_targets(run.net, run.loader.data.labels)
    if run.validation is not None:
        count_samples(run.validation)
        run.loss.check_targets(run.net, run.validation.labels)


def _run_folder(folder: Path, resume: bool) -> tuple[Callback, ...]:
    checkpoint = folder / "checkpoint.safetensors"
    if checkpoint.exists() and not resume:
        raise CheckpointError(
            f"{folder} already holds a run. Continue it with resume=True, choose another folder, or delete this one."
        )
    folder.mkdir(parents=True, exist_ok=True)
    return JsonLog(folder / "metrics.jsonl"), SaveCheckpoint(checkpoint)


def _checkpoint_to_resume(run_dir: str | Path | None, resume: bool | str | Path) -> Path:
    if not isinstance(resume, bool):
        return Path(resume)
    if run_dir is None:
        raise ConfigError(
            "resume=True needs run_dir=..., the folder of the run to continue; or give resume=PATH of a checkpoint."
        )
    return Path(run_dir) / "checkpoint.safetensors"


def _named_apart(callbacks: Sequence[Callback]) -> tuple[Callback, ...]:
    names = [callback.name for callback in callbacks]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(
                f"two callbacks are named {name!r}; a checkpoint could not tell them apart. Set .name of one of them."
            )
    return tuple(callbacks)
