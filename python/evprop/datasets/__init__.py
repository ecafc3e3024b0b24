"""Data sets: recordings in the layout of SHD and SSC, Yin-Yang, sequence detection, and `Dataset` for any other."""

from .base import Dataset, Latency
from .events import from_events
from .hdf5 import read_hdf5
from .recordings import recordings
from .sequence import sequence_detection
from .splits import split_groups, split_share
from .yin_yang import yin_yang, yin_yang_encoding, yin_yang_points

__all__ = [
    "Dataset",
    "Latency",
    "from_events",
    "read_hdf5",
    "recordings",
    "sequence_detection",
    "split_groups",
    "split_share",
    "yin_yang",
    "yin_yang_encoding",
    "yin_yang_points",
]
