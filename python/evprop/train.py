"""The training loop: batches in a seeded order, exact gradients, one optimiser step each, a look at the
validation set each epoch.

`fit` changes ``params`` in place. Everything it goes by (parameters, optimiser, place in the data, sums so
far, callbacks) is in a checkpoint, so that a run that was interrupted or killed, in the middle of an epoch or
not, goes on to the same bits as one that was not.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .augment import Augmentation
from .callbacks import JsonLog, SaveCheckpoint
from .distributed import Team
from .errors import CheckpointError, ConfigError, UnknownNameError, nearest
from .gradients import batch_step
from .interrupts import Interrupts
from .loader import Batch, Cut, Data, Loader, count_samples
from .losses import Loss
from .metrics import Evaluation, Figures, Totals, evaluate
from .network import Network
from .optim import Average, Optimiser
from .parameters import Array
from .run import Callback, Perturbs, Run
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
    adversary: Perturbs | None = None,
    average: float | None = None,
    validation: Data | None = None,
    callbacks: Sequence[Callback] = (),
    run_dir: str | Path | None = None,
    resume: bool | str | Path = False,
    parts: int | None = None,
    comm: Any = None,
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
        adversary: what then moves them against the parameters of that moment (`evprop.attacks.Adversary`).
        average: the decay of a moving average of the parameters over the steps (`evprop.optim.Average`), 0.99 for one
            over some 100 steps. Steps are made as without; validated, kept by `KeepBest` and in ``params`` at the end
            is the average. None: none is taken.
        callbacks: see callbacks.py; called in this order.
        run_dir: a folder, made if need be, that gets metrics.jsonl and checkpoint.safetensors.
        resume: True continues from the checkpoint in ``run_dir``, a path from that file. Ctrl-C leaves such a
            checkpoint.
        parts: into which each batch is cut, the memory of a step being that of a part. The bits depend on it, and a
            loss that looks at a batch as a whole (`Rate`) looks at a part. None: a batch is one.
        comm: an mpi4py communicator whose processes all make this call; they share the parts (distributed/), and the
            first one writes ``run_dir``. With the same ``parts`` one process gives the same bits.
    """
    team = Team.of(parts, comm)
    if run_dir is not None:
        folder, resumed = Path(run_dir), bool(resume)
        if team is None:
            _make_folder(folder, resumed)
        else:
            team.from_first(lambda: _make_folder(folder, resumed))
        callbacks = (*callbacks, JsonLog(folder / "metrics.jsonl"), SaveCheckpoint(folder / "checkpoint.safetensors"))
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
        team=team,
        adversary=adversary,
        average=None if average is None else Average(average, params),
    )
    _check(run)
    if resume:
        run.restore(_checkpoint_to_resume(run_dir, resume))
    outcome = "failed"
    with Interrupts() as interrupts:
        try:
            for callback in run.called:
                callback.on_start(run)
            while run.epoch < run.epochs and not run.stop:
                _train_epoch(run, interrupts)
                _finish_epoch(run, interrupts)
            outcome = "finished"
        except KeyboardInterrupt:
            outcome = "interrupted"
            raise
        finally:
            for callback in run.called:
                callback.on_end(run, outcome)
    if run.average is not None:
        for name, mean in run.average.params.items():
            params[name][...] = mean
    return History(run.rows)


def _train_epoch(run: Run, interrupts: Interrupts) -> None:
    """The batches of an epoch that are still to do. Ctrl-C is let in only while nothing changes."""
    called = run.called
    for batch in _batches(run):
        started = time.perf_counter()
        if isinstance(batch, Batch):
            value, grads, figures, replaced = _step_alone(run, _attacked(run, batch), interrupts)
        else:
            value, grads, figures, replaced = *_step_in_parts(run, batch, interrupts), False
        if not replaced:
            run.optimiser.step(run.params, grads, run.state)
        run.totals.add(value, figures)
        run.totals.bumped += replaced
        run.totals.max_grad_norm = max(run.totals.max_grad_norm, run.state["grad_norm"])
        run.batch += 1
        run.seconds += time.perf_counter() - started
        if run.average is not None:
            run.average.add(run.params)
        for callback in called:
            callback.on_batch(run)


