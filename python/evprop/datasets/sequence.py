"""Sequence detection (Mészáros, Knight & Nowotny 2025, Nat. Commun. 16): which of two inputs came first?

    class 0: input 0 at 0 ms, input 1 at 10 ms          class 1: input 1 at 0 ms, input 0 at 10 ms

With all weights equal and fixed, both outputs see the same thing until a delay holds one input back: only the
delays can solve it. The published script trains on the two samples twice over, in batches of 2; here too, so
that epochs and steps compare.
"""

from __future__ import annotations

import numpy as np

from ..errors import DatasetError
from .base import Dataset, sequence_of


def sequence_detection(*, interval: float = 10.0, copies: int = 2) -> Dataset:
    """The task's samples, each ``copies`` times; ``interval`` is the time between the two inputs (ms)."""
    if not interval > 0 or copies < 1:
        raise DatasetError(
            f"sequence detection: interval={interval!r} must be > 0 ms and copies={copies!r} at least 1."
        )
    samples = [((0.0, interval), (0, 1)), ((0.0, interval), (1, 0))]
    return Dataset(
        sequence_of(samples * copies, n_units=2),
        np.array([0, 1] * copies, dtype=np.int64),
        "sequence detection",
        2,
        ("0 then 1", "1 then 0"),
    )
