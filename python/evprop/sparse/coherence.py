"""How alike the atoms of a dictionary are, and what that promises. Atoms are unit vectors, (n_features, n_atoms).

    mu   = max over a != b of |d_a . d_b|                                       coherence
    nu   = the same within groups                                               sub-coherence
    mu_B = max over groups G != H of ||D_G^T D_H||_2 / size                     block coherence, of groups of one size

Basis pursuit (Papyan, Romano & Elad 2017): a code with fewer than (1 + 1/mu) / 3 atoms and noise e, coded with
l1 = 4 ||e||_2, has no atom outside its support, errors below 7.5 ||e||_2, and every atom above that is found.
Groups (Eldar, Kuppinger & Bölcskei 2010): without noise, fewer than (1/mu_B + size - (size - 1) nu/mu_B) / (2 size)
groups are recovered.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import ParameterError
from .groups import check_groups, check_rows


def coherence(dictionary: NDArray[np.float64]) -> float:
    """mu, in [0, 1]; 0 for a single atom."""
    return float(_products(dictionary).max())


def sub_coherence(dictionary: NDArray[np.float64], groups: ArrayLike) -> float:
    """nu, in [0, 1]; 0 where every group has one atom."""
    same = _same(dictionary, groups)
    return float(np.where(same, _products(dictionary), 0.0).max())


def block_coherence(dictionary: NDArray[np.float64], groups: ArrayLike) -> float:
    """mu_B, in [0, mu], of groups of one size (else `ParameterError`); 0 for a single group."""
    labels = check_groups(groups, np.shape(dictionary)[1])
    size = _size(labels)
    order = np.argsort(labels, kind="stable")
    gram = _unit(dictionary)[:, order]
    n = len(labels) // size
    blocks = (gram.T @ gram).reshape(n, size, n, size).transpose(0, 2, 1, 3)
    norms = np.linalg.norm(blocks, ord=2, axis=(2, 3)) / size
    np.fill_diagonal(norms, 0.0)
    return float(norms.max())


def sparsity_limit(dictionary: NDArray[np.float64]) -> float:
    """(1 + 1/mu) / 3: codes with fewer atoms are stable under noise (see above). Infinite for orthogonal atoms."""
    mu = coherence(dictionary)
    return math.inf if mu == 0.0 else (1.0 + 1.0 / mu) / 3.0


def group_sparsity_limit(dictionary: NDArray[np.float64], groups: ArrayLike) -> float:
    """Codes with fewer groups than this are recovered (see above); at most 0: the bound promises nothing."""
    size = _size(check_groups(groups, np.shape(dictionary)[1]))
    mu, nu = block_coherence(dictionary, groups), sub_coherence(dictionary, groups)
    rest = 1.0 - (size - 1) * nu
    if mu == 0.0:
        return math.inf if rest > 0.0 else 0.0
    return (rest / mu + size) / (2.0 * size) if rest > 0.0 else 0.0


def _unit(dictionary: NDArray[np.float64]) -> NDArray[np.float64]:
    """The dictionary, if its atoms are unit vectors to 1e-9."""
    check_rows(dictionary, "dictionary", np.shape(dictionary)[-1])
    norms = np.linalg.norm(dictionary, axis=0)
    off = int(np.abs(norms - 1.0).argmax())
    if not abs(norms[off] - 1.0) <= 1e-9:
        raise ParameterError(
            f"atom {off} has norm {norms[off]}; coherence is of unit atoms: dictionary / norm(dictionary, axis=0)."
        )
    return dictionary


def _products(dictionary: NDArray[np.float64]) -> NDArray[np.float64]:
    """|d_a . d_b|, 0 for a = b."""
    atoms = _unit(dictionary)
    products: NDArray[np.float64] = np.abs(atoms.T @ atoms)
    np.fill_diagonal(products, 0.0)
    return products


def _same(dictionary: NDArray[np.float64], groups: ArrayLike) -> NDArray[np.bool_]:
    labels = check_groups(groups, np.shape(dictionary)[1])
    same: NDArray[np.bool_] = labels[:, None] == labels[None, :]
    return same


def _size(labels: NDArray[np.uint32]) -> int:
    """The one size of all groups."""
    sizes = np.bincount(labels)
    if sizes.min() != sizes.max():
        raise ParameterError(
            f"groups have {sizes.min()} to {sizes.max()} atoms; block coherence is of groups of one size."
        )
    return int(sizes[0])
