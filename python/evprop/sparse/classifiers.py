"""Linear classifiers of sparse codes, with derivatives of their margins back to the signals.

    scores = f W + b        f = the code a (full), or the norms ||a_G|| of its groups (pooled)
    margin = score of the label - largest other score        above 0: right

Pooled codes: Szeghy, Aslan, Fóthi, Mészáros, Milacski & Lőrincz 2022 (their PGBP); full codes of groups (GBP) or of
atoms (BP) are the same class with another `Pursuit`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import DtypeError, ShapeError, TargetError
from .groups import group_norms
from .pursuit import Codes, Floats, Pursuit
from .stacks import DeepPursuit, LayeredPursuit, StackCodes

Solver = Pursuit | LayeredPursuit | DeepPursuit


@dataclass(frozen=True)
class PursuitClassifier:
    """Scores from codes.

    pursuit     the `Pursuit` that codes the signals, or a `LayeredPursuit` or `DeepPursuit`, whose last layer counts
    weight      (n_atoms, n_classes), or (n_groups, n_classes) where pooled; float64
    bias        (n_classes,) float64
    pooled      scores are of the groups' norms, not of the codes
    tolerance   of `Pursuit.solve`
    """

    pursuit: Solver
    weight: Floats
    bias: Floats
    pooled: bool
    tolerance: float = 1e-9

    def __post_init__(self) -> None:
        rows = self.pursuit.n_groups if self.pooled else self.pursuit.n_atoms
        for array, name in ((self.weight, "weight"), (self.bias, "bias")):
            if not isinstance(array, np.ndarray) or array.dtype != np.float64:
                given = getattr(array, "dtype", type(array).__name__)
                raise DtypeError(f"{name} is {given}; a NumPy array of float64 is needed.")
        if self.weight.ndim != 2 or self.weight.shape[0] != rows or self.weight.shape[1] < 2:
            raise ShapeError(f"weight has shape {self.weight.shape}; ({rows}, n_classes >= 2) is needed.")
        if self.bias.shape != self.weight.shape[1:]:
            raise ShapeError(f"bias has shape {self.bias.shape}; {self.weight.shape[1:]} is needed.")

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return int(self.weight.shape[1])

    def scores(self, codes: Floats) -> Floats:
        """(batch, n_classes), from codes (batch, n_atoms)."""
        features = group_norms(codes, self.pursuit.groups) if self.pooled else codes
        scores: Floats = features @ self.weight + self.bias
        return scores

    def predict(self, x: Floats) -> NDArray[np.int64]:
        """(batch,): the class with the largest score, of signals (batch, n_features)."""
        scores = self.scores(self.pursuit.solve(x, tolerance=self.tolerance).values)
        classes: NDArray[np.int64] = scores.argmax(axis=1)
        return classes

    def code_cotangent(self, codes: Floats, at_scores: Floats) -> Floats:
        """dL/dcodes (batch, n_atoms), from codes and dL/dscores (batch, n_classes)."""
        slopes = at_scores @ self.weight.T
        if self.pooled:
            norms = group_norms(codes, self.pursuit.groups)
            per_norm = np.divide(slopes, norms, out=np.zeros_like(norms), where=norms > 0.0)
            slopes = per_norm[:, self.pursuit.groups] * codes
        return np.ascontiguousarray(slopes)

    def margins(
        self, x: Floats, labels: ArrayLike, *, start: Codes | StackCodes | None = None
    ) -> tuple[Floats, Floats, Codes | StackCodes]:
        """Margins (batch,), their derivatives with respect to the signals (batch, n_features), and the codes.

        ``labels`` (batch,) are integers 0 to n_classes - 1 (else `TargetError`); ``start``: codes to begin with. The
        derivative of a group's norm is 0 where the group is not in use.
        """
        wanted = self._labels(labels, len(x))
        solver: Any = self.pursuit  # each takes back the codes that it returned
        codes = solver.solve(x, start=start, tolerance=self.tolerance)
        scores, rows = self.scores(codes.values), np.arange(len(wanted))
        others = scores.copy()
        others[rows, wanted] = -np.inf
        rival = others.argmax(axis=1)
        at_scores = np.zeros_like(scores)
        at_scores[rows, wanted] = 1.0
        at_scores[rows, rival] = -1.0
        gradient = solver.backward(codes, self.code_cotangent(codes.values, at_scores))
        return scores[rows, wanted] - scores[rows, rival], gradient, codes

    def _labels(self, labels: ArrayLike, batch: int) -> NDArray[np.int64]:
        given = np.asarray(labels)
        if given.shape != (batch,) or given.dtype.kind not in "iu":
            raise TargetError(
                f"labels are {given.dtype} of shape {given.shape}; integers of shape ({batch},) are needed."
            )
        bad = np.flatnonzero((given < 0) | (given >= self.n_classes))
        if bad.size:
            raise TargetError(
                f"sample {bad[0]} has label {given[bad[0]]}; labels must be 0 to {self.n_classes - 1}."
            )
        return given.astype(np.int64)
