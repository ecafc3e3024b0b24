"""What a forward pass leaves behind: the spikes, the readouts, and what the backward pass needs of them.

A record holds its network, inputs and parameters (by reference, not as copies), and a fingerprint of the parameters:
`evprop.backward` refuses to work when they changed in place since, for its gradients would belong to no network.
Memory grows with the number of spikes, not with the duration.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._core import CoreRecord, fingerprint, replay
from .errors import ConfigError, ParameterError, RecordError, SpikesError, UnknownNameError, nearest
from .network import Network
from .parameters import Array, check_duration
from .populations import Population
from .readouts import Readout
from .spikes import Spikes

SpikesGiven = Spikes | Mapping[str, Spikes]
"""One Spikes for a network with one Input population, {name: Spikes} for one with several."""


class Record:
    """The outcome of one forward pass over a batch.

    Attributes:
        network, params, inputs: what was simulated; ``inputs`` is {Input population: Spikes}.
        duration: ms.
        dtype: "float64" or "float32", of the state and the readouts (spike times are always float64).
        spikes: {population: Spikes}, Input populations included.
        readout: {population: [array (batch, n) for each readout asked for]} (`Sampled`: (batch, m, n)).
        readouts: {population: [the readouts asked for]}.
        stop_when_fired: the population whose first spikes ended the samples (`Exact`), or None.
        device: where it was simulated, and where its gradients are computed.
        min_vdot: the floor of dV/dt at a spike, for observed spikes only (`from_spikes`); else None.
    """

    def __init__(
        self,
        network: Network,
        params: Mapping[str, Array],
        inputs: Mapping[str, Spikes],
        core_record: CoreRecord,
        *,
        arrays: list[Array],
        duration: float,
        dtype: str,
        readouts: Mapping[str, Sequence[Readout]] | None = None,
        min_vdot: float | None = None,
        stop_when_fired: str | None = None,
        device: str = "cpu",
    ) -> None:
        self.network = network
        self.params = params
        self.inputs = inputs
        self.duration = duration
        self.dtype = dtype
        self.readouts: Mapping[str, Sequence[Readout]] = readouts or {}
        self.min_vdot = min_vdot
        self.stop_when_fired = stop_when_fired
        self.device = device
        self.batch_size = len(next(iter(inputs.values())))
        self._core_record = core_record
        self._arrays = arrays
        known = core_record.fingerprint
        self._fingerprint = fingerprint(arrays) if known is None else known
        self.spikes: Mapping[str, Spikes] = _SpikesByPopulation(network, inputs, core_record)
        self._readout: dict[str, list[Array]] | None = None
        self._activity: dict[str, tuple[int, int]] = {}

    @classmethod
    def from_spikes(
        cls,
        net: Network,
        params: Mapping[str, Array],
        spikes: SpikesGiven,
        observed: Mapping[str, Spikes],
        *,
        duration: float,
        min_vdot: float,
    ) -> Record:
        """A record of spikes seen elsewhere, on a chip for example: the currents are replayed through them.

        Args:
            spikes: what was sent in, as for `evprop.simulate`.
            observed: {population: Spikes} for every LIF population, with the batch's samples in the same order.
            duration: ms.
            min_vdot: > 0, in units of v_th per ms. An observed spike is no nominal crossing, so the nominal
                dV/dt there may be small or negative; the backward pass puts this floor in its place and
                counts how often (``grads.health.floored``).
        """
        span = check_duration(duration)
        if not 0.0 < float(min_vdot) < math.inf:
            raise ParameterError(
                f"min_vdot is {min_vdot!r}; it must be finite and > 0 (units of v_th per ms)."
            )
        arrays = net.layout.collect(params, params_dtype(net, params))
        inputs = collect_inputs(net, spikes, span)
        batch = len(next(iter(inputs.values())))
        for name in observed:
            if net.population(name).kind != "lif":
                raise SpikesError(f"observed names {name!r}, which is no LIF population.")
        given: list[tuple[Any, Any, Any] | None] = []
        for name, population in net.populations.items():
            if population.kind != "lif":
                given.append(None)
                continue
            if name not in observed:
                raise SpikesError(
                    f"observed lacks the LIF population {name!r}; give the spikes of every one."
                )
            seen = observed[name]
            _check_spikes(seen, population.size, f"observed spikes of {name!r}")
            if len(seen) != batch:
                raise SpikesError(
                    f"observed spikes of {name!r} have {len(seen)} samples but the inputs have {batch}."
                )
            seen._check_within(span, f"observed spikes of {name!r}")
            given.append((seen.times, seen.units, seen.offsets))
        dtype = arrays[0].dtype.name
        core_record = replay(net.core, arrays, core_inputs(inputs), given, span, dtype)
        return cls(
            net,
            params,
            inputs,
            core_record,
            arrays=arrays,
            duration=span,
            dtype=dtype,
            min_vdot=float(min_vdot),
        )

    @property
    def readout(self) -> Mapping[str, list[Array]]:
        """{population: [array of each readout asked for, in that order]}."""
        if self._readout is None:
            filled: dict[str, list[Array]] = {}
            k = 0
            for name, asked in self.readouts.items():
                filled[name] = [self._core_record.readout(k + i) for i in range(len(asked))]
                k += len(asked)
            self._readout = filled
        return self._readout

    @property
    def ends(self) -> NDArray[np.float64]:
        """(batch,) ms: how far each sample was played: ``duration``, or the last spike that ``stop_when_fired`` waited
        for."""
        ends = np.full(self.batch_size, self.duration)
        if self.stop_when_fired is not None:
            spikes = self.spikes[self.stop_when_fired]
            complete = spikes.fired().all(axis=1)
            # Nothing is recorded after that spike, so it is the population's last.
            ends[complete] = spikes.times[spikes.offsets[1:][complete] - 1]
        return ends

    def readout_index(self, population: str, readout: Readout) -> int:
        """The place of a readout in ``record.readout[population]``."""
        asked = self.readouts.get(population, ())
        for k, other in enumerate(asked):
            if other == readout:
                return k
        raise RecordError(
            f"this record holds no {readout!r} of population {population!r} (it holds {list(asked)!r}); "
            f"simulate with readouts={{{population!r}: [{readout!r}]}}."
        )

    def max_times(self, population: str, readout: Readout) -> NDArray[np.float64]:
        """(batch, n) float64: the time (ms) of the maximum that a `Max` readout found."""
        k = self.readout_index(population, readout)
        for name, asked in self.readouts.items():
            if name == population:
                break
            k += len(asked)
        return self._core_record.max_times(k)

    def activity(self, population: str) -> tuple[int, int]:
        """Spikes of a LIF population, and (sample, neuron) pairs with a spike, counted where the record lies."""
        known = self._activity.get(population)
        if known is None:
            size = self._spiking(population).size
            known = self._core_record.activity(self.network.index[population], size)
            self._activity[population] = known
        return known

    def currents(self, population: str) -> Array:
        """(n_spikes,): the synaptic current I of each spiking neuron at its spike, in the record's dtype."""
        self._spiking(population)
        return self._core_record.currents(self.network.index[population])

    def _spiking(self, population: str) -> Population:
        found = self.network.population(population)
        if found.kind != "lif":
            raise RecordError(f"population {population!r} has no spikes of its own.")
        return found

    def check_unchanged(self) -> None:
        """Raise unless the parameters are, bit for bit, what they were in the forward pass."""
        if fingerprint(self._arrays) != self._fingerprint:
            raise RecordError(
                "the parameters changed in place since this record was made, so its gradients would be wrong; "
                "run backward before the optimiser step, or simulate again (or on copies)."
            )
        for name, array in zip(self.network.layout.names, self._arrays, strict=True):
            if self.params.get(name) is not array:
                raise RecordError(
                    f"parameter {name!r} was replaced in the dict since this record was made; simulate again."
                )

    def __repr__(self) -> str:
        counts = ", ".join(
            f"{name}: {self.spikes[name].n_spikes} spikes"
            for name, p in self.network.populations.items()
            if p.kind == "lif"
        )
        return f"Record({self.batch_size} samples of {self.duration:g} ms, {self.dtype}; {counts})"


