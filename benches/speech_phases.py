"""Trained run folders on recordings thinned in every phase: a Markdown table.

    python benches/speech_phases.py runs/fsdd-delays-long-*

The experiments hear every k-th spike of a recording (`merge_channels`). Where the count begins is free, so that a
recording is k words to the network. One phase: percent right of these, which has less noise than one phase's figure,
but k words of one recording are no k recordings. All phases: of a recording, by the mean of ln softmax over its k
words; that answer has heard every spike, in k runs of the network. The last row has the runs together, by the mean over
these too. The parameters are those of the epoch chosen on the validation set.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

import evprop
from evprop import Spikes
from evprop.datasets import Dataset
from evprop.experiment import open_run
from evprop.losses import CrossEntropy, Loss, LossSum
from loihi2.accuracy import in_phases

Scores = NDArray[np.float64]

SETS, BATCH = ("validation", "test"), 100


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=Path, help="of one experiment, or of one data set")
    given = parser.parse_args()
    evprop.set_num_threads(1)
    test, validation = in_phases(given.runs[0])
    sets = {"validation": validation, "test": test}
    labels = {name: phases[0].labels for name, phases in sets.items()}
    names = [f"{name}, {what} (%)" for name in SETS for what in ("one phase", "all phases")]
    print(f"| run | {' | '.join(names)} |\n|---|{'---:|' * len(names)}", flush=True)
    told = []
    for run in given.runs:
        told.append(scores(run, sets))
        print_row(run.name, figures(told[-1], labels))
    if len(told) > 1:
        rows = [figures(one, labels) for one in told]
        print_row("mean", np.mean(rows, axis=0))
        print_row("std", np.std(rows, axis=0))
        joint = {name: np.mean([one[name] for one in told], axis=0) for name in SETS}
        print_row("together", figures(joint, labels))


def scores(run: Path, sets: dict[str, list[Dataset]]) -> dict[str, Scores]:
    """{set: ln softmax of each recording in each phase, (phases, recordings, classes)}."""
    experiment, params = open_run(run)
    output, readout = experiment.net.outputs[0], readout_of(experiment.loss)

    def look(spikes: Spikes) -> Scores:
        how = {"duration": experiment.duration, "simulator": experiment.simulator}
        record = evprop.simulate(experiment.net, params, spikes, readouts={output: [readout]}, **how)
        return np.asarray(log_softmax(record.readout[output][0].astype(np.float64), axis=1))

    def whole(spikes: Spikes) -> Scores:
        return np.concatenate([look(spikes[k : k + BATCH]) for k in range(0, len(spikes), BATCH)])

    return {name: np.stack([whole(one.spikes) for one in phases]) for name, phases in sets.items()}


def readout_of(loss: Loss) -> evprop.losses.Readout:
    """What the class is read from: the first term's readout."""
    first = loss.terms[0][1] if isinstance(loss, LossSum) else loss
    assert isinstance(first, CrossEntropy)
    return first.readout


def figures(scores: dict[str, Scores], labels: dict[str, NDArray[np.int64]]) -> list[float]:
    """Percent right of one phase and of all, for each set."""
    seen = [(one, labels[name]) for name, phases in scores.items() for one in (phases, phases.mean(axis=0))]
    return [100.0 * float((one.argmax(axis=-1) == wanted).mean()) for one, wanted in seen]


def print_row(name: str, row: Sequence[float] | Scores) -> None:
    print(f"| {name} | {' | '.join(f'{value:.2f}' for value in row)} |", flush=True)


if __name__ == "__main__":
    main()
