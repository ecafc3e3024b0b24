"""Peak memory of a training step: the same spikes over 100 ms and over 10,000 ms, and four times the spikes.

    python benches/memory.py

An event-based record keeps spikes, so the duration must not matter and the number of spikes must. Every case is a
process of its own; what is printed is the growth of its peak resident memory over the state before the step
(network, parameters and inputs already made).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys

N_IN, N_HIDDEN, N_OUT, BATCH = 700, 256, 20, 32


def one_case(duration: float, input_spikes: int) -> dict[str, float]:
    """One training step; input spikes lie in the first 40 ms whatever the duration, so that all is quiet by 100 ms."""
    import numpy as np

    import evprop
    from evprop.bench import peak_mib

    rng = np.random.default_rng(0)
    rows = []
    for _ in range(BATCH):
        times = np.sort(rng.uniform(0.0, 40.0, input_spikes))
        rows.append((times, rng.integers(0, N_IN, input_spikes)))
    spikes = evprop.Spikes.from_lists(rows, n_units=N_IN)
    net = evprop.Network(
        {
            "input": evprop.Input(N_IN),
            "hidden": evprop.LIF(N_HIDDEN, tau_mem=20.0, tau_syn=5.0),
            "output": evprop.LI(N_OUT, tau_mem=20.0, tau_syn=5.0),
        },
        [
            evprop.Dense("input", "hidden", weight=evprop.init.Normal(0.02, 0.01)),
            evprop.Dense("hidden", "output", weight=evprop.init.Normal(0.0, 0.1)),
        ],
    )
    params = net.init(seed=0)
    labels = rng.integers(0, N_OUT, BATCH)
    loss = evprop.losses.CrossEntropy(evprop.losses.Final())
    before = peak_mib()
    _, _, record = evprop.value_and_grad(net, params, spikes, labels, loss, duration=duration)
    return {
        "duration": duration,
        "input_spikes": float(len(spikes.times)),
        "hidden_spikes": float(len(record.spikes["hidden"].times)),
        "before_mib": before,
        "growth_mib": peak_mib() - before,
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--case", nargs=2, type=float, metavar=("DURATION", "INPUT_SPIKES"), help=argparse.SUPPRESS
    )
    args = parser.parse_args()
    if args.case:
        json.dump(one_case(args.case[0], int(args.case[1])), sys.stdout)
        print()
        return
    print(f"{N_IN} inputs, {N_HIDDEN} hidden LIF, {N_OUT} outputs, batch {BATCH}, float64, one thread\n")
    print("| duration | input spikes in the batch | hidden spikes in the batch | peak memory of the step |")
    print("|---|---|---|---|")
    environment = os.environ | {"EVPROP_NUM_THREADS": "1"}
    for duration, input_spikes in ((100.0, 2000), (10_000.0, 2000), (100.0, 8000), (10_000.0, 8000)):
        command = [sys.executable, __file__, "--case", str(duration), str(input_spikes)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        case = json.loads(done.stdout)
        print(
            f"| {duration:,.0f} ms | {case['input_spikes']:,.0f} | {case['hidden_spikes']:,.0f} "
            f"| {case['growth_mib']:.1f} MiB |"
        )


if __name__ == "__main__":
    main()
