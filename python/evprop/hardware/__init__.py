"""Neuromorphic chips in their own arithmetic."""

from __future__ import annotations

from .program import Loihi2Connection, Loihi2Population, Loihi2Program, Loihi2Run

__all__ = ["Loihi2Connection", "Loihi2Population", "Loihi2Program", "Loihi2Run"]
