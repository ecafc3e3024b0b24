"""Sparse codes in groups: group basis pursuit and derivatives through it; classifiers, attacks, coherence.

A dictionary has atoms as columns, (n_features, n_atoms); signals and codes are rows of a batch. Groups are a partition
of the atoms, written as the group of each atom.
"""

from __future__ import annotations

from .attacks import Attack, ifgsm
from .classifiers import PursuitClassifier
from .coherence import block_coherence, coherence, group_sparsity_limit, sparsity_limit, sub_coherence
from .dictionaries import grassmannian
from .groups import equal_groups, group_norms
from .pursuit import Codes, Pursuit

__all__ = [
    "Attack",
    "Codes",
    "Pursuit",
    "PursuitClassifier",
    "block_coherence",
    "coherence",
    "equal_groups",
    "grassmannian",
    "group_norms",
    "group_sparsity_limit",
    "ifgsm",
    "sparsity_limit",
    "sub_coherence",
]
