"""Initialisers: how a parameter gets its first values.

An initialiser is a small immutable value; `Network.init` hands it a random generator and a shape. To write one,
subclass `Initialiser` as a frozen dataclass and define `draw`.

Which generator, says ``stream``:

    "own"    of the parameter alone, fixed by the seed and the parameter's name: no two parameters are correlated,
             and adding one leaves the others as they were
    "seed"   numpy.random.default_rng(seed), afresh for every parameter: the first weights of published codes that
             draw so. Parameters that use it share their random numbers.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .errors import NetworkError, ParameterError, nearest

STREAMS = ("own", "seed")


class Initialiser(ABC):
    """Draws the first values of one parameter."""

    stream: str = "own"

    _known: ClassVar[dict[str, type[Initialiser]]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        Initialiser._known[cls.__name__] = cls

    @abstractmethod
    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """Values of the given shape, float64, drawn from ``rng`` only."""

    def to_dict(self) -> dict[str, Any]:
        """The class name and the dataclass fields; `from_dict` is its inverse."""
        described: dict[str, Any] = {"init": type(self).__name__}
        for entry in fields(self):  # type: ignore[arg-type]
            value = getattr(self, entry.name)
            if (entry.name, value) != ("stream", "own"):
                described[entry.name] = value.item() if isinstance(value, np.generic) else value
        return described

    @staticmethod
    def from_dict(described: dict[str, Any]) -> Initialiser:
        """Rebuild an initialiser from `to_dict`; one's own classes must have been imported."""
        values = dict(described)
        name = values.pop("init", None)
        if name not in Initialiser._known:
            raise NetworkError(
                f"unknown initialiser {name!r}: {nearest(name, Initialiser._known)} "
                "An initialiser of your own must be imported before the network is read."
            )
        try:
            return Initialiser._known[name](**values)
        except TypeError as error:
            raise NetworkError(f"initialiser {name!r} cannot be rebuilt: {error}") from None

    def __str__(self) -> str:
        values = {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]
        stream = values.pop("stream", "own")
        shown = [f"{value:g}" for value in values.values()] + ([] if stream == "own" else [f"stream={stream}"])
        return f"{type(self).__name__}({', '.join(shown)})"


def _finite(owner: object, **values: float) -> None:
    for name, value in values.items():
        if not math.isfinite(value):
            raise ParameterError(f"{type(owner).__name__}: {name}={value!r} must be finite.")


def _known_stream(owner: Initialiser) -> None:
    if owner.stream not in STREAMS:
        raise ParameterError(
            f"{type(owner).__name__}: stream={owner.stream!r} is unknown: {nearest(owner.stream, STREAMS)}"
        )


@dataclass(frozen=True)
class Normal(Initialiser):
    """Normal with the given mean and standard deviation (std >= 0)."""

    mean: float
    std: float
    stream: str = field(default="own", kw_only=True)

    def __post_init__(self) -> None:
        _finite(self, mean=self.mean, std=self.std)
        _known_stream(self)
        if self.std < 0:
            raise ParameterError(f"Normal: std={self.std!r} must be >= 0.")

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
        return rng.normal(self.mean, self.std, shape)


@dataclass(frozen=True)
class Tonotopic(Initialiser):
    """Normal with the given mean and standard deviation, alike on neighbouring channels: receptive fields.

    Each weight is the mean of independent normal numbers over the presynaptic units nearby, weighted by
    exp(-(i - j)^2 / (2 width^2)) and scaled to ``std``; ``width`` (> 0) counts presynaptic units. Channels of a cochlea
    that lie side by side spike alike, so the sum over independent weights is nearly the same for every neuron; with
    fields of some channels, neurons differ from the start.
    """

    mean: float
    std: float
    width: float
    stream: str = field(default="own", kw_only=True)

    def __post_init__(self) -> None:
        _finite(self, mean=self.mean, std=self.std, width=self.width)
        _known_stream(self)
        if self.std < 0 or self.width <= 0:
            raise ParameterError(f"Tonotopic: std={self.std!r} must be >= 0 and width={self.width!r} > 0.")

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
        if len(shape) != 2:
            raise ParameterError(f"Tonotopic draws the weights of a Dense projection, not shape {shape}.")
        distance = np.subtract.outer(np.arange(shape[0]), np.arange(shape[0])) / self.width
        kernel = np.exp(-0.5 * distance**2)
        kernel /= np.sqrt(np.sum(kernel**2, axis=1, keepdims=True))
        noise = rng.normal(0.0, self.std, shape)
        # sums in a fixed order, whatever BLAS does with a matrix product
        smooth = np.zeros(shape)
        for j in range(shape[0]):
            smooth += kernel[:, j : j + 1] * noise[j]
        return self.mean + smooth


@dataclass(frozen=True)
class LogNormal(Initialiser):
    """exp of a normal with mean ``mu`` and standard deviation ``sigma`` (>= 0): never negative."""

    mu: float
    sigma: float
    stream: str = field(default="own", kw_only=True)

    def __post_init__(self) -> None:
        _finite(self, mu=self.mu, sigma=self.sigma)
        _known_stream(self)
        if self.sigma < 0:
            raise ParameterError(f"LogNormal: sigma={self.sigma!r} must be >= 0.")

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
        return rng.lognormal(self.mu, self.sigma, shape)


@dataclass(frozen=True)
class Uniform(Initialiser):
    """Uniform between ``low`` (included) and ``high`` (left out); low <= high."""

    low: float
    high: float
    stream: str = field(default="own", kw_only=True)

    def __post_init__(self) -> None:
        _finite(self, low=self.low, high=self.high)
        _known_stream(self)
        if self.low > self.high:
            raise ParameterError(f"Uniform: low={self.low!r} must not exceed high={self.high!r}.")

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
        return rng.uniform(self.low, self.high, shape)


@dataclass(frozen=True)
class Constant(Initialiser):
    """The same value everywhere."""

    value: float

    def __post_init__(self) -> None:
        _finite(self, value=self.value)

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
        return np.full(shape, float(self.value))
