"""A population's constants in the chip's registers: decays, thresholds, biases, initial voltages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...errors import HardwareError
from ...populations import Population
from .decays import FULL, Decay, decay_of, kappa, lift, peak
from .program import Loihi2Population
from .report import PopulationReport
from .scales import MAX_THRESHOLD, Floats, Room

NEVER = 2**17
"""A threshold that v, clipped at 2^23 - 1, cannot exceed: leaky integrators have it."""
PLACES = 64
"""u and v have 6 binary places more than weights and thresholds."""
MAX_STATE = 2**23 - 1
MAX_MANTISSA = 2**12 - 1
MAX_EXPONENT = 7
RESERVE = 2
"""Our choice: readouts of trained keyword spotters were seen to exceed 1 and not 2."""

_UNSUPPORTED = {
    "v_reset": "the chip resets to 0. Subtract it from v_th, v_reset, v_init and i_bias: no spike changes by that.",
    "t_ref": "the chip's model has no refractory time. Train with t_ref = 0.",
}


@dataclass(frozen=True)
class Step:
    """How the settings read: dt in ms, bits of a weight, what to do about delays and biases."""

    dt: float
    bits: int
    clip_delays: bool
    bias_exp: int | None
    tolerance: float


class Cell(NamedTuple):
    """What all neurons of a population share."""

    name: str
    size: int
    kind: str
    mem: Decay
    syn: Decay
    gain: float
    """kappa(dt) with the chip's decays: what a weight of 1 adds to v in the first step."""
    boost: float
    """What weights are multiplied by, so that a spike's voltage peaks as high as with the decays asked for."""

    @classmethod
    def of(cls, name: str, population: Population, wide: Mapping[str, Floats], step: Step) -> Cell:
        """Checks that the chip has such neurons."""
        for kind, why in _UNSUPPORTED.items():
            values = wide.get(f"{name}.{kind}")
            if values is not None and values.any():
                k = int(np.flatnonzero(values)[0])
                raise HardwareError(f"{name}.{kind}[{k}] is {values[k]:g}: {why}")
        mem, syn = (_shared(name, kind, wide, step) for kind in ("tau_mem", "tau_syn"))
        asked = (float(wide[f"{name}.{kind}"][0]) for kind in ("tau_mem", "tau_syn"))
        boost = peak(*asked) / peak(mem.tau, syn.tau)
        return cls(name, population.size, population.kind, mem, syn, kappa(step.dt, mem.tau, syn.tau), boost)

    def lift(self, weights: Floats, scale: float) -> float:
        """What makes up for the rounding of u and v, for weights that are already multiplied by kappa(dt): that of a
        single spike through their root mean square."""
        present = weights[weights != 0.0]
        if not present.size:
            return 1.0
        return lift(PLACES * scale * root_mean_square(present), self.mem, self.syn)

    def room(self, wide: Mapping[str, Floats], above: Floats, below: Floats) -> Room:
        """Thresholds and voltages to be held.

        ``above``, ``below``: each neuron's sums of positive and of |negative| weights.

        The voltage allowed for is the one at which V comes to rest if every source of one sign fires once in every
        tau_syn: the sum of their weights; for leaky integrators RESERVE times that. Upwards a LIF neuron stops at its
        threshold.
        """
        bias = np.abs(wide[f"{self.name}.i_bias"])
        down = float((bias + below).max(initial=0.0))
        if self.kind == "lif":
            threshold = float(wide[f"{self.name}.v_th"].max())
            return Room(threshold, max(down, threshold))
        return Room(0.0, RESERVE * max(down, float((bias + above).max(initial=0.0))))

    def registers(
        self, wide: Mapping[str, Floats], scale: float, bound: str, step: Step
    ) -> tuple[Loihi2Population, dict[str, Floats], PopulationReport]:
        """The population, what it holds in the network's units, and a line for the report."""
        bias, exponent, bias_held, bias_error = self._bias(wide[f"{self.name}.i_bias"], scale, step)
        v0 = self._first_voltages(wide[f"{self.name}.v_init"], scale)
        held = {
            "tau_mem": np.full(self.size, self.mem.tau),
            "tau_syn": np.full(self.size, self.syn.tau),
            "i_bias": bias_held,
            "v_init": v0 / (PLACES * scale),
        }
        vth: NDArray[np.int64] | int = NEVER
        span, error = None, 0.0
        if self.kind == "lif":
            wanted = wide[f"{self.name}.v_th"]
            vth = self._thresholds(wanted, scale)
            held |= {"v_th": vth / scale, "v_reset": np.zeros(self.size), "t_ref": np.zeros(self.size)}
            span = (int(vth.min()), int(vth.max()))
            error = float(np.abs(held["v_th"] / wanted - 1.0).max())
        population = Loihi2Population(
            *(self.size, self.syn.register - 1, self.mem.register, vth),
            bias_mant=bias,
            bias_exp=exponent,
            v0=v0,
        )
        report = PopulationReport(
            *(self.name, scale, bound, self.syn.register, self.mem.register, self.syn.tau, self.mem.tau),
            *(self.syn.error, self.mem.error, span, error, bias_error),
        )
        return population, {f"{self.name}.{k}": values for k, values in held.items()}, report

    def _first_voltages(self, wanted: Floats, scale: float) -> NDArray[np.int64]:
        v0 = np.rint(PLACES * scale * wanted)
        largest = float(np.abs(wanted).max(initial=0.0))
        if np.abs(v0).max(initial=0.0) > MAX_STATE:
            raise HardwareError(
                f"{self.name}.v_init of {largest:g} becomes {np.abs(v0).max():.9g} at the scale {scale:g}; v holds "
                f"{MAX_STATE}. Give a scale of at most {MAX_STATE / PLACES / largest:.6g}, or a smaller first voltage."
            )
        return v0.astype(np.int64)

    def _thresholds(self, wanted: Floats, scale: float) -> NDArray[np.int64]:
        vth = np.rint(scale * wanted).astype(np.int64)
        if vth.max() > MAX_THRESHOLD:
            raise HardwareError(
                f"{self.name}.v_th of {wanted.max():g} becomes {vth.max()} at the scale {scale:g}; the register holds "
                f"{MAX_THRESHOLD}. Give a scale of at most {MAX_THRESHOLD / wanted.max():.6g}."
            )
        if vth.min() < 1:
            raise HardwareError(
                f"{self.name}.v_th of {wanted.min():g} becomes {vth.min()} at the scale {scale:g}: the weights that "
                "reach it are too large beside it for their bits. Use more bits, a larger dt, or smaller weights."
            )
        return vth

    def _bias(self, wanted: Floats, scale: float, step: Step) -> tuple[NDArray[np.int64], int, Floats, float]:
        """Mantissas, their exponent, what they hold, and the largest relative error."""
        unit = PLACES * scale * self.mem.register / FULL  # what i_bias = 1 adds to v in a step
        exact = wanted * unit
        largest = float(np.abs(exact).max(initial=0.0))
        exponent = step.bias_exp
        if exponent is None:
            fits = (e for e in range(MAX_EXPONENT + 1) if round(largest / 2**e) <= MAX_MANTISSA)
            exponent = next(fits, MAX_EXPONENT)
        mantissa = np.rint(exact / 2**exponent).astype(np.int64)
        if np.abs(mantissa).max(initial=0) > MAX_MANTISSA:
            raise HardwareError(
                f"{self.name}.i_bias of {np.abs(wanted).max():g} becomes {np.abs(mantissa).max()} * 2^{exponent} at "
                f"the scale {scale:g}; 13 bits hold {MAX_MANTISSA}. "
                + ("Leave out bias_exp, or use" if exponent < MAX_EXPONENT else "Use")
                + " a smaller dt or a smaller scale."
            )
        held = mantissa * 2**exponent / unit
        asked = np.flatnonzero(wanted)
        error = float(np.abs(held[asked] / wanted[asked] - 1.0).max(initial=0.0))
        return mantissa, exponent, held, error


def root_mean_square(values: Floats) -> float:
    """0 without values; squares are taken of shares of the largest, which do not overflow."""
    largest = float(np.abs(values).max(initial=0.0))
    return largest * float(np.sqrt(np.mean((values / largest) ** 2))) if largest > 0.0 else 0.0


def _shared(name: str, kind: str, wide: Mapping[str, Any], step: Step) -> Decay:
    values = wide[f"{name}.{kind}"]
    if (values != values[0]).any():
        raise HardwareError(
            f"{name}.{kind} has several values, {values.min():g} to {values.max():g} ms; on the chip all neurons of a "
            f"population share their decays. Split the population, one part for each value, or train with {kind} fixed."
        )
    return decay_of(float(values[0]), step.dt, step.tolerance, f"{name}.{kind}")
