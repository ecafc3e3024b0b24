"""Sweeps: many trials of an experiment, each with settings that Optuna draws, made by any number of workers.

A worker is a process that makes one trial after the other; start as many as there are cores, on all machines that see
the sweep's folder:

    experiment.toml          what the trials have in common
    sweep.json               what varies, the seed, how many trials
    journal.log              Optuna's storage, unless a data base is given
    trial-0007/              a run folder (experiment.py), without a look at the test set
    trial-0007.lock          locked by the worker that makes the trial

The value of a trial is its best accuracy on the validation set, as `callbacks.KeepBest` chooses the epoch. The system
lets go of a lock when its process ends, however it ends: a trial that runs by Optuna's book while nobody holds its lock
was left behind, and the next worker that is free goes on from its checkpoint, to the same bits. Settings of trial n are
drawn from (seed, n) and what is known by then, so a single worker makes the same sweep again.
"""

from __future__ import annotations

import contextlib
import json
import math
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .callbacks import KeepBest
from .config import Config, load_config, toml_value
from .errors import CheckpointError, ConfigError, EvpropError, MissingExtraError
from .experiment import build_experiment
from .files import save, write_atomically

try:
    import optuna
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
    from optuna.trial import FrozenTrial, TrialState
except ImportError as error:
    raise MissingExtraError("sweeps need Optuna, which is not installed: pip install 'evprop[sweep]'") from error

__all__ = ["Sweep", "Trial"]

RANGE = ("low", "high", "log", "step")


@dataclass(frozen=True)
class Trial:
    """A trial of a sweep.

    Attributes:
        number: of the trial, from 0.
        settings: {key of the experiment file: value}.
        value: the best validation accuracy, None for a trial that is under way or has failed.
        state: "complete", "running" or "fail".
    """

    number: int
    settings: Mapping[str, Any]
    value: float | None
    state: str

    @property
    def overrides(self) -> list[str]:
        """Its settings as `evprop train --set` takes them."""
        return [f"{key}={toml_value(value)}" for key, value in self.settings.items()]


