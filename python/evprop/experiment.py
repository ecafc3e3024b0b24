"""From an experiment file to a run folder: build, train, evaluate, draw.

The run folder holds

    config.toml              the experiment with every change made on the command line
    environment.json         version, seed, command, machine
    metrics.jsonl            a line per epoch (callbacks.JsonLog)
    checkpoint.safetensors   all that is needed to go on (checkpoint.py)
    final.safetensors        network and parameters after the last epoch (evprop.load)
    best.safetensors         the same for the best epoch on the validation set, with [callbacks.KeepBest]
    tensorboard/             the log again, for TensorBoard, with [training] tensorboard = true
    result.json              figures on the test set, training time
    *.png                    pictures, with the extra evprop[plot]
"""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from . import __version__, num_threads
from .augment import Augmentation
from .callbacks import Callback, KeepBest, Progress, health_line
from .config import CALLBACKS, DATA, Config, arguments_of, build, load_config
from .datasets import Dataset, merge_channels, mnist_16x16, read_hdf5, recordings, yin_yang, yin_yang_encoding
from .distributed import Team
from .errors import CheckpointError, CheckpointNotFoundError, DatasetError, MissingExtraError
from .files import load, save, write_atomically
from .losses import Loss
from .metrics import Evaluation, evaluate
from .network import Network
from .optim import Optimiser
from .parameters import Array
from .populations import POPULATIONS
from .projections import Dense
from .simulators import Exact, Simulator, simulate
from .tensorboard import TensorBoard
from .train import History, fit


@dataclass(eq=False)
class Experiment:
    """Everything that a config describes but its data."""

    config: Config
    net: Network
    loss: Loss
    optimiser: Optimiser
    simulator: Simulator
    augment: tuple[Augmentation, ...]
    callbacks: tuple[Callback, ...]

    @cached_property
    def data(self) -> dict[str, Dataset]:
        """"train" and "test", and "validation" where there is one; read or made when first asked for."""
        return _data(self.config)

    @property
    def seed(self) -> int:
        """The seed of the first parameters and of the order of samples."""
        return int(self.config["seed"])

    @property
    def duration(self) -> float:
        """Of each sample, in ms."""
        return float(self.config["duration"])

    def init(self) -> dict[str, Array]:
        """The first parameters."""
        return self.net.init(self.seed, dtype=self.simulator.dtype)

    def fit(
        self,
        params: dict[str, Array],
        folder: Path,
        *,
        callbacks: Sequence[Callback],
        resume: bool = False,
        comm: Any = None,
    ) -> History:
        """Train the parameters in a run folder, by the settings of the file (`evprop.train.fit`)."""
        how = self.config["training"]
        return fit(
            self.net,
            params,
            self.data["train"],
            self.loss,
            self.optimiser,
            epochs=how["epochs"],
            batch_size=how["batch_size"],
            duration=self.duration,
            seed=self.seed,
            shuffle=how.get("shuffle", True),
            simulator=self.simulator,
            max_dw_norm=how.get("max_dw_norm"),
            augment=self.augment,
            average=how.get("average"),
            validation=self.data.get("validation"),
            callbacks=callbacks,
            run_dir=folder,
            resume=resume,
            parts=how.get("parts"),
            comm=comm,
        )

    def evaluate(self, params: dict[str, Array], data: Dataset, team: Team | None = None) -> Evaluation:
        """Figures on a data set, which the processes of a team share."""
        look = evaluate if team is None else team.evaluate
        return look(self.net, params, data, self.loss, duration=self.duration, simulator=self.simulator)


def build_experiment(config: Config) -> Experiment:
    """Make the objects that a config describes."""
    populations = {
        name: build(table, f"populations.{name}", POPULATIONS)
        for name, table in config["populations"].items()
    }
    projections = [
        build({"name": name, **table}, f"projections.{name}", {"Dense": Dense})
        for name, table in config["projections"].items()
    ]
    extra = config.values.get("callbacks", {})
    return Experiment(
        config=config,
        net=Network(populations, projections),
        loss=sum(config.build_list("regularisers"), start=config.build("loss")),
        optimiser=config.build("optimiser"),
        simulator=config.build("simulator") if "simulator" in config.values else Exact(),
        augment=config.build_list("augment"),
        callbacks=tuple(build({"kind": k, **t}, f"callbacks.{k}", CALLBACKS) for k, t in extra.items()),
    )


