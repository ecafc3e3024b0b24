"""How exact: spike times and gradients of random networks against the slow simulator of tests/oracle.

    python benches/exactness.py                       # 500 networks over 1,000 ms, both dtypes: a few minutes
    python benches/exactness.py --networks 50 --gradients 20

Networks: 2-8 inputs, one or two hidden layers of 2-8 LIF neurons, LIF or LI outputs; recurrence, feedback and skips;
delays none, axonal, dendritic or synaptic; dense and sparse; heterogeneous constants, among them equal and nearly equal
ones; refractory, single-spike and tonic neurons; a quarter to half of all input spikes on a 1 ms grid. Network k is
drawn from seed k. What may be asked for, and which spikes are excused, is told in tests/agreement.py.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import evprop
from agreement import Agreement, Jacobian, compare, slow_runs, worst_error
from evprop.losses import Final, Integral, Max, Sampled, WeightedIntegral

DURATION = 1000.0
LIMITS = {"float64": (1e-9, 1e-12), "float32": (1e-3, 1e-4)}  # ms; margin in v_th - v_reset
RATIOS = (1.0, 1.0 + 1e-9, 1.001, 1.4, 2.0, 3.0, 4.0, 0.5)


def constants(rng: np.random.Generator, n: int) -> dict[str, np.ndarray]:
    tau_syn = rng.uniform(2.0, 10.0, n)
    ratio = rng.choice(RATIOS) if rng.random() < 0.5 else rng.uniform(0.5, 5.0, n)
    v_th = rng.uniform(0.8, 1.2, n)
    tonic = rng.random(n) < (0.2 if rng.random() < 0.3 else 0.0)
    held = rng.random(n) < (0.5 if rng.random() < 0.3 else 0.0)
    return {
        "tau_mem": tau_syn * ratio,
        "tau_syn": tau_syn,
        "v_th": v_th,
        "v_reset": rng.uniform(-0.4, 0.4, n),
        "v_init": rng.uniform(-0.4, 0.4, n),
        "i_bias": np.where(tonic, v_th * rng.uniform(1.05, 1.5, n), rng.uniform(-0.3, 0.3, n)),
        "t_ref": np.where(held, rng.choice([0.7, 2.1, 5.3, np.inf], n, p=[0.3, 0.3, 0.3, 0.1]), 0.0),
    }


def random_problem(seed: int, duration: float = DURATION, rate: float = 0.03) -> tuple[Any, Any, Any]:
    """(net, params, spikes) of one sample; `rate` in input spikes per ms and line."""
    rng = np.random.default_rng(seed)
    size = {"in": int(rng.integers(2, 9)), "a": int(rng.integers(2, 9))}
    populations: dict[str, Any] = {
        "in": evprop.Input(size["in"]),
        "a": evprop.LIF(size["a"], **constants(rng, size["a"])),
    }
    chain = ["in", "a"]
    if rng.random() < 0.5:
        size["b"] = int(rng.integers(2, 9))
        populations["b"] = evprop.LIF(size["b"], **constants(rng, size["b"]))
        chain.append("b")
    size["out"] = int(rng.integers(1, 5))
    out = constants(rng, size["out"])
    if rng.random() < 0.5:
        populations["out"] = evprop.LIF(size["out"], **out)
    else:
        populations["out"] = evprop.LI(
            size["out"], **{k: out[k] for k in ("tau_mem", "tau_syn", "i_bias", "v_init")}
        )
    pairs = list(zip([*chain], [*chain[1:], "out"], strict=True))
    pairs += [("a", "a")] if rng.random() < 0.6 else []
    pairs += [("b", "a")] if "b" in size and rng.random() < 0.4 else []
    pairs += [("in", "out")] if rng.random() < 0.3 else []
    order = list(populations)
    projections = []
    for pre, post in pairs:
        target = populations[post]
        # the drive, in postsynaptic currents whose integral would charge the membrane from reset to threshold
        unit = np.asarray(target.tau_mem) / np.asarray(target.tau_syn)
        if order.index(pre) < order.index(post):
            weight = rng.normal(0.4, 0.8, (size[pre], size[post])) * unit
        else:
            weight = rng.normal(0.0, 0.4, (size[pre], size[post])) * unit / size[pre]
        projections.append(projection(rng, pre, post, weight))
    net = evprop.Network(populations, projections)
    count = rng.poisson(rate * duration * size["in"])
    times = rng.uniform(0.0, duration, count)
    times = np.where(rng.random(count) < rng.uniform(0.25, 0.5), np.floor(times), times)
    spikes = evprop.Spikes.from_lists([(times, rng.integers(0, size["in"], count))], n_units=size["in"])
    return net, net.init(0), spikes


def projection(rng: np.random.Generator, pre: str, post: str, weight: np.ndarray) -> Any:
    kind = rng.choice(["none", "axonal", "dendritic", "synaptic"])
    shape = {"axonal": (weight.shape[0], 1), "dendritic": (1, weight.shape[1]), "synaptic": weight.shape}
    delay = None if kind == "none" else rng.uniform(0.0, 20.0, shape[kind])
    named = None if kind == "none" else str(kind)
    mask = rng.random(weight.shape) < 0.5
    if rng.random() < 0.25 and mask.any():
        delay = delay[mask] if delay is not None and named == "synaptic" else delay
        return evprop.Sparse(pre, post, weight=weight[mask], delay=delay, delay_kind=named, mask=mask)
    return evprop.Dense(pre, post, weight=weight, delay=delay, delay_kind=named)


def spike_times(dtype: str, seeds: Iterable[int], *, log: bool = False) -> tuple[Agreement, list[float]]:
    """Agreement over the networks of these seeds, and the gain of each."""
    tolerance, margin = LIMITS[dtype]
    total, gains = Agreement(), []
    for seed in seeds:
        net, params, spikes = random_problem(seed)
        params = {name: value.astype(dtype) for name, value in params.items()}
        results = slow_runs(net, params, spikes, DURATION)
        record = evprop.simulate(net, params, spikes, duration=DURATION, simulator=evprop.Exact(dtype=dtype))
        found = compare(record, results, tolerance=tolerance, margin=margin)
        found.disagreements = [f"network {seed}, {text}" for text in found.disagreements]
        total.add(found)
        gains.append(results[0].gain())
        if log and (seed + 1) % 50 == 0:
            print(f"  {dtype}: {seed + 1} networks, {total.spikes} spikes", file=sys.stderr, flush=True)
    return total, gains


def gradients(seeds: Iterable[int], duration: float = 60.0) -> tuple[int, float, str]:
    """(networks, worst relative error, where) of the adjoint against forward tangents, with random cotangents."""
    worst, where, count = 0.0, "", 0
    for seed in seeds:
        net, params, spikes = random_problem(seed, duration, rate=0.05)
        out = "out"
        readouts = {out: [Integral(), WeightedIntegral(20.0), Max(), Final(), Sampled([10.5, 33.3])]}
        record = evprop.simulate(net, params, spikes, duration=duration, readouts=readouts)
        rng = np.random.default_rng(seed)
        lifs = [name for name, p in net.populations.items() if p.kind == "lif"]
        on_spikes = {name: rng.normal(size=record.spikes[name].n_spikes) for name in lifs}
        on_readouts: dict[str, Any] = {out: [rng.normal(size=y.shape) for y in record.readout[out]]}
        names = [name for name in net.parameter_names if not name.endswith(".t_ref")]
        found = evprop.backward(record, on_spikes, on_readouts, wrt=names)
        jacobian = Jacobian(net, params, spikes, duration)
        if min(result.margin() for result in jacobian.results) < 1e-9:
            continue  # a spike on the brink: nothing to compare
        error, name = worst_error(found, jacobian.gradients(on_spikes, readouts, on_readouts))
        count += 1
        if error > worst:
            worst, where = error, f"{name} of network {seed}"
    return count, worst, where


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", type=int, default=500)
    parser.add_argument(
        "--gradients", type=int, default=100, help="networks whose gradients are compared too"
    )
    arguments = parser.parse_args()
    print(f"{arguments.networks} random networks over {DURATION:g} ms, against the slow simulator\n")
    columns = [
        "dtype (bound)",
        "spikes compared",
        "worst difference (ms)",
        "within the bound",
        "within bound x gain",
        "largest share of bound x gain",
        "excused (margin)",
        "disagreements",
    ]
    print("| " + " | ".join(columns) + " |\n" + "|---" * len(columns) + "|")
    for dtype, (tolerance, _) in LIMITS.items():
        start = time.perf_counter()
        t, gains = spike_times(dtype, range(arguments.networks), log=True)
        print(
            f"| {dtype} (bound {tolerance:g} ms) | {t.spikes:,} | {t.worst:.2g} | {t.within:,} | {t.within_gain:,} "
            f"| {t.worst_share:.2g} | {t.excused:,} | {len(t.disagreements)} |",
            flush=True,
        )
        for text in t.disagreements[:20]:
            print("  ", text, file=sys.stderr)
        quartiles = np.percentile(gains, [50, 90, 100])
        print(
            f"  gain: median {quartiles[0]:.2g}, 90 % below {quartiles[1]:.2g}, largest {quartiles[2]:.2g}; "
            f"{time.perf_counter() - start:.0f} s",
            file=sys.stderr,
        )
    if arguments.gradients:
        count, worst, where = gradients(range(arguments.gradients))
        print(f"\nAdjoint against forward tangents, {count} networks over 60 ms:")
        print(f"worst relative error {worst:.2g} ({where})")


if __name__ == "__main__":
    main()
