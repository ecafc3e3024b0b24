"""Neuromorphic chips in their own arithmetic."""

from __future__ import annotations

from .agreement import median_shift, spike_agreement, spike_distance
from .brainscales2.costs import ChipCost, chip_cost
from .brainscales2.placement import BrainScaleS2Placement
from .brainscales2.simulator import BrainScaleS2, ChipRecord, ChipReport, LinkTraffic
from .calibrate import Calibration, calibrate
from .imitation import Imitation
from .loihi2.costs import PUBLISHED, Cost, CostTable, Published
from .loihi2.costs import TABLES as COST_TABLES
from .loihi2.counts import Counts, Estimate, count, estimate
from .loihi2.limits import LOIHI2, Limit, Limits
from .loihi2.netx import load_net, save_net
from .loihi2.placement import Core, Placement, place
from .loihi2.program import Loihi2Connection, Loihi2Population, Loihi2Program, Loihi2Run
from .loihi2.quantise import Quantised, quantise
from .loihi2.record import Loihi2Record
from .loihi2.report import PopulationReport, ProjectionReport, QuantisationReport
from .loihi2.search import ScaleSearch, search_scales
from .loihi2.simulator import Loihi2
from .readout_gains import ReadoutGains, fit_readout_gains
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
    "Imitation",
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
    "ReadoutGains",
    "ScaleSearch",
    "calibrate",
    "chip_cost",
    "count",
    "estimate",
    "fit_readout_gains",
    "load_net",
    "median_shift",
    "place",
    "quantise",
    "save_net",
    "search_scales",
    "spike_agreement",
    "spike_distance",
]
