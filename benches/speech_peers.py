"""Spoken words with snnTorch and DCLS in the CPU time that a training of evprop takes: a row of a Markdown table.

    EVPROP_DATA=... python benches/speech_peers.py fsdd-ff snntorch --dt 10 --seconds 300
    EVPROP_DATA=... python benches/speech_peers.py fsdd-ff dcls --dt 10 --seconds 300
    EVPROP_DATA=... python benches/speech_peers.py fsdd-ff rates --dt 10 --seconds 300
    EVPROP_DATA=... python benches/speech_peers.py fsdd-ff cnn --dt 10 --seconds 100

The data set, its augmentation and its validation set are those of the shipped experiment; spikes are counted on a grid
of steps of dt. snntorch: `RSynaptic`, 256 recurrent neurons, no delays. dcls: 256 feed-forward neurons behind one
convolution with a learnt delay for each synapse, batch normalisation and dropout, as Hammouamri et al. publish it: no
synaptic filter, learning rate of delays 100 times that of weights, the kernels' sigma annealed to 0.5 steps over the
first quarter; so their parameters are as many as those of the experiments `fsdd` and `fsdd-ff-delays`, normalisation's
512 apart. rates: for what spikes cost, 256 feed-forward neurons without any, rectified sums over the last 60 ms with a
weight for each step, read as evprop's are, by an integral that falls with e^{-t/300 ms}; by one for each of --windows,
e^{-t/tau_0} and differences of the exponentials of two taus that follow each other, 1 at their largest; or by one for
each of so many --triangles, which are 1 at 0, 120, 240, ... ms and 0 at their neighbours' tops. cnn: for what the data
allow, three convolutions over time of 96 filters and 7 steps, each with batch normalisation, dropout of a fifth and a
maximum over two steps, read by mean and maximum over time; a filter of the last sees 430 ms. To both a spike counts
`data.every` / 5, so that thinning changes the noise alone. Adam, cosine schedule over the CPU time given, which counts
all but the test set; the epoch is chosen by the mean validation accuracy over five epochs (fewer in a run of fewer),
the test set is looked at once. One thread. Needs requirements-peers.txt.
"""

from __future__ import annotations

import argparse
import copy
import math
import time
from collections.abc import Sequence
from functools import partial
from itertools import pairwise

import numpy as np
import snntorch as snn
import torch
from DCLS.construct.modules import Dcls1d

from evprop.config import load_config
from evprop.datasets import Dataset
from evprop.experiment import Experiment, build_experiment
from evprop.loader import Loader
from evprop.spikes import Spikes
from workload_s.arctangent import Spike

HIDDEN, TAU_MEM, TAU_SYN, TAU_READOUT, V_TH, WINDOW, BATCH = 256, 20.0, 5.0, 300.0, 1.0, 5, 32
FILTERS = 96
APART = 120.0  # ms, of the tops of --triangles


class SnnTorch(torch.nn.Module):
    """Recurrent, surrogate gradient of snnTorch's default; logits are the largest voltages of the outputs."""

    def __init__(self, n_in: int, n_out: int, dt: float) -> None:
        super().__init__()
        alpha, beta = math.exp(-dt / TAU_SYN), math.exp(-dt / TAU_MEM)
        self.w_hidden = torch.nn.Linear(n_in, HIDDEN, bias=False)
        self.w_output = torch.nn.Linear(HIDDEN, n_out, bias=False)
        self.hidden = snn.RSynaptic(
            alpha=alpha, beta=beta, all_to_all=True, linear_features=HIDDEN, reset_mechanism="zero"
        )
        self.output = snn.Synaptic(alpha=alpha, beta=beta, reset_mechanism="none")

    def groups(self, lr: float) -> list[dict]:
        return [{"params": list(self.parameters()), "lr": lr}]

    def forward(self, x: torch.Tensor, share: float) -> torch.Tensor:
        spk, syn, mem = self.hidden.init_rsynaptic()
        syn_o, mem_o = self.output.init_synaptic()
        seen = []
        for x_t in self.w_hidden(x).unbind(0):  # the input is known beforehand: one product of matrices
            spk, syn, mem = self.hidden(x_t, spk, syn, mem)
            _, syn_o, mem_o = self.output(self.w_output(spk), syn_o, mem_o)
            seen.append(mem_o)
        return torch.stack(seen).amax(0)


