"""All trainable parameters end to end, as the moments of an optimiser lie.

A ``Flat`` is made once by ``Optimiser.init``. It knows, for each trainable array, its slice of the moments,
its group's settings, its map (see maps.py) and the projection that keeps it legal after each step:

    delay             >= 0
    tau_mem, tau_syn  >= tau_min
    v_reset, v_init   <= v_th - min_swing      (where v_th alone is trained, v_th is what moves)
    min, max          bounds of the parameter's group, if given

A mapped parameter is never projected: its map keeps it in range.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import ConfigError, DtypeError, ParameterError, ShapeError, TrainingError, nearest
from .maps import Map

Array = npt.NDArray[Any]
Params = MutableMapping[str, Array]

TIME_CONSTANTS = ("tau_mem", "tau_syn")


@dataclass(frozen=True)
class Slot:
    """One trainable array's place in the vector."""

    name: str
    start: int
    stop: int
    shape: tuple[int, ...]
    group: int
    map: Map | None


@dataclass(frozen=True)
class Projection:
    """Keeps one array within a bound: ``limit``, or the values of another array plus ``limit``."""

    name: str
    limit: float
    from_above: bool
    other: str | None = None

    def __call__(self, params: Params) -> None:
        """In place."""
        limit = self.limit if self.other is None else params[self.other] + self.limit
        pick = np.minimum if self.from_above else np.maximum
        pick(params[self.name], limit, out=params[self.name])


class Flat:
    """The flat view of a set of parameters (see the module's text)."""

    def __init__(
        self,
        params: Mapping[str, Array],
        trainable: Sequence[str],
        patterns: Sequence[str],
        settings: Sequence[Mapping[str, Any]],
        *,
        tau_min: float,
        min_swing: float,
    ) -> None:
        """``patterns[i]`` (a glob; the first that matches wins) goes with ``settings[i]``; the last matches all."""
        if not trainable:
            raise ParameterError(
                "Nothing to train: the network has no trainable parameter. Name some with trainable=(...)."
            )
        dtypes = {params[name].dtype for name in trainable}
        if len(dtypes) != 1 or next(iter(dtypes)) not in (np.dtype("float64"), np.dtype("float32")):
            raise DtypeError(
                f"Parameters must be all float64 or all float32, got {sorted(str(d) for d in dtypes)}. "
                "Make them with net.init(seed, dtype=...)."
            )
        self.dtype = next(iter(dtypes))
        self.slots: list[Slot] = []
        used = [False] * len(patterns)
        start = 0
        for name in trainable:
            group = next(i for i, pattern in enumerate(patterns) if fnmatchcase(name, pattern))
            used[group] = True
            stop = start + params[name].size
            self.slots.append(Slot(name, start, stop, params[name].shape, group, settings[group].get("map")))
            start = stop
        for pattern, hit in zip(patterns[:-1], used[:-1], strict=True):
            if not hit:
                raise ConfigError(
                    f"Optimiser group '{pattern}' matches no trainable parameter. {nearest(pattern, trainable)}"
                )
        self.size = start
        self.mapped = [slot for slot in self.slots if slot.map is not None]
        self.n_mapped = sum(slot.stop - slot.start for slot in self.mapped)
        self._mapped_values: dict[str, Array] = {}
        bounds = [(s.get("min"), s.get("max")) for s in settings]
        self.projections = _projections(self.slots, bounds, params, tau_min, min_swing)

    def preimages(self, params: Mapping[str, Array]) -> Array:
        """The free variables theta of the mapped parameters, end to end (empty if there are none)."""
        parts = []
        for slot in self.mapped:
            assert slot.map is not None
            theta = slot.map.inverse(params[slot.name].reshape(-1), slot.name)
            self._mapped_values[slot.name] = params[slot.name].copy()
            parts.append(theta)
        return np.concatenate(parts) if parts else np.zeros(0, self.dtype)

    def gradients(self, params: Mapping[str, Array], grads: Mapping[str, Array]) -> list[Array]:
        """The gradient with respect to the free variables, slot by slot, in the dtype of the parameters."""
        found = []
        for slot in self.slots:
            grad = grads[slot.name]
            if grad.shape != slot.shape:
                raise ShapeError(
                    f"Gradient of {slot.name}: shape {grad.shape}, but the parameter has {slot.shape}."
                )
            if slot.map is not None:
                grad = (grad * slot.map.slope(params[slot.name])).reshape(-1)
            if grad.dtype != self.dtype or not grad.flags.c_contiguous:
                grad = np.ascontiguousarray(grad, dtype=self.dtype)
            found.append(grad)
        return found

    def free(self, params: Params, preimages: Array) -> list[Array]:
        """The free variables slot by slot, to be changed in place: theta (flat) where mapped, else the parameter."""
        if not self.mapped:
            return [params[slot.name] for slot in self.slots]
        found, position = [], 0
        for slot in self.slots:
            value = params[slot.name]
            if slot.map is not None:
                theta = preimages[position : position + value.size]
                position += value.size
                known = self._mapped_values.get(slot.name)
                if known is None or not np.array_equal(known, value):
                    # changed by hand since the last step: take that over
                    theta[...] = slot.map.inverse(value.reshape(-1), slot.name)
                value = theta
            found.append(value)
        return found

    def settle(self, params: Params, free: Sequence[Array]) -> None:
        """Bring the parameters up to date with the free variables, in place and in range."""
        for slot, theta in zip(self.slots, free, strict=True):
            if slot.map is not None:
                value = params[slot.name]
                value[...] = slot.map.forward(theta).reshape(slot.shape)
                self._mapped_values[slot.name] = value.copy()
        for project in self.projections:
            project(params)

    def adopt(self, params: Mapping[str, Array]) -> None:
        """Take the mapped parameters as they are for the images of the pre-images (after a checkpoint was read)."""
        self._mapped_values = {slot.name: params[slot.name].copy() for slot in self.mapped}

    def refuse_nonfinite(self, gradients: Sequence[Array]) -> None:
        """Raise the error that names the parameters whose gradient (slot by slot) is not finite, if any is."""
        bad = [int((~np.isfinite(gradient)).sum()) for gradient in gradients]
        listed = ", ".join(
            f"{slot.name} ({count} of {slot.stop - slot.start})"
            for slot, count in zip(self.slots, bad, strict=True)
            if count
        )
        if listed:
            raise TrainingError(
                f"The gradient is not finite: {listed}. Parameters are unchanged. A spike about to vanish makes an "
                "exact gradient explode: see grads.health.min_vdot, and bound it with max_dw_norm=... or clip_norm=..."
            )


