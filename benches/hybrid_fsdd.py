"""A hybrid torch model on spoken digits (FSDD): dense encoder -> spiking network with delays -> dense head.

    EVPROP_DATA=... python benches/hybrid_fsdd.py --epochs 40 --seed 0

A recording is counted in ten frames of its own length and 70 groups of ten channels (square roots of counts). A dense
layer turns these 700 numbers into 64 latencies, t = 30 ms sigmoid(W x + b): one spike of each unit. Behind it stand
100 LIF neurons of evprop with a learnt delay at each synapse, 40 leaky integrators, and a dense layer on their largest
voltages and weighted integrals, standardised over the batch. One torch optimiser trains all of it: gradients pass from
the head through the spikes to the encoder. The epoch is chosen on the validation set (recordings 40-44), and the test
set is looked at once. Needs evprop[torch]; one thread.

--frozen leaves the encoder as it was drawn, to see whether the gradients of the spike times are of use to it.
"""

from __future__ import annotations

import argparse
import copy
import time

import numpy as np
import torch

import evprop
from evprop import init
from evprop.augment import ShiftChannels
from evprop.datasets import Dataset, recordings
from evprop.interop.torch import Layer, SpikeTensor
from evprop.loader import Loader
from evprop.losses import Max, WeightedIntegral
from evprop.spikes import Spikes

FRAMES, GROUPS, UNITS = 10, 70, 64  # of a recording, of its channels, latencies
LATE, DURATION = 30.0, 60.0  # ms: the last latency, the end of a trial
DURATION_OF_WORD = 1000.0  # ms, of a recording; two of 2,400 are longer


def counted(spikes: Spikes) -> torch.Tensor:
    """(batch, frames x groups): square roots of spike counts, which makes their noise alike."""
    last = np.maximum.reduceat(spikes.times, spikes.offsets[:-1])  # no recording is without spikes
    frame = np.minimum(FRAMES * spikes.times / last[spikes.samples], FRAMES - 1).astype(np.int64)
    place = (spikes.samples * FRAMES + frame) * GROUPS + spikes.units // (spikes.n_units // GROUPS)
    counts = np.bincount(place, minlength=len(spikes) * FRAMES * GROUPS)
    return torch.from_numpy(np.sqrt(counts).reshape(len(spikes), -1).astype(np.float32))


class Hybrid(torch.nn.Module):
    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.encoder = torch.nn.Sequential(torch.nn.Dropout(0.3), torch.nn.Linear(FRAMES * GROUPS, UNITS))
        net = evprop.Network(
            {"input": evprop.Input(UNITS), "hidden": evprop.LIF(100), "output": evprop.LI(40)},
            [
                evprop.Dense("input", "hidden", weight=init.Normal(0.2, 0.3), delay=init.Uniform(0.0, 10.0)),
                evprop.Dense("hidden", "output", weight=init.Normal(0.0, 0.3)),
            ],
        )
        readouts = {"output": [Max(), WeightedIntegral(DURATION)]}
        params, simulator = net.init(seed=seed, dtype="float32"), evprop.Exact(dtype="float32")
        self.spiking = Layer(net, params, duration=DURATION, readouts=readouts, simulator=simulator)
        self.head = torch.nn.Sequential(torch.nn.BatchNorm1d(80), torch.nn.Linear(80, 10))

    def forward(self, counts: torch.Tensor) -> torch.Tensor:
        times = LATE * torch.sigmoid(self.encoder(counts))
        return self.head(torch.cat(self.spiking(SpikeTensor.from_padded(times)).readout["output"], dim=1))


@torch.no_grad()
def accuracy(model: Hybrid, data: Dataset) -> float:
    model.eval()
    right = int((model(counted(data.spikes)).argmax(1).numpy() == data.labels).sum())
    return right / len(data)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--lr", type=float, default=2e-3, help="of weights; delays learn ten times as fast (ms)")
    parser.add_argument("--shift", type=int, default=20, help="channels, of the augmentation")
    parser.add_argument("--frozen", action="store_true", help="leave the encoder as it is")
    parser.add_argument("--cache", help="a folder for a copy of the recordings that is read faster the next time")
    given = parser.parse_args()
    torch.set_num_threads(1)
    evprop.set_num_threads(1)
    files = {"train": "fsdd_train.h5.gz", "test": "fsdd_test.h5.gz", "cache": given.cache}
    data = recordings("fsdd", validation={"recording": [40, 41, 42, 43, 44]}, **files)
    data = {name: part.crop(DURATION_OF_WORD) for name, part in data.items()}
    train = data["train"]
    model = Hybrid(given.seed)
    model.encoder.requires_grad_(not given.frozen)
    learnt = {name: p for name, p in model.named_parameters() if p.requires_grad}
    delays = [p for name, p in learnt.items() if name.endswith("delay")]
    others = [p for name, p in learnt.items() if not name.endswith("delay")]
    groups = [{"params": others, "weight_decay": 1e-2}, {"params": delays, "lr": 10 * given.lr, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=given.lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, given.epochs)
    shift = ShiftChannels(given.shift)
    loader = Loader(train, given.batch, given.seed, augment=(shift,), duration=DURATION_OF_WORD)
    best, kept, cpu = -1.0, None, time.process_time()
    for epoch in range(given.epochs):
        total = 0.0
        model.train()
        for batch in loader.batches(epoch):
            loss = torch.nn.functional.cross_entropy(model(counted(batch.spikes)), torch.tensor(batch.labels))
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(others, 5.0)
            optimiser.step()
            model.spiking.project_()
            total += loss.item() * len(batch.labels)
        schedule.step()
        seen = accuracy(model, data["validation"])
        if seen > best:
            best, kept = seen, copy.deepcopy(model.state_dict())
        done = f"{time.process_time() - cpu:.0f} CPU s"
        print(f"epoch {epoch + 1}: loss {total / len(train):.3f}, validation {100 * seen:.1f} %, {done}", flush=True)
    model.load_state_dict(kept)
    print(f"test accuracy {100 * accuracy(model, data['test']):.1f} % at the epoch with {100 * best:.1f} % validation")


if __name__ == "__main__":
    main()
