"""A network: populations and the projections between them, checked once, immutable.

The description holds no parameter values; `Network.init` makes them, as a plain dict of arrays that every other
function takes beside the network. Any directed graph is allowed: layers, skips, recurrence, several projections
between the same two populations.
"""

from __future__ import annotations

import hashlib
import operator
import re
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._core import CoreNetwork
from .errors import NetworkError, nearest
from .init import Initialiser
from .parameters import ORDER, Array, Layout, Parameter, check_dtype, check_order, check_values
from .populations import POPULATIONS, Population, Source, format_source
from .projections import Dense, Projection, Sparse

_NAME = re.compile(r"[\w\-]+")
_PROJECTIONS: dict[str, type[Projection]] = {"Dense": Dense, "Sparse": Sparse}
_FORMAT = 1


class Network:
    """Populations by name, and projections between them.

    Args:
        populations: {name: Input(...) | LIF(...) | LI(...)}; at least one Input.
        projections: Dense(...) and Sparse(...), in the order in which simultaneous arrivals are played.

    Attributes:
        populations: read-only mapping of the populations, in order.
        projections: tuple of the projections, in order.
        inputs: names of the Input populations.
        outputs: names of the neuron populations that reach no other population.
        spiking: {LIF population: its size}.
        layout: the parameters in canonical order (`evprop.parameters.Layout`).
    """

    def __init__(self, populations: Mapping[str, Population], projections: Iterable[Projection] = ()) -> None:
        self.populations: Mapping[str, Population] = MappingProxyType(_check_populations(populations))
        self.projections: tuple[Projection, ...] = tuple(projections)
        self._check_projections()
        self.inputs = tuple(n for n, p in self.populations.items() if p.kind == "input")
        sending = {p.pre for p in self.projections if p.post != p.pre}
        self.outputs = tuple(n for n, p in self.populations.items() if p.kind != "input" and n not in sending)
        self.spiking: Mapping[str, int] = MappingProxyType(
            {n: p.size for n, p in self.populations.items() if p.kind == "lif"}
        )
        self.index: Mapping[str, int] = MappingProxyType({n: k for k, n in enumerate(self.populations)})
        self.layout = Layout(self._parameters())
        self._core: CoreNetwork | None = None

    # -- its checks ------------------------------------------------------------------------------------------

    def _check_projections(self) -> None:
        taken: set[str] = set()
        for projection in self.projections:
            if not isinstance(projection, Projection):
                raise NetworkError(
                    f"{projection!r} is no projection; use evprop.Dense(...) or evprop.Sparse(...)."
                )
            name = projection.name
            _check_name(name, "projection")
            if name in taken or name in self.populations:
                raise NetworkError(
                    f"the name {name!r} of the projection {projection.pre!r} -> {projection.post!r} is taken; "
                    "give name=... to one of the two."
                )
            taken.add(name)
            for end in (projection.pre, projection.post):
                if end not in self.populations:
                    raise NetworkError(
                        f"projection {name!r} names an unknown population {end!r}: {nearest(end, self.populations)}"
                    )
            pre, post = self.populations[projection.pre], self.populations[projection.post]
            if pre.kind == "li":
                raise NetworkError(
                    f"projection {name!r} starts at {projection.pre!r}, an LI population, which never spikes."
                )
            if post.kind == "input":
                raise NetworkError(
                    f"projection {name!r} ends at {projection.post!r}, an Input population, which receives nothing."
                )
            projection.check_against(pre.size, post.size)

    def _parameters(self) -> Iterator[Parameter]:
        for name, population in self.populations.items():
            for kind in population.sources():
                yield Parameter(name, kind, (population.size,), kind in population.trained())
        for p in self.projections:
            for kind, shape in p.shapes(self.populations[p.pre].size, self.populations[p.post].size).items():
                absent = kind == "weight" and isinstance(p, Dense) and not p.self_connections
                yield Parameter(p.name, kind, shape, kind in p.trained(), absent)

    # -- its parameters --------------------------------------------------------------------------------------

    def init(self, seed: int, dtype: str = "float64") -> dict[str, Array]:
        """First values of all parameters, as a dict of arrays in canonical order.

        Each parameter draws from a random stream of its own, keyed by the seed and its name, so that adding a
        population changes no other parameter.
        """
        wanted = np.dtype(check_dtype(dtype))
        try:
            entropy = operator.index(seed)
        except TypeError:
            raise NetworkError(f"seed is {seed!r}; it must be an integer >= 0.") from None
        if entropy < 0:
            raise NetworkError(f"seed is {seed}; it must be >= 0.")
        params: dict[str, Array] = {}
        for parameter in self.layout.parameters:
            source = self._source(parameter)
            values = _draw(source, parameter, entropy).astype(wanted)
            if parameter.no_diagonal and isinstance(source, Initialiser | float):
                np.fill_diagonal(values, 0.0)
            drawn_by = f" (drawn by {source})" if isinstance(source, Initialiser) else ""
            check_values(parameter.kind, values, f"{parameter.name}{drawn_by}")
            params[parameter.name] = values
        for owner in self.populations:
            for low, high in ORDER:
                if f"{owner}.{low}" in params and f"{owner}.{high}" in params:
                    check_order(
                        params[f"{owner}.{low}"],
                        params[f"{owner}.{high}"],
                        f"{owner}.{low}",
                        f"{owner}.{high}",
                    )
        self.layout.collect(params, wanted.name)
        return params

    def _source(self, parameter: Parameter) -> Source:
        if parameter.owner in self.populations:
            return self.populations[parameter.owner].sources()[parameter.kind]
        return next(p for p in self.projections if p.name == parameter.owner).sources()[parameter.kind]

    @property
    def parameter_names(self) -> tuple[str, ...]:
        """All parameter names in canonical order."""
        return self.layout.names

    @property
    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """{name: shape} in canonical order."""
        return {p.name: p.shape for p in self.layout.parameters}

    @property
    def trainable(self) -> tuple[str, ...]:
        """The names of the parameters that training changes by default."""
        return tuple(p.name for p in self.layout.parameters if p.trainable)

    @property
    def n_parameters(self) -> int:
        """The number of all values, constants of the neurons included."""
        return sum(p.size for p in self.layout.parameters)

    @property
    def n_trainable(self) -> int:
        """The number of values that training changes by default."""
        return sum(p.size for p in self.layout.parameters if p.trainable)

    def population(self, name: str) -> Population:
        """The population of that name, or an error that suggests the nearest one."""
        if name not in self.populations:
            raise NetworkError(f"unknown population {name!r}: {nearest(name, self.populations)}")
        return self.populations[name]

    @property
    def core(self) -> CoreNetwork:
        """The compiled twin, made on first use."""
        if self._core is None:
            core = CoreNetwork(
                [(name, p.kind, p.size) for name, p in self.populations.items()],
                [
                    (
                        p.name,
                        self.index[p.pre],
                        self.index[p.post],
                        p.delay_kind,
                        p.self_connections,
                        p.structure(),
                    )
                    for p in self.projections
                ],
            )
            if (names := tuple(entry[0] for entry in core.layout())) != self.layout.names:
                raise NetworkError(
                    f"the compiled core orders the parameters as {names}, this package as {self.layout.names}; "
                    "the two do not belong together: install evprop again."
                )
            self._core = core
        return self._core

    # -- as text and as a dict -------------------------------------------------------------------------------

    def __repr__(self) -> str:
        inside = ", ".join(f"{n}: {type(p).__name__}({p.size})" for n, p in self.populations.items())
        return f"Network({inside}; {len(self.projections)} projections, {self.n_trainable:,} trainable parameters)"

    def summary(self) -> str:
        """A table of populations, projections and parameter counts; * marks what training changes."""
        return _summary(self)

    def __eq__(self, other: object) -> bool:
        return self.to_dict() == other.to_dict() if isinstance(other, Network) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.layout.parameters)

    def __reduce__(self) -> tuple[Any, ...]:
        return Network, (dict(self.populations), self.projections)

    def to_dict(self, tensors: dict[str, NDArray[Any]] | None = None) -> dict[str, Any]:
        """A description made of JSON types, from which `from_dict` rebuilds the network.

        Arrays become lists; with a dict ``tensors`` they are put there instead and the description names them.
        """

        def encode(owner: str, described: dict[str, Any]) -> dict[str, Any]:
            return {k: _encode(v, f"{owner}.{k}", tensors) for k, v in described.items() if v is not None}

        return {
            "evprop_network": _FORMAT,
            "populations": {
                name: {"kind": type(p).__name__} | encode(name, p.describe())
                for name, p in self.populations.items()
            },
            "projections": [
                {"kind": type(p).__name__} | encode(p.name, p.describe()) for p in self.projections
            ],
        }

    @classmethod
    def from_dict(
        cls, described: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]] | None = None
    ) -> Network:
        """The inverse of `to_dict`."""
        if not isinstance(described, Mapping) or "evprop_network" not in described:
            raise NetworkError("this is no network description: the key 'evprop_network' is missing.")
        if described["evprop_network"] != _FORMAT:
            raise NetworkError(
                f"network description of format {described['evprop_network']!r}; this version of evprop reads "
                f"format {_FORMAT}. Update evprop."
            )
        try:
            populations = {
                name: _build(entry, POPULATIONS, f"population {name!r}", tensors)
                for name, entry in described["populations"].items()
            }
            projections = [
                _build(entry, _PROJECTIONS, "projection", tensors) for entry in described["projections"]
            ]
        except (KeyError, AttributeError, TypeError) as error:
            raise NetworkError(f"this network description is damaged: {error!r}.") from error
        return cls(populations, projections)


