"""Checkpoints: everything that a training run needs to go on, in one safetensors file.

The arrays are the parameters, their average, the optimiser's state and what callbacks keep; the metadata holds, as
JSON, the place in the run (epoch, batch, seed: the loader needs nothing else, see loader.py), the sums of the epoch so
far, the log so far, and a description of the set-up that `restore` compares with the run it is asked to
continue. Files are written beside the old one, flushed and renamed over it: a crash or a full disk leaves the
previous checkpoint whole. A CRC of all arrays tells a damaged file from a good one.
"""

from __future__ import annotations

import json
import math
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import CheckpointError
from .files import read_tensors, write_tensors

FORMAT = "evprop-checkpoint-1"


@dataclass
class Checkpoint:
    """The content of a checkpoint file.

    Attributes:
        params: {name: array}.
        optimiser: the optimiser's state, a flat dict of arrays and numbers.
        callbacks: {callback name: flat dict of arrays and JSON values}.
        progress: JSON values: place in the run, sums of the epoch, log.
        setup: JSON values: what must be the same for the run to go on with the same bits.
        average: the state of the parameters' average over the steps, empty where a run takes none.
    """

    params: Mapping[str, NDArray[Any]]
    optimiser: Mapping[str, Any]
    callbacks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    progress: Mapping[str, Any] = field(default_factory=dict)
    setup: Mapping[str, Any] = field(default_factory=dict)
    average: Mapping[str, Any] = field(default_factory=dict)

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the file, whole or not at all; raises `CheckpointError` and keeps the previous file if that fails."""
        tensors: dict[str, NDArray[Any]] = {f"params/{name}": array for name, array in self.params.items()}
        numbers: dict[str, Any] = {"progress": self.progress, "setup": self.setup}
        numbers["optimiser"] = _split("optimiser", self.optimiser, tensors)
        numbers["average"] = _split("average", self.average, tensors)
        numbers["callbacks"] = {
            name: _split(f"callbacks/{name}", state, tensors) for name, state in self.callbacks.items()
        }
        metadata = {"format": FORMAT, "content": to_json(numbers), "crc32": str(_checksum(tensors))}
        write_tensors(path, tensors, metadata)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Checkpoint:
        """Read such a file; raises `CheckpointError` for one that is truncated, damaged or something else."""
        name = os.fspath(path)
        tensors, metadata = read_tensors(path)
        if metadata.get("format") != FORMAT:
            raise CheckpointError(
                f"{name} is no checkpoint of a training run (format {metadata.get('format')!r}, needed {FORMAT!r}). "
                "A network saved by evprop.save is read by evprop.load."
            )
        if str(_checksum(tensors)) != metadata.get("crc32"):
            raise CheckpointError(
                f"{name} is damaged: its arrays do not match their checksum. Use an earlier checkpoint."
            )
        try:
            numbers = from_json(metadata["content"])
            return cls(
                params=_below("params/", tensors),
                optimiser={**numbers["optimiser"], **_below("optimiser/", tensors)},
                callbacks={
                    key: {**state, **_below(f"callbacks/{key}/", tensors)}
                    for key, state in numbers["callbacks"].items()
                },
                progress=numbers["progress"],
                setup=numbers["setup"],
                average={**numbers.get("average", {}), **_below("average/", tensors)},
            )
        except (KeyError, ValueError, TypeError) as error:
            raise CheckpointError(
                f"{name} is damaged: its description cannot be read ({error!r})."
            ) from error

    def check_setup(self, setup: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
        """Raise unless ``setup`` is the one that the checkpoint was made with."""
        mine, theirs = json.loads(to_json(setup)), self.setup
        for key in sorted({*mine, *theirs}):
            if mine.get(key) != theirs.get(key):
                raise CheckpointError(
                    f"{os.fspath(path)} belongs to a run with another {key} ({_short(theirs.get(key))} there, "
                    f"{_short(mine.get(key))} here), so it cannot be continued with the same bits. Continue it with "
                    "its own settings, or start a new run from its parameters."
                )


def to_json(value: Any) -> str:
    """JSON without NaN or infinity: these become {"float": "inf"}."""
    return json.dumps(_encode(value), allow_nan=False)


def from_json(text: str) -> Any:
    """The inverse of `to_json`."""
    return json.loads(text, object_hook=lambda d: float(d["float"]) if set(d) == {"float"} else d)


def _encode(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _encode(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_encode(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(value)}
    return value


def _split(prefix: str, state: Mapping[str, Any], tensors: dict[str, NDArray[Any]]) -> dict[str, Any]:
    for key, value in state.items():
        if isinstance(value, np.ndarray):
            tensors[f"{prefix}/{key}"] = value
    return {key: value for key, value in state.items() if not isinstance(value, np.ndarray)}


def _below(prefix: str, tensors: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {name.removeprefix(prefix): array for name, array in tensors.items() if name.startswith(prefix)}


def _checksum(tensors: Mapping[str, NDArray[Any]]) -> int:
    crc = 0
    for name in sorted(tensors):
        crc = zlib.crc32(np.ascontiguousarray(tensors[name]).tobytes(), zlib.crc32(name.encode(), crc))
    return crc


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
