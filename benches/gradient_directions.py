"""Which gradient lowers the loss: exact and surrogate ones of one net at the same parameters, as a Markdown table.

    EVPROP_DATA=... python benches/gradient_directions.py runs/gsc-ff-delays-0 --dt 10 2

A spike that appears or goes has no part in an exact gradient: the loss jumps there. Over many samples these jumps are
a slope of the mean loss like any other, which a surrogate gradient guesses at. Here both are taken of the feed-forward
net with delays of a run folder, with its first and with its trained parameters, for each kind of parameter; the loss is
the mean cross entropy of --samples training words. A step along a gradient has the root mean square of --step steps of
the run's Adam. What it brings is half the difference of the losses after it and after the step back, which leaves
curvature out, by the exact engine.

foretold: what the exact gradient says of the step along it; true: what it brings, and in percent of foretold; spikes
lost and gained by it in percent of all hidden spikes, as counts of a neuron in a word; then what steps along surrogate
gradients bring, taken on grids of --dt ms (`speech_peers.Surrogate`). One batch: the same for the gradients of 16 of
the words, as training has them, mean of --batches; cosine: of the gradients of two batches, mean over all pairs of the
--samples, a multiple of 16. Needs requirements-peers.txt. One thread.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import log_softmax

import evprop
from evprop.datasets import Dataset
from evprop.experiment import Experiment, open_run
from evprop.losses import CrossEntropy
from speech_peers import Surrogate, frames
from speech_phases import readout_of

Params = dict[str, NDArray[np.float32]]

BATCH, SIZE = 50, 16  # of the looks, of the run's training
KINDS = {
    "input_hidden.weight": "input weights",
    "input_hidden.delay": "delays",
    "hidden_output.weight": "output weights",
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="feed-forward, with delays")
    parser.add_argument("--dt", type=float, nargs="+", default=[10.0], help="ms, of the surrogate gradients")
    parser.add_argument("--samples", type=int, default=400)
    parser.add_argument("--batches", type=int, default=5)
    parser.add_argument("--step", type=float, default=0.2, help="in steps of the run's Adam")
    given = parser.parse_args()
    evprop.set_num_threads(1)
    torch.set_num_threads(1)
    experiment, trained = open_run(given.run)
    train = experiment.data["train"]
    some = np.random.default_rng(0).permutation(len(train))[: given.samples]
    batches = [train[some[k : k + SIZE]] for k in range(0, given.samples, SIZE)]
    data = train[some]
    ways = {"exact": exact_gradient} | {f"{dt:g} ms": partial(surrogate_gradient, dt=dt) for dt in given.dt}
    guesses = list(ways)[1:]
    names = ["parameters", "step along", "foretold", "true", "of it (%)", "lost (%)", "gained (%)"]
    names += [f"surrogate, {dt}" for dt in guesses] + [f"one batch: {way}" for way in ways]
    names += [f"cosine: {way}" for way in ways]
    print(f"| {' | '.join(names)} |\n|---|---|{'---:|' * (len(names) - 2)}", flush=True)
    for state, params in (("first", experiment.init()), ("trained", trained)):
        _, counts = look(experiment, params, data)
        parts = {way: [gradient(experiment, params, part) for part in batches] for way, gradient in ways.items()}
        whole = {way: {name: np.mean([part[name] for part in parts[way]], axis=0) for name in KINDS} for way in ways}
        for name, kind in KINDS.items():
            length = given.step * rate(experiment, name)
            brought = partial(brings, experiment, params, data, name)
            step = along(whole["exact"], name, length)
            foretold = float((whole["exact"][name].astype(np.float64) * step).sum())
            true, after = brought(step)
            lost, gained = (np.maximum(sign * (after - counts), 0).sum() / counts.sum() for sign in (-1, 1))
            cells = [state, kind, f"{foretold:.4f}", f"{true:.4f}", f"{100 * true / foretold:.0f}"]
            cells += [f"{100 * lost:.1f}", f"{100 * gained:.1f}"]
            cells += [f"{brought(along(whole[dt], name, length))[0]:.4f}" for dt in guesses]
            for way in ways:
                few = parts[way][: given.batches]
                cells.append(f"{np.mean([brought(along(one, name, length))[0] for one in few]):.4f}")
            cells += [f"{cosine([part[name] for part in parts[way]]):.3f}" for way in ways]
            print(f"| {' | '.join(cells)} |", flush=True)


def cosine(parts: list[NDArray[np.float32]]) -> float:
    """Of two of them, the mean over all pairs."""
    units = np.stack([part.ravel() / np.linalg.norm(part.astype(np.float64)) for part in parts])
    return float((np.square(units.sum(axis=0)).sum() - len(units)) / (len(units) * (len(units) - 1)))


def rate(experiment: Experiment, name: str) -> float:
    """The learning rate of a parameter before any schedule."""
    groups = experiment.config["optimiser"].get("groups", {})
    pattern = "*.delay" if name.endswith(".delay") else name
    return float(groups.get(pattern, {}).get("lr", experiment.config["optimiser"]["lr"]))


def along(gradient: Params, name: str, length: float) -> NDArray[np.float64]:
    """Down the gradient of one kind of parameter, of this root mean square."""
    slope = gradient[name].astype(np.float64)
    return -length * slope / np.sqrt((slope**2).mean())


def brings(
    experiment: Experiment, params: Params, data: Dataset, name: str, step: NDArray[np.float64]
) -> tuple[float, NDArray[np.int64]]:
    """(half the difference of the losses after a step forwards and backwards, spike counts after the one forwards)."""
    there, counts = look(experiment, moved(params, name, step), data)
    back, _ = look(experiment, moved(params, name, -step), data)
    return (there - back) / 2, counts


def moved(params: Params, name: str, step: NDArray[np.float64]) -> Params:
    """Delays end at 0, as in training."""
    changed = (params[name] + step).astype(np.float32)
    return {**params, name: np.maximum(changed, 0) if name.endswith(".delay") else changed}


def look(experiment: Experiment, params: Params, data: Dataset) -> tuple[float, NDArray[np.int64]]:
    """(mean cross entropy, hidden spikes of each neuron in each word)."""
    output, readout = experiment.net.outputs[0], readout_of(experiment.loss)
    loss, counts = 0.0, []
    for k in range(0, len(data), BATCH):
        part = data[k : k + BATCH]
        how = {"duration": experiment.duration, "simulator": experiment.simulator}
        record = evprop.simulate(experiment.net, params, part.spikes, readouts={output: [readout]}, **how)
        told = log_softmax(record.readout[output][0].astype(np.float64), axis=1)
        loss -= float(told[np.arange(len(part)), part.labels].sum())
        counts.append(record.spikes["hidden"].counts())
    return loss / len(data), np.concatenate(counts)


def exact_gradient(experiment: Experiment, params: Params, data: Dataset) -> Params:
    total: Params = {name: np.zeros_like(params[name]) for name in KINDS}
    for k in range(0, len(data), BATCH):
        part = data[k : k + BATCH]
        _, grads, _ = evprop.value_and_grad(
            experiment.net,
            params,
            part.spikes,
            part.labels,
            CrossEntropy(readout_of(experiment.loss)),
            duration=experiment.duration,
            simulator=experiment.simulator,
            input_times=False,
        )
        for name in KINDS:
            total[name] += grads[name] * np.float32(len(part) / len(data))
    return total


def surrogate_gradient(experiment: Experiment, params: Params, data: Dataset, dt: float) -> Params:
    net = Surrogate(data.spikes.n_units, data.n_classes, dt)
    middle = (net.taps - 1) / 2  # a tap at the middle of the kernel has half the longest delay, one at its end none
    with torch.no_grad():
        net.delayed.weight.copy_(torch.from_numpy(params["input_hidden.weight"].T.copy())[..., None])
        place = middle - params["input_hidden.delay"].T / dt
        net.delayed.P.copy_(torch.from_numpy(place.copy())[None, ..., None])
        net.w_output.weight.copy_(torch.from_numpy(params["hidden_output.weight"].T.copy()))
    for k in range(0, len(data), BATCH):
        part = data[k : k + BATCH]
        logits = net(frames(part.spikes, dt, experiment.duration), 1.0)
        wrong = torch.nn.functional.cross_entropy(logits, torch.tensor(part.labels), reduction="sum")
        (wrong / len(data)).backward()
    return {
        "input_hidden.weight": net.delayed.weight.grad[..., 0].T.numpy(),
        "input_hidden.delay": -net.delayed.P.grad[0, ..., 0].T.numpy() / dt,
        "hidden_output.weight": net.w_output.weight.grad.T.numpy(),
    }


if __name__ == "__main__":
    main()
