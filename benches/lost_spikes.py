"""Spikes that training took away and brought: run folders against their first parameters, as a Markdown table.

    EVPROP_DATA=... python benches/lost_spikes.py runs/fsdd-ff-small-*

An exact gradient moves the spikes there are; that some go and others come is no part of it. Counted on the validation
set, in each phase of the thinning where an experiment has these, with the parameters of the epoch chosen: hidden spikes
per neuron and word before training and after it; of the pairs of neuron and word that had a spike, the share that has
none any more (lost), and of those that had none, the share that has one (gained); neurons without a spike in any word.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import evprop
from evprop.experiment import Experiment, open_run

BATCH = 100


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=Path)
    given = parser.parse_args()
    evprop.set_num_threads(1)
    print("| run | spikes, first | trained | lost (%) | gained (%) | neurons silent for all words (%) |")
    print("|---|---:|---:|---:|---:|---:|", flush=True)
    rows = []
    for run in given.runs:
        experiment, params = open_run(run)
        before, after = (spike_counts(experiment, one) for one in (experiment.init(), params))
        lost, gained = (before > 0) & (after == 0), (before == 0) & (after > 0)
        rows.append([before.mean(), after.mean()])
        rows[-1] += [100 * lost.sum() / (before > 0).sum(), 100 * gained.sum() / (before == 0).sum()]
        rows[-1].append(100 * (after.sum(axis=0) == 0).mean())
        print_row(run.name, rows[-1])
    print_row("mean", np.mean(rows, axis=0))
    print_row("std", np.std(rows, axis=0))


def spike_counts(experiment: Experiment, params: dict[str, NDArray]) -> NDArray[np.int64]:
    """(words, hidden neurons)."""
    words = experiment.data["validation"].spikes
    counts = []
    for k in range(0, len(words), BATCH):
        part = words[k : k + BATCH]
        how = {"duration": experiment.duration, "simulator": experiment.simulator}
        counts.append(evprop.simulate(experiment.net, params, part, **how).spikes["hidden"].counts())
    return np.concatenate(counts)


def print_row(name: str, row: list[float] | NDArray[np.float64]) -> None:
    print(f"| {name} | {row[0]:.2f} | {row[1]:.2f} | {row[2]:.1f} | {row[3]:.1f} | {row[4]:.1f} |", flush=True)


if __name__ == "__main__":
    main()
