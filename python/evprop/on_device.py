"""Training steps whose parameters, moments and gradients stay in the memory of a GPU.

    training = OnDevice(net, params, Adam(1e-3), Exact(dtype="float32", device="cuda"))
    for spikes, labels in batches:
        value, health, record = training.step(spikes, labels, loss, duration=1000.0)
    params = training.params()

What crosses over in a step: the input spikes, what the loss looks at, and its cotangents. A step that is not clipped
(``clip_norm``) has the bits of the optimiser's own ``step`` on the same gradients; the norm is summed in another order
than NumPy's, so a clipped one agrees to rounding.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ._core import CoreTraining
from .devices import device_ordinal
from .errors import ConfigError, RecordError
from .gradients import GradientHealth, check_max_dw_norm, cotangents_of
from .losses import Loss
from .network import Network
from .optim import SGD, Adam, Optimiser
from .parameters import Array, check_duration
from .record import Record, SpikesGiven, check_played, collect_inputs, core_inputs
from .simulators import Exact, readout_specs, stop_population


class OnDevice:
    """A network's parameters and an optimiser's state on a GPU, and training steps there.

    Args:
        params: the dict of `Network.init`, copied to the device; it does not follow (`params` fetches).
        optimiser: `SGD`, `Adam` or `AdamW`, without maps (projections are fine).
        simulator: an `Exact` with a CUDA device.
        state: of the optimiser, to go on from; a new one unless given.
    """

    def __init__(
        self,
        net: Network,
        params: Mapping[str, Array],
        optimiser: Optimiser,
        simulator: Exact,
        *,
        state: Mapping[str, Any] | None = None,
    ) -> None:
        ordinal = device_ordinal(simulator.device) if isinstance(simulator, Exact) else None
        if ordinal is None:
            raise ConfigError(f'OnDevice: simulator is {simulator!r}; give an Exact with device="cuda".')
        if not isinstance(optimiser, SGD | Adam):
            raise ConfigError(f"OnDevice: optimiser is {optimiser!r}; known on a device are SGD, Adam and AdamW.")
        arrays = net.layout.arrays(params, simulator.dtype)
        own = dict(zip(net.layout.names, arrays, strict=True))
        fresh = optimiser.init(net, own)
        if state is not None:
            optimiser.restore(own, fresh, state)
        if (mapped := optimiser.flat.mapped) != []:
            raise ConfigError(
                f"OnDevice: {mapped[0].name} has a map, which the device does not know; leave the map out, or use the "
                "optimiser itself."
            )
        self.network, self.optimiser, self.simulator = net, optimiser, simulator
        self._state = fresh
        self._moments = [name for name in ("momentum", "m", "v") if name in fresh]
        self._wrt = net.layout.select(None)
        moments = [fresh[name] for name in self._moments]
        self._core = CoreTraining(net.core, arrays, simulator.dtype, self._wrt, moments, ordinal)

    def step(
        self,
        spikes: SpikesGiven,
        targets: Any,
        loss: Loss,
        *,
        duration: float,
        max_dw_norm: float | None = None,
    ) -> tuple[float, GradientHealth, Record]:
        """One step on a batch: the mean loss before it, the health of its gradient, and the record of the forward pass.

        Arguments as for `evprop.value_and_grad`. The record's gradients have gone into the step: `evprop.backward`
        refuses it.
        """
        limit = check_max_dw_norm(max_dw_norm)
        record = self._simulate(spikes, loss, duration)
        result = loss.evaluate(record, targets)
        scale = 1.0 / record.batch_size
        value = float(np.add.reduce(result.values)) * scale
        told = self._core.take_gradient(
            self.network.core, record._core_record, *cotangents_of(record, result), scale, limit
        )
        for name, direct in result.parameters.items():
            if self._wrt[slot := self.network.layout.names.index(name)]:
                self._core.add_gradient(slot, np.ascontiguousarray(direct, dtype=self.simulator.dtype))
        self._descend()
        return value, GradientHealth(record, told), record

    def _simulate(self, spikes: SpikesGiven, loss: Loss, duration: float) -> Record:
        net, simulator, span = self.network, self.simulator, check_duration(duration)
        inputs = collect_inputs(net, spikes, span)
        readouts = loss.readouts(net)
        specs = readout_specs(net, readouts, span)
        stop = stop_population(net, simulator.stop_when_fired, specs)
        core_record = self._core.simulate(
            net.core, core_inputs(inputs), span, specs, simulator.max_spikes, stop
        )
        record = _Taken(
            net,
            _Fetched(self),
            inputs,
            core_record,
            arrays=[],
            duration=span,
            dtype=simulator.dtype,
            readouts=readouts,
            stop_when_fired=simulator.stop_when_fired,
            device=simulator.device,
        )
        check_played(record, loss)
        return record

    def _descend(self) -> None:
        optimiser, state, flat = self.optimiser, self._state, self.optimiser.flat
        norm = self._core.norm()
        if not math.isfinite(norm):
            gradient = self._core.gradient()
            flat.refuse_nonfinite([gradient[s.start : s.stop] for s in flat.slots])
        clip = optimiser.clip_norm
        scale = clip / norm if clip is not None and norm > clip else 1.0
        state["step"] += 1
        state["grad_norm"] = norm
        names = self.network.layout.names
        by_name = {slot.name: rates for slot, rates in zip(flat.slots, optimiser.rates(state), strict=True)}
        rates = [by_name.get(name, (0.0, 0.0)) for name in names]
        bounds = [
            (names.index(p.name), None if p.other is None else names.index(p.other), p.from_above, p.limit)
            for p in flat.projections
        ]
        core = self.network.core
        if isinstance(optimiser, Adam):
            (b1, b2), t = optimiser.betas, state["step"]
            unbias = (1.0 / (1.0 - b1**t), 1.0 / (1.0 - b2**t))
            self._core.step_adam(core, optimiser.betas, unbias, optimiser.eps, scale, rates, bounds)
        elif isinstance(optimiser, SGD):
            self._core.step_sgd(core, optimiser.momentum, optimiser.nesterov, scale, rates, bounds)

    def end_epoch(self, epoch: int) -> None:
        """Tell schedules that go by epochs how many are done."""
        self._state["epoch"] = epoch

    def params(self) -> dict[str, Array]:
        """The parameters as they are now, copied from the device."""
        return dict(_Fetched(self))

    def state(self) -> dict[str, Any]:
        """The optimiser's state as it is now, as its ``init`` makes it: to save, or to go on without the device."""
        found = dict(self._state)
        for k, name in enumerate(self._moments):
            found[name] = self._core.moment(k)
        return found


class _Fetched(Mapping[str, Array]):
    """Parameters that are fetched when they are looked at."""

    def __init__(self, training: OnDevice) -> None:
        self._training = training

    def __getitem__(self, name: str) -> Array:
        layout = self._training.network.layout
        values: Array = self._training._core.parameter(layout.names.index(name))
        return values.reshape(layout.by_name[name].shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self._training.network.layout.names)

    def __len__(self) -> int:
        return len(self._training.network.layout.names)


class _Taken(Record):
    """A record whose gradients a step takes."""

    def check_unchanged(self) -> None:
        """Refuse: the parameters are on the device, and change with the step."""
        raise RecordError("the gradients of this record went into a step of OnDevice; simulate again.")
