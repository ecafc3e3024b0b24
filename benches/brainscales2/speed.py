"""How long DelGrad's 4-30-3 net takes to train: seconds of 300 epochs of 5,000 samples on one thread, by settings.

    python benches/brainscales2/speed.py                  # 30 epochs of each, times ten
    python benches/brainscales2/speed.py --epochs 300

A line: number type, samples a batch, whether large gradients of single samples are dropped (`max_dw_norm`, as
published); seconds of the training steps, and of everything that `fit` does (the validation set after each epoch too),
by the wall and in CPU seconds; of the latter those in the engine (forward pass, loss, backward pass) and all others.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import evprop
from evprop import _core
from evprop.config import load_config
from evprop.experiment import build_experiment

SETTINGS = [
    ("float64", 150, True),
    ("float32", 150, True),
    ("float32", 150, False),
    ("float32", 500, False),
]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--epochs", type=int, default=30)
    epochs = parser.parse_args().epochs
    evprop.set_num_threads(1)
    print(
        "| type | batch | max_dw_norm | steps (s) | all (s) | all, CPU (s) | engine | Python |"
    )
    print("|---|---:|---|---:|---:|---:|---:|---:|")
    engine = {name: Stopwatch(name) for name in ("value_and_grad", "simulate", "backward")}
    for dtype, batch_size, drops in SETTINGS:
        changes = [
            f"simulator.dtype={dtype}",
            f"training.batch_size={batch_size}",
            f"training.epochs={epochs}",
        ]
        e = build_experiment(load_config("yin-yang-delgrad-weights", changes))
        params, data = e.init(), e.data
        for watch in engine.values():
            watch.seconds = 0.0
        wall, cpu = time.perf_counter(), time.process_time()
        history = evprop.train.fit(
            *(e.net, params, data["train"], e.loss, e.optimiser),
            epochs=epochs,
            batch_size=batch_size,
            duration=e.duration,
            seed=e.seed,
            simulator=e.simulator,
            max_dw_norm=e.config["training.max_dw_norm"] if drops else None,
            validation=data["validation"],
            callbacks=e.callbacks,
        )
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        own = sum(watch.seconds for watch in engine.values())
        row = [history["seconds"][-1], wall, cpu, own, cpu - own]
        figures = " | ".join(f"{seconds * 300 / epochs:.1f}" for seconds in row)
        print(f"| {dtype} | {batch_size} | {'yes' if drops else 'no'} | {figures} |", flush=True)


class Stopwatch:
    """CPU seconds spent in a function of the compiled core."""

    def __init__(self, name: str) -> None:
        self.seconds = 0.0
        self._call = getattr(_core, name)
        setattr(_core, name, self)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        started = time.process_time()
        try:
            return self._call(*args, **kwargs)
        finally:
            self.seconds += time.process_time() - started


if __name__ == "__main__":
    main()
