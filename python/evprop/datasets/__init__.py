"""Data sets: Yin-Yang by its canonical generator, the sequence-detection task, and `Dataset` for any other."""

from .base import Dataset, Latency
from .sequence import sequence_detection
from .yin_yang import yin_yang, yin_yang_encoding, yin_yang_points

__all__ = ["Dataset", "Latency", "sequence_detection", "yin_yang", "yin_yang_encoding", "yin_yang_points"]
