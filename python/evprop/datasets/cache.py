"""A data set as raw arrays on the disk, memory-mapped: read once from its file, and only touched where it is used.

A cache folder holds a folder per file, number of channels and content: NAME-UNITS-SHA256. In it, each array is raw
little-endian bytes, and ``index.json``, written last, has dtypes, lengths and CRC32s. A copy whose bytes do not agree
is made anew; one that is half written is never seen, for it gets its name when it is whole.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DatasetError, EvpropError
from ..spikes import Spikes
from .base import Dataset

FORMAT = "evprop-cache-1"


def cached(source: Path, n_units: int, folder: Path, read: Callable[[], Dataset]) -> Dataset:
    """The data set of a file, by way of its copy in ``folder``; ``read`` is how the file itself is read."""
    with source.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()[:16]
    place = folder / f"{source.name.partition('.')[0]}-{n_units}-{digest}"
    known = _load(place, source.name)
    if known is None:
        _store(place, read())
        known = _load(place, source.name)
    if known is None:
        raise DatasetError(f"the cache {place} does not hold what was just written; is the disk sound?")
    return known


def _load(place: Path, name: str) -> Dataset | None:
    """The copy, or None where there is none or its bytes are not those that were written."""
    try:
        index = json.loads((place / "index.json").read_text(encoding="utf-8"))
        if index["format"] != FORMAT:
            return None
        arrays = {key: _map(place, key, entry) for key, entry in index["arrays"].items()}
        spikes = Spikes(arrays["times"], arrays["units"], arrays["offsets"], n_units=int(index["n_units"]))
        groups = {key.removeprefix("group."): a for key, a in arrays.items() if key.startswith("group.")}
        names = tuple(index["class_names"])
        return Dataset(spikes, arrays["labels"], name, int(index["n_classes"]), names, groups=groups)
    except (OSError, ValueError, KeyError, TypeError, EvpropError):
        return None


def _map(place: Path, key: str, entry: dict[str, Any]) -> NDArray[Any]:
    dtype, length = np.dtype(entry["dtype"]), int(entry["length"])
    path = place / f"{key}.bin"
    if path.stat().st_size != dtype.itemsize * length:
        raise ValueError(f"{path} is cut short")
    if length == 0:
        return np.empty(0, dtype)
    array = np.asarray(np.memmap(path, dtype=dtype, mode="r", shape=(length,)))
    if _crc(array) != entry["crc32"]:
        raise ValueError(f"{path} is damaged")
    return array


def _crc(array: NDArray[Any]) -> int:
    return zlib.crc32(array.data)


def _store(place: Path, data: Dataset) -> None:
    arrays: dict[str, NDArray[Any]] = {
        "times": data.spikes.times,
        "units": data.spikes.units,
        "offsets": data.spikes.offsets,
        "labels": data.labels,
        **{f"group.{key}": array for key, array in data.groups.items()},
    }
    arrays = {key: a.astype(a.dtype.newbyteorder("<"), copy=False) for key, a in arrays.items()}
    index = {
        "format": FORMAT,
        "n_units": data.spikes.n_units,
        "n_classes": data.n_classes,
        "class_names": list(data.class_names),
        "arrays": {
            key: {"dtype": a.dtype.str, "length": len(a), "crc32": _crc(a)} for key, a in arrays.items()
        },
    }
    temporary: str | None = None
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        temporary = tempfile.mkdtemp(prefix=f".{place.name}.", dir=place.parent)
        for key, array in arrays.items():
            array.tofile(Path(temporary) / f"{key}.bin")
        (Path(temporary) / "index.json").write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")
        if place.exists():
            shutil.rmtree(place)
        os.rename(temporary, place)
        temporary = None
    except OSError as error:
        size = sum(a.nbytes for a in arrays.values())
        raise DatasetError(
            f"the cache {place} ({size} bytes) could not be written: {error.strerror or error}. "
            "Choose another folder, or leave cache out."
        ) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
