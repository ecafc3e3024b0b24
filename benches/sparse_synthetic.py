"""The synthetic experiment of Szeghy et al. 2022: supports of codes, and accuracy of their classifiers under attack.

    python benches/sparse_synthetic.py                       # 10,000 samples, and as many attacked per margin
    python benches/sparse_synthetic.py --samples 200 --attacked 50

A Grassmannian dictionary of 300 atoms in 100 dimensions, 75 groups of 4, 8 groups in use with values from U[1, 2],
x = D a. Classifiers are the truth: the sign of w . a (BP, GBP) or of w . norms (pooled), w Gaussian of norm 1, among
samples whose w . a is at least eta from 0, for the true code or for the one that was found: a row of each. They are
given the code that was found. BP has l1 = 0.25, GBP l2 = 0.3 (the paper does not give its weights; with these the
supports are near its own). A group is in use if any of its numbers is not 0.

Where the adversary should get to: to first order a sample is lost if its decision value is at most the budget times the
slope's l2 norm. The last two columns count these, with the value of the code found and with that of the true code.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np

from evprop.sparse import (
    Pursuit,
    PursuitClassifier,
    coherence,
    equal_groups,
    grassmannian,
    group_norms,
    ifgsm,
)

BUDGETS = (0.0, 0.1, 0.3, 0.5)
OF = ("true", "found")
"""The codes that a margin is asked of."""
CLASSIFIERS = {"BP": False, "GBP": False, "pooled GBP": True}
"""Name -> whether it is of the groups' norms."""


def draw(rng: np.random.Generator, n: int) -> np.ndarray:
    """Codes (n, 300) with 8 of 75 groups in use."""
    used = rng.permuted(np.tile(np.arange(75) < 8, (n, 1)), axis=1)
    return rng.uniform(1.0, 2.0, (n, 300)) * np.repeat(used, 4, axis=1)


def draw_with_margins(
    rng: np.random.Generator, n: int, etas: list[float], decide: Callable[[np.ndarray], np.ndarray]
) -> tuple[np.ndarray, np.ndarray, dict[tuple[float, str], np.ndarray]]:
    """Codes, their values by `decide` (a row for each of OF), and for each eta the first n as far from 0, by row."""
    codes, values = np.zeros((0, 300)), np.zeros((len(OF), 0))
    while np.min(np.sum(np.abs(values) >= max(etas), axis=1)) < n:
        drawn = draw(rng, n)
        codes, values = np.vstack([codes, drawn]), np.hstack([values, decide(drawn)])
    rows = {
        (eta, of): np.flatnonzero(np.abs(value) >= eta)[:n]
        for eta in etas
        for of, value in zip(OF, values, strict=True)
    }
    wanted = np.unique(np.concatenate(list(rows.values())))
    return (
        codes[wanted],
        values[:, wanted],
        {row: np.searchsorted(wanted, which) for row, which in rows.items()},
    )


def supports(name: str, pursuit: Pursuit, codes: np.ndarray, tolerance: float) -> None:
    groups = equal_groups(300, 4)
    wanted = group_norms(codes, groups) > 0.0
    found = pursuit.solve(codes @ pursuit.dictionary.T, tolerance=tolerance)
    used = group_norms(found.values, groups) > 0.0
    right = used == wanted
    print(
        f"| {name} | {100 * right.mean():.1f} | {100 * right.all(axis=1).mean():.1f} | {100 * (1 - used.mean()):.1f} "
        f"| {found.iterations.mean():.0f} |",
        flush=True,
    )


class Signs:
    """A classifier whose derivatives are but their signs: steps in an l2 ball as the method's name has them."""

    def __init__(self, model: PursuitClassifier) -> None:
        self.model = model

    def margins(self, x: np.ndarray, labels: Any, *, start: Any = None) -> tuple[np.ndarray, np.ndarray, Any]:
        margins, gradient, codes = self.model.margins(x, labels, start=start)
        return margins, np.sign(gradient), codes


