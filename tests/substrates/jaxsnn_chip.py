"""jaxsnn in its software mode plays the chip. A program of its own: it imports no evprop.

Protocol: one JSON line with the constants, then one JSON line for each batch: weights of two layers and the input spikes
of each sample; the answer is one JSON line with the times (ms) and neurons of each sample's hidden and output spikes.
jaxsnn allows one spike per neuron this way (v_reset far below), computes in float32, and counts in seconds.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxsnn.event.modules import LIF, Linear, Source
from jaxsnn.event.modules.lif.lif import LIFParameters
from jaxsnn.event.topology import Topology
from jaxsnn.event.types import Spike


def build(given: dict[str, Any]) -> Any:
    n_in, n_hidden, n_out = given["sizes"]
    lif = LIFParameters(
        v_reset=-1000.0, v_th=1.0, tau_syn=given["tau_syn"] / 1e3, tau_mem=given["tau_mem"] / 1e3
    )
    net = Topology(t_max=given["duration"] / 1e3, backprop_method="eventprop")
    net.add(
        {
            "inp": Source(n_in),
            "lif1": LIF(n_hidden, given["spikes_per_sample"] + n_hidden, lif),
            "lif2": LIF(n_out, n_hidden + n_out, lif),
            "syn1": Linear(mean=0.0, std=1.0),
            "syn2": Linear(mean=0.0, std=1.0),
        }
    )
    net.connect([("inp", "syn1"), ("syn1", "lif1"), ("lif1", "syn2"), ("syn2", "lif2")])
    init, apply = net.done()
    params = init(jax.random.PRNGKey(0))
    return params, jax.jit(apply)


def play(apply: Any, params: Any, batch: dict[str, Any]) -> dict[str, Any]:
    params = {
        **params,
        "syn1": jnp.asarray(batch["hidden"], jnp.float32),
        "syn2": jnp.asarray(batch["output"], jnp.float32),
    }
    times = jnp.asarray(batch["times"], jnp.float32) / 1e3
    units = jnp.asarray(batch["units"], jnp.int32)
    zeros = jnp.zeros_like(times)
    spikes = Spike(
        times,
        units,
        current=zeros,
        layer_idx=jnp.zeros_like(units),
        internal=jnp.ones_like(times, dtype=bool),
    )
    events = apply({"inp": spikes}, params)
    answer: dict[str, Any] = {}
    for name, layer in (("hidden", "lif1"), ("output", "lif2")):
        e = events[layer]
        own = np.asarray(e.internal) & (np.asarray(e.idx) >= 0) & np.isfinite(np.asarray(e.time))
        rows = zip(np.asarray(e.time, np.float64) * 1e3, np.asarray(e.idx), own, strict=True)
        answer[name] = [[t[mine].tolist(), idx[mine].tolist()] for t, idx, mine in rows]
    return answer


def main() -> None:
    given = json.loads(sys.stdin.readline())
    params, apply = build(given)
    for line in sys.stdin:
        print(json.dumps(play(apply, params, json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
