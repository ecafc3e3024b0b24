"""What the PyTorch module adds to evprop.value_and_grad, on workload S without delays, batch 32.

    python benches/torch_overhead.py [REPEATS]

The same loss on both sides: cross entropy over the weighted integral, by evprop and by torch. Times are CPU times of
one thread, in REPEATS pairs taken in turn. Needs evprop[torch].
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np
import torch

import evprop
from evprop.bench.workload_s import BATCH, DURATION, N_SPIKES, inputs, network
from evprop.interop.torch import Layer
from evprop.losses import CrossEntropy, WeightedIntegral


def main() -> None:
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    torch.set_num_threads(1)
    evprop.set_num_threads(1)
    net = network("none")
    params = net.init(seed=0, dtype="float32")
    spikes, labels = inputs(N_SPIKES, DURATION, BATCH)
    simulator, readout = evprop.Exact(dtype="float32"), WeightedIntegral(DURATION)
    layer = Layer(net, params, duration=DURATION, readouts={"output": [readout]}, simulator=simulator)
    targets = torch.tensor(labels)
    loss = CrossEntropy(readout)

    def ours() -> object:
        _, grads, _ = evprop.value_and_grad(
            net, params, spikes, labels, loss, duration=DURATION, simulator=simulator, input_times=False
        )
        return grads["hidden_hidden.weight"]

    def theirs() -> object:
        layer.zero_grad()
        torch.nn.functional.cross_entropy(layer(spikes).readout["output"][0], targets).backward()
        return layer.get_parameter("hidden_hidden.weight").grad.numpy()

    def seconds(step: Callable[[], object]) -> float:
        started = time.process_time()
        step()
        return time.process_time() - started

    pairs = np.array([(seconds(ours), seconds(theirs)) for _ in range(repeats)])
    for name, column in zip(("value_and_grad", "Layer"), pairs.T, strict=True):
        print(f"{name:15s} {1e3 * column.min():8.2f} ms per step of {BATCH} at best")
    ratio = pairs[:, 1] / pairs[:, 0]
    print(f"overhead        {100 * (np.median(ratio) - 1):8.2f} % (median of {repeats} pairs)")
    print(f"largest difference of a weight gradient: {abs(ours() - theirs()).max():.2g}")  # type: ignore[operator]


if __name__ == "__main__":
    main()
