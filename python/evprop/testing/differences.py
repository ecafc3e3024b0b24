"""Finite differences that know how far to trust themselves.

    D(h) = (f(h) - f(-h)) / 2h = f'(0) + O(h^2)        or, one-sided,  (f(h) - f(0)) / h = f'(0) + O(h)

at h, h/2, h/4, ... and extrapolated to h = 0 in a triangle (Richardson); the entry that differs least from its two
parents is the estimate, and that difference its error (Ridders 1982, Adv. Eng. Softw. 4, 75), never below rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

ROUNDING = 4e-16  # relative error of one evaluation


@dataclass(frozen=True)
class Estimate:
    """A derivative, its error, the smallest step that went into it, and the rounding that this step lets through."""

    value: float
    error: float
    step: float
    noise: float


def central(f: Callable[[float], float | None], step: float, levels: int, good: float) -> Estimate | None:
    """f'(0) from steps on both sides; None where f could not be evaluated twice or more. Stops at the error `good`."""
    return _extrapolate(lambda h: _slope(f(h), f(-h), 2.0 * h), f(0.0), step, levels, 2, good)


def one_sided(f: Callable[[float], float | None], step: float, levels: int, good: float) -> Estimate | None:
    """f'(0+), or f'(0-) for a negative step."""
    at_zero = f(0.0)
    return _extrapolate(lambda h: _slope(f(h), at_zero, h), at_zero, step, levels, 1, good)


def _slope(high: float | None, low: float | None, width: float) -> float | None:
    return None if high is None or low is None else (high - low) / width


def _extrapolate(
    slope: Callable[[float], float | None],
    at_zero: float | None,
    step: float,
    levels: int,
    order: int,
    good: float,
) -> Estimate | None:
    if at_zero is None:
        return None
    best: Estimate | None = None
    above: list[float] = []
    for level in range(levels):
        h = step / 2.0**level
        first = slope(h)
        if first is None:  # something appears, vanishes or changes order within this step
            above = []
            continue
        noise = ROUNDING * abs(at_zero) / abs(h)
        row = [first]
        for m, parent in enumerate(above, start=1):
            factor = 2.0 ** (order * m)
            row.append((row[m - 1] * factor - parent) / (factor - 1.0))
            error = max(abs(row[m] - row[m - 1]), abs(row[m] - parent), noise)
            if best is None or error < best.error:
                best = Estimate(row[m], error, abs(h), noise)
        above = row
        if best is not None and best.error <= good * abs(best.value):
            break
        if best is not None and best.error <= noise:  # smaller steps would only bring more rounding
            break
    return best if best is None or math.isfinite(best.value) else None
