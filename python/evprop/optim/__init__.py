"""Optimisers that change parameters in place: SGD, Adam, AdamW; schedules; maps and projections that keep
parameters legal.

Where to look: optimisers.py (the formulas), flat.py (one vector for all parameters, constraints), maps.py,
schedules.py, average.py (the mean of parameters over steps).
"""

from .average import Average
from .maps import Log, Map, Sigmoid
from .optimisers import GROUP_KEYS, SGD, Adam, AdamW, Optimiser
from .schedules import Constant, CosineDecay, EaseIn, ExponentialDecay, Schedule, StepDecay

__all__ = [
    "GROUP_KEYS",
    "SGD",
    "Adam",
    "AdamW",
    "Average",
    "Constant",
    "CosineDecay",
    "EaseIn",
    "ExponentialDecay",
    "Log",
    "Map",
    "Optimiser",
    "Schedule",
    "Sigmoid",
    "StepDecay",
]
