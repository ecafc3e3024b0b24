"""Solvers of sparse codes side by side: time, and how far from the minimum they end; LCA forms against their run time.

    python benches/sparse_solvers.py                    # those that are installed: scikit-learn, celer
    python benches/sparse_solvers.py --samples 20       # quicker

Signals of the synthetic experiment (100 numbers, 300 atoms in 75 groups of 4, 8 groups in use). The residual is the
largest |a - prox(a + D^T (x - D a))| (`Pursuit.residual`), the same for all solvers of one problem. Orthogonal matching
pursuit (OMP) solves another problem: it is given the number of atoms. One thread, CPU time, the least of three.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np

import evprop
from evprop.sparse import LCA, Loihi2LCA, Pursuit, SpikingLCA, equal_groups, grassmannian
from sparse_synthetic import draw

GROUPS = equal_groups(300, 4)


def timed(work: Callable[[], np.ndarray]) -> tuple[np.ndarray, float]:
    """The result and the least CPU time of three."""
    found = []
    for _ in range(3):
        start = time.process_time()
        codes = work()
        found.append(time.process_time() - start)
    return codes, min(found)


def lasso_solvers(pursuit: Pursuit, x: np.ndarray, l1: float) -> dict[str, Callable[[], np.ndarray]]:
    """Basis pursuit. The others minimise ||x - D a||^2 / (2 n) + alpha ||a||_1, so alpha = l1 / n."""
    d, n = pursuit.dictionary, len(pursuit.dictionary)
    solvers: dict[str, Callable[[], np.ndarray]] = {
        "evprop, FISTA": lambda: pursuit.solve(x, tolerance=1e-8).values
    }
    if find_spec("sklearn"):
        from sklearn.linear_model import Lasso, orthogonal_mp_gram

        model = Lasso(alpha=l1 / n, fit_intercept=False, tol=1e-8, max_iter=100_000, precompute=d.T @ d)
        solvers["scikit-learn, Lasso"] = lambda: np.array([model.fit(d, signal).coef_ for signal in x])
        solvers["scikit-learn, OMP (32 atoms)"] = lambda: orthogonal_mp_gram(
            d.T @ d, d.T @ x.T, n_nonzero_coefs=32
        ).T
    if find_spec("celer"):
        import celer

        fast = celer.Lasso(alpha=l1 / n, fit_intercept=False, tol=1e-8)
        solvers["celer, Lasso"] = lambda: np.array([fast.fit(d, signal).coef_ for signal in x])
    return solvers


def group_solvers(pursuit: Pursuit, x: np.ndarray, l2: float) -> dict[str, Callable[[], np.ndarray]]:
    """Group basis pursuit."""
    d, n = pursuit.dictionary, len(pursuit.dictionary)
    solvers: dict[str, Callable[[], np.ndarray]] = {
        "evprop, FISTA": lambda: pursuit.solve(x, tolerance=1e-8).values
    }
    if find_spec("celer"):
        import celer

        fast = celer.GroupLasso(groups=4, alpha=l2 / n, fit_intercept=False, tol=1e-8)
        solvers["celer, GroupLasso"] = lambda: np.array([fast.fit(d, signal).coef_ for signal in x])
    return solvers


def compare(title: str, pursuit: Pursuit, x: np.ndarray, solvers: dict[str, Callable[[], np.ndarray]]) -> None:
    print(f"\n| {title} | ms a sample | residual: largest | cost above the least (mean) |\n|---|---:|---:|---:|")
    least = pursuit.objective(x, pursuit.solve(x, tolerance=1e-12).values)
    for name, work in solvers.items():
        codes, seconds = timed(work)
        codes = np.ascontiguousarray(codes)
        above = pursuit.objective(x, codes) - least
        residual = pursuit.residual(x, codes).max()
        print(f"| {name} | {1e3 * seconds / len(x):.3f} | {residual:.1e} | {above.mean():.1e} |", flush=True)


def competition(bp: Pursuit, gbp: Pursuit, x: np.ndarray) -> None:
    """Residuals of the LCA forms against their run time, which for spikes begins when they have settled."""
    times = [20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0]
    head = " | ".join(f"{t:g} ms" for t in times)
    print(f"\n| form | {head} | ms of CPU a sample |\n|---|{'---:|' * (len(times) + 1)}")
    spiking = SpikingLCA(quantum=1.0, tau_mem=1000.0, tau_syn=2.0, settle=300.0)
    forms: dict[str, tuple[Pursuit, Any]] = {
        "rate LCA (tau 10 ms, dt 2 ms)": (bp, LCA(tau=10.0, dt=2.0)),
        "group LCA (the same)": (gbp, LCA(tau=10.0, dt=2.0)),
        "spiking LCA, exact (quantum 1 ms, tau_mem 1 s)": (bp, spiking),
        "spiking LCA, Loihi 2 (dt 0.02 ms)": (bp, Loihi2LCA(drive=1024, dt=0.02, settle=spiking.settle)),
    }
    for name, (pursuit, form) in forms.items():
        start = time.process_time()
        codes = form.run(pursuit, x, np.add(times, getattr(form, "settle", 0.0)))
        spent = 1e3 * (time.process_time() - start) / len(x)
        found = [pursuit.residual(x, np.ascontiguousarray(codes[:, k])).max() for k in range(len(times))]
        print(f"| {name} | {' | '.join(f'{value:.1e}' for value in found)} | {spent:.1f} |", flush=True)
        if isinstance(form, Loihi2LCA):
            limit = form.residual_limit(pursuit, x, codes, np.add(times, form.settle)).max(axis=0)
            print(f"| its limit: worst cases of all errors | {' | '.join(f'{v:.1e}' for v in limit)} | - |")
    stated = [3.0 * spiking.quantum / t + spiking.quantum / (2.0 * spiking.tau_mem) for t in times]
    shown = " | ".join(f"{value:.1e}" for value in stated)
    print(f"| stated for spikes on the exact engine: 3 quanta / run time + leak | {shown} | - |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--l1", type=float, default=0.25)
    parser.add_argument("--l2", type=float, default=0.3)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    evprop.set_num_threads(1)
    dictionary = grassmannian(100, 300, seed=args.seed)
    x = draw(np.random.default_rng(args.seed), args.samples) @ dictionary.T
    bp = Pursuit(dictionary, l1=args.l1)
    gbp = Pursuit(dictionary, groups=GROUPS, l2=args.l2)
    compare(f"basis pursuit, l1 = {args.l1:g}", bp, x, lasso_solvers(bp, x, args.l1))
    compare(f"group basis pursuit, l2 = {args.l2:g}", gbp, x, group_solvers(gbp, x, args.l2))
    competition(bp, gbp, x[:3])


if __name__ == "__main__":
    main()
