"""From a run folder to the chip: quantise, search scales, fine-tune, compare, place, cost, write the file.

The test set is only looked at. Scales are searched on training samples: those that bring the classes nearest to those
in floating point where the run's loss is a `CrossEntropy`, else spike trains. Fine-tuning begins with gains of what the
readout listens to, if asked for (`fit_readout_gains`); it trains on the training set, its rates falling to 0, and its
epoch with the smallest loss on the validation set is kept, none where each is larger than before (the last epoch where
there is no such set).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from .callbacks import Callback
from .config import load_config
from .datasets import Dataset
from .errors import ConfigError
from .experiment import Experiment, open_data, open_run
from .hardware import (
    COST_TABLES,
    PUBLISHED,
    Counts,
    Imitation,
    Loihi2,
    Loihi2Program,
    Placement,
    Quantised,
    count,
    estimate,
    fit_readout_gains,
    place,
    save_net,
    search_scales,
    spike_agreement,
)
from .hardware.loihi2.synapses import MAX_DELAY
from .hardware.readout_gains import linear_readout
from .losses import CrossEntropy, Loss
from .metrics import Evaluation, evaluate
from .parameters import Array
from .run import Run
from .simulators import Exact, Simulator, simulate
from .train import fit

SCALES = ("search", "max", "percentile")
RATES = {"labels": 0.3, "float": 0.02}
"""What fine-tuning may aim at, and its first learning rates as a share of the run's (docs/results/loihi2.md)."""
NETX_BIAS_EXPONENT = 6
OF_THE_NETWORK = ("populations", "projections", "loss", "simulator", "duration")
"""Settings that are none of fine-tuning's."""


@dataclass(frozen=True)
class Settings:
    """How to deploy.

    Attributes:
        dt: ms; ``bits``: of a weight; ``clip_delays``: shorten those beyond 62 steps.
        scale: "search" (`search_scales`, by the classes of a `CrossEntropy`, else by spike trains), "max" or
            "percentile".
        samples: training samples for the search, and test samples for agreement and counts.
        within: ms; spikes nearer than this agree.
        readout: training samples to fit gains on (`fit_readout_gains`) before the first epoch of fine-tuning; 0: none.
        epochs: of fine-tuning.
        towards: what it aims at. "labels": those of the training set, by the run's loss: training goes on, and the
            network may become a better or a worse one. "float": the answers of the trained network in floating point
            (`Imitation`), for runs with `CrossEntropy`.
        rate: its first learning rates as a share of the run's, `RATES` unless given. Weights must be able to move by
            about a step of the chip's levels, else rounding hides that they move at all; and while the rate is high
            the loss on the validation set may rise, so a few epochs of a high one gain nothing.
        changes: of the run's experiment, as ``evprop train --set`` takes them: what fine-tuning shall do otherwise than
            training did, such as "training.average=0.99" or "data.all_phases=true".
    """

    dt: float = 1.0
    bits: int = 8
    clip_delays: bool = False
    scale: str = "search"
    samples: int = 200
    within: float = 2.0
    readout: int = 0
    epochs: int = 0
    towards: str = "labels"
    rate: float | None = None
    changes: tuple[str, ...] = ()

    @property
    def first_rate(self) -> float:
        """``rate``, or that of `RATES`."""
        return RATES[self.towards] if self.rate is None else self.rate


@dataclass(frozen=True)
class Deployed:
    """One state of the network on the chip's model: before or after fine-tuning."""

    params: Mapping[str, Array]
    simulator: Loihi2
    quantised: Quantised
    seen: Evaluation
    agreement: Mapping[str, float]


@dataclass(frozen=True)
class Deployment:
    """What `deploy` found."""

    data: Dataset
    exact: Evaluation
    quantised: Deployed
    tuned: Deployed | None
    placement: Placement
    counts: Counts
    out: Path | None
    settings: Settings

    def lines(self) -> list[str]:
        """The result in lines of text."""
        final = self.tuned or self.quantised
        asked = self.settings
        text = [f"{self.data.name}: {len(self.data)} samples, dt {asked.dt:g} ms, {asked.bits}-bit weights"]
        text.append(f"{'':<12}{'accuracy':>10}{'loss':>10}   spikes within {asked.within:g} ms of the exact ones")
        rows: list[tuple[str, Evaluation, Mapping[str, float]]] = [("float", self.exact, {})]
        rows.append(("quantised", self.quantised.seen, self.quantised.agreement))
        if self.tuned is not None:
            rows.append(("fine-tuned", self.tuned.seen, self.tuned.agreement))
        for name, seen, agreement in rows:
            shares = ", ".join(f"{population} {share:.1%}" for population, share in agreement.items())
            text.append(f"{name:<12}{100 * seen.accuracy:>8.2f} %{seen.loss:>10.4g}   {shares or '-'}")
        text += str(final.quantised.report).splitlines()
        text += str(self.placement).splitlines()
        totals = self.counts.totals
        text.append(
            "a sample: "
            + ", ".join(f"{totals[name] / self.counts.samples:,.0f} {name}s" for name in list(totals) if totals[name])
        )
        text += [str(estimate(self.counts, table)) for table in COST_TABLES.values()]
        text += [f"published: {published}" for published in PUBLISHED]
        if self.out is not None:
            text.append(f"written: {self.out}")
        return text


