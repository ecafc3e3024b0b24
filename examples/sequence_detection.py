"""Two sequences that no weights can tell apart, told apart by learning delays alone.

Both samples have one spike on each of two inputs, 10 ms apart; only the order differs. All weights are 1 and stay 1,
all delays start at 0. (Mészáros, Knight & Nowotny 2025, Nature Communications 16.) The training loop is written out.
"""

import numpy as np

import evprop

data = evprop.datasets.sequence_detection()
net = evprop.Network(
    {"input": evprop.Input(2), "output": evprop.LI(2, tau_mem=10.0, tau_syn=5.0)},
    [evprop.Dense("input", "output", weight=1.0, delay=0.0, trainable=("delay",))],
)
params = net.init(seed=0)
loss = evprop.losses.CrossEntropy(evprop.losses.Max())
adam = evprop.optim.Adam(1.0)  # ms per step
state = adam.init(net, params)

for step in range(200):
    value, grads, record = evprop.value_and_grad(net, params, data.spikes, data.labels, loss, duration=40.0)
    correct = loss.predict(record) == data.labels
    if step and correct.all():
        break
    adam.step(params, grads, state)

print(f"solved after {step} steps, loss {value:.4f}")
print("delays in ms (rows: inputs, columns: outputs)\n", np.round(params["input_output.delay"], 2))
assert correct.all()
assert (params["input_output.weight"] == 1.0).all()
assert (params["input_output.delay"] >= 0.0).all()
