"""Energy and time of one operation, from named tables; every entry has its source.

There is no public figure per operation for Loihi 2. The tables are of Loihi 1, measured before the chip was made
(`davies2018`) or fitted to boards (`sanafe-tcad2025`); `loihi2-scaled` divides their times by Intel's ratios and is no
measurement at all. Each entry is a range; where a source has one figure, both ends are that figure.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from ...errors import HardwareError, nearest

OPERATIONS = (
    "synaptic operation",
    "neuron update",
    "spike",
    "packet",
    "hop east-west",
    "hop north-south",
    "barrier",
)
"""What is counted: "neuron update" is one neuron in one step, "packet" one spike to one other core."""

Range = tuple[float, float]


@dataclass(frozen=True)
class Cost:
    """Of one operation: pJ and ns, each (low, high)."""

    energy: Range
    time: Range
    source: str


@dataclass(frozen=True)
class CostTable:
    """A named, versioned table: {operation: Cost}, and what it is and is not."""

    name: str
    version: str
    note: str
    costs: Mapping[str, Cost]


_DAVIES = "Davies et al. 2018, IEEE Micro 38(1), table 2"
_SANAFE = "SANA-FE 8951ab0, arch/loihi.yaml (IEEE TCAD 2025)"
_INTEL = "Intel, Loihi 2 technology brief: "

DAVIES2018 = CostTable(
    "davies2018",
    "1",
    "Loihi 1 at 0.75 V, pre-silicon simulation",
    {
        "synaptic operation": Cost(
            (23.6, 23.6), (3.5, 3.5), f"{_DAVIES}; energy is its minimum, time its maximum"
        ),
        "neuron update": Cost((52.0, 81.0), (5.3, 8.4), f"{_DAVIES}; inactive to active"),
        "spike": Cost((0.0, 0.0), (0.0, 0.0), "no entry of its own"),
        "packet": Cost((1.7, 1.7), (2.1, 2.1), f"{_DAVIES}; within a tile"),
        "hop east-west": Cost((3.0, 3.0), (4.1, 4.1), _DAVIES),
        "hop north-south": Cost((4.0, 4.0), (6.5, 6.5), _DAVIES),
        "barrier": Cost((0.0, 0.0), (113.0, 465.0), f"{_DAVIES}; 1 to 32 tiles"),
    },
)

SANAFE_TCAD2025 = CostTable(
    "sanafe-tcad2025",
    "8951ab0",
    "Loihi 1, fitted to Nahuku boards; within 12 % of energy and 25 % of latency on its authors' three applications",
    {
        "synaptic operation": Cost((33.6, 35.5), (3.8, 4.7), f"{_SANAFE}; sparse and dense synapses"),
        "neuron update": Cost((51.2, 72.8), (6.0, 9.7), f"{_SANAFE}; soma access, without and with update"),
        "spike": Cost((69.3, 69.3), (30.0, 30.0), f"{_SANAFE}; soma spike out"),
        "packet": Cost((111.0, 111.0), (21.1, 21.1), f"{_SANAFE}; axon out and axon in"),
        "hop east-west": Cost((3.0, 3.0), (4.1, 4.1), _SANAFE),
        "hop north-south": Cost((4.2, 4.2), (6.5, 6.5), _SANAFE),
        "barrier": Cost((0.0, 0.0), (600.0, 1800.0), f"{_SANAFE}; sync, 1 to 29 tiles"),
    },
)

LOIHI2_SCALED = CostTable(
    "loihi2-scaled",
    "1",
    "scaled, not measured: energies of Loihi 1 as they are, times of Loihi 1 divided by Intel's ratios",
    {
        "synaptic operation": Cost((23.6, 35.5), (0.7, 0.94), f"{_INTEL}5x faster"),
        "neuron update": Cost((51.2, 81.0), (2.65, 4.85), f"{_INTEL}2x faster"),
        "spike": Cost((0.0, 69.3), (0.0, 3.0), f"{_INTEL}spike generation 10x faster"),
        "packet": Cost((1.7, 111.0), (2.1, 21.1), "no ratio published: as in Loihi 1"),
        "hop east-west": Cost((3.0, 3.0), (4.1, 4.1), "no ratio published: as in Loihi 1"),
        "hop north-south": Cost((4.0, 4.2), (6.5, 6.5), "no ratio published: as in Loihi 1"),
        "barrier": Cost(
            (0.0, 0.0), (200.0, 1800.0), f"{_INTEL}steps under 200 ns at best; Loihi 1's fit at worst"
        ),
    },
)

TABLES: Mapping[str, CostTable] = {t.name: t for t in (DAVIES2018, SANAFE_TCAD2025, LOIHI2_SCALED)}


def cost_table(name: str) -> CostTable:
    """The table of that name."""
    if name not in TABLES:
        raise HardwareError(f"unknown cost table {name!r}: {nearest(name, TABLES)}")
    return TABLES[name]


@dataclass(frozen=True)
class Published:
    """A figure of the two papers, for one sample; NaN where there is none."""

    system: str
    task: str
    network: str
    latency_ms: float
    energy_mj: float
    source: str

    def __str__(self) -> str:
        figures = ((self.energy_mj, "mJ"), (self.latency_ms, "ms"))
        known = ", ".join(f"{value:g} {unit}" for value, unit in figures if not math.isnan(value))
        return f"{self.system}, {self.task}, {self.network}: {known} a sample ({self.source})"


_SHOESMITH = "Shoesmith et al. 2025, arXiv 2503.04341, from its power logs"
_SECOND = "second-hand notes; not checked against the paper"
_NONE = math.nan

PUBLISHED = (
    Published("Jetson Orin Nano, batch 1", "SHD", "700-256-20 recurrent", 25.5, 82.3, _SHOESMITH),
    Published("Jetson Orin Nano, batch 1", "SHD", "700-512-20 recurrent", 26.0, 85.0, _SHOESMITH),
    Published("Jetson Orin Nano, batch 1", "SHD", "700-1024-20 recurrent", 27.4, 92.0, _SHOESMITH),
    Published("Jetson Orin Nano, batch 32", "SHD", "700-256-20 recurrent", _NONE, 4.5, _SHOESMITH),
    Published("Jetson Orin Nano, batch 32", "SHD", "700-512-20 recurrent", _NONE, 7.3, _SHOESMITH),
    Published("Jetson Orin Nano, batch 32", "SHD", "700-1024-20 recurrent", _NONE, 15.9, _SHOESMITH),
    Published("Loihi 2", "SHD", "700-1024-20 recurrent", _NONE, 0.50, f"Shoesmith et al. 2025; {_SECOND}"),
    Published(
        "Loihi 2", "delays", "feed-forward", 1.46, 0.46, f"Meszaros et al. 2025, arXiv 2510.13757; {_SECOND}"
    ),
    Published(
        "Loihi 2", "delays", "recurrent", 1.54, 0.36, f"Meszaros et al. 2025, arXiv 2510.13757; {_SECOND}"
    ),
)
