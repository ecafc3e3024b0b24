"""Adversarial signals: the iterative fast gradient (sign) method (Kurakin, Goodfellow & Bengio 2017).

    x <- project( x - a g / ||g||_2 )     in an l2 ball around the signal          g = d margin / dx
    x <- project( x - a sign(g) )         in an l-infinity ball

The gradient is that through the solver, by the implicit function theorem: no iteration is unrolled.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import ConfigError, ParameterError, nearest
from .pursuit import Floats


class HasMargins(Protocol):
    """What `ifgsm` needs of a classifier, as `PursuitClassifier` has it."""

    def margins(self, x: Floats, labels: Any, *, start: Any = None) -> tuple[Floats, Floats, Any]:
        """Margins (batch,), their derivatives with respect to x, and what the next call may start from."""


@dataclass(frozen=True)
class Attack:
    """What `ifgsm` made.

    x        (batch, n_features): the signals after the last step
    margins  (batch,): their margins
    fooled   (batch,) bool: margin at most 0
    """

    x: Floats
    margins: Floats
    fooled: NDArray[np.bool_]


def ifgsm(
    classifier: HasMargins,
    x: Floats,
    labels: ArrayLike,
    *,
    budget: float,
    norm: str,
    steps: int,
    step_size: float | None = None,
    start: Any = None,
) -> Attack:
    """Push signals (batch, n_features) to smaller margins, no further than ``budget`` in ``norm``, "l2" or "linf".

    ``step_size`` is a of each of the ``steps``; None: budget / steps, with which the projection never acts. A signal
    whose gradient is 0 stays where it is. ``start``: the codes of ``x``, where they are known, as `HasMargins.margins`
    returns them. Raises `ConfigError`, `ParameterError`, and what `PursuitClassifier.margins`
    raises.
    """
    if norm not in ("l2", "linf"):
        raise ConfigError(f"norm is {norm!r}; {nearest(norm, ('l2', 'linf'))}")
    if not np.isfinite(budget) or budget < 0.0:
        raise ParameterError(f"budget is {budget}; it must be finite and >= 0.")
    if operator.index(steps) < 1:
        raise ParameterError(f"steps is {steps}; it must be at least 1.")
    size = budget / steps if step_size is None else step_size
    if not np.isfinite(size) or size < 0.0:
        raise ParameterError(f"step_size is {size}; it must be finite and >= 0.")
    moved = x
    margins, gradient, codes = classifier.margins(x, labels, start=start)
    if budget == 0.0:
        return Attack(x.copy(), margins, margins <= 0.0)
    for _ in range(steps):
        step = np.sign(gradient) if norm == "linf" else _shrink(gradient, 1.0, always=True)
        offset = moved - size * step - x
        offset = np.clip(offset, -budget, budget) if norm == "linf" else _shrink(offset, budget)
        moved = x + offset
        margins, gradient, codes = classifier.margins(moved, labels, start=codes)
    return Attack(moved, margins, margins <= 0.0)


def _shrink(rows: Floats, length: float, *, always: bool = False) -> Floats:
    """Rows longer than `length`, or always all but rows of 0, brought to that length."""
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    changed = norms > (0.0 if always else length)
    shrunk: Floats = rows * np.divide(length, norms, out=np.ones_like(norms), where=changed)
    return shrunk
