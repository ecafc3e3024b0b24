"""Workload S: keyword-spotting size.

700 inputs, 8,000 input spikes a sample at uniformly random times over 1,000 ms and on uniformly random channels; 256
recurrent hidden LIF; 20 LI outputs, cross entropy over an exponentially weighted integral; tau 20/5 ms; weights
N(0.026, 0.01) in, N(0, 0.02) recurrent, N(0, 0.03) out, so that a hidden neuron fires 13 to 16 spikes a sample.
"""

from __future__ import annotations

import numpy as np

from .. import init, losses, readouts
from ..gradients import value_and_grad
from ..network import Network
from ..optim import Adam
from ..populations import LI, LIF, Input
from ..projections import Dense
from ..simulators import Exact
from ..spikes import Spikes
from .speed import Workload

N_IN, N_HIDDEN, N_OUT, BATCH = 700, 256, 20, 32
N_SPIKES, DURATION, LONGEST_DELAY = 8_000, 1_000.0, 62.0
KINDS = ("none", "learn", "axonal", "paper")


def inputs(n_spikes: int, duration: float, batch: int) -> tuple[Spikes, np.ndarray]:
    """Input spikes and labels of one batch, from a fixed seed."""
    rng = np.random.default_rng(0)
    times, units = np.empty((batch, n_spikes)), np.empty((batch, n_spikes), dtype=np.uint32)
    for b in range(batch):
        times[b] = np.sort(rng.uniform(0.0, duration, n_spikes))
        units[b] = rng.integers(0, N_IN, n_spikes)
    offsets = np.arange(0, batch * n_spikes + 1, n_spikes)
    return Spikes(times.reshape(-1), units.reshape(-1), offsets, n_units=N_IN), rng.integers(0, N_OUT, batch)


def network(kind: str, hidden: int = N_HIDDEN, drive: float = 1.0) -> Network:
    """Its network: ``none`` has no delays, ``learn`` one per synapse, ``axonal`` one per sender.

    ``drive`` is a factor on the weights from the input. ``paper`` is of the size of the Loihi papers,
    700-1024-1024-35, with delays at every synapse.
    """
    delay = {} if kind == "none" else {"delay": init.Uniform(0.0, LONGEST_DELAY)}
    delay_kind = {"delay_kind": "axonal"} if kind == "axonal" else {}

    def dense(pre: str, post: str, mean: float, std: float, **kwargs: object) -> Dense:
        return Dense(pre, post, weight=init.Normal(mean, std), **kwargs)  # type: ignore[arg-type]

    delays = delay | delay_kind
    if kind == "paper":
        names = {"input": Input(N_IN), "hidden_1": LIF(1024), "hidden_2": LIF(1024), "output": LI(35)}
        return Network(
            names,
            [
                dense("input", "hidden_1", 0.026 * drive, 0.01 * drive, **delays),
                dense("hidden_1", "hidden_2", 0.012, 0.02, **delays),
                dense("hidden_2", "output", 0.0, 0.03),
            ],
        )
    return Network(
        {"input": Input(N_IN), "hidden": LIF(hidden), "output": LI(N_OUT)},
        [
            dense("input", "hidden", 0.026 * drive, 0.01 * drive, **delays),
            dense("hidden", "hidden", 0.0, 0.02, **delays),
            dense("hidden", "output", 0.0, 0.03),
        ],
    )


def workload_s(
    kind: str,
    *,
    dtype: str = "float32",
    hidden: int = N_HIDDEN,
    n_spikes: int = N_SPIKES,
    duration: float = DURATION,
    busy: float | None = None,
    batch: int = BATCH,
    device: str = "cpu",
) -> Workload:
    """Training steps on one batch. ``kind``: one of `KINDS`; ``duration`` in ms.

    Input spikes lie in the first ``busy`` ms (default: all of the trial). Their weights go down as they come more
    often, so that hidden neurons fire alike.
    """
    busy = duration if busy is None else busy
    net = network(kind, hidden, drive=(N_SPIKES / DURATION) / (n_spikes / busy))
    params = net.init(seed=0, dtype=dtype)
    spikes, labels = inputs(n_spikes, busy, batch)
    simulator = Exact(dtype=dtype, device=device)
    loss = losses.CrossEntropy(readouts.WeightedIntegral(duration))
    adam = Adam(1e-6)
    state = adam.init(net, params)

    def step(k: int) -> dict[str, float]:
        _, grads, record = value_and_grad(
            net, params, spikes, labels, loss, duration=duration, simulator=simulator, input_times=False
        )
        adam.step(params, grads, state)
        return {name: len(trains.times) / batch for name, trains in record.spikes.items() if name.startswith("hidden")}

    return Workload(f"S-{kind}", dtype, batch, step)
