"""evprop: exact event-based simulation of spiking neural networks, and their exact gradients.

The data's way: `Spikes` -> `Network` -> `simulate` -> `Record` -> a loss -> `value_and_grad` -> an optimiser.
Times are in milliseconds, voltages in units of the user's threshold, arrays C-contiguous NumPy.
"""

from __future__ import annotations

from typing import Any

from . import _core, errors, init, losses
from .files import load, save
from .gradients import GradientHealth, Gradients, backward, value_and_grad
from .network import Network
from .populations import LI, LIF, Input
from .projections import Dense, Sparse
from .record import Record
from .simulators import Exact, Trace, predict, simulate, trace
from .spikes import Spikes

__all__ = [
    "LI",
    "LIF",
    "BrainScaleS2",
    "Dense",
    "Exact",
    "GradientHealth",
    "Gradients",
    "Input",
    "Loihi2",
    "Network",
    "Record",
    "Sparse",
    "Spikes",
    "Trace",
    "backward",
    "errors",
    "init",
    "load",
    "losses",
    "num_threads",
    "predict",
    "save",
    "set_num_threads",
    "simulate",
    "trace",
    "value_and_grad",
]

# loaded when first asked for, so that `import evprop` stays fast
_LATER = frozenset(
    {"attacks", "augment", "callbacks", "datasets", "metrics", "optim", "plot", "sparse", "testing", "train"}
)


def set_num_threads(n: int) -> None:
    """Use n threads (>= 1) from now on. Results do not depend on it, not even in the last bit."""
    if isinstance(n, bool) or not hasattr(n, "__index__") or n < 1:
        raise errors.ConfigError(f"the number of threads is {n!r}; it must be an integer >= 1.")
    _core.set_num_threads(int(n))


def num_threads() -> int:
    """The number of threads in use: set_num_threads, else EVPROP_NUM_THREADS, else one per CPU."""
    return _core.num_threads()


def _threads_from_environment() -> None:
    import os

    given = os.environ.get("EVPROP_NUM_THREADS", "").strip()
    if given:
        if not given.isdecimal() or int(given) < 1:
            raise errors.ConfigError(
                f"EVPROP_NUM_THREADS is {given!r}; it must be an integer >= 1, or unset."
            )
        set_num_threads(int(given))


_threads_from_environment()


# names of a module that is loaded later, which are the package's own too
_LATER_NAMES = {"BrainScaleS2": "hardware", "Loihi2": "hardware"}


def __getattr__(name: str) -> Any:
    if name in _LATER or name in _LATER_NAMES.values():
        from importlib import import_module

        return import_module(f".{name}", __name__)
    if name in _LATER_NAMES:
        return getattr(__getattr__(_LATER_NAMES[name]), name)
    if name == "__version__":
        from importlib.metadata import version

        return version("evprop")
    raise AttributeError(f"module 'evprop' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(set(globals()) | _LATER | set(_LATER_NAMES) | set(_LATER_NAMES.values()) | {"__version__"})
