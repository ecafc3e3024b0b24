"""Synaptic events a second through the engine where nothing spikes: forwards, the exact test included, and backwards.

    python benches/event_rate.py [--rounds 9]

The input of workload S, 700 channels with 8,000 spikes a sample over 1,000 ms, onto 256 LIF of half its weights: V
stays below threshold, and every arrival is tested. Backwards from random cotangents of V at 14 instants (in workload S
a hidden neuron has as many spikes), with gradients of weights and, where there are any, of delays. float32, batch 32,
one thread; Python's part of the two calls counts. Medians of the rounds, by CPU time.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable

import numpy as np

import evprop
from evprop import init, readouts
from evprop.bench import machine
from evprop.bench.workload_s import BATCH, DURATION, LONGEST_DELAY, N_HIDDEN, N_IN, N_SPIKES, inputs

KINDS = {
    "no delays": {},
    "a delay for each sender": {"delay_kind": "axonal"},
    "a delay at each synapse": {"delay_kind": "synaptic"},
}


def rates(kind: dict[str, str], rounds: int) -> tuple[float, float]:
    """G synaptic events a second, forwards and backwards."""
    delay = {"delay": init.Uniform(0.0, LONGEST_DELAY)} if kind else {}
    net = evprop.Network(
        {"input": evprop.Input(N_IN), "hidden": evprop.LIF(N_HIDDEN)},
        [evprop.Dense("input", "hidden", weight=init.Normal(0.013, 0.005), **kind, **delay)],  # type: ignore[arg-type]
    )
    params = net.init(seed=0, dtype="float32")
    spikes, _ = inputs(N_SPIKES, DURATION, BATCH)
    at = np.linspace(DURATION / 14, DURATION, 14)
    simulator = evprop.Exact(dtype="float32")

    def seconds(work: Callable[[], object]) -> float:
        spent = []
        for _ in range(rounds + 1):
            began = time.process_time()
            work()
            spent.append(time.process_time() - began)
        return statistics.median(spent[1:])

    def forwards(**asked: object) -> evprop.Record:
        return simulator.simulate(net, params, spikes, duration=DURATION, **asked)  # type: ignore[arg-type]

    record = forwards(readouts={"hidden": [readouts.Sampled(at)]})
    assert len(record.spikes["hidden"].times) == 0, "the hidden neurons are to be silent"
    cotangents = np.random.default_rng(0).normal(size=record.readout["hidden"][0].shape).astype("float32")

    def backwards() -> object:
        return evprop.backward(record, readouts={"hidden": [cotangents]}, input_times=False)

    events = BATCH * N_SPIKES * N_HIDDEN / 1e9
    return events / seconds(forwards), events / seconds(backwards)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    evprop.set_num_threads(1)
    print(machine())
    print("| | forwards, G synaptic events/s | backwards |")
    print("|---|---:|---:|")
    for name, kind in KINDS.items():
        forth, back = rates(kind, rounds)
        print(f"| {name} | {forth:.2f} | {back:.2f} |")


if __name__ == "__main__":
    main()
