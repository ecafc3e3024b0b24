"""Losses and the readouts they use.

    FirstSpike        time-to-first-spike cross entropy (Wunderlich & Pehle 2021)
    RelativeMSE       the label's neuron ahead of all others (DelGrad)
    SpikeTimeMSE      squared error of first spike times
    SkipSilentLabels  one of the first two, without the samples whose label neuron is silent
    CrossEntropy      over Integral, WeightedIntegral, Max, Final or Sampled voltages

Losses add and scale: ``FirstSpike(...) + 0.1 * SpikeTimeMSE()``. To write one, subclass `Loss`.
"""

from ..readouts import Final, Integral, Max, Readout, Sampled, WeightedIntegral
from .base import Loss, LossResult, LossSum
from .cross_entropy import CrossEntropy
from .first_spike import FirstSpike
from .relative_mse import RelativeMSE
from .skip_silent import SkipSilentLabels
from .spike_time_mse import SpikeTimeMSE

__all__ = [
    "CrossEntropy",
    "Final",
    "FirstSpike",
    "Integral",
    "Loss",
    "LossResult",
    "LossSum",
    "Max",
    "Readout",
    "RelativeMSE",
    "Sampled",
    "SkipSilentLabels",
    "SpikeTimeMSE",
    "WeightedIntegral",
]
