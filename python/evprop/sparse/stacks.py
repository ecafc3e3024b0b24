"""Pursuits in layers: the codes of one are the signals of the next.

    x ~ D_1 a_1,   a_1 ~ D_2 a_2,   a_2 ~ D_3 a_3, ...

`LayeredPursuit` (Papyan, Romano & Elad 2017, layered basis pursuit) solves one layer after the other: what the first
gets wrong, the next must code. `DeepPursuit` (Cazenavette, Murdock & Lucey 2021) solves all layers at once,

    min over a_1 .. a_n  1/2 ||x - D_1 a_1||^2 + sum over k > 1 of 1/2 ||a_(k-1) - D_k a_k||^2 + all penalties,

which is one pursuit with the signal (x, 0, .., 0) and the dictionary

    D_1
    -1   D_2
         -1   D_3

Both code a signal by their last layer and have derivatives through the solvers, so that `PursuitClassifier` and `ifgsm`
take them where they take a `Pursuit`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..errors import ParameterError, ShapeError
from .pursuit import Codes, Floats, Pursuit


@dataclass(frozen=True)
class StackCodes:
    """What a stack found: `layers`, the `Codes` of each; ``values`` are those of the last.

    The layers of a `DeepPursuit` were solved together: each has the gap and the iterations of the whole.
    """

    layers: tuple[Codes, ...]

    @property
    def values(self) -> Floats:
        """(batch, n_atoms) of the last layer."""
        return self.layers[-1].values


class _Stack:
    """Layers whose sizes fit; the last is what a classifier sees."""

    def __init__(self, layers: Sequence[Pursuit]) -> None:
        self.layers = tuple(layers)
        if not self.layers:
            raise ParameterError("a stack has no layers; give at least one Pursuit.")
        for k, (below, above) in enumerate(zip(self.layers, self.layers[1:], strict=False)):
            if above.n_features != below.n_atoms:
                raise ShapeError(
                    f"layer {k + 1} codes signals of {above.n_features} numbers, but the codes of layer {k} have "
                    f"{below.n_atoms}; they must agree."
                )

    @property
    def n_features(self) -> int:
        """Numbers in a signal."""
        return self.layers[0].n_features

    @property
    def n_atoms(self) -> int:
        """Atoms of the last layer."""
        return self.layers[-1].n_atoms

    @property
    def n_groups(self) -> int:
        """Groups of the last layer."""
        return self.layers[-1].n_groups

    @property
    def groups(self) -> NDArray[np.uint32]:
        """(n_atoms,): groups of the last layer."""
        return self.layers[-1].groups

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self.layers))})"


class LayeredPursuit(_Stack):
    """One pursuit after the other, each coding the codes of the one before.

    layers  `Pursuit`s, the first of the signals; n_features of each is n_atoms of the one before (else `ShapeError`)
    """

    def solve(
        self,
        x: Floats,
        *,
        start: StackCodes | None = None,
        tolerance: float = 1e-9,
        max_iterations: int = 20_000,
    ) -> StackCodes:
        """As `Pursuit.solve`, layer by layer; ``start`` is what an earlier call returned."""
        found: list[Codes] = []
        for k, layer in enumerate(self.layers):
            first = None if start is None else start.layers[k]
            codes = layer.solve(x, start=first, tolerance=tolerance, max_iterations=max_iterations)
            found.append(codes)
            x = codes.values
        return StackCodes(tuple(found))

    def backward(self, codes: StackCodes, cotangent: Floats) -> Floats:
        """dL/dx (batch, n_features), from dL/d(codes of the last layer)."""
        for layer, solved in zip(reversed(self.layers), reversed(codes.layers), strict=True):
            cotangent = layer.backward(solved, cotangent)
        return cotangent


class DeepPursuit(_Stack):
    """All layers in one pursuit.

    layers  as of `LayeredPursuit`
    """

    @cached_property
    def whole(self) -> Pursuit:
        """The one pursuit of all layers: signals (x, 0, .., 0), codes (a_1, .., a_n)."""
        rows = np.cumsum([0] + [layer.n_features for layer in self.layers])
        dictionary = np.zeros((rows[-1], self._ends[-1]))
        for k, layer in enumerate(self.layers):
            columns = slice(self._ends[k], self._ends[k + 1])
            dictionary[rows[k] : rows[k + 1], columns] = layer.dictionary
            if k + 1 < len(self.layers):
                dictionary[rows[k + 1] : rows[k + 2], columns] = -np.eye(layer.n_atoms)
        before = np.cumsum([0] + [layer.n_groups for layer in self.layers])
        groups = np.concatenate(
            [layer.groups.astype(np.int64) + n for layer, n in zip(self.layers, before, strict=False)]
        )
        l1, l2 = (np.concatenate([getattr(layer, name) for layer in self.layers]) for name in ("l1", "l2"))
        return Pursuit(dictionary, groups=groups, l1=l1, l2=l2)

    @cached_property
    def _ends(self) -> list[int]:
        """Codes of layer k are the columns _ends[k] to _ends[k + 1] of the whole."""
        return [0, *np.cumsum([layer.n_atoms for layer in self.layers]).tolist()]

    def solve(
        self,
        x: Floats,
        *,
        start: StackCodes | None = None,
        tolerance: float = 1e-9,
        max_iterations: int = 20_000,
    ) -> StackCodes:
        """As `Pursuit.solve`, of all layers together; ``start`` is what an earlier call returned."""
        padded = np.zeros((len(x), self.whole.n_features))
        padded[:, : self.n_features] = x
        first = None if start is None else np.hstack([codes.values for codes in start.layers])
        found = self.whole.solve(padded, start=first, tolerance=tolerance, max_iterations=max_iterations)
        ends = zip(self._ends, self._ends[1:], strict=False)
        return StackCodes(
            tuple(
                Codes(np.ascontiguousarray(found.values[:, a:b]), found.gaps, found.iterations)
                for a, b in ends
            )
        )

    def backward(self, codes: StackCodes, cotangent: Floats) -> Floats:
        """dL/dx (batch, n_features), from dL/d(codes of the last layer)."""
        values = np.hstack([layer.values for layer in codes.layers])
        padded = np.zeros_like(values)
        padded[:, self._ends[-2] :] = cotangent
        return np.ascontiguousarray(self.whole.backward(values, padded)[:, : self.n_features])
