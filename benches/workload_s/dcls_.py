"""Workload S in DCLS-delays: learnt delays as dilated convolutions with learnable spacings, then LIF neurons.

    python benches/workload_s/dcls_.py {fine,published}

`fine`: workload S at dt 1 ms with 63 taps, for delays up to 62 ms, and a recurrent hidden layer (its recurrent
connections have no delays: DCLS can't). `published`: the size of Hammouamri et al.'s SHD network at their dt of 10 ms:
140 inputs (five channels each), two hidden layers of 256 with batch normalisation, 25 taps in all three layers, no
synaptic filter. The time loop is over unbound steps: indexing the whole input in each step, as the published code's
neurons do, makes the backward pass quadratic in the number of steps.
"""

from __future__ import annotations

import argparse

import common

common.one_thread()

import math  # noqa: E402
from importlib.metadata import version  # noqa: E402
from itertools import pairwise  # noqa: E402

import torch  # noqa: E402
from arctangent import Spike  # noqa: E402
from DCLS.construct.modules import Dcls1d  # noqa: E402


def delayed(n_in: int, n_out: int, taps: int) -> Dcls1d:
    layer = Dcls1d(n_in, n_out, kernel_count=1, dilated_kernel_size=taps, bias=False, version="gauss")
    with torch.no_grad():
        torch.nn.init.uniform_(layer.P, -(taps // 2), taps // 2)
        torch.nn.init.constant_(layer.SIG, 0.5)
    return layer


def late(layer: Dcls1d, x: torch.Tensor, taps: int) -> torch.Tensor:
    """(batch, channels, steps) to (steps, batch, channels), each synapse delayed."""
    return layer(torch.nn.functional.pad(x, (taps - 1, 0))).permute(2, 0, 1)


class Fine(torch.nn.Module):
    """700-256-20: delays and weights in one convolution over time; current-based LIF; leaky integrators."""

    dt, taps = 1.0, 63

    def __init__(self) -> None:
        super().__init__()
        self.alpha, self.beta = math.exp(-self.dt / common.TAU_SYN), math.exp(-self.dt / common.TAU_MEM)
        self.delayed = delayed(common.N_IN, common.N_HIDDEN, self.taps)
        self.recurrent = torch.nn.Linear(common.N_HIDDEN, common.N_HIDDEN, bias=False)
        self.w_output = torch.nn.Linear(common.N_HIDDEN, common.N_OUT, bias=False)
        w, gain = common.weights(), common.gain(self.dt)
        with torch.no_grad():
            self.delayed.weight.copy_(torch.from_numpy(w["input"].T * gain)[:, :, None])
            self.recurrent.weight.copy_(torch.from_numpy(w["hidden"].T * gain))
            self.w_output.weight.copy_(torch.from_numpy(w["output"].T * gain))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, float]:
        """x: (BATCH, N_IN, steps)."""
        drive = late(self.delayed, x, self.taps)
        i = v = s = torch.zeros_like(drive[0])
        i_o = v_o = total = torch.zeros(common.BATCH, common.N_OUT)
        spikes = []
        for x_t in drive.unbind(0):
            i = self.alpha * i + x_t + self.recurrent(s)
            v = self.beta * v * (1.0 - s.detach()) + i
            s = Spike.apply(v - common.V_TH)
            spikes.append(s)
            i_o = self.alpha * i_o + self.w_output(s)
            v_o = self.beta * v_o + i_o
            total = total + v_o
        return total / len(spikes), float(torch.stack(spikes).detach().sum())


class Published(torch.nn.Module):
    """140-256-256-20 at dt 10 ms with 25 taps."""

    dt, taps, channels = 10.0, 25, 5

    def __init__(self) -> None:
        super().__init__()
        sizes = [common.N_IN // self.channels, common.N_HIDDEN, common.N_HIDDEN, common.N_OUT]
        self.layers = torch.nn.ModuleList(
            [delayed(a, b, self.taps) for a, b in pairwise(sizes)]
        )
        self.norms = torch.nn.ModuleList([torch.nn.BatchNorm1d(n) for n in sizes[1:3]])
        self.beta = math.exp(-self.dt / common.TAU_MEM)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, float]:
        """x: (BATCH, N_IN, steps)."""
        x = x.unflatten(1, (-1, self.channels)).sum(2)
        count = 0.0
        for layer, norm in zip(self.layers, self.norms, strict=False):
            drive = late(layer, x, self.taps)
            drive = norm(drive.permute(1, 2, 0)).permute(2, 0, 1)
            v = s = torch.zeros_like(drive[0])
            spikes = []
            for x_t in drive.unbind(0):
                v = self.beta * v * (1.0 - s.detach()) + x_t
                s = Spike.apply(v - common.V_TH)
                spikes.append(s)
            x = torch.stack(spikes, dim=2)
            count += float(x.detach().sum())
        v = total = torch.zeros(common.BATCH, common.N_OUT)
        for x_t in late(self.layers[-1], x, self.taps).unbind(0):
            v = self.beta * v + x_t
            total = total + torch.softmax(v, dim=1)
        return total, count / 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("grid", choices=["fine", "published"])
    args = parser.parse_args()
    torch.set_num_threads(1)
    after_import = common.peak_mib()
    net = Fine() if args.grid == "fine" else Published()
    adam = torch.optim.Adam(net.parameters(), lr=common.LEARNING_RATE)
    dense, labels = common.frames(net.dt)
    x, y = torch.from_numpy(dense).permute(1, 2, 0).contiguous(), torch.from_numpy(labels)

    def step() -> float:
        adam.zero_grad()
        mean, count = net(x)
        torch.nn.functional.cross_entropy(mean, y).backward()
        adam.step()
        return count

    figures = common.measure(step)
    common.report(
        "DCLS",
        version("DCLS"),
        figures,
        after_import,
        dtype="float32",
        method=f"surrogate gradient, dt {net.dt:g} ms, {net.taps} taps, learnt delays",
        hidden_spikes=step() / common.BATCH / common.N_HIDDEN,
    )


if __name__ == "__main__":
    main()