@dataclass(frozen=True)
class Sweep:
    """A sweep in its folder; `create` makes one, `open` joins one.

    Attributes:
        folder: where it is.
        vary: {key of the experiment file: choices [...] or a range {low, high, log, step}}.
        seed: of the settings that are drawn.
        trials: how many, those that fail included.
        storage: a URL for Optuna (sqlite:///sweep.db, postgresql://...); None: journal.log in the folder.
        name: of the study in that storage.
    """

    folder: Path
    vary: Mapping[str, Any]
    seed: int
    trials: int
    storage: str | None
    name: str

    @classmethod
    def create(
        cls,
        config: Config,
        vary: Mapping[str, Any],
        folder: Path,
        *,
        trials: int,
        seed: int = 0,
        storage: str | None = None,
    ) -> Sweep:
        """A new sweep over an experiment.

        Raises:
            ConfigError: a key that the experiment does not have, a range or choices that are none, no trials.
            CheckpointError: the folder holds a sweep already.
        """
        if trials < 1:
            raise ConfigError(f"trials is {trials}; a sweep makes at least 1.")
        if seed < 0:
            raise ConfigError(f"seed is {seed}; it must be >= 0.")
        if not vary:
            raise ConfigError("nothing varies; name a setting and its values, such as optimiser.lr=[0.001, 0.01].")
        if (folder / "sweep.json").exists():
            raise CheckpointError(f"{folder} already holds a sweep: join it (--join), or choose another folder.")
        drawn = {key: _distribution(key, values) for key, values in vary.items()}
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / "experiment.toml", config.text.encode())
        for key, distribution in drawn.items():
            load_config(folder / "experiment.toml", [f"{key}={toml_value(_first(distribution))}"])
        sweep = cls(folder, dict(vary), seed, trials, storage, f"{config['name']}-{uuid.uuid4().hex[:8]}")
        content = {"name": sweep.name, "vary": sweep.vary, "seed": seed, "trials": trials, "storage": storage}
        write_atomically(folder / "sweep.json", (json.dumps(content, indent=2) + "\n").encode())
        return sweep

    @classmethod
    def open(cls, folder: Path) -> Sweep:
        """The sweep of a folder.

        Raises:
            CheckpointError: there is none, or its description is damaged.
        """
        try:
            content = json.loads((folder / "sweep.json").read_text(encoding="utf-8"))
            return cls(
                folder=folder,
                vary=dict(content["vary"]),
                seed=int(content["seed"]),
                trials=int(content["trials"]),
                storage=content["storage"],
                name=str(content["name"]),
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"{folder} holds no sweep that can be read ({error!r}).") from error

    def work(self, report: Callable[[Trial], None] | None = None) -> None:
        """Make trials until there are enough; ``report`` is called with each that this worker has ended.

        A trial that ends in one of evprop's errors counts as failed; its folder holds error.txt.
        """
        study = self._study()
        while True:
            with _locked(self.folder / "sweep.lock", wait=True), contextlib.ExitStack() as held:
                claimed = self._claim(study, held)
                if claimed is None:
                    return
                keep = held.pop_all()
            with keep:
                trial = self._make(study, claimed)
            if report is not None:
                report(trial)

    def found(self) -> list[Trial]:
        """All trials so far, the best first."""
        trials = [_trial(one) for one in self._study().get_trials(deepcopy=False)]
        return sorted(trials, key=lambda t: (-math.inf if t.value is None else t.value, -t.number), reverse=True)

    def _study(self) -> Any:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        storage: Any = self.storage
        if storage is None:
            from optuna.storages import JournalStorage
            from optuna.storages.journal import JournalFileBackend

            storage = JournalStorage(JournalFileBackend(str(self.folder / "journal.log")))
        return optuna.create_study(
            storage=storage, study_name=self.name, direction="maximize", load_if_exists=True
        )

    def _claim(self, study: Any, held: contextlib.ExitStack) -> FrozenTrial | None:
        """A trial that was left behind, else a new one, its lock taken; None once there are enough."""
        known = study.get_trials(deepcopy=False)
        for one in known:
            if one.state == TrialState.RUNNING:
                try:
                    held.enter_context(_locked(self._lock(one.number), wait=False))
                except BlockingIOError:
                    continue  # its worker lives
                if set(one.params) == set(self.vary):
                    return one
                study.tell(one.number, state=TrialState.FAIL)  # it died before it had settings
        if len(known) >= self.trials:
            return None
        seed = int(np.random.SeedSequence((self.seed, len(known))).generate_state(1)[0])
        study.sampler = optuna.samplers.TPESampler(seed=seed)
        number = study.ask({key: _distribution(key, values) for key, values in self.vary.items()}).number
        held.enter_context(_locked(self._lock(number), wait=False))
        return next(one for one in study.get_trials(deepcopy=False) if one.number == number)

    def _make(self, study: Any, claimed: FrozenTrial) -> Trial:
        trial = _trial(claimed)
        folder = self.folder / f"trial-{trial.number:04d}"
        try:
            value = self._train(trial, folder)
        except EvpropError as error:
            folder.mkdir(exist_ok=True)
            (folder / "error.txt").write_text(f"{error}\n", encoding="utf-8")
            study.tell(trial.number, state=TrialState.FAIL)
            return Trial(trial.number, trial.settings, None, "fail")
        study.tell(trial.number, value)
        return Trial(trial.number, trial.settings, value, "complete")

    def _train(self, trial: Trial, folder: Path) -> float:
        """The trial's value, its run begun or continued in its folder."""
        config = load_config(self.folder / "experiment.toml", trial.overrides)
        experiment = build_experiment(config)
        best = next((c for c in experiment.callbacks if isinstance(c, KeepBest)), None)
        callbacks = experiment.callbacks
        if best is None:
            best = KeepBest()
            callbacks = (*callbacks, best)
        folder.mkdir(exist_ok=True)
        write_atomically(folder / "config.toml", config.text.encode())
        params = experiment.init()
        resume = (folder / "checkpoint.safetensors").exists()
        experiment.fit(params, folder, callbacks=callbacks, resume=resume)
        if best.params is None:
            raise ConfigError("no epoch was trained, so there is none to choose; set training.epochs.")
        save(folder / "best.safetensors", experiment.net, best.params)
        return best.accuracy

    def _lock(self, number: int) -> Path:
        return self.folder / f"trial-{number:04d}.lock"


def _trial(one: FrozenTrial) -> Trial:
    return Trial(one.number, dict(one.params), one.value, one.state.name.lower())


def _distribution(key: str, values: Any) -> Any:
    """What Optuna draws a setting from."""
    if isinstance(values, list) and values:
        if not all(isinstance(value, bool | int | float | str) for value in values):
            raise ConfigError(f"{key}: choices are numbers, texts and truth values, not {values!r}.")
        return CategoricalDistribution(values)
    if not isinstance(values, Mapping) or not {"low", "high"} <= set(values) <= set(RANGE):
        raise ConfigError(
            f"{key}={toml_value(values)} is neither choices such as [64, 128] nor a range such as "
            "{low = 1e-4, high = 1e-2, log = true} (step is allowed too)."
        )
    bounds = (values["low"], values["high"])
    if any(isinstance(bound, bool) or not isinstance(bound, int | float) for bound in bounds):
        raise ConfigError(f"{key}: low and high are {bounds!r}; they must be numbers.")
    whole = all(isinstance(bound, int) for bound in bounds)
    try:
        if whole:
            return IntDistribution(**{"step": 1, **values})
        return FloatDistribution(**values)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{key}: {error}") from error


def _first(distribution: Any) -> Any:
    """One of the values, to try whether the experiment takes such a setting."""
    return distribution.choices[0] if isinstance(distribution, CategoricalDistribution) else distribution.low


@contextlib.contextmanager
def _locked(path: Path, *, wait: bool) -> Iterator[None]:
    """Hold the lock of a file, which ends with this process at the latest.

    Raises:
        BlockingIOError: another process holds it, and ``wait`` is False.
        ConfigError: the system has no such locks.
    """
    try:
        import fcntl
    except ImportError as error:
        raise ConfigError("sweeps need the file locks of Linux or macOS, which this system lacks.") from error
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
