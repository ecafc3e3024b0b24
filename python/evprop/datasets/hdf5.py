"""Recordings in the HDF5 layout of SHD and SSC (Cramer, Stradmann, Schemmel & Zenke 2022, IEEE TNNLS 33).

    /spikes/times     a ragged row per sample, seconds (float16 in the published files; any width here)
    /spikes/units     a ragged row per sample, integers 0..n_units-1
    /labels           (n,) integers
    /extra/keys       (n_classes,) the classes' names
    /extra/NAME       (n,) integers, such as "speaker": kept in ``Dataset.groups``

Rows may also be those of a rectangular array. Times are widened to float64 before they become milliseconds (float16
ends at 65,504) and each sample is sorted by time, stably; spikes at equal times keep the file's order, none is merged.

h5py comes with the extra ``evprop[h5]`` and is imported when the first file is read.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DatasetError, EvpropError, MissingExtraError
from ..spikes import Spikes
from .base import Dataset
from .cache import cached

CHUNK = 2048  # samples read at a time, which bounds the memory that the file's own rows take
SUFFIXES = (".h5", ".hdf5", ".h5.gz", ".hdf5.gz")
NEEDED = ("spikes/times", "spikes/units", "labels")


def read_hdf5(
    path: str | os.PathLike[str], *, n_units: int = 700, cache: str | os.PathLike[str] | None = None
) -> Dataset:
    """A file in the layout of SHD and SSC, as it is or gzipped.

    Args:
        path: the file, or a folder that holds exactly one.
        n_units: how many channels the recordings have, which the layout does not say; SHD and SSC: 700.
        cache: a folder for a copy that is memory-mapped from then on, named by the content of the file; None reads the
            file each time.

    Raises:
        DatasetError: no such file, a damaged one, another layout, or a channel that is not below ``n_units``.
        MissingExtraError: h5py is not installed.
    """
    source = find_file(path)
    if cache is None:
        return _read(source, n_units)
    return cached(source, n_units, Path(cache), lambda: _read(source, n_units))


def find_file(path: str | os.PathLike[str]) -> Path:
    """The file itself, or the only one in a folder."""
    source = Path(path)
    if source.is_dir():
        found = sorted(p for p in source.iterdir() if p.name.endswith(SUFFIXES))
        if len(found) != 1:
            names = ", ".join(p.name for p in found[:6]) or "none"
            raise DatasetError(f"{source} holds {len(found)} HDF5 files ({names}); name the one to read.")
        return found[0]
    if not source.exists():
        raise DatasetError(f"{source}: no such file.")
    return source


def _read(source: Path, n_units: int) -> Dataset:
    with _opened(source) as file:
        missing = [name for name in NEEDED if name not in file]
        if missing:
            raise DatasetError(
                f"{source} lacks /{missing[0]}: it has another layout than SHD and SSC (it holds "
                f"{', '.join(sorted(file)) or 'nothing'}; needed: /spikes/times, /spikes/units, /labels)."
            )
        labels = _integers(source, "labels", file["labels"][()])
        times, units, offsets = _rows(source, file, len(labels))
        names = tuple(_text(key) for key in file["extra/keys"][()]) if "extra/keys" in file else ()
        groups = _groups(file, len(labels))
    try:
        spikes = Spikes(*_sorted(times, units, offsets), n_units=n_units)
        return Dataset(spikes, labels, source.name, len(names), names, groups=groups)
    except EvpropError as error:
        raise DatasetError(f"{source}: {error}") from error


@contextlib.contextmanager
def _opened(source: Path) -> Iterator[Any]:
    """The file opened by h5py; whatever is wrong with its bytes becomes a DatasetError."""
    try:
        import h5py
    except ImportError as error:
        raise MissingExtraError(
            "recordings in HDF5 need h5py, which is not installed: pip install 'evprop[h5]'"
        ) from error
    with contextlib.ExitStack() as stack:
        try:
            content: Any = source
            if source.name.endswith(".gz"):
                content = stack.enter_context(tempfile.TemporaryFile())
                with gzip.open(source, "rb") as packed:
                    shutil.copyfileobj(packed, content, 1 << 20)
            file = stack.enter_context(h5py.File(content, "r"))
            yield file
        except (OSError, EOFError, RuntimeError, KeyError, zlib.error) as error:
            if isinstance(error, EvpropError):
                raise
            raise DatasetError(f"{source} is no HDF5 file or is damaged: {error}") from error


def _rows(
    source: Path, file: Any, n: int
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Times in ms, units and offsets of all samples."""
    times, units = file["spikes/times"], file["spikes/units"]
    if not len(times) == len(units) == n:
        raise DatasetError(
            f"{source}: {len(times)} rows of times, {len(units)} of units and {n} labels; they must agree."
        )
    all_times: list[NDArray[np.float64]] = [np.empty(0)]
    all_units: list[NDArray[Any]] = [np.empty(0, np.uint8)]
    counts = np.zeros(n + 1, np.int64)
    for first in range(0, n, CHUNK):
        chunk = slice(first, first + CHUNK)
        for k, (t, u) in enumerate(zip(times[chunk], units[chunk], strict=True), start=first):
            if np.shape(t) != np.shape(u) or np.ndim(t) != 1:
                raise DatasetError(
                    f"{source}: sample {k} has times of shape {np.shape(t)} and units of shape {np.shape(u)}; "
                    "each spike needs both."
                )
            if t.dtype.kind != "f":
                raise DatasetError(
                    f"{source}: /spikes/times has dtype {t.dtype}; the layout has seconds as floating-point numbers."
                )
            counts[k + 1] = len(t)
            all_times.append(t.astype(np.float64))
            all_units.append(_integers(source, "spikes/units", u))
    joined = np.concatenate(all_times)
    joined *= 1000.0
    return joined, np.concatenate(all_units), np.cumsum(counts)


def _sorted(
    times: NDArray[np.float64], units: NDArray[Any], offsets: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[Any], NDArray[np.int64]]:
    """Each sample sorted by time, stably; most files are sorted already."""
    falls = times[1:] < times[:-1]
    starts = offsets[1:-1]
    falls[starts[(starts > 0) & (starts < len(times))] - 1] = False  # a new sample starts there
    for b in np.unique(np.searchsorted(offsets, np.flatnonzero(falls), side="right") - 1).tolist():
        part = slice(offsets[b], offsets[b + 1])
        order = np.argsort(times[part], kind="stable")
        times[part], units[part] = times[part][order], units[part][order]
    return times, units, offsets


def _integers(source: Path, name: str, values: Any) -> NDArray[Any]:
    array = np.asarray(values)
    if array.dtype.kind not in "iu":
        raise DatasetError(f"{source}: /{name} has dtype {array.dtype}; it must hold integers.")
    return array


def _groups(file: Any, n: int) -> dict[str, NDArray[np.int64]]:
    """What /extra says of each sample in whole numbers."""
    found = {}
    for name, item in file.get("extra", {}).items():
        if getattr(item, "shape", None) == (n,) and item.dtype.kind in "iu":
            found[name] = item[()].astype(np.int64)
    return found


def _text(key: Any) -> str:
    return key.decode("utf-8", "replace") if isinstance(key, bytes) else str(key)