class Dcls(torch.nn.Module):
    """Feed-forward with learnt delays of up to 250 ms; logits are sums over time of the outputs' softmax."""

    def __init__(self, n_in: int, n_out: int, dt: float) -> None:
        super().__init__()
        self.beta, self.taps = math.exp(-dt / TAU_MEM), round(250.0 / dt)
        self.delayed = Dcls1d(n_in, HIDDEN, 1, dilated_kernel_size=self.taps, bias=False, version="gauss")
        self.norm, self.dropout = torch.nn.BatchNorm1d(HIDDEN), torch.nn.Dropout(0.4)
        self.w_output = torch.nn.Linear(HIDDEN, n_out, bias=False)
        with torch.no_grad():
            torch.nn.init.kaiming_uniform_(self.delayed.weight, nonlinearity="relu")
            torch.nn.init.uniform_(self.delayed.P, -(self.taps // 2), self.taps // 2)
        self.delayed.SIG.requires_grad_(False)

    def groups(self, lr: float) -> list[dict]:
        rest = [p for name, p in self.named_parameters() if name not in ("delayed.P", "delayed.SIG")]
        return [{"params": rest, "lr": lr}, {"params": [self.delayed.P], "lr": 100.0 * lr}]

    def forward(self, x: torch.Tensor, share: float) -> torch.Tensor:
        """``share``: of the training time that is over."""
        wide = self.taps / 2
        with torch.no_grad():
            self.delayed.SIG.fill_(max(0.5, wide * (0.5 / wide) ** (4.0 * share)))
            self.delayed.clamp_parameters()
        drive = self.norm(self.delayed(torch.nn.functional.pad(x.permute(1, 2, 0), (self.taps - 1, 0))))
        v = s = torch.zeros_like(drive[..., 0])
        spikes = []
        for x_t in drive.unbind(2):
            v = self.beta * v * (1.0 - s.detach()) + x_t
            s = Spike.apply(v - V_TH)
            spikes.append(s)
        v = total = torch.zeros(())
        for x_t in self.w_output(self.dropout(torch.stack(spikes))).unbind(0):
            v = self.beta * v + x_t
            total = total + torch.softmax(v, dim=1)
        return total


class Rates(torch.nn.Module):
    """Rectified neurons that see the last 60 ms; logits are weighted integrals of what they give, one for each tau."""

    def __init__(self, n_in: int, n_out: int, dt: float, taus: Sequence[float], triangles: int, scale: float) -> None:
        super().__init__()
        self.dt, self.taus, self.triangles, self.scale, self.taps = dt, taus, triangles, scale, 1 + round(60.0 / dt)
        self.hidden = torch.nn.Conv1d(n_in, HIDDEN, self.taps)
        self.w_output = torch.nn.Linear((triangles or len(taus)) * HIDDEN, n_out)

    def groups(self, lr: float) -> list[dict]:
        return [{"params": list(self.parameters()), "lr": lr}]

    def forward(self, x: torch.Tensor, share: float) -> torch.Tensor:
        seen = self.scale * x.permute(1, 2, 0)
        rate = torch.relu(self.hidden(torch.nn.functional.pad(seen, (self.taps - 1, 0))))
        weight = self.weight(self.dt * torch.arange(rate.shape[2]))
        return self.w_output(torch.einsum("bht,kt->bkh", rate, weight).flatten(1) * (self.dt / 100.0))

    def weight(self, t: torch.Tensor) -> torch.Tensor:
        """(windows, steps): that of each step, 1 at the largest."""
        if self.triangles:
            return (1.0 - (t / APART - torch.arange(self.triangles)[:, None]).abs()).clamp(min=0.0)
        decays = [torch.exp(-t / tau) for tau in self.taus]
        weight = torch.stack([decays[0], *(b - a for a, b in pairwise(decays))])
        return weight / weight.amax(1, keepdim=True)


class Cnn(torch.nn.Module):
    """Convolutions over time; logits are of the mean and the largest of each filter."""

    def __init__(self, n_in: int, n_out: int, dt: float, scale: float) -> None:
        super().__init__()
        self.scale = scale
        layers: list[torch.nn.Module] = []
        for wide in (n_in, FILTERS, FILTERS):
            layers += [torch.nn.Conv1d(wide, FILTERS, 7, padding=3), torch.nn.BatchNorm1d(FILTERS), torch.nn.ReLU()]
            layers += [torch.nn.Dropout(0.2), torch.nn.MaxPool1d(2)]
        self.layers = torch.nn.Sequential(*layers)
        self.w_output = torch.nn.Linear(2 * FILTERS, n_out)

    def groups(self, lr: float) -> list[dict]:
        return [{"params": list(self.parameters()), "lr": lr}]

    def forward(self, x: torch.Tensor, share: float) -> torch.Tensor:
        seen = self.layers(self.scale * x.permute(1, 2, 0))
        return self.w_output(torch.cat([seen.mean(2), seen.amax(2)], 1))


def frames(spikes: Spikes, dt: float, duration: float) -> torch.Tensor:
    """(steps, batch, channels): counts."""
    steps = math.ceil(duration / dt)
    step = np.minimum((spikes.times / dt).astype(np.int64), steps - 1)
    place = (step * len(spikes) + spikes.samples) * spikes.n_units + spikes.units
    counts = np.bincount(place, minlength=steps * len(spikes) * spikes.n_units)
    return torch.from_numpy(counts.reshape(steps, len(spikes), spikes.n_units).astype(np.float32))


@torch.no_grad()
def accuracy(net: torch.nn.Module, data: Dataset, dt: float, duration: float, share: float = 1.0) -> float:
    """In percent."""
    net.eval()
    right = 0
    for k in range(0, len(data), 100):
        part = data[k : k + 100]
        right += int((net(frames(part.spikes, dt, duration), share).argmax(1).numpy() == part.labels).sum())
    return 100.0 * right / len(data)


def train(net: torch.nn.Module, experiment: Experiment, given: argparse.Namespace) -> tuple[dict, float, int, int]:
    """(parameters of the epoch chosen, its mean validation accuracy, epoch, epochs)."""
    duration, data = experiment.duration, experiment.data
    how = {"augment": experiment.augment, "duration": duration}
    loader = Loader(data["train"], BATCH, given.seed, **how)
    adam = torch.optim.Adam(net.groups(given.lr))
    first = [group["lr"] for group in adam.param_groups]
    kept: list[tuple[float, dict]] = []
    began = time.process_time()
    share = 0.0
    while share < 1.0:
        net.train()
        for batch in loader.batches(len(kept)):
            share = min(1.0, (time.process_time() - began) / given.seconds)
            for group, lr in zip(adam.param_groups, first, strict=True):
                group["lr"] = lr * 0.5 * (1.0 + math.cos(math.pi * share))
            adam.zero_grad()
            logits = net(frames(batch.spikes, given.dt, duration), share)
            torch.nn.functional.cross_entropy(logits, torch.from_numpy(batch.labels)).backward()
            adam.step()
            if share == 1.0:
                break
        seen = accuracy(net, data["validation"], given.dt, duration, share)
        kept.append((seen, copy.deepcopy(net.state_dict())))
        if given.verbose:
            print(f"epoch {len(kept)}: {100 * share:.0f} % of the time, validation {seen:.2f} %", flush=True)
    window = min(WINDOW, len(kept))
    means = [np.mean([one for one, _ in kept[k - window : k]]) for k in range(window, len(kept) + 1)]
    best = len(means) - 1 - int(np.argmax(means[::-1]))  # among equals the later one
    return kept[best + window - 1][1], float(means[best]), best + window, len(kept)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", help="a shipped experiment on recordings: its data and augmentation")
    parser.add_argument("peer", choices=["snntorch", "dcls", "rates", "cnn"])
    parser.add_argument("--dt", type=float, default=10.0, help="ms")
    parser.add_argument("--seconds", type=float, default=300.0, help="of CPU time")
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--verbose", action="store_true", help="a line an epoch")
    parser.add_argument("--no-test", action="store_true", help="a trial, judged on the validation set alone")
    parser.add_argument("--windows", type=float, nargs="+", default=[TAU_READOUT], metavar="TAU", help="ms, of rates")
    parser.add_argument("--triangles", type=int, default=0, help="in their place")
    parser.add_argument("--set", dest="changes", action="append", default=[], metavar="KEY=VALUE")
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(given.seed)
    experiment = build_experiment(load_config(given.task, given.changes))
    test = experiment.data["test"]
    scale = experiment.config["data"].get("every", 1) / 5.0
    rates = partial(Rates, taus=given.windows, triangles=given.triangles, scale=scale)
    kind = {"snntorch": SnnTorch, "dcls": Dcls, "rates": rates, "cnn": partial(Cnn, scale=scale)}[given.peer]
    net = kind(test.spikes.n_units, test.n_classes, given.dt)
    count = sum(p.numel() for p in net.parameters() if p.requires_grad)
    params, validation, epoch, epochs = train(net, experiment, given)
    cells = [given.peer, given.dt, given.lr, given.seed, count, epochs, epoch, f"{validation:.2f}"]
    if not given.no_test:
        last = accuracy(net, test, given.dt, experiment.duration)
        net.load_state_dict(params)
        cells += [f"{last:.2f}", f"{accuracy(net, test, given.dt, experiment.duration):.2f}"]
    print("| peer | dt (ms) | lr | seed | parameters | epochs | chosen | validation (%) | test, last (%) | test (%) |")
    print(f"| {' | '.join(map(str, cells))} |", flush=True)


if __name__ == "__main__":
    main()
