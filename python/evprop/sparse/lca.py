"""The locally competitive algorithm (LCA): neurons that inhibit each other until their codes are the pursuit's minimum.

    tau du/dt = D^T x - u - (D^T D - 1) a        a_G = prox(u_G; l1_G, l2_G)

Rate LCA (Rozell, Johnson, Baraniuk & Olshausen 2008) where l2 = 0: the proximal map is a soft threshold. Group
LCA (Charles, Garrigues & Rozell 2012) where groups have an l2: the map needs the norm of its group, so the neurons of a
group share it. The spiking form is in spiking_lca.py, that in Loihi 2's integers in loihi2_lca.py; all come to rest
where `Pursuit.solve` ends.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import ParameterError, ShapeError
from .pursuit import Floats, Pursuit


@dataclass(frozen=True)
class LCA:
    """The differential equation, followed with Euler's method.

    tau  ms, of the neurons
    dt   ms, the step; dt/tau at most 1 and below 2 / (largest eigenvalue of D^T D), else `ParameterError`
    """

    tau: float
    dt: float

    def __post_init__(self) -> None:
        check_positive("LCA", tau=self.tau, dt=self.dt)

    def run(self, pursuit: Pursuit, x: Floats, times: ArrayLike) -> Floats:
        """(batch, n_times, n_atoms): the codes at ``times`` (ms, ascending), from u = 0 at time 0.

        x: (batch, n_features). The same bits whatever the batch and the number of threads.
        """
        marks = np.rint(check_times(times, 0.0) / self.dt).astype(np.int64)
        return pursuit._core.settle(x, self.dt / self.tau, marks.tolist())


def check_positive(owner: str, **values: float) -> None:
    """Raise unless every value is finite and > 0."""
    for name, value in values.items():
        if not (np.isfinite(value) and value > 0.0):
            raise ParameterError(f"{owner}: {name} is {value!r}; it must be finite and > 0.")


def check_times(times: ArrayLike, after: float) -> NDArray[np.float64]:
    """Times in ms, ascending, each later than ``after`` (or at least 0 where that is 0)."""
    given = np.asarray(times, dtype=np.float64)
    if given.ndim != 1 or given.size == 0:
        raise ShapeError(f"times has shape {given.shape}; give at least one time, in one dimension.")
    early = given <= after if after > 0.0 else given < 0.0
    if not np.isfinite(given).all() or early.any() or np.any(np.diff(given) < 0.0):
        raise ParameterError(
            f"times are {given.tolist()} ms; they must be finite, ascend, and come after "
            f"{after:g} ms."
        )
    return given


def atom_weights(pursuit: Pursuit, owner: str) -> Floats:
    """(n_atoms,): the l1 weight of each atom, for forms that have no norm of a group."""
    sizes = np.bincount(pursuit.groups)
    bad = np.flatnonzero((sizes > 1) & (pursuit.l2 > 0.0))
    if bad.size:
        raise ParameterError(
            f"{owner}: group {bad[0]} has {sizes[bad[0]]} atoms and l2 = {pursuit.l2[bad[0]]:g}; a spiking neuron "
            "knows no norm of its group. Use LCA, or a Pursuit with l2 = 0."
        )
    # the norm of a single number is its size
    weights: Floats = (pursuit.l1 + np.where(sizes == 1, pursuit.l2, 0.0))[pursuit.groups]
    return weights


def both_signs(matrix: Floats) -> Floats:
    """Columns for +a and, after them, for -a: neurons fire at rates >= 0, so a number needs one for each sign."""
    doubled: Floats = np.concatenate([matrix, -matrix], axis=-1)
    return doubled
