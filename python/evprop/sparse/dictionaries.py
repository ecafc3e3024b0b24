"""Dictionaries whose atoms are as far from each other as they can be.

The coherence mu = max |d_i . d_j| of n unit vectors in m dimensions is at least the Welch bound
sqrt((n - m) / (m (n - 1))) (Welch 1974). A Grassmannian packing comes near it: alternating projection (Tropp, Dhillon,
Heath & Strohmer 2005) between the Gram matrices with entries of at most the bound off the diagonal and those of tight
frames.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..errors import ParameterError


def grassmannian(
    n_features: int, n_atoms: int, *, seed: int, n_iterations: int = 200
) -> NDArray[np.float64]:
    """A dictionary (n_features, n_atoms) of unit atoms with a small coherence.

    ``n_atoms`` >= ``n_features``. Begins with Gaussian atoms drawn from ``seed`` and returns the best iteration,
    each an eigendecomposition of an (n_atoms, n_atoms) matrix by `numpy.linalg`, whose build settles the last bits.
    """
    if n_features < 1 or n_atoms < n_features:
        raise ParameterError(
            f"{n_atoms} atoms in {n_features} dimensions: at least as many atoms as dimensions, and 1, are needed."
        )
    if n_iterations < 0:
        raise ParameterError(f"n_iterations is {n_iterations}; it must be at least 0.")
    atoms = _unit(np.random.default_rng(seed).standard_normal((n_features, n_atoms)))
    best, lowest = atoms, _coherence(atoms.T @ atoms)
    bound = welch_bound(n_features, n_atoms)
    for _ in range(n_iterations):
        gram = np.clip(atoms.T @ atoms, -bound, bound)
        np.fill_diagonal(gram, 1.0)
        # nearest tight frame: the leading eigenvectors, all with eigenvalue n_atoms / n_features
        vectors = np.linalg.eigh(gram)[1][:, n_atoms - n_features :]
        atoms = _unit(vectors.T)
        coherence = _coherence(atoms.T @ atoms)
        if coherence < lowest:
            best, lowest = atoms, coherence
    return np.ascontiguousarray(best)


def welch_bound(n_features: int, n_atoms: int) -> float:
    """No n_atoms unit vectors in n_features dimensions have a smaller coherence (Welch 1974)."""
    if n_atoms <= n_features:
        return 0.0
    return float(np.sqrt((n_atoms - n_features) / (n_features * (n_atoms - 1))))


def _unit(atoms: NDArray[np.float64]) -> NDArray[np.float64]:
    unit: NDArray[np.float64] = atoms / np.linalg.norm(atoms, axis=0)
    return unit


def _coherence(gram: NDArray[np.float64]) -> float:
    off = np.abs(gram)
    np.fill_diagonal(off, 0.0)
    return float(off.max())
