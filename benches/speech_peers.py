"""Spoken words with snnTorch and DCLS in the CPU time that a training of evprop takes: a row of a Markdown table.

    EVPROP_DATA=... python benches/speech_peers.py fsdd-ff snntorch --dt 10 --seconds 300
    EVPROP_DATA=... python benches/speech_peers.py fsdd-ff dcls --dt 10 --seconds 300
    EVPROP_DATA=... python benches/speech_peers.py gsc-ff surrogate --dt 10 --epochs 16
    EVPROP_DATA=... python benches/speech_peers.py fsdd-ff rates --dt 10 --seconds 300
    EVPROP_DATA=... python benches/speech_peers.py fsdd-ff cnn --dt 10 --seconds 100

The data set, its augmentation and its validation set are those of the shipped experiment; spikes are counted on a grid
of steps of dt. Adam, cosine schedule over the CPU time or the epochs given; the epoch is chosen by the mean validation
accuracy over five epochs (fewer in a run of fewer), the test set is looked at once. Beside it stand, of the chosen
parameters on the training set without augmentation: percent right, spikes per hidden neuron and word, percent of these
pairs without any. CPU time is of training and of the looks at the validation set. One thread. Needs
requirements-peers.txt.

snntorch: `RSynaptic`, 256 recurrent neurons, no delays; as many parameters as the experiment `fsdd`.

dcls: 256 feed-forward neurons behind one convolution with a learnt delay for each synapse, batch normalisation and
dropout, as Hammouamri et al. publish it: no synaptic filter, learning rate of delays 100 times that of weights, the
kernels' sigma annealed to 0.5 steps over the first quarter; normalisation's 512 apart as many parameters as
`fsdd-ff-delays`.

surrogate: the net of `*-ff-delays` itself, its time constants, first weights, delays of up to 60 ms, readout, rate
regulariser, batches of 16 and the ratios of its learning rates, with dcls's surrogate gradient, convolution and sigma
on the grid: between it and evprop stand the gradient and the grid alone.

rates: for what spikes cost, 256 feed-forward neurons without any, rectified sums over the last 60 ms with a weight for
each step, read as evprop's are, by an integral that falls with e^{-t/300 ms}; by one for each of --windows,
e^{-t/tau_0} and differences of the exponentials of two taus that follow each other, 1 at their largest; or by one for
each of so many --triangles, which are 1 at 0, 120, 240, ... ms and 0 at their neighbours' tops.

cnn: for what the data allow, three convolutions over time of 96 filters and 7 steps, each with batch normalisation,
dropout of a fifth and a maximum over two steps, read by mean and maximum over time; a filter of the last sees 430 ms.
To rates and cnn a spike counts `data.every` / 5, so that thinning changes the noise alone.
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
LONGEST = 60.0  # ms, of delays of surrogate
APART = 120.0  # ms, of the tops of --triangles


class Net(torch.nn.Module):
    """What all have in common; ``counts`` are the spikes of each hidden neuron in the samples just seen."""

    batch = BATCH
    counts: torch.Tensor | None = None

    def groups(self, lr: float) -> list[dict]:
        return [{"params": list(self.parameters()), "lr": lr}]

    def penalty(self) -> torch.Tensor:
        """Beside the cross entropy."""
        return torch.zeros(())


class SnnTorch(Net):
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

    def forward(self, x: torch.Tensor, share: float) -> torch.Tensor:
        spk, syn, mem = self.hidden.init_rsynaptic()
        syn_o, mem_o = self.output.init_synaptic()
        seen, spikes = [], []
        for x_t in self.w_hidden(x).unbind(0):  # the input is known beforehand: one product of matrices
            spk, syn, mem = self.hidden(x_t, spk, syn, mem)
            _, syn_o, mem_o = self.output(self.w_output(spk), syn_o, mem_o)
            seen.append(mem_o)
            spikes.append(spk)
        self.counts = torch.stack(spikes).sum(0)
        return torch.stack(seen).amax(0)


class Dcls(Net):
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
        drive = self.norm(delayed(self.delayed, x, self.taps, share))
        v = s = torch.zeros_like(drive[..., 0])
        spikes = []
        for x_t in drive.unbind(2):
            v = self.beta * v * (1.0 - s.detach()) + x_t
            s = Spike.apply(v - V_TH)
            spikes.append(s)
        self.counts = torch.stack(spikes).sum(0)
        v = total = torch.zeros(())
        for x_t in self.w_output(self.dropout(torch.stack(spikes))).unbind(0):
            v = self.beta * v + x_t
            total = total + torch.softmax(v, dim=1)
        return total


class Surrogate(Net):
    """evprop's feed-forward net with delays on the grid; between steps currents and voltages decay as theirs do."""

    batch = 16

    def __init__(self, n_in: int, n_out: int, dt: float) -> None:
        super().__init__()
        self.dt, self.taps = dt, 1 + round(LONGEST / dt)
        self.alpha, self.beta = math.exp(-dt / TAU_SYN), math.exp(-dt / TAU_MEM)
        self.gain = TAU_SYN / (TAU_MEM - TAU_SYN) * (self.beta - self.alpha)
        self.delayed = Dcls1d(n_in, HIDDEN, 1, dilated_kernel_size=self.taps, bias=False, version="gauss")
        self.w_output = torch.nn.Linear(HIDDEN, n_out, bias=False)
        with torch.no_grad():
            self.delayed.weight.normal_(0.05, 0.4)
            self.delayed.P.uniform_(-(self.taps // 2), self.taps // 2)
            self.w_output.weight.normal_(0.0, 1.0)
        self.delayed.SIG.requires_grad_(False)

    def groups(self, lr: float) -> list[dict]:
        """The experiments: 4e-3 for input weights, 2.0 for output weights, 1 ms for delays."""
        return [
            {"params": [self.delayed.weight], "lr": lr},
            {"params": [self.w_output.weight], "lr": 500.0 * lr},
            {"params": [self.delayed.P], "lr": 250.0 * lr / self.dt},
        ]

    def forward(self, x: torch.Tensor, share: float) -> torch.Tensor:
        drive = delayed(self.delayed, x, self.taps, share)
        i = v = torch.zeros_like(drive[..., 0])
        spikes = []
        for x_t in drive.unbind(2):
            i = i + x_t
            v, i = self.beta * v + self.gain * i, self.alpha * i
            s = Spike.apply(v - V_TH)
            v = v * (1.0 - s.detach())
            spikes.append(s)
        self.counts = torch.stack(spikes).sum(0)
        i = v = total = torch.zeros(())
        for k, x_t in enumerate(self.w_output(torch.stack(spikes)).unbind(0)):
            i = i + x_t
            v, i = self.beta * v + self.gain * i, self.alpha * i
            total = total + math.exp(-k * self.dt / TAU_READOUT) * v
        return total / len(spikes)

    def penalty(self) -> torch.Tensor:
        """Their `Rate`, by the surrogate gradient of the counts."""
        assert self.counts is not None
        excess = self.counts.mean(0) - 2.0
        return 0.5 * (torch.where(excess > 0, 1e-5, 3e-5) * excess.square()).sum()


def delayed(layer: Dcls1d, x: torch.Tensor, taps: int, share: float) -> torch.Tensor:
    """(batch, hidden, steps); the kernels' sigma narrows over the first quarter of training."""
    wide = taps / 2
    with torch.no_grad():
        layer.SIG.fill_(max(0.5, wide * (0.5 / wide) ** (4.0 * share)))
        layer.clamp_parameters()
    drive: torch.Tensor = layer(torch.nn.functional.pad(x.permute(1, 2, 0), (taps - 1, 0)))
    return drive


class Rates(Net):
    """Rectified neurons that see the last 60 ms; logits are weighted integrals of what they give, one for each tau."""

    def __init__(self, n_in: int, n_out: int, dt: float, taus: Sequence[float], triangles: int, scale: float) -> None:
        super().__init__()
        self.dt, self.taus, self.triangles, self.scale, self.taps = dt, taus, triangles, scale, 1 + round(60.0 / dt)
        self.hidden = torch.nn.Conv1d(n_in, HIDDEN, self.taps)
        self.w_output = torch.nn.Linear((triangles or len(taus)) * HIDDEN, n_out)

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


class Cnn(Net):
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
def look(net: Net, data: Dataset, dt: float, duration: float, share: float = 1.0) -> tuple[float, float, float]:
    """Percent right, spikes per hidden neuron and word, percent of these pairs without any (NaN: no net of spikes)."""
    net.eval()
    right, spikes, silent = 0, math.nan, math.nan
    for k in range(0, len(data), 100):
        part = data[k : k + 100]
        right += int((net(frames(part.spikes, dt, duration), share).argmax(1).numpy() == part.labels).sum())
        if net.counts is not None:
            spikes = float(net.counts.sum()) + (spikes if k else 0.0)
            silent = float((net.counts == 0).sum()) + (silent if k else 0.0)
    pairs = len(data) * HIDDEN
    return 100.0 * right / len(data), spikes / pairs, 100.0 * silent / pairs


def train(net: Net, experiment: Experiment, given: argparse.Namespace) -> tuple[dict, float, int, int]:
    """(parameters of the epoch chosen, its mean validation accuracy, epoch, epochs)."""
    duration, data = experiment.duration, experiment.data
    how = {"augment": experiment.augment, "duration": duration}
    loader = Loader(data["train"], net.batch, given.seed, **how)
    adam = torch.optim.Adam(net.groups(given.lr))
    first = [group["lr"] for group in adam.param_groups]
    kept: list[tuple[float, dict]] = []
    began = time.process_time()
    share, steps = 0.0, 0
    while share < 1.0:
        net.train()
        for batch in loader.batches(len(kept)):
            steps += 1
            if given.epochs:
                share = steps / (given.epochs * len(loader))
            else:
                share = min(1.0, (time.process_time() - began) / given.seconds)
            for group, lr in zip(adam.param_groups, first, strict=True):
                group["lr"] = lr * 0.5 * (1.0 + math.cos(math.pi * share))
            adam.zero_grad()
            logits = net(frames(batch.spikes, given.dt, duration), share)
            wrong = torch.nn.functional.cross_entropy(logits, torch.from_numpy(batch.labels))
            (wrong + net.penalty()).backward()
            adam.step()
            if share == 1.0:
                break
        seen, _, _ = look(net, data["validation"], given.dt, duration, share)
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
    parser.add_argument("peer", choices=["snntorch", "dcls", "surrogate", "rates", "cnn"])
    parser.add_argument("--dt", type=float, default=10.0, help="ms")
    parser.add_argument("--seconds", type=float, default=300.0, help="of CPU time")
    parser.add_argument("--epochs", type=int, help="in place of a time")
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
    kinds = {"snntorch": SnnTorch, "dcls": Dcls, "surrogate": Surrogate, "rates": rates}
    kinds["cnn"] = partial(Cnn, scale=scale)
    net = kinds[given.peer](test.spikes.n_units, test.n_classes, given.dt)
    count = sum(p.numel() for p in net.parameters() if p.requires_grad)
    began = time.process_time()
    params, validation, epoch, epochs = train(net, experiment, given)
    cells = [given.peer, given.dt, given.lr, given.seed, count, f"{time.process_time() - began:.0f}", epochs, epoch]
    cells.append(f"{validation:.2f}")
    where = (given.dt, experiment.duration)
    if not given.no_test:
        cells.append(f"{look(net, test, *where)[0]:.2f}")
        net.load_state_dict(params)
        cells.append(f"{look(net, test, *where)[0]:.2f}")
        right, spikes, silent = look(net, experiment.data["train"], *where)
        cells += [f"{right:.2f}", f"{spikes:.2f}", f"{silent:.1f}"]
    names = ["peer", "dt (ms)", "lr", "seed", "parameters", "CPU (s)", "epochs", "chosen", "validation (%)"]
    names += ["test, last (%)", "test (%)", "training (%)", "hidden spikes per neuron", "silent (%)"]
    print(f"| {' | '.join(names[: len(cells)])} |")
    print(f"| {' | '.join(map(str, cells))} |", flush=True)


if __name__ == "__main__":
    main()