def deploy(run: Path, settings: Settings, *, out: Path | None = None, data: Path | None = None) -> Deployment:
    """Deploy the trained network of a run folder; ``data``: a file in place of the run's own test set (`open_data`)."""
    if settings.scale not in SCALES:
        raise ConfigError(f"scale is {settings.scale!r}; it must be one of {', '.join(SCALES)}.")
    if settings.towards not in RATES:
        raise ConfigError(f"towards is {settings.towards!r}; it must be one of {', '.join(RATES)}.")
    if settings.epochs < 0 or not settings.first_rate > 0.0:
        raise ConfigError(
            f"fine-tuning of {settings.epochs} epochs at {settings.first_rate} times the rates makes no sense."
        )
    if settings.readout < 0:
        raise ConfigError(f"gains of a readout cannot be fitted to {settings.readout} samples.")
    write = _writer(out, settings)  # a missing extra is said now and not after training
    experiment, params = open_run(run, settings.changes)
    _check_changes(run, experiment)
    aim = _aim(experiment, params, settings)  # what cannot be imitated is said now too
    if settings.readout:
        linear_readout(experiment.net, experiment.config.build("loss"))
        if "validation" not in experiment.data:
            raise ConfigError("gains of a readout are chosen on a validation set; this run has none.")
    test = experiment.data["test"] if data is None else open_data(experiment, data)
    exact = experiment.evaluate(params, test)
    simulator = _simulator(experiment, params, settings)
    quantised = _state(experiment, params, params, simulator, test, settings)
    tuned = None
    if settings.readout or settings.epochs:
        better = params
        if settings.readout:
            better = _with_gains(experiment, params, quantised.simulator, settings)
        if settings.epochs:
            better = fine_tune(run, experiment, better, quantised.simulator, aim, settings)
        tuned = _state(experiment, params, better, quantised.simulator, test, settings)
    final = tuned or quantised
    placement = place(final.quantised.program)
    record = final.simulator.simulate(
        experiment.net, final.params, test.spikes[: settings.samples], duration=experiment.duration
    )
    counts = count(record, placement)
    if out is not None:
        write(out, final.quantised.program)
    return Deployment(test, exact, quantised, tuned, placement, counts, out, settings)


def _check_changes(run: Path, experiment: Experiment) -> None:
    trained = load_config(run / "config.toml").values
    for key in OF_THE_NETWORK:
        if experiment.config.values.get(key) != trained.get(key):
            raise ConfigError(
                f"{key} belongs to the trained network and stays; fine-tuning may change data, augment, regularisers, "
                "optimiser, training and seed."
            )


def _writer(out: Path | None, settings: Settings) -> Callable[[Path, Loihi2Program], None]:
    """What writes a file of this name: NIR for .nir, else NetX."""
    if out is None or out.suffix != ".nir":
        return save_net
    from .interop.nir import save_nir

    return partial(save_nir, dt=settings.dt)


def _simulator(experiment: Experiment, params: dict[str, Array], settings: Settings) -> Loihi2:
    """With the scales that the settings ask for, fixed from here on."""
    simulator = Loihi2(
        dt=settings.dt,
        num_weight_bits=settings.bits,
        clip_delays=settings.clip_delays,
        bias_exp=NETX_BIAS_EXPONENT,
        dtype=experiment.simulator.dtype,
    )
    if settings.scale != "search":
        chosen = replace(simulator, scale=settings.scale)
        return replace(chosen, scale=chosen.quantise(experiment.net, params).scales)
    found = search_scales(
        experiment.net,
        params,
        experiment.data["train"].spikes[: settings.samples],
        simulator,
        duration=experiment.duration,
        **_compared(experiment, settings),
    )
    return found.simulator


def _compared(experiment: Experiment, settings: Settings) -> dict[str, Any]:
    """What tells scales apart. A few hundred samples tell divergences apart to about a tenth: one round, for the second
    would choose among chances."""
    loss = experiment.config.build("loss")
    return {"imitate": loss, "rounds": 1} if isinstance(loss, CrossEntropy) else {"within": settings.within}


