"""Trained nets for spoken words under attack: accuracy against the budget of spike times, with delays and without.

    for task in fsdd-ff fsdd-ff-delays; do python benches/accuracy.py $task --seeds 0:3 --keep runs; done
    EVPROP_DATA=... python benches/robustness_speech.py runs/fsdd-ff-? runs/fsdd-ff-delays-? --rows fsdd.jsonl
    python benches/robustness_speech.py --rows fsdd.jsonl --picture fsdd.png

Runs whose names differ only in the number at their end are one row: the mean and the standard deviation over them.
Run folders of the shipped experiments, the epoch chosen on the validation set. Attacks as in robustness.py, on the
first samples of a shuffled test set. On the chips' models nets are as trained, without fine-tuning; the BrainScaleS-2
model has all distortions of neurons and synapses, but room and delays as the net needs.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

import evprop
from evprop.attacks import Victim, shift_times
from evprop.experiment import open_run
from robustness import WAYS, Panel, Rows, add, chance, draw, greedy, group, print_rows, right

SIMULATORS = ("exact", "loihi2", "brainscales2")
LOIHI2 = evprop.Loihi2(dt=1.0, strict=False, clip_delays=True, dtype="float32")
FREE = ("resources", "delay_range", "delay_step", "delay_jitter", "refractory_range", "link_rate")


def on(victim: Victim, name: str) -> Victim:
    """The same net on another simulator."""
    if name == "loihi2":
        return Victim(victim.net, victim.params, victim.loss, victim.duration, LOIHI2)
    if name == "brainscales2":
        wide = {key: np.asarray(array, np.float64) for key, array in victim.params.items()}
        scale = 63.0 / float(np.quantile(np.abs(wide["input_hidden.weight"]), 0.99))
        chip = evprop.BrainScaleS2(chip=0, min_vdot=0.01, weight_scale=scale).without(*FREE)
        return Victim(victim.net, wide, victim.loss, victim.duration, chip)
    return victim


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", type=Path)
    parser.add_argument("--on", nargs="+", default=SIMULATORS, choices=SIMULATORS)
    parser.add_argument("--budgets", nargs="+", type=float, default=[0.0, 0.1, 0.5, 2.0, 5.0])
    parser.add_argument("--samples", type=int, default=60, help="attacked")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--most", type=int, default=2, help="spikes left out or added")
    parser.add_argument("--seed", type=int, default=0, help="of the order of the test set")
    parser.add_argument("--rows", type=Path, help="file to which accuracies under shifts are added, run by run")
    parser.add_argument("--picture", type=Path, help="of all that is in --rows")
    args = parser.parse_args()
    if args.picture and not args.rows:
        parser.error("--picture needs --rows")
    if args.runs:
        attack(args)
    if args.picture:
        draw(panels(args.rows), args.picture, columns=len(SIMULATORS))


def attack(args: argparse.Namespace) -> None:
    """Tables of the runs."""
    victims = {}
    for run in args.runs:
        experiment, params = open_run(run)
        victims[run] = Victim(
            experiment.net, params, experiment.loss, experiment.duration, experiment.simulator
        )
        test = experiment.data["test"]  # of one task for all runs
        whole = 100.0 * json.loads((run / "result.json").read_text())["test_accuracy_best"]
        print(f"{run.name}: {whole:.2f} % of all {len(test)}", flush=True)
    chosen = np.random.default_rng(args.seed).permutation(len(test))[: args.samples]
    spikes, labels = test.spikes[chosen], test.labels[chosen]
    shifted(victims, spikes, labels, args)
    if args.most:
        counted(victims, spikes, labels, args)


def shifted(victims: dict[Path, Victim], spikes: evprop.Spikes, labels: Any, args: argparse.Namespace) -> None:
    """Accuracy against the budget of spike times."""
    rows: Rows = {}
    for run, victim in victims.items():
        for name in args.on:
            target = on(victim, name)
            lent = None if name == "exact" else victim
            made = [
                shift_times(target, spikes, labels, budget=budget, steps=args.steps, surrogate=lent).spikes
                for budget in args.budgets
            ]
            ways = {
                "by chance": [chance(target, spikes, labels, budget) for budget in args.budgets],
                "gradient of exact": [right(target, one, labels) for one in made],
            }
            for way, row in ways.items():
                add(rows, [group(run), type(target.simulator).__name__, way], row)
                if args.rows:
                    with args.rows.open("a") as kept:
                        print(json.dumps([run.name, name, way, args.budgets, row]), file=kept)
    print_rows(["run", "simulator", "attack"], args.budgets, rows)


def panels(kept: Path) -> dict[str, Panel]:
    """A panel for each task and simulator; of a run that is there more than once, the last accuracy at each budget."""
    found: dict[tuple[str, str], Any] = {}
    for run, simulator, way, budgets, row in map(json.loads, kept.read_text().splitlines()):
        task, delays = group(Path(run)).replace("-delays", ""), "delays" if "-delays" in run else "no delays"
        curve = found.setdefault((task, simulator), {}).setdefault((delays, way), {})
        for budget, accuracy in zip(budgets, row, strict=True):
            curve.setdefault(budget, {})[run] = accuracy
    return {
        f"{task}, {simulator}": {
            net: {budget: list(runs.values()) for budget, runs in sorted(curve.items())}
            for net, curve in found.get((task, simulator), {}).items()
        }
        for task in dict.fromkeys(task for task, _ in found)
        for simulator in SIMULATORS
    }


def counted(victims: dict[Path, Victim], spikes: evprop.Spikes, labels: Any, args: argparse.Namespace) -> None:
    """Accuracy with spikes left out and added, of 20 tried for each."""
    rows: Rows = {}
    for run, victim in victims.items():
        for name in args.on:
            target = on(victim, name)
            for way in WAYS:
                how: Any = {"most": args.most, "candidates": 20, "places": np.arange(0.0, 600.0, 20.0)}
                row = greedy(target, spikes, labels, way, **how)
                add(rows, [group(run), type(target.simulator).__name__, way], row)
    print_rows(["run", "simulator", "attack"], range(args.most + 1), rows)


if __name__ == "__main__":
    main()
