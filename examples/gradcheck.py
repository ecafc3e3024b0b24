"""Checking gradients, and telling a wrong one from a spike that appears or vanishes within the step."""

import numpy as np

import evprop
from evprop import init
from evprop.testing import gradcheck

rng = np.random.default_rng(3)
spikes = evprop.Spikes.from_lists(
    [(rng.uniform(0.0, 25.0, 10), rng.integers(0, 5, 10)) for _ in range(3)], n_units=5
)
net = evprop.Network(
    {
        "input": evprop.Input(5),
        "hidden": evprop.LIF(6, v_reset=-0.2, trainable=("tau_mem", "tau_syn", "v_th", "v_reset", "i_bias")),
        "output": evprop.LIF(2),
    },
    [
        evprop.Dense("input", "hidden", weight=init.Normal(1.8, 0.6), delay=init.Uniform(0.5, 8.0)),
        evprop.Dense("hidden", "output", weight=init.Normal(1.2, 0.3), delay=init.Uniform(0.5, 4.0)),
    ],
)
params = net.init(seed=4)
loss = evprop.losses.FirstSpike(tau_0=2.0, tau_1=10.0, alpha=0.01)
report = gradcheck(net, params, spikes, loss, targets=np.array([0, 1, 0]), duration=60.0)
print(report)
assert report.ok
