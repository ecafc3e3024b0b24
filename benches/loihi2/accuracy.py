"""What deployment to Loihi 2's model costs in accuracy, over trained run folders; tables in Markdown.

    for s in 0 1 2 3 4; do evprop train benches/loihi2/yin-yang-delays.toml --seed $s --out runs/delays-$s; done
    python benches/loihi2/accuracy.py deploy runs/delays-* --dt 0.1 --fine-tune 2
    python benches/loihi2/accuracy.py bits runs/delays-0 --dt 0.1
    python benches/loihi2/accuracy.py steps runs/delays-0

deploy: accuracy on the test set in floating point, quantised (scales searched on 200 training samples) and fine-tuned
on the chip's model; paired differences over the runs with 95 % bounds (Student's t).
bits: weights of 8 to 2 bits, by each rule and by search.
steps: dt from 0.1 to 5 ms, beside the exact engine on inputs that were rounded to the same grid: what no chip can undo.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
from scipy import stats

import evprop
from evprop.datasets import Dataset
from evprop.deploy import Settings, deploy
from evprop.experiment import Experiment, open_run
from evprop.hardware import median_shift, search_scales, spike_agreement
from evprop.hardware.loihi2.steps import on_grid, rows_of

SAMPLES, WITHIN = 200, 2.0
BITS = (8, 6, 4, 3, 2)
STEPS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=["deploy", "bits", "steps"])
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--dt", type=float, default=0.1)
    parser.add_argument("--fine-tune", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.table == "deploy":
        deployed(arguments.runs, arguments.dt, arguments.fine_tune)
    else:
        for run in arguments.runs:
            print(f"\n{run.name}\n")
            {"bits": bits, "steps": steps}[arguments.table](*open_run(run), arguments.dt)


def deployed(runs: list[Path], dt: float, epochs: int) -> None:
    """One row a run, then the paired differences."""
    print("| run | float | quantised | fine-tuned | hidden spikes that agree | cores |")
    print("|---|---:|---:|---:|---:|---:|")
    losses: list[tuple[float, float]] = []
    for run in runs:
        found = deploy(run, Settings(dt=dt, epochs=epochs, within=WITHIN, samples=SAMPLES))
        exact, quantised = (100.0 * x.accuracy for x in (found.exact, found.quantised.seen))
        tuned = math.nan if found.tuned is None else 100.0 * found.tuned.seen.accuracy
        losses.append((exact - quantised, exact - tuned))
        agree = found.quantised.agreement["hidden"]
        cells = f"{exact:.2f} | {quantised:.2f} | {tuned:.2f} | {agree:.1%} | {len(found.placement.cores)}"
        print(f"| {run.name} | {cells} |", flush=True)
    for name, column in (("quantised", 0), ("fine-tuned", 1)):
        x = np.array([pair[column] for pair in losses])
        if len(x) > 1 and np.isfinite(x).all():
            half = stats.t.ppf(0.975, len(x) - 1) * x.std(ddof=1) / math.sqrt(len(x))
            bounds = f"95 % bounds {x.mean() - half:.2f} to {x.mean() + half:.2f}"
            print(f"\nfloat - {name}: {x.mean():.2f} points, {bounds}")


def accuracy(experiment: Experiment, params: dict, data: Dataset, simulator: object) -> str:
    """In percent, or why not."""
    try:
        seen = evprop.metrics.evaluate(
            experiment.net, params, data, experiment.loss, duration=experiment.duration, simulator=simulator
        )
    except evprop.errors.HardwareError as error:
        return f"refused ({str(error).split(':')[0].split('. ')[0][:60]})"
    return f"{100.0 * seen.accuracy:.2f}"


def bits(experiment: Experiment, params: dict, dt: float) -> None:
    """Weights of fewer bits, by rule and by search."""
    test = experiment.data["test"]
    print(f"float: {accuracy(experiment, params, test, experiment.simulator)} %; dt {dt:g} ms\n")
    print("| bits | percentile | max | search |")
    print("|---:|---:|---:|---:|")
    for n in BITS:
        cells = []
        for scale in ("percentile", "max"):
            cells.append(accuracy(experiment, params, test, evprop.Loihi2(dt=dt, num_weight_bits=n, scale=scale)))
        try:
            found = searched(experiment, params, evprop.Loihi2(dt=dt, num_weight_bits=n))
            cells.append(accuracy(experiment, params, test, found))
        except evprop.errors.HardwareError:
            cells.append("refused")
        print(f"| {n} | {' | '.join(cells)} |", flush=True)


def searched(experiment: Experiment, params: dict, simulator: evprop.Loihi2) -> evprop.Loihi2:
    train = experiment.data["train"].spikes[:SAMPLES]
    return search_scales(
        experiment.net, params, train, simulator, duration=experiment.duration, within=WITHIN
    ).simulator


def steps(experiment: Experiment, params: dict, _dt: float) -> None:
    """The grid: the exact engine with inputs on it, and the chip's model."""
    test = experiment.data["test"]
    some = test.spikes[:SAMPLES]
    exact = evprop.simulate(experiment.net, params, some, duration=experiment.duration).spikes["hidden"]
    print(f"float: {accuracy(experiment, params, test, experiment.simulator)} %\n")
    print("| dt (ms) | exact, inputs on the grid | chip | delays clipped | hidden spikes: shift (ms) | agree |")
    print("|---:|---:|---:|---:|---:|---:|")
    for dt in STEPS:
        duration = experiment.duration
        rounded = Dataset(on_grid(test.spikes, rows_of(duration, dt), dt, duration)[0], test.labels, "grid")
        simulator = evprop.Loihi2(dt=dt, clip_delays=True)
        cells = [accuracy(experiment, params, rounded, experiment.simulator)]
        cells.append(accuracy(experiment, params, test, simulator))
        clipped = simulator.quantise(experiment.net, params).report.delays_clipped
        found = evprop.simulate(experiment.net, params, some, duration=duration, simulator=simulator).spikes["hidden"]
        shift = median_shift(exact, found, within=5.0)
        agree = spike_agreement(exact, found, within=WITHIN)
        print(f"| {dt:g} | {' | '.join(cells)} | {clipped} | {shift:.3f} | {agree:.1%} |", flush=True)


if __name__ == "__main__":
    main()
