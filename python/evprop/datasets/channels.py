"""Fewer channels and spikes: neighbouring channels merged into one that answers every k-th spike.

Channels 0..m-1 become channel 0, the next m channel 1, and so on; of the spikes that come to a merged channel, in
their order, the k-th, the 2k-th, ... of each sample are kept, with their times. That is what a neuron without leak does
that fires on every k-th input spike: the rate is divided by k and gets more regular, its course stays. Where it begins
to count is its phase: the k phases give k disjoint sets of spikes of the same sample.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..errors import DatasetError
from ..spikes import Spikes
from .base import Dataset


def merge_channels(data: Dataset, channels: int, every: int = 1, phase: int = 0) -> Dataset:
    """The data set with ``channels`` neighbouring channels merged into one, of whose spikes each ``every``-th is kept.

    Args:
        channels: how many become one; the number of channels must be a multiple of it.
        every: 1 keeps all spikes.
        phase: 0 to ``every`` - 1: how many spikes the count begins with; 1 keeps the spike before each that 0 keeps.
    """
    spikes = data.spikes
    if channels < 1 or spikes.n_units % channels:
        raise DatasetError(
            f"{data.name}: {channels} channels cannot be merged into one; {spikes.n_units} channels are no multiple "
            "of that."
        )
    if every < 1:
        raise DatasetError(f"{data.name}: every is {every}; it must be at least 1 (keep all spikes).")
    if not 0 <= phase < every:
        raise DatasetError(f"{data.name}: phase is {phase}; with every={every} it must be 0 to {every - 1}.")
    n_units = spikes.n_units // channels
    units = spikes.units // np.uint32(channels)
    kept = (_place_in_channel(spikes.samples * n_units + units) + phase) % every == every - 1
    counts = np.bincount(spikes.samples[kept], minlength=len(spikes))
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return replace(data, spikes=Spikes(spikes.times[kept], units[kept], offsets, n_units=n_units))


def merge_in_all_phases(data: Dataset, channels: int, every: int) -> Dataset:
    """`merge_channels` in phase 0, then in phase 1, and so on: ``every`` times as many samples, of the same labels."""
    parts = [merge_channels(data, channels, every, phase) for phase in range(every)]
    return replace(
        data,
        spikes=Spikes.concatenate(part.spikes for part in parts),
        labels=np.tile(data.labels, every),
        groups={name: np.tile(members, every) for name, members in data.groups.items()},
    )


def _place_in_channel(key: np.ndarray) -> np.ndarray:
    """How many spikes of the same (sample, channel) come before each."""
    order = np.argsort(key, kind="stable")
    grouped = key[order]
    first = np.concatenate([[True], grouped[1:] != grouped[:-1]])
    start = np.maximum.accumulate(np.where(first, np.arange(len(key)), 0))
    place = np.empty(len(key), dtype=np.int64)
    place[order] = np.arange(len(key)) - start
    return place


__all__ = ("merge_channels", "merge_in_all_phases")
