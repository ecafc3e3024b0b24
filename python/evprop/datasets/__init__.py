"""Data sets: recordings in the layout of SHD and SSC, MNIST, Yin-Yang, sequence detection, and `Dataset` for others."""

from .base import Dataset, Latency
from .channels import merge_channels
from .events import from_events
from .hdf5 import read_hdf5
from .mnist import mnist_16x16
from .recordings import recordings
from .sequence import sequence_detection
from .splits import split_groups, split_share
from .yin_yang import yin_yang, yin_yang_encoding, yin_yang_points

__all__ = [
    "Dataset",
    "Latency",
    "from_events",
    "merge_channels",
    "mnist_16x16",
    "read_hdf5",
    "recordings",
    "sequence_detection",
    "split_groups",
    "split_share",
    "yin_yang",
    "yin_yang_encoding",
    "yin_yang_points",
]