def _check_name(name: Any, what: str) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise NetworkError(f"{what} name {name!r}: use letters, digits, '_' and '-' only.")


def _check_populations(populations: Any) -> dict[str, Population]:
    if not isinstance(populations, Mapping):
        raise NetworkError(
            f"populations is {type(populations).__name__}; give a dict of name: Input | LIF | LI."
        )
    checked = dict(populations)
    for name, population in checked.items():
        _check_name(name, "population")
        if not isinstance(population, Population):
            raise NetworkError(
                f"population {name!r} is {population!r}; use evprop.Input(n), LIF(n, ...) or LI(n, ...)."
            )
    if not any(p.kind == "input" for p in checked.values()):
        raise NetworkError("a network needs at least one Input population; it gives the batch its samples.")
    return checked


def _draw(source: Source, parameter: Parameter, seed: int) -> NDArray[np.float64]:
    if isinstance(source, Initialiser):
        rng = np.random.default_rng(_own_stream(parameter, seed) if source.stream == "own" else seed)
        values = np.asarray(source.draw(rng, parameter.shape), dtype=np.float64)
        if values.shape != parameter.shape:
            raise NetworkError(
                f"{type(source).__name__}.draw gave shape {values.shape} for {parameter.name}; "
                f"it was asked for {parameter.shape}."
            )
        return values
    if isinstance(source, np.ndarray):
        return source.copy()
    return np.full(parameter.shape, source)


