"""Gradients of a batch in parts, one after another: the same step as that of the whole batch."""

from __future__ import annotations

import numpy as np
import pytest

import evprop
from evprop import distributed, init, losses
from evprop.callbacks import Callback
from evprop.datasets import yin_yang
from evprop.optim import SGD, Adam
from evprop.train import fit

LOSS = losses.FirstSpike(tau_0=0.5, tau_1=6.4, alpha=3e-3)


def network():
    net = evprop.Network(
        {"input": evprop.Input(5), "hidden": evprop.LIF(12), "output": evprop.LIF(3)},
        [
            evprop.Dense("input", "hidden", weight=init.Normal(1.5, 0.8), delay=init.Uniform(0.5, 4.0)),
            evprop.Dense("hidden", "output", weight=init.Normal(2.0, 0.5)),
        ],
    )
    return net, net.init(0)


def trained(parts, *, optimiser=None, **more):
    net, params = network()
    optimiser = Adam(5e-3) if optimiser is None else optimiser
    given = {"epochs": 2, "batch_size": 32, "duration": 60.0, "seed": 3} | more
    history = fit(net, params, yin_yang("train", size=70), LOSS, optimiser, parts=parts, **given)
    return params, history


@pytest.mark.parametrize("parts", [2, 3, 32])
def test_parts_make_the_step_of_the_whole_batch(parts):
    (whole, seen), (summed, seen_in_parts) = trained(None), trained(parts)
    for name in whole:
        np.testing.assert_allclose(summed[name], whole[name], rtol=1e-9, atol=1e-11)
    for column in ("loss", "accuracy", "spikes_per_neuron.hidden", "health.silent.hidden"):
        np.testing.assert_allclose(seen_in_parts[column], seen[column], rtol=1e-12)
    assert seen_in_parts["health.min_vdot"] == pytest.approx(seen["health.min_vdot"], rel=1e-9)


def test_a_step_is_that_of_the_distributed_gradient_bit_for_bit():
    params, _ = trained(4, optimiser=SGD(0.1), epochs=1, batch_size=70, shuffle=False)
    net, expected = network()
    data = yin_yang("train", size=70)
    given = {"duration": 60.0, "parts": 4}
    _, grads = distributed.value_and_grad(net, expected, data.spikes, data.labels, LOSS, **given)
    optimiser = SGD(0.1)
    optimiser.step(expected, grads, optimiser.init(net, expected))
    assert {n: a.tobytes() for n, a in params.items()} == {n: a.tobytes() for n, a in expected.items()}


def test_a_run_in_parts_resumes_to_the_same_bits(tmp_path):
    class Crash(Callback):
        name = "Watch"

        def __init__(self, batches):
            self.left = batches

        def on_batch(self, run):
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt

    expected, _ = trained(3, callbacks=[Crash(100)])
    net, params = network()
    given = {"epochs": 2, "batch_size": 32, "duration": 60.0, "seed": 3, "run_dir": tmp_path / "run"}
    data = yin_yang("train", size=70)
    with pytest.raises(KeyboardInterrupt):
        fit(net, params, data, LOSS, Adam(5e-3), parts=3, callbacks=[Crash(4)], **given)
    net, params = network()
    fit(net, params, data, LOSS, Adam(5e-3), parts=3, callbacks=[Crash(100)], resume=True, **given)
    assert {n: a.tobytes() for n, a in params.items()} == {n: a.tobytes() for n, a in expected.items()}
