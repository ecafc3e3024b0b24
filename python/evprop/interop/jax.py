"""A network as a function for JAX: exact spikes forwards, exact gradients backwards, under jit, grad and vmap.

    play = Function(net, duration=30.0, readouts={"output": [Final()]}, first_spikes=["hidden"])
    out = play(params, times)      # params: the dict of `Network.init`; times: (batch, n_units) ms, +inf: no spike

JAX needs shapes that do not depend on the data, so spikes come padded, and go out padded or as first spike times. The
engine runs in `jax.pure_callback`. A record is no array and cannot wait between the two passes inside JAX: the function
keeps the last one beside its inputs, and where backwards is asked for other inputs, it simulates those again.

Spike times are float64, so ``jax.config.update("jax_enable_x64", True)`` is needed; nothing is rounded instead.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError, NetworkError, ShapeError, SpikesError
from ..gradients import backward
from ..network import Network
from ..parameters import WITHOUT_GRADIENT, Array, check_duration
from ..readouts import Readout, Sampled
from ..record import Record
from ..simulators import DEFAULT, Simulator
from ..spikes import Spikes

try:
    import jax
    import jax.numpy as jnp
except ImportError as error:
    from ._extras import missing

    raise missing("JAX", "jax") from error

__all__ = ["Function", "Output"]

Floats = NDArray[np.float64]


class Output(NamedTuple):
    """What a `Function` returns: a pytree.

    Attributes:
        readout: {population: [(batch, n) for each readout asked for]} (`Sampled`: (batch, m, n)).
        first_times: {population: (batch, n) float64, ms}; +inf where a neuron is silent.
        spikes: {population: (times, units)}, (batch, k) each; +inf ms and unit -1 behind the last spike of a sample.
    """

    readout: dict[str, list[Any]]
    first_times: dict[str, Any]
    spikes: dict[str, tuple[Any, Any]]


class Function:
    """A network as a pure function of parameters and input spike times.

    Args:
        network: any `Network`.
        duration: ms, of every sample.
        readouts: {population: [readout, ...]}, as for `evprop.simulate`.
        first_spikes: LIF populations whose first spike times are returned.
        spikes: {LIF population: the most spikes of a sample}; a sample with more is an error.
        simulator: `Exact()` unless given; its dtype must be that of the parameters.

    Called as ``play(params, times, units=None)``. times: float64, ms, +inf where there is no spike: (batch, n_units),
    one spike per unit, or with units (integers of the same shape) (batch, k), in any order; dicts by name for several
    Input populations. Gradients reach every parameter but t_ref, and the times. Under vmap the forward pass is one
    batch of the engine; its gradients are taken sample by sample, so give a batch as a batch where speed counts.
    """

    def __init__(
        self,
        network: Network,
        *,
        duration: float,
        readouts: Mapping[str, Sequence[Readout]] | None = None,
        first_spikes: Iterable[str] = (),
        spikes: Mapping[str, int] | None = None,
        simulator: Simulator | None = None,
    ) -> None:
        self.network = network
        self.duration = check_duration(duration)
        self.readouts = {name: list(asked) for name, asked in (readouts or {}).items()}
        self.first_spikes = tuple(first_spikes)
        self.spikes = dict(spikes or {})
        self.simulator: Simulator = DEFAULT if simulator is None else simulator
        for name in (*self.first_spikes, *self.spikes):
            if network.population(name).kind != "lif":
                raise NetworkError(f"spikes of {name!r} are asked for, which is no LIF population.")
        if getattr(self.simulator, "stop_when_fired", None) is not None:
            raise ConfigError("stop_when_fired leaves out spikes that JAX may read; use Exact() without it.")
        self._last: tuple[list[NDArray[Any]], Record] | None = None
        self._play = jax.custom_vjp(self._forwards)
        self._play.defvjp(self._forwards_and_keep, self._backwards)

    def __call__(self, params: Mapping[str, Any], times: Any, units: Any = None) -> Output:
        if not jax.config.jax_enable_x64:
            raise ConfigError(
                'spike times are float64, which JAX has switched off; jax.config.update("jax_enable_x64", True) first.'
            )
        return self._play(dict(params), *self._padded(times, units))  # type: ignore[no-any-return]

    def _padded(self, times: Any, units: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Times and units by Input population, each (batch, k)."""
        names = self.network.inputs
        by_name = dict(times) if isinstance(times, Mapping) else dict.fromkeys(names[:1], times)
        of_name = dict(units) if isinstance(units, Mapping) else dict.fromkeys(names[:1], units)
        if set(by_name) != set(names):
            raise SpikesError(f"times are given for {sorted(by_name)}; the Input populations are {list(names)}.")
        found_times, found_units = {}, {}
        for name in names:
            t, u = jnp.asarray(by_name[name], jnp.float64), of_name.get(name)
            size = self.network.populations[name].size
            if u is None:
                u = jnp.broadcast_to(jnp.arange(size), t.shape) if t.shape[-1:] == (size,) else None
            if t.ndim != 2 or u is None or jnp.shape(u) != t.shape:
                raise ShapeError(
                    f"times of {name!r} have shape {t.shape}; they must be (batch, {size}), one spike per unit, or "
                    "(batch, k) with units of the same shape."
                )
            found_times[name], found_units[name] = t, jnp.asarray(u, jnp.int64)
        return found_times, found_units

    # -- what JAX sees ---------------------------------------------------------------------------------------

    def _forwards(self, params: dict[str, Any], times: dict[str, Any], units: dict[str, Any]) -> Any:
        batch = len(next(iter(times.values())))
        shapes = self._shapes(batch)
        return jax.pure_callback(self._simulate_many, shapes, params, times, units, vmap_method="expand_dims")

    def _forwards_and_keep(self, params: Any, times: Any, units: Any) -> tuple[Any, tuple[Any, ...]]:
        return self._forwards(params, times, units), (params, times, units)

    def _backwards(self, given: tuple[Any, ...], cotangents: Any) -> tuple[Any, ...]:
        params, times, units = given
        like = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), (params, times))
        floats = (cotangents.readout, cotangents.first_times, {k: t for k, (t, _) in cotangents.spikes.items()})
        grads = jax.pure_callback(
            self._backward_many, like, params, times, units, floats, vmap_method="expand_dims"
        )
        return (*grads, {name: np.zeros(u.shape, jax.dtypes.float0) for name, u in units.items()})

    def _shapes(self, batch: int) -> Output:
        def readout(name: str, asked: Readout) -> Any:
            middle = (len(asked.times),) if isinstance(asked, Sampled) else ()
            shape = (batch, *middle, self.network.populations[name].size)
            return jax.ShapeDtypeStruct(shape, np.dtype(self.simulator.dtype))

        def spikes(shape: tuple[int, ...], dtype: Any) -> Any:
            return jax.ShapeDtypeStruct(shape, np.dtype(dtype))

        return Output(
            {name: [readout(name, one) for one in asked] for name, asked in self.readouts.items()},
            {name: spikes((batch, self.network.populations[name].size), "float64") for name in self.first_spikes},
            {name: (spikes((batch, k), "float64"), spikes((batch, k), "int64")) for name, k in self.spikes.items()},
        )

    # -- what the engine sees: vmap puts axes in front of every array, of length 1 where it does not map -----

    def _simulate_many(self, params: Any, times: Any, units: Any) -> Output:
        params, times, units = jax.tree.map(np.asarray, (params, times, units))
        lead = self._lead(params, times, units)
        if self._one_set(params):
            flat = [{name: _rows(a, lead) for name, a in part.items()} for part in (times, units)]
            found = self._outputs(self._simulate(self._unmapped(params), *flat))
            return jax.tree.map(lambda y: y.reshape(*lead, -1, *y.shape[1:]), found)  # type: ignore[no-any-return]
        parts = [self._outputs(self._simulate(*one)) for one in self._each(lead, params, times, units)]
        return jax.tree.map(lambda *ys: np.stack(ys).reshape(*lead, *ys[0].shape), *parts)  # type: ignore[no-any-return]

    def _backward_many(self, params: Any, times: Any, units: Any, cotangents: Any) -> Any:
        params, times, units, cotangents = jax.tree.map(np.asarray, (params, times, units, cotangents))
        lead = self._lead(params, times, units, cotangents)
        parts = []
        for k, one in enumerate(self._each(lead, params, times, units)):
            mine = jax.tree.map(lambda c, k=k: _at(c, lead, k), cotangents)
            parts.append(self._gradients(*one, mine))
        return jax.tree.map(lambda *gs: np.stack(gs).reshape(*lead, *gs[0].shape), *parts)

    def _lead(self, params: Any, times: Any, units: Any, cotangents: Any = None) -> tuple[int, ...]:
        """The axes that vmap put in front."""
        axes = [a.shape[: a.ndim - 2] for a in (*times.values(), *units.values())]
        axes += [params[name].shape[: params[name].ndim - len(s)] for name, s in self._shapes_of_params().items()]
        if cotangents is not None:
            n = len(axes[0])
            axes += [c.shape[:n] for c in jax.tree.leaves(cotangents)]
        return np.broadcast_shapes(*axes)

    def _shapes_of_params(self) -> dict[str, tuple[int, ...]]:
        return self.network.parameter_shapes

    def _one_set(self, params: Mapping[str, Any]) -> bool:
        return all(params[name].size == math.prod(shape) for name, shape in self._shapes_of_params().items())

    def _unmapped(self, params: Mapping[str, Any]) -> dict[str, Array]:
        return {name: np.ascontiguousarray(params[name].reshape(s)) for name, s in self._shapes_of_params().items()}

    def _each(self, lead: tuple[int, ...], params: Any, times: Any, units: Any) -> Iterable[tuple[Any, Any, Any]]:
        for k in range(math.prod(lead)):
            yield (
                self._unmapped({name: _at(a, lead, k) for name, a in params.items()}),
                {name: _at(a, lead, k) for name, a in times.items()},
                {name: _at(a, lead, k) for name, a in units.items()},
            )

    # -- one call of the engine ------------------------------------------------------------------------------

    def _simulate(self, params: dict[str, Array], times: Any, units: Any) -> Record:
        key = [*params.values(), *times.values(), *units.values()]
        last = self._last
        if last is not None and all(np.array_equal(a, b) for a, b in zip(last[0], key, strict=True)):
            return last[1]
        # JAX may use its memory again: the record keeps copies of its own
        params = {name: np.array(array) for name, array in params.items()}
        inputs = {n: _to_spikes(times[n], units[n], self.network.populations[n].size) for n in self.network.inputs}
        record = self.simulator.simulate(
            self.network,
            params,
            inputs if len(inputs) > 1 else inputs[self.network.inputs[0]],
            duration=self.duration,
            readouts=self.readouts or None,
        )
        self._last = ([*params.values(), *(np.array(a) for a in (*times.values(), *units.values()))], record)
        return record

    def _outputs(self, record: Record) -> Output:
        return Output(
            {name: list(record.readout[name]) for name in self.readouts},
            {name: record.spikes[name].first_times() for name in self.first_spikes},
            {name: _pad(record.spikes[name], width, name) for name, width in self.spikes.items()},
        )

    def _gradients(self, params: dict[str, Array], times: Any, units: Any, cotangents: Any) -> tuple[Any, Any]:
        readouts, first, padded = cotangents
        record = self._simulate(params, times, units)
        on_spikes: dict[str, Floats] = {}
        for name in {*first, *padded}:
            spikes = record.spikes[name]
            total = np.zeros(spikes.n_spikes)
            if name in first:
                where, unit = _first(spikes)
                total[where] += first[name][spikes.samples[where], unit]
            if name in padded:
                total += padded[name][_places(spikes)]
            on_spikes[name] = total
        learnt = [n for n in self.network.parameter_names if n.rpartition(".")[2] not in WITHOUT_GRADIENT]
        grads = backward(record, on_spikes, readouts, wrt=learnt)
        by_input = grads.input_times if len(self.network.inputs) > 1 else {self.network.inputs[0]: grads.input_times}
        back = {n: np.zeros(times[n].shape) for n in self.network.inputs}
        for name, array in back.items():
            order = np.argsort(times[name], axis=1, kind="stable")
            spikes = record.inputs[name]
            samples, columns = _places(spikes)
            array[samples, order[samples, columns]] = by_input[name]
        return {name: grads[name] if name in grads else np.zeros_like(params[name]) for name in params}, back


