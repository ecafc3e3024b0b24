"""Exact gradients: `value_and_grad` of a loss, and `backward` from any cotangents.

The adjoint knows only the record, never which simulator made it. Gradients are true derivatives in size as well as
in direction, summed over the samples in a fixed order; none is clipped unless asked for by name (``max_dw_norm``).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _core
from .errors import CotangentError, ParameterError, TargetError, UnknownNameError, nearest
from .losses import Loss, LossResult
from .network import Network
from .parameters import Array, all_finite, check_duration
from .record import Record, SpikesGiven, check_played, collect_inputs, core_inputs
from .simulators import DEFAULT, Exact, Simulator, stop_population

Floats = NDArray[np.float64]


class GradientHealth:
    """How far the gradients of one batch can be trusted.

    Attributes:
        min_vdot: the smallest dV/dt at any spike, in units of v_th per ms (inf without spikes). Near 0, a spike is
            about to vanish and its exact gradient is large.
        dropped: how many (sample, neuron) weight gradients ``max_dw_norm`` left out.
        floored: how many spikes had their dV/dt raised to ``min_vdot`` (observed spikes only).
        silent: {LIF population: share of its (sample, neuron) pairs without a spike}.
    """

    __slots__ = ("_record", "_silent", "dropped", "floored", "min_vdot")

    def __init__(self, record: Record, health: Mapping[str, Any]) -> None:
        self.min_vdot = float(health["min_vdot"])
        self.dropped = int(health["dropped"])
        self.floored = int(health["floored"])
        self._record = record
        self._silent: dict[str, float] | None = None

    @property
    def silent(self) -> dict[str, float]:
        if self._silent is None:
            record = self._record
            self._silent = {
                name: 1.0 - record.activity(name)[1] / (record.batch_size * size)
                for name, size in record.network.spiking.items()
            }
        return self._silent

    def __repr__(self) -> str:
        silent = ", ".join(f"{name} {share:.1%}" for name, share in self.silent.items())
        floored = f", {self.floored} floored" if self.floored else ""
        return f"GradientHealth(min_vdot={self.min_vdot:.3g}, {self.dropped} dropped{floored}, silent: {silent or '-'})"


class Gradients(Mapping[str, Array]):
    """{parameter name: gradient of the same shape and dtype}, for the names asked for.

    Attributes:
        health: `GradientHealth`.
    """

    __slots__ = ("_arrays", "_input_times", "_inputs", "health")

    def __init__(
        self,
        arrays: dict[str, Array],
        input_times: list[Floats] | None,
        inputs: tuple[str, ...],
        health: GradientHealth,
    ) -> None:
        self._arrays = arrays
        self._input_times = input_times
        self._inputs = inputs
        self.health = health

    @property
    def input_times(self) -> Any:
        """dL/dt of every input spike (float64, aligned with ``spikes.times``); a dict if there are several Inputs."""
        if self._input_times is None:
            raise UnknownNameError("input times were not asked for; give input_times=True.")
        if len(self._inputs) == 1:
            return self._input_times[0]
        return dict(zip(self._inputs, self._input_times, strict=True))

    def __getitem__(self, name: str) -> Array:
        try:
            return self._arrays[name]
        except KeyError:
            pass
        raise UnknownNameError(
            f"no gradient of {name!r}: {nearest(name, self._arrays)} Name it in wrt=[...]."
        )

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def __repr__(self) -> str:
        inside = ", ".join(f"{name}: {array.shape}" for name, array in self._arrays.items())
        return f"Gradients({inside}; {self.health!r})"


def value_and_grad(
    net: Network,
    params: Mapping[str, Array],
    spikes: SpikesGiven,
    targets: Any,
    loss: Loss,
    *,
    duration: float,
    simulator: Simulator | None = None,
    max_dw_norm: float | None = None,
    wrt: Iterable[str] | None = None,
    input_times: bool = True,
) -> tuple[float, Gradients, Record]:
    """The mean loss over the batch, its exact gradients, and the record of the forward pass.

    Args:
        params: the dict of `Network.init`.
        spikes: a `Spikes`, or {name: Spikes} for a network with several Input populations.
        targets: what the loss takes; for classes, integer labels (batch,).
        duration: ms.
        simulator: `Exact()` unless given.
        max_dw_norm: for each sample and neuron, leave out its weight gradient where the largest |dL/dw| of the
            sample's own loss exceeds this (counted in ``grads.health.dropped``); None leaves out nothing.
        wrt: parameter names; the trainable ones unless given.
        input_times: also dL/dt of the input spikes.
    """
    given: dict[str, Any] = {"duration": duration, "simulator": simulator, "max_dw_norm": max_dw_norm}
    step = batch_step(net, params, spikes, targets, loss, **given, wrt=wrt, input_times=input_times)
    return step.value, step.grads, step.record


class BatchStep(NamedTuple):
    """What `value_and_grad` returns, and how many samples are classified rightly, where that is known."""

    value: float
    grads: Gradients
    record: Record
    correct: int | None


def batch_step(
    net: Network,
    params: Mapping[str, Array],
    spikes: SpikesGiven,
    targets: Any,
    loss: Loss,
    *,
    duration: float,
    simulator: Simulator | None = None,
    max_dw_norm: float | None = None,
    wrt: Iterable[str] | None = None,
    input_times: bool = True,
) -> BatchStep:
    """As `value_and_grad`."""
    chosen = DEFAULT if simulator is None else simulator
    selected = net.layout.select(wrt)
    limit = check_max_dw_norm(max_dw_norm)
    if isinstance(chosen, Exact):
        step = _in_one_call(net, params, spikes, targets, loss, duration, chosen, selected, limit, input_times)
        if step is not None:
            return step
    record = chosen.simulate(net, params, spikes, duration=duration, readouts=loss.readouts(net))
    check_played(record, loss)
    result = loss.evaluate(record, targets)
    scale = 1.0 / record.batch_size
    if getattr(result.values, "shape", None) != (record.batch_size,):
        raise CotangentError(
            f"{type(loss).__name__}.evaluate gave values of shape {np.shape(result.values)}; "
            f"it must give one value per sample, shape ({record.batch_size},)."
        )
    value = float(np.add.reduce(result.values)) * scale
    grads = _run_backward(record, result, selected, limit, scale, input_times)
    return BatchStep(value, grads, record, None)


def _in_one_call(
    net: Network,
    params: Mapping[str, Array],
    spikes: SpikesGiven,
    targets: Any,
    loss: Loss,
    duration: float,
    simulator: Exact,
    selected: list[bool],
    limit: float | None,
    input_times: bool,
) -> BatchStep | None:
    """Forward pass, loss and backward pass in one call of the core, with the bits of the long way.

    None where that can't be done, or where something is wrong, which the long way says in full.
    """
    labels = type(targets) is np.ndarray and targets.dtype == np.int64 and targets.flags.c_contiguous
    in_core = getattr(loss, "in_core", None)
    if in_core is None or not labels or simulator.device != "cpu":
        return None
    span, dtype, stop = check_duration(duration), simulator.dtype, simulator.stop_when_fired
    core_loss = in_core(net, span)
    if core_loss is None or (stop is not None and loss.first_spikes_of(net) != stop):
        return None
    arrays = net.layout.arrays(params, dtype)
    inputs = collect_inputs(net, spikes, span)
    asked = (net.core, arrays, core_inputs(inputs), targets, core_loss, span, dtype, simulator.max_spikes)
    number = stop_population(net, stop, ())
    try:
        found = _core.value_and_grad(*asked, number, selected, input_times, limit)
    except (ParameterError, TargetError):
        return None
    core_record, values, correct, activity, (slots, at_inputs, health) = found
    given: dict[str, Any] = {"arrays": arrays, "duration": span, "dtype": dtype, "stop_when_fired": stop}
    record = Record(net, params, inputs, core_record, **given)
    record._activity.update(zip(net.populations, activity, strict=True))
    value = float(np.add.reduce(values)) * (1.0 / record.batch_size)
    return BatchStep(value, _named(record, slots, at_inputs, health), record, correct)


def backward(
    record: Record,
    spike_times: Mapping[str, ArrayLike] | None = None,
    readouts: Mapping[str, Sequence[ArrayLike | None]] | None = None,
    *,
    wrt: Iterable[str] | None = None,
    max_dw_norm: float | None = None,
    input_times: bool = True,
) -> Gradients:
    """Gradients from cotangents that the caller gives; they are used as given, and summed over the batch.

    Args:
        spike_times: {LIF population: dL/dt of every spike, aligned with ``record.spikes[population].times``}.
        readouts: {population: [dL/dy for each readout of the record, of its shape, or None]}.
        wrt, max_dw_norm, input_times: as in `value_and_grad`.
    """
    if not isinstance(record, Record):
        raise CotangentError(f"record is {type(record).__name__}; give the Record that simulate returned.")
    selected = record.network.layout.select(wrt)
    limit = check_max_dw_norm(max_dw_norm)
    record.check_unchanged()
    result = LossResult(
        np.empty(0), dict(spike_times or {}), {k: list(v) for k, v in (readouts or {}).items()}
    )
    return _run_backward(record, result, selected, limit, 1.0, input_times)


def check_max_dw_norm(max_dw_norm: float | None) -> float | None:
    """A float, or None."""
    if max_dw_norm is None:
        return None
    limit = float(max_dw_norm)
    if not 0.0 < limit < math.inf:
        raise ParameterError(
            f"max_dw_norm is {max_dw_norm!r}; it must be finite and > 0, or None to leave out nothing."
        )
    return limit


def _run_backward(
    record: Record,
    result: LossResult,
    selected: list[bool],
    limit: float | None,
    scale: float,
    input_times: bool,
) -> Gradients:
    net = record.network
    arrays, at_inputs, health = _core.backward(
        net.core,
        record._arrays,
        core_inputs(record.inputs),
        record._core_record,
        *cotangents_of(record, result),
        selected,
        input_times,
        scale,
        limit,
        record.min_vdot,
    )
    grads = _named(record, arrays, at_inputs, health)
    for name, direct in result.parameters.items():
        if name not in net.layout.by_name:
            raise CotangentError(f"the loss gave a gradient of {name!r}: {nearest(name, net.layout.names)}")
        if name in grads._arrays:
            grads._arrays[name] += direct
    return grads


def _named(
    record: Record, slots: list[Array | None], at_inputs: list[Floats] | None, health: Mapping[str, Any]
) -> Gradients:
    """Gradients as the core hands them out: by slot, None for those that were not asked for."""
    net = record.network
    named = {name: array for name, array in zip(net.layout.names, slots, strict=True) if array is not None}
    return Gradients(named, at_inputs, net.inputs, GradientHealth(record, health))


def cotangents_of(record: Record, result: LossResult) -> tuple[list[Floats | None], list[Floats | None]]:
    """The cotangents of spikes, by population, and of readouts, as the core takes them."""
    return _spike_cotangents(record, result.spike_times), _readout_cotangents(record, result.readouts)


def _spike_cotangents(record: Record, given: Mapping[str, Any]) -> list[Floats | None]:
    cotangents: list[Floats | None] = [None] * len(record.network.populations)
    for name, value in given.items():
        if record.network.population(name).kind != "lif":
            raise CotangentError(f"spike_times names {name!r}, which is no LIF population.")
        shape = record.spikes[name].times.shape
        cotangents[record.network.index[name]] = _cotangent(value, shape, f"spike_times[{name!r}]")
    return cotangents


def _readout_cotangents(record: Record, given: Mapping[str, Sequence[Any]]) -> list[Floats | None]:
    for name in given:
        if name not in record.readouts:
            raise CotangentError(f"readouts names {name!r}: {nearest(name, record.readouts)}")
    cotangents: list[Floats | None] = []
    for name, asked in record.readouts.items():
        values = given.get(name)
        if values is None:
            cotangents.extend([None] * len(asked))
            continue
        if len(values) != len(asked):
            raise CotangentError(
                f"readouts[{name!r}] has {len(values)} cotangents but the record has {len(asked)} readouts "
                f"({list(asked)!r}); give one each, None for those without."
            )
        for k, value in enumerate(values):
            if value is None:
                cotangents.append(None)
            else:
                shape = record.readout[name][k].shape
                cotangents.append(_cotangent(value, shape, f"readouts[{name!r}][{k}]"))
    return cotangents


def _cotangent(value: Any, shape: tuple[int, ...], label: str) -> Floats:
    """A C-contiguous float64 array of the right shape; float32 is widened, which loses nothing."""
    array = np.asarray(value)
    if array.shape != shape:
        raise CotangentError(f"{label} has shape {array.shape}; it must have shape {shape}.")
    if array.dtype != np.float64:
        if array.dtype.kind not in "fiu" or array.dtype.itemsize > 8:
            raise CotangentError(f"{label} has dtype {array.dtype}; it must be float64.")
        array = array.astype(np.float64)
    if not all_finite(array):
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise CotangentError(f"{label}{list(where)} is {array[where]}; cotangents must be finite.")
    return np.ascontiguousarray(array)