def _projections(
    slots: Sequence[Slot],
    bounds: Sequence[tuple[float | None, float | None]],
    params: Mapping[str, Array],
    tau_min: float,
    min_swing: float,
) -> list[Projection]:
    found: list[Projection] = []
    free = {slot.name for slot in slots if slot.map is None}
    for slot in slots:
        kind = slot.name.rsplit(".", 1)[-1]
        low, high = bounds[slot.group]
        if slot.map is not None:
            if low is not None or high is not None:
                raise ConfigError(
                    f"{slot.name} has a map, which keeps it in range: leave min and max out, or the map."
                )
            if (kind == "delay" or kind in TIME_CONSTANTS) and slot.map.bounds[0] < 0.0:
                raise ConfigError(
                    f"{slot.name}: {slot.map!r} reaches down to {slot.map.bounds[0]:g} ms, but a {kind} cannot be "
                    "negative; choose a map that stays above 0."
                )
            continue
        floor = 0.0 if kind == "delay" else tau_min if kind in TIME_CONSTANTS else None
        if floor is not None:
            low = floor if low is None else max(low, floor)
        if low is not None and high is not None and low >= high:
            raise ConfigError(f"{slot.name}: the lower bound {low} is not below the upper bound {high}.")
        if low is not None:
            found.append(Projection(slot.name, low, from_above=False))
        if high is not None:
            found.append(Projection(slot.name, high, from_above=True))
    populations = dict.fromkeys(name.rsplit(".", 1)[0] for name in params if name.endswith(".v_th"))
    for population in populations:
        v_th = f"{population}.v_th"
        lower = [name for name in (f"{population}.v_reset", f"{population}.v_init") if name in params]
        if v_th in free:
            found.extend(Projection(v_th, min_swing, False, name) for name in lower if name not in free)
        found.extend(Projection(name, -min_swing, True, v_th) for name in lower if name in free)
    return found
