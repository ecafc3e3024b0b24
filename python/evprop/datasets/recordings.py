"""Training, validation and test set of recordings, from a folder of HDF5 files (``[data] kind = "recordings"``)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ..errors import DatasetError
from .base import Dataset
from .channels import merge_channels, merge_in_all_phases
from .folders import find_folder
from .hdf5 import read_hdf5
from .splits import split_groups, split_share


def recordings(
    folder: str | os.PathLike[str],
    *,
    train: str,
    test: str,
    validation: str | Mapping[str, Any],
    n_units: int = 700,
    merge: int = 1,
    every: int = 1,
    phase: int = 0,
    all_phases: bool = False,
    subset: float = 1.0,
    subset_seed: int = 0,
    cache: str | None = None,
) -> dict[str, Dataset]:
    """{"train", "validation", "test"} of recordings in the layout of SHD and SSC (`read_hdf5`).

    Args:
        folder: where the files are; a relative one is looked for here and below EVPROP_DATA.
        train, test: their names.
        validation: the name of a file, or which samples of the training file are held out for it: {"speaker": [3, 7]}
            or any other group (`split_groups`), or {"share": 0.1, "seed": 0} of each class (`split_share`).
        n_units, cache: see `read_hdf5`.
        merge, every, phase: see `merge_channels`; 1, 1 and 0 leave the recordings as they are.
        all_phases: the training and the validation set have each recording ``every`` times, in each phase, one phase
            after the other; the test set stays in ``phase``.
        subset, subset_seed: below 1, only that share of each class of the training set, drawn with the seed
            (`split_share`), for learning curves. The other sets stay whole.
    """
    place = find_folder(folder)
    found = {
        name: read_hdf5(place / file, n_units=n_units, cache=cache)
        for name, file in (("train", train), ("test", test))
    }
    if isinstance(validation, str):
        found["validation"] = read_hdf5(place / validation, n_units=n_units, cache=cache)
    else:
        found["train"], found["validation"] = _hold_out(found["train"], validation)
    if subset != 1.0:
        found["train"] = split_share(found["train"], subset, subset_seed)[1]
    whole = found["train"]
    for name, part in found.items():
        if part.class_names != whole.class_names or part.n_classes != whole.n_classes:
            raise DatasetError(
                f"the {name} set has {part.n_classes} classes {list(part.class_names)[:4]}..., the training set "
                f"{whole.n_classes} {list(whole.class_names)[:4]}...; the files do not belong together."
            )
    if (merge, every) != (1, 1):
        repeated = ("train", "validation") if all_phases else ()
        found = {
            name: merge_in_all_phases(part, merge, every)
            if name in repeated
            else merge_channels(part, merge, every, phase)
            for name, part in found.items()
        }
    return found


def _hold_out(data: Dataset, how: Mapping[str, Any]) -> tuple[Dataset, Dataset]:
    if set(how) == {"share", "seed"}:
        return split_share(data, how["share"], how["seed"])
    if len(how) == 1:
        ((group, members),) = how.items()
        if isinstance(members, list | tuple) and all(isinstance(m, int) for m in members):
            return split_groups(data, group, members)
    raise DatasetError(
        f"validation is {dict(how)!r}; give the name of a file, {{share = 0.1, seed = 0}}, or one group and "
        "its members, such as {speaker = [3, 7]}."
    )
