"""Workload S in jaxpike: `LIF` with a feedback edge of a `Graph`, dt 1 ms, jit, optax's Adam.

No delays, no synaptic filter.
"""

from __future__ import annotations

import common

common.one_thread()

from importlib.metadata import version  # noqa: E402

import equinox as eqx  # noqa: E402
import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import jaxpike  # noqa: E402
import optax  # noqa: E402


def dense(weight: jax.Array) -> jaxpike.Dense:
    n_in, n_out = weight.shape
    layer = jaxpike.Dense(n_in, n_out, key=jax.random.key(0), use_bias=False)
    return eqx.tree_at(lambda layer: layer.weight, layer, weight.T)


def main() -> None:
    after_import = common.peak_mib()
    # Without a filter a spike moves V once, by (1 - alpha) of its weight: as much charge takes tau_syn times that.
    w = {name: jnp.asarray(value) * common.TAU_SYN for name, value in common.weights().items()}
    nodes = {
        "w_input": dense(w["input"]),
        "w_hidden": dense(w["hidden"]),
        "hidden": jaxpike.LIF(tau=common.TAU_MEM, threshold=common.V_TH, dt=common.DT, reset="zero"),
        "w_output": dense(w["output"]),
        "output": jaxpike.LeakyIntegrator(tau=common.TAU_MEM, dt=common.DT),
    }
    forward = [("input", "w_input"), ("w_input", "hidden"), ("hidden", "w_output"), ("w_output", "output")]
    edges = [*forward, ("hidden", "w_hidden"), ("w_hidden", "hidden")]
    net = jaxpike.Graph(nodes, edges, output="output")
    counted = jaxpike.Graph(nodes, edges, output="hidden")
    frames, labels = common.frames()
    x, y = jnp.asarray(frames), jnp.asarray(labels)
    adam = optax.adam(common.LEARNING_RATE)

    def loss(net: jaxpike.Graph) -> jax.Array:
        voltage, _ = jaxpike.unroll(net, x)
        return optax.softmax_cross_entropy_with_integer_labels(voltage.mean(axis=0), y).mean()

    @eqx.filter_jit
    def update(net, state):  # type: ignore[no-untyped-def]
        value, grads = eqx.filter_value_and_grad(loss)(net)
        updates, state = adam.update(grads, state)
        return eqx.apply_updates(net, updates), state, value

    trained = {"net": net, "adam": adam.init(eqx.filter(net, eqx.is_array))}

    def step() -> None:
        new, state, value = update(trained["net"], trained["adam"])
        trained.update(net=new, adam=state)
        jax.block_until_ready(value)

    figures = common.measure(step)
    spikes, _ = eqx.filter_jit(jaxpike.unroll)(counted, x)
    common.report(
        "jaxpike",
        version("jaxpike"),
        figures,
        after_import,
        dtype="float32",
        method="surrogate gradient, dt 1 ms, no delays",
        hidden_spikes=float(spikes.sum()) / common.BATCH / common.N_HIDDEN,
    )


if __name__ == "__main__":
    main()