def _data(config: Config) -> dict[str, Dataset]:
    maker, arguments = arguments_of(config["data"], "data", DATA)
    if maker is yin_yang:
        shared = {
            k: v for k, v in arguments.items() if k not in ("size", "seed")
        }  # these two: training set only
        return {
            "train": yin_yang("train", **arguments),
            "validation": yin_yang("validation", **shared),
            "test": yin_yang("test", **shared),
        }
    if maker in (recordings, mnist_16x16):
        found: dict[str, Dataset] = maker(**arguments)
        return {name: _cropped(part, float(config["duration"])) for name, part in found.items()}
    whole = config.build("data")
    return {"train": whole, "test": whole}


def _cropped(data: Dataset, duration: float) -> Dataset:
    """The data set within the trial; one that goes on for longer says on stderr what it loses."""
    cropped = data.crop(duration)
    if cropped.spikes.dropped:
        share = 100 * cropped.spikes.dropped / data.spikes.n_spikes
        print(
            f"{data.name}: {cropped.spikes.dropped} of {data.spikes.n_spikes} spikes ({share:.2g} %) come after the "
            f"duration of {duration:g} ms and are left out",
            file=sys.stderr,
        )
    return cropped


@dataclass(frozen=True)
class Result:
    """What a finished run comes to: figures on the test set after the last and the best epoch, and the log."""

    folder: Path
    last: Evaluation
    best: Evaluation | None
    best_epoch: int | None
    seconds: float
    history: History
    processes: int = 1

    def lines(self) -> list[str]:
        """The result in a few lines of text."""
        text = []
        if self.best is not None:
            text.append(
                f"test accuracy {100 * self.best.accuracy:.2f} % "
                f"(epoch {self.best_epoch}, chosen on the validation set)"
            )
        text.append(f"test accuracy {100 * self.last.accuracy:.2f} % (last epoch, {len(self.history)})")
        where = "" if self.processes == 1 else f" in each of {self.processes} processes"
        text.append(f"training took {self.seconds:.1f} s on {num_threads()} threads{where}")
        text.append(f"gradient health: {health_line(self.history.rows[-1])}" if len(self.history) else "")
        text.append(f"run folder {self.folder}")
        return [line for line in text if line]


def train_experiment(
    config: Config,
    folder: Path,
    *,
    resume: bool = False,
    pictures: bool = True,
    progress: bool = True,
    command: Sequence[str] = (),
    comm: Any = None,
) -> Result:
    """Train in a run folder (see the module's text) and evaluate on the test set.

    ``comm``: an mpi4py communicator whose processes all make this call; the first one writes.
    """
    experiment = build_experiment(config)
    data = experiment.data  # what is wrong with the data is said before a folder is made
    team = Team.of(config["training"].get("parts"), comm)
    size = 1 if team is None else team.size
    if team is None:
        _start_folder(config, folder, experiment, command, resume, size)
    else:
        team.from_first(lambda: _start_folder(config, folder, experiment, command, resume, size))
    params = experiment.init()
    best = next((c for c in experiment.callbacks if isinstance(c, KeepBest)), None)
    watching: list[Callback] = [Progress()] if progress else []
    if config["training"].get("tensorboard", False):
        watching.append(TensorBoard(folder / "tensorboard"))
    history = experiment.fit(params, folder, callbacks=(*experiment.callbacks, *watching), resume=resume, comm=comm)
    best_params = best.params if best is not None else None
    result = Result(
        folder=folder,
        last=experiment.evaluate(params, data["test"], team),
        best=None if best_params is None else experiment.evaluate(best_params, data["test"], team),
        best_epoch=None if best is None else best.epoch,
        seconds=history.rows[-1]["seconds"] if len(history) else 0.0,
        history=history,
        processes=size,
    )
    if team is None or team.rank == 0:
        save(folder / "final.safetensors", experiment.net, params)
        if best_params is not None:
            save(folder / "best.safetensors", experiment.net, best_params)
        _write_result(result)
        if pictures:
            draw(experiment, params if best_params is None else best_params, history, folder)
    return result


