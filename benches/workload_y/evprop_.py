"""Workload Y in evprop: exact events, no grid. Options choose the number type and the network of the jaxsnn script.

    python benches/workload_y/evprop_.py [--dtype float32] [--matched] [--stop]

The window is 30 ms, that of the gridded peers. An output spikes once (t_ref infinite): the loss looks at first spikes
only, so value and gradient are those of outputs that go on spiking.
`--matched`: the network that `jaxsnn_.py` runs, with its constants, weights and inputs: tau 20/10 ms and one spike
per neuron.
`--stop`: a sample ends once every output has spiked (`Exact(stop_when_fired="output")`): value and gradients are the
same, later hidden spikes are neither computed nor counted.
"""

from __future__ import annotations

import argparse

import common

common.one_thread()

import numpy as np  # noqa: E402

import evprop  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dtype", choices=["float64", "float32"], default="float64")
    parser.add_argument("--matched", action="store_true", help="the network of the jaxsnn script")
    parser.add_argument("--stop", action="store_true", help="end each sample with the last first output spike")
    args = parser.parse_args()

    if args.matched:
        neuron = {"tau_mem": 20.0, "tau_syn": 10.0, "v_th": common.V_TH, "t_ref": np.inf}
        w_hidden, w_output = common.weights((3.0, 1.6), (0.5, 0.8))
        t_late, duration = 20.0, 40.0
    else:
        neuron = {"tau_mem": common.TAU_MEM, "tau_syn": common.TAU_SYN, "v_th": common.V_TH}
        w_hidden, w_output = common.weights()
        t_late, duration = common.T_LATE, 30.0

    net = evprop.Network(
        {
            "input": evprop.Input(common.N_IN),
            "hidden": evprop.LIF(common.N_HIDDEN, **neuron),
            "output": evprop.LIF(common.N_OUT, **(neuron | {"t_ref": np.inf})),
        },
        [
            evprop.Dense("input", "hidden", weight=w_hidden),
            evprop.Dense("hidden", "output", weight=w_output),
        ],
    )
    params = net.init(seed=0, dtype=args.dtype)
    simulator = evprop.Exact(dtype=args.dtype, stop_when_fired="output" if args.stop else None)
    loss = evprop.losses.FirstSpike(tau_0=common.TAU_0, tau_1=6.4, alpha=3e-3)
    adam = evprop.optim.Adam(common.LEARNING_RATE)
    state = adam.init(net, params)

    units = np.arange(common.N_IN)
    data = []
    for times, labels in common.batches(t_late=t_late):
        order = np.argsort(times, axis=1, kind="stable")
        rows = [(t[o], units[o]) for t, o in zip(times, order, strict=True)]
        data.append((evprop.Spikes.from_lists(rows, n_units=common.N_IN), labels))

    def step(i: int) -> None:
        spikes, labels = data[i % len(data)]
        _, grads, _ = evprop.value_and_grad(
            net, params, spikes, labels, loss, duration=duration, simulator=simulator, input_times=False
        )
        adam.step(params, grads, state)

    figures = common.measure(step)
    record = evprop.simulate(net, params, data[0][0], duration=duration, simulator=simulator)
    common.report(
        "evprop",
        evprop.__version__,
        figures,
        dtype=args.dtype,
        method="exact EventProp"
        + (", one spike per neuron, 20/10 ms" if args.matched else "")
        + (", samples end with the last first output spike" if args.stop else ""),
        hidden_spikes=len(record.spikes["hidden"].times) / common.BATCH,
        output_spikes=len(record.spikes["output"].times) / common.BATCH,
    )


if __name__ == "__main__":
    main()
