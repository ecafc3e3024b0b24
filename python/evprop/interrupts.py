"""Ctrl-C where nothing is half done.

A `KeyboardInterrupt` may come between any two bytecodes, in the middle of an optimiser step for example, and
the state that it leaves would continue with other bits than the uninterrupted run. Inside ``with Interrupts()
as interrupts`` it is raised at once only within ``with interrupts.allowed()``, which encloses computations
that change nothing; anywhere else it waits for the next ``check()``.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any


class Interrupts:
    """Holds Ctrl-C back; outside the main thread, where it never arrives, it does nothing."""

    def __init__(self) -> None:
        self._pending = False
        self._allowed = False
        self._previous: Any = None
        self._installed = False

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGINT, self._handle)
            self._installed = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._installed:
            signal.signal(signal.SIGINT, self._previous if self._previous is not None else signal.SIG_DFL)
            self._installed = False
        if self._pending and kind is None:  # arrived after the last check: do not swallow it
            self._pending = False
            raise KeyboardInterrupt

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        if self._allowed:
            raise KeyboardInterrupt
        self._pending = True

    @property
    def pending(self) -> bool:
        """Whether Ctrl-C was held back."""
        return self._pending

    def check(self) -> None:
        """Raise `KeyboardInterrupt` if Ctrl-C was held back."""
        if self._pending:
            self._pending = False
            raise KeyboardInterrupt

    def allowed(self) -> _Allowed:
        """Ctrl-C is raised at once inside."""
        return _Allowed(self)


class _Allowed:
    """What ``with interrupts.allowed()`` enters, once a batch: cheaper than a generator."""

    __slots__ = ("_interrupts",)

    def __init__(self, interrupts: Interrupts) -> None:
        self._interrupts = interrupts

    def __enter__(self) -> None:
        self._interrupts.check()
        self._interrupts._allowed = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._interrupts._allowed = False
