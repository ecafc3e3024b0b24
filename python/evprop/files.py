"""A network with its parameters in one file: safetensors, the network's description in the file's metadata.

Files are written beside the old one, flushed to the disk and then renamed over it: a crash or a full disk leaves
the old file as it was. Reading executes nothing from the file.
"""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import CheckpointError, CheckpointNotFoundError, DtypeError, EvpropError
from .network import Network
from .parameters import Array

_FORMAT = "evprop-network-1"
_EXTRA = "network/"  # arrays that belong to the description, beside the parameters


def save(path: str | os.PathLike[str], net: Network, params: Mapping[str, Array]) -> None:
    """Write the network and its parameters to one file, atomically."""
    arrays = net.layout.collect(params, _common_dtype(params))
    own: dict[str, NDArray[Any]] = {}
    described = net.to_dict(own)
    tensors: dict[str, NDArray[Any]] = dict(zip(net.layout.names, arrays, strict=True))
    tensors |= {_EXTRA + name: array for name, array in own.items()}
    write_tensors(path, tensors, {"format": _FORMAT, "network": json.dumps(described, allow_nan=False)})


def load(path: str | os.PathLike[str]) -> tuple[Network, dict[str, Array]]:
    """Read what `save` wrote: the network and its parameters, bit for bit."""
    tensors, metadata = read_tensors(path)
    if metadata.get("format") != _FORMAT or "network" not in metadata:
        found = metadata.get("format")
        raise CheckpointError(
            f"{os.fspath(path)} is a safetensors file but holds no evprop network"
            + (f" that this version reads (format {found!r}, needed {_FORMAT!r})." if found else ".")
        )
    own = {name.removeprefix(_EXTRA): a for name, a in tensors.items() if name.startswith(_EXTRA)}
    params = {name: a for name, a in tensors.items() if not name.startswith(_EXTRA)}
    try:
        net = Network.from_dict(json.loads(metadata["network"]), own)
        params = {
            name: params[name] for name in net.layout.names if name in params
        } | params  # canonical order
        net.layout.collect(params, _common_dtype(params))
    except (EvpropError, ValueError) as error:
        raise CheckpointError(f"{os.fspath(path)} is damaged: {error}") from error
    return net, params


def _common_dtype(params: Mapping[str, Array]) -> str:
    names = {str(getattr(array, "dtype", None)): name for name, array in params.items()}
    if set(names) == {"float32", "float64"}:
        raise DtypeError(
            f"the parameters mix dtypes: {names['float32']} has float32, {names['float64']} has float64; "
            "all must be of one of the two."
        )
    return "float32" if "float32" in names else "float64"


def write_tensors(
    path: str | os.PathLike[str], tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]
) -> None:
    """Write named arrays and text metadata as a safetensors file, atomically."""
    from safetensors.numpy import save as to_bytes

    ordered = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    write_atomically(path, to_bytes(ordered, metadata=dict(metadata)))


def read_tensors(path: str | os.PathLike[str]) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """The arrays and the metadata of a safetensors file."""
    from safetensors import SafetensorError, safe_open

    name = os.fspath(path)
    if not os.path.exists(name):
        raise CheckpointNotFoundError(f"{name}: no such file.")
    if os.path.isdir(name):
        raise CheckpointError(f"{name} is a folder; give a file.")
    try:
        with safe_open(name, framework="numpy") as file:
            metadata: dict[str, str] = file.metadata() or {}
            return {key: file.get_tensor(key) for key in file.keys()}, metadata  # noqa: SIM118  # no mapping
    except SafetensorError as error:
        raise CheckpointError(
            f"{name} ({os.path.getsize(name)} bytes) is truncated, damaged or no safetensors file: {error}"
        ) from error
    except OSError as error:
        raise CheckpointError(f"{name} cannot be read: {error.strerror or error}.") from error


def write_atomically(path: str | os.PathLike[str], data: bytes) -> None:
    """Put ``data`` in the file, whole or not at all."""
    target = Path(path)
    temporary: str | None = None
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, _mode(target))
        os.replace(temporary, target)
        temporary = None
        _sync_folder(target.parent)
    except OSError as error:
        raise CheckpointError(_why_not_written(target, len(data), error)) from error
    finally:
        if temporary is not None and os.path.exists(temporary):
            os.unlink(temporary)


def _mode(target: Path) -> int:
    """The old file's permissions, or those that a plain new file would get (mkstemp's are private)."""
    if target.exists():
        return target.stat().st_mode & 0o777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable; not every system can."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:
        pass
    finally:
        os.close(handle)


def _why_not_written(target: Path, size: int, error: OSError) -> str:
    kept = "the old file is unchanged" if target.exists() else "no file was left behind"
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return (
            f"{target} could not be written: {error.strerror} ({size} bytes are needed beside the old file); {kept}. "
            "Free some space or choose another place."
        )
    if error.errno == errno.ENOENT:
        return f"{target} could not be written: the folder {target.parent} does not exist; make it first."
    return f"{target} could not be written: {error.strerror or error}; {kept}."