def _batches(run: Run) -> Iterator[Batch | Cut]:
    if run.team is None:
        return run.loader.batches(run.epoch, start=run.batch)
    return run.loader.cut_batches(run.epoch, run.team.parts, run.team.own, start=run.batch)


def _step_alone(run: Run, batch: Batch, interrupts: Interrupts) -> tuple[float, Mapping[str, Array], Figures, bool]:
    """Mean loss, gradients and figures of a batch, and whether a callback has made the step."""
    with interrupts.allowed():
        value, grads, record, correct = batch_step(
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
        figures = Figures.of(grads, record, run.loss, batch.labels, correct)
    replaced = [callback.replace_step(run, record) for callback in run.callbacks]
    return value, grads, figures, any(replaced)


def _step_in_parts(run: Run, batch: Cut, interrupts: Interrupts) -> tuple[float, Mapping[str, Array], Figures]:
    """The same from parts. Ctrl-C in any process ends all of them between the same two batches."""
    assert run.team is not None
    _stop_together(run.team, interrupts)
    return run.team.value_and_grad(
        run.net,
        run.params,
        Cut(batch.size, tuple((k, _attacked(run, piece)) for k, piece in batch.pieces)),
        run.loss,
        duration=run.duration,
        simulator=run.simulator,
        max_dw_norm=run.max_dw_norm,
    )


def _stop_together(team: Team, interrupts: Interrupts) -> None:
    if team.any(interrupts.pending):
        interrupts.check()
        raise KeyboardInterrupt


def _attacked(run: Run, batch: Batch) -> Batch:
    """The batch, or a part of one, after the run's adversary, if there is one."""
    if run.adversary is None:
        return batch
    given = (run.net, run.params, batch.spikes, batch.labels, run.loss)
    return replace(batch, spikes=run.adversary.perturb(*given, duration=run.duration, simulator=run.simulator))


def _finish_epoch(run: Run, interrupts: Interrupts) -> None:
    """Look at the validation set, write the row of the log, go on to the next epoch."""
    row: dict[str, Any] = {"epoch": run.epoch + 1, **run.totals.row()}
    if run.validation is not None:
        row |= _validate(run, run.validation, interrupts).row("val")
    row["learning_rates"] = run.optimiser.learning_rates(run.state)
    row["seconds"] = round(run.seconds, 4)
    run.rows.append(row)
    run.epoch += 1
    run.batch = 0
    run.totals = Totals()
    run.state["epoch"] = run.epoch
    for callback in run.called:
        callback.on_epoch(run, row)


def _validate(run: Run, data: Data, interrupts: Interrupts) -> Evaluation:
    given: dict[str, Any] = {"duration": run.duration, "simulator": run.simulator}
    if run.team is not None:
        _stop_together(run.team, interrupts)
        return run.team.evaluate(run.net, run.model, data, run.loss, **given)
    with interrupts.allowed():
        return evaluate(run.net, run.model, data, run.loss, **given)


def _check(run: Run) -> None:
    if run.epochs < 0:
        raise ConfigError(f"epochs is {run.epochs}; it must be >= 0.")
    run.loss.check_targets(run.net, run.loader.data.labels)
    if run.validation is not None:
        count_samples(run.validation)
        run.loss.check_targets(run.net, run.validation.labels)
    if run.team is not None:
        parts, size = run.team.parts, run.loader.batch_size
        if parts > size:
            raise ConfigError(f"parts is {parts} but a batch has {size} samples; use at most that many.")
        for callback in run.callbacks:
            if type(callback).replace_step is not Callback.replace_step:
                raise ConfigError(f"{callback.name} looks at whole batches, which parts={parts} cuts; leave one out.")


def _make_folder(folder: Path, resume: bool) -> None:
    if (folder / "checkpoint.safetensors").exists() and not resume:
        raise CheckpointError(
            f"{folder} already holds a run. Continue it with resume=True, choose another folder, or delete this one."
        )
    folder.mkdir(parents=True, exist_ok=True)


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
