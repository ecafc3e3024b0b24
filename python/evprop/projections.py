"""Projections: which units reach which, with what weight and delay.

A spike of unit j at t reaches unit i at t + delay and adds the weight to its current. Delays are none, axonal
(one per sender, shape (pre, 1)), dendritic (one per receiver, (1, post)) or synaptic (one per connection). `Dense`
connects all pairs; `Sparse` those of a CSR pattern, sender by sender, with weights of shape (nnz,) in that order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, fields
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import NetworkError, ShapeError, nearest
from .init import Initialiser
from .parameters import check_values
from .populations import Source, Value, check_source, check_trainable

DELAY_KINDS = ("synaptic", "axonal", "dendritic")


@dataclass(frozen=True, eq=False)
class Projection:
    """Base of `Dense` and `Sparse`.

    Args:
        pre, post: names of the sending and the receiving population; the same name twice is recurrence.
        weight: initialiser, number, or array of the final shape; in the unit of v_th.
        delay: the same, in ms, >= 0; None: no delay.
        delay_kind: "synaptic" (the default where a delay is given), "axonal" or "dendritic".
        name: "pre_post" unless given; two projections between the same populations need names of their own.
        trainable: ("weight", "delay") as far as they exist, unless given.
        self_connections: False takes the diagonal out of a recurrent projection: its weights are 0 and stay 0.
    """

    pre: str
    post: str
    _: KW_ONLY
    weight: Value
    delay: Value | None = None
    delay_kind: str | None = None
    name: str = ""
    trainable: tuple[str, ...] | None = None
    self_connections: bool = True

    def __post_init__(self) -> None:
        put = object.__setattr__
        if not self.name:
            put(self, "name", f"{self.pre}_{self.post}")
        label = f"{type(self).__name__} {self.name!r}"
        put(self, "weight", check_source(self.weight, f"{label}: weight"))
        self._check_delay(label)
        kinds = ("weight",) if self.delay is None else ("weight", "delay")
        put(
            self,
            "trainable",
            kinds if self.trainable is None else check_trainable(self.trainable, kinds, label),
        )
        if not self.self_connections and self.pre != self.post:
            raise NetworkError(
                f"{label}: self_connections=False makes sense for a recurrent projection only, "
                f"but this one goes from {self.pre!r} to {self.post!r}."
            )

    def _check_delay(self, label: str) -> None:
        put = object.__setattr__
        if self.delay is None:
            if self.delay_kind is not None:
                raise NetworkError(
                    f"{label}: delay_kind={self.delay_kind!r} without a delay; give delay=... as well."
                )
            return
        delay = check_source(self.delay, f"{label}: delay")
        if not isinstance(delay, Initialiser):
            check_values("delay", np.asarray(delay, dtype=np.float64), f"{label}: delay")
        put(self, "delay", delay)
        kind = "synaptic" if self.delay_kind is None else self.delay_kind
        if kind not in DELAY_KINDS:
            raise NetworkError(f"{label}: unknown delay_kind {kind!r}: {nearest(kind, DELAY_KINDS)}")
        put(self, "delay_kind", kind)

    def trained(self) -> tuple[str, ...]:
        """The arrays ("weight", "delay") that training changes by default."""
        return self.trainable or ()

    def shapes(self, n_pre: int, n_post: int) -> Mapping[str, tuple[int, ...]]:
        """The shape of "weight" and, if there is one, of "delay"."""
        connections = self._connections(n_pre, n_post)
        shapes = {"weight": connections}
        if self.delay_kind is not None:
            shapes["delay"] = {"axonal": (n_pre, 1), "dendritic": (1, n_post), "synaptic": connections}[
                self.delay_kind
            ]
        return shapes

    def sources(self) -> Mapping[str, Source]:
        """Where "weight" and "delay" get their first values."""
        named: dict[str, Any] = {"weight": self.weight}
        if self.delay is not None:
            named["delay"] = self.delay
        return named

    def _connections(self, n_pre: int, n_post: int) -> tuple[int, ...]:
        raise NotImplementedError

    def check_against(self, n_pre: int, n_post: int) -> None:
        """Raise unless arrays given for weight and delay have the shapes that the populations ask for."""
        for name, shape in self.shapes(n_pre, n_post).items():
            source = self.sources()[name]
            if isinstance(source, np.ndarray) and source.shape != shape:
                hint = f' or another delay_kind than "{self.delay_kind}"' if name == "delay" else ""
                raise ShapeError(
                    f"projection {self.name!r}: {name} has shape {source.shape}; it must have shape {shape}{hint} "
                    f"({self.pre!r} has {n_pre} units, {self.post!r} has {n_post})."
                )
            if isinstance(source, np.ndarray):
                check_values(name, source, f"{self.name}.{name}")

    def structure(self) -> tuple[NDArray[np.int64], NDArray[np.uint32]] | None:
        """(indptr, indices) of a sparse projection, None of a dense one."""
        return None

    def describe(self) -> dict[str, Any]:
        """The dataclass fields by name."""
        return {f.name: getattr(self, f.name) for f in fields(self)}


@dataclass(frozen=True, eq=False)
class Dense(Projection):
    """Every unit of ``pre`` reaches every unit of ``post``: weight (pre, post).

    Delay: synaptic (pre, post), axonal (pre, 1), dendritic (1, post).
    """

    kind: ClassVar[str] = "Dense"

    def _connections(self, n_pre: int, n_post: int) -> tuple[int, ...]:
        return (n_pre, n_post)


@dataclass(frozen=True, eq=False)
class Sparse(Projection):
    """Only some pairs are connected: weight (nnz,), in CSR order (sender by sender, receivers ascending).

    The pattern comes as ``mask``, a boolean (pre, post) array or a SciPy sparse matrix (whose stored entries count,
    not their values), or as ``indptr`` (pre + 1,) and ``indices`` (nnz,). Delay: synaptic (nnz,), axonal (pre, 1),
    dendritic (1, post).
    """

    _: KW_ONLY
    mask: Any = None
    indptr: ArrayLike | None = None
    indices: ArrayLike | None = None

    kind: ClassVar[str] = "Sparse"

    def __post_init__(self) -> None:
        super().__post_init__()
        label = f"Sparse {self.name!r}"
        given = (self.mask is not None, self.indptr is not None, self.indices is not None)
        if given not in ((True, False, False), (False, True, True)):
            raise NetworkError(f"{label}: give either mask=, or both indptr= and indices=.")
        columns: int | None = None
        if self.mask is not None:
            indptr, indices, columns = _pattern_of_mask(self.mask, label)
        else:
            indptr, indices = (
                _integers(self.indptr, f"{label}: indptr"),
                _integers(self.indices, f"{label}: indices"),
            )
        _check_pattern(indptr, indices, label)
        if not self.self_connections:
            rows = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
            diagonal = int(np.count_nonzero(rows == indices))
            if diagonal:
                raise NetworkError(
                    f"{label}: self_connections=False but the pattern has {diagonal} entries on the diagonal; "
                    "take them out (numpy.fill_diagonal(mask, False))."
                )
        put = object.__setattr__
        put(self, "indptr", _frozen(indptr, np.int64))
        put(self, "indices", _frozen(indices, np.uint32))
        put(self, "mask", None)  # one truth: the CSR arrays
        put(self, "_columns", columns)

    def structure(self) -> tuple[NDArray[np.int64], NDArray[np.uint32]]:
        return self.indptr, self.indices  # type: ignore[return-value]

    def _connections(self, n_pre: int, n_post: int) -> tuple[int, ...]:
        return (len(self.structure()[1]),)

    def check_against(self, n_pre: int, n_post: int) -> None:
        indptr, indices = self.structure()
        columns: int | None = getattr(self, "_columns", None)
        where = f"({self.pre!r} has {n_pre} units, {self.post!r} has {n_post})"
        if len(indptr) != n_pre + 1 or (columns is not None and columns != n_post):
            rows = len(indptr) - 1
            raise ShapeError(
                f"projection {self.name!r}: the pattern has {rows} rows"
                + (f" and {columns} columns" if columns is not None else "")
                + f"; it must have {n_pre} rows (indptr of length {n_pre + 1}) and {n_post} columns {where}."
            )
        if int(indices.max()) >= n_post:
            k = int(np.argmax(indices >= n_post))
            raise NetworkError(
                f"projection {self.name!r}: indices[{k}] is {indices[k]}; it must be below {n_post} {where}."
            )
        super().check_against(n_pre, n_post)

    def describe(self) -> dict[str, Any]:
        described = super().describe()
        del described["mask"]
        return described


def _pattern_of_mask(mask: Any, label: str) -> tuple[NDArray[Any], NDArray[Any], int]:
    """(indptr, indices, number of columns) of a boolean array or a SciPy-like sparse matrix."""
    if hasattr(mask, "tocsr"):
        csr = mask.tocsr().copy()
        csr.sum_duplicates()  # also sorts the indices of each row
        return np.asarray(csr.indptr), np.asarray(csr.indices), int(csr.shape[1])
    array = np.asarray(mask)
    if array.dtype != np.bool_ or array.ndim != 2:
        raise NetworkError(
            f"{label}: mask has dtype {array.dtype} and shape {array.shape}; it must be a boolean (pre, post) array "
            "(for weights w: mask=w != 0) or a SciPy sparse matrix."
        )
    rows, columns = np.nonzero(array)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=array.shape[0]))])
    return indptr, columns, array.shape[1]


def _integers(values: ArrayLike | None, label: str) -> NDArray[Any]:
    array = np.asarray(values)
    if array.ndim != 1 or (array.dtype.kind not in "iu" and array.size):
        raise NetworkError(
            f"{label} has dtype {array.dtype} and shape {array.shape}; it must be integers in one dimension."
        )
    return array


def _check_pattern(indptr: NDArray[Any], indices: NDArray[Any], label: str) -> None:
    """A valid CSR pattern: offsets that fit, receivers ascending within each row, none twice."""
    nnz = len(indices)
    if len(indptr) < 2 or indptr[0] != 0 or indptr[-1] != nnz or np.any(indptr[1:] < indptr[:-1]):
        raise NetworkError(
            f"{label}: indptr must start at 0, not decrease and end at the number of indices, {nnz} "
            f"(given: length {len(indptr)}, {indptr[:1]} to {indptr[-1:]})."
        )
    if nnz == 0:
        raise NetworkError(f"{label} has no connections; leave the projection out.")
    if indices.min() < 0 or int(indices.max()) > 2**32 - 1:
        raise NetworkError(
            f"{label}: indices must be in 0..{2**32 - 1}; they run from {indices.min()} to {indices.max()}."
        )
    rises = indices[1:] > indices[:-1]
    starts = indptr[1:-1]
    rises[starts[(starts > 0) & (starts < nnz)] - 1] = True  # a new row starts there
    if not rises.all():
        k = int(np.argmin(rises)) + 1
        raise NetworkError(
            f"{label}: indices[{k}]={indices[k]} follows {indices[k - 1]} in the same row; "
            "the receivers of each row must ascend, each once."
        )


def _frozen(array: NDArray[Any], dtype: Any) -> NDArray[Any]:
    copy = array.astype(dtype)
    copy.setflags(write=False)
    return copy
