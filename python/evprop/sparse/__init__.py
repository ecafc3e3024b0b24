"""Sparse codes in groups: group basis pursuit and derivatives through it.

A dictionary has atoms as columns, (n_features, n_atoms); signals and codes are rows of a batch. Groups are a partition
of the atoms, written as the group of each atom.
"""

from __future__ import annotations

from .dictionaries import grassmannian
from .groups import equal_groups, group_norms
from .pursuit import Codes, Pursuit

__all__ = [
    "Codes",
    "Pursuit",
    "equal_groups",
    "grassmannian",
    "group_norms",
]
