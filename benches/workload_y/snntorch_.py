"""Workload Y in snnTorch: `Synaptic` neurons in the tutorials' time loop, dt 0.5 ms, 60 steps (30 ms), torch's Adam."""

from __future__ import annotations

import common

common.one_thread()

import math  # noqa: E402
from importlib.metadata import version  # noqa: E402

import numpy as np  # noqa: E402
import snntorch as snn  # noqa: E402
import torch  # noqa: E402

DT, STEPS = 0.5, 60  # ms, window of 30 ms


class Network(torch.nn.Module):
    """5-120-3, both layers current-based LIF with reset to zero."""

    def __init__(self) -> None:
        super().__init__()
        alpha, beta = math.exp(-DT / common.TAU_SYN), math.exp(-DT / common.TAU_MEM)
        self.w_hidden = torch.nn.Linear(common.N_IN, common.N_HIDDEN, bias=False)
        self.w_output = torch.nn.Linear(common.N_HIDDEN, common.N_OUT, bias=False)
        self.hidden = snn.Synaptic(alpha=alpha, beta=beta, reset_mechanism="zero")
        self.output = snn.Synaptic(alpha=alpha, beta=beta, reset_mechanism="zero")
        gain = 1.0 - beta  # snnTorch adds the current to V as it is; the LIF equation scales it by dt/tau_mem
        w_hidden, w_output = common.weights()
        with torch.no_grad():
            self.w_hidden.weight.copy_(torch.from_numpy(w_hidden.T * gain))
            self.w_output.weight.copy_(torch.from_numpy(w_output.T * gain))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        i_h, v_h = self.hidden.init_synaptic()
        i_o, v_o = self.output.init_synaptic()
        hidden, output = [], []
        for x_t in x.unbind(0):
            s_h, i_h, v_h = self.hidden(self.w_hidden(x_t), i_h, v_h)
            s_o, i_o, v_o = self.output(self.w_output(s_h), i_o, v_o)
            hidden.append(s_h)
            output.append(s_o)
        return torch.stack(hidden), torch.stack(output)


def main() -> None:
    torch.set_num_threads(1)
    torch.set_num_interop_threads(1)
    net = Network()
    adam = torch.optim.Adam(net.parameters(), lr=common.LEARNING_RATE)
    data = []
    for times, labels in common.batches():
        dense = np.zeros((STEPS, common.BATCH, common.N_IN), dtype=np.float32)
        b, u = np.meshgrid(np.arange(common.BATCH), np.arange(common.N_IN), indexing="ij")
        np.add.at(dense, (np.minimum((times / DT).astype(int), STEPS - 1), b, u), 1.0)
        data.append((torch.from_numpy(dense), torch.from_numpy(labels)))

    def step(i: int) -> None:
        x, labels = data[i % len(data)]
        adam.zero_grad()
        _, spikes = net(x)
        first = DT * torch.cumprod(1.0 - spikes, dim=0).sum(dim=0)
        torch.nn.functional.cross_entropy(-first / common.TAU_0, labels).backward()
        adam.step()

    figures = common.measure(step)
    with torch.no_grad():
        hidden, output = net(data[0][0])
    common.report(
        "snntorch",
        version("snntorch"),
        figures,
        dtype="float32",
        method=f"surrogate gradient, dt {DT} ms, {STEPS} steps",
        hidden_spikes=float(hidden.sum()) / common.BATCH,
        output_spikes=float(output.sum()) / common.BATCH,
    )


if __name__ == "__main__":
    main()