def _rows(array: NDArray[Any], lead: tuple[int, ...]) -> NDArray[Any]:
    """All batches of the mapped axes as one batch."""
    return np.broadcast_to(array, (*lead, *array.shape[-2:])).reshape(-1, array.shape[-1])


def _at(array: NDArray[Any], lead: tuple[int, ...], k: int) -> Any:
    """Element k of the mapped axes, which may be of length 1."""
    index = np.unravel_index(k, lead) if lead else ()
    return array[tuple(0 if n == 1 else i for n, i in zip(array.shape, index, strict=False))]


def _to_spikes(times: Floats, units: NDArray[np.int64], size: int) -> Spikes:
    order = np.argsort(times, axis=1, kind="stable")
    sorted_times = np.take_along_axis(times, order, axis=1)
    present = sorted_times != math.inf
    offsets = np.concatenate([[0], np.cumsum(present.sum(axis=1))])
    return Spikes(sorted_times[present], np.take_along_axis(units, order, axis=1)[present], offsets, n_units=size)


def _places(spikes: Spikes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(sample, place within the sample) of every spike."""
    samples = spikes.samples
    return samples, np.arange(len(samples)) - spikes.offsets[samples]


def _pad(spikes: Spikes, width: int, name: str) -> tuple[Floats, NDArray[np.int64]]:
    most = int(spikes.counts_per_sample().max(initial=0))
    if most > width:
        b = int(spikes.counts_per_sample().argmax())
        raise SpikesError(
            f"sample {b} has {most} spikes of {name!r} but room for {width}; raise spikes={{{name!r}: {width}}}."
        )
    times, units = np.full((len(spikes), width), np.inf), np.full((len(spikes), width), -1, np.int64)
    times[_places(spikes)], units[_places(spikes)] = spikes.times, spikes.units
    return times, units


def _first(spikes: Spikes) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """(place in ``spikes.times``, unit) of the first spike of each unit in each sample."""
    key = spikes.samples * spikes.n_units + spikes.units
    where = np.unique(key, return_index=True)[1]
    return where, spikes.units[where]
