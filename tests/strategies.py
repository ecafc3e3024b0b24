"""The package's hypothesis strategies, with the sizes that these tests want."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from evprop.testing.strategies import Problem, networks, parameters, problems, spike_trains

__all__ = ["Problem", "busy_problems", "networks", "parameters", "problems", "small_problems", "spike_trains"]


def small_problems(**given: Any) -> st.SearchStrategy[Problem]:
    """Small enough for the tangents along every single parameter."""
    small = networks(max_size=3, max_hidden=2, max_inputs=2)
    return problems(network=small, duration=25.0, max_batch=2, max_spikes=6, **given)


def busy_problems(**given: Any) -> st.SearchStrategy[Problem]:
    """Up to 40 ms and ten input spikes a sample."""
    return problems(duration=40.0, max_batch=2, max_spikes=10, **given)
