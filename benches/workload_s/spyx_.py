"""Workload S in spyx: `RCuBaLIF`, dt 1 ms, jit, optax's Adam. No delays.

Constants are float32 arrays: with Python floats spyx compiles anew each step.
"""

from __future__ import annotations

import common

common.one_thread()

from importlib.metadata import version  # noqa: E402

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import optax  # noqa: E402
from flax import nnx  # noqa: E402
from spyx.nn import LI, RCuBaLIF, Sequential, run  # noqa: E402

ALPHA, BETA = np.float32(np.exp(-common.DT / common.TAU_SYN)), np.float32(np.exp(-common.DT / common.TAU_MEM))


class Network(nnx.Module):
    """700-256-20; spyx's LI has no synaptic filter, so it does less than the others."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.w_hidden = nnx.Linear(common.N_IN, common.N_HIDDEN, use_bias=False, rngs=rngs)
        self.w_output = nnx.Linear(common.N_HIDDEN, common.N_OUT, use_bias=False, rngs=rngs)
        self.hidden = RCuBaLIF((common.N_HIDDEN,), alpha=ALPHA, beta=BETA, rngs=rngs)
        self.output = LI((common.N_OUT,), beta=BETA, rngs=rngs)

    def layers(self) -> Sequential:
        return Sequential(self.w_hidden, self.hidden, self.w_output, self.output)


def main() -> None:
    after_import = common.peak_mib()
    net = Network(nnx.Rngs(0))
    w, gain = common.weights(), common.gain()
    net.w_hidden.kernel[...] = jnp.asarray(w["input"] * gain)
    net.w_output.kernel[...] = jnp.asarray(w["output"] * gain)
    net.hidden.recurrent_w[...] = jnp.asarray(w["hidden"] * gain)
    dense, labels = common.frames()
    x, y = jnp.asarray(dense), jnp.asarray(labels)
    graph, state = nnx.split(net)
    adam = optax.adam(common.LEARNING_RATE)

    def loss(net: Network) -> jax.Array:
        voltage, _ = run(net.layers(), x)
        return optax.softmax_cross_entropy_with_integer_labels(voltage.mean(axis=0), y).mean()

    @jax.jit
    def update(state, adam_state):  # type: ignore[no-untyped-def]
        value, grads = jax.value_and_grad(lambda s: loss(nnx.merge(graph, s)))(state)
        updates, adam_state = adam.update(grads, adam_state)
        return optax.apply_updates(state, updates), adam_state, value

    trainable = {"state": state, "adam": adam.init(state)}

    def step() -> None:
        s, a, value = update(trainable["state"], trainable["adam"])
        trainable.update(state=s, adam=a)
        jax.block_until_ready((s, value))

    figures = common.measure(step)
    if update._cache_size() != 1:
        raise SystemExit(f"compiled {update._cache_size()} times: the figures would measure the compiler")
    net = nnx.merge(graph, trainable["state"])
    spikes, _ = run(Sequential(net.w_hidden, net.hidden), x)
    common.report(
        "spyx",
        version("spyx"),
        figures,
        after_import,
        dtype="float32",
        method="surrogate gradient, dt 1 ms, no delays",
        hidden_spikes=float(spikes.sum()) / common.BATCH / common.N_HIDDEN,
    )


if __name__ == "__main__":
    main()
