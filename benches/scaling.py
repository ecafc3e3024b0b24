"""How a training step of workload S grows: hidden neurons, input spikes, duration, batch, threads, number type.

    python benches/scaling.py [--kind none|learn|axonal ...] [--seconds 5] [--only GROUP]

Each line is a process of its own. Where there are more input spikes, their weights are smaller, so that hidden
neurons fire alike. For the durations, the same spikes lie in the first 500 ms of the trial: the rest of it is empty.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from typing import Any

GROUPS: dict[str, list[dict[str, Any]]] = {
    "hidden neurons": [*({"hidden": n} for n in (128, 256, 512, 1024)), {"hidden": 2048, "batch": 8}],
    "input spikes": [{"n_spikes": n} for n in (1_000, 8_000, 64_000)],
    "duration": [{"duration": 1000.0 * s, "busy": 500.0} for s in (0.5, 1, 2, 10)],
    "batch": [{"batch": n} for n in (1, 32, 256)],
    "threads": [{"threads": n} for n in (1, 2)],
    "number type": [{"dtype": name} for name in ("float32", "float64")],
}


def one_case(case: dict[str, Any]) -> dict[str, float]:
    """Measure one line in this process."""
    import evprop
    from evprop.bench import measure, peak_mib, workload_s

    threads, seconds = case.pop("threads", 1), case.pop("seconds")
    if threads == 1:
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    evprop.set_num_threads(threads)
    imported = peak_mib()
    speed = measure(workload_s(**case), seconds=seconds)
    spikes = sum(speed.spikes_per_sample.values())
    return {"wall": speed.wall_ms, "cpu": speed.cpu_ms, "spikes": spikes, "mib": peak_mib() - imported}


def run(case: dict[str, Any]) -> dict[str, float]:
    """The same in a fresh process."""
    command = [sys.executable, __file__, "--case", json.dumps(case)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{case} failed:\n{done.stderr[-2000:]}")
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def table(title: str, kind: str, cases: list[dict[str, Any]], seconds: float) -> None:
    """Print one group, line by line."""
    print(f"\n{title}, S-{kind}\n")
    print("| | hidden spikes a sample | ms a sample | CPU ms a sample | over the first line | MiB over import |")
    print("|---|---|---|---|---|---|", flush=True)
    first = None
    for case in cases:
        figures = run({"kind": kind, "seconds": seconds} | case)
        first = first or figures["wall"]
        name = ", ".join(f"{key} {value:,}" if not isinstance(value, str) else value for key, value in case.items())
        print(
            f"| {name} | {figures['spikes']:,.0f} | {figures['wall']:.2f} | {figures['cpu']:.2f} "
            f"| {figures['wall'] / first:.2f}x | {figures['mib']:.0f} |",
            flush=True,
        )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", nargs="+", choices=["none", "learn", "axonal"], default=["none", "learn"])
    parser.add_argument("--only", choices=[*GROUPS, "paper"], help="one group alone")
    parser.add_argument("--seconds", type=float, default=5.0, help="about how long to measure each line (default 5)")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.case:
        json.dump(one_case(json.loads(args.case)), sys.stdout)
        return
    from evprop.bench import machine

    print(f"{machine()}; Adam step included, medians of 5 rounds")
    print("float32, batch 32, one thread where the line does not say otherwise")
    for kind in args.kind:
        for title, cases in GROUPS.items():
            if args.only in (None, title):
                table(title, kind, cases, args.seconds)
    if args.only in (None, "paper"):
        table("700-1024-1024-35 with delays at every synapse", "paper", [{"batch": 8}], args.seconds)


if __name__ == "__main__":
    main()
