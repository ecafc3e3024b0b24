"""Small spoken-word nets under attack: accuracy against the budget of spike times, with delays and without.

    EVPROP_DATA=... python benches/robustness_speech.py fsdd gsc

Every tenth channel of the recordings (70 of 700), one hidden layer of 64 LIF neurons, a leaky integrator per class, the
experiments' loss (fsdd-ff.toml). Few epochs: these nets are examples of trained ones, not the best. Attacks as in
robustness.py, on the first samples of a shuffled test set. On the chips' models nets are as trained, without
fine-tuning; the BrainScaleS-2 model has all distortions of neurons and synapses, but room and delays as the net needs.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

import evprop
from evprop.attacks import Victim, delete_spikes, insert_spikes, shift_times
from evprop.config import load_config
from evprop.datasets import Dataset
from evprop.experiment import build_experiment
from evprop.train import fit
from robustness import chance, print_row, right

DURATION = 1000.0
LOSS = evprop.losses.CrossEntropy(evprop.losses.WeightedIntegral(300.0))
LOIHI2 = evprop.Loihi2(dt=1.0, strict=False, clip_delays=True, dtype="float32")
FREE = ("resources", "delay_range", "delay_step", "delay_jitter", "refractory_range", "link_rate")


def thinned(data: Dataset, every: int, n: int, seed: int) -> Dataset:
    """Every so many channels of n samples in a random order."""
    chosen = np.random.default_rng(seed).permutation(len(data.labels))[:n]
    spikes = data.spikes[chosen]
    kept = (spikes.units % every == 0) & (spikes.times <= DURATION)
    offsets = np.concatenate([[0], np.cumsum(kept)])[spikes.offsets]
    units = spikes.units[kept] // every
    return Dataset(evprop.Spikes(spikes.times[kept], units, offsets, spikes.n_units // every), data.labels[chosen])


def network(n_in: int, n_hidden: int, n_out: int, delays: bool) -> evprop.Network:
    init = evprop.init
    return evprop.Network(
        {
            "input": evprop.Input(n_in),
            "hidden": evprop.LIF(n_hidden, tau_mem=20.0, tau_syn=5.0),
            "output": evprop.LI(n_out, tau_mem=20.0, tau_syn=5.0),
        },
        [
            evprop.Dense(
                *("input", "hidden"),
                weight=init.Tonotopic(0.1, 0.4, 1.0),
                delay=init.Uniform(0.0, 50.0) if delays else None,
            ),
            evprop.Dense("hidden", "output", weight=init.Normal(0.0, 1.0)),
        ],
    )


def trained(task: str, parts: dict[str, Dataset], delays: bool, args: argparse.Namespace) -> Victim:
    """A net after some epochs."""
    train = parts["train"]
    net = network(train.spikes.n_units, args.hidden, int(train.labels.max()) + 1, delays)
    params = net.init(seed=args.seed, dtype="float32")
    groups = {"hidden_output.weight": {"lr": 0.5}} | ({"*.delay": {"lr": 1.0}} if delays else {})
    optimiser = evprop.optim.Adam(lr=args.lr, groups=groups)
    rate = evprop.losses.Rate(population="hidden", target=8.0, upper=1e-7, lower=1e-6)
    simulator = evprop.Exact(dtype="float32")
    history = fit(
        *(net, params, train, LOSS + rate, optimiser),
        epochs=args.epochs,
        batch_size=16,
        duration=DURATION,
        seed=args.seed,
        simulator=simulator,
    )
    victim = Victim(net, params, LOSS, DURATION, simulator)
    test = right(victim, parts["test"].spikes, parts["test"].labels)
    rates = history.rows[-1]["spikes_per_neuron"]["hidden"]
    print(
        f"{task}, {'delays' if delays else 'no delays'}: training {100 * history.rows[-1]['accuracy']:.1f} %, test "
        f"{test:.1f} % of {len(parts['test'].labels)}; {rates:.1f} spikes per hidden neuron",
        flush=True,
    )
    return victim


def on(victim: Victim, name: str) -> Victim:
    """The same net on another simulator."""
    wide = {key: np.asarray(array, np.float64) for key, array in victim.params.items()}
    if name == "loihi2":
        return Victim(victim.net, victim.params, LOSS, DURATION, LOIHI2)
    if name == "brainscales2":
        scale = 63.0 / float(np.quantile(np.abs(wide["input_hidden.weight"]), 0.99))
        chip = evprop.BrainScaleS2(chip=0, min_vdot=0.01, weight_scale=scale).without(*FREE)
        return Victim(victim.net, wide, LOSS, DURATION, chip)
    return victim


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="+", choices=["fsdd", "gsc"])
    parser.add_argument("--on", nargs="+", default=["exact", "loihi2", "brainscales2"])
    parser.add_argument("--budgets", nargs="+", type=float, default=[0.0, 0.1, 0.5, 1.0, 2.0, 5.0])
    parser.add_argument("--every", type=int, default=10)
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--train", type=int, default=1500, help="training samples")
    parser.add_argument("--samples", type=int, default=60, help="attacked")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--most", type=int, default=3, help="spikes left out or added")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cache", help="folder for the recordings as read")
    args = parser.parse_args()
    for task in args.tasks:
        changes = [] if args.cache is None else [f'data.cache="{args.cache}"']
        data = build_experiment(load_config(f"{task}-ff-delays", changes)).data
        sizes = {"train": args.train, "test": len(data["test"].labels)}
        parts = {name: thinned(data[name], args.every, n, args.seed) for name, n in sizes.items()}
        victims = {delays: trained(task, parts, delays, args) for delays in (False, True)}
        spikes, labels = parts["test"].spikes[: args.samples], parts["test"].labels[: args.samples]
        shifted(task, victims, spikes, labels, args)
        counted(task, victims, spikes, labels, args)


def shifted(task: str, victims: dict[bool, Victim], spikes: Any, labels: Any, args: argparse.Namespace) -> None:
    """Accuracy against the budget of spike times."""
    head = " | ".join(f"{budget:g}" for budget in args.budgets)
    print(f"\n| net | simulator | attack | {head} |\n|---|---|---|{'---:|' * len(args.budgets)}")
    for delays, victim in victims.items():
        for name in args.on:
            target = on(victim, name)
            names = [f"{task}, {'delays' if delays else 'no delays'}", type(target.simulator).__name__]
            row = [chance(target, spikes, labels, budget) for budget in args.budgets]
            print_row([*names, "by chance"], row)
            lent = None if name == "exact" else victim
            made = [
                shift_times(target, spikes, labels, budget=budget, steps=args.steps, surrogate=lent).spikes
                for budget in args.budgets
            ]
            print_row([*names, "gradient of exact"], [right(target, one, labels) for one in made])


def counted(task: str, victims: dict[bool, Victim], spikes: Any, labels: Any, args: argparse.Namespace) -> None:
    """Accuracy on the exact engine with spikes left out and added, of 20 tried for each."""
    print(f"\n| net | attack | {' | '.join(map(str, range(args.most + 1)))} |\n|---|---|{'---:|' * (args.most + 1)}")
    places = np.arange(0.0, 600.0, 20.0)
    for delays, victim in victims.items():
        name = f"{task}, {'delays' if delays else 'no delays'}"
        for way in ("left out", "added"):
            row = []
            for most in range(args.most + 1):
                if way == "left out":
                    made = delete_spikes(victim, spikes, labels, most=most, candidates=20)
                else:
                    made = insert_spikes(victim, spikes, labels, most=most, candidates=20, times=places)
                row.append(right(victim, made.spikes, labels))
            print_row([name, way], row)


if __name__ == "__main__":
    main()
