"""`Loihi2`: the chip's integer model as a simulator.

The parameters given are the float masters. Each call quantises them, runs the integer model, and leaves a record of
what the chip did: its spikes at the ends of its steps, readouts of its voltages, and, as ``record.params``, what it
holds in the network's own units. The adjoint replays these parameters through these spikes (theory: spikes from
elsewhere), and its gradients go straight through the rounding to the masters: so losses, metrics, `value_and_grad` and
`fit` work as they do with `Exact`, and `fit` with this simulator is quantisation-aware training.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import HardwareError
from ...network import Network
from ...parameters import Array, check_dtype, check_duration
from ...record import SpikesGiven, collect_inputs
from ...simulators import ReadoutsGiven, readout_specs
from ...spikes import Spikes
from .program import Alarm, Loihi2Run
from .quantise import DECAY_TOLERANCE, Quantised, ScaleGiven, check_bits, check_dt, check_exponent, quantise
from .record import Loihi2Record, Seen
from .registers import PLACES, Step
from .scales import Floats, check_rule
from .steps import Sent, in_time, on_grid, row_times, rows_of
from .voltages import Read, read

MIN_VDOT = 0.01
TRACE_BYTES = 2**26
"""About how much of the voltages is held at once; more samples are run in parts."""


@dataclass(frozen=True)
class Loihi2:
    """Loihi 2's integer model, bit for bit that of Lava's fixed-point models.

    Args:
        dt: ms, the chip's time step.
        num_weight_bits: 2 to 8.
        scale: "max", "percentile", or {population: scale}; see `quantise`.
        clip_delays: shorten delays beyond 62 steps; else they are an error.
        bias_exp: exponent of the biases, the finest that holds them unless given; NetX files have 6 only.
        decay_tolerance: the largest relative error of a time constant.
        min_vdot: units of v_th per ms. A spike of the chip is no crossing in continuous time, so dV/dt there may be
            small or negative; the backward pass puts this floor in its place and counts how often
            (``grads.health.floored``). 0.01: where V rises by a hundredth of the threshold in a ms. Our choice; no
            publication has one.
        strict: raise where numbers leave the chip's range: a step's input 16 bits, u or v 24. Else the model lets them
            wrap and clip as Lava does.
        dtype: "float64" or "float32", of the parameters, the readouts and the gradients; the model itself has integers.
    """

    dt: float = 1.0
    num_weight_bits: int = 8
    scale: ScaleGiven = "max"
    clip_delays: bool = False
    bias_exp: int | None = None
    decay_tolerance: float = DECAY_TOLERANCE
    min_vdot: float = MIN_VDOT
    strict: bool = True
    dtype: str = "float64"

    def __post_init__(self) -> None:
        put = object.__setattr__
        put(self, "dt", check_dt(self.dt))
        put(self, "num_weight_bits", check_bits(self.num_weight_bits))
        put(self, "bias_exp", check_exponent(self.bias_exp))
        put(self, "dtype", check_dtype(self.dtype))
        if not isinstance(self.scale, Mapping):
            check_rule(self.scale)
        if not 0.0 < float(self.min_vdot) < math.inf:
            raise HardwareError(f"min_vdot is {self.min_vdot!r}; it must be finite and > 0 (units of v_th per ms).")
        if not 0.0 < float(self.decay_tolerance) < math.inf:
            raise HardwareError(f"decay_tolerance is {self.decay_tolerance!r}; it must be finite and > 0.")

    @property
    def step(self) -> Step:
        """These settings, as `quantise` passes them on."""
        return Step(self.dt, self.num_weight_bits, self.clip_delays, self.bias_exp, self.decay_tolerance)

    def quantise(self, net: Network, params: Mapping[str, Array]) -> Quantised:
        """The network in the chip's integers, with this simulator's settings."""
        return quantise(
            net,
            params,
            dt=self.dt,
            num_weight_bits=self.num_weight_bits,
            scale=self.scale,
            clip_delays=self.clip_delays,
            bias_exp=self.bias_exp,
            decay_tolerance=self.decay_tolerance,
        )

    def simulate(
        self,
        net: Network,
        params: Mapping[str, Array],
        spikes: SpikesGiven,
        *,
        duration: float,
        readouts: ReadoutsGiven | None = None,
    ) -> Loihi2Record:
        """One forward pass; see `evprop.simulate`."""
        span = check_duration(duration)
        net.layout.collect(params, self.dtype)
        specs = readout_specs(net, readouts, span)
        given = collect_inputs(net, spikes, span)
        quantised = self.quantise(net, params)
        n_rows = rows_of(span, self.dt)
        times = row_times(n_rows, self.dt, span)
        gridded = {name: on_grid(one, n_rows, self.dt, span) for name, one in given.items()}
        sent = {name: pair[1] for name, pair in gridded.items()}
        observed, reads = self._run(net, quantised, sent, n_rows, times, span, readouts or {})
        kind = np.dtype(self.dtype)
        narrow = [Read(np.ascontiguousarray(r.values, kind), r.peaks) for r in reads]
        return Loihi2Record(
            net,
            quantised,
            {name: pair[0] for name, pair in gridded.items()},
            observed,
            list(zip(specs, narrow, strict=True)),
            sent=sent,
            n_steps=n_rows,
            duration=span,
            dtype=self.dtype,
            readouts=readouts or {},
            min_vdot=float(self.min_vdot),
        )

    def _run(
        self,
        net: Network,
        quantised: Quantised,
        sent: Mapping[str, Sent],
        n_rows: int,
        times: Floats,
        span: float,
        readouts: ReadoutsGiven,
    ) -> tuple[dict[str, Seen], list[Read]]:
        """Spikes of the LIF populations with u at each, and the readouts in the order asked for."""
        traced = [name for name, asked in readouts.items() if asked]
        batch = len(next(iter(sent.values())).offsets) - 1
        width = 12 * n_rows * sum(net.populations[name].size for name in traced)
        part = max(1, TRACE_BYTES // width) if width else batch
        spiking = [name for name, p in net.populations.items() if p.kind == "lif"]
        seen: dict[str, list[Spikes]] = {name: [] for name in spiking}
        currents: dict[str, list[Any]] = {name: [] for name in spiking}
        reads: list[list[Read]] = []
        for first in range(0, batch, part):
            chosen = {name: _samples(one, first, min(first + part, batch)) for name, one in sent.items()}
            run = quantised.program.run(chosen, n_rows, trace=traced, strict=self.strict, max_alarms=1)
            if run.alarms:
                raise HardwareError(_alarmed(run.alarms[0], first, run.alarm_counts))
            for name in spiking:
                seen[name].append(
                    in_time(run.steps[name], run.units[name], run.offsets[name], net.populations[name].size, times)
                )
                currents[name].append(run.currents[name])
            reads.append(_read_all(net, quantised, run, seen, times, span, readouts))
        whole = [
            Read(np.concatenate([r.values for r in parts]), _joined([r.peaks for r in parts]))
            for parts in zip(*reads, strict=True)
        ]
        joined = {name: (Spikes.concatenate(seen[name]), np.concatenate(currents[name])) for name in spiking}
        return joined, whole


def _samples(sent: Sent, first: int, last: int) -> Sent:
    a, b = sent.offsets[first], sent.offsets[last]
    return Sent(sent.steps[a:b], sent.units[a:b], sent.offsets[first : last + 1] - a, sent.payloads[a:b])


def _read_all(
    net: Network,
    quantised: Quantised,
    run: Loihi2Run,
    seen: Mapping[str, list[Spikes]],
    times: Floats,
    span: float,
    readouts: ReadoutsGiven,
) -> list[Read]:
    reads = []
    for name, asked in readouts.items():
        if not asked:
            continue
        v = run.v[name] / (PLACES * quantised.scales[name])
        if name in seen:
            fired, v_th = seen[name][-1].fired(), np.asarray(quantised.params[f"{name}.v_th"], np.float64)
        else:
            fired, v_th = np.zeros((len(v), v.shape[2]), np.bool_), None
        reads += [read(one, v, times, span, v_th, fired) for one in asked]
    return reads


def _joined(parts: list[Floats | None]) -> Floats | None:
    known = [part for part in parts if part is not None]
    return np.concatenate(known) if known else None


_FITS: Mapping[str, Any] = {
    "accumulator": "the input of one step exceeds 16 bits",
    "current_wrap": "u exceeds 24 bits and wraps",
    "voltage_clip": "v exceeds 24 bits and is clipped",
}


def _alarmed(alarm: Alarm, first: int, counts: Mapping[str, int]) -> str:
    return (
        f"strict: {_FITS[alarm.kind]} in {alarm.population!r}, neuron {alarm.neuron}, sample {first + alarm.sample}, "
        f"step {alarm.step}: {alarm.value} ({', '.join(f'{n} of {kind}' for kind, n in counts.items() if n)} in this "
        f"part of the batch). Give {alarm.population!r} a smaller scale, or use strict=False to let it wrap and clip."
    )
