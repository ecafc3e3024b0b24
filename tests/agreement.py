"""How well a record of evprop agrees with the slow simulator, and what agreement can be asked for.

Networks amplify rounding: an error of a spike time grows by the derivative of later spike times with respect to it. So
the bound on spike times is the tolerance times the `gain`: the largest tangent of any spike time along directions that
shift every input spike and every spike of the network by 1 ms, up or down at random; 1 at least. And where a maximum of
V lies within `margin` (in units of v_th - v_reset) of the threshold, a spike may appear or vanish: from there on a
sample is excused.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

import oracle

N_NUDGES = 8


def nudges(inputs: dict[str, tuple[np.ndarray, np.ndarray]], seed: int = 0) -> oracle.Directions:
    rng = np.random.default_rng(seed)
    return oracle.Directions(
        N_NUDGES,
        input_times={name: rng.choice([-1.0, 1.0], (len(t), N_NUDGES)) for name, (t, _) in inputs.items()},
        noise=lambda: rng.choice([-1.0, 1.0], N_NUDGES),
    )


def slow_runs(
    net: Any, params: Any, spikes: Any, duration: float, *, max_spikes: int = 20_000
) -> list[oracle.Result]:
    """One run of the slow simulator for each sample, with the tangents that `gain` needs."""
    model, values = oracle.from_network(net), oracle.doubled(params)
    results = []
    for b in range(batch_size(spikes)):
        inputs = oracle.sample_inputs(net, spikes, b)
        run = oracle.simulate(
            model, values, inputs, duration, directions=nudges(inputs), max_spikes=max_spikes
        )
        results.append(run)
    return results


class Jacobian:
    """Forward tangents along every single parameter and input time of a problem, to hold `evprop.backward` against."""

    def __init__(self, net: Any, params: Any, spikes: Any, duration: float) -> None:
        model, values = oracle.from_network(net), oracle.doubled(params)
        self.net, self.duration = net, duration
        self.names = [n for n in model.parameter_names() if not n.endswith(".t_ref")]
        self.columns = [*self.names, *(f"input_times:{n}" for n in net.inputs)]
        self.results = []
        for b in range(batch_size(spikes)):
            inputs = oracle.sample_inputs(net, spikes, b)
            directions = oracle.unit_directions(values, inputs, self.columns)
            self.results.append(oracle.simulate(model, values, inputs, duration, directions=directions))
        self._read: dict[Any, np.ndarray] = {}

    def gradients(
        self,
        spike_cotangents: dict[str, np.ndarray],
        readouts: dict[str, list[Any]] | None = None,
        readout_cotangents: dict[str, list[np.ndarray | None]] | None = None,
    ) -> dict[str, np.ndarray]:
        """By parameter name, and "input_times:population"; spike cotangents in the record's order."""
        start = dict.fromkeys(spike_cotangents, 0)
        parts: dict[str, list[np.ndarray]] = {name: [] for name in self.columns}
        for b, result in enumerate(self.results):
            along = np.zeros(result.directions.count)
            for name, cotangent in spike_cotangents.items():
                tangents = result.tangents(name)
                along += cotangent[start[name] : start[name] + len(tangents)] @ tangents
                start[name] += len(tangents)
            for name, asked in (readouts or {}).items():
                for readout, given in zip(asked, (readout_cotangents or {})[name], strict=True):
                    if given is not None:
                        tangents = self.readout(b, name, readout)
                        along += np.tensordot(given[b], tangents, axes=given[b].ndim)
            for name in self.columns:
                parts[name].append(result.directions.gradient(name, along))
        return {
            name: np.concatenate(p) if name.startswith("input_times") else np.sum(p, axis=0)
            for name, p in parts.items()
        }

    def readout(self, b: int, population: str, readout: Any) -> np.ndarray:
        key = (b, population, readout)
        if key not in self._read:
            self._read[key] = oracle.read(self.results[b], population, readout.spec(self.duration))[1]
        return self._read[key]


