"""Neuromorphic chips in their own arithmetic."""

from __future__ import annotations

from .agreement import median_shift, spike_agreement, spike_distance
from .costs import PUBLISHED, Cost, CostTable, Published
from .costs import TABLES as COST_TABLES
from .counts import Counts, Estimate, count, estimate
from .limits import LOIHI2, Limit, Limits
from .netx import load_net, save_net
from .placement import Core, Placement, place
from .program import Loihi2Connection, Loihi2Population, Loihi2Program, Loihi2Run
from .quantise import Quantised, quantise
from .report import PopulationReport, ProjectionReport, QuantisationReport
from .search import ScaleSearch, search_scales
from .simulator import Loihi2, Loihi2Record

__all__ = [
    "COST_TABLES",
    "LOIHI2",
    "PUBLISHED",
    "Core",
    "Cost",
    "CostTable",
    "Counts",
    "Estimate",
    "Limit",
    "Limits",
    "Loihi2",
    "Loihi2Connection",
    "Loihi2Population",
    "Loihi2Program",
    "Loihi2Record",
    "Loihi2Run",
    "Placement",
    "PopulationReport",
    "ProjectionReport",
    "Published",
    "QuantisationReport",
    "Quantised",
    "ScaleSearch",
    "count",
    "estimate",
    "load_net",
    "median_shift",
    "place",
    "quantise",
    "save_net",
    "search_scales",
    "spike_agreement",
    "spike_distance",
]
