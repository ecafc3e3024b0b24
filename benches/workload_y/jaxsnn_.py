"""Workload Y in jaxsnn (EventProp mode).

jaxsnn knows the ratios tau_mem = tau_syn and tau_mem = 2 tau_syn only (others are rounded without a word), so
it runs with 20/10 ms. Its event loop has a fixed number of steps that must cover inputs and own spikes, so as in
its own Yin-Yang example v_reset = -1000 allows one spike per neuron, and 5 + 120 and 120 + 3 steps lose
none. Constants and weights are that example's. Times are in seconds. The loss is the first-spike
cross entropy (jaxsnn's own `ttfs_loss` has its sign reversed). `evprop_.py --matched` computes the same.
"""

from __future__ import annotations

import common

common.one_thread()

from functools import partial  # noqa: E402
from importlib.metadata import version  # noqa: E402

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import jaxsnn  # noqa: E402, F401
import numpy as np  # noqa: E402
import optax  # noqa: E402
from jaxsnn.event.encode import spatio_temporal_encode  # noqa: E402
from jaxsnn.event.loss import first_spike  # noqa: E402
from jaxsnn.event.modules import LIF, Linear, Source  # noqa: E402
from jaxsnn.event.modules.lif.lif import LIFParameters  # noqa: E402
from jaxsnn.event.topology import Topology  # noqa: E402

TAU_SYN, TAU_MEM = 10e-3, 20e-3  # s
T_LATE, T_MAX = 2.0 * TAU_SYN, 4.0 * TAU_SYN


def main() -> None:
    lif = LIFParameters(v_reset=-1000.0, v_th=1.0, tau_syn=TAU_SYN, tau_mem=TAU_MEM)
    net = Topology(t_max=T_MAX, backprop_method="eventprop")
    net.add(
        {
            "inp": Source(common.N_IN),
            "lif1": LIF(common.N_HIDDEN, common.N_IN + common.N_HIDDEN, lif),
            "lif2": LIF(common.N_OUT, common.N_HIDDEN + common.N_OUT, lif),
            "syn1": Linear(mean=3.0, std=1.6),
            "syn2": Linear(mean=0.5, std=0.8),
        }
    )
    net.connect([("inp", "syn1"), ("syn1", "lif1"), ("lif1", "syn2"), ("syn2", "lif2")])
    init, apply = net.done()
    params = init(jax.random.PRNGKey(0))
    w_hidden, w_output = common.weights((3.0, 1.6), (0.5, 0.8))
    params["syn1"] = jnp.asarray(w_hidden, dtype=jnp.float32)
    params["syn2"] = jnp.asarray(w_output, dtype=jnp.float32)

    encode = jax.jit(
        jax.vmap(partial(spatio_temporal_encode, t_late=1.0, duplication=None, duplicate_neurons=False))
    )
    data = [
        ({"inp": encode(jnp.asarray(times, dtype=jnp.float32))}, jnp.asarray(labels))
        for times, labels in common.batches(t_late=T_LATE)
    ]

    def loss(params, batch):  # type: ignore[no-untyped-def]
        spikes, labels = batch
        events = apply(spikes, params)
        first = jax.vmap(first_spike, in_axes=(0, None))(events["lif2"], common.N_OUT)
        scores = -jnp.minimum(first, T_MAX) / (common.TAU_0 * 1e-3)
        return optax.softmax_cross_entropy_with_integer_labels(scores, labels).mean(), events

    adam = optax.adam(common.LEARNING_RATE)

    @jax.jit
    def update(params, state, batch):  # type: ignore[no-untyped-def]
        (value, _), grads = jax.value_and_grad(loss, has_aux=True)(params, batch)
        updates, state = adam.update(grads, state)
        return optax.apply_updates(params, updates), state, value

    trainable = {"params": params, "state": adam.init(params)}

    def step(i: int) -> None:
        p, s, value = update(trainable["params"], trainable["state"], data[i % len(data)])
        trainable.update(params=p, state=s)
        jax.block_until_ready((p, value))

    figures = common.measure(step)
    _, events = loss(trainable["params"], data[0])
    own = {
        name: float(np.sum(np.asarray(events[name].internal) & (np.asarray(events[name].idx) >= 0)))
        / common.BATCH
        for name in ("lif1", "lif2")
    }
    if not np.isfinite(np.asarray(trainable["params"]["syn1"])).all():
        raise SystemExit("the weights are no longer finite: the figures would mean nothing")
    common.report(
        "jaxsnn",
        version("jaxsnn"),
        figures,
        dtype="float32",
        method="EventProp, one spike per neuron, 20/10 ms",
        hidden_spikes=own["lif1"],
        output_spikes=own["lif2"],
    )


if __name__ == "__main__":
    main()
