"""DelGrad's training loop with nothing of evprop but the data: spike times and gradients in closed form, in NumPy.

    python benches/brainscales2/closed_form.py --seeds 0:4            # their 4-5-3 net with synaptic delays, 300 epochs

A second answer to how well their settings do (J. Göltz, J. Weber, L. Kriener et al., Nature Communications 16, 2025;
from their code, github JulianGoeltz/fastAndDeep), in their unit: C u' = -g u + I, C = 1, g = 1/2, threshold 1,
tau_mem = 2 tau_syn, tau_syn = 1. With the inputs t_i <= T, the causal set of the spike T,

    a1 = sum w_i e^{t_i}     a2 = sum w_i e^{t_i / 2}     x = sqrt(a2^2 - 2 a1)     k = (1 + e^{T / 2} / (2 x)) / a1
    T = 2 ln( 2 a1 / (a2 + x) )
    dT/dw_i = 2 (k e^{t_i} - e^{t_i / 2} / x)        dT/dt_i = w_i (2 k e^{t_i} - e^{t_i / 2} / x)

Prints for each seed the accuracy on the validation set, the mean over the last five epochs in percent.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from numpy.typing import NDArray

from evprop.datasets.yin_yang import SPLITS, yin_yang_points

Array = NDArray[np.float64]
DELTA, BATCH, MAX_DW, BUMP = 0.2, 150, 0.2, 5e-4
MAX_MISSING = (0.3, 0.0)
RATE_WEIGHTS, RATE_DELAYS = 0.015, 0.01


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", default="0:4", help="FIRST:END, the end not included")
    parser.add_argument("--hidden", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=300)
    given = parser.parse_args()
    np.seterr(all="ignore")  # impossible causal sets are NaN and thrown away
    print("| seed | validation (%) | CPU (s) |\n|---:|---:|---:|", flush=True)
    for seed in range(*(int(part) for part in given.seeds.split(":"))):
        started = time.process_time()
        accuracy = train(seed, given.hidden, given.epochs)
        print(f"| {seed} | {100 * accuracy:.2f} | {time.process_time() - started:.1f} |", flush=True)


def train(seed: int, hidden: int, epochs: int) -> float:
    rng = np.random.default_rng(seed)
    shapes = [(4, hidden), (hidden, 3)]
    params = [rng.normal(1.0, 1.0, shape) for shape in shapes]
    params += [rng.normal(0.0, 0.25, shape) for shape in shapes]  # delay = sigmoid of this
    (times, labels), (val_times, val_labels) = (encoded(split) for split in ("train", "validation"))
    optimiser, amount, last, accuracies = Adam(params), BUMP, -1, []
    for epoch in range(epochs):
        rates = [
            rate * 0.95 ** (epoch // 20) for rate in (RATE_WEIGHTS, RATE_WEIGHTS, RATE_DELAYS, RATE_DELAYS)
        ]
        order = rng.permutation(len(times))
        for start in range(0, len(times), BATCH):
            batch = order[start : start + BATCH]
            layers = forward(params, times[batch])
            missing = [~np.isfinite(fired) for _, fired in layers]
            short = next((k for k in (0, 1) if missing[k].mean() > MAX_MISSING[k]), -1)
            if short >= 0:  # weight bumping in place of a step
                amount = 2.0 * amount if short == last else BUMP
                params[short] += amount * missing[short].any(0)
            else:
                optimiser.step(params, backward(params, layers, labels[batch]), rates)
            last = short
        outputs = forward(params, val_times)[1][1]
        right = (outputs.argmin(1) == val_labels) & np.isfinite(outputs.min(1))
        accuracies.append(right.mean())
    return float(np.mean(accuracies[-5:]))


def encoded(split: str) -> tuple[Array, NDArray[np.int64]]:
    values, labels = yin_yang_points(*SPLITS[split])
    return 0.15 + 1.85 * values, labels


def sigmoid(theta: Array) -> Array:
    return 1.0 / (1.0 + np.exp(-theta))


def forward(params: list[Array], times: Array) -> list[tuple[Array, Array]]:
    """(arrivals (batch, pre, post), spikes (batch, post)) of both layers; inf: no spike."""
    layers = []
    for weights, theta in zip(params[:2], params[2:], strict=True):
        arrivals = times[:, :, None] + sigmoid(theta)
        times = first_spikes(arrivals, weights)
        layers.append((arrivals, times))
    return layers


def first_spikes(arrivals: Array, weights: Array) -> Array:
    order = np.argsort(arrivals, axis=1, kind="stable")
    t = np.take_along_axis(arrivals, order, 1)
    w = np.take_along_axis(np.broadcast_to(weights, t.shape), order, 1)
    e = np.exp(np.where(np.isinf(t), -np.inf, t) / 2.0)
    a1, a2 = np.cumsum(w * e * e, 1), np.cumsum(w * e, 1)
    ratio = 2.0 * a1 / (a2 + np.sqrt(a2 * a2 - 2.0 * a1))
    spikes = 2.0 * np.log(np.where(ratio > 0.0, ratio, np.nan))
    until = np.concatenate([t[:, 1:], np.full_like(t[:, :1], np.inf)], 1)
    return np.where((spikes >= t) & (spikes <= until), spikes, np.inf).min(1)


def backward(
    params: list[Array], layers: list[tuple[Array, Array]], labels: NDArray[np.int64]
) -> list[Array]:
    """Gradients of the mean of 1/2 sum_n (t_n - t* - DELTA [n != *])^2, in the order of ``params``."""
    outputs = layers[1][1]
    rows = np.arange(len(labels))
    cotangents = outputs - outputs[rows, labels][:, None] - DELTA
    cotangents[rows, labels] = 0.0
    cotangents[rows, labels] = -cotangents.sum(1)
    cotangents /= len(labels)
    grads: list[Array] = [np.empty(0)] * 4
    for k in (1, 0):
        own, d_arrivals = through(*layers[k], params[k], cotangents)
        dropped = np.abs(own).max(1) > MAX_DW
        grads[k] = np.where(dropped[:, None, :], 0.0, own).sum(0)
        delay = sigmoid(params[2 + k])
        grads[2 + k] = d_arrivals.sum(0) * delay * (1.0 - delay)
        cotangents = d_arrivals.sum(2)
    return grads


def through(arrivals: Array, spikes: Array, weights: Array, cotangents: Array) -> tuple[Array, Array]:
    """dL/dw of each sample and dL/d(arrival), both (batch, pre, post)."""
    t = spikes[:, None, :]
    causal = (arrivals <= t) & np.isfinite(t) & np.isfinite(arrivals)
    e, w = np.where(causal, np.exp(arrivals / 2.0), 0.0), np.where(causal, weights, 0.0)
    a1, a2 = (w * e * e).sum(1, keepdims=True), (w * e).sum(1, keepdims=True)
    x = np.sqrt(a2 * a2 - 2.0 * a1)
    k = (1.0 + np.exp(t / 2.0) / (2.0 * x)) / a1
    given = np.where(causal, cotangents[:, None, :], 0.0)
    dw, dt = 2.0 * (k * e * e - e / x), w * (2.0 * k * e * e - e / x)
    return np.where(causal, dw * given, 0.0), np.where(causal, dt * given, 0.0)


class Adam:
    """Kingma & Ba 2015, algorithm 1."""

    def __init__(self, params: list[Array]) -> None:
        self.m = [np.zeros_like(p) for p in params]
        self.v = [np.zeros_like(p) for p in params]
        self.t = 0

    def step(self, params: list[Array], grads: list[Array], rates: list[float]) -> None:
        self.t += 1
        for p, g, m, v, rate in zip(params, grads, self.m, self.v, rates, strict=True):
            m += 0.1 * (g - m)
            v += 0.001 * (g * g - v)
            p -= rate * (m / (1.0 - 0.9**self.t)) / (np.sqrt(v / (1.0 - 0.999**self.t)) + 1e-8)


if __name__ == "__main__":
    main()