def batch_size(spikes: Any) -> int:
    return len(next(iter(spikes.values())) if isinstance(spikes, dict) else spikes)


def worst_error(found: Any, expected: dict[str, np.ndarray]) -> tuple[float, str]:
    """The largest error of `evprop.Gradients` in any array, relative to that array's largest entry, and where.

    Sums that cancel to (nearly) nothing are held against 1e-4 of the largest entry of all arrays: their terms pass
    through derivatives of spike times, some 100 ms per unit of voltage, so a last bit of 1e-16 comes out as 1e-14.
    """
    overall = max((float(np.max(np.abs(v), initial=0.0)) for v in expected.values()), default=0.0)
    worst = (0.0, "")
    for name, value in expected.items():
        if name.startswith("input_times:"):
            times = found.input_times
            ours = times[name.partition(":")[2]] if isinstance(times, dict) else times
        else:
            ours = found[name]
        size = max(float(np.max(np.abs(value), initial=0.0)), 1e-4 * overall, 1e-300)
        error = float(np.max(np.abs(ours - value), initial=0.0)) / size
        if not error <= worst[0]:  # NaN too
            worst = (error, name)
    return worst


@dataclass
class Agreement:
    """Counts over all neurons and samples compared."""

    spikes: int = 0  # compared one to one
    within: int = 0  # of these: |difference| <= tolerance
    within_gain: int = 0  # ... or <= tolerance times the gain
    excused: int = 0  # after a marginal maximum of their sample, and different
    worst: float = 0.0  # ms
    worst_share: float = 0.0  # of tolerance times gain
    disagreements: list[str] = field(default_factory=list)

    def add(self, other: Agreement) -> None:
        for name in ("spikes", "within", "within_gain", "excused"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.worst = max(self.worst, other.worst)
        self.worst_share = max(self.worst_share, other.worst_share)
        self.disagreements += other.disagreements


def compare(record: Any, results: list[oracle.Result], *, tolerance: float, margin: float) -> Agreement:
    """Every neuron's spike train, spike by spike."""
    total = Agreement()
    for b, result in enumerate(results):
        doubtful = result.first_marginal_time(margin) - 1.0
        gain = result.gain()
        for name, neurons in result.neurons.items():
            if name not in result.spikes:
                continue
            times, units = record.spikes[name][b]
            slow_times, slow_units = result.times(name), result.units(name)
            for unit in range(len(neurons)):
                fast, slow = times[units == unit], slow_times[slow_units == unit]
                where = f"sample {b}, {name}[{unit}]"
                total.add(_one_train(fast, slow, doubtful, tolerance, gain, where))
    return total


def _one_train(
    fast: np.ndarray, slow: np.ndarray, doubtful: float, tolerance: float, gain: float, where: str
) -> Agreement:
    found = Agreement()
    certain = int(np.searchsorted(slow, doubtful))
    same = len(fast) == len(slow)
    n = len(slow) if same else min(certain, len(fast))
    error = np.abs(fast[:n] - slow[:n])
    bad = np.flatnonzero(error > tolerance * gain)
    if len(bad) and bad[0] >= certain:  # only after the doubtful time
        n = int(bad[0])
        error = error[:n]
        bad = bad[:0]
    found.spikes = n
    found.within = int(np.count_nonzero(error <= tolerance))
    found.within_gain = int(np.count_nonzero(error <= tolerance * gain))
    found.excused = max(len(slow), len(fast)) - n
    if n:
        found.worst = float(error.max())
        found.worst_share = found.worst / (tolerance * gain)
    if len(bad):
        k = int(bad[0])
        found.disagreements.append(
            f"{where}: spike {k} at {fast[k]!r}, should be {slow[k]!r} (gain {gain:.3g})"
        )
    elif not same and (n < certain or (len(fast) > n and fast[n] < doubtful - tolerance * gain)):
        found.disagreements.append(f"{where}: {len(fast)} spikes, should be {len(slow)}: {fast} / {slow}")
    return found
