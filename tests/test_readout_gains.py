"""Gains of a readout's sources, fitted towards the classes in floating point."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import rel_entr, softmax

import evprop
from evprop.errors import ConfigError
from evprop.hardware import fit_readout_gains
from evprop.hardware.readout_gains import contributions
from evprop.losses import CrossEntropy
from evprop.readouts import Final, Integral, Max, Sampled, WeightedIntegral

T = 60.0


def network(delay: object = None, sparse: bool = False, output: str = "LI") -> evprop.Network:
    more = {} if delay is None else {"delay": evprop.init.Uniform(0.0, 8.0), "delay_kind": delay}
    if sparse:
        mask = np.random.default_rng(3).random((10, 3)) < 0.6
        last = evprop.Sparse("hidden", "output", weight=evprop.init.Normal(0.0, 2.0), mask=mask, **more)
    else:
        last = evprop.Dense("hidden", "output", weight=evprop.init.Normal(0.0, 2.0), **more)
    return evprop.Network(
        {
            "input": evprop.Input(6),
            "hidden": evprop.LIF(10, tau_mem=20.0, tau_syn=5.0),
            "output": getattr(evprop, output)(3, tau_mem=15.0, tau_syn=4.0),
        },
        [
            evprop.Dense("input", "hidden", weight=evprop.init.Normal(1.0, 0.4)),
            last,
            evprop.Dense("input", "output", weight=evprop.init.Normal(0.0, 0.3)),
        ],
    )


def spikes(n: int, seed: int) -> evprop.Spikes:
    rng = np.random.default_rng(seed)
    return evprop.Spikes.from_lists([(rng.uniform(0.0, 40.0, 25), rng.integers(0, 6, 25)) for _ in range(n)], n_units=6)


@pytest.mark.parametrize("readout", [Final(), WeightedIntegral(30.0), Sampled([20.0, 35.0, 50.0])])
@pytest.mark.parametrize("delay", [None, "synaptic", "axonal", "dendritic"])
@pytest.mark.parametrize("sparse", [False, True])
def test_contributions_add_up_to_the_readout(readout: object, delay: str | None, sparse: bool) -> None:
    net = network(delay, sparse)
    params = net.init(0)
    record = evprop.simulate(net, params, spikes(4, 0), duration=T, readouts={"output": [readout]})
    incoming = [p for p in net.projections if p.post == "output"]
    parts = contributions(record, "output", incoming, CrossEntropy(readout))
    whole = record.readout["output"][0]
    assert parts.shape == (*whole.shape[:-1], 16, 3)
    np.testing.assert_allclose(parts.sum(axis=-2), whole, atol=1e-10)
    # source 2 alone, by leaving out the weights of all others
    weight = params["hidden_output.weight"]
    rows = np.repeat(np.arange(10), np.diff(incoming[0].structure()[0])) if sparse else np.arange(10)[:, None]
    alone = {**params, "hidden_output.weight": np.where(rows == 2, weight, 0.0)}
    alone["input_output.weight"] = np.zeros((6, 3))
    seen = evprop.simulate(net, alone, spikes(4, 0), duration=T, readouts={"output": [readout]}).readout["output"][0]
    assert np.abs(seen).max() > 1e-3
    np.testing.assert_allclose(parts[..., 2, :], seen, atol=1e-10)


@pytest.mark.parametrize("readout", [Integral(), Sampled([20.0, 50.0])])
def test_the_least_divergence_by_another_optimiser(readout: object) -> None:
    """Here the substrate is the exact engine with a threshold that is off: nothing is rounded."""
    net, loss, strength = network(), CrossEntropy(readout), 1e-3
    params = net.init(0)
    off = Shifted(1.1)
    found = fit_readout_gains(
        net, params, spikes(30, 1), spikes(20, 2), off, loss, duration=T, strengths=[strength]
    )
    assert found.strength == strength
    assert found.divergence[strength] < found.divergence[None]

    def answers(these: dict, simulator: object, samples: evprop.Spikes) -> np.ndarray:
        record = evprop.simulate(net, these, samples, duration=T, readouts=loss.readouts(net), simulator=simulator)
        return softmax(record.readout["output"][0], axis=-1)

    def scaled(g: np.ndarray) -> dict:
        return {
            **params,
            "hidden_output.weight": params["hidden_output.weight"] * g[:10, None],
            "input_output.weight": params["input_output.weight"] * g[10:, None],
        }

    wanted = answers(params, evprop.Exact(), spikes(30, 1))

    def value(g: np.ndarray) -> float:
        q = answers(scaled(g), off, spikes(30, 1))
        return float(rel_entr(wanted, q).sum(axis=-1).mean() + strength * np.sum((g - 1.0) ** 2))

    g = np.concatenate([found.gains["hidden_output"], found.gains["input_output"]])
    assert np.abs(g - 1.0).max() > 0.01
    other = minimize(value, np.ones(16), method="L-BFGS-B", options={"ftol": 1e-15, "gtol": 1e-9})
    assert value(g) <= other.fun + 1e-9
    np.testing.assert_allclose(g, other.x, atol=2e-4)
    for name, weight in scaled(g).items():
        np.testing.assert_array_equal(found.params[name], weight)
    there = rel_entr(answers(params, evprop.Exact(), spikes(20, 2)), answers(found.params, off, spikes(20, 2)))
    np.testing.assert_allclose(found.divergence[strength], there.sum(axis=-1).mean(), rtol=1e-9)


class Shifted:
    """The exact engine, with thresholds times a factor; for batches of ``only`` samples, if given."""

    dtype = "float64"

    def __init__(self, factor: float, only: int | None = None) -> None:
        self.factor, self.only = factor, only

    def simulate(self, net: evprop.Network, params: dict, given: evprop.Spikes, **more: object) -> evprop.Record:
        factor = self.factor if self.only in (None, len(given)) else 1.0
        changed = {**params, "hidden.v_th": factor * params["hidden.v_th"]}
        return evprop.Exact().simulate(net, changed, given, **more)


def test_the_chip_comes_nearer_or_stays() -> None:
    net, loss = network("synaptic"), CrossEntropy(WeightedIntegral(30.0))
    params = net.init(0)
    chip = evprop.Loihi2(dt=2.0)
    found = fit_readout_gains(net, params, spikes(200, 1), spikes(100, 2), chip, loss, duration=T)
    assert found.divergence[found.strength] == min(found.divergence.values()) < 0.9 * found.divergence[None]
    # a substrate that is right where it is checked: no gain helps
    stays = fit_readout_gains(net, params, spikes(30, 1), spikes(20, 2), Shifted(1.1, only=30), loss, duration=T)
    assert stays.strength is None
    assert stays.divergence[None] == 0.0 < min(value for name, value in stays.divergence.items() if name is not None)
    assert stays.params.keys() == params.keys()
    for name, values in params.items():
        np.testing.assert_array_equal(stays.params[name], values)
    assert all((gains == 1.0).all() for gains in stays.gains.values())


def test_what_it_refuses() -> None:
    net = network()
    samples = spikes(2, 0)

    def fit(net: evprop.Network, loss: object, **more: object) -> None:
        fit_readout_gains(net, net.init(0), samples, samples, evprop.Loihi2(), loss, duration=T, **more)

    with pytest.raises(ConfigError, match=r"Max\(\) of 'output' \(li\) is not linear"):
        fit(net, CrossEntropy(Max()))
    with pytest.raises(ConfigError, match=r"of 'output' \(lif\) is not linear"):
        fit(network(output="LIF"), CrossEntropy(Final()))
    with pytest.raises(ConfigError, match="classes of a CrossEntropy, not of FirstSpike"):
        fit(net, evprop.losses.FirstSpike(1.0, 1.0, 0.1))
    with pytest.raises(ConfigError, match="strengths are"):
        fit(net, CrossEntropy(Final()), strengths=[0.0])
