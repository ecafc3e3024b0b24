"""The JAX function: evprop's own numbers bit for bit, finite differences, jit, vmap, optax."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import evprop
from evprop.errors import ConfigError, NetworkError, ShapeError, SpikesError
from evprop.losses import Final, Integral, Max, Sampled

jax = pytest.importorskip("jax", reason="needs the extra evprop[jax]")
jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp  # noqa: E402

from evprop.interop.jax import Function  # noqa: E402

DURATION = 25.0


def recurrent() -> tuple[evprop.Network, dict[str, Any], Any, Any]:
    """Recurrence with a delay at every synapse, axonal and dendritic delays, both kinds of output."""
    rng = np.random.default_rng(3)
    net = evprop.Network(
        {
            "in": evprop.Input(3),
            "h": evprop.LIF(4, tau_mem=rng.uniform(8, 15, 4), tau_syn=4.0, t_ref=0.5),
            "lif": evprop.LIF(2),
            "li": evprop.LI(2, i_bias=0.1),
        },
        [
            evprop.Dense("in", "h", weight=rng.normal(7, 1, (3, 4)), delay=rng.uniform(0, 4, (3, 1)), delay_kind="axonal"),
            evprop.Dense("h", "h", weight=rng.normal(0, 0.5, (4, 4)), delay=rng.uniform(0, 5, (4, 4))),
            evprop.Dense("h", "lif", weight=rng.normal(3, 0.5, (4, 2)), delay=rng.uniform(0, 2, (1, 2)), delay_kind="dendritic"),
            evprop.Dense("h", "li", weight=rng.normal(0, 1, (4, 2))),
        ],
    )
    times = rng.uniform(0, 10, (2, 5))
    times[0, 2] = np.inf
    return net, net.init(0), times, rng.integers(0, 3, (2, 5))


def function(net: evprop.Network, **kwargs: Any) -> Function:
    asked: dict[str, Any] = {
        "readouts": {"li": [Integral(), Max(), Final(), Sampled([3.3, 12.1])]},
        "first_spikes": ["lif"],
        "spikes": {"h": 40},
    }
    return Function(net, duration=DURATION, **(asked | kwargs))


def loss_of(play: Function, units: Any, seed: int = 0) -> Any:
    """A fixed random weighting of everything that comes out."""

    def loss(params: Any, times: Any) -> Any:
        out = play(params, times, units)
        rng = np.random.default_rng(seed)
        total = 0.0
        leaves = [*out.readout["li"], *out.first_times.values(), *(t for t, _ in out.spikes.values())]
        for leaf in leaves:
            weights = rng.normal(size=leaf.shape)
            total = total + jnp.sum(jnp.where(jnp.isfinite(leaf), leaf, 0.0) * weights)
        return total

    return loss


def test_the_numbers_are_evprops_own() -> None:
    net, params, times, units = recurrent()
    play = function(net)
    out = play(params, times, units)
    present = [np.isfinite(t) for t in times]
    spikes = evprop.Spikes.from_lists([(t[p], u[p]) for t, u, p in zip(times, units, present, strict=True)], n_units=3)
    record = evprop.simulate(net, params, spikes, duration=DURATION, readouts=play.readouts)
    for mine, theirs in zip(out.readout["li"], record.readout["li"], strict=True):
        assert np.asarray(mine).tobytes() == theirs.tobytes()
    np.testing.assert_array_equal(out.first_times["lif"], record.spikes["lif"].first_times())
    padded, padded_units = (np.asarray(a) for a in out.spikes["h"])
    for b in range(2):
        t, u = record.spikes["h"][b]
        assert len(t) > 3
        np.testing.assert_array_equal(padded[b, : len(t)], t)
        np.testing.assert_array_equal(padded_units[b, : len(t)], u)
        assert np.isinf(padded[b, len(t) :]).all()


@pytest.mark.parametrize("jit", [False, True])
def test_gradients_against_finite_differences(jit: bool) -> None:
    net, params, times, units = recurrent()
    loss = loss_of(function(net), units)
    both = jax.value_and_grad(loss, argnums=(0, 1))
    value, (grads, on_times) = (jax.jit(both) if jit else both)(params, times)
    assert np.isfinite(value)
    rng = np.random.default_rng(9)
    h = 1e-6
    for name, array in params.items():
        if name.endswith("t_ref"):
            assert not np.asarray(grads[name]).any()
            continue
        direction = rng.choice([-1.0, 1.0], array.shape)
        up, down = (loss({**params, name: array + s * h * direction}, times) for s in (1, -1))
        assert float(jnp.sum(grads[name] * direction)) == pytest.approx(float(up - down) / (2 * h), rel=1e-5, abs=1e-6), name
    direction = np.where(np.isfinite(times), rng.normal(size=times.shape), 0.0)
    up, down = (loss(params, times + s * h * direction) for s in (1, -1))
    assert float(jnp.sum(on_times * direction)) == pytest.approx(float(up - down) / (2 * h), rel=1e-5, abs=1e-6)
    assert on_times[0, 2] == 0.0


def test_vmap_is_the_batch() -> None:
    net, params, times, units = recurrent()
    play = function(net)
    whole = play(params, times, units)
    mapped = jax.jit(jax.vmap(lambda t, u: play(params, t[None], u[None])))(times, units)
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(mapped), strict=True):
        np.testing.assert_array_equal(a, b[:, 0])

    def total(params: Any, times: Any) -> Any:
        first = jax.vmap(lambda t, u: play(params, t[None], u[None]).first_times["lif"])(times, units)
        return jnp.sum(jnp.where(jnp.isfinite(first), first, 0.0))

    def direct(params: Any, times: Any) -> Any:
        first = play(params, times, units).first_times["lif"]
        return jnp.sum(jnp.where(jnp.isfinite(first), first, 0.0))

    one, other = jax.grad(total, argnums=(0, 1))(params, times), jax.grad(direct, argnums=(0, 1))(params, times)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def test_vmap_over_parameters() -> None:
    net, params, times, units = recurrent()
    play = function(net)
    stacked = {name: jnp.stack([a, a * 1.01]) for name, a in params.items()}
    mapped = jax.vmap(lambda p: play(p, times, units).readout["li"][0])(stacked)
    for k, factor in enumerate((1.0, 1.01)):
        alone = play({name: a * factor for name, a in params.items()}, times, units).readout["li"][0]
        np.testing.assert_array_equal(mapped[k], alone)


def test_optax_under_jit() -> None:
    optax = pytest.importorskip("optax", reason="needs optax")
    data = evprop.datasets.yin_yang("train", size=60)
    net = evprop.Network(
        {"in": evprop.Input(5), "h": evprop.LIF(20), "out": evprop.LI(3)},
        [
            evprop.Dense("in", "h", weight=evprop.init.Normal(1.5, 0.8), delay=evprop.init.Uniform(0.0, 5.0)),
            evprop.Dense("h", "out", weight=evprop.init.Normal(0.0, 1.0)),
        ],
    )
    play = Function(net, duration=60.0, readouts={"out": [Max()]})
    times = data.spikes.first_times()
    labels = jnp.asarray(data.labels)
    params = {name: jnp.asarray(a) for name, a in net.init(0).items()}
    optimiser = optax.adam(0.02)

    def loss(learnt: Any, fixed: Any) -> Any:
        scores = play({**fixed, **learnt}, times).readout["out"][0]
        return optax.softmax_cross_entropy_with_integer_labels(scores, labels).mean()

    learnt = {name: params[name] for name in ("in_h.weight", "h_out.weight")}

    @jax.jit
    def step(learnt: Any, state: Any) -> Any:
        value, grads = jax.value_and_grad(loss)(learnt, params)
        updates, state = optimiser.update(grads, state)
        return optax.apply_updates(learnt, updates), state, value

    state, values = optimiser.init(learnt), []
    for _ in range(25):
        learnt, state, value = step(learnt, state)
        values.append(float(value))
    assert values[-1] < 0.9 * values[0], values


def test_several_inputs() -> None:
    net = evprop.Network(
        {"a": evprop.Input(1), "b": evprop.Input(1), "o": evprop.LI(1)},
        [evprop.Dense("a", "o", weight=2.0), evprop.Dense("b", "o", weight=3.0)],
    )
    play = Function(net, duration=DURATION, readouts={"o": [Final()]})
    times = {"a": jnp.array([[3.0]]), "b": jnp.array([[5.0]])}
    grads = jax.grad(lambda t: play(net.init(0), t).readout["o"][0].sum())(times)
    h = 1e-6
    for name in times:
        up, down = (play(net.init(0), {**times, name: times[name] + s * h}).readout["o"][0].sum() for s in (1, -1))
        assert float(grads[name][0, 0]) == pytest.approx(float(up - down) / (2 * h), rel=1e-6)


def test_clear_errors() -> None:
    net, params, times, units = recurrent()
    play = function(net)
    with pytest.raises(ShapeError, match="one spike per unit"):
        play(params, times)
    with pytest.raises(NetworkError, match="no LIF population"):
        function(net, first_spikes=["li"])
    with pytest.raises(ConfigError, match="stop_when_fired"):
        function(net, simulator=evprop.Exact(stop_when_fired="lif"))
    with pytest.raises(SpikesError, match="Input populations are"):
        play(params, {"other": times}, {"other": units})
    with pytest.raises(Exception, match="spikes of 'h' but room for 2"):
        jax.block_until_ready(function(net, spikes={"h": 2})(params, times, units))
    with pytest.raises(Exception, match="after the duration"):
        jax.block_until_ready(play(params, times + 100.0, units))
    jax.config.update("jax_enable_x64", False)
    try:
        with pytest.raises(ConfigError, match="jax_enable_x64"):
            play(params, times, units)
    finally:
        jax.config.update("jax_enable_x64", True)
