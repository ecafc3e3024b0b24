"""BrainScaleS-2 as a simulator: the same call as `Exact`, on a model of the mixed-signal chip.

    sim = evprop.BrainScaleS2(chip=3, weight_scale=30.0, min_vdot=0.01, copies={"input": 5})
    record = evprop.simulate(net, params, spikes, duration=180.0, simulator=sim)
    value, grads, record = evprop.value_and_grad(net, params, spikes, labels, loss, duration=180.0, simulator=sim)

Times. The chip runs 1000 times faster than biology: a ms of the network is a microsecond of the chip (`acceleration`).
All arguments below are in the network's ms, that is in the chip's us.

Gradients. The record holds what the host can know: the observed spikes, and the network as it was written to the chip
(rounded weights and delays, nominal constants). `value_and_grad` runs the exact adjoint on it and hands the gradient
of the written weights to the float weights (straight-through), so training with this simulator is training with the
chip in the loop. `min_vdot` is the floor of the nominal dV/dt at observed spikes (`Record.from_spikes`).

What is modelled how is said in rust/evprop/src/hardware/brainscales2.rs and pattern.py.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, NamedTuple

import numpy as np

from ... import _core
from ...errors import HardwareError, nearest
from ...network import Network
from ...parameters import Array, check_duration
from ...record import Record, SpikesGiven, collect_inputs, core_inputs
from ...simulators import DEFAULT_MAX_SPIKES, ReadoutsGiven, readout_specs
from .mapping import Mapped
from .placement import BrainScaleS2Placement, place

OFF: Mapping[str, Any] = {
    "weight_scale": None,
    "copies": {},
    "tau_mem_spread": 0.0,
    "tau_syn_spread": 0.0,
    "threshold_offset": 0.0,
    "threshold_spread": 0.0,
    "reset_spread": 0.0,
    "neuron_gain_spread": 0.0,
    "driver_gain_spread": 0.0,
    "synapse_gain_spread": 0.0,
    "threshold_noise": 0.0,
    "spike_jitter": 0.0,
    "membrane_range": None,
    "refractory_range": None,
    "delay_range": None,
    "delay_step": 0.0,
    "delay_jitter": 0.0,
    "link_rate": None,
    "link_buffer": None,
    "time_stamp": 0.0,
    "readout_period": None,
    "resources": False,
}
"""The value of each argument that switches its distortion off."""


class LinkTraffic(NamedTuple):
    """What a link carried in one call: events, how many of them waited or were lost, and the longest wait in ms."""

    events: int
    late: int
    lost: int
    longest_wait: float


class ChipReport(NamedTuple):
    """What happened on the way in one call: nothing of it is silent.

    ``weights_clipped`` and ``delays_clipped`` count parameters beyond the range of the chip; ``early`` spikes whose
    jitter was cut (at time 0, or at their own crossing in a recurrent net); ``after_end`` spikes that were observed
    after the duration and so are not in the record.
    """

    weights_clipped: int
    delays_clipped: int
    input_link: LinkTraffic
    output_link: LinkTraffic
    early: int
    after_end: int


class ChipRecord(Record):
    """A `Record` of observed spikes, with ``report``, a `ChipReport`."""

    report: ChipReport


@dataclass(frozen=True, kw_only=True)
class BrainScaleS2:
    """A model of BrainScaleS-2. Each distortion can be switched off alone (`BrainScaleS2.ideal` has all of them off).

    False switches off whichever of them it is given to (so that an experiment file can).

    Args:
        chip: number of the chip: seed of its fixed pattern, 0 to 2**32 - 1.
        min_vdot: > 0, v_th per ms: floor of the nominal dV/dt at observed spikes, counted in ``grads.health.floored``.
        weight_scale: LSB per unit of weight; None: weights are neither rounded nor bounded. fast & deep and DelGrad: 30
            per unit of their weight at tau_mem = tau_syn; hxtorch's and jaxsnn's Yin-Yang: 64 and 58.
        weight_bits: 6 on the chip (haldls), so 0 to 63 with a sign for the row.
        copies: {Input population or projection: synapses in parallel for one connection}; the published Yin-Yang nets
            give each input 5, because one synapse is too weak.
        tau_mem_spread, tau_syn_spread: standard deviation of ln(tau), per circuit. Calibrated chips: 5 to 10 % and 3 to
            5 % (an estimate; calix' own tests accept less than 45 % and 20 % of the uncalibrated spread).
        threshold_offset, threshold_spread: mean and standard deviation of the threshold's error, in units of
            v_th - v_reset. DelGrad's hardware-aware model: 5 % (0.13 / 2.6) and 3.1 % (0.08 / 2.6).
        reset_spread: the same of the reset potential (an estimate: as for the threshold).
        neuron_gain_spread: standard deviation of ln(gain) of a neuron's synaptic inputs, excitatory and inhibitory
            apart (an estimate).
        driver_gain_spread, synapse_gain_spread: the same per synapse driver and per synapse (an estimate: 5 % and 5 to
            10 %; calix: amplitudes of drivers within 2 LSB).
        threshold_noise: standard deviation of a threshold from trial to trial, in units of v_th - v_reset. DelGrad:
            1.5 % (0.04 / 2.6) per batch; here each sample is a trial.
        spike_jitter: standard deviation of spike times, ms. DelGrad: 0.01 tau of 6 us (60 ns).
        membrane_range: (low, high) codes of the converter between which the membrane stays; calix' usable range.
        adc_scale, adc_offset, adc_bits: codes per unit of voltage, code at V = 0, bits. hxtorch's Yin-Yang has leak and
            reset at 80 and the threshold at 150: 70 codes from V = 0 to v_th = 1. Give adc_scale=70 / v_th for others.
        readout_period: between two conversions, ms (1.7 to 6 us by where the plasticity processor puts them); None:
            readouts in closed form (then membrane_range must be None).
        refractory_range: what the counter holds, ms (calix); a t_ref outside is refused.
        delay_range, delay_step: of the delay neurons, ms, and their step (DelGrad's delay_utils: t_ref / 8 + 2 us with
            counts 50 to 250). Delays outside are clipped and counted, gradients go straight through.
        delay_jitter: standard deviation of a delay from event to event, ms (as spike_jitter: it is one more spike).
        link_rate: events per ms of either link (one per 8 ns: 125 per us, a figure from memory); None: no limit.
        link_buffer: events that may wait before further ones are lost; None: any number.
        time_stamp: step of the host's clock, ms (8 ns, a figure from memory).
        acceleration: ms of the network per ms of the chip.
        resources: refuse networks that do not fit (`place`). Off, any network runs, each on a chip large enough, with
            lines and circuits of their own that wrap around the pattern of one chip.
        trial: the noise is a function of parameters, inputs and this number: another trial, other noise.
        max_spikes: as for `Exact`.
    """

    chip: int
    min_vdot: float
    weight_scale: float | None
    weight_bits: int = 6
    copies: Mapping[str, int] = field(default_factory=dict)
    tau_mem_spread: float = 0.08
    tau_syn_spread: float = 0.04
    threshold_offset: float = 0.05
    threshold_spread: float = 0.031
    reset_spread: float = 0.03
    neuron_gain_spread: float = 0.05
    driver_gain_spread: float = 0.05
    synapse_gain_spread: float = 0.07
    threshold_noise: float = 0.015
    spike_jitter: float = 0.06
    membrane_range: tuple[float, float] | None = (30.0, 210.0)
    adc_scale: float = 70.0
    adc_offset: float = 80.0
    adc_bits: int = 8
    readout_period: float | None = 1.7
    refractory_range: tuple[float, float] | None = (0.04, 32.0)
    delay_range: tuple[float, float] | None = (8.25, 33.25)
    delay_step: float = 0.125
    delay_jitter: float = 0.06
    link_rate: float | None = 125.0
    link_buffer: int | None = None
    time_stamp: float = 0.008
    acceleration: float = 1000.0
    resources: bool = True
    trial: int = 0
    max_spikes: int = DEFAULT_MAX_SPIKES

    def __post_init__(self) -> None:
        for name, off in OFF.items():
            if getattr(self, name) is False:
                object.__setattr__(self, name, off)
        for name in ("membrane_range", "refractory_range", "delay_range"):
            given = getattr(self, name)
            if given is not None:
                object.__setattr__(self, name, (float(given[0]), float(given[1])))
        _check(self)
        object.__setattr__(self, "_mapped", None)

    @classmethod
    def ideal(cls, **changes: Any) -> BrainScaleS2:
        """All distortions off but those in ``changes``: ``BrainScaleS2.ideal(spike_jitter=0.03)``."""
        for name in changes:
            if name not in (known := [f.name for f in fields(cls)]):
                raise HardwareError(f"unknown argument {name!r}: {nearest(name, known)}")
        return cls(**{"chip": 0, "min_vdot": 1e-9, **OFF, **changes})

    def without(self, *names: str) -> BrainScaleS2:
        """The same chip with some distortions switched off: ``sim.without("spike_jitter", "time_stamp")``."""
        for name in names:
            if name not in OFF:
                raise HardwareError(f"{name!r} is no distortion: {nearest(name, OFF)}")
        return replace(self, **{name: OFF[name] for name in names})

    @property
    def dtype(self) -> str:
        """Of state and parameters: "float64"."""
        return "float64"

    def hardware_us(self, time: Any) -> Any:
        """A time of the network (ms) on the chip (us)."""
        return np.asarray(time) * (1000.0 / self.acceleration)

    def place(self, net: Network) -> BrainScaleS2Placement:
        """Where the network lies; raises `HardwareError` with number and limit if it does not fit."""
        return place(net, self.copies)

    def map(self, net: Network) -> Mapped:
        """The network on this chip: `Mapped`."""
        kept: Mapped | None = self.__dict__["_mapped"]
        if kept is None or kept.net is not net:
            kept = Mapped(self, net)
            object.__setattr__(self, "_mapped", kept)
        return kept

    def simulate(
        self,
        net: Network,
        params: Mapping[str, Array],
        spikes: SpikesGiven,
        *,
        duration: float,
        readouts: ReadoutsGiven | None = None,
    ) -> ChipRecord:
        """One pass of a batch through the chip; see `evprop.simulate`."""
        span = check_duration(duration)
        net.layout.collect(params, self.dtype)
        inputs = collect_inputs(net, spikes, span)
        specs = readout_specs(net, readouts, span)
        mapped = self.map(net)
        written = mapped.write(params)
        nominal = net.layout.collect(written.nominal, self.dtype)
        effective = net.layout.collect(written.effective, self.dtype)
        core_record, counts = _core.brainscales2(
            net.core,
            nominal,
            effective,
            core_inputs(inputs),
            span,
            specs,
            self.max_spikes,
            mapped.threshold_noise(params),
            mapped.packets,
            self._settings(_noise_key(self.trial, nominal, inputs)),
        )
        record = ChipRecord(
            net,
            written.nominal,
            inputs,
            core_record,
            arrays=nominal,
            duration=span,
            dtype=self.dtype,
            readouts=readouts,
            min_vdot=self.min_vdot,
        )
        record.report = ChipReport(
            written.weights_clipped,
            written.delays_clipped,
            LinkTraffic(*counts["input"]),
            LinkTraffic(*counts["output"]),
            counts["early"],
            counts["after_end"],
        )
        return record

    def _settings(self, noise_key: int) -> dict[str, Any]:
        interval = 0.0 if self.link_rate is None else 1.0 / self.link_rate
        volts = [(code - self.adc_offset) / self.adc_scale for code in self.membrane_range or ()]
        adc = (self.readout_period, self.adc_scale, self.adc_offset, float(2**self.adc_bits - 1))
        return {
            "noise_key": noise_key,
            "spike_jitter": self.spike_jitter,
            "delay_jitter": self.delay_jitter,
            "membrane": tuple(volts) or None,
            "input_link": (interval, self.link_buffer),
            "output_link": (interval, self.link_buffer),
            "time_stamp": self.time_stamp,
            "adc": None if self.readout_period is None else adc,
        }


def _noise_key(trial: int, nominal: list[Array], inputs: Mapping[str, Any]) -> int:
    """Another one for other parameters, other inputs or another trial; so a run goes on to the same bits as before."""
    seen = _core.fingerprint([*nominal, *(s.times for s in inputs.values())])
    return (seen ^ (trial * 0x9E3779B97F4A7C15)) % 2**64


_NOT_NEGATIVE = (
    *("tau_mem_spread", "tau_syn_spread", "threshold_spread", "reset_spread", "neuron_gain_spread"),
    *(
        "driver_gain_spread",
        "synapse_gain_spread",
        "threshold_noise",
        "spike_jitter",
        "delay_step",
        "delay_jitter",
    ),
    "time_stamp",
)
_POSITIVE = ("min_vdot", "weight_scale", "adc_scale", "readout_period", "link_rate", "acceleration")
_WHOLE = {"chip": (0, 2**32 - 1), "weight_bits": (1, 16), "adc_bits": (1, 16), "trial": (0, 2**64 - 1)}
_WHOLE_OR_NONE = {"link_buffer": (0, 2**32 - 1), "max_spikes": (1, 2**63 - 1)}


def _check(sim: BrainScaleS2) -> None:
    for name in _NOT_NEGATIVE:
        value = getattr(sim, name)
        if not (isinstance(value, int | float) and 0.0 <= value < math.inf):
            raise HardwareError(
                f"BrainScaleS2: {name} is {value!r}; it must be finite and >= 0 (0: switched off)."
            )
    for name in _POSITIVE:
        value = getattr(sim, name)
        optional = OFF.get(name, 0.0) is None
        if not ((value is None and optional) or (isinstance(value, int | float) and 0.0 < value < math.inf)):
            may = ", or None to switch it off" if optional else ""
            raise HardwareError(f"BrainScaleS2: {name} is {value!r}; it must be finite and > 0{may}.")
    for name, (low, high) in (_WHOLE | _WHOLE_OR_NONE).items():
        value = getattr(sim, name)
        if value is None and name == "link_buffer":
            continue
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise HardwareError(
                f"BrainScaleS2: {name} is {value!r}; it must be an integer from {low} to {high}."
            )
    for name in ("membrane_range", "refractory_range", "delay_range"):
        pair = getattr(sim, name)
        if pair is not None and not (math.isfinite(pair[0]) and pair[0] < pair[1]):
            raise HardwareError(
                f"BrainScaleS2: {name} is {pair!r}; give (low, high) with low < high, or None."
            )
    if sim.threshold_noise > 0.1:
        raise HardwareError(
            f"BrainScaleS2: threshold_noise is {sim.threshold_noise}; beyond 0.1 a threshold may fall below the reset."
        )
    if sim.delay_range is not None and sim.delay_range[0] < 0.0:
        raise HardwareError(f"BrainScaleS2: delay_range is {sim.delay_range}; no delay is negative.")
