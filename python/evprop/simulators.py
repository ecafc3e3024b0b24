"""Forward passes: `simulate`, `trace` and `predict`, and the exact simulator as a value.

A simulator is a small immutable value that turns a network, parameters and input spikes into a `Record`; anything
with a ``dtype`` and a ``simulate`` method of this shape will do.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _core
from .devices import device_ordinal
from .errors import ConfigError, NetworkError, ParameterError, ShapeError, SpikesError
from .network import Network
from .parameters import Array, check_dtype, check_duration
from .readouts import Readout
from .record import Record, SpikesGiven, check_played, collect_inputs, core_inputs
from .spikes import Spikes

ReadoutsGiven = Mapping[str, Sequence[Readout]]

DEFAULT_MAX_SPIKES = 1_000_000


class Simulator(Protocol):
    """What `simulate` and `value_and_grad` need of a simulator."""

    @property
    def dtype(self) -> str: ...

    def simulate(
        self,
        net: Network,
        params: Mapping[str, Array],
        spikes: SpikesGiven,
        *,
        duration: float,
        readouts: ReadoutsGiven | None = None,
    ) -> Record: ...


class Decides(Protocol):
    """What `predict` needs of a loss."""

    def readouts(self, net: Network) -> Mapping[str, Sequence[Readout]]:
        """The readouts that the decision reads."""

    def predict(self, record: Record) -> NDArray[np.int64]:
        """(batch,) int64 classes."""


@dataclass(frozen=True)
class Exact:
    """Event by event, without a time step: every threshold crossing to the last bit.

    Args:
        dtype: "float64" or "float32", of the state; spike times are float64 either way. The parameters must have it.
        max_spikes: the most spikes that one population may emit in one sample; a network beyond it is a runaway
            and ends with a `RunawayError`. No spike is ever dropped.
        stop_when_fired: a LIF population; each sample ends as soon as every neuron of it has spiked once, and later
            spikes, of any population, are left out (the end of each sample is ``record.ends``). Value and gradients
            of a loss of its first spikes stay what they are; any other loss, and readouts, are refused. None plays
            every sample to its end.
        device: "cpu", or "cuda" ("cuda:1" and so on): an NVIDIA GPU, whose driver is looked for here; a `DeviceError`
            says what is missing. Spikes and readouts agree to rounding. "cuda:local": the GPU with the number that this
            process has among those that a launcher started on its machine.
    """

    dtype: str = "float64"
    max_spikes: int = DEFAULT_MAX_SPIKES
    device: str = "cpu"
    stop_when_fired: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "dtype", check_dtype(self.dtype))
        try:
            limit = operator.index(self.max_spikes)
        except TypeError:
            raise ConfigError(f"Exact: max_spikes is {self.max_spikes!r}; it must be an integer.") from None
        if not 1 <= limit < 2**63:
            raise ConfigError(f"Exact: max_spikes is {limit}; it must be >= 1.")
        object.__setattr__(self, "max_spikes", limit)
        if not (self.stop_when_fired is None or isinstance(self.stop_when_fired, str)):
            raise ConfigError(
                f"Exact: stop_when_fired is {self.stop_when_fired!r}; give the name of a LIF population, or None."
            )
        ordinal = device_ordinal(self.device)
        if ordinal is not None:
            _core.cuda_device(ordinal)

    def simulate(
        self,
        net: Network,
        params: Mapping[str, Array],
        spikes: SpikesGiven,
        *,
        duration: float,
        readouts: ReadoutsGiven | None = None,
    ) -> Record:
        """One forward pass; see `evprop.simulate`."""
        span = check_duration(duration)
        arrays = net.layout.arrays(params, self.dtype)
        inputs = collect_inputs(net, spikes, span)
        specs = readout_specs(net, readouts, span)
        stop = stop_population(net, self.stop_when_fired, specs)
        asked = (net.core, arrays, core_inputs(inputs), span, specs, self.dtype, self.max_spikes, stop)
        try:
            core_record = _core.simulate(*asked, device_ordinal(self.device))
        except ParameterError as error:
            refused = error
        else:
            return Record(
                net,
                params,
                inputs,
                core_record,
                arrays=arrays,
                duration=span,
                dtype=self.dtype,
                readouts=readouts,
                stop_when_fired=self.stop_when_fired,
                device=self.device,
            )
        net.layout.complain(params, self.dtype)  # the core looks at every value; this says it in full
        raise refused


DEFAULT = Exact()


def stop_population(net: Network, name: str | None, specs: Sequence[Any]) -> int | None:
    """The number of the population that ends samples, which goes without readouts."""
    if name is None:
        return None
    kind = net.population(name).kind
    if kind != "lif":
        raise NetworkError(
            f"stop_when_fired names {name!r}, which is an {kind.upper() if kind == 'li' else 'Input'} population; "
            "only LIF neurons spike by themselves."
        )
    if specs:
        raise ConfigError(
            f"stop_when_fired={name!r} ends samples early, so readouts of the whole trial cannot be had; "
            "use Exact() without it."
        )
    return net.index[name]


def readout_specs(
    net: Network, readouts: ReadoutsGiven | None, duration: float
) -> list[tuple[int, tuple[Any, ...]]]:
    """(index of the population, what the core needs to know) of every readout, in the order asked for."""
    specs: list[tuple[int, tuple[Any, ...]]] = []
    for name, asked in (readouts or {}).items():
        if net.population(name).kind == "input":
            raise NetworkError(f"a readout of {name!r} is asked for, but an Input population has no voltage.")
        if not isinstance(asked, Sequence):
            raise ParameterError(f"readouts[{name!r}] is {asked!r}; give a list of readouts: [{asked!r}].")
        for readout in asked:
            if not isinstance(readout, Readout):
                hint = f"; give an instance: {readout.__name__}(...)" if isinstance(readout, type) else ""
                raise ParameterError(f"readouts[{name!r}] holds {readout!r}, which is no readout{hint}.")
            specs.append((net.index[name], readout.spec(duration)))
    return specs


def simulate(
    net: Network,
    params: Mapping[str, Array],
    spikes: SpikesGiven,
    *,
    duration: float,
    readouts: ReadoutsGiven | None = None,
    simulator: Simulator | None = None,
) -> Record:
    """Run a batch forward.

    Args:
        params: the dict of `Network.init`.
        spikes: a `Spikes`, or {name: Spikes} for a network with several Input populations.
        duration: ms; input spikes after it are an error (`Spikes.crop`).
        readouts: {population: [readout, ...]}.
        simulator: `Exact()` unless given.
    """
    chosen = DEFAULT if simulator is None else simulator
    return chosen.simulate(net, params, spikes, duration=duration, readouts=readouts)


def predict(
    net: Network,
    params: Mapping[str, Array],
    spikes: SpikesGiven,
    loss: Decides,
    *,
    duration: float,
    simulator: Simulator | None = None,
) -> NDArray[np.int64]:
    """(batch,) int64: the class that the loss's own rule picks for each sample; -1 where it picks none."""
    record = simulate(
        net, params, spikes, duration=duration, readouts=loss.readouts(net), simulator=simulator
    )
    check_played(record, loss)
    return loss.predict(record)


