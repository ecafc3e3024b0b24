"""How long the integer model takes for one sample of keyword-spotting size: 700-256-20 recurrent, 1,000 steps of 1 ms.

    python benches/loihi2/speed.py [--lava PYTHON --lava-steps N]

One thread, batch of 32, best of 5 rounds. Network and inputs are those of workload S (evprop.bench): 8,000 input
spikes a sample. --lava runs the same program and the first steps of one of the samples on Lava's fixed-point models, in
an interpreter that has them (tests/test_loihi2_lava.py says how), checks that all spikes agree, and gives the time of
its run alone, without loading and compiling.
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
    parser.add_argument("--lava-steps", type=int, default=STEPS)
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
        beside(arguments.lava, program, sent, run, 1e3 * each / STEPS, arguments.lava_steps)


def beside(lava: str, program: object, sent: dict, run: object, step_ms: float, n_steps: int) -> None:
    """The first steps of sample 0 on Lava."""
    steps, units, offsets, payloads = sent["input"]
    raster = np.zeros((700, STEPS), np.int32)
    raster[units[: offsets[1]], steps[: offsets[1]]] = payloads[: offsets[1]]
    raster = np.ascontiguousarray(raster[:, :n_steps])
    with tempfile.TemporaryDirectory() as folder:
        save_net(Path(folder) / "model.net", program)
        np.save(Path(folder) / "input.npy", raster)
        script = ROOT / "tests" / "lava" / "run_net.py"
        files = ["model.net", "input.npy", "out.npz", "spikes"]
        subprocess.run([lava, str(script), *files], cwd=folder, check=True, capture_output=True)
        found = np.load(Path(folder) / "out.npz")
        ours = run.raster("hidden", 0, STEPS, 256)[:n_steps]
        same = np.array_equal(found["0_s"] != 0, ours)
        ms = 1e3 * float(found["seconds"]) / n_steps
    print(f"Lava's fixed-point models: {ms:.3g} ms a step ({n_steps} steps), {ms / step_ms:,.0f} times as long")
    print(f"the same {ours.sum():,} hidden spikes: {same}")


if __name__ == "__main__":
    main()
