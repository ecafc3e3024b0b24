"""Workload Y in spyx: surrogate gradients on a grid of 0.5 ms, 60 steps (a window of 30 ms), jit, optax's Adam.

The first spike time is dt times the number of steps before the first spike, sum_t prod_{u<=t} (1 - s_u), through
which the surrogate gradient flows. Constants are float32 arrays: with Python floats spyx compiles anew each step.
"""

from __future__ import annotations

import common

common.one_thread()

from importlib.metadata import version  # noqa: E402

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import optax  # noqa: E402
import spyx  # noqa: E402, F401
from flax import nnx  # noqa: E402
from spyx.nn import CuBaLIF, Sequential, run  # noqa: E402

DT, STEPS = 0.5, 60  # ms, window of 30 ms
ALPHA, BETA = np.float32(np.exp(-DT / common.TAU_SYN)), np.float32(np.exp(-DT / common.TAU_MEM))


class Network(nnx.Module):
    """5-120-3, both layers current-based LIF."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.w_hidden = nnx.Linear(common.N_IN, common.N_HIDDEN, use_bias=False, rngs=rngs)
        self.w_output = nnx.Linear(common.N_HIDDEN, common.N_OUT, use_bias=False, rngs=rngs)
        self.hidden = CuBaLIF((common.N_HIDDEN,), alpha=ALPHA, beta=BETA, rngs=rngs)
        self.output = CuBaLIF((common.N_OUT,), alpha=ALPHA, beta=BETA, rngs=rngs)

    def layers(self) -> Sequential:
        return Sequential(self.w_hidden, self.hidden, self.w_output, self.output)


def main() -> None:
    net = Network(nnx.Rngs(0))
    w_hidden, w_output = common.weights()
    gain = 1.0 - float(BETA)  # spyx adds the current to V as it is; the LIF equation scales it by dt/tau_mem
    net.w_hidden.kernel[...] = jnp.asarray(w_hidden * gain, dtype=jnp.float32)
    net.w_output.kernel[...] = jnp.asarray(w_output * gain, dtype=jnp.float32)

    data = []
    for times, labels in common.batches():
        dense = np.zeros((STEPS, common.BATCH, common.N_IN), dtype=np.float32)
        b, u = np.meshgrid(np.arange(common.BATCH), np.arange(common.N_IN), indexing="ij")
        np.add.at(dense, (np.minimum((times / DT).astype(int), STEPS - 1), b, u), 1.0)
        data.append((jnp.asarray(dense), jnp.asarray(labels)))

    def loss(net: Network, x: jax.Array, labels: jax.Array) -> jax.Array:
        spikes, _ = run(net.layers(), x)
        first = DT * jnp.cumprod(1.0 - spikes, axis=0).sum(axis=0)
        return optax.softmax_cross_entropy_with_integer_labels(-first / common.TAU_0, labels).mean()

    graph, state = nnx.split(net)
    adam = optax.adam(common.LEARNING_RATE)

    @jax.jit
    def update(state, adam_state, x, labels):  # type: ignore[no-untyped-def]
        value, grads = jax.value_and_grad(lambda s: loss(nnx.merge(graph, s), x, labels))(state)
        updates, adam_state = adam.update(grads, adam_state)
        return optax.apply_updates(state, updates), adam_state, value

    trainable = {"state": state, "adam": adam.init(state)}

    def step(i: int) -> None:
        s, a, value = update(trainable["state"], trainable["adam"], *data[i % len(data)])
        trainable.update(state=s, adam=a)
        jax.block_until_ready((s, value))

    figures = common.measure(step)
    if update._cache_size() != 1:
        raise SystemExit(f"compiled {update._cache_size()} times: the figures would measure the compiler")
    net = nnx.merge(graph, trainable["state"])
    hidden, _ = run(Sequential(net.w_hidden, net.hidden), data[0][0])
    output, _ = run(net.layers(), data[0][0])
    common.report(
        "spyx",
        version("spyx"),
        figures,
        dtype="float32",
        method=f"surrogate gradient, dt {DT} ms, {STEPS} steps",
        hidden_spikes=float(hidden.sum()) / common.BATCH,
        output_spikes=float(output.sum()) / common.BATCH,
    )


if __name__ == "__main__":
    main()
