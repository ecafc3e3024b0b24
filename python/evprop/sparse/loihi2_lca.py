"""Basis pursuit by spikes in Loihi 2's integers, on its LIF neurons with graded input spikes.

Two neurons for each atom, as in spiking_lca.py. All numbers below are the chip's.

    a signal   one graded spike for each of its numbers, sent once: payload p, weights w = round(s_D d), their sum
               shifted right by 8. The currents do not decay (du = -1), so u, that is beta d.x, stays for the whole run
    a spike    through two synapses to each other neuron, -g now and +g after `pulse` steps, with
               g = round(s_G d.d') 2^weight_exp: a current of -g for just `pulse` steps, and then exactly nothing
    v          adds u - beta l1 at each step, without a leak (dv = 0); a spike at v > v_th sets it to 0, and
               v_th = pulse g of the neuron with itself, which is its own part of the inhibition

So one spike stands for s_G 2^weight_exp pulse / beta of code times steps. Errors: weights of 8 bits; the rest of v over
the threshold is lost at each spike, u/2 on average, that is a share of at most `drive` / (2 v_th); and what v has not
paid back, as in spiking_lca.py. v of a neuron that is inhibited all the time ends at the chip's limit of 24 bits, which
is harmless. In the residual of the minimum's conditions the worst cases of these add up to `Loihi2LCA.residual_limit`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import HardwareError, ParameterError
from ..hardware.loihi2.program import Loihi2Connection, Loihi2Population, Loihi2Program
from .groups import check_rows
from .lca import atom_weights, both_signs, check_positive, check_times
from .pursuit import Floats, Pursuit
from .spiking_lca import decode, spike_counts

LARGEST = 254  # of a weight of 8 bits of either sign, which is even
SIGNAL_EXP = -8  # of the signal's weights, the chip's smallest: payloads are as fine as they can be
PLACES = 64  # of u and v to one unit of weights and thresholds


@dataclass(frozen=True)
class Loihi2LCA:
    """Spiking LCA as a program for the chip.

    drive       units of weights: what the largest |d.x| of a batch becomes. Larger: finer, but more of v is lost at
                a spike
    dt          ms, the chip's step
    settle      ms: spikes up to here are not counted
    pulse       steps of inhibition by one spike, 1 to 62, the chip's longest delay
    weight_exp  of the inhibition. With pulse = 62 and 2, v_th is 62,992, half of what its register holds
    """

    drive: int
    dt: float
    settle: float = 0.0
    pulse: int = 62
    weight_exp: int = 2

    def __post_init__(self) -> None:
        check_positive("Loihi2LCA", dt=self.dt, drive=self.drive)
        if not (np.isfinite(self.settle) and self.settle >= 0.0):
            check_positive("Loihi2LCA", settle=self.settle)
        if not 1 <= self.pulse <= 62:
            raise HardwareError(f"Loihi2LCA: pulse is {self.pulse} steps; the chip has delays of 1 to 62.")
        threshold = LARGEST * self.pulse << self.weight_exp if self.weight_exp >= 0 else 0
        if not 0 < threshold < 2**17:
            raise HardwareError(
                f"Loihi2LCA: weight_exp is {self.weight_exp} and pulse {self.pulse}, so v_th would be {threshold}; the "
                f"register holds 1 to {2**17 - 1}."
            )

    def run(self, pursuit: Pursuit, x: Floats, times: ArrayLike) -> Floats:
        """(batch, n_times, n_atoms): the codes read from the spikes between ``settle`` and each time (ms, ascending).

        x: (batch, n_features), not 0 everywhere. `ParameterError` for groups of several atoms with an l2;
        `HardwareError` where a step's input exceeds 16 bits or u 24 bits.
        """
        at = check_times(times, self.settle)
        beta, dictionary_scale = self._scales(pursuit, x)
        program, quantum = self._program(pursuit, beta, dictionary_scale)
        payloads = np.rint(x * (beta / dictionary_scale / 2.0**SIGNAL_EXP)).astype(np.int32)
        rows = np.floor(at / self.dt * (1.0 + 1e-12)).astype(np.int64)
        run = program.run({"signal": _once(payloads)}, int(rows[-1]) + 1, strict=True, max_alarms=1)
        self._check(run.alarm_counts)
        codes = np.zeros((len(x), len(at), pursuit.n_atoms))
        for sample in range(len(x)):
            first, end = run.offsets["code"][sample : sample + 2]
            times_seen = run.steps["code"][first:end].astype(np.float64) * self.dt
            counts = spike_counts(times_seen, run.units["code"][first:end], at, self.settle, 2 * pursuit.n_atoms)
            codes[sample] = decode(counts, at - self.settle) * (quantum * self.dt)
        return codes

    def residual_limit(self, pursuit: Pursuit, x: Floats, codes: Floats, times: ArrayLike) -> Floats:
        """(batch, n_times): how large `Pursuit.residual` of the codes that `run` returned may be.

        With q the code times ms of one spike, it is the sum of the worst cases: 3 q / (t - settle), not paid back (no
        run was seen to owe three spikes; all else follows from the registers' widths); half a unit of each payload,
        times max ||d||_1; one unit of each weight, times ||x||_1 and ||a||_1; and max |a| drive / v_th, lost at
        spikes.
        """
        at = check_times(times, self.settle)
        beta, dictionary_scale = self._scales(pursuit, x)
        largest = float(np.sum(pursuit.dictionary**2, axis=0).max())
        threshold = LARGEST * 2**self.weight_exp * self.pulse
        paid = 3.0 * threshold * largest / beta * self.dt / (at - self.settle)
        payloads = 0.5 * 2.0**SIGNAL_EXP * dictionary_scale / beta * np.abs(pursuit.dictionary).sum(axis=0).max()
        signal = np.abs(x).sum(axis=1, keepdims=True) / dictionary_scale
        inhibition = np.abs(codes).sum(axis=2) * largest / LARGEST
        lost = np.abs(codes).max(axis=2) * largest * self.drive / threshold
        limit: Floats = paid + payloads + signal + inhibition + lost
        return limit

    def _scales(self, pursuit: Pursuit, x: Floats) -> tuple[float, float]:
        """beta, and what makes integers of the dictionary."""
        pull = np.abs(check_rows(x, "x", pursuit.n_features) @ pursuit.dictionary)
        if not pull.size or pull.max() == 0.0:
            raise ParameterError("Loihi2LCA: the signals are 0, so that no scale of payloads fits them.")
        return self.drive / float(pull.max()), LARGEST / float(np.abs(pursuit.dictionary).max())

    def _program(self, pursuit: Pursuit, beta: float, dictionary_scale: float) -> tuple[Loihi2Program, float]:
        """The program, and the code times steps that one spike stands for."""
        weights = atom_weights(pursuit, "Loihi2LCA")
        doubled = both_signs(pursuit.dictionary)
        gram = doubled.T @ doubled
        gram_scale = LARGEST / float(np.diag(gram).max())
        inhibition = _even(-gram * gram_scale)
        threshold = np.rint(np.diag(gram) * gram_scale * 2**self.weight_exp * self.pulse).astype(np.int32)
        np.fill_diagonal(inhibition, 0)
        bias, exponent = _bias(-np.concatenate([weights, weights]) * beta * PLACES)
        n = len(threshold)
        code = Loihi2Population(n, du=-1, dv=0, vth=threshold, bias_mant=bias, bias_exp=exponent)
        synapses = [
            Loihi2Connection(
                *("code", "code", sign * inhibition, delay),
                weight_exp=self.weight_exp,
                sign_mode="mixed",
                sparse=inhibition != 0,
            )
            for sign, delay in ((1, 0), (-1, self.pulse))
        ]
        signal = Loihi2Connection(
            *("signal", "code", _even(doubled * dictionary_scale)),
            weight_exp=SIGNAL_EXP,
            sign_mode="mixed",
            graded=True,
        )
        program = Loihi2Program({"signal": pursuit.n_features}, {"code": code}, [signal, *synapses])
        return program, gram_scale * 2**self.weight_exp * self.pulse / beta

    def _check(self, counts: object) -> None:
        found = {kind: n for kind, n in dict(counts).items() if n and kind != "voltage_clip"}  # type: ignore[call-overload]
        if found:
            raise HardwareError(
                f"Loihi2LCA: {', '.join(f'{n} of {kind}' for kind, n in found.items())}: too much arrives in one "
                "step. Use a smaller weight_exp or drive."
            )


def _even(values: Floats) -> NDArray[np.int32]:
    """The nearest even integers, which weights of both signs are on the chip."""
    return (2.0 * np.rint(values / 2.0)).astype(np.int32)


def _bias(values: Floats) -> tuple[NDArray[np.int32], int]:
    """Mantissas of 13 bits and the smallest exponent that holds all."""
    largest = max(float(np.abs(values).max()), 1.0)
    exponent = max(0, int(np.ceil(np.log2(largest / 4095.0))))
    if exponent > 7:
        raise HardwareError(f"Loihi2LCA: a bias of {largest:.0f} exceeds the register; use a smaller drive.")
    return np.rint(values / 2**exponent).astype(np.int32), exponent


def _once(payloads: NDArray[np.int32]) -> tuple[NDArray[np.int64], ...]:
    """One graded spike for every number that is not 0, in the first step: (steps, units, offsets, payloads)."""
    samples, units = np.nonzero(payloads)
    offsets = np.searchsorted(samples, np.arange(len(payloads) + 1))
    return np.zeros_like(units), units, offsets, payloads[samples, units].astype(np.int64)
