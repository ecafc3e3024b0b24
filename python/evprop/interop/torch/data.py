"""evprop's data sets in torch's DataLoader: one sample is ((times, units), label), one batch (`Spikes`, labels).

Workers may be forked or spawned: a data set travels as plain arrays, and the engine's threads belong to the process
that started them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from ...errors import DatasetError
from ...loader import Data, count_samples
from ...spikes import Spikes

Batch = tuple[Spikes, torch.Tensor]


class SpikeDataset(torch.utils.data.Dataset[Batch]):
    """A map-style data set whose items are batches of one sample: (`Spikes`, labels (1,) int64).

    Args:
        data: anything with ``spikes`` (one `Spikes`) and integer ``labels``, such as `evprop.datasets.Dataset`.

    Use ``DataLoader(SpikeDataset(data), batch_size=..., collate_fn=collate)``.
    """

    def __init__(self, data: Data) -> None:
        count_samples(data)
        if not isinstance(data.spikes, Spikes):
            raise DatasetError("SpikeDataset takes one Input population; write a Dataset of your own for several.")
        self.spikes = data.spikes
        self.labels = np.asarray(data.labels, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Batch:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Batch]:
        """All samples of a batch at once (torch's fetcher looks for this method)."""
        index = np.asarray(indices, dtype=np.int64)
        return [(self.spikes[index], torch.from_numpy(self.labels[index]))]


def collate(items: Sequence[Any]) -> Batch:
    """Join items of a `SpikeDataset`, or any (`Spikes`, labels) pairs, into one batch."""
    return Spikes.concatenate(spikes for spikes, _ in items), torch.cat([labels for _, labels in items])