def _own_stream(parameter: Parameter, seed: int) -> np.random.SeedSequence:
    # four words of a fixed hash of the name: a stream of its own, the same on every machine
    words = np.frombuffer(hashlib.sha256(parameter.name.encode()).digest()[:16], dtype="<u4")
    return np.random.SeedSequence(seed, spawn_key=tuple(int(w) for w in words))


def _encode(value: Any, label: str, tensors: dict[str, NDArray[Any]] | None) -> Any:
    if isinstance(value, Initialiser):
        return value.to_dict()
    if isinstance(value, np.ndarray):
        if tensors is not None:
            tensors[label] = value
            return {"tensor": label}
        return {"array": value.tolist()}
    if isinstance(value, float) and not np.isfinite(value):
        return {"float": str(value)}  # JSON has no infinity
    return list(value) if isinstance(value, tuple) else value


def _decode(value: Any, tensors: Mapping[str, NDArray[Any]] | None) -> Any:
    if isinstance(value, Mapping):
        if "tensor" in value:
            return (tensors or {})[value["tensor"]]
        if "array" in value:
            return np.asarray(value["array"])
        return float(value["float"]) if "float" in value else Initialiser.from_dict(dict(value))
    return tuple(value) if isinstance(value, list) else value


def _build(entry: Mapping[str, Any], classes: Mapping[str, type[Any]], label: str, tensors: Any) -> Any:
    values = {k: _decode(v, tensors) for k, v in entry.items()}
    kind = values.pop("kind", None)
    if kind not in classes:
        raise NetworkError(f"{label}: unknown kind {kind!r}: {nearest(kind, classes)}")
    try:
        return classes[kind](**values)
    except TypeError as error:
        raise NetworkError(f"{label}: {error}") from None


def _summary(net: Network) -> str:
    neurons = sum(p.size for p in net.populations.values() if p.kind != "input")
    rows = [("population", "kind", "size", "constants")]
    for name, population in net.populations.items():
        trained = population.trained()
        constants = "  ".join(
            f"{k}{'*' if k in trained else ''} {format_source(v)}" for k, v in population.sources().items()
        )
        rows.append((name, type(population).__name__, f"{population.size:,}", constants))
    links = [("projection", "kind", "parameters", "weight and delay")]
    for p in net.projections:
        marks = {k: "*" if k in p.trained() else "" for k in p.sources()}
        kinds = {"weight": "", "delay": f"{p.delay_kind} "}
        parts = [f"{k}{marks[k]} {kinds[k]}{format_source(v)}" for k, v in p.sources().items()]
        size = sum(q.size for q in net.layout.parameters if q.owner == p.name)
        links.append((f"{p.name}: {p.pre} -> {p.post}", type(p).__name__, f"{size:,}", "  ".join(parts)))
    widths = [max(len(row[k]) for row in rows + links) for k in range(3)]

    def line(row: tuple[str, ...]) -> str:
        return f"  {row[0]:<{widths[0]}}  {row[1]:<{widths[1]}}  {row[2]:>{widths[2]}}  {row[3]}".rstrip()

    head = (
        f"Network: {neurons:,} neurons, {len(net.projections)} projections, "
        f"{net.n_trainable:,} trainable parameters of {net.n_parameters:,} (* trainable)"
    )
    return "\n".join([head, *map(line, rows), *map(line, links)])
