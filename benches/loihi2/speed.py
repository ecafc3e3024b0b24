"""How long the integer model takes for one sample of keyword-spotting size: 700-256-20 recurrent, 1,000 steps of 1 ms.

    python benches/loihi2/speed.py [--lava PYTHON]

One thread, batch of 32, best of 5 rounds. Network and inputs are those of workload S (evprop.bench): 8,000 input
spikes a sample. --lava runs the same program and one of the samples on Lava's fixed-point models, in an interpreter
that has them (tests/test_loihi2_lava.py says how), checks that all spikes agree, and gives the time of its run alone.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np

import evprop
from evprop.bench import machine
from evprop.bench.workload_s import BATCH, DURATION, N_SPIKES, inputs, network
from evprop.hardware import save_net

ROOT = Path(__file__).resolve().parents[2]
STEPS, ROUNDS = 1000, 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lava", metavar="PYTHON")
    parser.add_argument("--delays", choices=["none", "learn"], default="none", help="learn: up to 62 ms, per synapse")
    arguments = parser.parse_args()
    evprop.set_num_threads(1)
    net = network(arguments.delays)
    params = net.init(0)
    spikes = inputs(N_SPIKES, DURATION - 1.0, BATCH)[0]  # rows 0 to 999
    simulator = evprop.Loihi2(dt=1.0)
    record = evprop.simulate(net, params, spikes, duration=DURATION - 1.0, simulator=simulator)
    program, sent = record.quantised.program, {"input": tuple(record.sent["input"])}
    seconds = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        run = program.run(sent, STEPS)
        seconds.append(time.perf_counter() - started)
    each = min(seconds) / BATCH
    hidden = len(run.units["hidden"]) / BATCH
    print(f"{machine()}; one thread")
    print(f"inputs {len(record.sent['input'].units) / BATCH:,.0f} and hidden spikes {hidden:,.0f} a sample")
    rounds = f"best of {ROUNDS} rounds of {BATCH} samples"
    print(f"integer model: {1e3 * each:.2f} ms a sample of {STEPS:,} steps ({rounds})")
    if arguments.lava:
        beside(arguments.lava, program, sent, run, each)


def beside(lava: str, program: object, sent: dict, run: object, each: float) -> None:
    """Sample 0 on Lava."""
    steps, units, offsets, payloads = sent["input"]
    raster = np.zeros((700, STEPS), np.int32)
    raster[units[: offsets[1]], steps[: offsets[1]]] = payloads[: offsets[1]]
    with tempfile.TemporaryDirectory() as folder:
        save_net(Path(folder) / "model.net", program)
        np.save(Path(folder) / "input.npy", raster)
        script = ROOT / "tests" / "lava" / "run_net.py"
        files = ["model.net", "input.npy", "out.npz", "spikes"]
        subprocess.run([lava, str(script), *files], cwd=folder, check=True, capture_output=True)
        found = np.load(Path(folder) / "out.npz")
        same = np.array_equal(found["0_s"] != 0, run.raster("hidden", 0, STEPS, 256))
        seconds = float(found["seconds"])
    print(f"Lava's fixed-point models: {seconds:.2f} s for one sample, {seconds / each:,.0f} times as long")
    print(f"the same spikes: {same}")


if __name__ == "__main__":
    main()
