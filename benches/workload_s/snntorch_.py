"""Workload S in snnTorch: `RSynaptic` hidden neurons in the tutorials' time loop, dt 1 ms, torch's Adam. No delays."""

from __future__ import annotations

import common

common.one_thread()

import math  # noqa: E402
from importlib.metadata import version  # noqa: E402

import snntorch as snn  # noqa: E402
import torch  # noqa: E402


class Network(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        alpha, beta = math.exp(-common.DT / common.TAU_SYN), math.exp(-common.DT / common.TAU_MEM)
        self.w_hidden = torch.nn.Linear(common.N_IN, common.N_HIDDEN, bias=False)
        self.w_output = torch.nn.Linear(common.N_HIDDEN, common.N_OUT, bias=False)
        self.hidden = snn.RSynaptic(
            alpha=alpha, beta=beta, all_to_all=True, linear_features=common.N_HIDDEN, reset_mechanism="zero"
        )
        self.output = snn.Synaptic(alpha=alpha, beta=beta, reset_mechanism="none")
        w, gain = common.weights(), common.gain()
        with torch.no_grad():
            self.w_hidden.weight.copy_(torch.from_numpy(w["input"].T * gain))
            self.hidden.recurrent.weight.copy_(torch.from_numpy(w["hidden"].T * gain))
            self.hidden.recurrent.bias.zero_()
            self.w_output.weight.copy_(torch.from_numpy(w["output"].T * gain))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        spk, syn, mem = self.hidden.init_rsynaptic()
        syn_o, mem_o = self.output.init_synaptic()
        total: torch.Tensor | float = 0.0
        count = torch.zeros(())
        # The input is known beforehand, so its product is one matrix multiplication.
        for x_t in self.w_hidden(x).unbind(0):
            spk, syn, mem = self.hidden(x_t, spk, syn, mem)
            _, syn_o, mem_o = self.output(self.w_output(spk), syn_o, mem_o)
            total = total + mem_o
            count = count + spk.detach().sum()
        return total / common.STEPS, count


def main() -> None:
    torch.set_num_threads(1)
    after_import = common.peak_mib()
    net = Network()
    adam = torch.optim.Adam(net.parameters(), lr=common.LEARNING_RATE)
    dense, labels = common.frames()
    x, y = torch.from_numpy(dense), torch.from_numpy(labels)

    def step() -> float:
        adam.zero_grad()
        mean, count = net(x)
        torch.nn.functional.cross_entropy(mean, y).backward()
        adam.step()
        return float(count)

    figures = common.measure(step)
    common.report(
        "snntorch",
        version("snntorch"),
        figures,
        after_import,
        dtype="float32",
        method="surrogate gradient, dt 1 ms, no delays",
        hidden_spikes=step() / common.BATCH / common.N_HIDDEN,
    )


if __name__ == "__main__":
    main()
