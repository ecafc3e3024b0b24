"""NetX files (lava-dl's HDF5, extension .net), written so that lava-dl's own loader runs them to the same spikes.

    /layer/0   type "input", shape [n]
    /layer/k   type "dense" or "dense_rec", shape [n], inFeatures, outFeatures, weight (n, n_before) int
               weight_rec (n, n)            dense_rec
               delay                        steps: a number, (n,), (n_before,) or (n, n_before)
               bias (n,)                    mantissas; their exponent is 6
               neuron/ type "CUBA", iDecay, vDecay, vThMant
    /evprop    version, names: of input and populations; lava-dl does not look here

A recurrent layer with delays has ``delay_rec`` beside ``delay``. lava-dl 0.6.0 does not read it and refuses ``delay``
in such a layer, so a warning is given; this module reads both. Layers follow each other: each reaches the next, and
itself.

Source: lava-dl 0.6.0, lava/lib/dl/netx/hdf5.py and utils.py. HDF5 comes with the extra evprop[h5].
"""

from __future__ import annotations

import io
import math
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import HardwareError, MissingExtraError
from ...files import write_atomically
from .program import Loihi2Connection, Loihi2Population, Loihi2Program

Ints = NDArray[np.int32]

VERSION = 1
BIAS_EXPONENT = 6
MAX_DELAY = 62
"""NetX clips there."""


def h5py() -> Any:
    """The package, or an error that names the extra."""
    try:
        import h5py as found
    except ImportError as error:
        raise MissingExtraError(
            "NetX files are HDF5: install the extra, pip install 'evprop[h5]'."
        ) from error
    return found


# -- writing -------------------------------------------------------------------------------------------------


def save_net(path: str | os.PathLike[str], program: Loihi2Program) -> None:
    """Write a program as a NetX file, whole or not at all.

    Raises:
        HardwareError: what the format cannot hold, with the layer and the remedy.
    """
    layers = {
        f"layer/{k}/{name}": value
        for k, layer in enumerate(_layers(program))
        for name, value in layer.items()
    }
    names = [*program.inputs, *_chain(program)]
    image = io.BytesIO()
    module = h5py()
    with module.File(image, "w") as file:
        for name, value in layers.items():
            file[name] = np.bytes_(value) if isinstance(value, str) else value
        file["evprop/version"] = VERSION
        file["evprop/names"] = np.array([name.encode() for name in names])
    write_atomically(path, image.getvalue())
    if any("delay_rec" in name for name in layers):
        warnings.warn(
            f"{os.fspath(path)} has a recurrent layer with delays: lava-dl 0.6.0 cannot load such a layer. "
            "evprop.hardware.load_net can.",
            stacklevel=2,
        )


def _chain(program: Loihi2Program) -> list[str]:
    """The populations in the order of the layers."""
    if len(program.inputs) != 1:
        raise HardwareError(f"a NetX file has one input; this program has {list(program.inputs)}.")
    order: list[str] = []
    at = next(iter(program.inputs))
    while True:
        following = {c.target for c in program.connections if c.source == at and c.target != at}
        if not following:
            break
        if len(following) > 1 or following & set(order):
            raise HardwareError(
                f"{at!r} reaches {sorted(following)}: in a NetX file each layer reaches the next one and itself only."
            )
        at = following.pop()
        order.append(at)
    if missing := [name for name in program.populations if name not in order]:
        raise HardwareError(
            f"{missing[0]!r} is not in the chain {list(program.inputs) + order}: in a NetX file each layer reaches the "
            "next one and itself only."
        )
    return order


