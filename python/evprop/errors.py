"""Every exception that evprop raises on purpose.

`EvpropError` is the base of all; each class also subclasses the built-in exception that fits, so that
``except ValueError`` keeps working. Messages name the value, the limit and the remedy. The compiled core
raises these same classes, looked up here by name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class EvpropError(Exception):
    """Base of every exception that evprop raises on purpose."""


class SpikesError(EvpropError, ValueError):
    """Spike times, units or offsets that no `Spikes` can hold, or that do not fit the network or duration."""


class NetworkError(EvpropError, ValueError):
    """A network description that makes no sense: an unknown population, a duplicate name, a size of 0."""


class ParameterError(EvpropError, ValueError):
    """A parameter that is missing, unknown, not finite or out of its range."""


class DtypeError(ParameterError, TypeError):
    """An array whose dtype is not the one needed. Nothing is cast silently."""


class ShapeError(ParameterError):
    """An array whose shape or memory layout is not the one needed."""


class RunawayError(EvpropError, RuntimeError):
    """A network that spikes beyond the limit of its simulator. No spike is ever dropped instead."""


class TargetError(EvpropError, ValueError):
    """Labels or target times that do not fit the loss, the batch or the output population."""


class ConvergenceError(EvpropError, RuntimeError):
    """An iteration that did not reach its tolerance within its limit."""


class RecordError(EvpropError, RuntimeError):
    """A record asked for what it does not hold, or whose parameters changed since it was made."""


class CotangentError(EvpropError, ValueError):
    """A cotangent handed to `backward` that does not fit the record."""


class UnknownNameError(EvpropError, KeyError):
    """A mapping asked for a name that it does not hold."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""  # KeyError would show the repr of the message


class CheckpointError(EvpropError, ValueError):
    """A file that could not be written whole, or that is truncated, foreign or damaged."""


class CheckpointNotFoundError(CheckpointError, FileNotFoundError):
    """No file of that name."""


class ConfigError(EvpropError, ValueError):
    """A setting that is unknown or out of its range."""


class DatasetError(EvpropError, ValueError):
    """A data set that is missing, damaged or inconsistent."""


class HardwareError(EvpropError, ValueError):
    """A network, number or file that a chip, or its model, cannot take."""


class DeviceError(EvpropError, RuntimeError):
    """A GPU that is not there, or not fit, or that failed."""


class MissingExtraError(EvpropError, ImportError):
    """An optional package is not installed; the message names the extra that brings it."""


class TrainingError(EvpropError, RuntimeError):
    """Training could not go on."""


def nearest(name: object, options: Iterable[str]) -> str:
    """The end of an error message about an unknown name: the nearest known one, or all of a short list."""
    import difflib

    known = list(options)
    close = difflib.get_close_matches(str(name), known, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    if not known:
        return "there are none."
    shown = ", ".join(repr(k) for k in known[:12])
    return f"known: {shown}{', ...' if len(known) > 12 else '.'}"
