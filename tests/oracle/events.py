"""The event loop: one global queue, one event at a time, one neuron touched at a time.

At one instant: first every threshold crossing, then releases from refractoriness, then every arrival, in the
order of projections as listed and of senders by (time, unit). An arrival at the duration or later has no effect; a
spike may happen at the duration itself.

Tangents. dV and dI are derivatives of the state at a FIXED time, along many directions at once. Then

    flow over d       dV := dV e^{-d/tau_mem} + dI kappa(d) + (constants),     dI := dI e^{-d/tau_syn} + (constants)
    arrival at s      dI += dw + w ds / tau_syn          dV -= w ds / tau_mem
    crossing at t     dt = (dv_th - dV) / Vdot-          dV := dv_reset - Vdot+ dt       dI unchanged
    refractory        dV = dv_reset until t + t_ref;     there dV := dv_reset - Vdot+ (dt + dt_ref), Vdot+ taken there
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import numpy as np

from . import flow
from .arithmetic import FLOAT64
from .flow import Number
from .model import CONSTANTS, Directions, Model, Population

CROSSING, RELEASE, ARRIVAL = 0, 1, 2


class TooManySpikes(RuntimeError):
    """The run passed the limit of spikes."""


@dataclass
class Spike:
    time: Number
    unit: int
    current: Number
    slope: Number  # Vdot- > 0
    overshoot: Number = (
        math.inf
    )  # how far above v_th V would have risen before the next event, had it not been reset
    tangent: np.ndarray | float = 0  # of the time


@dataclass
class Span:
    """A stretch of one neuron's life without an event: V and I at its start, tangents at fixed time, held or free."""

    start: Number
    end: Number
    v: Number
    i: Number
    held: bool
    dv: np.ndarray | float
    di: np.ndarray | float
    ends_with_spike: bool = False
    end_tangent: np.ndarray | float = 0  # how the end (an event) moves
    end_fixed: bool = False  # ... unless it is the duration


@dataclass(frozen=True)
class NearMiss:
    """A local maximum of V that stayed below v_th, `gap` = v_th - V >= 0."""

    population: str
    unit: int
    time: Number
    gap: Number


class Neuron:
    """The state of one neuron, its constants and their tangents."""

    def __init__(
        self, of: Population, unit: int, params: Mapping[str, Any], directions: Directions, number: Any
    ):
        self.population, self.kind, self.unit = of.name, of.kind, unit
        self.p: dict[str, Number] = {}
        self.dp: dict[str, np.ndarray | float] = {}
        for constant in CONSTANTS[of.kind]:
            name = f"{of.name}.{constant}"
            self.p[constant] = number(params[name][unit])
            self.dp[constant] = directions.of(name, (unit,))
        self.v, self.i, self.t = self.p["v_init"], number(0), number(0)
        self.dv, self.di = self.dp["v_init"], 0 * self.dp["v_init"]
        self.held_until: Any = None
        self.last_spike_tangent: np.ndarray | float = 0
        self.version = 0  # of the prediction in the queue
        self.d_crossing: Any = None  # the predicted crossing, from self.t
        self.spans: list[Span] = []
        self.shadow: Spike | None = None  # the last spike, while its overshoot is not yet known
        self.shadow_current: Number = number(0)

    def flow_constants(self) -> tuple[Number, Number, Number]:
        return self.p["i_bias"], self.p["tau_mem"], self.p["tau_syn"]


@dataclass
class Result:
    model: Model
    params: Mapping[str, Any]
    duration: Number
    directions: Directions
    math: Any
    spikes: dict[str, list[Spike]]
    neurons: dict[str, list[Neuron]]
    near_misses: list[NearMiss] = field(default_factory=list)

    def times(self, population: str) -> np.ndarray:
        return np.array([float(s.time) for s in self.spikes[population]])

    def units(self, population: str) -> np.ndarray:
        return np.array([s.unit for s in self.spikes[population]], dtype=np.int64)

    def tangents(self, population: str) -> np.ndarray:
        """(spikes, directions)."""
        rows = [np.broadcast_to(s.tangent, (self.directions.count,)) for s in self.spikes[population]]
        return np.array(rows) if rows else np.zeros((0, self.directions.count))

    def all_spikes(self) -> Iterable[Spike]:
        for spikes in self.spikes.values():
            yield from spikes

    def min_slope(self) -> float:
        return min((float(s.slope) for s in self.all_spikes()), default=math.inf)

    def gain(self) -> float:
        """The largest |tangent of a spike time|, 1 at least."""
        return max([1.0] + [float(np.max(np.abs(s.tangent))) for s in self.all_spikes()])

    def margin(self) -> float:
        """The smallest overshoot of a spike or gap of a near miss, in units of v_th - v_reset: how near anything is to
        appearing or vanishing."""
        smallest = math.inf
        for name, neurons in self.neurons.items():
            for s in self.spikes.get(name, []):
                p = neurons[s.unit].p
                smallest = min(smallest, float(s.overshoot / (p["v_th"] - p["v_reset"])))
        for miss in self.near_misses:
            p = self.neurons[miss.population][miss.unit].p
            smallest = min(smallest, float(miss.gap / (p["v_th"] - p["v_reset"])))
        return smallest

    def first_marginal_time(self, margin: float) -> float:
        """The earliest time at which a spike overshoots, or a maximum misses, by less than margin (v_th - v_reset)."""
        earliest = math.inf
        for name, neurons in self.neurons.items():
            for s in self.spikes.get(name, []):
                p = neurons[s.unit].p
                if s.overshoot < margin * (p["v_th"] - p["v_reset"]):
                    earliest = min(earliest, float(s.time))
        for miss in self.near_misses:
            p = self.neurons[miss.population][miss.unit].p
            if miss.gap < margin * (p["v_th"] - p["v_reset"]):
                earliest = min(earliest, float(miss.time))
        return earliest


