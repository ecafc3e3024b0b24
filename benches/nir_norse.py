"""A network written by Norse, read through NIR, and its spike times on both sides, as Norse's step shrinks.

    python benches/nir_norse.py

20 inputs, 50 hidden and 10 output LIF neurons (`norse.torch.LIFCell`), 100 ms, 60 input spikes on a grid of 0.1 ms.
Norse steps in time (forward Euler, float32), evprop does not; where only Norse's step stands between them, their
difference shrinks with it. Spikes are matched neuron by neuron, in order. Needs norse and evprop[nir].
"""

from __future__ import annotations

import norse.torch as norse
import numpy as np
import torch

import evprop
from evprop.interop.nir import from_nir

SIZES, DURATION, N_SPIKES = (20, 50, 10), 100.0, 60


def model(dt: float) -> norse.SequentialState:
    torch.manual_seed(0)
    layers: list[torch.nn.Module] = []
    for pre, post, strength in zip(SIZES, SIZES[1:], (1.0, 0.4), strict=False):
        linear = torch.nn.Linear(pre, post, bias=False)
        torch.nn.init.uniform_(linear.weight, -0.3 * strength, strength)
        constants = {"tau_syn_inv": torch.full((post,), 200.0), "tau_mem_inv": torch.full((post,), 50.0)}
        zero = torch.zeros(post)
        parameters = norse.LIFParameters(**constants, v_th=torch.ones(post), v_leak=zero, v_reset=zero)
        layers += [linear, norse.LIFCell(parameters, dt=dt)]
    return norse.SequentialState(*layers)


def spikes_of_norse(dt: float, times: np.ndarray, units: np.ndarray) -> list[list[float]]:
    """Spike times (ms) of each output neuron."""
    network, steps = model(dt), round(DURATION * 1e-3 / dt)
    data = torch.zeros(steps, SIZES[0])
    data[np.rint(times * 1e-3 / dt).astype(int), units] = 1.0
    found: list[list[float]] = [[] for _ in range(SIZES[2])]
    state = None
    with torch.no_grad():
        for step in range(steps):
            out, state = network(data[step][None], state)
            for unit in out[0].nonzero().ravel().tolist():
                found[unit].append(step * dt * 1e3)
    return found


def main() -> None:
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    times = np.sort(rng.integers(0, 600, N_SPIKES)) * 0.1
    units = rng.integers(0, SIZES[0], N_SPIKES)
    print("| Norse's step (ms) | spikes, Norse | spikes, evprop | mean difference (ms) | largest (ms) | in steps |")
    print("|---:|---:|---:|---:|---:|---:|")
    for dt in (1e-4, 1e-5, 1e-6):
        graph = norse.to_nir(model(dt), torch.zeros(SIZES[0]), dt=1.0)
        net, params = from_nir(graph, spike_area="jump")
        spikes = evprop.Spikes.from_lists([(times, units)], n_units=SIZES[0])
        record = evprop.simulate(net, params, spikes, duration=DURATION)
        (output,) = net.outputs
        t, u = record.spikes[output][0]
        theirs = spikes_of_norse(dt, times, units)
        pairs = [(t[u == k], np.array(theirs[k])) for k in range(SIZES[2])]
        n = sum(len(b) for _, b in pairs)
        if any(len(a) != len(b) for a, b in pairs):
            print(f"| {1e3 * dt:g} | {n} | {len(t)} | not the same numbers of spikes | | |")
            continue
        apart = np.concatenate([np.abs(a - b) for a, b in pairs])
        worst = apart.max()
        print(f"| {1e3 * dt:g} | {n} | {len(t)} | {apart.mean():.2g} | {worst:.2g} | {worst / (1e3 * dt):.1f} |")


if __name__ == "__main__":
    main()