def _start_folder(
    config: Config, folder: Path, experiment: Experiment, command: Sequence[str], resume: bool, processes: int
) -> None:
    if resume:
        if not (folder / "checkpoint.safetensors").exists():
            raise CheckpointNotFoundError(f"{folder} holds no checkpoint to continue from.")
        return
    if (folder / "config.toml").exists():
        raise CheckpointError(
            f"{folder} already holds a run: continue it with --resume, or choose another folder."
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CheckpointError(f"the run folder {folder} cannot be made: {error.strerror}.") from error
    write_atomically(folder / "config.toml", config.text.encode())
    environment = {
        "evprop": __version__,
        "seed": experiment.seed,
        "command": list(command),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "machine": platform.platform(),
        "processor": platform.machine(),
        "cpus": os.cpu_count(),
        "processes": processes,
        "threads": num_threads(),
        "simd": _simd_level(),
        "trainable parameters": experiment.net.n_trainable,
    }
    write_atomically(folder / "environment.json", (json.dumps(environment, indent=2) + "\n").encode())


def _simd_level() -> str:
    from ._core import simd_level

    return simd_level()


def _write_result(result: Result) -> None:
    content: dict[str, Any] = {
        "epochs": len(result.history),
        "training_seconds": result.seconds,
        "test_accuracy_last": result.last.accuracy,
        "test_loss_last": result.last.loss,
    }
    if result.best is not None:
        content |= {
            "test_accuracy_best": result.best.accuracy,
            "test_loss_best": result.best.loss,
            "best_epoch": result.best_epoch,
        }
    write_atomically(result.folder / "result.json", (json.dumps(content, indent=2) + "\n").encode())


def open_run(folder: Path, changes: Sequence[str] = ()) -> tuple[Experiment, dict[str, Array]]:
    """The experiment of a finished run and its parameters: those of the best epoch, else the last.

    ``changes``: of the experiment, as `load_config` takes them.
    """
    config = load_config(folder / "config.toml", changes)
    for name in ("best.safetensors", "final.safetensors"):
        if (folder / name).exists():
            return build_experiment(config), load(folder / name)[1]
    raise CheckpointNotFoundError(
        f"{folder} holds no trained network yet; finish the run: evprop train --resume {folder}"
    )


def open_data(experiment: Experiment, path: Path) -> Dataset:
    """A file for a trained network: .npz of `Dataset.save`, or HDF5 (`read_hdf5`), cropped to the trial.

    Raises:
        DatasetError: channels or classes that are not those of the network.
    """
    net = experiment.net
    n_units, n_classes = (sum(net.populations[name].size for name in names) for names in (net.inputs, net.outputs))
    if path.suffix == ".npz":
        data = Dataset.load(path)
    else:
        given = experiment.config["data"]
        merge = given.get("merge", 1)
        whole = read_hdf5(path, n_units=n_units * merge)
        data = merge_channels(whole, merge, given.get("every", 1), given.get("phase", 0))
    if data.spikes.n_units != n_units:
        raise DatasetError(f"{path} has {data.spikes.n_units} channels, the network has {n_units} inputs.")
    top = int(data.spikes.units.max(initial=0))
    if 2 * top < n_units and len(data) and data.spikes.n_spikes > 10 * n_units:
        raise DatasetError(
            f"{path}: no spike comes from a channel above {top}, and the network has {n_units} inputs; these are "
            "recordings of fewer channels."
        )
    if data.class_names and data.n_classes != n_classes:
        raise DatasetError(
            f"{path} has {data.n_classes} classes ({', '.join(data.class_names[:4])}, ...), the network has "
            f"{n_classes} outputs."
        )
    return _cropped(data, experiment.duration)


def draw(experiment: Experiment, params: dict[str, Array], history: History, folder: Path) -> list[Path]:
    """Write the pictures of a run; without Matplotlib one line on stderr instead."""
    from . import plot

    test = experiment.data["test"]
    record = simulate(
        experiment.net,
        params,
        test.spikes[:1],
        duration=experiment.duration,
        simulator=experiment.simulator,
    )
    try:
        figures = {
            "weights-and-delays": plot.histograms(experiment.net, experiment.init(), params),
            "raster": plot.raster(record, title=f"a test sample of class {_class_name(test, 0)}"),
        }
        if len(history):
            figures["learning-curves"] = plot.learning_curves(history)
        if experiment.config["data.kind"] == "yin_yang":
            data = experiment.config["data"]
            encoding = yin_yang_encoding(data.get("encoding", "wunderlich_pehle"), data.get("tau_syn"))
            figures["decision-map"] = plot.decision_map(
                experiment.net,
                params,
                experiment.loss,
                encoding.encode,
                duration=experiment.duration,
                simulator=experiment.simulator,
                points=test.points,
                labels=test.labels,
            )
    except MissingExtraError as error:
        print(f"no pictures: {error}", file=sys.stderr)
        return []
    written = []
    for name, figure in figures.items():
        path = folder / f"{name}.png"
        figure.savefig(path)
        written.append(path)
    return written


def _class_name(data: Dataset, sample: int) -> str:
    label = int(data.labels[sample])
    return data.class_names[label] if data.class_names else str(label)


def new_folder(root: Path, name: str) -> Path:
    """A folder below ``root`` that is not there yet: NAME-1, NAME-2, ..."""
    k = 1
    while (root / f"{name}-{k}").exists():
        k += 1
    return root / f"{name}-{k}"


__all__ = (
    "Experiment",
    "Result",
    "build_experiment",
    "draw",
    "new_folder",
    "open_data",
    "open_run",
    "train_experiment",
)
