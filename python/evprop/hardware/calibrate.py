"""Calibration: what the circuits of a substrate really do, from spikes and readouts, as one measures it on the bench.

The network stays where it is, for every circuit has constants of its own; only its parameters are set, experiment by
experiment (all weights 0 unless said):

    tau_mem    threshold out of reach, V(0) = 0.6 to 0.9 v_th: V = b + a e^(-t/tau_mem), a and b fitted too
    v_th       leak above threshold: first spike at t, so v_th = i_bias (1 - e^(-t/tau_mem)), mean over trials
    v_reset    the same, interval T between spikes: v_reset = i_bias - (i_bias - v_th) e^((T - t_ref)/tau_mem)
    tau_syn    threshold out of reach, one line at a time: V = gain w kappa(t - s; tau_mem, tau_syn), s its spikes
    gain       of the line; one for each line and sign: neuron, driver and synapse together

Readouts are samples of the membrane in the converter's codes; starts and input times differ from trial to trial, so
that its steps average out. Lines from a population are driven by its own neurons, one firing at a time, at their
observed spikes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import HardwareError
from ..network import Network
from ..parameters import Array
from ..projections import Projection
from ..readouts import Sampled
from ..record import Record
from ..simulators import Simulator
from ..spikes import Spikes

Floats = NDArray[np.float64]

OUT_OF_REACH = 1e3
"""times v_th: no membrane gets there."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """Fitted constants.

    Attributes:
        constants: {"population.constant": (n,)}: tau_mem, tau_syn, v_th, v_reset (an LI population: the first two).
        gains: {projection: (2, n_pre, n_post)} by sign, excitatory first: felt weight over written weight.
        net: the network.
    """

    constants: Mapping[str, Floats]
    gains: Mapping[str, Floats]
    net: Network

    def apply(self, params: Mapping[str, Array]) -> dict[str, Array]:
        """The parameters as the circuits have them: fitted constants, and weights times their gains."""
        found = {**params, **self.constants}
        for p in self.net.projections:
            name = f"{p.name}.weight"
            gain = np.where(params[name] >= 0.0, self.gains[p.name][0], self.gains[p.name][1])
            found[name] = np.ascontiguousarray(params[name] * gain)
        return found


def calibrate(
    sim: Simulator,
    net: Network,
    params: Mapping[str, Array],
    *,
    weight: Mapping[str, float],
    period: float,
    trials: int = 20,
) -> Calibration:
    """Measure every circuit and line of a network on a substrate.

    Args:
        sim: the substrate: a simulator that reads membranes (`BrainScaleS2` with its converter on).
        params: the nominal parameters: time constants and thresholds from which the fits start; delays.
        weight: {projection: weight of the test pulse}, > 0; large, but below saturation of weight and membrane.
        period: between two samples of the membrane, ms.
        trials: trials an experiment.
    """
    _check(net, weight, period, trials)
    bench = _Bench(sim, net, params, period, trials)
    constants: dict[str, Floats] = {}
    for name, population in net.populations.items():
        if population.kind == "input":
            continue
        constants[f"{name}.tau_mem"] = tau_mem = bench.membrane_time_constants(name)
        if population.kind == "lif":
            v_th, v_reset = bench.thresholds(name, tau_mem)
            constants |= {f"{name}.v_th": v_th, f"{name}.v_reset": v_reset}
    gains: dict[str, Floats] = {}
    tau_syn: dict[str, list[Floats]] = {}
    for p in net.projections:
        fitted, gain = bench.line(p, weight[p.name], constants[f"{p.post}.tau_mem"])
        gains[p.name] = gain
        tau_syn.setdefault(p.post, []).append(fitted)
    for name, fits in tau_syn.items():
        constants[f"{name}.tau_syn"] = np.mean(fits, axis=0)
    return Calibration(constants, gains, net)


def _check(net: Network, weight: Mapping[str, float], period: float, trials: int) -> None:
    if trials < 1 or not period > 0.0:
        raise HardwareError(
            f"trials is {trials} and period {period}; at least 1 trial and a period > 0 are needed."
        )
    for p in net.projections:
        if p.structure() is not None or p.pre == p.post:
            raise HardwareError(
                f"projection {p.name!r} is {'sparse' if p.structure() is not None else 'recurrent'}; calibrate "
                "measures dense lines from one population to another."
            )
        if not weight.get(p.name, 0.0) > 0.0:
            raise HardwareError(
                f"weight[{p.name!r}] is {weight.get(p.name)!r}; give the test pulse's weight, > 0."
            )


class _Bench:
    """The experiments on one network."""

    def __init__(
        self, sim: Simulator, net: Network, params: Mapping[str, Array], period: float, trials: int
    ) -> None:
        self.sim, self.net, self.period, self.trials = sim, net, period, trials
        self.params = params
        self.still = {name: array.copy() for name, array in params.items()}
        for name in self.still:
            if name.endswith((".weight", ".i_bias", ".v_init")):
                self.still[name][...] = 0.0

    def membrane_time_constants(self, name: str) -> Floats:
        """(n,) from the relaxation of the membrane, from a different start in each trial."""
        tau, v_th = self.params[f"{name}.tau_mem"], self._v_th(name)
        times = self._times(4.0 * float(tau.max()))
        seen = []
        for start in np.linspace(0.6, 0.9, self.trials):
            setting = self._out_of_reach(name) | {f"{name}.v_init": start * v_th}
            record = self._play(setting, {}, times[-1] + self.period, {name: times}, trials=1)
            seen.append(record.readout[name][0][0])
        ones = np.ones_like(seen[0])

        def error(t: Floats) -> Floats:
            decay = np.exp(-times[:, None] / t)
            return np.asarray(sum(_residual(v, [decay, ones])[0] for v in seen))

        return _fit_tau(error, tau)

    def thresholds(self, name: str, tau_mem: Floats) -> tuple[Floats, Floats]:
        """(v_th, v_reset), each (n,), from tonic firing."""
        swing = self.params[f"{name}.v_th"] - self.params[f"{name}.v_reset"]
        bias = self.params[f"{name}.v_reset"] + 1.7 * swing
        t_ref = np.full(len(bias), float(self._t_ref(name)))
        record = self._play(
            {f"{name}.i_bias": bias, f"{name}.t_ref": t_ref}, {}, 12.0 * float(tau_mem.max()), {}
        )
        spikes = record.spikes[name]
        first, interval = np.empty((2, len(bias)))
        for unit in range(len(bias)):
            trains = [t[u == unit] for t, u in (spikes[b] for b in range(len(spikes)))]
            if min(len(t) for t in trains) < 2:
                raise HardwareError(f"neuron {unit} of {name!r} fires less than twice under a strong leak.")
            first[unit] = np.mean([t[0] for t in trains])
            interval[unit] = np.mean([(t[-1] - t[0]) / (len(t) - 1) for t in trains])
        v_th = bias * (1.0 - np.exp(-first / tau_mem))
        return v_th, bias - (bias - v_th) * np.exp((interval - t_ref) / tau_mem)

    def line(self, p: Projection, weight: float, tau_mem: Floats) -> tuple[Floats, Floats]:
        """(tau_syn (n_post,), gains (2, n_pre, n_post))."""
        n_pre, n_post = self.net.populations[p.pre].size, self.net.populations[p.post].size
        gains, taus = np.empty((2, n_pre, n_post)), []
        for k, sign in enumerate((1.0, -1.0)):
            for unit in range(n_pre):
                times, v, arrivals = self._pulse(p, unit, sign * weight)

                def shape(tau: Floats, times: Floats = times, arrivals: list[Floats] = arrivals) -> Floats:
                    return np.stack([_responses(times, a, tau_mem, tau) for a in arrivals])

                def error(tau: Floats, shape: Callable[[Floats], Floats] = shape, v: Floats = v) -> Floats:
                    flat = shape(tau).reshape(-1, n_post)
                    return _residual(v.reshape(-1, n_post), [flat])[0]

                tau = _fit_tau(error, self.params[f"{p.post}.tau_syn"])
                taus.append(tau)
                flat = shape(tau).reshape(-1, n_post)
                gains[k, unit] = _residual(v.reshape(-1, n_post), [flat])[1][0] / (sign * weight)
        return np.mean(taus, axis=0), gains

    def _pulse(self, p: Projection, unit: int, weight: float) -> tuple[Floats, Floats, list[Floats]]:
        """One line fires: sample times (m,), V (trials, m, n_post), arrival times of each trial."""
        own = np.zeros_like(self.still[f"{p.name}.weight"])
        own[unit] = weight
        setting = self._out_of_reach(p.post) | {f"{p.name}.weight": own}
        span = 5.0 * float(self.params[f"{p.post}.tau_syn"].max() + self.params[f"{p.post}.tau_mem"].max())
        delay = 0.0 if p.delay_kind is None else self.params[f"{p.name}.delay"]
        if p.delay_kind not in (None, "axonal"):
            raise HardwareError(
                f"projection {p.name!r} has {p.delay_kind} delays; calibrate knows axonal ones."
            )
        late = float(np.broadcast_to(delay, (len(own), 1))[unit, 0])
        if self.net.populations[p.pre].kind == "input":
            sent = {p.pre: [np.array([self.period * (1.0 + b / self.trials)]) for b in range(self.trials)]}
            duration = span + 2.0 * self.period + late
            times = self._times(duration - self.period)
            record = self._play(setting, {p.pre: (unit, sent[p.pre])}, duration, {p.post: times})
        else:
            bias = np.zeros(self.net.populations[p.pre].size)
            bias[unit] = self.params[f"{p.pre}.v_reset"][unit] + 3.0 * (
                self.params[f"{p.pre}.v_th"][unit] - self.params[f"{p.pre}.v_reset"][unit]
            )
            setting |= {f"{p.pre}.i_bias": bias}
            duration = span + late
            times = self._times(duration - self.period)
            record = self._play(setting, {}, duration, {p.post: times})
        seen = record.spikes[p.pre]
        arrivals = [t[u == unit] + late for t, u in (seen[b] for b in range(len(seen)))]
        return times, record.readout[p.post][0], arrivals

    def _play(
        self,
        setting: Mapping[str, Array],
        sent: Mapping[str, tuple[int, list[Floats]]],
        duration: float,
        read: Mapping[str, Floats],
        *,
        trials: int | None = None,
    ) -> Record:
        inputs = {}
        for name in self.net.inputs:
            unit, times = sent.get(name, (0, [np.empty(0)] * (trials or self.trials)))
            samples = [(t, np.full(len(t), unit)) for t in times]
            inputs[name] = Spikes.from_lists(samples, n_units=self.net.populations[name].size)
        readouts: dict[str, Any] = {name: [Sampled(times)] for name, times in read.items()}
        given = {**self.still, **{k: np.ascontiguousarray(v, dtype=np.float64) for k, v in setting.items()}}
        return self.sim.simulate(self.net, given, inputs, duration=duration, readouts=readouts)

    def _times(self, until: float) -> Floats:
        return np.asarray(np.arange(1, int(until / self.period) + 1) * self.period)

    def _v_th(self, name: str) -> Floats:
        key = f"{name}.v_th"
        return self.params[key] if key in self.params else np.ones_like(self.params[f"{name}.tau_mem"])

    def _out_of_reach(self, name: str) -> dict[str, Array]:
        key = f"{name}.v_th"
        return {key: self.params[key] * OUT_OF_REACH} if key in self.params else {}

    def _t_ref(self, name: str) -> float:
        limits = getattr(self.sim, "refractory_range", None)
        return 0.0 if limits is None else float(limits[0])


def _residual(y: Floats, basis: list[Floats]) -> tuple[Floats, Floats]:
    """Least squares of y (m, n) in functions (m, n), neuron by neuron: squared error (n,), coefficients (k, n)."""
    a = np.stack(basis, axis=-1).transpose(1, 0, 2)  # (n, m, k)
    gram = a.transpose(0, 2, 1) @ a
    c = np.linalg.solve(gram, a.transpose(0, 2, 1) @ y.T[:, :, None])
    error = y.T - (a @ c)[:, :, 0]
    return np.asarray(np.sum(error**2, axis=1)), np.asarray(c[:, :, 0].T, np.float64)


def _responses(times: Floats, arrivals: Floats, tau_mem: Floats, tau_syn: Floats) -> Floats:
    """(m, n): V after unit arrivals: the sum of kappa(t - s)."""
    d = np.maximum(times[:, None, None] - arrivals[None, :, None], 0.0)
    gap = tau_mem - tau_syn
    gap = np.where(np.abs(gap) < 1e-6 * tau_mem, 1e-6 * tau_mem, gap)
    kappa = (tau_mem - gap) / gap * (np.exp(-d / tau_mem) - np.exp(-d / (tau_mem - gap)))
    return np.asarray(kappa.sum(axis=1))


def _fit_tau(error: Callable[[Floats], Floats], nominal: Floats) -> Floats:
    """Golden-section search in ln(tau), all neurons at once, between a third and three times the nominal value."""
    golden = (np.sqrt(5.0) - 1.0) / 2.0
    low, high = np.log(nominal / 3.0), np.log(nominal * 3.0)
    for _ in range(40):  # to a relative 1e-8 of the bracket
        a, b = high - golden * (high - low), low + golden * (high - low)
        left = error(np.exp(a)) < error(np.exp(b))
        low, high = np.where(left, low, a), np.where(left, b, high)
    return np.asarray(np.exp(0.5 * (low + high)))
