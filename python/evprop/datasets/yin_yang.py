"""The Yin-Yang data set (Kriener, Göltz & Petrovici 2022, NICE), by its canonical generator.

A point (x, y) in the disc of radius 1/2 around (1/2, 1/2) belongs to the yin half (class 0), the yang half
(1) or one of the two dots (2):

    d_R = |(x, y) - (3/4, 1/2)|      d_L = |(x, y) - (1/4, 1/2)|      R = 1/2      r = 1/10
    dot   d_R < r  or  d_L < r
    yang  d_R <= r  or  r < d_L <= R/2  or  (y > R and d_R > R/2)
    yin   otherwise

Values are (x, y, 1 - x, 1 - y). Each sample draws its class first and then points until one fits, from
NumPy's MT19937 (``RandomState``), so that seeds 42, 41 and 40 give the published training (5,000), validation
(1,000) and test (1,000) sets bit for bit.

Spike encodings of a value v, as published:

    wunderlich_pehle   t = 30 v ms, and a fifth unit that spikes at 0 ms    Wunderlich & Pehle 2021
    delgrad            t = (0.15 + 1.85 v) tau_syn                          Göltz et al. 2025
    fast_and_deep      the same, and a fifth unit that spikes at 0.9 tau_syn    Göltz et al. 2021
    deventprop         t = 1.5 + 18.5 v ms                                  Mészáros, Knight & Nowotny 2025
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ..errors import DatasetError, nearest
from .base import Dataset, Latency

R_BIG = 0.5
R_SMALL = 0.1
CLASS_NAMES = ("yin", "yang", "dot")
SPLITS = {"train": (5000, 42), "validation": (1000, 41), "test": (1000, 40)}
ENCODINGS = ("wunderlich_pehle", "delgrad", "fast_and_deep", "deventprop")


def classify(x: float, y: float) -> int:
    """The class of a point of the disc."""
    d_right = math.sqrt((x - 1.5 * R_BIG) ** 2 + (y - R_BIG) ** 2)
    d_left = math.sqrt((x - 0.5 * R_BIG) ** 2 + (y - R_BIG) ** 2)
    if d_right < R_SMALL or d_left < R_SMALL:
        return 2
    in_left_half_disc = R_SMALL < d_left <= 0.5 * R_BIG
    in_upper_rest = y > R_BIG and d_right > 0.5 * R_BIG
    return int(d_right <= R_SMALL or in_left_half_disc or in_upper_rest)


def yin_yang_points(size: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """``size`` samples: values (size, 4) = (x, y, 1 - x, 1 - y), and labels (size,)."""
    values, labels = _points(size, seed)
    return values.copy(), labels.copy()


@lru_cache(
    maxsize=4
)  # the published sets take a second, and a table over seeds asks for them again and again
def _points(size: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    rng = np.random.RandomState(seed)  # the data set is defined by this generator's stream
    values = np.empty((size, 4))
    labels = np.empty(size, dtype=np.int64)
    for k in range(size):
        goal = int(rng.randint(3))
        while True:
            x, y = (rng.rand(2) * 2.0 * R_BIG).tolist()
            if math.sqrt((x - R_BIG) ** 2 + (y - R_BIG) ** 2) <= R_BIG and classify(x, y) == goal:
                break
        values[k] = x, y, 1.0 - x, 1.0 - y
        labels[k] = goal
    return values, labels


def yin_yang_encoding(encoding: str, tau_syn: float | None = None) -> Latency:
    """The `Latency` of a published encoding; "delgrad" and "fast_and_deep" need ``tau_syn`` (ms)."""
    if encoding == "wunderlich_pehle":
        return Latency(0.0, 30.0, bias=(0.0,))
    if encoding == "deventprop":
        return Latency(1.5, 20.0)
    if encoding in ("delgrad", "fast_and_deep"):
        if tau_syn is None or not tau_syn > 0:
            raise DatasetError(
                f"the encoding {encoding!r} counts in tau_syn: give tau_syn in ms, > 0 (got {tau_syn!r})."
            )
        bias = (0.9 * tau_syn,) if encoding == "fast_and_deep" else ()
        return Latency(0.15 * tau_syn, 2.0 * tau_syn, bias=bias)
    raise DatasetError(f"unknown Yin-Yang encoding {encoding!r}: {nearest(encoding, ENCODINGS)}")


def yin_yang(
    split: str = "train",
    *,
    encoding: str = "wunderlich_pehle",
    tau_syn: float | None = None,
    size: int | None = None,
    seed: int | None = None,
) -> Dataset:
    """One split of the data set as spikes.

    Args:
        split: "train", "validation" or "test": the published sizes and seeds.
        encoding: see the module's text.
        tau_syn: ms, for the encodings "delgrad" and "fast_and_deep".
        size, seed: in place of the published ones.
    """
    if split not in SPLITS:
        raise DatasetError(f"unknown Yin-Yang split {split!r}: {nearest(split, SPLITS)}")
    usual_size, usual_seed = SPLITS[split]
    values, labels = yin_yang_points(
        usual_size if size is None else size, usual_seed if seed is None else seed
    )
    spikes = yin_yang_encoding(encoding, tau_syn).encode(values)
    return Dataset(spikes, labels, f"yin-yang {split}", 3, CLASS_NAMES, values[:, :2].copy())
