"""Spike trains of a batch as tensors: ragged like `evprop.Spikes`, but the times may carry gradients.

Padded tensors come in and go out by torch's own operations (a stable sort and a gather), so that gradients pass. A
missing spike is a time of +inf, there and nowhere else.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ...errors import DtypeError, ShapeError, SpikesError
from ...spikes import Spikes


@dataclass(frozen=True, eq=False)
class SpikeTensor:
    """Spikes of a batch, sorted by time within each sample.

    Attributes:
        times: (n_spikes,) float64, ms; may require gradients. float32 is widened, which loses nothing.
        units: (n_spikes,) int64, in 0..n_units-1.
        offsets: (batch + 1,) int64; sample b owns the spikes offsets[b] to offsets[b + 1].
        n_units: the size of the population.

    The values are checked where they are used, by `to_spikes` (and so by `Layer`): `evprop.errors.SpikesError`.
    """

    times: Tensor
    units: Tensor
    offsets: Tensor
    n_units: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "times", _double(self.times, "times"))
        for name in ("units", "offsets"):
            object.__setattr__(self, name, _long(getattr(self, name), name))
        if self.times.ndim != 1 or self.units.shape != self.times.shape or self.offsets.ndim != 1:
            raise ShapeError(
                f"times, units and offsets have shapes {tuple(self.times.shape)}, {tuple(self.units.shape)} and "
                f"{tuple(self.offsets.shape)}; they must be (n_spikes,), (n_spikes,) and (batch + 1,)."
            )

    @classmethod
    def from_spikes(cls, spikes: Spikes) -> SpikeTensor:
        """A copy of an `evprop.Spikes`."""
        return cls(
            torch.tensor(spikes.times),
            torch.from_numpy(spikes.units.astype("int64")),
            torch.tensor(spikes.offsets),
            spikes.n_units,
        )

    @classmethod
    def from_padded(cls, times: Tensor, units: Tensor | None = None, n_units: int | None = None) -> SpikeTensor:
        """Spikes of a padded tensor; entries of +inf are no spikes. Sorts each sample by time, stably.

        Args:
            times: float64 or float32, ms. With ``units``: (batch, k), in any order. Without: (batch, n_units), one
                spike per unit, or (batch, n_units, k), up to k spikes per unit.
            units: integers of the same shape, or (k,) for all samples alike; what stands at +inf does not matter.
            n_units: the size of the population; needed with ``units``.
        """
        flat, flat_units, size = _flatten(_double(times, "times"), units, n_units)
        order = torch.argsort(flat.detach(), dim=1, stable=True)
        sorted_times = flat.gather(1, order)
        present = sorted_times.detach() != math.inf
        offsets = torch.zeros(len(flat) + 1, dtype=torch.int64)
        torch.cumsum(present.sum(1), 0, out=offsets[1:])
        return cls(sorted_times[present], flat_units.gather(1, order)[present], offsets, size)

    def __len__(self) -> int:
        """The number of samples."""
        return len(self.offsets) - 1

    @property
    def samples(self) -> Tensor:
        """(n_spikes,) int64: the sample that each spike belongs to."""
        return torch.repeat_interleave(torch.arange(len(self)), self.offsets.diff())

    def padded(self) -> tuple[Tensor, Tensor]:
        """(times, units), each (batch, most spikes of a sample): missing ones at +inf ms and of unit -1."""
        samples, lengths = self.samples, self.offsets.diff()
        width = int(lengths.max()) if len(self) else 0
        place = (samples, torch.arange(len(samples)) - self.offsets[samples])
        times = self.times.new_full((len(self), width), math.inf).index_put(place, self.times)
        return times, self.units.new_full((len(self), width), -1).index_put(place, self.units)

    def first_times(self, silent: float) -> Tensor:
        """(batch, n_units) float64: the first spike of each unit in ms, and ``silent`` where it has none."""
        key = self.samples * self.n_units + self.units
        none = len(key)
        first = torch.full((len(self) * self.n_units,), none)
        first.scatter_reduce_(0, key, torch.arange(none), "amin")
        fired = (first < none).nonzero().squeeze(1)
        out = self.times.new_full((len(first),), float(silent))
        return out.index_put((fired,), self.times[first[fired]]).reshape(len(self), self.n_units)

    def counts(self) -> Tensor:
        """(batch, n_units) int64: the number of spikes of each unit; without a gradient."""
        key = self.samples * self.n_units + self.units
        return torch.bincount(key, minlength=len(self) * self.n_units).reshape(len(self), self.n_units)

    def to_spikes(self) -> Spikes:
        """The same as an `evprop.Spikes`, checked; gradients end here."""
        return Spikes(
            self.times.detach().numpy(), self.units.numpy(), self.offsets.numpy(), n_units=self.n_units
        )

    def __repr__(self) -> str:
        grad = ", with gradients" if self.times.requires_grad else ""
        return f"SpikeTensor({len(self)} samples, {len(self.times)} spikes, {self.n_units} units{grad})"


def _double(tensor: Tensor, name: str) -> Tensor:
    if not isinstance(tensor, Tensor) or tensor.dtype not in (torch.float64, torch.float32):
        given = tensor.dtype if isinstance(tensor, Tensor) else type(tensor).__name__
        raise DtypeError(f"{name} is {given}; it must be a tensor of float64 or float32, in ms.")
    return _on_cpu(tensor, name).double()


def _long(tensor: Tensor, name: str) -> Tensor:
    if not isinstance(tensor, Tensor) or tensor.is_floating_point() or tensor.is_complex():
        given = tensor.dtype if isinstance(tensor, Tensor) else type(tensor).__name__
        raise DtypeError(f"{name} is {given}; it must be a tensor of integers.")
    return _on_cpu(tensor, name).long()


def _on_cpu(tensor: Tensor, name: str) -> Tensor:
    if tensor.device.type != "cpu":
        raise DtypeError(f"{name} is on {tensor.device}; evprop computes on the CPU: use {name}.cpu().")
    return tensor


def _flatten(times: Tensor, units: Tensor | None, n_units: int | None) -> tuple[Tensor, Tensor, int]:
    """Times and units as (batch, k), and the size of the population."""
    if units is None:
        if times.ndim not in (2, 3):
            raise ShapeError(
                f"times has shape {tuple(times.shape)}; without units it must be (batch, n_units) or "
                "(batch, n_units, k)."
            )
        size = times.shape[1]
        if n_units is not None and n_units != size:
            raise SpikesError(
                f"n_units={n_units} but times has {size} units; without units=... both must agree."
            )
        per_unit = times.shape[2] if times.ndim == 3 else 1
        of_column = torch.arange(size).repeat_interleave(per_unit)
        flat = times.reshape(len(times), size * per_unit)
        return flat, of_column.expand_as(flat), size
    if n_units is None:
        raise SpikesError("n_units is missing; with units=... say how many units the population has.")
    units = _long(units, "units")
    if times.ndim != 2 or units.shape not in (times.shape, times.shape[1:]):
        raise ShapeError(
            f"times has shape {tuple(times.shape)} and units {tuple(units.shape)}; they must be (batch, k) and "
            "(batch, k) or (k,)."
        )
    return times, units.expand_as(times), n_units
