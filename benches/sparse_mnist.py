"""The digits experiment of Szeghy et al. 2022: learnt dictionaries, classifiers of codes under attack, stand-ins.

    python benches/sparse_mnist.py FOLDER --out docs/results  # the folder of t10k-images-idx3-ubyte.gz and its labels

The 10,000 digits of MNIST's test file, in an order drawn from PCG64(0): 7,000 to train, 1,000 to stop by, 2,000 to
test. The mean of the training digits is taken away and each digit divided by its norm. 256 atoms, groups of 8. Each
model has a dictionary of its own, first from the digits alone (the cost of the pursuit), then with its softmax
classifier, the gradient going through the solver. Stand-ins learn the pooled codes of pooled GBP and keep its
classifier; how much of the codes' mean square they miss is told of the validation part. All accuracies are of the test
part; attacks are IFGSM in l2 balls, white box, and for stand-ins also with
the examples made for pooled GBP (black box).
"""

from __future__ import annotations

import argparse
import gzip
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from evprop.sparse import Pursuit, PursuitClassifier, equal_groups, group_norms, ifgsm

BUDGETS = (0.0, 0.03, 0.06, 0.09, 0.12, 0.15)
GROUPS = equal_groups(256, 8)
KEPT = ("dictionary", "weight", "bias", "validation", "seconds")
MODELS: dict[str, dict[str, Any]] = {
    "BP": {"l1": 0.07, "l2": 0.0, "groups": None, "pooled": False},
    "GBP": {"l1": 0.0, "l2": 0.12, "groups": GROUPS, "pooled": False},
    "pooled GBP": {"l1": 0.0, "l2": 0.12, "groups": GROUPS, "pooled": True},
}


