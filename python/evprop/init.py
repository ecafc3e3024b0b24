"""Initialisers: how a parameter gets its first values.

An initialiser is a small immutable value; `Network.init` hands it a random generator of the parameter's own and a
shape. To write one, subclass `Initialiser` as a frozen dataclass and define `draw`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .errors import NetworkError, ParameterError, nearest


class Initialiser(ABC):
    """Draws the first values of one parameter."""

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
        for field in fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            described[field.name] = value.item() if isinstance(value, np.generic) else value
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
        return f"{type(self).__name__}({', '.join(f'{getattr(self, f.name):g}' for f in fields(self))})"  # type: ignore[arg-type]


def _finite(owner: object, **values: float) -> None:
    for name, value in values.items():
        if not math.isfinite(value):
            raise ParameterError(f"{type(owner).__name__}: {name}={value!r} must be finite.")


@dataclass(frozen=True)
class Normal(Initialiser):
    """Normal with the given mean and standard deviation (std >= 0)."""

    mean: float
    std: float

    def __post_init__(self) -> None:
        _finite(self, mean=self.mean, std=self.std)
        if self.std < 0:
            raise ParameterError(f"Normal: std={self.std!r} must be >= 0.")

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
        return rng.normal(self.mean, self.std, shape)


@dataclass(frozen=True)
class LogNormal(Initialiser):
    """exp of a normal with mean ``mu`` and standard deviation ``sigma`` (>= 0): never negative."""

    mu: float
    sigma: float

    def __post_init__(self) -> None:
        _finite(self, mu=self.mu, sigma=self.sigma)
        if self.sigma < 0:
            raise ParameterError(f"LogNormal: sigma={self.sigma!r} must be >= 0.")

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
        return rng.lognormal(self.mu, self.sigma, shape)


@dataclass(frozen=True)
class Uniform(Initialiser):
    """Uniform between ``low`` (included) and ``high`` (left out); low <= high."""

    low: float
    high: float

    def __post_init__(self) -> None:
        _finite(self, low=self.low, high=self.high)
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