class _SpikesByPopulation(Mapping[str, Spikes]):
    """The spikes of each population, fetched from the core when first asked for."""

    def __init__(self, network: Network, inputs: Mapping[str, Spikes], core_record: CoreRecord) -> None:
        self._network = network
        self._core_record = core_record
        self._ready: dict[str, Spikes] = dict(inputs)

    def __getitem__(self, name: str) -> Spikes:
        ready = self._ready.get(name)
        if ready is None:
            population = self._network.populations.get(name)
            if population is None or population.kind != "lif":
                known = list(self)
                raise UnknownNameError(
                    f"no spikes of {name!r}: "
                    + (
                        nearest(name, known)
                        if population is None
                        else "it is an LI population, which never spikes."
                    )
                )
            times, units, offsets = self._core_record.spikes(self._network.index[name])
            ready = Spikes._trusted(times, units, offsets, population.size, math.inf)
            self._ready[name] = ready
        return ready

    def __iter__(self) -> Iterator[str]:
        return (name for name, p in self._network.populations.items() if p.kind != "li")

    def __len__(self) -> int:
        return sum(1 for _ in self)


def check_played(record: Record, loss: Any) -> None:
    """Raise if samples that ended early lack what the loss may read."""
    stop = record.stop_when_fired
    if stop is None:
        return
    first_spikes_of = getattr(loss, "first_spikes_of", None)
    if first_spikes_of is None or first_spikes_of(record.network) != stop:
        raise ConfigError(
            f"stop_when_fired={stop!r} leaves out spikes that {loss!r} may read: it goes with losses of the first "
            f"spikes of {stop!r} alone. Use Exact() without it (or, for a loss of your own, define first_spikes_of)."
        )


