"""A hybrid torch model on spoken digits (FSDD): dense encoder -> spiking network with delays -> dense head.

    EVPROP_DATA=... python benches/hybrid_fsdd.py --epochs 20 --seed 0

The recording is counted in frames of 40 ms and 70 groups of ten channels. A dense layer, the same for all frames,
turns each frame into latencies: unit j spikes at t_frame + 40 ms (1 - s_j), s_j = sigmoid(W x + b)_j, and stays silent
where s_j < 0.2. Behind it stand 64 recurrent LIF neurons of evprop with learnt delays, 40 leaky integrators, and a
dense layer on the largest and the mean voltage of each, standardised over the batch. One torch optimiser trains all
of it; gradients pass from the head through the spikes to the encoder. The epoch is chosen on the validation set
(recordings 40-44), and the test set is looked at once. Needs evprop[torch]; one thread.
"""

from __future__ import annotations

import argparse
import copy
import math
import time
from typing import Any

import numpy as np
import torch

import evprop
from evprop import init
from evprop.augment import ShiftChannels
from evprop.config import load_config
from evprop.datasets import Dataset
from evprop.experiment import build_experiment
from evprop.interop.torch import Layer, SpikeTensor
from evprop.loader import Loader
from evprop.losses import Integral, Max
from evprop.spikes import Spikes

FRAME, FRAMES, GROUPS, UNITS, SILENT = 40.0, 20, 70, 32, 0.2  # ms, , , , latency units silent below
DURATION = FRAME * FRAMES + 50.0  # ms: the last spikes still have an effect


def counted(spikes: Spikes) -> torch.Tensor:
    """(batch, frames, groups): square roots of spike counts, which makes their noise alike."""
    frame = np.minimum(spikes.times / FRAME, FRAMES - 1).astype(np.int64)
    place = (spikes.samples * FRAMES + frame) * GROUPS + spikes.units // (spikes.n_units // GROUPS)
    counts = np.bincount(place, minlength=len(spikes) * FRAMES * GROUPS)
    return torch.from_numpy(np.sqrt(counts).reshape(len(spikes), FRAMES, GROUPS).astype(np.float32))


class Hybrid(torch.nn.Module):
    def __init__(self, hidden: int, classes: int, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.encoder = torch.nn.Linear(GROUPS, UNITS)
        torch.nn.init.normal_(self.encoder.weight, 0.0, 0.25)
        delays: dict[str, Any] = {"delay": init.Uniform(0.0, 50.0), "delay_kind": "axonal"}
        net = evprop.Network(
            {"input": evprop.Input(UNITS), "hidden": evprop.LIF(hidden), "output": evprop.LI(40)},
            [
                evprop.Dense("input", "hidden", weight=init.Normal(0.1, 0.8), **delays),
                evprop.Dense("hidden", "hidden", weight=init.Normal(0.0, 0.05), **delays),
                evprop.Dense("hidden", "output", weight=init.Normal(0.0, 0.3)),
            ],
        )
        simulator = evprop.Exact(dtype="float32")
        readouts = {"output": [Max(), Integral()]}
        params = net.init(seed=seed, dtype="float32")
        self.spiking = Layer(net, params, duration=DURATION, readouts=readouts, simulator=simulator)
        self.head = torch.nn.Sequential(torch.nn.BatchNorm1d(80), torch.nn.Linear(80, classes))

    def forward(self, frames: torch.Tensor) -> tuple[torch.Tensor, Any]:
        s = torch.sigmoid(self.encoder(frames))
        starts = FRAME * torch.arange(FRAMES).view(1, -1, 1)
        times = torch.where(s < SILENT, math.inf, starts + FRAME * (1.0 - s))
        out = self.spiking(SpikeTensor.from_padded(times.transpose(1, 2)))
        highest, mean = out.readout["output"]
        return self.head(torch.cat([highest, mean], dim=1)), out.record


@torch.no_grad()
def accuracy(model: Hybrid, data: Dataset) -> float:
    right = 0
    model.eval()
    for first in range(0, len(data), 100):
        part = data[first : first + 100]
        logits, _ = model(counted(part.spikes))
        right += int((logits.argmax(1).numpy() == part.labels).sum())
    return right / len(data)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--lr", type=float, default=2e-3, help="of weights; delays learn 200 times as fast (ms)")
    parser.add_argument("--shift", type=int, default=20, help="channels, of the augmentation")
    parser.add_argument("--cache", help="a folder for a copy of the recordings that is read faster the next time")
    parser.add_argument("--samples", type=int, help="train on the first ones alone")
    given = parser.parse_args()
    torch.set_num_threads(1)
    evprop.set_num_threads(1)
    config = load_config("fsdd-ff", [f"data.cache={given.cache}"] if given.cache else [])
    data = {name: part.crop(FRAME * FRAMES) for name, part in build_experiment(config).data.items()}
    train = data["train"][: given.samples]
    model = Hybrid(given.hidden, 10, given.seed)
    delays = [p for name, p in model.named_parameters() if name.endswith("delay")]
    others = [p for name, p in model.named_parameters() if not name.endswith("delay") and p.requires_grad]
    optimiser = torch.optim.Adam([{"params": others}, {"params": delays, "lr": 200 * given.lr}], lr=given.lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, given.epochs)
    loader = Loader(train, given.batch, given.seed, augment=(ShiftChannels(given.shift),), duration=FRAME * FRAMES)
    best, kept, cpu = -1.0, None, time.process_time()
    before = model.encoder.weight.detach().clone()
    for epoch in range(given.epochs):
        total, spikes = 0.0, 0.0
        model.train()
        for batch in loader.batches(epoch):
            logits, record = model(counted(batch.spikes))
            loss = torch.nn.functional.cross_entropy(logits, torch.tensor(batch.labels))
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(others, 5.0)
            optimiser.step()
            model.spiking.project_()
            total += loss.item() * len(batch.labels)
            spikes += record.spikes["hidden"].n_spikes
        schedule.step()
        seen = accuracy(model, data["validation"])
        if seen > best:
            best, kept = seen, copy.deepcopy(model.state_dict())
        print(
            f"epoch {epoch + 1}: loss {total / len(train):.3f}, validation {100 * seen:.1f} %, "
            f"{spikes / len(train) / given.hidden:.1f} spikes per neuron, {time.process_time() - cpu:.0f} CPU s",
            flush=True,
        )
    moved = (model.encoder.weight.detach() - before).norm() / before.norm()
    model.load_state_dict(kept)
    print(f"encoder weights moved by {100 * moved:.0f} % of their norm")
    print(f"test accuracy {100 * accuracy(model, data['test']):.1f} % at the epoch with {100 * best:.1f} % validation")


if __name__ == "__main__":
    main()
