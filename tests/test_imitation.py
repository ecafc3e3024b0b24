"""Training towards a network's answers in floating point."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import rel_entr, softmax

import evprop
from evprop.errors import ConfigError, TargetError
from evprop.hardware import Imitation
from evprop.losses import CrossEntropy, FirstSpike
from evprop.readouts import Final, Sampled, WeightedIntegral

T = 60.0
LABELS = np.array([0, 2, 1, 0])


def network() -> evprop.Network:
    return evprop.Network(
        {
            "input": evprop.Input(6),
            "hidden": evprop.LIF(8, tau_mem=20.0, tau_syn=5.0),
            "output": evprop.LI(3, tau_mem=20.0, tau_syn=5.0),
        },
        [
            evprop.Dense("input", "hidden", weight=evprop.init.Normal(1.0, 0.4), delay=evprop.init.Uniform(0.0, 9.0)),
            evprop.Dense("hidden", "output", weight=evprop.init.Normal(0.0, 2.0)),
        ],
    )


def spikes() -> evprop.Spikes:
    rng = np.random.default_rng(5)
    return evprop.Spikes.from_lists([(rng.uniform(0.0, 40.0, 20), rng.integers(0, 6, 20)) for _ in range(4)], n_units=6)


READOUTS = [Final(), WeightedIntegral(30.0), Sampled([20.0, 35.0, 50.0])]


@pytest.mark.parametrize("readout", READOUTS)
def test_the_divergence_of_the_answers(readout: object) -> None:
    net = network()
    params, other = net.init(0), net.init(1)
    loss = Imitation(CrossEntropy(readout), other, evprop.Exact())

    def answers(these: dict) -> np.ndarray:
        record = evprop.simulate(net, these, spikes(), duration=T, readouts={"output": [readout]})
        return softmax(record.readout["output"][0].reshape(4, -1, 3), axis=-1)

    value, grads, record = evprop.value_and_grad(net, params, spikes(), LABELS, loss, duration=T)
    values = rel_entr(answers(other), answers(params)).sum(axis=-1).mean(axis=1)
    np.testing.assert_allclose(loss.evaluate(record, LABELS).values, values, rtol=1e-12)
    np.testing.assert_allclose(value, values.mean(), rtol=1e-12)
    assert value > 1e-3
    np.testing.assert_array_equal(loss.predict(record), CrossEntropy(readout).predict(record))
    # finite differences through output weights and a delay
    for name, at in (("hidden_output.weight", (3, 1)), ("hidden_output.weight", (0, 2)), ("input_hidden.delay", (2, 4))):
        ends = []
        for step in (1e-6, -1e-6):
            moved = {k: v.copy() for k, v in params.items()}
            moved[name][at] += step
            ends.append(evprop.value_and_grad(net, moved, spikes(), LABELS, loss, duration=T)[0])
        np.testing.assert_allclose(grads[name][at], (ends[0] - ends[1]) / 2e-6, rtol=1e-4, atol=1e-8)


def test_it_is_cross_entropy_where_the_other_is_sure() -> None:
    """Another network with huge output weights: its answers are labels."""
    net, readout = network(), WeightedIntegral(30.0)
    params = net.init(0)
    sure = {**params, "hidden_output.weight": 1e6 * params["hidden_output.weight"]}
    record = evprop.simulate(net, params, spikes(), duration=T, readouts={"output": [readout]})
    labels = CrossEntropy(readout).predict(record)
    found, plain = (loss.evaluate(record, labels) for loss in (Imitation(CrossEntropy(readout), sure, evprop.Exact()), CrossEntropy(readout)))
    np.testing.assert_allclose(found.values, plain.values, rtol=1e-9)
    np.testing.assert_allclose(found.readouts["output"][0], plain.readouts["output"][0], atol=1e-9)


def test_nothing_is_learnt_from_oneself() -> None:
    net = network()
    params = net.init(0)
    value, grads, _ = evprop.value_and_grad(
        net, params, spikes(), LABELS, Imitation(CrossEntropy(Final()), params, evprop.Exact()), duration=T
    )
    assert value == 0.0
    for name in ("input_hidden.weight", "input_hidden.delay", "hidden_output.weight"):
        assert not grads[name].any()


def test_the_chip_comes_nearer() -> None:
    net = network()
    params = net.init(0)
    chip = evprop.Loihi2(dt=2.0, num_weight_bits=4)
    masters = {name: array.copy() for name, array in params.items()}
    loss = Imitation(CrossEntropy(WeightedIntegral(30.0)), masters, evprop.Exact())
    data = evprop.datasets.Dataset(spikes(), LABELS)
    history = evprop.train.fit(
        *(net, params, data, loss, evprop.optim.Adam(0.02)),
        epochs=30,
        batch_size=4,
        duration=T,
        seed=0,
        simulator=chip,
    )
    assert history["loss"][-5:].max() < 0.7 * history["loss"][0]


def test_what_it_refuses() -> None:
    net = network()
    params = net.init(0)
    with pytest.raises(ConfigError, match=r"compares the classes of a CrossEntropy, not of FirstSpike.*labels"):
        Imitation(FirstSpike(1.0, 1.0, 0.1), params, evprop.Exact())
    loss = Imitation(CrossEntropy(Final()), params, evprop.Exact())
    with pytest.raises(TargetError):
        evprop.value_and_grad(net, params, spikes(), np.array([0, 1, 2, 3]), loss, duration=T)