class Trace(NamedTuple):
    """V and I of one population at given times: each (m, n) float64."""

    v: NDArray[np.float64]
    i: NDArray[np.float64]


def trace(
    net: Network,
    params: Mapping[str, Array],
    spikes: SpikesGiven | tuple[ArrayLike, ArrayLike],
    population: str,
    times: ArrayLike,
    *,
    simulator: Simulator | None = None,
) -> Trace:
    """V and I of a population at given times, for one sample: something to look at.

    Args:
        spikes: one sample: ``spikes[b]`` (a pair of times and units), a `Spikes` of one sample, or a dict of these
            for a network with several Input populations. Spikes after the last of ``times`` do not matter.
        times: (m,) ms, >= 0, in any order. At a spike or an arrival: the state just after it.
    """
    if net.population(population).kind == "input":
        raise NetworkError(f"trace of {population!r} is asked for, but an Input population has no voltage.")
    at = np.asarray(times, dtype=np.float64)
    if at.ndim != 1 or not len(at):
        raise ShapeError(f"times has shape {at.shape}; give at least one time, in one dimension.")
    if not (np.isfinite(at).all() and (at >= 0).all()):
        bad = int(np.flatnonzero(~(np.isfinite(at) & (at >= 0)))[0])
        raise ParameterError(f"times[{bad}] is {at[bad]} ms; it must be finite and >= 0.")
    if getattr(simulator, "stop_when_fired", None) is not None:
        raise ConfigError("trace needs the whole trial; use a simulator without stop_when_fired.")
    duration = float(at.max()) or 1.0  # nothing after the last time can act on it; a duration of 0 is none
    batch = _one_sample(net, spikes, duration)
    record = simulate(net, params, batch, duration=duration, simulator=simulator)
    order = np.argsort(at, kind="stable")
    v, i = _core.trace(
        net.core,
        record._arrays,
        core_inputs(record.inputs),
        duration,
        record._core_record,
        net.index[population],
        at[order],
    )
    back = np.argsort(order, kind="stable")
    return Trace(v[back], i[back])


def _one_sample(net: Network, spikes: Any, duration: float) -> dict[str, Spikes]:
    given = spikes if isinstance(spikes, Mapping) else dict.fromkeys(net.inputs[:1], spikes)
    batch: dict[str, Spikes] = {}
    for name, one in given.items():
        if isinstance(one, tuple):
            one = Spikes.from_lists([one], n_units=net.population(name).size)
        if isinstance(one, Spikes):
            if len(one) != 1:
                raise SpikesError(
                    f"trace looks at one sample, but {len(one)} are given; give spikes[b] for one b."
                )
            one = one.crop(duration)
        batch[name] = one
    return collect_inputs(net, batch, duration)
