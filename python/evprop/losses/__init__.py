"""Losses and the readouts they use.

    FirstSpike        time-to-first-spike cross entropy (Wunderlich & Pehle 2021)
    RelativeMSE       the label's neuron ahead of all others (DelGrad)
    SpikeTimeMSE      squared error of first spike times
    SkipSilentLabels  one of the first two, without the samples whose label neuron is silent
    CrossEntropy      over a readout: Integral, WeightedIntegral, LinearIntegral, SigmoidIntegral, Max, Final or Sampled

and regularisers, to be added to one of them:

    Rate              spikes per neuron towards a target, by a named pseudo-gradient
    PeakVoltage       silent neurons towards their threshold
    DelayL2           short delays

Losses add and scale: ``FirstSpike(...) + 0.1 * SpikeTimeMSE()``. To write one, subclass `Loss`.
"""

from ..readouts import (
    Final,
    Integral,
    LinearIntegral,
    Max,
    Readout,
    Sampled,
    SigmoidIntegral,
    WeightedIntegral,
)
from .base import Loss, LossResult, LossSum
from .cross_entropy import CrossEntropy
from .delay_l2 import DelayL2
from .first_spike import FirstSpike
from .peak_voltage import PeakVoltage
from .rate import Rate
from .relative_mse import RelativeMSE
from .skip_silent import SkipSilentLabels
from .spike_time_mse import SpikeTimeMSE

__all__ = [
    "CrossEntropy",
    "DelayL2",
    "Final",
    "FirstSpike",
    "Integral",
    "LinearIntegral",
    "Loss",
    "LossResult",
    "LossSum",
    "Max",
    "PeakVoltage",
    "Rate",
    "Readout",
    "RelativeMSE",
    "Sampled",
    "SigmoidIntegral",
    "SkipSilentLabels",
    "SpikeTimeMSE",
    "WeightedIntegral",
]
