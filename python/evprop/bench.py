"""Workload Y: whole training steps on Yin-Yang-like data, in samples per second.

5 inputs (four spike times in 0..30 ms and a bias spike at 0), 120 hidden LIF, 3 LIF outputs, tau 20/5 ms,
first-spike cross entropy, batch 150: forward pass, loss, backward pass, Adam step. Weights are those of
Wunderlich & Pehle's Yin-Yang net, N(1.5, 0.78) and N(0.93, 0.1), and the data the Yin-Yang training set. The
network learns meanwhile, as in any training, but the learning rate is kept at 1e-6 so that all steps are of
the same kind.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

import numpy as np

from . import init, losses
from .datasets import yin_yang
from .gradients import value_and_grad
from .loader import Loader
from .metrics import spikes_per_neuron
from .network import Network
from .optim import Adam
from .populations import LIF, Input
from .projections import Dense
from .simulators import Exact

N_IN, N_HIDDEN, N_OUT, BATCH = 5, 120, 3, 150
DURATION = 60.0


@dataclass(frozen=True)
class Speed:
    """Figures of a measurement: medians over its rounds."""

    dtype: str
    samples_per_s: float
    samples_per_cpu_s: float
    step_us: float
    spikes_per_sample: dict[str, float]

    def line(self) -> str:
        """The figures in one line."""
        spikes = ", ".join(f"{name} {count:.0f}" for name, count in self.spikes_per_sample.items())
        return (
            f"workload Y, {self.dtype}: {self.samples_per_s:,.0f} samples/s "
            f"({self.samples_per_cpu_s:,.0f} per CPU-second), {self.step_us:.0f} us a step of {BATCH} samples; "
            f"spikes per sample: {spikes}"
        )


def workload_y(*, dtype: str = "float64", seconds: float = 5.0, rounds: int = 5) -> Speed:
    """Measure training steps for about ``seconds`` in all, after a warm-up. Uses the threads that evprop is set to."""
    net = Network(
        {"input": Input(N_IN), "hidden": LIF(N_HIDDEN), "output": LIF(N_OUT)},
        [
            Dense("input", "hidden", weight=init.Normal(1.5, 0.78)),
            Dense("hidden", "output", weight=init.Normal(0.93, 0.1)),
        ],
    )
    params = net.init(seed=0, dtype=dtype)
    simulator = Exact(dtype=dtype)
    loss = losses.FirstSpike(tau_0=0.5, tau_1=6.4, alpha=3e-3)
    adam = Adam(1e-6)
    state = adam.init(net, params)
    whole = [b for b in Loader(yin_yang("train"), BATCH, seed=0).batches(0) if len(b.labels) == BATCH]
    counts: dict[str, list[float]] = {"hidden": [], "output": []}

    def step(k: int) -> None:
        batch = whole[k % len(whole)]
        _, grads, record = value_and_grad(
            net,
            params,
            batch.spikes,
            batch.labels,
            loss,
            duration=DURATION,
            simulator=simulator,
            input_times=False,
        )
        adam.step(params, grads, state)
        if k < len(whole):
            for name, mean in spikes_per_neuron(record).items():
                counts[name].append(mean * net.populations[name].size)

    began = time.perf_counter()
    done = 0
    while done < len(whole) or time.perf_counter() - began < seconds / 10:
        step(done)
        done += 1
    steps = max(1, round(done * seconds / (rounds * (time.perf_counter() - began))))
    wall, cpu = [], []
    for _ in range(rounds):
        began, used = time.perf_counter(), time.process_time()
        for k in range(steps):
            step(len(whole) + k)
        wall.append(time.perf_counter() - began)
        cpu.append(time.process_time() - used)
    per_step = statistics.median(wall) / steps
    return Speed(
        dtype,
        BATCH / per_step,
        BATCH * steps / statistics.median(cpu),
        1e6 * per_step,
        {name: float(np.mean(values)) for name, values in counts.items()},
    )
