"""How much an untrained hidden layer tells of a word, for several first weights and delays: a Markdown table.

    EVPROP_DATA=... python benches/untrained_features.py fsdd-ff

Spike counts of the 256 hidden neurons, each spike weighted by e^{-t/300 ms} as the experiment's readout weighs it, go
into a linear classifier (ridge regression on standardised counts) that is fitted on the first 800 training samples and
judged on the validation set; the best of three penalties. No gradient is involved: this is about the features that
training starts from.
"""

from __future__ import annotations

import argparse

import numpy as np

import evprop
from evprop.config import load_config
from evprop.datasets import Dataset
from evprop.experiment import build_experiment

TAU, PENALTIES = 300.0, (10.0, 100.0, 1000.0)
STARTS = (
    (evprop.init.Normal(0.1, 0.05), None),
    (evprop.init.Normal(0.05, 0.1), None),
    (evprop.init.Normal(0.05, 0.4), None),
    (evprop.init.Tonotopic(0.05, 0.2, 2.0), None),
    (evprop.init.Normal(0.05, 0.4), evprop.init.Uniform(0.0, 60.0)),
    (evprop.init.Normal(0.05, 0.4), evprop.init.Uniform(0.0, 100.0)),
)
"""First weights and delays (ms)."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("task", help="a shipped experiment on recordings, for its data")
    parser.add_argument("--samples", type=int, default=800)
    given = parser.parse_args()
    experiment = build_experiment(load_config(given.task))
    train, validation = experiment.data["train"][: given.samples], experiment.data["validation"]
    print("| first weights | delays (ms) | validation (%) | spikes per neuron | silent (%) |\n|---|---|---:|---:|---:|")
    for weight, delay in STARTS:
        net = evprop.Network(
            {"input": evprop.Input(train.spikes.n_units), "hidden": evprop.LIF(256)},
            [evprop.Dense("input", "hidden", weight=weight, delay=delay)],
        )
        params = net.init(0, dtype="float32")
        found, _, _ = features(net, params, train, experiment.duration)
        judged, rate, silent = features(net, params, validation, experiment.duration)
        right = max(ridge(found, train.labels, judged, validation.labels, p) for p in PENALTIES)
        print(f"| {weight} | {delay or '-'} | {100 * right:.1f} | {rate:.1f} | {100 * silent:.0f} |", flush=True)


def features(
    net: evprop.Network, params: dict[str, np.ndarray], data: Dataset, duration: float
) -> tuple[np.ndarray, float, float]:
    """Weighted counts (n, 256), spikes per neuron and sample, share of silent (sample, neuron) pairs."""
    record = evprop.simulate(
        net, params, data.spikes, duration=duration, simulator=evprop.Exact(dtype="float32")
    )
    spikes = record.spikes["hidden"]
    shape = (len(data), spikes.n_units)
    where = spikes.samples * spikes.n_units + spikes.units
    weighted = np.bincount(where, weights=np.exp(-spikes.times / TAU), minlength=shape[0] * shape[1])
    counts = spikes.counts()
    return weighted.reshape(shape), float(counts.mean()), float((counts == 0).mean())


def ridge(x: np.ndarray, y: np.ndarray, x_new: np.ndarray, y_new: np.ndarray, penalty: float) -> float:
    """Share of right answers of a linear classifier fitted to one-hot labels."""
    mean, std = x.mean(axis=0), x.std(axis=0) + 1e-6
    x, x_new = (x - mean) / std, (x_new - mean) / std
    targets = np.eye(y.max() + 1)[y]
    inner = x.T @ x + penalty * np.eye(x.shape[1])
    weights = np.linalg.solve(inner, x.T @ (targets - targets.mean(axis=0)))
    return float(((x_new @ weights).argmax(axis=1) == y_new).mean())


if __name__ == "__main__":
    main()
