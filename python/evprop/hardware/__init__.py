"""Neuromorphic chips in their own arithmetic."""

from __future__ import annotations

from .agreement import median_shift, spike_agreement, spike_distance
from .brainscales2 import BrainScaleS2, ChipRecord, ChipReport, LinkTraffic
from .brainscales2_costs import ChipCost, chip_cost
from .brainscales2_placement import BrainScaleS2Placement
from .calibrate import Calibration, calibrate
from .costs import PUBLISHED, Cost, CostTable, Published
from .costs import TABLES as COST_TABLES
from .counts import Counts, Estimate, count, estimate
from .limits import LOIHI2, Limit, Limits
from .netx import load_net, save_net
from .placement import Core, Placement, place
from .program import Loihi2Connection, Loihi2Population, Loihi2Program, Loihi2Run
from .quantise import Quantised, quantise
from .record import Loihi2Record
from .report import PopulationReport, ProjectionReport, QuantisationReport
from .search import ScaleSearch, search_scales
from .simulator import Loihi2
from .substrate import ExternalSubstrate

__all__ = [
    "COST_TABLES",
    "LOIHI2",
    "PUBLISHED",
    "BrainScaleS2",
    "BrainScaleS2Placement",
    "Calibration",
    "ChipCost",
    "ChipRecord",
    "ChipReport",
    "Core",
    "Cost",
    "CostTable",
    "Counts",
    "Estimate",
    "ExternalSubstrate",
    "Limit",
    "Limits",
    "LinkTraffic",
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
    "calibrate",
    "chip_cost",
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