def _layers(program: Loihi2Program) -> list[dict[str, Any]]:
    layers: list[dict[str, Any]] = [{"type": "input", "shape": np.array(list(program.inputs.values()))}]
    before = next(iter(program.inputs))
    for name in _chain(program):
        population = program.populations[name]
        links = {c.source: k for k, c in enumerate(program.connections) if c.target == name}
        if len(links) < sum(c.target == name for c in program.connections) or set(links) - {before, name}:
            raise HardwareError(
                f"{name!r} is reached by {[c.source for c in program.connections if c.target == name]}: in a NetX file "
                "a layer has one connection from the layer before and at most one from itself."
            )
        layer = {
            "type": "dense_rec" if name in links else "dense",
            "shape": np.array([population.n]),
            "inFeatures": len(program.connections[links[before]].weights),
            "outFeatures": population.n,
            "weight": _transposed(program, links[before]),
            "neuron/type": "CUBA",
            "neuron/iDecay": _shared(population.du + 1),
            "neuron/vDecay": _shared(population.dv),
            "neuron/vThMant": _shared(population.vth),
        }
        delays = {"delay": _delays(program.connections[links[before]])}
        if name in links:
            layer["weight_rec"] = _transposed(program, links[name])
            delays["delay_rec"] = _delays(program.connections[links[name]])
        try:
            fill_bits(np.concatenate([layer[key] for key in ("weight", "weight_rec") if key in layer], axis=1))
        except HardwareError as error:
            raise HardwareError(
                f"{name}: {error} Quantise with other scales, one for all that reaches {name!r}."
            ) from error
        if any(d is not None for d in delays.values()):
            layer |= {key: 0 if d is None else d for key, d in delays.items()}
        layer |= _bias(name, population)
        layers.append(layer)
        before = name
    return layers


def _transposed(program: Loihi2Program, k: int) -> Ints:
    return np.ascontiguousarray(program.received(k).T)


def _delays(connection: Loihi2Connection) -> Ints | int | None:
    delays = connection.delays
    if not delays.any():
        return None
    if delays.max() > MAX_DELAY:
        raise HardwareError(
            f"{connection.name}: a delay of {delays.max()} steps; NetX clips to {MAX_DELAY}. Shorten it."
        )
    return int(delays) if delays.ndim == 0 else np.ascontiguousarray(delays.T)


def _bias(name: str, population: Loihi2Population) -> dict[str, Any]:
    for what in ("u0", "v0"):
        if getattr(population, what).any():
            raise HardwareError(
                f"{name}: {what} is not 0, and a NetX file has no initial state. Start from 0 (v_init = 0)."
            )
    if population.reset_interval is not None:
        raise HardwareError(
            f"{name}: a NetX file has no periodic reset; it is an argument of the loader. Leave it out of the program."
        )
    if not population.bias_mant.any():
        return {}
    if (population.bias_exp != BIAS_EXPONENT).any():
        raise HardwareError(
            f"{name}: bias_exp is {population.bias_exp[0]}; NetX has {BIAS_EXPONENT} only. "
            f"Quantise with bias_exp={BIAS_EXPONENT}."
        )
    return {"bias": population.bias_mant}


def _shared(values: Ints) -> Ints | int:
    return int(values[0]) if (values == values[0]).all() else values


# -- reading -------------------------------------------------------------------------------------------------


def load_net(
    path: str | os.PathLike[str],
    *,
    graded_input: bool = True,
    reset_interval: int | None = None,
    reset_offset: int = 0,
) -> Loihi2Program:
    """Read a NetX file of dense and recurrent CUBA layers as lava-dl's loader does.

    Args:
        graded_input: whether input spikes carry payloads (the loader's input_message_bits > 0).
        reset_interval, reset_offset: steps; the loader's arguments. Each layer resets one step after the one before it.

    Raises:
        HardwareError: no such file, damaged, of another version, or with what this reader does not know.
    """
    name = os.fspath(path)
    if not Path(name).is_file():
        raise HardwareError(f"{name}: no such file.")
    module = h5py()
    try:
        with module.File(name, "r") as file:
            tree = _tree(file)
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise HardwareError(f"{name} is no HDF5 file or is damaged: {error}") from error
    try:
        return _program(tree, graded_input, reset_interval, reset_offset)
    except _Lacking as error:
        raise HardwareError(f"{name}: {error}") from error
    except HardwareError as error:
        raise HardwareError(f"{name}: {error}") from error


