"""A network as a PyTorch module: exact spikes forwards, exact gradients backwards, torch layers before and after.

    SpikeTensor     ragged spikes whose times may carry gradients; from and to padded tensors
    Layer           an nn.Module around any `Network`; its parameters carry evprop's own names
    Output          what it returns: spikes, readouts, the record
    SpikeDataset    a map-style data set for torch's DataLoader, and `collate` for its batches
    StandIn, DenseStandIn, LinearTransformerStandIn, train_stand_in, StandInClassifier
                    feed-forward networks that learn the pooled codes of an `evprop.sparse.Pursuit`

Times in ms (float64), voltages in the unit of the threshold, everything on the CPU.
"""

from __future__ import annotations

try:
    import torch as _torch  # noqa: F401
except ImportError as error:
    from .._extras import missing

    raise missing("PyTorch", "torch") from error

from .data import SpikeDataset, collate
from .layer import Layer, Output
from .spikes import SpikeTensor
from .stand_ins import DenseStandIn, LinearTransformerStandIn, StandIn, StandInClassifier, train_stand_in

__all__ = [
    "DenseStandIn",
    "Layer",
    "LinearTransformerStandIn",
    "Output",
    "SpikeDataset",
    "SpikeTensor",
    "StandIn",
    "StandInClassifier",
    "collate",
    "train_stand_in",
]
