"""Basis pursuit by spikes (Shapero, Zhu, Hasler & Rozell 2014; Tang, Lin & Davies 2017), on LIF neurons run exactly.

Two neurons for each atom, one for each sign. A neuron's voltage V (code times ms) integrates what is left to explain:

    dV/dt = d.x - l1 - sum over other neurons (d.d') q s'(t) * alpha - V / tau_mem
    alpha(t) = e^{-t/tau_syn} / tau_syn
    a spike at V = q d.d / 2 brings V to -q d.d / 2, which is its neuron's own part of the inhibition

A spike stands for q (the quantum) of code times ms, so the code at time t is q (spikes since `settle`) / (t - settle).
What the voltages have not paid back at time t is of the order of q, hence an error of the order of q / (t - settle).
The leak takes V / tau_mem: 0 on average over a cycle between -q d.d / 2 and q d.d / 2, but a drive below
q d.d / (2 tau_mem) makes no spike. Both go into the residual of the minimum's conditions, which `Pursuit.residual`
measures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .. import init
from ..network import Network
from ..parameters import check_dtype
from ..populations import LIF, Input
from ..projections import Dense
from ..simulators import DEFAULT, Simulator, simulate
from ..spikes import Spikes
from .groups import check_rows
from .lca import atom_weights, both_signs, check_positive, check_times
from .pursuit import Floats, Pursuit


@dataclass(frozen=True)
class SpikingLCA:
    """LIF neurons that code by their rates.

    quantum    code times ms: what one spike stands for. Its rate is code / quantum
    tau_mem    ms, of the leak; the longer the better, see the module's text
    tau_syn    ms, of the inhibition
    settle     ms: spikes up to here are not counted
    simulator  `Exact()` unless given; anything that returns spikes will do
    """

    quantum: float
    tau_mem: float
    tau_syn: float
    settle: float = 0.0
    simulator: Simulator = DEFAULT

    def __post_init__(self) -> None:
        check_positive("SpikingLCA", quantum=self.quantum, tau_mem=self.tau_mem, tau_syn=self.tau_syn)
        if not (np.isfinite(self.settle) and self.settle >= 0.0):
            check_positive("SpikingLCA", settle=self.settle)

    def network(self, pursuit: Pursuit) -> Network:
        """The neurons: population "code", +a then -a of every atom, with their inhibition; the input is silent.

        The drive of a signal is the bias: ``params["code.i_bias"] = lca.drive(pursuit, x)``.
        """
        doubled = both_signs(pursuit.dictionary)
        gram = doubled.T @ doubled
        inhibition = -gram * (self.quantum * self.tau_mem / self.tau_syn)
        np.fill_diagonal(inhibition, 0.0)
        half = 0.5 * self.quantum * np.diag(gram)
        n = len(half)
        code = LIF(
            n,
            tau_mem=self.tau_mem,
            tau_syn=self.tau_syn,
            v_th=half,
            v_reset=-half,
            i_bias=np.zeros(n),
        )
        return Network(
            {"silence": Input(1), "code": code},
            [
                Dense("silence", "code", weight=init.Constant(0.0)),
                Dense("code", "code", weight=inhibition, self_connections=False),
            ],
        )

    def drive(self, pursuit: Pursuit, x: Floats) -> Floats:
        """(batch, 2 n_atoms): the bias of each neuron for each signal."""
        weights = atom_weights(pursuit, "SpikingLCA")
        pull = both_signs(check_rows(x, "x", pursuit.n_features) @ pursuit.dictionary)
        drive: Floats = self.tau_mem * (pull - np.concatenate([weights, weights]))
        return drive

    def run(self, pursuit: Pursuit, x: Floats, times: ArrayLike) -> Floats:
        """(batch, n_times, n_atoms): the codes read from the spikes between ``settle`` and each time (ms, ascending).

        x: (batch, n_features). `ParameterError` for groups of several atoms with an l2.
        """
        at = check_times(times, self.settle)
        drive = self.drive(pursuit, x).astype(check_dtype(self.simulator.dtype))
        net = self.network(pursuit)
        params: dict[str, Any] = net.init(seed=0, dtype=self.simulator.dtype)
        silence = Spikes.from_lists([([], [])], n_units=1)
        codes = np.zeros((len(x), len(at), pursuit.n_atoms))
        for sample, bias in enumerate(drive):
            played = params | {"code.i_bias": bias}
            record = simulate(net, played, silence, duration=float(at[-1]), simulator=self.simulator)
            counts = spike_counts(
                record.spikes["code"].times, record.spikes["code"].units, at, self.settle, len(bias)
            )
            codes[sample] = decode(counts, at - self.settle) * self.quantum
        return codes


def spike_counts(times: Floats, units: Any, at: Floats, settle: float, n: int) -> Floats:
    """(n_times, n): spikes of each neuron after ``settle`` and up to each time; ``times`` ascend."""
    first = np.searchsorted(times, settle, side="right") if settle > 0.0 else 0
    ends = np.searchsorted(times, at, side="right")
    return np.array([np.bincount(units[first:end], minlength=n) for end in ends], dtype=np.float64)


def decode(counts: Floats, spans: Floats) -> Floats:
    """(n_times, n_atoms): signed rates per ms from counts (n_times, 2 n_atoms)."""
    half = counts.shape[1] // 2
    rates: Floats = (counts[:, :half] - counts[:, half:]) / spans[:, None]
    return rates
