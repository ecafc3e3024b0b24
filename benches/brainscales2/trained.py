"""What a distortion costs a net that is trained with it: accuracy with one distortion in training and test.

    python benches/brainscales2/trained.py --seeds 0:3
    python benches/brainscales2/trained.py --seeds 0:1 --rows weights    # the rows whose name has "weights" in it

Each row is `yin-yang-jitter` without jitter (DelGrad's 4-30-3 net with axonal delays, its spikes those of the model of
BrainScaleS-2, its gradients those of the nominal net), fifteen epochs with that distortion alone. Prints a Markdown
table: the test accuracy after the last epoch for each seed, mean and standard deviation. The fixed pattern is that of
the chip whose number is the seed.

Weights count in units of v_th in evprop's neuron, which is half of DelGrad's unit: their step of 0.5 is 1.0 here.
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


def steps(bits: int, per_unit: float) -> list[str]:
    """Weights of so many bits and a sign, of which ``per_unit`` steps make one unit."""
    return [f"simulator.weight_bits={bits}", f"simulator.weight_scale={per_unit}"]


def up_to(limit: float) -> list[str]:
    return [f"callbacks.ClipWeights={{limits={{input_hidden={limit}, hidden_output={limit}}}}}"]


def taus(spread: float) -> list[str]:
    return [f"simulator.tau_mem_spread={spread}", f"simulator.tau_syn_spread={spread}"]


COMMON = (
    "simulator.spike_jitter=0.0",
    "loss.delta=0.2",  # ms, DelGrad's without jitter
    "training.epochs=15",
    "optimiser.schedule.over=15",
)
ROWS: Mapping[str, Sequence[str]] = {
    "none": [],
    "weights in steps of 1": steps(16, 1.0),
    "weights in steps of 2": steps(16, 0.5),
    "weights of 3 bits and a sign, up to 8": [*steps(3, 0.875), *up_to(8.0)],
    "weights up to 2": up_to(2.0),
    "thresholds differ by 5 %": ["simulator.threshold_spread=0.05"],
    "time constants differ by 20 %": taus(0.2),
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
    for name, distorts in ROWS.items():
        if given.rows not in name:
            continue
        found = [
            accuracy([*COMMON, *given.changes, *distorts, f"seed={seed}", f"simulator.chip={seed}"])
            for seed in range(first, end)
        ]
        cells = " | ".join(f"{value:.2f}" for value in (*found, np.mean(found), np.std(found)))
        print(f"| {name} | {cells} |", flush=True)


def accuracy(changes: Sequence[str]) -> float:
    """On the test set after the last epoch, in percent."""
    with tempfile.TemporaryDirectory() as folder:
        config = load_config("yin-yang-jitter", changes)
        return 100.0 * train_experiment(config, Path(folder), pictures=False, progress=False).last.accuracy


if __name__ == "__main__":
    main()
