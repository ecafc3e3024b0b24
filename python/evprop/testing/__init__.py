"""Tools to test with: are the gradients of my network and my loss right?

    report = gradcheck(net, params, spikes, loss, duration=50.0, targets=labels)
    print(report)

`gradcheck` compares the exact gradients with finite differences and tells a wrong gradient from a spike about to
vanish. `evprop.testing.strategies` draws random networks, parameters and spikes for hypothesis (extra ``[test]``).
"""

from __future__ import annotations

from typing import Any

from .gradcheck import gradcheck
from .report import GradcheckReport, GradientMismatchError, ParameterCheck

__all__ = ["GradcheckReport", "GradientMismatchError", "ParameterCheck", "gradcheck", "strategies"]


def __getattr__(name: str) -> Any:
    if name == "strategies":
        from importlib import import_module

        return import_module(".strategies", __name__)
    raise AttributeError(f"module 'evprop.testing' has no attribute {name!r}")
