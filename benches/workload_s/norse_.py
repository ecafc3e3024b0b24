"""Workload S in Norse: `LIFRecurrent` and `LI`, dt 1 ms, torch's Adam. No delays."""

from __future__ import annotations

import common

common.one_thread()

from importlib.metadata import version  # noqa: E402

import norse.torch as norse  # noqa: E402
import torch  # noqa: E402


def main() -> None:
    torch.set_num_threads(1)
    after_import = common.peak_mib()
    seconds = common.DT / 1000.0
    constants = {
        "tau_mem_inv": torch.tensor(1000.0 / common.TAU_MEM),
        "tau_syn_inv": torch.tensor(1000.0 / common.TAU_SYN),
    }
    hidden = norse.LIFRecurrent(
        common.N_IN,
        common.N_HIDDEN,
        p=norse.LIFParameters(v_th=torch.tensor(common.V_TH), **constants),
        dt=seconds,
        autapses=True,
    )
    linear = torch.nn.Linear(common.N_HIDDEN, common.N_OUT, bias=False)
    output = norse.LI(p=norse.LIParameters(**constants), dt=seconds)
    w = common.weights()
    with torch.no_grad():
        hidden.input_weights.copy_(torch.from_numpy(w["input"].T))
        hidden.recurrent_weights.copy_(torch.from_numpy(w["hidden"].T))
        linear.weight.copy_(torch.from_numpy(w["output"].T))
    adam = torch.optim.Adam([*hidden.parameters(), *linear.parameters()], lr=common.LEARNING_RATE)
    dense, labels = common.frames()
    x, y = torch.from_numpy(dense), torch.from_numpy(labels)

    def step() -> float:
        adam.zero_grad()
        spikes, _ = hidden(x)
        voltage, _ = output(linear(spikes))
        torch.nn.functional.cross_entropy(voltage.mean(0), y).backward()
        adam.step()
        return float(spikes.detach().sum())

    figures = common.measure(step)
    common.report(
        "norse",
        version("norse"),
        figures,
        after_import,
        dtype="float32",
        method="surrogate gradient, dt 1 ms, no delays",
        hidden_spikes=step() / common.BATCH / common.N_HIDDEN,
    )


if __name__ == "__main__":
    main()
