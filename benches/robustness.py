"""How far an adversary gets with input spikes: accuracy of trained runs against the budget, on several simulators.

    for s in 0 1 2; do evprop train yin-yang-chip --seed $s --out runs/chip-delays-$s; done
    python benches/robustness.py times runs/chip-delays-? --on own exact loihi2 --budgets 0 0.1 0.2 0.5 1 2 5
    python benches/robustness.py counts runs/chip-delays-? --most 2
    python benches/robustness.py harden runs/chip-delays-? --budget 0.5

Runs whose names differ only in the number at their end are one row: the mean and the standard deviation over them.

times: each spike moves by at most the budget (ms), `steps` steps along the gradient of the loss; beside it the same
budget spent by chance (the mean over three draws of + or - the budget). On a chip's model the gradient is the model's
own or, in a row of its own, that of the exact engine. Accuracies are those of a second look at what the attack made, on
BrainScaleS-2 in another trial.
counts: spikes left out or added greedily, 1 to `most` of them, of all that are there, and at times on a grid.
harden: the run's experiment again, from its first parameters, with each batch attacked before the step.

Simulators: own is that of the run, exact the exact engine, loihi2 and brainscales2 the models with their own settings.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import evprop
from evprop.attacks import Adversary, Victim, delete_spikes, insert_spikes, shift_times
from evprop.experiment import Experiment, open_run
from evprop.train import fit


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=["times", "counts", "harden"])
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--on", nargs="+", default=["exact"], choices=["own", "exact", "loihi2", "brainscales2"])
    parser.add_argument("--budgets", nargs="+", type=float, default=[0.0, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0])
    parser.add_argument("--samples", type=int, default=300, help="the first of the test set")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--dt", type=float, default=0.1, help="of loihi2, ms")
    parser.add_argument("--norm", default="linf", choices=["linf", "l2"])
    parser.add_argument("--most", type=int, default=2, help="of counts")
    parser.add_argument("--grid", type=float, default=2.0, help="ms between places of added spikes")
    parser.add_argument("--candidates", type=int, help="tried per round (all unless given)")
    parser.add_argument("--budget", type=float, default=0.5, help="of harden, ms")
    parser.add_argument("--picture", type=Path)
    given = parser.parse_args()
    {"times": times, "counts": counts, "harden": harden}[given.table](given)


# -- victims ----------------------------------------------------------------------------------------------------


def victim(experiment: Experiment, params: Any, on: str, dt: float) -> Victim:
    """The run on a simulator, in that simulator's precision."""
    own = experiment.simulator
    simulator: Any = {
        "own": own,
        "exact": evprop.Exact(dtype=own.dtype),
        "loihi2": evprop.Loihi2(dt=dt, strict=False, clip_delays=True, dtype=own.dtype),
        "brainscales2": evprop.BrainScaleS2(chip=0, min_vdot=0.05, weight_scale=78.0, copies={"input": 5}),
    }[on]
    typed = {name: np.asarray(array, simulator.dtype) for name, array in params.items()}
    return Victim(experiment.net, typed, experiment.loss, experiment.duration, simulator)


def first_of_test(experiment: Experiment, n: int) -> tuple[evprop.Spikes, Any]:
    """Spikes and labels."""
    test = experiment.data["test"]
    return test.spikes[:n], test.labels[:n]


def again(target: Victim) -> Victim:
    """For a second look: another trial where there is noise."""
    simulator: Any = target.simulator
    if hasattr(simulator, "trial"):
        return replace(target, simulator=replace(simulator, trial=simulator.trial + 1))
    return target


def right(target: Victim, spikes: evprop.Spikes, labels: Any) -> float:
    """Accuracy in %."""
    return 100.0 * float(np.mean(target.look_in_parts(spikes, labels).classes == labels))


# -- tables -----------------------------------------------------------------------------------------------------


def times(given: argparse.Namespace) -> None:
    """Accuracy against the budget of spike times."""
    rows: Rows = {}
    for run in given.runs:
        experiment, params = open_run(run)
        spikes, labels = first_of_test(experiment, given.samples)
        for on in given.on:
            target = victim(experiment, params, on, given.dt)
            ways: dict[str, Any] = {"by chance": None, "own gradient": None}
            if not isinstance(target.simulator, evprop.Exact):
                ways["gradient of exact"] = victim(experiment, params, "exact", given.dt)
            for way, surrogate in ways.items():
                row = []
                for budget in given.budgets:
                    if way == "by chance":
                        row.append(chance(target, spikes, labels, budget))
                        continue
                    how: Any = {"steps": given.steps, "norm": given.norm, "surrogate": surrogate}
                    made = shift_times(target, spikes, labels, budget=budget, **how)
                    row.append(right(again(target), made.spikes, labels))
                add(rows, [group(run), type(target.simulator).__name__, way], row)
    print_rows(["run", "simulator", "attack"], given.budgets, rows)
    if given.picture:
        panel: Panel = {}
        for (name, on, way), runs in rows.items():
            if way != "gradient of exact":
                panel[f"{name}, {on}", way] = dict(zip(given.budgets, np.transpose(runs), strict=True))
        draw({"": panel}, given.picture)


def chance(target: Victim, spikes: evprop.Spikes, labels: Any, budget: float) -> float:
    """Every spike moved by + or - the budget, drawn evenly: the mean accuracy over three draws."""
    found = []
    for seed in range(3 if budget > 0.0 else 1):
        rng = np.random.default_rng(seed)
        moved = np.clip(spikes.times + rng.choice([-budget, budget], spikes.n_spikes), 0.0, target.duration)
        order = np.lexsort((moved, spikes.samples))
        batch = evprop.Spikes(moved[order], spikes.units[order], spikes.offsets, spikes.n_units)
        found.append(right(target, batch, labels))
    return float(np.mean(found))