def collect_inputs(net: Network, spikes: SpikesGiven, duration: float | None) -> dict[str, Spikes]:
    """{Input population: Spikes} in the network's order, checked against sizes, batch and duration."""
    given: Mapping[str, Spikes]
    if isinstance(spikes, Spikes):
        if len(net.inputs) != 1:
            raise SpikesError(
                f"this network has {len(net.inputs)} Input populations; give spikes as a dict: "
                f"{{{', '.join(f'{n!r}: ...' for n in net.inputs)}}}."
            )
        given = {net.inputs[0]: spikes}
    elif isinstance(spikes, Mapping):
        given = spikes
    else:
        raise SpikesError(
            f"spikes is {type(spikes).__name__}; it must be an evprop.Spikes (see Spikes.from_lists)."
        )
    if len(given) != len(net.inputs):
        for name in given:
            if name not in net.inputs:
                raise SpikesError(
                    f"spikes names {name!r}, which is no Input population: {nearest(name, net.inputs)}"
                )
    checked: dict[str, Spikes] = {}
    for name in net.inputs:
        if name not in given:
            raise SpikesError(f"spikes lacks the Input population {name!r} (given: {list(given)!r}).")
        one = given[name]
        _check_spikes(one, net.populations[name].size, f"spikes of {name!r}")
        if duration is not None:
            one._check_within(duration, f"spikes of {name!r}")
        checked[name] = one
    sizes = {name: len(one) for name, one in checked.items()}
    if len(set(sizes.values())) != 1:
        raise SpikesError(
            f"the Input populations have different numbers of samples: {sizes!r}; they must agree."
        )
    if not next(iter(sizes.values())):
        raise SpikesError(
            "the batch is empty (0 samples); give at least one sample (a sample may have no spikes)."
        )
    return checked


def _check_spikes(spikes: Any, size: int, label: str) -> None:
    if not isinstance(spikes, Spikes):
        raise SpikesError(
            f"{label}: got {type(spikes).__name__}; it must be an evprop.Spikes (see Spikes.from_lists)."
        )
    if spikes.n_units != size:
        raise SpikesError(
            f"{label}: n_units={spikes.n_units} but the population has {size} units; they must be equal."
        )


def core_inputs(inputs: Mapping[str, Spikes]) -> list[tuple[Any, Any, Any]]:
    """The raw arrays of each Input population, in order."""
    return [(s.times, s.units, s.offsets) for s in inputs.values()]


def params_dtype(net: Network, params: Mapping[str, Array]) -> str:
    """The dtype of the first parameter, where no simulator says which to expect."""
    first = params.get(net.layout.names[0]) if isinstance(params, Mapping) and net.layout.names else None
    name = first.dtype.name if isinstance(first, np.ndarray) else "float64"
    return name if name in ("float64", "float32") else "float64"
