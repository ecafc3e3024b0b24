"""Parts of a data set to choose models on: by what is known of each sample, or at random within each class."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ..errors import DatasetError, nearest
from .base import Dataset


def split_groups(data: Dataset, group: str, held_out: Iterable[int]) -> tuple[Dataset, Dataset]:
    """(the rest, the held-out part): samples whose ``data.groups[group]`` is among ``held_out`` and those whose isn't.

    With "speaker", no voice of one part is heard in the other.
    """
    if group not in data.groups:
        raise DatasetError(f"{data.name} has no group {group!r}: {nearest(group, data.groups)}")
    members = data.groups[group]
    wanted = np.unique(np.fromiter(held_out, np.int64))
    absent = np.setdiff1d(wanted, members)
    if len(wanted) == 0 or len(absent):
        values = np.unique(members)
        raise DatasetError(
            f"{data.name}: no sample has {group} {absent.tolist()}; "
            f"its values are {values[:12].tolist()}{' ...' if len(values) > 12 else ''}."
            if len(wanted)
            else f"{data.name}: nothing is held out; name at least one {group}."
        )
    return _parts(data, np.isin(members, wanted), f"{group} {wanted.tolist()}")


def split_share(data: Dataset, share: float, seed: int) -> tuple[Dataset, Dataset]:
    """(the rest, the held-out part): ``share`` of each class at random, at least one sample of each class that has two.

    The draw sorts raw words of PCG64, which NumPy keeps the same from version to version.
    """
    if not 0.0 < share < 1.0:
        raise DatasetError(f"share is {share!r}; it must lie between 0 and 1.")
    if seed < 0:
        raise DatasetError(f"seed is {seed}; it must be >= 0.")
    words = np.random.PCG64(np.random.SeedSequence(seed)).random_raw(len(data))
    held = np.zeros(len(data), np.bool_)
    for label in range(data.n_classes):
        members = np.flatnonzero(data.labels == label)
        if len(members) > 1:
            n = min(max(round(share * len(members)), 1), len(members) - 1)
            held[members[np.argsort(words[members], kind="stable")[:n]]] = True
    return _parts(data, held, f"{100 * share:g} % of each class")


def _parts(data: Dataset, held: np.ndarray, what: str) -> tuple[Dataset, Dataset]:
    if held.all() or not held.any():
        raise DatasetError(f"{data.name}: holding out {what} leaves one of the two parts empty.")
    return data[~held], data[held]
