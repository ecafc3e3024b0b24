"""What the training loop costs beside the bare step, on recordings: CPU time per sample, as a Markdown table.

    EVPROP_DATA=... python benches/training_loop.py fsdd
    EVPROP_DATA=... python benches/training_loop.py fsdd-delays --samples 160

The bare step is the gradient of a batch and the optimiser's step on batches that are ready in memory. The loop is
`evprop.train.fit` over the same batches with the experiment's augmentation. Both on one thread, in turns; the least of
the rounds each. CPU time of the whole process, the loader's thread included.
"""

from __future__ import annotations

import argparse
import time

import evprop
from evprop.config import load_config
from evprop.experiment import Experiment, build_experiment
from evprop.loader import Loader
from evprop.train import fit


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("task", help="a shipped experiment or a .toml file")
    parser.add_argument("--samples", type=int, default=320)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--set", dest="changes", action="append", default=[], metavar="KEY=VALUE")
    given = parser.parse_args()
    evprop.set_num_threads(1)
    experiment = build_experiment(load_config(given.task, given.changes))
    data = experiment.data["train"][: given.samples]
    times = [(bare(experiment, data), loop(experiment, data)) for _ in range(given.rounds)]
    step, whole = (1000 * min(column) / len(data) for column in zip(*times, strict=True))
    names = ", ".join(type(a).__name__ for a in experiment.augment) or "no augmentation"
    print(
        f"{given.task}, {len(data)} samples in batches of {experiment.config['training.batch_size']}; {names}\n"
    )
    print("| | CPU ms per sample |\n|---|---|")
    print(
        f"| bare step | {step:.2f} |\n| training loop | {whole:.2f} |\n| more | {100 * (whole / step - 1):.1f} % |"
    )


def bare(experiment: Experiment, data: evprop.datasets.Dataset) -> float:
    """CPU seconds of gradients and steps alone."""
    params = experiment.init()
    state = experiment.optimiser.init(experiment.net, params)
    size = experiment.config["training.batch_size"]
    loader = Loader(data, size, 0, augment=experiment.augment, duration=experiment.duration)
    batches = list(loader.batches(0))
    began = time.process_time()
    for batch in batches:
        _, grads, _ = evprop.value_and_grad(
            experiment.net,
            params,
            batch.spikes,
            batch.labels,
            experiment.loss,
            duration=experiment.duration,
            simulator=experiment.simulator,
            input_times=False,
        )
        experiment.optimiser.step(params, grads, state)
    return time.process_time() - began


def loop(experiment: Experiment, data: evprop.datasets.Dataset) -> float:
    """CPU seconds of an epoch of `fit`."""
    params = experiment.init()
    began = time.process_time()
    fit(
        experiment.net,
        params,
        data,
        experiment.loss,
        experiment.optimiser,
        epochs=1,
        batch_size=experiment.config["training.batch_size"],
        duration=experiment.duration,
        seed=0,
        simulator=experiment.simulator,
        augment=experiment.augment,
    )
    return time.process_time() - began


if __name__ == "__main__":
    main()