def read(folder: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """{part: (signals of norm 1, labels)}."""
    pixels = gzip.decompress((folder / "t10k-images-idx3-ubyte.gz").read_bytes())
    labels = gzip.decompress((folder / "t10k-labels-idx1-ubyte.gz").read_bytes())
    x = np.frombuffer(pixels, np.uint8, offset=16).reshape(-1, 784).astype(np.float64)
    y = np.frombuffer(labels, np.uint8, offset=8).astype(np.int64)
    order = np.random.Generator(np.random.PCG64(0)).permutation(len(x))
    x -= x[order[:7000]].mean(axis=0)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    parts = {"train": order[:7000], "validation": order[7000:8000], "test": order[8000:]}
    return {name: (np.ascontiguousarray(x[part]), y[part]) for name, part in parts.items()}


class Adam:
    """Of one array (Kingma & Ba 2015)."""

    def __init__(self, lr: float, like: np.ndarray) -> None:
        self.lr, self.m, self.v, self.t = lr, np.zeros_like(like), np.zeros_like(like), 0

    def step(self, values: np.ndarray, gradient: np.ndarray) -> None:
        self.t += 1
        self.m += 0.1 * (gradient - self.m)
        self.v += 0.001 * (gradient**2 - self.v)
        values -= self.lr * (self.m / (1 - 0.9**self.t)) / (np.sqrt(self.v / (1 - 0.999**self.t)) + 1e-8)


def learn(
    model: dict[str, Any], data: dict[str, tuple[np.ndarray, np.ndarray]], args: argparse.Namespace
) -> tuple[PursuitClassifier, float]:
    """The classifier of the best epoch on the validation part, and its accuracy there."""
    rng = np.random.default_rng(args.seed)
    x, y = data["train"]
    x, y = x[: args.train], y[: args.train]
    atoms = rng.standard_normal((784, 256))
    atoms = 0.3 * atoms / np.linalg.norm(atoms, axis=0) + x[rng.choice(len(x), 256, replace=False)].T
    atoms /= np.linalg.norm(atoms, axis=0)
    settings = {key: model[key] for key in ("l1", "l2", "groups")}
    weight, bias = 0.1 * rng.standard_normal((32 if model["pooled"] else 256, 10)), np.zeros(10)
    by = [Adam(args.lr_dictionary, atoms), Adam(args.lr, weight), Adam(args.lr, bias)]
    known = np.zeros((len(x), 256))  # the codes of an epoch are where the next begins
    best, best_accuracy = None, -1.0
    for epoch in range(args.epochs):
        alone = epoch < args.alone
        for chosen in np.array_split(rng.permutation(len(x)), -(-len(x) // args.batch)):
            top = PursuitClassifier(Pursuit(atoms, **settings), weight, bias, model["pooled"], args.tolerance)
            signals = np.ascontiguousarray(x[chosen])
            codes = top.pursuit.solve(signals, start=known[chosen], tolerance=args.tolerance)
            known[chosen] = codes.values
            scores = top.scores(codes.values)
            p = np.exp(scores - scores.max(axis=1, keepdims=True))
            p /= p.sum(axis=1, keepdims=True)
            p[np.arange(len(chosen)), y[chosen]] -= 1.0
            p /= len(chosen)
            features = group_norms(codes.values, GROUPS) if model["pooled"] else codes.values
            if alone:  # at the minimum the cost's slope is that of its first term
                gradient = (codes.values @ atoms.T - signals).T @ codes.values / len(chosen)
            else:
                gradient = top.pursuit.dictionary_gradient(signals, codes, top.code_cotangent(codes.values, p))
            steps = (gradient, features.T @ p, p.sum(axis=0))
            for optimiser, values, slope in zip(by, (atoms, weight, bias), steps, strict=True):
                optimiser.step(values, slope)
            atoms /= np.linalg.norm(atoms, axis=0)
        top = PursuitClassifier(Pursuit(atoms, **settings), weight.copy(), bias.copy(), model["pooled"], args.tolerance)
        accuracy = right(top, *data["validation"])
        if accuracy > best_accuracy and not alone:
            best, best_accuracy = top, accuracy
    assert best is not None
    return best, best_accuracy


def learnt_once(name: str, data: dict[str, tuple[np.ndarray, np.ndarray]], args: argparse.Namespace) -> Any:
    """The classifier of `learn`, or what an earlier call left in the folder of models."""
    model, kept = MODELS[name], args.models and args.models / f"{name}.npz"
    if kept and kept.exists():
        atoms, weight, bias, validation, spent = (np.load(kept)[key] for key in KEPT)
    else:
        start = time.process_time()
        top, validation = learn(model, data, args)
        atoms, weight, bias = top.pursuit.dictionary, top.weight, top.bias
        spent = time.process_time() - start
        if kept:
            np.savez(kept, **dict(zip(KEPT, (atoms, weight, bias, validation, spent), strict=True)))
    print(f"{name}: {validation:.1f} % on the validation part, {spent:.0f} s of CPU", flush=True)
    pursuit = Pursuit(atoms, **{key: model[key] for key in ("l1", "l2", "groups")})
    return PursuitClassifier(pursuit, weight, bias, model["pooled"], 1e-4)


def right(top: Any, x: np.ndarray, labels: np.ndarray) -> float:
    """Accuracy in %."""
    return 100.0 * float(np.mean(top.predict(x) == labels))


def seconds(work: Callable[[], Any], repeats: int = 3) -> float:
    """CPU time of one call, the least of some."""
    found = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        found.append(time.process_time() - start)
    return min(found)


def stand_ins(args: argparse.Namespace) -> dict[str, Any]:
    """Untrained, by name."""
    import torch

    from evprop.interop.torch import DenseStandIn, LinearTransformerStandIn

    torch.manual_seed(args.seed)
    torch.set_num_threads(1)
    return {
        "linear transformer": LinearTransformerStandIn(784, 32, tokens=28, width=32, heads=4, depth=1),
        "dense": DenseStandIn(784, 32),
        "dense-deep": DenseStandIn(784, 32, hidden=(256,) * 6),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epochs", type=int, default=5, help="of a dictionary")
    parser.add_argument("--alone", type=int, default=1, help="the first of them without the classifier")
    parser.add_argument("--train", type=int, default=7000, help="samples of the training part")
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--lr-dictionary", type=float, default=5e-3)
    parser.add_argument("--tolerance", type=float, default=1e-3, help="relative duality gap while learning")
    parser.add_argument("--stand-in-epochs", type=int, default=20)
    parser.add_argument("--lr-stand-in", type=float, default=2e-3)
    parser.add_argument("--attacked", type=int, default=1000, help="samples of the test part")
    parser.add_argument("--steps", type=int, default=10, help="of IFGSM")
    parser.add_argument("--only", nargs="+", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--models", type=Path, help="folder where what was learnt is kept, and read if it is there")
    parser.add_argument("--out", type=Path, help="folder of the picture")
    args = parser.parse_args()
    data = read(args.folder)
    x, labels = (part[: args.attacked] for part in data["test"])
    models: dict[str, Any] = {}
    for name in args.only:
        models[name] = learnt_once(name, data, args)
    learnt = models.get("pooled GBP")
    if learnt is not None:
        from evprop.interop.torch import StandInClassifier, train_stand_in

        signals, unseen = data["train"][0][: args.train], data["validation"][0]
        pooled, wanted = (
            group_norms(learnt.pursuit.solve(part, tolerance=1e-4).values, GROUPS) for part in (signals, unseen)
        )
        for name, model in stand_ins(args).items():
            start = time.process_time()
            how = {"batch_size": 100, "lr": args.lr_stand_in, "seed": args.seed}
            losses = train_stand_in(model, signals, pooled, epochs=args.stand_in_epochs, **how)
            spent = time.process_time() - start
            models[name] = StandInClassifier(model, learnt.weight, learnt.bias)
            missed = 100.0 * np.mean((models[name].features(unseen) - wanted) ** 2) / np.mean(wanted**2)
            same = 100.0 * np.mean(models[name].predict(unseen) == learnt.predict(unseen))
            print(
                f"{name}: misses {100.0 * losses[-1]:.1f} % of the codes' mean square in training, {missed:.1f} % on "
                f"the validation part, where it gives the class of pooled GBP for {same:.1f} %; {spent:.0f} s of CPU",
                flush=True,
            )
    print(f"\n| model | all {len(data['test'][1])} | ms a sample | {' | '.join(f'{b:g}' for b in BUDGETS)} |")
    print(f"|---|---:|---:|{'---:|' * len(BUDGETS)}")
    curves, made_for = {}, {}
    for name, model in models.items():
        row = []
        for budget in BUDGETS:
            made = ifgsm(model, x, labels, budget=budget, norm="l2", steps=args.steps)
            row.append(100.0 * float(1.0 - made.fooled.mean()))
            if name == "pooled GBP":
                made_for[budget] = made.x
        cost = 1e3 * seconds(lambda m=model: m.predict(x)) / len(x)  # type: ignore[misc]
        curves[name] = row
        print_row(name, f"{right(model, *data['test']):.1f}", f"{cost:.3f}", row)
    if learnt is not None:
        for name, model in models.items():
            if name not in MODELS:
                curves[f"{name}, black box"] = row = [right(model, made_for[b], labels) for b in BUDGETS]
                print_row(f"{name}, black box", "-", "-", row)
    if args.out:
        draw(curves, args.out / "sparse-mnist.png")


def print_row(name: str, clean: str, cost: str, row: list[float]) -> None:
    print(f"| {name} | {clean} | {cost} | {' | '.join(f'{value:.1f}' for value in row)} |", flush=True)


def draw(curves: dict[str, list[float]], path: Path) -> None:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7.0, 4.5), layout="constrained")
    for name, row in curves.items():
        axes.plot(BUDGETS, row, "--" if "black" in name else "-", marker="o", markersize=3, label=name)
    axes.set_xlabel("l2 budget (signals have norm 1)")
    axes.set_ylabel("accuracy (%)")
    axes.legend(fontsize=7)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
