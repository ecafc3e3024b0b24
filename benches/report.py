"""Run the workloads in every library that is installed, one after another, and print tables of ratios.

    python benches/report.py [--peers .venv-peers/bin/python] [--workload Y|S] [--only WORD ...] [--rounds 3] [--json F]

Every measurement is a process of its own, pinned to one core with one thread. The libraries take turns, `--rounds`
times over, so that a noisy spell of the machine hits all of them. A line of evprop lasts seconds and a peer's a minute:
evprop's lines are measured again before each peer. Each figure is the median of its measurements.
A library that is not installed is skipped with a word. With workload S comes the machine's own limit (it needs cargo):
the time to add a row of 256 weights for each spike of a sample to a vector, and to add a vector to each such row.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evprop.bench import machine

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Entry:
    """One line of a table: a script with its options, and the module that must be importable for it."""

    name: str
    script: str
    module: str
    options: tuple[str, ...] = ()
    peer: bool = True


Y = (
    Entry("evprop float64", "evprop_.py", "evprop", peer=False),
    Entry("evprop float32", "evprop_.py", "evprop", ("--dtype", "float32"), peer=False),
    Entry("evprop float64, stopped when fired", "evprop_.py", "evprop", ("--stop",), peer=False),
    Entry("evprop float64, jaxsnn's net", "evprop_.py", "evprop", ("--matched",), peer=False),
    Entry("jaxsnn EventProp", "jaxsnn_.py", "jaxsnn"),
    Entry("spyx dt 0.5 ms", "spyx_.py", "spyx"),
    Entry("snnTorch dt 0.5 ms", "snntorch_.py", "snntorch"),
)
S = (
    Entry("evprop S-none", "evprop_.py", "evprop", ("none",), peer=False),
    Entry("evprop S-axonal", "evprop_.py", "evprop", ("axonal",), peer=False),
    Entry("evprop S-learn", "evprop_.py", "evprop", ("learn",), peer=False),
    Entry("evprop S-none, float64", "evprop_.py", "evprop", ("none", "--dtype", "float64"), peer=False),
    Entry("evprop S-learn, float64", "evprop_.py", "evprop", ("learn", "--dtype", "float64"), peer=False),
    Entry("spyx dt 1 ms, no delays", "spyx_.py", "spyx"),
    Entry("jaxpike dt 1 ms, no delays", "jaxpike_.py", "jaxpike"),
    Entry("Norse dt 1 ms, no delays", "norse_.py", "norse"),
    Entry("snnTorch dt 1 ms, no delays", "snntorch_.py", "snntorch"),
    Entry("DCLS dt 1 ms, 63 taps", "dcls_.py", "DCLS", ("fine",)),
    Entry("DCLS dt 10 ms, as published", "dcls_.py", "DCLS", ("published",)),
)
WORKLOADS = {"Y": Y, "S": S}

# Measured before on another machine of the kind, CPU milliseconds per sample: those that do not install from PyPI,
EARLIER = {
    "mlGeNN EventProp dt 1 ms, no delays": 34.6,
    "mlGeNN EventProp dt 1 ms, learnt delays": 84.5,
    "SLAYER dt 1 ms, axonal delays": 105.0,
    "DelRec dt 1 ms, axonal delays": 761.0,
}
# and those that do, which tell how much slower this machine is.
EARLIER_OF_PEERS = {
    "spyx dt 1 ms, no delays": 17.5,
    "jaxpike dt 1 ms, no delays": 17.6,
    "Norse dt 1 ms, no delays": 35.4,
    "snnTorch dt 1 ms, no delays": 33.6,
    "DCLS dt 1 ms, 63 taps": 442.0,
    "DCLS dt 10 ms, as published": 20.7,
}


def installed(python: str, module: str) -> bool:
    """Whether `module` can be found by that interpreter (it is not imported)."""
    code = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({module!r}) is None)"
    return subprocess.run([python, "-c", code], check=False).returncode == 0


def run_once(python: str, workload: str, entry: Entry) -> dict[str, Any]:
    """One measurement in a fresh process; the last line of its output is JSON."""
    command = [python, str(HERE / f"workload_{workload.lower()}" / entry.script), *entry.options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{entry.name} failed (exit {done.returncode}):\n{done.stderr[-2000:]}")
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def combine(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians of the measured figures over the rounds; everything else from the last one."""
    numbers = [key for key, value in rounds[0].items() if isinstance(value, float)]
    return rounds[-1] | {key: statistics.median(r[key] for r in rounds) for key in numbers}


def table_y(results: dict[str, dict[str, Any]]) -> str:
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


def table_s(results: dict[str, dict[str, Any]]) -> str:
    """Markdown table; how many times as long each line takes as evprop's lines in float32, by CPU time."""
    own = [name for name in ("evprop S-none", "evprop S-axonal", "evprop S-learn") if name in results]
    heads = "".join(f" over {name.removeprefix('evprop ')} |" for name in own)
    lines = [
        f"| library | version | spikes of a hidden neuron | ms per sample | CPU ms per sample |{heads} "
        "MiB over import |",
        "|---|---|---|---|---|" + "---|" * (len(own) + 1),
    ]
    ratios = lambda cpu: "".join(f" {cpu / results[name]['cpu_ms_per_sample']:.1f}x |" for name in own)  # noqa: E731
    for name, r in results.items():
        cpu = r["cpu_ms_per_sample"]
        lines.append(
            f"| {name} | {r['version']} | {r['hidden_spikes']:.1f} | {r['ms_per_sample']:.2f} | {cpu:.2f} "
            f"|{ratios(cpu)} {r['over_import_mib']:.0f} |"
        )
    lines += [f"| {name} (earlier) | | | | {cpu:.1f} |{ratios(cpu)} |" for name, cpu in EARLIER.items()]
    slower = times_as_long(results)
    if slower is None:
        return "\n".join(lines)
    lines += [
        f"| {name} (earlier x {slower:.2f}) | | | | {slower * cpu:.1f} |{ratios(slower * cpu)} |"
        for name, cpu in EARLIER.items()
    ]
    return "\n".join(lines)


