"""Workload Y: Yin-Yang size.

5 inputs (four spike times in 0..30 ms and a bias spike at 0), 120 hidden LIF, 3 LIF outputs, tau 20/5 ms,
first-spike cross entropy, batch 150, a window of 30 ms. The loss looks at first spikes only, so an output spikes once.
Weights are those of Wunderlich & Pehle's Yin-Yang net, N(1.5, 0.78) and
N(0.93, 0.1), and the data the Yin-Yang training set.
"""

from __future__ import annotations

import math

from .. import init, losses
from ..datasets import yin_yang
from ..gradients import value_and_grad
from ..loader import Loader
from ..metrics import spikes_per_neuron
from ..network import Network
from ..optim import Adam
from ..populations import LIF, Input
from ..projections import Dense
from ..simulators import Exact
from .speed import Workload

N_IN, N_HIDDEN, N_OUT, BATCH = 5, 120, 3, 150
DURATION = 30.0


def workload_y(*, dtype: str = "float64", device: str = "cpu") -> Workload:
    """Training steps on the Yin-Yang training set, whole batches alone."""
    net = Network(
        {"input": Input(N_IN), "hidden": LIF(N_HIDDEN), "output": LIF(N_OUT, t_ref=math.inf)},
        [
            Dense("input", "hidden", weight=init.Normal(1.5, 0.78)),
            Dense("hidden", "output", weight=init.Normal(0.93, 0.1)),
        ],
    )
    params = net.init(seed=0, dtype=dtype)
    simulator = Exact(dtype=dtype, device=device)
    loss = losses.FirstSpike(tau_0=0.5, tau_1=6.4, alpha=3e-3)
    adam = Adam(1e-6)
    state = adam.init(net, params)
    whole = [b for b in Loader(yin_yang("train"), BATCH, seed=0).batches(0) if len(b.labels) == BATCH]

    def step(k: int) -> dict[str, float]:
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
        if k >= len(whole):
            return {}
        return {name: mean * net.populations[name].size for name, mean in spikes_per_neuron(record).items()}

    return Workload("Y", dtype, BATCH, step)
