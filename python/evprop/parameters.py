"""What a parameter may be: its name, shape, range and order, and the check of a whole dict of them.

A network's parameters are a plain dict of NumPy arrays, all float64 or all float32. `Layout` fixes their order and
shapes once per network; `Layout.collect` checks a dict against it. Most calls are one training step after another,
so the checks of a valid dict are a few fused NumPy calls and the slow search for the culprit runs only after one fails.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import DtypeError, ParameterError, ShapeError, nearest

Array = NDArray[Any]  # float64 or float32

DTYPES = ("float64", "float32")


@dataclass(frozen=True)
class Rule:
    """The range of one kind of parameter."""

    unit: str
    lower: float = -math.inf
    strict: bool = True  # the lower limit itself is not allowed
    may_be_infinite: bool = False
    remedy: str = ""

    @property
    def limit(self) -> str:
        above = "" if self.lower == -math.inf else f"{'>' if self.strict else '>='} {self.lower:g}"
        finite = "" if self.may_be_infinite else "finite"
        return " and ".join(part for part in (finite, above) if part)

    def holds(self, values: Array) -> NDArray[np.bool_]:
        above = values > self.lower if self.strict else values >= self.lower
        return above if self.may_be_infinite else above & np.isfinite(values)


_POSITIVE_TAU = (
    "A time constant cannot be 0 or negative; keep it above by a map or a projection in the optimiser."
)
RULES: dict[str, Rule] = {
    "tau_mem": Rule("ms", 0.0, remedy=_POSITIVE_TAU),
    "tau_syn": Rule("ms", 0.0, remedy=_POSITIVE_TAU),
    "v_th": Rule("V"),
    "v_reset": Rule("V"),
    "i_bias": Rule("V"),
    "v_init": Rule("V"),
    "t_ref": Rule("ms", 0.0, strict=False, may_be_infinite=True, remedy="inf means at most one spike."),
    "weight": Rule("V"),
    "delay": Rule(
        "ms",
        0.0,
        strict=False,
        remedy="A delay cannot be negative; draw it from Uniform(low >= 0, high), LogNormal or Constant, or clip it.",
    ),
}
# (lower, upper): the first must stay below the second, neuron by neuron
ORDER = (("v_reset", "v_th"), ("v_init", "v_th"))
# no derivative: the end of the refractory time is not among the exact gradients
WITHOUT_GRADIENT = frozenset({"t_ref"})


def all_finite(values: Array) -> bool:
    """Whether no value is NaN or infinite, without an array in between (min and max hand NaN on)."""
    if not values.size:
        return True
    low, high = np.minimum.reduce(values, axis=None), np.maximum.reduce(values, axis=None)
    return bool(-math.inf < low and high < math.inf)


def check_values(kind: str, values: Array, label: str) -> None:
    """Raise ParameterError unless all values are in the range of their kind."""
    rule = RULES[kind]
    good = rule.holds(values)
    if not good.all():
        where = np.argwhere(~good)[0]
        value = values[tuple(where)]
        at = f"[{', '.join(str(i) for i in where)}]" if values.ndim else ""
        count = int(good.size - np.count_nonzero(good))
        more = f" ({count} such values in all)" if count > 1 else ""
        raise ParameterError(f"{label}{at} is {value}{more}; it must be {rule.limit}. {rule.remedy}".rstrip())


def check_order(lower: Array, upper: Array, lower_label: str, upper_label: str) -> None:
    """Raise ParameterError unless lower < upper everywhere (arrays that broadcast)."""
    low, high = np.broadcast_arrays(lower, upper)
    bad = np.argwhere(~(low < high))
    if len(bad):
        where = tuple(bad[0])
        at = f"[{', '.join(str(i) for i in where)}]" if where else ""
        raise ParameterError(
            f"{lower_label}{at} is {low[where]} but {upper_label}{at} is {high[where]}; "
            f"{lower_label.rpartition('.')[2]} must stay below {upper_label.rpartition('.')[2]}. "
            "Lower the one or raise the other."
        )


@dataclass(frozen=True)
class Parameter:
    """One array of a network: "owner.kind", its shape, and whether training changes it by default."""

    owner: str
    kind: str
    shape: tuple[int, ...]
    trainable: bool
    no_diagonal: bool = False  # a recurrent weight matrix without self-connections

    @property
    def name(self) -> str:
        return f"{self.owner}.{self.kind}"

    @property
    def size(self) -> int:
        """The number of free values."""
        return math.prod(self.shape) - (self.shape[0] if self.no_diagonal else 0)


class Layout:
    """The parameters of a network in their canonical order, and the check of a dict against it."""

    def __init__(self, parameters: Iterable[Parameter]) -> None:
        self.parameters = tuple(parameters)
        self.names = tuple(p.name for p in self.parameters)
        self.by_name = dict(zip(self.names, self.parameters, strict=True))
        self._shapes = tuple(p.shape for p in self.parameters)
        self._selections: dict[tuple[str, ...] | None, list[bool]] = {}
        self._prepare_fused_check()

    def _prepare_fused_check(self) -> None:
        """Limits of all neuron parameters laid end to end, so that one comparison checks them all."""
        neuron = [(k, p) for k, p in enumerate(self.parameters) if p.kind not in ("weight", "delay")]
        lower: list[Array] = []
        upper: list[Array] = []
        start: dict[str, int] = {}
        total = 0
        for _, p in neuron:
            rule = RULES[p.kind]
            # x >= a is x > (the number just below a)
            low = rule.lower if rule.strict else np.nextafter(rule.lower, -math.inf)
            lower.append(np.full(p.shape, low))
            upper.append(np.full(p.shape, math.inf if rule.may_be_infinite else np.finfo(np.float64).max))
            start[p.name] = total
            total += math.prod(p.shape)
        below: list[Array] = []
        above: list[Array] = []
        for _, p in neuron:
            for low_kind, high_kind in ORDER:
                if p.kind == low_kind and f"{p.owner}.{high_kind}" in start:
                    span = np.arange(math.prod(p.shape))
                    below.append(start[p.name] + span)
                    above.append(start[f"{p.owner}.{high_kind}"] + span)
        self._neuron = tuple(k for k, _ in neuron)
        self._lower = np.concatenate(lower) if lower else np.empty(0)
        self._upper = np.concatenate(upper) if upper else np.empty(0)
        self._below = np.concatenate(below) if below else np.empty(0, np.int64)
        self._above = np.concatenate(above) if above else np.empty(0, np.int64)
        self._weights = tuple(k for k, p in enumerate(self.parameters) if p.kind == "weight")
        self._delays = tuple(k for k, p in enumerate(self.parameters) if p.kind == "delay")

    def collect(self, params: Mapping[str, Array], dtype: str) -> list[Array]:
        """The arrays in canonical order, checked: names, dtype, shape, contiguity, ranges and order.

        The arrays are handed on as they are: no copy and no cast.
        """
        arrays = self.arrays(params, dtype)
        if not self._values_hold(arrays):
            self.complain(params, dtype)
        return arrays

    def arrays(self, params: Mapping[str, Array], dtype: str) -> list[Array]:
        """As `collect`, but without a look at the values: for a simulator whose core refuses bad ones itself."""
        wanted = np.dtype(dtype)
        try:
            arrays = [params[name] for name in self.names]
        except (KeyError, TypeError):
            arrays = []
        if not self._form_holds(arrays, wanted) or len(params) != len(arrays):
            self.complain(params, dtype)
        return arrays

    def _form_holds(self, arrays: list[Array], wanted: np.dtype[Any]) -> bool:
        if len(arrays) != len(self.names):
            return False
        for array, shape in zip(arrays, self._shapes, strict=True):
            if type(array) is not np.ndarray or array.shape != shape or array.dtype != wanted:
                return False
            flags = array.flags
            if not (flags.c_contiguous and flags.aligned):
                return False
        return True

    def _values_hold(self, arrays: list[Array]) -> bool:
        if self._neuron:
            flat = np.concatenate([arrays[k] for k in self._neuron])
            if not np.logical_and.reduce((flat > self._lower) & (flat <= self._upper)):
                return False
            if not np.logical_and.reduce(flat[self._below] < flat[self._above]):
                return False
        for k in self._weights:
            weight = arrays[k]
            if not all_finite(weight):
                return False
            if self.parameters[k].no_diagonal and weight.diagonal().any():
                return False
        for k in self._delays:
            delay = arrays[k]
            if not (np.minimum.reduce(delay, axis=None) >= 0.0 and all_finite(delay)):
                return False
        return True

    def complain(self, params: Mapping[str, Array], dtype: str) -> None:
        """Find the first thing wrong with the dict and raise about it; return if nothing is."""
        wanted = np.dtype(dtype)
        if not isinstance(params, Mapping):
            raise ParameterError(
                f"params is {type(params).__name__}; it must be the dict that net.init(seed=...) makes."
            )
        for name in params:
            if name not in self.by_name:
                raise ParameterError(f"unknown parameter {name!r}: {nearest(name, self.names)}")
        for name, parameter in self.by_name.items():
            if name not in params:
                raise ParameterError(
                    f"parameter {name!r} (shape {parameter.shape}) is missing; net.init(seed=...) makes them all."
                )
            check_parameter(parameter, params[name], wanted)
        for low_kind, high_kind in ORDER:
            for owner in {p.owner: None for p in self.parameters}:
                low, high = f"{owner}.{low_kind}", f"{owner}.{high_kind}"
                if low in params and high in params:
                    check_order(params[low], params[high], low, high)

    def select(self, wrt: Iterable[str] | None) -> list[bool]:
        """For each parameter in canonical order: is its gradient wanted? None: the trainable ones."""
        if isinstance(wrt, str):
            raise ParameterError(f"wrt={wrt!r} is one string; give a list of names: wrt=[{wrt!r}].")
        key = None if wrt is None else tuple(wrt)
        chosen = self._selections.get(key)
        if chosen is None:
            for name in key or ():
                if name not in self.by_name:
                    raise ParameterError(
                        f"wrt names an unknown parameter {name!r}: {nearest(name, self.names)}"
                    )
                if self.by_name[name].kind in WITHOUT_GRADIENT:
                    raise ParameterError(f"wrt names {name!r}, which has no gradient here; leave it out.")
            chosen = [p.trainable if key is None else p.name in key for p in self.parameters]
            self._selections[key] = chosen
        return chosen


def check_parameter(parameter: Parameter, array: Any, wanted: np.dtype[Any]) -> None:
    """One array against its name, dtype, shape, memory layout and range."""
    name, shape = parameter.name, parameter.shape
    if type(array) is not np.ndarray:
        given = type(array).__name__
        raise DtypeError(
            f"{name} is a {given}; it must be a NumPy array of shape {shape} and dtype {wanted}."
        )
    if array.dtype != wanted:
        raise DtypeError(_dtype_message(name, array.dtype, wanted))
    if array.shape != shape:
        raise ShapeError(f"{name} has shape {array.shape}; it must have shape {shape}.")
    if not (array.flags.c_contiguous and array.flags.aligned):
        raise ShapeError(
            f"{name} has strides {array.strides}; it must be C-contiguous: give numpy.ascontiguousarray(...)."
        )
    check_values(parameter.kind, array, name)
    if parameter.no_diagonal and array.diagonal().any():
        i = int(np.flatnonzero(array.diagonal())[0])
        raise ParameterError(
            f"{name}[{i}, {i}] is {array[i, i]} but {parameter.owner!r} has self_connections=False; "
            "keep its diagonal at 0 (numpy.fill_diagonal)."
        )


def _dtype_message(name: str, given: np.dtype[Any], wanted: np.dtype[Any]) -> str:
    if str(given) in DTYPES:
        return (
            f"{name} has dtype {given} but the simulator computes in {wanted}; "
            f'use Exact(dtype="{given}") or net.init(seed, dtype="{wanted}").'
        )
    return f"{name} has dtype {given}; it must be {wanted}."


def check_dtype(dtype: Any) -> str:
    """ "float64" or "float32", from a name or a NumPy dtype."""
    try:
        name: str = np.dtype(dtype).name
    except TypeError:
        name = repr(dtype)
    if name not in DTYPES:
        raise DtypeError(f'dtype is {name}; it must be "float64" or "float32".')
    return name


def check_duration(duration: Any) -> float:
    """A finite time > 0, in ms."""
    try:
        value = float(duration)
    except (TypeError, ValueError):
        raise ParameterError(f"duration is {duration!r}; it must be a number of ms.") from None
    if not 0.0 < value < math.inf:
        raise ParameterError(f"duration is {duration!r} ms; it must be finite and > 0.")
    return value
