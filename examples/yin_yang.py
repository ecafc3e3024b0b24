"""Training on Yin-Yang with the Python interface: network, loss, optimiser, `fit`, and a look at the test set.

A few epochs of a small network with synaptic delays, to show the interface; `evprop train yin-yang` runs the shipped
configuration to its end.
"""

import evprop
from evprop import init
from evprop.callbacks import KeepBest, WeightBumping
from evprop.optim import Adam, ExponentialDecay

train, validation, test = (evprop.datasets.yin_yang(split) for split in ("train", "validation", "test"))
net = evprop.Network(
    {
        "input": evprop.Input(train.spikes.n_units),
        "hidden": evprop.LIF(60, tau_mem=20.0, tau_syn=5.0),
        "output": evprop.LIF(3, tau_mem=20.0, tau_syn=5.0),
    },
    [
        evprop.Dense("input", "hidden", weight=init.Normal(1.5, 0.8), delay=init.Uniform(0.0, 5.0)),
        evprop.Dense("hidden", "output", weight=init.Normal(0.9, 0.3), delay=init.Uniform(0.0, 5.0)),
    ],
)
params = net.init(seed=0)
loss = evprop.losses.FirstSpike(tau_0=0.5, tau_1=6.4, alpha=3e-3)
adam = Adam(1e-2, groups={"*.delay": {"lr": 5e-2}}, schedule=ExponentialDecay(0.9))
best = KeepBest()

history = evprop.train.fit(
    net,
    params,
    train,
    loss,
    adam,
    epochs=5,
    batch_size=50,
    duration=60.0,
    seed=0,
    validation=validation,
    callbacks=[best, WeightBumping({"output": 0.2}, amount=0.01)],
)
for row in history:
    print(f"epoch {row['epoch']}: loss {row['loss']:.3f}, validation accuracy {row['val_accuracy']:.3f}")

# the epoch was chosen on the validation set; the test set is looked at once
seen = evprop.metrics.evaluate(net, best.params, test, loss, duration=60.0)
print(f"test accuracy {seen.accuracy:.3f} (epoch {best.epoch}), spikes per neuron {seen.spikes_per_neuron}")
assert seen.accuracy > 0.85
