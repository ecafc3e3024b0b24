"""Groups of atoms: a partition, written as the group 0 to K - 1 of each atom; every group has an atom."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import DtypeError, ParameterError, ShapeError


def equal_groups(n_atoms: int, size: int) -> NDArray[np.uint32]:
    """(n_atoms,): groups of `size` neighbouring atoms, 0 0 .. 0 1 1 .. 1 2 ..; `size` must divide `n_atoms`."""
    if size < 1 or n_atoms < 1 or n_atoms % size:
        raise ParameterError(
            f"{n_atoms} atoms are no whole number of groups of {size}; choose a size that divides the number of atoms."
        )
    return np.repeat(np.arange(n_atoms // size, dtype=np.uint32), size)


def check_groups(groups: ArrayLike, n_atoms: int) -> NDArray[np.uint32]:
    """The group of each atom as uint32; ParameterError (or a subclass) for what is no partition of `n_atoms` atoms."""
    given = np.asarray(groups)
    if given.shape != (n_atoms,):
        raise ShapeError(f"groups has shape {given.shape}; ({n_atoms},) is needed: the group of each atom.")
    if given.dtype.kind not in "iu":
        raise DtypeError(f"groups has dtype {given.dtype}; integers are needed, the group of each atom.")
    if given.min() < 0:
        raise ParameterError(f"groups holds {given.min()}; groups are numbered from 0.")
    if given.max() >= n_atoms:
        raise ParameterError(
            f"groups holds {given.max()}, but {n_atoms} atoms form {n_atoms} groups at most (0 to {n_atoms - 1})."
        )
    missing = np.flatnonzero(np.bincount(given) == 0)
    if missing.size:
        raise ParameterError(f"group {missing[0]} has no atom; number the groups from 0 without gaps.")
    return given.astype(np.uint32)


def group_norms(codes: NDArray[np.float64], groups: ArrayLike) -> NDArray[np.float64]:
    """The Euclidean norm of every group: codes (batch, n_atoms) to pooled codes (batch, n_groups)."""
    values = check_rows(codes, "codes", np.shape(groups)[0])
    return np.sqrt(sum_groups(values * values, check_groups(groups, values.shape[1])))


def sum_groups(values: NDArray[np.float64], groups: NDArray[np.uint32]) -> NDArray[np.float64]:
    """(batch, n_atoms) to (batch, n_groups), atoms added in their order."""
    sums = np.zeros((int(groups.max()) + 1, values.shape[0]))
    np.add.at(sums, groups, values.T)
    return np.ascontiguousarray(sums.T)


def check_rows(given: Any, name: str, width: int) -> NDArray[np.float64]:
    """A float64 array of shape (batch, width), as it is."""
    if not isinstance(given, np.ndarray) or given.dtype != np.float64:
        kind = given.dtype if isinstance(given, np.ndarray) else type(given).__name__
        raise DtypeError(f"{name} is {kind}; a NumPy array of float64 is needed: np.asarray({name}, np.float64).")
    if given.ndim != 2 or given.shape[1] != width:
        raise ShapeError(f"{name} has shape {given.shape}; (batch, {width}) is needed.")
    return given
