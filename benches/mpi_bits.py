"""One training in 1, 2 and 4 processes, and one that loses a process in the middle and goes on with another number.

    python benches/mpi_bits.py benches/words-700.toml --parts 4 --epochs 2 --out FOLDER

Prints each run's losses by epoch and whether it ends with the bits of the first: losses, and every trained parameter.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import evprop


def command(launcher: str, size: int, *arguments: str) -> list[str]:
    """`evprop train` in so many processes of one thread."""
    return [launcher, "-n", str(size), sys.executable, "-m", "evprop", "train", *arguments]


def ranks(folder: Path) -> dict[int, int]:
    """{rank: process id} of the processes that train into a folder."""
    found = {}
    for process in Path("/proc").iterdir():
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
            variables = dict(v.split(b"=", 1) for v in (process / "environ").read_bytes().split(b"\0") if b"=" in v)
        except (OSError, ValueError):
            continue
        if words[1:3] == [b"-m", b"evprop"] and str(folder).encode() in words and b"PMI_RANK" in variables:
            found[int(variables[b"PMI_RANK"])] = int(process.name)
    return found


def losses(folder: Path) -> list[tuple[float, float]]:
    """(training, validation) by epoch."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [(row["loss"], row["val_loss"]) for row in rows]


def same(a: Path, b: Path) -> bool:
    """Whether two runs have the same losses and parameters, bit for bit."""
    params = [evprop.load(folder / "final.safetensors")[1] for folder in (a, b)]
    return losses(a) == losses(b) and all(params[0][name].tobytes() == x.tobytes() for name, x in params[1].items())


def killed_and_resumed(launcher: str, arguments: list[str], folder: Path) -> str:
    """Kills process 1 of 2 with SIGKILL once there is a checkpoint, goes on with 4; tells what happened."""
    run = subprocess.Popen(command(launcher, 2, *arguments, "--out", str(folder)), stderr=subprocess.DEVNULL)
    checkpoint = folder / "checkpoint.safetensors"
    while not checkpoint.exists():
        if run.poll() is not None:
            sys.exit("the run ended before there was a checkpoint: give it more epochs")
        time.sleep(0.1)
    os.kill(ranks(folder)[1], signal.SIGKILL)
    code = run.wait(timeout=60)
    left = len(ranks(folder))
    done = subprocess.run(command(launcher, 4, "--resume", str(folder), "--quiet", "--no-pictures"), check=True)
    return f"process 1 of 2 killed: all ended with {code}, {left} left; went on with 4: {done.returncode}"


def main() -> None:
    """See the top of this file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task")
    parser.add_argument("--parts", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    beside = Path(sys.executable).with_name("mpiexec")
    launcher = str(beside) if beside.exists() else "mpiexec"
    os.environ["EVPROP_NUM_THREADS"] = "1"
    arguments = [given.task, "--parts", str(given.parts), "--epochs", str(given.epochs), "--quiet", "--no-pictures"]
    folders = [given.out / str(size) for size in given.sizes]
    for size, folder in zip(given.sizes, folders, strict=True):
        subprocess.run(command(launcher, size, *arguments, "--out", str(folder)), check=True, stdout=subprocess.DEVNULL)
        curve = ", ".join(f"{a!r} {b!r}" for a, b in losses(folder))
        print(f"{size} processes: {curve}; the bits of {given.sizes[0]}: {same(folders[0], folder)}", flush=True)
    print(killed_and_resumed(launcher, arguments, given.out / "killed"), flush=True)
    print(f"the bits of {given.sizes[0]}: {same(folders[0], given.out / 'killed')}")


if __name__ == "__main__":
    main()