def counts(given: argparse.Namespace) -> None:
    """Accuracy against the number of spikes left out or added."""
    rows: Rows = {}
    for run in given.runs:
        experiment, params = open_run(run)
        spikes, labels = first_of_test(experiment, given.samples)
        last = float(spikes.times.max())
        places = np.arange(0.0, min(last + given.grid, experiment.duration), given.grid)
        for on in given.on:
            target = victim(experiment, params, on, given.dt)
            for way in WAYS:
                how: Any = {"most": given.most, "candidates": given.candidates, "places": places}
                row = greedy(target, spikes, labels, way, **how)
                add(rows, [group(run), type(target.simulator).__name__, way], row)
    print_rows(["run", "simulator", "attack"], range(given.most + 1), rows)


WAYS = ("left out", "added")


def greedy(
    target: Victim, spikes: evprop.Spikes, labels: Any, way: str, *, most: int, candidates: int | None, places: Any
) -> list[float]:
    """Accuracies with 0 to `most` spikes left out, or added at `places` in time."""
    made, row = spikes, [right(again(target), spikes, labels)]
    for round_ in range(most):
        how: Any = {"most": 1, "candidates": candidates}
        if way == "left out":
            made = delete_spikes(target, made, labels, **how).spikes
        else:
            made = insert_spikes(target, made, labels, **how, times=places, seed=round_).spikes
        row.append(right(again(target), made, labels))
    return row


def harden(given: argparse.Namespace) -> None:
    """The same experiment trained with and without an adversary, under attack."""
    rows: Rows = {}
    for run in given.runs:
        experiment, params = open_run(run)
        spikes, labels = first_of_test(experiment, given.samples)
        hard = experiment.init()
        training = experiment.config["training"]
        fit(
            *(experiment.net, hard, experiment.data["train"], experiment.loss, experiment.optimiser),
            epochs=training["epochs"],
            batch_size=training["batch_size"],
            max_dw_norm=training.get("max_dw_norm"),
            duration=experiment.duration,
            seed=experiment.seed,
            simulator=experiment.simulator,
            augment=experiment.augment,
            adversary=Adversary(budget=given.budget, steps=2),
        )
        for name, trained in (("as it is", params), (f"against {given.budget:g} ms", hard)):
            target = victim(experiment, trained, "own", given.dt)
            made = [shift_times(target, spikes, labels, budget=b, steps=given.steps) for b in given.budgets]
            add(rows, [group(run), name], [right(again(target), one.spikes, labels) for one in made])
    print_rows(["run", "trained"], given.budgets, rows)


Rows = dict[tuple[str, ...], list[Sequence[float]]]
"""What stands at the left of a row -> its figures, run by run."""


def group(run: Path) -> str:
    """The name without the number at its end."""
    return re.sub(r"-\d+$", "", run.name)


def add(rows: Rows, names: Sequence[str], figures: Sequence[float]) -> None:
    rows.setdefault(tuple(names), []).append(figures)


def print_rows(left: Sequence[str], head: Sequence[float], rows: Mapping[tuple[str, ...], Any]) -> None:
    """Means, and standard deviations where there are several runs."""
    print(f"| {' | '.join(left)} | {' | '.join(f'{h:g}' for h in head)} |")
    print("|---" * len(left) + "|" + "---:|" * len(head))
    for names, runs in rows.items():
        mean, spread = np.mean(runs, axis=0), np.std(runs, axis=0, ddof=1) if len(runs) > 1 else None
        cells = [f"{m:.1f}" + ("" if spread is None else f" ± {spread[k]:.1f}") for k, m in enumerate(mean)]
        print(f"| {' | '.join([*names, *cells])} |", flush=True)


Panel = dict[tuple[str, str], dict[float, Sequence[float]]]
"""Net and attack -> budget -> accuracies of its runs."""


def draw(panels: Mapping[str, Panel], path: Path, columns: int = 1) -> None:
    """Accuracy against the budget, with standard deviations over runs; what chance does is dotted."""
    import matplotlib.pyplot as plt

    budgets = sorted({budget for panel in panels.values() for curve in panel.values() for budget in curve})
    down = -(-len(panels) // columns)
    size = (8.0, 5.0) if len(panels) == 1 else (3.6 * columns, 2.4 * down)
    figure, grid = plt.subplots(down, columns, figsize=size, layout="constrained", squeeze=False, sharex=True)
    for axes, (title, panel) in zip(grid.flat, panels.items(), strict=False):
        colours: dict[str, str] = {}
        for (net, way), curve in panel.items():
            colour = colours.setdefault(net, f"C{len(colours)}")
            spread = [np.std(of, ddof=1) if len(of) > 1 else 0.0 for of in curve.values()]
            look: Any = {"linestyle": ":" if way == "by chance" else "-", "color": colour, "capsize": 3}
            at = [budgets.index(budget) for budget in curve]
            axes.errorbar(at, [np.mean(of) for of in curve.values()], spread, label=f"{net}, {way}", **look)
        axes.set_title(title, fontsize=9)
        axes.set_xticks(range(len(budgets)), [f"{budget:g}" for budget in budgets])
        axes.set_ylim(0.0, 100.0)
    figure.supxlabel("each spike moves by at most (ms)", fontsize=10)
    figure.supylabel("accuracy (%)", fontsize=10)
    next(axes for axes, panel in zip(grid.flat, panels.values(), strict=False) if panel).legend(fontsize=7)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
