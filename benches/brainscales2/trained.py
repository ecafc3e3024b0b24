"""What a distortion costs a net that is trained with it: accuracy with one distortion in training and test.

    python benches/brainscales2/trained.py --seeds 0:3
    python benches/brainscales2/trained.py --seeds 0:1 --rows weights    # the rows whose name has "weights" in it

Each row is one of the shipped experiments `yin-yang-distorted*`: DelGrad's 4-30-3 net with axonal delays, its spikes
those of the model of BrainScaleS-2 with that distortion alone, its gradients those of the nominal net, fifteen epochs.
Prints a Markdown table: the test accuracy after the last epoch for each seed, mean and standard deviation. The fixed
pattern is that of the chip whose number is the seed.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

import evprop
from evprop.config import load_config
from evprop.experiment import train_experiment

ROWS: Mapping[str, str] = {
    "none": "yin-yang-distorted",
    "weights in steps of 1": "yin-yang-distorted-steps-1",
    "weights in steps of 2": "yin-yang-distorted-steps-2",
    "weights of 3 bits and a sign, up to 8": "yin-yang-distorted-3-bits",
    "weights of 2 bits and a sign, up to 4": "yin-yang-distorted-2-bits",
    "weights up to 2": "yin-yang-distorted-range-2",
    "thresholds differ by 5 %": "yin-yang-distorted-thresholds",
    "time constants differ by 10 %": "yin-yang-distorted-taus-10",
    "time constants differ by 20 %": "yin-yang-distorted-taus-20",
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", default="0:3", help="FIRST:END, the end not included")
    parser.add_argument("--rows", default="", help="only those with this in their name")
    parser.add_argument("--set", dest="changes", action="append", default=[], metavar="KEY=VALUE")
    given = parser.parse_args()
    first, end = (int(part) for part in given.seeds.split(":"))
    evprop.set_num_threads(1)
    print(f"| distortion | {' | '.join(f'seed {s}' for s in range(first, end))} | mean | std |")
    print(f"|---|{'---:|' * (end - first + 2)}", flush=True)
    for name, task in ROWS.items():
        if given.rows not in name:
            continue
        found = [
            accuracy(task, [*given.changes, f"seed={seed}", f"simulator.chip={seed}"])
            for seed in range(first, end)
        ]
        cells = " | ".join(f"{value:.2f}" for value in (*found, np.mean(found), np.std(found)))
        print(f"| {name} | {cells} |", flush=True)


def accuracy(task: str, changes: Sequence[str]) -> float:
    """On the test set after the last epoch, in percent."""
    with tempfile.TemporaryDirectory() as folder:
        config = load_config(task, changes)
        return 100.0 * train_experiment(config, Path(folder), pictures=False, progress=False).last.accuracy


if __name__ == "__main__":
    main()