def _with_gains(
    experiment: Experiment, params: dict[str, Array], simulator: Loihi2, settings: Settings
) -> dict[str, Array]:
    data = experiment.data
    return fit_readout_gains(
        *(experiment.net, params, data["train"].spikes[: settings.readout], data["validation"].spikes),
        *(simulator, experiment.config.build("loss")),
        duration=experiment.duration,
        reference=experiment.simulator,
    ).params


def _state(
    experiment: Experiment,
    exact_params: dict[str, Array],
    params: dict[str, Array],
    simulator: Loihi2,
    test: Dataset,
    settings: Settings,
) -> Deployed:
    net, duration = experiment.net, experiment.duration
    seen = evaluate(net, params, test, experiment.loss, duration=duration, simulator=simulator)
    some = test.spikes[: settings.samples]
    whole = Exact(dtype=experiment.simulator.dtype)  # the run's own may end samples early
    wanted = simulate(net, exact_params, some, duration=duration, simulator=whole).spikes
    found = simulate(net, params, some, duration=duration, simulator=simulator).spikes
    agreement = {
        name: spike_agreement(wanted[name], found[name], within=settings.within)
        for name, population in net.populations.items()
        if population.kind == "lif"
    }
    return Deployed(params, simulator, simulator.quantise(net, params), seen, agreement)


def fine_tune(
    run: Path, experiment: Experiment, params: dict[str, Array], simulator: Simulator, loss: Loss, settings: Settings
) -> dict[str, Array]:
    """Train the network of a run folder on another simulator; the parameters of its best epoch, or those given.

    ``experiment``: of `open_run` with the settings' changes. A deployment's simulator is the chip's model; with the
    run's own one this is what the same training does in floating point.
    """
    tuned = {name: array.copy() for name, array in params.items()}
    training: Mapping[str, Any] = experiment.config["training"]
    callbacks: list[Callback] = [] if settings.clip_delays else [_WithinReach(MAX_DELAY * settings.dt)]
    validation, kept = experiment.data.get("validation"), None
    if validation is not None:
        before = evaluate(experiment.net, params, validation, loss, duration=experiment.duration, simulator=simulator)
        kept = _SmallestLoss(params, before.loss)
        callbacks.append(kept)
    fit(
        experiment.net,
        tuned,
        experiment.data["train"],
        loss,
        load_config(
            run / "config.toml", [*settings.changes, *_slower(experiment, settings)]
        ).build("optimiser"),
        epochs=settings.epochs,
        batch_size=training["batch_size"],
        duration=experiment.duration,
        seed=experiment.seed,
        simulator=simulator,
        shuffle=training.get("shuffle", True),
        max_dw_norm=training.get("max_dw_norm"),
        augment=experiment.augment,
        average=training.get("average"),
        validation=validation,
        callbacks=callbacks,
    )
    return tuned if kept is None else kept.params


def _aim(experiment: Experiment, params: dict[str, Array], settings: Settings) -> Loss:
    """The loss of fine-tuning."""
    if settings.towards == "labels":
        return experiment.loss
    return Imitation(experiment.config.build("loss"), params, experiment.simulator)


class _SmallestLoss(Callback):
    """Keeps the parameters with the smallest validation loss, those before the first epoch among them.

    The loss and not the accuracy: a few hundred samples tell losses apart much sooner.
    """

    def __init__(self, params: dict[str, Array], loss: float) -> None:
        self.params, self.loss = params, loss

    def on_epoch(self, run: Run, row: Mapping[str, Any]) -> None:
        if row["val_loss"] < self.loss:
            self.loss = row["val_loss"]
            self.params = {name: array.copy() for name, array in run.model.items()}


class _WithinReach(Callback):
    """Keeps trained delays where the chip has them."""

    def __init__(self, longest: float) -> None:
        self.longest = longest

    def on_batch(self, run: Run) -> None:
        for name, values in run.params.items():
            if name.endswith(".delay"):
                np.minimum(values, self.longest, out=values)


def _slower(experiment: Experiment, settings: Settings) -> list[str]:
    """Overrides: all learning rates times ``first_rate``, falling to 0 over the steps of fine-tuning."""
    optimiser: Mapping[str, Any] = experiment.config["optimiser"]
    steps = settings.epochs * math.ceil(len(experiment.data["train"]) / experiment.config["training.batch_size"])
    changes = [f"optimiser.lr={settings.first_rate * float(optimiser['lr'])!r}"]
    changes.append(f'optimiser.schedule={{kind="CosineDecay",over={steps},per="step"}}')
    for pattern, group in optimiser.get("groups", {}).items():
        if "lr" in group:
            changes.append(f'optimiser.groups."{pattern}".lr={settings.first_rate * float(group["lr"])!r}')
    return changes


__all__ = ("Deployed", "Deployment", "Settings", "deploy", "fine_tune")
