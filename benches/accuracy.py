"""Accuracy of a shipped experiment over seeds, as a Markdown table.

    python benches/accuracy.py yin-yang-wunderlich-pehle              # seeds 0 to 9
    python benches/accuracy.py yin-yang --seeds 0:5 --threads 2
    python benches/accuracy.py yin-yang --seeds 7:8 --set optimiser.lr=0.003
    python benches/accuracy.py fsdd-ff --seeds 0:3 --keep runs        # run folders runs/fsdd-ff-0 and so on

Each row is one run of `evprop train TASK --seed SEED`: first parameters and order of the samples come from the seed. An
epoch is chosen on the validation set where the experiment asks for it ([callbacks.KeepBest]); the test set is looked
at after training only. Rows are printed as they are done; accuracies do not depend on the number of threads.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

import evprop
from evprop.config import load_config
from evprop.experiment import Result, train_experiment


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("task", help="a shipped experiment or a .toml file")
    parser.add_argument("--seeds", default="0:10", help="FIRST:END, the end not included")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--spikes", action="store_true", help="spikes per neuron and silent share of the last epoch too"
    )
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="run folders stay, as FOLDER/TASK-SEED")
    parser.add_argument("--set", dest="changes", action="append", default=[], metavar="KEY=VALUE")
    given = parser.parse_args()
    first, end = (int(part) for part in given.seeds.split(":"))
    evprop.set_num_threads(given.threads)
    kept = {} if given.keep is None else {s: given.keep / f"{Path(given.task).stem}-{s}" for s in range(first, end)}
    for folder in kept.values():  # said before the first training, not after it
        if folder.exists():
            sys.exit(f"{folder} is there already: choose another --keep or other --seeds")

    rows: list[list[float]] = []
    for seed in range(first, end):
        started = time.process_time()
        with run_folder(kept.get(seed)) as folder:
            result = train_experiment(
                load_config(given.task, [*given.changes, f"seed={seed}"]),
                folder,
                pictures=False,
                progress=False,
            )
        if not rows:
            print_head(result, given.spikes)
        rows.append(figures(result, time.process_time() - started, given.spikes))
        print_row(str(seed), rows[-1])
    print_row("mean", np.mean(rows, axis=0))
    print_row("std", np.std(rows, axis=0))


@contextmanager
def run_folder(kept: Path | None) -> Iterator[Path]:
    """The folder to keep, or one for as long as it takes."""
    if kept is not None:
        yield kept
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def print_head(result: Result, spikes: bool) -> None:
    names = ["seed", "test, last epoch (%)"]
    if result.best is not None:
        names += ["epoch chosen", "its validation (%)", "its test (%)"]
    names += ["training (s)", "CPU, all (s)"]
    if spikes:
        names += ["hidden spikes per neuron", "silent (%)"]
    print(f"| {' | '.join(names)} |\n|{'---:|' * len(names)}", flush=True)


def figures(result: Result, cpu: float, spikes: bool) -> list[float]:
    row = [100 * result.last.accuracy]
    if result.best is not None and result.best_epoch is not None:
        chosen = result.history.rows[result.best_epoch - 1]
        row += [result.best_epoch, 100 * chosen["val_accuracy"], 100 * result.best.accuracy]
    row += [result.seconds, cpu]
    if spikes:
        last = result.history.rows[-1]
        row += [last["spikes_per_neuron"]["hidden"], 100 * last["health"]["silent"]["hidden"]]
    return row


def print_row(name: str, row: Sequence[float]) -> None:
    formats = ["{:.2f}", "{:.0f}", "{:.2f}", "{:.2f}", "{:.1f}", "{:.1f}", "{:.2f}", "{:.1f}"][: len(row)]
    if len(row) in (3, 5):  # no epoch was chosen
        formats = ["{:.2f}", "{:.1f}", "{:.1f}", "{:.2f}", "{:.1f}"][: len(row)]
    cells = [form.format(value) for form, value in zip(formats, row, strict=True)]
    print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
