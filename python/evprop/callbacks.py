"""What looks at a training run, or takes part in it: log, checkpoints, progress, the best epoch, help for
silent neurons.

A callback subclasses `Callback` and defines what it needs. Its ``state`` goes into every checkpoint, so that
a resumed run goes on as if nothing had happened.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from .errors import ConfigError, TrainingError, nearest
from .files import write_atomically
from .parameters import Array
from .record import Record
from .run import Callback, Run


def json_line(row: Mapping[str, Any]) -> str:
    """A row as one line of strict JSON: NaN and infinity become null."""

    def plain(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {k: plain(v) for k, v in value.items()}
        if isinstance(value, np.generic):
            value = value.item()
        return None if isinstance(value, float) and not math.isfinite(value) else value

    return json.dumps(plain(row), allow_nan=False)


class JsonLog(Callback):
    """One JSON line per epoch: loss, accuracy, spikes per neuron, learning rates, seconds, and ``health``,
    the state of the gradients.

    The file is flushed after each line. A resumed run first cuts it back to the epochs of its checkpoint.
    """

    first_only = True

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._file: TextIO | None = None

    def on_start(self, run: Run) -> None:
        write_atomically(self.path, "".join(json_line(row) + "\n" for row in run.rows).encode())
        self._file = self.path.open("a", encoding="utf-8")

    def on_epoch(self, run: Run, row: Mapping[str, Any]) -> None:
        if self._file is not None:
            self._file.write(json_line(row) + "\n")
            self._file.flush()

    def on_end(self, run: Run, outcome: str) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


class SaveCheckpoint(Callback):
    """Keeps one checkpoint file up to date: every ``seconds`` of wall time, at the end, and on Ctrl-C.

    When it is written does not change the run. A write that fails (a full disk) leaves the previous file and
    ends the run with `CheckpointError`.
    """

    first_only = True

    def __init__(self, path: str | Path, *, seconds: float = 10.0) -> None:
        self.path = Path(path)
        self.seconds = seconds
        self._due = math.inf

    def on_start(self, run: Run) -> None:
        run.checkpoint().write(self.path)  # a run killed at once can be resumed too
        self._due = time.monotonic() + self.seconds

    def on_batch(self, run: Run) -> None:
        # A full epoch is written by on_epoch, once its row of the log is there too.
        if run.batch < len(run.loader):
            self._write_if_due(run)

    def on_epoch(self, run: Run, row: Mapping[str, Any]) -> None:
        self._write_if_due(run)

    def on_end(self, run: Run, outcome: str) -> None:
        if outcome != "failed":
            run.checkpoint().write(self.path)

    def _write_if_due(self, run: Run) -> None:
        if time.monotonic() >= self._due:
            run.checkpoint().write(self.path)
            self._due = time.monotonic() + self.seconds


class KeepBest(Callback):
    """Keeps the parameters of the epoch that does best on the validation set, averages where the run takes them.

    The best accuracy wins; among equals the smaller loss, then the earlier epoch. After training: ``epoch``
    (counted from 1) and ``params`` (copies), None before the first epoch.

    Args:
        window: compare means over this many epochs up to the one in question. An accuracy on 1,000 samples has a
            standard error of some 0.4 %, so the single best epoch is often an early and lucky one.
    """

    def __init__(self, *, window: int = 1) -> None:
        if window < 1:
            raise ConfigError(f"KeepBest: window is {window}; it must be at least 1 epoch.")
        self.window = window
        self._recent: list[list[float]] = []
        self.epoch: int | None = None
        self.params: dict[str, Array] | None = None
        self._score = (-math.inf, -math.inf)

    @property
    def accuracy(self) -> float:
        """Of that epoch on the validation set, the mean over the window; -inf before the first epoch."""
        return self._score[0]

    def on_start(self, run: Run) -> None:
        if run.validation is None:
            raise ConfigError("KeepBest chooses on the validation set: give fit(validation=...).")

    def on_epoch(self, run: Run, row: Mapping[str, Any]) -> None:
        accuracy = 0.0 if math.isnan(row["val_accuracy"]) else row["val_accuracy"]
        self._recent = [*self._recent, [accuracy, -row["val_loss"]]][-self.window :]
        # rounded, so that windows with the same number of right answers are equal
        score = (
            round(sum(a for a, _ in self._recent) / len(self._recent), 12),
            sum(b for _, b in self._recent),
        )
        if score > self._score and (len(self._recent) == self.window or run.epoch == run.epochs):
            self._score = score
            self.epoch = run.epoch
            self.params = {name: array.copy() for name, array in run.model.items()}

    def state(self) -> dict[str, Any]:
        kept = {f"params.{name}": array for name, array in (self.params or {}).items()}
        return {"epoch": self.epoch, "score": list(self._score), "recent": self._recent, **kept}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.epoch = state["epoch"]
        self._score = (state["score"][0], state["score"][1])
        self._recent = [list(pair) for pair in state["recent"]]
        kept = {k.removeprefix("params."): np.array(v) for k, v in state.items() if k.startswith("params.")}
        self.params = kept or None


class StopWhen(Callback):
    """Ends training once a number in the log reaches ``at_least``, for example StopWhen("accuracy", 1.0)."""

    def __init__(self, column: str, at_least: float) -> None:
        self.column = column
        self.at_least = at_least

    def on_epoch(self, run: Run, row: Mapping[str, Any]) -> None:
        if self.column not in row:
            raise ConfigError(f"StopWhen: no column {self.column!r} in the log: {nearest(self.column, row)}")
        run.stop = run.stop or row[self.column] >= self.at_least


class EarlyStopping(Callback):
    """Ends training after ``patience`` epochs in which a number of the log did not rise above its best so far.

    Args:
        patience: epochs, >= 1 (Mészáros, Knight & Nowotny 2025: 15).
        column: the number; for one that should fall, such as "val_loss", give ``rising=False``. Choose one of the
            validation set, never of the test set.
    """

    def __init__(self, patience: int, *, column: str = "val_accuracy", rising: bool = True) -> None:
        self._watch = _Watch(type(self).__name__, patience, column, rising)

    def on_epoch(self, run: Run, row: Mapping[str, Any]) -> None:
        run.stop = self._watch.waited(row) or run.stop

    def state(self) -> dict[str, Any]:
        return self._watch.state()

    def restore(self, state: Mapping[str, Any]) -> None:
        self._watch.restore(state)


class ReduceOnPlateau(Callback):
    """Multiplies every learning rate by ``factor`` after ``patience`` epochs without a gain, and waits anew.

    Args:
        factor: in (0, 1).
        patience, column, rising: as for `EarlyStopping`.
    """

    def __init__(
        self, factor: float, patience: int, *, column: str = "val_accuracy", rising: bool = True
    ) -> None:
        if not 0.0 < factor < 1.0:
            raise ConfigError(f"ReduceOnPlateau: factor is {factor!r}; it must lie between 0 and 1.")
        self.factor = factor
        self._watch = _Watch(type(self).__name__, patience, column, rising)

    def on_epoch(self, run: Run, row: Mapping[str, Any]) -> None:
        if self._watch.waited(row):
            run.state["scale"] *= self.factor
            self._watch.since = 0

    def state(self) -> dict[str, Any]:
        return self._watch.state()

    def restore(self, state: Mapping[str, Any]) -> None:
        self._watch.restore(state)


class StopOnSilence(Callback):
    """Ends training with a `TrainingError` after an epoch in which a LIF population fired no spike at all.

    No exact gradient reaches such a population again. The last checkpoint on the disk is the one from before.
    """

    def on_epoch(self, run: Run, row: Mapping[str, Any]) -> None:
        for name, mean in row["spikes_per_neuron"].items():
            if mean == 0.0:
                raise TrainingError(
                    f"population {name!r} fired no spike in epoch {row['epoch']}, and without spikes no gradient "
                    "reaches it. Try larger first weights, a smaller learning rate, or losses.PeakVoltage."
                )


class _Watch:
    """How many epochs a number of the log has been without a gain."""

    def __init__(self, who: str, patience: int, column: str, rising: bool) -> None:
        if patience < 1:
            raise ConfigError(f"{who}: patience is {patience}; it must be at least 1 epoch.")
        self.who, self.patience, self.column, self.rising = who, patience, column, rising
        self.best = -math.inf
        self.since = 0

    def waited(self, row: Mapping[str, Any]) -> bool:
        """Count an epoch; True once the patience is over."""
        if self.column not in row:
            raise ConfigError(f"{self.who}: no column {self.column!r} in the log: {nearest(self.column, row)}")
        value = float(row[self.column]) if self.rising else -float(row[self.column])
        self.since = 0 if value > self.best else self.since + 1
        self.best = max(self.best, value)
        return self.since >= self.patience

    def state(self) -> dict[str, Any]:
        return {"best": self.best, "since": self.since}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.best, self.since = float(state["best"]), int(state["since"])


class WeightBumping(Callback):
    """Help for silent neurons: fast & deep's weight bumping (Göltz et al. 2021, Nat. Mach. Intell. 3;
    ``check_bump_weights`` of their code).

    After each batch the LIF populations are looked at in the network's order. For the first one in which more
    than ``max_missing`` of the (sample, neuron) pairs are without a spike, the optimiser step is replaced by

        w += amount          for all weights onto each neuron that was silent in at least one sample of the batch

    and the amount doubles for as long as the same population stays the one. It is no gradient: it is there
    because an exact gradient cannot see a spike that is not yet there.

    Args:
        max_missing: {LIF population: share of missing spikes allowed}; others are left alone. Fast & deep's
            and DelGrad's Yin-Yang nets: 0.3 hidden, 0.0 output.
        amount: the first amount, in the unit of v_th; 5e-4 in both.
        double: False keeps the amount the same.
    """

    def __init__(
        self, max_missing: Mapping[str, float], *, amount: float = 5e-4, double: bool = True
    ) -> None:
        for population, share in max_missing.items():
            if not 0.0 <= share <= 1.0:
                raise ConfigError(
                    f"WeightBumping: max_missing[{population!r}] is {share!r}; it is a share, 0..1."
                )
        if not (math.isfinite(amount) and amount > 0):
            raise ConfigError(f"WeightBumping: amount is {amount!r}; it must be finite and > 0.")
        self.max_missing = dict(max_missing)
        self.amount = amount
        self.double = double
        self._last = ""
        self._next = amount

    def on_start(self, run: Run) -> None:
        spiking = [name for name, population in run.net.populations.items() if population.kind == "lif"]
        for name in self.max_missing:
            if name not in spiking:
                raise ConfigError(f"WeightBumping: {name!r} is no LIF population: {nearest(name, spiking)}")

    def replace_step(self, run: Run, record: Record) -> bool:
        for name in run.net.populations:
            if name not in self.max_missing:
                continue
            pairs = record.batch_size * run.net.population(name).size
            if 1.0 - record.activity(name)[1] / pairs > self.max_missing[name]:
                self._bump(run, name, np.logical_not(record.spikes[name].fired().all(axis=0)))
                return True
        self._last = ""
        return False

    def _bump(self, run: Run, population: str, silent: Array) -> None:
        self._next = 2.0 * self._next if self.double and population == self._last else self.amount
        self._last = population
        for projection in run.net.projections:
            if projection.post != population or "weight" not in projection.trained():
                continue
            weight = run.params[f"{projection.name}.weight"]
            structure = projection.structure()
            chosen = silent if structure is None else silent[structure[1]]
            weight += self._next * chosen.astype(weight.dtype)
            if not projection.self_connections and structure is None:
                np.fill_diagonal(weight, 0.0)

    def state(self) -> dict[str, Any]:
        return {"last": self._last, "next": self._next}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._last, self._next = str(state["last"]), float(state["next"])


class ClipWeights(Callback):
    """Keeps weights within what a chip can hold: after each batch, -limit <= w <= limit.

    Straight-through gradients push a float weight ever further beyond the range of the written one; then it takes
    long to come back. Fast & deep and DelGrad clip after each step as well.

    Args:
        limits: {projection: limit}, in the unit of v_th.
    """

    def __init__(self, limits: Mapping[str, float]) -> None:
        for name, limit in limits.items():
            if not (math.isfinite(limit) and limit > 0):
                raise ConfigError(f"ClipWeights: limits[{name!r}] is {limit!r}; it must be finite and > 0.")
        self.limits = dict(limits)

    def on_start(self, run: Run) -> None:
        known = [p.name for p in run.net.projections]
        for name in self.limits:
            if name not in known:
                raise ConfigError(f"ClipWeights: {name!r} is no projection: {nearest(name, known)}")

    def on_batch(self, run: Run) -> None:
        for name, limit in self.limits.items():
            for params in (run.params, run.model):
                weight = params[f"{name}.weight"]
                np.clip(weight, -limit, limit, out=weight)


class Progress(Callback):
    """A bar (tqdm) with loss, accuracy, spikes per neuron and the time left; without a terminal, a line every
    ``seconds``."""

    first_only = True

    def __init__(self, *, file: TextIO | None = None, seconds: float = 10.0) -> None:
        self._file = file
        self.seconds = seconds
        self._bar: Any = None
        self._due = 0.0
        self._started, self._first = 0.0, 0

    def on_start(self, run: Run) -> None:
        self._out = sys.stderr if self._file is None else self._file
        self._started, self._first = time.monotonic(), run.epoch
        self._due = self._started + self.seconds
        if self._out.isatty():
            from tqdm import tqdm

            self._bar = tqdm(
                total=run.epochs * len(run.loader),
                initial=run.epoch * len(run.loader) + run.batch,
                unit="batch",
                dynamic_ncols=True,
                file=self._out,
            )

    def on_batch(self, run: Run) -> None:
        if self._bar is not None:
            self._bar.update()

    def on_epoch(self, run: Run, row: Mapping[str, Any]) -> None:
        text = f"epoch {run.epoch}/{run.epochs}  {describe(row)}"
        if self._bar is not None:
            self._bar.set_description_str(f"epoch {run.epoch}/{run.epochs}", refresh=False)
            self._bar.set_postfix_str(describe(row), refresh=False)
        elif time.monotonic() >= self._due or run.epoch == run.epochs or run.stop:
            print(f"{text}  {self._time_left(run)}", file=self._out, flush=True)
            self._due = time.monotonic() + self.seconds

    def _time_left(self, run: Run) -> str:
        """From the wall time of this process's epochs, validation and pauses included."""
        done = run.epoch - self._first
        left = 0 if run.stop else run.epochs - run.epoch
        seconds = round((time.monotonic() - self._started) / done * left)
        return f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d} left"

    def on_end(self, run: Run, outcome: str) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def describe(row: Mapping[str, Any]) -> str:
    """A row of the log in a few words: loss, accuracy, validation accuracy, spikes per neuron."""
    words = [f"loss {row['loss']:.4g}"]
    if not math.isnan(row["accuracy"]):
        words.append(f"acc {100 * row['accuracy']:.1f} %")
    if "val_accuracy" in row and not math.isnan(row["val_accuracy"]):
        words.append(f"val {100 * row['val_accuracy']:.1f} %")
    counts = ", ".join(f"{name} {mean:.2f}" for name, mean in row["spikes_per_neuron"].items())
    return "  ".join([*words, f"spikes/neuron {counts}"] if counts else words)


def health_line(row: Mapping[str, Any]) -> str:
    """The gradient-health entry of a row in one line."""
    health = row["health"]
    silent = ", ".join(f"{name} {100 * share:.1f} %" for name, share in health["silent"].items()) or "-"
    smallest = f"{health['min_vdot']:.3g}" if health["min_vdot"] is not None else "-"
    return (
        f"smallest dV/dt at a spike {smallest} per ms; silent: {silent}; weight gradients dropped {health['dropped']}; "
        f"largest gradient norm {health['max_grad_norm']:.3g}; bumped steps {health['bumped_steps']}"
    )


__all__ = (
    "Callback",
    "ClipWeights",
    "EarlyStopping",
    "JsonLog",
    "KeepBest",
    "Progress",
    "ReduceOnPlateau",
    "SaveCheckpoint",
    "StopOnSilence",
    "StopWhen",
    "WeightBumping",
    "describe",
    "health_line",
    "json_line",
)
