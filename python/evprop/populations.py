"""Populations: a number of units and, for neurons, their constants.

    LIF   tau_mem dV/dt = I + i_bias - V     tau_syn dI/dt = -I     V(0) = v_init, I(0) = 0
          an arrival of weight w: I += w;  V crosses v_th from below: a spike, V := v_reset, held there for t_ref
    LI    the same without a threshold

Units: time constants and t_ref in ms; everything else in the unit of v_th. Each constant is a number, an array of
shape (size,), or an initialiser, and becomes the parameter "population.constant".
"""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, fields
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import DtypeError, NetworkError, ShapeError, nearest
from .init import Initialiser
from .parameters import ORDER, WITHOUT_GRADIENT, check_order, check_values

Value = float | ArrayLike | Initialiser
"""What a parameter may be set to: a number, an array of its final shape, or an initialiser."""
Source = float | NDArray[np.float64] | Initialiser
"""The same after the check."""


def check_source(value: Value, label: str) -> Source:
    """A number as float, an initialiser as it is, an array as a read-only float64 copy."""
    if isinstance(value, Initialiser):
        return value
    array = np.asarray(value)
    if array.dtype.kind not in "fiu":
        hint = " (give an instance, such as Normal(0.0, 1.0))" if isinstance(value, type) else ""
        raise DtypeError(
            f"{label} is {value!r}; it must be a number, an array of numbers or an initialiser{hint}."
        )
    if array.ndim == 0:
        return float(array)
    copy = array.astype(np.float64)
    copy.setflags(write=False)
    return copy


def check_trainable(value: Any, allowed: tuple[str, ...], label: str) -> tuple[str, ...]:
    """A tuple of known parameter kinds."""
    if isinstance(value, str):
        raise NetworkError(f"{label}: trainable={value!r} is one string; give a tuple: ({value!r},).")
    names = tuple(value)
    for name in names:
        if name in WITHOUT_GRADIENT:
            raise NetworkError(f"{label}: {name!r} has no gradient, so it cannot be trainable.")
        if name not in allowed:
            raise NetworkError(f"{label}: unknown trainable parameter {name!r}: {nearest(name, allowed)}")
    return names


@dataclass(frozen=True, eq=False)
class Population:
    """Base of the populations below."""

    size: int

    kind: ClassVar[str] = ""
    constants: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        kind = type(self).__name__
        try:
            size = operator.index(self.size)
        except TypeError:
            raise NetworkError(f"{kind}: size is {self.size!r}; it must be an integer.") from None
        if not 1 <= size < 2**32:
            raise NetworkError(
                f"{kind}: size is {size}; a population needs at least 1 unit (and at most {2**32 - 1})."
            )
        object.__setattr__(self, "size", size)
        self._check_constants(kind)

    def _check_constants(self, kind: str) -> None:
        known: dict[str, NDArray[np.float64]] = {}
        for name in self.constants:
            source = check_source(getattr(self, name), f"{kind}.{name}")
            object.__setattr__(self, name, source)
            if isinstance(source, Initialiser):
                continue
            values = np.asarray(source, dtype=np.float64)
            if values.ndim and values.shape != (self.size,):
                raise ShapeError(
                    f"{kind}.{name} has shape {values.shape}; give a number or one per neuron, shape ({self.size},)."
                )
            check_values(name, values, f"{kind}.{name}")
            known[name] = values
        for low, high in ORDER:
            if low in known and high in known:
                check_order(known[low], known[high], f"{kind}.{low}", f"{kind}.{high}")
        if self.constants:
            object.__setattr__(self, "trainable", check_trainable(self.trained(), self.constants, kind))

    def trained(self) -> tuple[str, ...]:
        """The constants that training changes by default."""
        return getattr(self, "trainable", ())

    def sources(self) -> Mapping[str, Source]:
        """The constants by name, in canonical order."""
        return {name: getattr(self, name) for name in self.constants}

    def describe(self) -> dict[str, Any]:
        """The dataclass fields by name."""
        return {f.name: getattr(self, f.name) for f in fields(self)}


@dataclass(frozen=True, eq=False)
class Input(Population):
    """Units whose spikes are given from outside."""

    kind: ClassVar[str] = "input"


@dataclass(frozen=True, eq=False)
class LIF(Population):
    """Leaky integrate-and-fire neurons with exponential current synapses."""

    _: KW_ONLY
    tau_mem: Value = 20.0
    tau_syn: Value = 5.0
    v_th: Value = 1.0
    v_reset: Value = 0.0
    i_bias: Value = 0.0
    v_init: Value = 0.0
    t_ref: Value = 0.0
    trainable: tuple[str, ...] = ()

    kind: ClassVar[str] = "lif"
    constants: ClassVar[tuple[str, ...]] = (
        "tau_mem",
        "tau_syn",
        "v_th",
        "v_reset",
        "i_bias",
        "v_init",
        "t_ref",
    )


@dataclass(frozen=True, eq=False)
class LI(Population):
    """Leaky integrators: LIF neurons without a threshold, for readouts of the voltage."""

    _: KW_ONLY
    tau_mem: Value = 20.0
    tau_syn: Value = 5.0
    i_bias: Value = 0.0
    v_init: Value = 0.0
    trainable: tuple[str, ...] = ()

    kind: ClassVar[str] = "li"
    constants: ClassVar[tuple[str, ...]] = ("tau_mem", "tau_syn", "i_bias", "v_init")


POPULATIONS: dict[str, type[Population]] = {"Input": Input, "LIF": LIF, "LI": LI}


def format_source(source: Source) -> str:
    """A short text for tables: a number, an initialiser, or the range of an array."""
    if isinstance(source, Initialiser):
        return str(source)
    if isinstance(source, np.ndarray):
        low, high = float(source.min()), float(source.max())
        return f"{low:g}" if low == high else f"{low:g}..{high:g}"
    return "inf" if source == math.inf else f"{source:g}"
