"""Group basis pursuit.

    min_a  1/2 ||x - D a||^2 + sum over groups G of  l1_G ||a_G||_1 + l2_G ||a_G||_2

l2 = 0: basis pursuit (Chen, Donoho & Saunders 1998); l1 = 0: group basis pursuit (the group lasso, Yuan & Lin 2006);
both: the mixed norm (the sparse-group lasso, Simon et al. 2013). Solved by FISTA (Beck & Teboulle 2009) with a restart
(O'Donoghue & Candès 2015), stopped by the duality gap; derivatives by the implicit function theorem.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import _core
from ..errors import ParameterError, ShapeError
from .groups import check_groups, check_rows, sum_groups

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Codes:
    """What `Pursuit.solve` found.

    values      (batch, n_atoms) float64; what is not in use is exactly 0
    gaps        (batch,) float64: the cost of each code is at most this far above the minimum
    iterations  (batch,) int64
    """

    values: Floats
    gaps: Floats
    iterations: NDArray[np.int64]


class Pursuit:
    """A dictionary, its groups and their weights, ready to code signals.

    dictionary  (n_features, n_atoms) float64, C-contiguous; no atom may be 0
    groups      (n_atoms,) integers, the group of each atom, 0 to n_groups - 1; None: every atom is a group
    l1, l2      >= 0, a number or one per group, not both 0 in any group; in the signals' units

    The arrays are copied. Raises `ParameterError` (`ShapeError`, `DtypeError`).
    """

    def __init__(
        self,
        dictionary: Floats,
        *,
        groups: ArrayLike | None = None,
        l1: ArrayLike = 0.0,
        l2: ArrayLike = 0.0,
    ) -> None:
        if np.ndim(dictionary) != 2 or 0 in np.shape(dictionary):
            raise ShapeError(
                f"dictionary has shape {np.shape(dictionary)}; (n_features, n_atoms) is needed, neither of them 0."
            )
        n_atoms = np.shape(dictionary)[1]
        self.groups = check_groups(np.arange(n_atoms) if groups is None else groups, n_atoms)
        self.n_groups = int(self.groups.max()) + 1
        self.l1 = _weights(l1, "l1", self.n_groups)
        self.l2 = _weights(l2, "l2", self.n_groups)
        self._core = _core.CorePursuit(dictionary, self.groups, self.l1, self.l2)
        self.dictionary = dictionary.copy()
        for array in (self.groups, self.l1, self.l2, self.dictionary):
            array.flags.writeable = False

    @property
    def n_features(self) -> int:
        """Numbers in a signal."""
        return int(self.dictionary.shape[0])

    @property
    def n_atoms(self) -> int:
        """Columns of the dictionary."""
        return int(self.dictionary.shape[1])

    def __repr__(self) -> str:
        return f"Pursuit({self.n_features} features, {self.n_atoms} atoms in {self.n_groups} groups)"

    def solve(
        self,
        x: Floats,
        *,
        start: Codes | Floats | None = None,
        tolerance: float = 1e-9,
        max_iterations: int = 20_000,
    ) -> Codes:
        """The codes of a batch of signals.

        x               (batch, n_features) float64, C-contiguous
        start           (batch, n_atoms) codes to begin with, such as those of signals nearby; None: 0
        tolerance       the largest duality gap, as a share of ||x||²/2 (what the codes 0 cost). Codes have an error of
                        the order of its root; below about 1e-15 rounding may keep it from being reached
        max_iterations  of one sample; more are a `ConvergenceError`

        The same bits whatever the batch and the number of threads.
        """
        limit = operator.index(max_iterations)
        if limit < 0:
            raise ParameterError(f"max_iterations is {limit}; it must be at least 0.")
        first = None if start is None else _values(start)
        return Codes(*self._core.solve(x, first, float(tolerance), limit))

    def backward(self, codes: Codes | Floats, cotangent: Floats) -> Floats:
        """dL/dx (batch, n_features), from solved codes and ``cotangent`` = dL/dcodes (batch, n_atoms).

        Exact for the codes that minimise, but where an atom is about to enter or leave: there the derivative jumps, and
        this is the one for the atoms in use. `ParameterError` where the atoms in use are linearly dependent.
        """
        return self._core.pull_back(_values(codes), cotangent)

    def dictionary_gradient(self, x: Floats, codes: Codes | Floats, cotangent: Floats) -> Floats:
        """dL/dD (n_features, n_atoms), summed over the batch, from solved codes of ``x`` and dL/dcodes.

        With h the solution of the support's linear system, dL/dD = (x - D a) h^T - D h a^T. Entries of D count as free:
        unit norms are the caller's to keep.
        """
        x, values = check_rows(x, "x", self.n_features), _values(codes)
        response = self._core.respond(values, cotangent)
        misfit = x - values @ self.dictionary.T
        gradient: Floats = misfit.T @ response - (response @ self.dictionary.T).T @ values
        return gradient

    def residual(self, x: Floats, codes: Codes | Floats) -> Floats:
        """(batch,): how far codes are from a minimum, in units of codes; 0 there and nowhere else.

        The largest |a - prox(a + D^T (x - D a))|, with which the conditions of Karush, Kuhn & Tucker fail.
        """
        x, values = check_rows(x, "x", self.n_features), check_rows(_values(codes), "codes", self.n_atoms)
        moved = self._prox(values + (x - values @ self.dictionary.T) @ self.dictionary)
        worst: Floats = np.abs(values - moved).max(axis=1)
        return worst

    def _prox(self, v: Floats) -> Floats:
        """The minimum of 1/2 ||a - v||^2 + the penalty of a, row by row."""
        soft = np.sign(v) * np.maximum(np.abs(v) - self.l1[self.groups], 0.0)
        norms = np.sqrt(sum_groups(soft * soft, self.groups))
        shrink = np.maximum(1.0 - np.divide(self.l2, norms, out=np.ones_like(norms), where=norms > 0.0), 0.0)
        moved: Floats = soft * shrink[:, self.groups]
        return moved

    def objective(self, x: Floats, codes: Floats) -> Floats:
        """(batch,): what is minimised."""
        x, codes = check_rows(x, "x", self.n_features), check_rows(codes, "codes", self.n_atoms)
        misfit = 0.5 * np.sum((x - codes @ self.dictionary.T) ** 2, axis=1)
        norms = np.sqrt(sum_groups(codes * codes, self.groups))
        cost: Floats = misfit + sum_groups(np.abs(codes), self.groups) @ self.l1 + norms @ self.l2
        return cost


def _values(codes: Codes | Floats) -> Floats:
    return codes.values if isinstance(codes, Codes) else codes


def _weights(given: ArrayLike, name: str, n_groups: int) -> Floats:
    """One weight per group."""
    try:
        values: Any = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError) as why:
        raise ParameterError(f"{name} is {given!r}; a number, or one per group, is needed.") from why
    if values.shape not in ((), (n_groups,)):
        raise ShapeError(
            f"{name} has shape {values.shape}; a number or ({n_groups},) is needed, one per group."
        )
    return np.ascontiguousarray(np.broadcast_to(values, (n_groups,))).copy()
