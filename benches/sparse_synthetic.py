"""The synthetic experiment of Szeghy et al. 2022: supports of codes, and accuracy of their classifiers under attack.

    python benches/sparse_synthetic.py                       # 10,000 samples of supports, 2,000 per margin attacked
    python benches/sparse_synthetic.py --samples 200 --attacked 50

A Grassmannian dictionary of 300 atoms in 100 dimensions, 75 groups of 4, 8 groups in use with values from U[1, 2],
x = D a. Classifiers are the truth: the sign of w . a (BP, GBP) or of w . norms (pooled), w Gaussian of norm 1, among
samples with a margin of at least eta; they are given the code that was found. BP has l1 = 0.25, GBP l2 = 0.3 (the paper
does not give its weights; with these the supports are near its own). A group is in use if any of its numbers is not 0.

Where the adversary should get to: to first order a sample is lost if its decision value is at most the budget times the
slope's l2 norm. The last two columns count these, with the value of the code found and with that of the true code.
"""

from __future__ import annotations

import argparse

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


def draw(rng: np.random.Generator, n: int) -> np.ndarray:
    """Codes (n, 300) with 8 of 75 groups in use."""
    used = rng.permuted(np.tile(np.arange(75) < 8, (n, 1)), axis=1)
    return rng.uniform(1.0, 2.0, (n, 300)) * np.repeat(used, 4, axis=1)


def draw_with_margin(rng: np.random.Generator, n: int, w: np.ndarray, pooled: bool, eta: float) -> np.ndarray:
    """n codes whose decision value is at least eta from 0."""
    kept, groups = np.zeros((0, 300)), equal_groups(300, 4)
    while len(kept) < n:
        codes = draw(rng, n)
        value = (group_norms(codes, groups) if pooled else codes) @ w
        kept = np.vstack([kept, codes[np.abs(value) >= eta]])
    return kept[:n]


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


def in_reach(model: PursuitClassifier, x: np.ndarray, labels: np.ndarray, value: np.ndarray) -> str:
    """Three cells, in %: what codes keep of the true decision values, and samples in reach by the two."""
    margins, gradient, _ = model.margins(x, labels)
    found, slope = 0.5 * margins, 0.5 * np.linalg.norm(gradient, axis=1)  # scores are -w.a and w.a
    lost = [np.mean(v <= BUDGETS[-1] * slope) for v in (found, value)]
    return f"{100 * found.sum() / value.sum():.0f} | {100 * lost[0]:.2f} | {100 * lost[1]:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=10_000, help="samples of the table of supports")
    parser.add_argument("--attacked", type=int, default=2_000, help="samples per margin under attack")
    parser.add_argument("--margins", nargs="+", type=float, default=[0.03, 0.1, 0.3])
    parser.add_argument("--steps", type=int, default=10, help="steps of IFGSM (the paper does not give them)")
    parser.add_argument("--tolerance", type=float, default=1e-6, help="relative duality gap")
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
    print(f"| margin | classifier | {' | '.join(f'{budget:g}' for budget in BUDGETS)} | {reach}")
    print("|---|---|" + "---|" * (len(BUDGETS) + 3))
    for eta in args.margins:
        for name, pursuit, pooled in (("BP", bp, False), ("GBP", gbp, False), ("pooled GBP", gbp, True)):
            rng = np.random.default_rng([args.seed, pooled])
            w = rng.standard_normal(75 if pooled else 300)
            w /= np.linalg.norm(w)
            truth = draw_with_margin(rng, args.attacked, w, pooled, eta)
            value = (group_norms(truth, groups) if pooled else truth) @ w
            labels = (value > 0.0).astype(np.int64)
            model = PursuitClassifier(
                pursuit, np.stack([-w, w], axis=1), np.zeros(2), pooled, tolerance=args.tolerance
            )
            x = truth @ dictionary.T
            row = [ifgsm(model, x, labels, budget=b, norm="l2", steps=args.steps).fooled for b in BUDGETS]
            shown = " | ".join(f"{100 * (1 - fooled.mean()):.2f}" for fooled in row)
            print(f"| {eta:g} | {name} | {shown} | {in_reach(model, x, labels, np.abs(value))} |", flush=True)


if __name__ == "__main__":
    main()