class _Lacking(Exception):
    """A field that is not there."""


class _Fields(dict[str, Any]):
    def __missing__(self, key: str) -> Any:
        raise _Lacking(f"{key!r} is missing; a NetX file of dense layers has it.")


def _tree(group: Any) -> _Fields:
    """{path: value} of all data sets below a group."""
    found = _Fields()

    def visit(path: str, item: Any) -> None:
        if hasattr(item, "dtype"):
            found[path] = item[()]

    group.visititems(visit)
    return found


def _program(tree: _Fields, graded: bool, interval: int | None, offset: int) -> Loihi2Program:
    version = int(tree.get("evprop/version", VERSION))
    if version != VERSION:
        raise HardwareError(
            f"written by another version (format {version}; this one reads {VERSION}). Update evprop."
        )
    numbers = sorted({int(path.split("/")[1]) for path in tree if path.startswith("layer/")})
    if numbers != list(range(len(numbers))) or len(numbers) < 2:
        raise HardwareError(f"layers {numbers}; they must be 0, 1, ... with at least one after the input.")
    kinds = [_text(tree[f"layer/{k}/type"]) for k in numbers]
    if kinds[0] != "input" or any(path.startswith("layer/0/neuron") for path in tree):
        raise HardwareError("layer 0 must be an input without neurons of its own.")
    given = tree.get("evprop/names")
    names = ["input", *(f"layer{k}" for k in numbers[1:])] if given is None else [_text(n) for n in given]
    if len(names) != len(numbers):
        raise HardwareError(f"{len(names)} names for {len(numbers)} layers; the file is damaged.")
    sizes = [int(np.prod(tree[f"layer/{k}/shape"])) for k in numbers]
    populations, connections = {}, []
    for k in numbers[1:]:
        if kinds[k] not in ("dense", "dense_rec"):
            raise HardwareError(
                f"layer {k} is of type {kinds[k]!r}; this reader knows 'dense' and 'dense_rec'."
            )
        prefix = f"layer/{k}/"
        layer = _Fields({p.removeprefix(prefix): v for p, v in tree.items() if p.startswith(prefix)})
        (before, name), (n_before, n) = names[k - 1 : k + 1], sizes[k - 1 : k + 1]
        try:
            reset = None if interval is None else (interval, offset + k)
            populations[name] = _population(layer, n, reset)
            links = {"": ((before, name), (n_before, n), graded and k == 1)}
            if kinds[k] == "dense_rec":
                links["_rec"] = ((name, name), (n, n), False)
            connections += _connections(layer, links)
        except (_Lacking, HardwareError) as error:
            raise HardwareError(f"layer {k} ({name}): {error}") from error
    return Loihi2Program({names[0]: sizes[0]}, populations, connections)


def _population(layer: _Fields, n: int, reset: tuple[int, int] | None) -> Loihi2Population:
    kind = _text(layer["neuron/type"])
    if kind not in ("CUBA", "LOIHI"):
        raise HardwareError(f"neurons of type {kind!r}; this reader knows 'CUBA' and 'LOIHI'.")
    constants = [_whole(layer[f"neuron/{field}"], field) for field in ("iDecay", "vDecay", "vThMant")]
    du, dv, vth = (c[0] if c.shape == (1,) else c for c in constants)
    bias = _whole(layer.get("bias", 0), "bias")
    return Loihi2Population(
        *(n, du - 1, dv, vth),
        bias_mant=bias.reshape(-1) if bias.ndim else bias,
        bias_exp=BIAS_EXPONENT if bias.any() else 0,
        reset_interval=None if reset is None else reset[0],
        reset_offset=0 if reset is None else reset[1],
    )


Link = tuple[tuple[str, str], tuple[int, int], bool]
"""(source, target), their sizes, whether spikes carry payloads."""


