"""A check-up of a device: its results beside the CPU's on random networks, and its speed on the benches' workloads.

The report is what we ask users of a GPU to send: a table to read, and all of it as JSON.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _core
from .devices import device_ordinal
from .errors import ConfigError
from .gradients import backward
from .network import Network
from .parameters import Array
from .populations import LI, LIF, Input
from .projections import Dense, Sparse
from .readouts import Final, Integral, LinearIntegral, Max, Readout, SigmoidIntegral, WeightedIntegral
from .record import Record
from .simulators import Exact, simulate
from .spikes import Spikes

DURATION = 100.0
DELAYS = (None, "axonal", "dendritic", "synaptic")
WORST = {"float64": (1e-6, 1e-6), "float32": (1e-1, 5e-2)}
"""By dtype: how far apart (ms) spikes, and (of the largest entry) readouts and gradients may lie. Networks amplify
rounding, by a few thousand here."""


@dataclass(frozen=True)
class Comparison:
    """One random network on the CPU and on the device.

    Attributes:
        network: number of the network, which is its seed too.
        dtype: "float64" or "float32".
        spikes: emitted on the CPU.
        same_trains: whether every neuron emitted as many spikes on the device.
        apart: the largest difference of a spike time, in ms.
        readouts, gradients: the largest difference, as a share of the largest entry of its array.
    """

    network: int
    dtype: str
    spikes: int
    same_trains: bool
    apart: float
    readouts: float
    gradients: float

    @property
    def good(self) -> bool:
        """Whether all of it lies within `WORST`."""
        time, share = WORST[self.dtype]
        return self.same_trains and self.apart <= time and max(self.readouts, self.gradients) <= share


def random_problem(seed: int, dtype: str = "float64") -> tuple[Network, dict[str, Array], Spikes]:
    """A recurrent network of one of all kinds of delays and neurons, its parameters, and three samples."""
    rng = np.random.default_rng(seed)
    n, n_out = int(rng.integers(3, 40)), 4

    def joined(pre: str, post: str, sizes: tuple[int, int], low: float, high: float) -> Dense | Sparse:
        kind = DELAYS[int(rng.integers(4))]
        mask = rng.random(sizes) < 0.6 if rng.random() < 0.3 else np.ones(sizes, np.bool_)
        mask[0, 0] = True
        sparse = not mask.all()
        full: tuple[int, ...] = (int(mask.sum()),) if sparse else sizes
        given: dict[str, Any] = {"weight": rng.uniform(low, high, full)}
        if kind is not None:
            shape = {"axonal": (sizes[0], 1), "dendritic": (1, sizes[1]), "synaptic": full}[kind]
            given |= {"delay": rng.uniform(0.0, 12.0, shape), "delay_kind": kind}
        return Sparse(pre, post, mask=mask, **given) if sparse else Dense(pre, post, **given)

    held = [0.0, 3.0, np.inf]
    net = Network(
        {
            "input": Input(12),
            "hidden": LIF(
                n,
                tau_mem=rng.uniform(5.0, 25.0, n) if seed % 2 else 20.0,
                tau_syn=rng.uniform(3.0, 12.0, n) if seed % 2 else (5.0, 10.0, 20.0)[seed % 3],
                v_reset=rng.uniform(-0.3, 0.3, n),
                i_bias=rng.uniform(-0.3, 1.2, n) if seed % 4 == 3 else 0.0,
                t_ref=rng.choice(held, n) if seed % 5 == 2 else 0.0,
            ),
            "output": LI(n_out, tau_mem=15.0, tau_syn=5.0),
        },
        [
            joined("input", "hidden", (12, n), -0.3, 1.2),
            joined("hidden", "hidden", (n, n), -0.15, 0.1),
            joined("hidden", "output", (n, n_out), -1.0, 1.0),
        ],
    )
    samples = [(np.sort(rng.uniform(0.0, DURATION, k)), rng.integers(0, 12, k)) for k in (60, 0, 120)]
    return net, net.init(0, dtype=dtype), Spikes.from_lists(samples, n_units=12)


def compare(seed: int, device: str, dtype: str) -> Comparison:
    """One random network on both."""
    net, params, spikes = random_problem(seed, dtype)
    weighted: list[Readout] = [WeightedIntegral(50.0), LinearIntegral(), SigmoidIntegral(50.0, 9.0)]
    asked: dict[str, list[Readout]] = {"output": [Final(), *weighted, Max()], "hidden": [Integral()]}
    records = [
        simulate(
            net, params, spikes, duration=DURATION, readouts=asked, simulator=Exact(dtype=dtype, device=where)
        )
        for where in ("cpu", device)
    ]
    trains = [_by_unit(record) for record in records]
    same = all(np.array_equal(a[0], b[0]) for a, b in zip(*trains, strict=True))
    rng = np.random.default_rng(seed)
    readouts = [_share(a, b) for n in asked for a, b in zip(*(r.readout[n] for r in records), strict=True)]
    apart, gradients = np.inf, [np.inf]
    if same:
        apart = max((float(np.abs(a[1] - b[1]).max(initial=0.0)) for a, b in zip(*trains, strict=True)))
        values = {n: [rng.normal(size=y.shape) for y in records[0].readout[n]] for n in asked}
        felt = rng.normal(size=len(trains[0][0][1]))
        grads = []
        for record, (hidden, *_) in zip(records, trains, strict=True):
            times = np.empty_like(felt)
            times[hidden[2]] = felt
            grads.append(backward(record, {"hidden": times}, values))
        gradients = [_share(grads[0][name], grads[1][name]) for name in grads[0]]
        gradients.append(_share(grads[0].input_times, grads[1].input_times))
    count = sum(len(times) for _, times, _ in trains[0])
    return Comparison(seed, dtype, count, same, apart, max(readouts), max(gradients))


def _by_unit(record: Record) -> list[tuple[NDArray[Any], NDArray[np.float64], NDArray[np.int64]]]:
    """Of each LIF population, unit by unit: (sample, unit) and time of every spike, and its place in the record."""
    found = []
    for name, population in record.network.populations.items():
        if population.kind == "lif":
            spikes = record.spikes[name]
            order = np.lexsort((spikes.times, spikes.units, spikes.samples))
            found.append((np.stack([spikes.samples[order], spikes.units[order]]), spikes.times[order], order))
    return found


def _share(a: Array, b: Array) -> float:
    size = float(np.abs(a).max(initial=0.0))
    return float(np.abs(a - b).max(initial=0.0)) / (size or 1.0)


@dataclass(frozen=True)
class CheckUp:
    """All of a check-up: what `evprop check` prints and writes."""

    device: str
    machine: str
    comparisons: list[Comparison]
    speeds: list[tuple[str, Any]]  # where, and what `bench.measure` found

    @property
    def good(self) -> bool:
        """Whether every comparison is."""
        return all(c.good for c in self.comparisons)

    def lines(self) -> Iterator[str]:
        """The report, to read."""
        from .bench import table

        yield f"{self.device}\n{self.machine}, Python {platform.python_version()}, numpy {np.__version__}\n"
        yield "| type | networks | agree | spikes | spikes apart by | readouts by | gradients by |"
        yield "|---|---|---|---|---|---|---|"
        for dtype in WORST:
            mine = [c for c in self.comparisons if c.dtype == dtype]
            if mine:
                worst = [max(getattr(c, name) for c in mine) for name in ("apart", "readouts", "gradients")]
                counts = f"{len(mine)} | {sum(c.good for c in mine)} | {sum(c.spikes for c in mine):,}"
                yield f"| {dtype} | {counts} | {worst[0]:.1e} ms | {worst[1]:.1e} | {worst[2]:.1e} |"
        for c in self.comparisons:
            if not c.good:
                yield f"network {c.network} in {c.dtype} does not agree: {c}"
        for where in dict.fromkeys(where for where, _ in self.speeds):
            yield f"\nTraining steps, losses and optimiser on the CPU, the rest on {where}:\n"
            yield table(speed for there, speed in self.speeds if there == where)

    def write(self, path: Path) -> None:
        """All of it as JSON."""
        content = {
            "device": self.device,
            "machine": self.machine,
            "comparisons": [asdict(c) | {"good": c.good} for c in self.comparisons],
            "speeds": [{"on": where} | asdict(speed) for where, speed in self.speeds],
        }
        path.write_text(json.dumps(content, indent=1) + "\n")


def check_up(
    device: str, *, networks: int = 50, seconds: float = 5.0, workloads: tuple[str, ...] = ()
) -> CheckUp:
    """Compare CPU and device on ``networks`` random networks in both types, and measure ``workloads`` on both.

    Args:
        device: "cuda" or "cuda:N".
        networks: at least 1.
        seconds: about how long each workload is measured.
        workloads: names of `evprop.bench`.
    """
    from .bench import machine, measure, workload

    ordinal = device_ordinal(device)
    if ordinal is None:
        raise ConfigError('check: device is "cpu", which all is compared with; give "cuda" or "cuda:N".')
    if networks < 1:
        raise ConfigError(f"check: networks is {networks}; it must be >= 1.")
    named = _core.cuda_device(ordinal)
    comparisons = [compare(seed, device, dtype) for dtype in WORST for seed in range(networks)]
    speeds = [
        (where, measure(workload(name, device=where), seconds=seconds))
        for where in (device, "cpu")
        for name in workloads
    ]
    return CheckUp(named, machine(), comparisons, speeds)
