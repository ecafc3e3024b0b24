"""Run workload Y in every library that is installed, one after another, and print one table of ratios.

    python benches/report.py [--peers .venv-peers/bin/python] [--rounds 3] [--json FILE]

Every measurement is a process of its own, pinned to one core with one thread. The libraries take turns, `--rounds`
times over, so that a noisy spell of the machine hits all of them; each figure is the median of its rounds.
A library that is not installed is skipped with a word.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Entry:
    """One line of the table: a script with its options, and the module that must be importable for it."""

    name: str
    script: str
    module: str
    options: tuple[str, ...] = ()
    peer: bool = True


ENTRIES = (
    Entry("evprop float64", "evprop_.py", "evprop", peer=False),
    Entry("evprop float32", "evprop_.py", "evprop", ("--dtype", "float32"), peer=False),
    Entry("evprop float64, stopped when fired", "evprop_.py", "evprop", ("--stop",), peer=False),
    Entry("evprop float64, jaxsnn's net", "evprop_.py", "evprop", ("--matched",), peer=False),
    Entry("jaxsnn EventProp", "jaxsnn_.py", "jaxsnn"),
    Entry("spyx dt 0.5 ms", "spyx_.py", "spyx"),
    Entry("snnTorch dt 0.5 ms", "snntorch_.py", "snntorch"),
)


def machine() -> str:
    """Name of the processor, number of cores, operating system."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        models = [
            line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line
        ]
        name = models[0] if models else name
    return f"{name}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"


def installed(python: str, module: str) -> bool:
    """Whether `module` can be found by that interpreter (it is not imported)."""
    code = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({module!r}) is None)"
    return subprocess.run([python, "-c", code], check=False).returncode == 0


def run_once(python: str, entry: Entry) -> dict[str, Any]:
    """One measurement in a fresh process; the last line of its output is JSON."""
    command = [python, str(HERE / "workload_y" / entry.script), *entry.options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{entry.name} failed (exit {done.returncode}):\n{done.stderr[-2000:]}")
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def combine(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians of the measured figures over the rounds; everything else from the last one."""
    keys = ("samples_per_s", "samples_per_cpu_s", "hidden_spikes", "output_spikes", "peak_rss_mib")
    return rounds[-1] | {key: statistics.median(r[key] for r in rounds) for key in keys}


def table(results: dict[str, dict[str, Any]]) -> str:
    """Markdown table; the ratio is that of the first line's rate to each line's, by CPU time and by wall time."""
    first = next(iter(results.values()))
    lines = [
        "| library | version | type | hidden + output spikes per sample | samples/s | samples per CPU second "
        "| ratio (wall) | ratio (CPU) | peak MiB |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, r in results.items():
        wall, cpu = (first[key] / r[key] for key in ("samples_per_s", "samples_per_cpu_s"))
        lines.append(
            f"| {name} | {r['version']} | {r['dtype']} | {r['hidden_spikes']:.1f} + {r['output_spikes']:.1f} "
            f"| {r['samples_per_s']:,.0f} | {r['samples_per_cpu_s']:,.0f} | {wall:.1f}x | {cpu:.1f}x "
            f"| {r['peak_rss_mib']:.0f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--peers", default=sys.executable, help="interpreter in which the peers are installed"
    )
    parser.add_argument(
        "--rounds", type=int, default=3, help="how often each library is measured (default 3)"
    )
    parser.add_argument("--json", type=Path, help="write the raw results of every round to this file")
    args = parser.parse_args()

    runnable = []
    for entry in ENTRIES:
        python = args.peers if entry.peer else sys.executable
        if installed(python, entry.module):
            runnable.append((entry, python))
        else:
            print(f"skipped: {entry.name} ({entry.module} is not installed for {python})", file=sys.stderr)
    if not runnable:
        raise SystemExit("nothing to measure: neither evprop nor a peer is installed")

    rounds: dict[str, list[dict[str, Any]]] = {entry.name: [] for entry, _ in runnable}
    for k in range(args.rounds):
        for entry, python in runnable:
            print(f"round {k + 1} of {args.rounds}: {entry.name}", file=sys.stderr, flush=True)
            rounds[entry.name].append(run_once(python, entry))
    if args.json:
        args.json.write_text(json.dumps({"machine": machine(), "rounds": rounds}, indent=1) + "\n")

    print(f"Workload Y on {machine()}")
    print(f"one core, one thread, batch 150, Adam step included; medians of {args.rounds} rounds\n")
    print(table({name: combine(r) for name, r in rounds.items()}))


if __name__ == "__main__":
    main()
