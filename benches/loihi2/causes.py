"""Where the loss of deployment to Loihi 2's model comes from: one change at a time; a table in Markdown per run folder.

    python benches/loihi2/causes.py runs/gsc-delays-1 --dt 1

Cross-entropy, without regularisers, on the validation set and the first training samples: never on the test set. The
exact engine with inputs on the chip's grid; with the chip's weights; with delays in whole steps; with the chip's time
constants; with recurrent delays of at least half a step, for the chip sees a spike half a step late on average and can
take that from longer delays only. Then the chip's model: scales by the rule that clips no weight, searched by spike
trains and by classes, and the last with gains of the readout. Beside each: the divergence of its classes from those in
floating point, the mean change of the loss, standard errors over samples, and how many samples became wrong and right.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import evprop
from accuracy import WITHIN, Looked, join, look, on_the_grid, turned
from evprop.experiment import Experiment, open_run
from evprop.hardware import fit_readout_gains, search_scales
from evprop.hardware.imitation import divergence


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--dt", type=float, default=1.0)
    parser.add_argument("--training", type=int, default=1000, help="training samples to look at")
    parser.add_argument("--samples", type=int, default=200, help="training samples for the search")
    arguments = parser.parse_args()
    for run in arguments.runs:
        experiment, params = open_run(run)
        table(run.name, experiment, params, arguments)


def table(name: str, experiment: Experiment, params: dict, arguments: argparse.Namespace) -> None:
    """A row for each change."""
    net, duration, exact = experiment.net, experiment.duration, experiment.simulator
    train, validation = experiment.data["train"], experiment.data["validation"]
    sets = [[validation], [train[: arguments.training]]]
    gridded = [[on_the_grid(one, arguments.dt, duration)] for (one,) in sets]
    chip = evprop.Loihi2(dt=arguments.dt, clip_delays=True, dtype=exact.dtype)
    print(f"\n{name}: {len(sets[0][0])} validation and {len(sets[1][0])} training samples\n")
    print("| | divergence | loss | change | accuracy | became wrong, right |")
    print("|---|---:|---:|---:|---:|---:|")
    before = row("float", join(look(experiment, params, sets, exact)))
    row("inputs on the grid", join(look(experiment, params, gridded, exact)), before)
    for what, changed in changes(experiment, params, chip).items():
        row(what, join(look(experiment, params | changed, sets, exact)), before)
    row("chip, no weight clipped", join(look(experiment, params, sets, chip)), before)
    few, loss = train.spikes[: arguments.samples], experiment.config.build("loss")
    for what, how in (("spike trains", {"within": WITHIN}), ("classes", {"imitate": loss, "rounds": 1})):
        found = search_scales(net, params, few, chip, duration=duration, **how).simulator
        row(f"chip, scales searched by {what}", join(look(experiment, params, sets, found)), before)
    some = train.spikes[: arguments.training]
    fitted = fit_readout_gains(net, params, some, validation.spikes, found, loss, duration=duration).params
    row("the same, gains of the readout", join(look(experiment, fitted, sets, found)), before)


def changes(experiment: Experiment, params: dict, chip: evprop.Loihi2) -> dict[str, dict]:
    """{what is changed: parameters that replace the trained ones}."""
    held, dt = chip.quantise(experiment.net, params).params, chip.dt
    delays = {name: values for name, values in params.items() if name.endswith(".delay")}
    found = {
        "weights": {name: values for name, values in held.items() if name.endswith(".weight")},
        "delays in whole steps": {name: dt * np.rint(values / dt) for name, values in delays.items()},
        "time constants": {name: values for name, values in held.items() if ".tau_" in name},
        "recurrent delays of at least half a step": {
            f"{p.name}.delay": np.maximum(params[f"{p.name}.delay"], params[f"{p.name}.delay"].dtype.type(dt / 2))
            for p in experiment.net.projections
            if p.pre == p.post and p.delay_kind is not None
        },
    }
    return {what: changed for what, changed in found.items() if changed}


def row(what: str, seen: Looked, before: Looked | None = None) -> Looked:
    apart = change = flips = "-"
    if before is not None:
        apart = spread(divergence(seen.readout[0], before.readout[0])[0], "")
        change = spread((seen.losses - before.losses)[0], "+")
        flips = ", ".join(map(str, turned(before.right, seen.right)))
    print(f"| {what} | {apart} | {seen.losses.mean():.4f} | {change} | {seen.accuracy:.2f} | {flips} |", flush=True)
    return seen


def spread(values: np.ndarray, sign: str) -> str:
    """The mean and its standard error."""
    return f"{values.mean():{sign}.4f} +- {values.std(ddof=1) / np.sqrt(len(values)):.4f}"


if __name__ == "__main__":
    main()
