"""Gradients of a small recurrent network with delays: all kinds of parameters, checked by nudging some by hand."""

import numpy as np

import evprop
from evprop import init

rng = np.random.default_rng(0)
spikes = evprop.Spikes.from_lists(
    [(rng.uniform(0.0, 30.0, 20), rng.integers(0, 8, 20)) for _ in range(4)], n_units=8
)
labels = np.array([0, 1, 2, 0])

net = evprop.Network(
    {
        "input": evprop.Input(8),
        "hidden": evprop.LIF(12, tau_mem=20.0, tau_syn=5.0, trainable=("tau_mem", "tau_syn", "v_th")),
        "output": evprop.LI(3, tau_mem=20.0, tau_syn=5.0),
    },
    [
        evprop.Dense("input", "hidden", weight=init.Normal(1.0, 0.5), delay=init.Uniform(0.0, 10.0)),
        evprop.Dense(
            "hidden",
            "hidden",
            weight=init.Normal(0.0, 0.3),
            delay=init.Uniform(1.0, 5.0),
            self_connections=False,
        ),
        evprop.Dense("hidden", "output", weight=init.Normal(0.0, 0.5)),
    ],
)
params = net.init(seed=1)
loss = evprop.losses.CrossEntropy(evprop.losses.Max())


def value_at(changed: dict[str, np.ndarray]) -> float:
    return evprop.value_and_grad(net, changed, spikes, labels, loss, duration=60.0)[0]


value, grads, record = evprop.value_and_grad(net, params, spikes, labels, loss, duration=60.0)
print(net.summary())
print(f"loss {value:.6f}, {record.spikes['hidden'].n_spikes} hidden spikes, {grads.health}\n")

print("parameter                   gradient      finite difference")
for name, gradient in grads.items():
    where = np.unravel_index(np.abs(gradient).argmax(), gradient.shape)
    h = 1e-6
    up, down = ({n: a.copy() for n, a in params.items()} for _ in range(2))
    up[name][where] += h
    down[name][where] -= h
    difference = (value_at(up) - value_at(down)) / (2 * h)
    print(f"{name + str([int(i) for i in where]):26} {gradient[where]:+.8f}   {difference:+.8f}")
    assert abs(gradient[where] - difference) < 1e-6 * max(1.0, abs(difference)), name
