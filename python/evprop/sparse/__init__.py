"""Sparse codes in groups: group basis pursuit and derivatives through it, alone and in layers; the locally competitive
algorithm as rates, spikes and in Loihi 2's integers; classifiers, attacks, coherence.

A dictionary has atoms as columns, (n_features, n_atoms); signals and codes are rows of a batch. Groups are a partition
of the atoms, written as the group of each atom.
"""

from __future__ import annotations

from .attacks import Attack, ifgsm
from .classifiers import PursuitClassifier
from .coherence import block_coherence, coherence, group_sparsity_limit, sparsity_limit, sub_coherence
from .dictionaries import grassmannian
from .groups import equal_groups, group_norms
from .lca import LCA
from .loihi2_lca import Loihi2LCA
from .pursuit import Codes, Pursuit
from .spiking_lca import SpikingLCA
from .stacks import DeepPursuit, LayeredPursuit, StackCodes

__all__ = [
    "LCA",
    "Attack",
    "Codes",
    "DeepPursuit",
    "LayeredPursuit",
    "Loihi2LCA",
    "Pursuit",
    "PursuitClassifier",
    "SpikingLCA",
    "StackCodes",
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