def _connections(layer: _Fields, links: Mapping[str, Link]) -> list[Loihi2Connection]:
    """{suffix of the fields: Link}: as in the loader, all weights of a layer are filled up alike."""
    weights = {}
    for suffix, (_, (before, n), _) in links.items():
        found = _whole(layer[f"weight{suffix}"], f"weight{suffix}")
        weights[suffix] = found.reshape(n, -1) if found.ndim == 1 else found
        if weights[suffix].shape != (n, before):
            raise HardwareError(f"weight{suffix} has shape {found.shape}; ({n}, {before}) is needed.")
    shift, bits = fill_bits(np.concatenate(list(weights.values()), axis=1))
    made = []
    for suffix, (ends, sizes, graded) in links.items():
        delay = _whole(layer.get(f"delay{suffix}", 0), f"delay{suffix}")
        if delay.size and not 0 <= delay.min() <= delay.max() <= MAX_DELAY:
            raise HardwareError(
                f"delay{suffix} from {delay.min()} to {delay.max()} steps; NetX would clip to 0 to {MAX_DELAY}."
            )
        made.append(
            Loihi2Connection(
                *(*ends, weights[suffix].T << shift),
                delays=_spread(delay, sizes, f"delay{suffix}"),
                weight_exp=-shift,
                num_weight_bits=bits,
                graded=graded,
            )
        )
    return made


def _spread(delay: Ints, sizes: tuple[int, int], label: str) -> Ints | int:
    """(n_before, n) from what the format allows; (n,) wins over (n_before,) as in the loader."""
    before, n = sizes
    if delay.size == 1:
        return int(delay.reshape(-1)[0])
    if delay.shape == (n,):
        return np.broadcast_to(delay, (before, n)).copy()
    if delay.shape == (before,):
        return np.broadcast_to(delay[:, None], (before, n)).copy()
    if delay.shape == (n, before):
        return delay.T.copy()
    raise HardwareError(
        f"{label} has shape {delay.shape}; a number, ({n},), ({before},) or ({n}, {before}) is needed."
    )


def fill_bits(weights: Ints) -> tuple[int, int]:
    """(by how much the loader shifts a layer's weights to the left so that they fill 8 bits, num_weight_bits).

    Source: optimize_weight_bits of lava-dl 0.6.0, restated.
    """
    low, high = int(weights.min()), int(weights.max())
    if low == high == 0:
        raise HardwareError("all weights are 0, which lava-dl's loader cannot take.")
    mixed = low < 0 <= high
    if low < -256 or high > (254 if mixed else 255):
        raise HardwareError(f"weights from {low} to {high}; NetX holds -256 to 254, of one sign -256 to 255.")
    above = math.inf if high <= 0 else (127 if mixed else 255) / high
    below = math.inf if low >= 0 else (-128 if mixed else -256) / low
    shift = math.floor(math.log2(min(above, below))) + mixed
    union = int(np.bitwise_or.reduce(np.abs(weights), axis=None))
    spare = min((union & -union).bit_length() - 1, 8)
    bits = 8 - shift - spare + mixed
    if bits > 8:
        raise HardwareError(f"weights from {low} to {high} that are not all even need {bits} bits; 8 are held.")
    return shift, bits


def _whole(values: Any, label: str) -> Ints:
    array = np.asarray(values)
    if array.dtype.kind not in "iuf" or (array.dtype.kind == "f" and (array != np.rint(array)).any()):
        raise HardwareError(
            f"{label} is not made of integers; NetX would cut fractions off. Round it in the file."
        )
    if array.size and not -(2**31) <= array.min() <= array.max() < 2**31:
        raise HardwareError(f"{label} lies in {array.min()} to {array.max()}; 32 bits are held.")
    return array.astype(np.int32)


def _text(value: Any) -> str:
    first = np.asarray(value).reshape(-1)[0]
    return first.decode("ascii", "replace") if isinstance(first, bytes) else str(first)


__all__ = ("fill_bits", "load_net", "save_net")
