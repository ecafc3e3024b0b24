"""Handwritten digits, 16 x 16 pixels as spike times: fast & deep's reduced MNIST (Göltz et al. 2021).

Their pixels, the image's centre of 24 x 24 made 16 x 16, each of which spikes once, bright ones early:

    t = (early + (late - early) (1 - p / 255)) tau_syn          early 0.15, late 2 in their work

A pixel of the small image is the mean of the 1.5 x 1.5 pixels that it covers.

The files are MNIST's own (Y. LeCun, C. Cortes, C. Burges), of which this takes the 10,000 images of the published
test set and splits them anew, for those who have no others: accuracies do not compare with the published ones, for
which 60,000 images were trained with.
"""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import DatasetError
from .base import Dataset, Latency
from .folders import find_folder
from .splits import split_share

IMAGES, LABELS = "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"


def mnist_16x16(
    folder: str | os.PathLike[str],
    *,
    tau_syn: float,
    early: float = 0.15,
    late: float = 2.0,
    share: float = 0.1,
    seed: int = 0,
) -> dict[str, Dataset]:
    """{"train", "validation", "test"} of the 10,000 digits.

    Args:
        folder: where the two files are; a relative one is looked for here and below EVPROP_DATA.
        tau_syn: ms, the unit of the spike times.
        early, late: tau_syn, of a white and of a black pixel.
        share: of each class that goes to the test set, and as many to the validation set, at random.
        seed: of the split (`split_share`).
    """
    if not (tau_syn > 0.0 and 0.0 <= early < late):
        raise DatasetError(
            f"tau_syn is {tau_syn!r} ms, early {early!r} and late {late!r}; tau_syn > 0 and 0 <= early < late are "
            "needed."
        )
    if not 0.0 < share < 0.5:
        raise DatasetError(
            f"share is {share!r}; test and validation set take it each, so it must lie in (0, 0.5)."
        )
    place = find_folder(folder)
    images, labels = read_idx(place / IMAGES, 3), read_idx(place / LABELS, 1)
    if images.shape[1:] != (28, 28):
        raise DatasetError(f"{place / IMAGES} has images of {images.shape[1:]} pixels; MNIST's have 28 x 28.")
    light = shrink(images[:, 2:26, 2:26]).reshape(len(images), -1) / 255.0
    spikes = Latency(early * tau_syn, late * tau_syn).encode(1.0 - light)
    whole = Dataset(spikes, labels.astype(np.int64), "MNIST 16 x 16", 10)
    rest, test = split_share(whole, share, seed)
    train, validation = split_share(rest, share / (1.0 - share), seed)
    return {"train": train, "validation": validation, "test": test}


def shrink(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(n, 24, 24) to (n, 16, 16): the mean over the pixels that each new one covers."""
    edges = np.arange(17) * 1.5
    low, high = (
        np.maximum.outer(edges[:-1], np.arange(24.0)),
        np.minimum.outer(edges[1:], np.arange(1.0, 25.0)),
    )
    cover = np.maximum(high - low, 0.0) / 1.5
    return np.asarray(np.minimum(cover @ images.astype(np.float64) @ cover.T, 255.0))


def read_idx(path: Path, n_axes: int) -> NDArray[np.uint8]:
    """A gzipped IDX file of bytes: 0, 0, 8, the number of axes, their sizes as big-endian int32, the bytes."""
    try:
        content = gzip.decompress(path.read_bytes())
    except FileNotFoundError:
        raise DatasetError(f"{path}: no such file.") from None
    except (OSError, EOFError) as error:
        raise DatasetError(f"{path} is no gzip file or is damaged: {error}") from error
    start = 4 + 4 * n_axes
    if len(content) < start or tuple(content[:4]) != (0, 0, 8, n_axes):
        raise DatasetError(
            f"{path} starts with the bytes {list(content[:4])}; an IDX file of bytes with {n_axes} axes starts with "
            f"[0, 0, 8, {n_axes}]."
        )
    shape = tuple(int(n) for n in np.frombuffer(content[4:start], ">i4"))
    values = np.frombuffer(content[start:], np.uint8)
    if len(values) != np.prod(shape):
        raise DatasetError(f"{path} says that it has {shape} values but holds {len(values)}.")
    return values.reshape(shape)
