"""A search for the scales that cost least, measured on samples: a loss, the divergence of the classes from those in
floating point, or the distance of spike trains from those there.

Population by population, twice over, each with the others as they stand:

    clipping    the share of its weights that keep their size; the larger ones are clipped and the others get finer
                steps
    room        a share of the voltage that the rules allow for: larger scales, as long as no sample leaves the range
    gain        a factor on all its weights, near 1: what makes up for spikes seen late and for the rounding of u and v

A candidate is kept if it is better than what there was. The start is the better of the two rules.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ...errors import HardwareError
from ...losses import CrossEntropy, Loss
from ...losses.base import output_population
from ...network import Network
from ...parameters import Array
from ...record import Record, SpikesGiven
from ...simulators import Exact
from ..agreement import spike_distance
from ..imitation import divergence
from .quantise import gather
from .registers import Cell
from .scales import RULES, Floats, Levels, fit
from .simulator import Loihi2

SHARES = (1.0, 0.999, 0.99, 0.97, 0.9)
GAINS = (0.98, 0.99, 0.995, 1.0, 1.005, 1.01, 1.02, 1.03, 1.04)
ROOMS = (0.5, 0.25)
ROUNDS = 2


@dataclass(frozen=True)
class ScaleSearch:
    """What `search_scales` found.

    Attributes:
        simulator: the one given, with the scales found.
        scales: for ``scale=`` of `Loihi2` and `quantise`.
        error: of these scales; ``start``: {rule: error} of the rules.
        tried: how many candidates were run.
    """

    simulator: Loihi2
    scales: dict[str, float]
    error: float
    start: dict[str, float]
    tried: int


def search_scales(
    net: Network,
    params: Mapping[str, Array],
    spikes: SpikesGiven,
    simulator: Loihi2,
    *,
    duration: float,
    loss: Loss | None = None,
    targets: Any = None,
    within: float | None = None,
    imitate: CrossEntropy | None = None,
    shares: Sequence[float] = SHARES,
    gains: Sequence[float] = GAINS,
    rounds: int = ROUNDS,
) -> ScaleSearch:
    """Scales that minimise an error over samples; these should be none of the test set.

    Args:
        spikes: the samples; a few hundred do.
        simulator: its ``scale`` is what is searched for.
        duration: ms.
        loss, targets: minimise the mean loss.
        within: ms; minimise the distance of the spike trains of all LIF populations from those of `Exact` (see
            `spike_distance`).
        imitate: minimise the divergence of its classes from those of `Exact` (see `Imitation`).
        shares, gains: the candidates; ``rounds``: how often over all populations.
    """
    if [loss, within, imitate].count(None) != 2 or (loss is None) != (targets is None):
        raise HardwareError(
            "give loss=... and targets=... to minimise a loss, within=... (ms) to minimise the distance of spikes, or "
            "imitate=... to minimise the divergence of the classes."
        )
    if loss is not None:
        error = _mean_of(loss, targets)
    elif imitate is not None:
        error = _unlike(net, params, spikes, simulator, duration, imitate)
    else:
        error = _apart(net, params, spikes, simulator, duration, float(within or 0.0))
    run = _Search(net, params, spikes, simulator, duration, error, imitate if loss is None else loss)
    best = min(RULES, key=run.of_rule)
    if run.refused is not None and not np.isfinite(run.of_rule(best)):
        raise run.refused
    run.begin(best)
    for _ in range(rounds):
        for name, population in net.populations.items():
            # leaky integrators send no spikes that could come nearer
            if population.kind == "lif" or (population.kind != "input" and within is None):
                run.improve(name, shares, gains)
    return ScaleSearch(replace(simulator, scale=run.scales), run.scales, run.error, run.rules, run.tried)


Error = Callable[[Record], float]


def _mean_of(loss: Loss, targets: Any) -> Error:
    return lambda record: float(np.mean(loss.evaluate(record, targets).values))


def _apart(
    net: Network,
    params: Mapping[str, Array],
    spikes: SpikesGiven,
    simulator: Loihi2,
    duration: float,
    within: float,
) -> Error:
    """The mean distance of spike trains from those of `Exact`."""
    wanted = Exact(dtype=simulator.dtype).simulate(net, params, spikes, duration=duration).spikes
    names = [name for name, p in net.populations.items() if p.kind == "lif"]
    return lambda record: float(
        np.mean([spike_distance(wanted[name], record.spikes[name], within=within) for name in names])
    )


def _unlike(
    net: Network,
    params: Mapping[str, Array],
    spikes: SpikesGiven,
    simulator: Loihi2,
    duration: float,
    loss: CrossEntropy,
) -> Error:
    """The mean divergence of the classes from those of `Exact`."""
    asked = loss.readouts(net)
    wanted = Exact(dtype=simulator.dtype).simulate(net, params, spikes, duration=duration, readouts=asked)
    name = output_population(net, loss.population, "CrossEntropy")
    return lambda record: float(np.mean(divergence(record.readout[name][0], wanted.readout[name][0])[0]))


@dataclass
class _Search:
    net: Network
    params: Mapping[str, Array]
    spikes: SpikesGiven
    simulator: Loihi2
    duration: float
    measure: Error
    loss: Loss | None
    error: float = np.inf
    scales: dict[str, float] = field(default_factory=dict)
    rules: dict[str, float] = field(default_factory=dict)
    tried: int = 0
    refused: HardwareError | None = None
    known: dict[tuple[tuple[str, float], ...], float] = field(default_factory=dict)

    def of_rule(self, rule: str) -> float:
        if rule not in self.rules:
            self.rules[rule] = self.run(rule)
        return self.rules[rule]

    def begin(self, rule: str) -> None:
        scales = dict(replace(self.simulator, scale=rule).quantise(self.net, self.params).scales)
        self.known[tuple(scales.items())] = self.of_rule(rule)
        self.accept(self.of_rule(rule), scales)

    def run(self, scale: str | Mapping[str, float]) -> float:
        """The error; infinite where the chip cannot hold it, or a number leaves its range."""
        self.tried += 1
        readouts = None if self.loss is None else self.loss.readouts(self.net)
        try:
            record = replace(self.simulator, scale=scale).simulate(
                self.net, self.params, self.spikes, duration=self.duration, readouts=readouts
            )
        except HardwareError as error:
            self.refused = error
            return np.inf
        return self.measure(record)

    def accept(self, error: float, scales: dict[str, float]) -> None:
        if error < self.error:
            self.error, self.scales = error, scales

    def improve(self, name: str, shares: Sequence[float], gains: Sequence[float]) -> None:
        """Clipping, room, then gain, of one population."""
        best = self.error
        kept = 1.0
        for share in shares:
            self.attempt(self.clipped(name, share))
            if self.error < best:
                best, kept = self.error, share
        for room in ROOMS:
            self.attempt(self.clipped(name, kept, room))
        before = dict(self.scales)
        incoming = [p.name for p in self.net.projections if p.post == name]
        for gain in gains:
            if gain != 1.0:
                self.attempt({name: before[name]} | {p: before[p] * gain for p in incoming})

    def attempt(self, changes: dict[str, float]) -> None:
        changed = self.scales | changes
        key = tuple(changed.items())  # what bounds a scale may make several candidates one
        if key not in self.known:
            self.known[key] = self.run(changed)
        self.accept(self.known[key], changed)

    def clipped(self, name: str, share: float, room: float = 1.0) -> dict[str, float]:
        """Scales of a population at which a share of each projection's weights is not clipped."""
        step = self.simulator.step
        wide: dict[str, Floats] = {key: np.asarray(a, np.float64) for key, a in self.params.items()}
        cell = Cell.of(name, self.net.populations[name], wide, step)
        incoming = [p for p in self.net.projections if p.post == name]
        weights, above, below = gather(incoming, cell, wide)
        every = np.concatenate([w.ravel() for w in weights])
        allowed = cell.room(wide, above, below)
        allowed = allowed._replace(voltage=max(room * allowed.voltage, allowed.threshold))
        chosen = fit(Levels.of(every, step.bits), _cut(every, share), allowed)
        return {name: chosen.scale} | {p.name: chosen.factor for p in incoming}


def _cut(weights: Floats, share: float) -> Floats:
    present = np.abs(weights[weights != 0.0])
    if not present.size:
        return weights
    most = float(np.quantile(present, share))
    return np.clip(weights, -most, most)