def times_as_long(results: dict[str, dict[str, Any]]) -> float | None:
    """How many times as long as earlier the peers take that were measured both times: the geometric mean."""
    peers = [name for name in EARLIER_OF_PEERS if name in results]
    if not peers:
        return None
    logs = [math.log(results[name]["cpu_ms_per_sample"] / EARLIER_OF_PEERS[name]) for name in peers]
    return math.exp(statistics.mean(logs))


Runnable = tuple[str, Entry, str]


def in_turns(runnable: list[Runnable]) -> list[Runnable]:
    """evprop's lines of a workload before each of its peers."""
    turns = []
    for workload in dict.fromkeys(workload for workload, _, _ in runnable):
        own, peers = (
            [r for r in runnable if r[0] == workload and r[1].peer == peer] for peer in (False, True)
        )
        turns += [r for peer in peers for r in (*own, peer)] if peers else own
    return turns


def machine_limit() -> dict[str, float]:
    """Milliseconds a sample of the two loops of `limit_float32` in the kernels' bench; empty without cargo."""
    if shutil.which("cargo") is None:
        print("skipped: the machine's own limit (cargo is not installed)", file=sys.stderr)
        return {}
    own = ["--quiet", "--package", "evprop", "--bench", "kernels", "--", "limit_float32"]
    command = ["cargo", "bench", "--locked", *own]
    subprocess.run(command, cwd=HERE.parent, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    target = json.loads(
        subprocess.run(
            ["cargo", "metadata", "--locked", "--no-deps", "--format-version", "1"],
            cwd=HERE.parent,
            check=True,
            capture_output=True,
        ).stdout
    )["target_directory"]
    folder = Path(target) / "criterion" / "limit_float32"
    loops = ("rows_to_state", "state_to_rows")
    estimates = {loop: json.loads((folder / loop / "new" / "estimates.json").read_text()) for loop in loops}
    return {loop: estimate["median"]["point_estimate"] / 1e6 for loop, estimate in estimates.items()}


def limit_text(limit: dict[str, float], results: dict[str, dict[str, Any]]) -> str:
    """How far evprop's lines are from that limit."""
    there, back = limit["rows_to_state"], limit["state_to_rows"]
    lines = [f"\nThe machine's own limit: rows to state {there:.2f} ms a sample, state to rows {back:.2f} ms."]
    for name in ("evprop S-none", "evprop S-axonal", "evprop S-learn"):
        if name in results:
            lines.append(f"{name}: {results[name]['cpu_ms_per_sample'] / (there + back):.1f} times their sum.")
    return "\n".join(lines)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--peers", default=sys.executable, help="interpreter in which the peers are installed"
    )
    parser.add_argument("--workload", choices=list(WORKLOADS), help="only this one (default: all)")
    parser.add_argument(
        "--rounds", type=int, default=3, help="how often each library is measured (default 3)"
    )
    parser.add_argument("--only", nargs="+", metavar="WORD", help="only lines whose names hold one of these; no limit")
    parser.add_argument("--json", type=Path, help="write the raw results of every round to this file")
    args = parser.parse_args()

    chosen = {args.workload: WORKLOADS[args.workload]} if args.workload else WORKLOADS
    runnable: list[Runnable] = []
    for workload, entries in chosen.items():
        for entry in entries:
            if args.only and not any(word in entry.name for word in args.only):
                continue
            python = args.peers if entry.peer else sys.executable
            if installed(python, entry.module):
                runnable.append((workload, entry, python))
            else:
                print(f"skipped: {entry.name} ({entry.module} is not installed for {python})", file=sys.stderr)
    if not runnable:
        raise SystemExit("nothing to measure: neither evprop nor a peer is installed")

    rounds: dict[str, dict[str, list[dict[str, Any]]]] = {workload: {} for workload in chosen}
    limits = []
    for k in range(args.rounds):
        limits.append(machine_limit() if "S" in chosen and not args.only else {})
        for workload, entry, python in in_turns(runnable):
            print(f"round {k + 1} of {args.rounds}: {workload}, {entry.name}", file=sys.stderr, flush=True)
            rounds[workload].setdefault(entry.name, []).append(run_once(python, workload, entry))
    if args.json:
        args.json.write_text(json.dumps({"machine": machine(), "rounds": rounds, "limits": limits}, indent=1) + "\n")

    print(f"{machine()}; one core, one thread, Adam step included; medians of {args.rounds} rounds")
    tables = {"Y": table_y, "S": table_s}
    for workload, results in rounds.items():
        print(f"\nWorkload {workload}\n")
        medians = {name: combine(r) for name, r in results.items()}
        print(tables[workload](medians))
        if workload == "S" and limits[0]:
            print(limit_text(combine(limits), medians))


if __name__ == "__main__":
    main()