def under_attack(name: str, pursuit: Pursuit, pooled: bool, given: argparse.Namespace) -> None:
    """A row for each margin. A sample's outcome is its own, so one that is in several rows is attacked once."""
    rng = np.random.default_rng([given.seed, pooled])
    w = rng.standard_normal(75 if pooled else 300)
    w /= np.linalg.norm(w)
    both = np.stack([-w, w], axis=1)
    model = PursuitClassifier(pursuit, both, np.zeros(2), pooled, tolerance=given.tolerance)

    def decide(codes: np.ndarray) -> np.ndarray:
        found = pursuit.solve(codes @ pursuit.dictionary.T, tolerance=given.tolerance).values
        return np.stack([model.scores(code)[:, 1] for code in (codes, found)])

    truth, (value, _), rows = draw_with_margins(rng, given.attacked, given.margins, decide)
    labels, x = (value > 0.0).astype(np.int64), truth @ pursuit.dictionary.T
    margins, gradient, codes = model.margins(x, labels)
    found, slope = 0.5 * margins, 0.5 * np.linalg.norm(gradient, axis=1)  # scores are -w.a and w.a
    how: Any = {"norm": "l2", "steps": given.steps, "start": codes}
    target, longer = (Signs(model), np.sqrt(x.shape[1])) if given.signs else (model, 1.0)
    fooled = [
        ifgsm(target, x, labels, budget=budget, step_size=longer * budget / given.steps, **how).fooled
        for budget in BUDGETS
    ]
    for (eta, of), row in rows.items():
        shown = [100 * (1 - lost[row].mean()) for lost in fooled]
        reach = [100 * np.mean(v[row] <= BUDGETS[-1] * slope[row]) for v in (found, np.abs(value))]
        kept = f"{100 * found[row].sum() / np.abs(value[row]).sum():.0f}"
        cells = [f"{share:.2f}" for share in shown] + [kept] + [f"{share:.2f}" for share in reach]
        print(f"| {eta:g} | {of} | {name} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--samples", type=int, default=10_000, help="samples of the table of supports")
    parser.add_argument("--attacked", type=int, default=10_000, help="samples per margin under attack")
    parser.add_argument("--margins", nargs="+", type=float, default=[0.03, 0.1, 0.3])
    parser.add_argument("--steps", type=int, default=10, help="steps of IFGSM (the paper does not give them)")
    parser.add_argument("--tolerance", type=float, default=1e-6, help="relative duality gap")
    parser.add_argument("--only", nargs="+", default=list(CLASSIFIERS), choices=list(CLASSIFIERS))
    parser.add_argument("--signs", action="store_true", help="steps budget / steps times the gradient's sign")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    dictionary, groups = grassmannian(100, 300, seed=args.seed), equal_groups(300, 4)
    bp, gbp = Pursuit(dictionary, l1=0.25), Pursuit(dictionary, groups=groups, l2=0.3)
    print(f"coherence {coherence(dictionary):.3f}; {args.samples} samples, gap {args.tolerance:g}\n")
    print("| code | groups right, % | all right, % | groups not in use, % | iterations |")
    print("|---|---|---|---|---|")
    codes = draw(np.random.default_rng(args.seed), args.samples)
    for name, pursuit in (("BP", bp), ("GBP", gbp)):
        supports(name, pursuit, codes, args.tolerance)
    print(f"\n{args.attacked} samples per margin, {args.steps} steps\n")
    reach = f"kept | in reach of {BUDGETS[-1]:g} | with true codes |"
    print(f"| margin | of code | classifier | {' | '.join(f'{budget:g}' for budget in BUDGETS)} | {reach}")
    print("|---|---|---|" + "---|" * (len(BUDGETS) + 3))
    for name in args.only:
        under_attack(name, bp if name == "BP" else gbp, CLASSIFIERS[name], args)


if __name__ == "__main__":
    main()