def simulate(
    model: Model,
    params: Mapping[str, Any],
    inputs: Mapping[str, tuple[Any, Any]],
    duration: Number,
    *,
    directions: Directions | None = None,
    max_spikes: int = 100_000,
    arithmetic: Any = FLOAT64,
) -> Result:
    """One sample. inputs["input"] = (times, units); arithmetic=Digits(50) for many digits (no tangents then)."""
    return _Run(model, params, inputs, duration, directions or Directions(0), max_spikes, arithmetic).result()


class _Run:
    def __init__(
        self,
        model: Model,
        params: Mapping[str, Any],
        inputs: Mapping[str, tuple[Any, Any]],
        duration: Number,
        directions: Directions,
        max_spikes: int,
        arithmetic: Any,
    ):
        self.m, self.number = arithmetic, arithmetic.number
        self.model, self.params, self.directions = model, params, directions
        self.duration = self.number(duration)
        self.max_spikes, self.n_spikes = max_spikes, 0
        self.queue: list[tuple[Any, ...]] = []
        self.serial = count()
        self.spikes: dict[str, list[Spike]] = {p.name: [] for p in model.populations if p.kind == "lif"}
        self.near_misses: list[NearMiss] = []
        self.neurons = {
            p.name: [Neuron(p, u, params, directions, self.number) for u in range(p.size)]
            for p in model.populations
            if p.kind != "input"
        }
        self.fan_out = {
            (k, unit): proj.fan_out(unit, model.population(proj.post).size)
            for k, proj in enumerate(model.projections)
            for unit in range(model.population(proj.pre).size)
        }
        for neurons in self.neurons.values():
            for n in neurons:
                if n.kind == "lif" and not n.v < n.p["v_th"]:
                    raise ValueError(
                        f"v_init = {n.v} of {n.population}[{n.unit}] is not below v_th = {n.p['v_th']}"
                    )
                self.predict(n)
        for name, (times, units) in inputs.items():
            for k, (t, u) in enumerate(zip(times, units, strict=True)):
                self.send(name, int(u), self.number(t), directions.of_input(name, k))

    def result(self) -> Result:
        while self.queue:
            time, kind, *rest = heapq.heappop(self.queue)
            if time > self.duration or (time == self.duration and kind != CROSSING):
                continue
            if kind == CROSSING:
                neuron, version = rest[-2:]
                if version == neuron.version:
                    self.spike(neuron, time)
            elif kind == RELEASE:
                self.release(rest[-1], time)
            else:
                self.arrive(rest[-1], time, *rest[-4:-1])
        for neurons in self.neurons.values():
            for n in neurons:
                self.advance(n, self.duration, at_duration=True)
        for spikes in self.spikes.values():
            spikes.sort(key=lambda s: (s.time, s.unit))
        return Result(
            self.model,
            self.params,
            self.duration,
            self.directions,
            self.m,
            self.spikes,
            self.neurons,
            self.near_misses,
        )

    def send(self, population: str, unit: int, time: Number, tangent: np.ndarray | float) -> None:
        """Queue everything that a spike causes."""
        for k, proj in enumerate(self.model.projections):
            if proj.pre != population:
                continue
            for i, w_index, d_index in self.fan_out[k, unit]:
                arrival, moved = time, tangent
                if d_index is not None:
                    name = f"{proj.name}.delay"
                    arrival = time + self.number(self.params[name][d_index])
                    moved = tangent + self.directions.of(name, d_index)
                name = f"{proj.name}.weight"
                w, dw = self.number(self.params[name][w_index]), self.directions.of(name, w_index)
                order = (k, time, unit, next(self.serial))
                heapq.heappush(
                    self.queue, (arrival, ARRIVAL, *order, w, dw, moved, self.neurons[proj.post][i])
                )

    def predict(self, n: Neuron) -> None:
        n.version += 1
        if n.kind != "lif" or n.held_until is not None:
            return
        v_th = n.p["v_th"]
        if not n.v < v_th:  # by rounding only: the crossing was due within the last bit of this instant
            n.v = v_th if self.m.exact else math.nextafter(v_th, -math.inf)
        n.d_crossing = flow.first_crossing(self.m, self.duration - n.t, n.v, n.i, *n.flow_constants(), v_th)
        if n.d_crossing is not None:
            when = n.t + n.d_crossing
            heapq.heappush(
                self.queue, (when, CROSSING, n.population, n.unit, next(self.serial), n, n.version)
            )

    def advance(
        self,
        n: Neuron,
        time: Number,
        *,
        spiking: bool = False,
        at_duration: bool = False,
        moved: np.ndarray | float = 0,
    ) -> None:
        """Bring one neuron's state and tangents to `time`, and keep the span for readouts and margins."""
        bias, tau_mem, tau_syn = n.flow_constants()
        d: Number = n.d_crossing if spiking else time - n.t
        span = Span(n.t, time, n.v, n.i, n.held_until is not None, n.dv, n.di, spiking, moved, at_duration)
        n.spans.append(span)
        if n.kind == "lif":
            self.margins(n, span, d)
        if self.directions.count:
            by_mem, by_syn, by_bias, i_by_syn = flow.constants_derivatives(
                self.m, d, n.v, n.i, bias, tau_mem, tau_syn
            )
            if not span.held:
                n.dv = (
                    n.dv * math.exp(-d / tau_mem)
                    + n.di * flow.kappa(self.m, d, tau_mem, tau_syn)
                    + by_mem * n.dp["tau_mem"]
                    + by_syn * n.dp["tau_syn"]
                    + by_bias * n.dp["i_bias"]
                )
            n.di = n.di * math.exp(-d / tau_syn) + i_by_syn * n.dp["tau_syn"]
        if not span.held:
            n.v = flow.voltage(self.m, d, n.v, n.i, bias, tau_mem, tau_syn)
        n.i = flow.current(self.m, d, n.i, tau_syn)
        n.t = time

    def spike(self, n: Neuron, time: Number) -> None:
        self.n_spikes += 1
        if self.n_spikes > self.max_spikes:
            raise TooManySpikes(f"more than {self.max_spikes} spikes by {time} ms")
        self.advance(n, time, spiking=True)
        bias, tau_mem, _ = n.flow_constants()
        v_th, v_reset = n.p["v_th"], n.p["v_reset"]
        slope = (n.i + bias - v_th) / tau_mem
        tangent: np.ndarray | float = 0
        if self.directions.count:
            tangent = (n.dp["v_th"] - n.dv) / slope
            if self.directions.noise is not None:
                tangent = tangent + self.directions.noise()
        n.spans[-1].end_tangent = tangent
        n.shadow = Spike(time, n.unit, n.i, slope, tangent=tangent)
        n.shadow_current = n.i
        self.spikes[n.population].append(n.shadow)
        n.last_spike_tangent = tangent
        n.v, n.dv = v_reset, n.dp["v_reset"]
        if n.p["t_ref"] > 0:
            n.held_until = time + n.p["t_ref"]
            if n.held_until <= self.duration:
                heapq.heappush(self.queue, (n.held_until, RELEASE, next(self.serial), n))
        else:
            n.dv = n.dv - (n.i + bias - v_reset) / tau_mem * tangent
        self.predict(n)
        self.send(n.population, n.unit, time, tangent)

    def release(self, n: Neuron, time: Number) -> None:
        moved = n.last_spike_tangent + n.dp["t_ref"]
        self.advance(n, time, moved=moved)
        bias, tau_mem, _ = n.flow_constants()
        n.held_until = None
        n.dv = n.dp["v_reset"] - (n.i + bias - n.p["v_reset"]) / tau_mem * moved
        self.predict(n)

    def arrive(
        self, n: Neuron, time: Number, w: Number, dw: np.ndarray | float, moved: np.ndarray | float
    ) -> None:
        self.advance(n, time, moved=moved)
        _, tau_mem, tau_syn = n.flow_constants()
        n.i = n.i + w
        n.di = n.di + dw + w / tau_syn * moved
        if n.held_until is None:
            n.dv = n.dv - w / tau_mem * moved
        self.predict(n)

    def margins(self, n: Neuron, span: Span, d: Number) -> None:
        """How far the last spike overshot; which maxima of this span just missed."""
        bias, tau_mem, tau_syn = n.flow_constants()
        v_th = n.p["v_th"]
        if n.shadow is not None and d > 0:
            _, top = flow.span_maximum(self.m, d, v_th, n.shadow_current, bias, tau_mem, tau_syn)
            n.shadow.overshoot = top - v_th
            n.shadow = None
        if span.held or span.ends_with_spike:
            return
        where: list[Number] = []
        if span.i + bias - span.v <= 0:
            where.append(0 * d)
        peak = flow.stationary_point(self.m, span.v, span.i, bias, tau_mem, tau_syn) if span.i > 0 else None
        if peak is not None and peak <= d:
            where.append(peak)
        if span.end_fixed:
            where.append(d)
        for u in where:
            v = flow.voltage(self.m, u, span.v, span.i, bias, tau_mem, tau_syn)
            self.near_misses.append(NearMiss(n.population, n.unit, span.start + u, v_th - v))
