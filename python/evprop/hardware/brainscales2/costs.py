"""Power and latency of BrainScaleS-2 as published. Nothing here is measured, and nothing is modelled but time.

J. Göltz et al., Nature Machine Intelligence 3 (2021), for fast & deep's 16 x 16 MNIST net: 175 mW for the chip, 48 us
from one classification to the next, hence 8.4 uJ each; 10,000 images in 0.94 s with all input and output.
"""

from __future__ import annotations

from dataclasses import dataclass

POWER_W = 0.175
PUBLISHED_LATENCY_US = 48.0
PUBLISHED_ENERGY_UJ = 8.4


@dataclass(frozen=True)
class ChipCost:
    """Time and energy of classifications on the chip.

    Attributes:
        classifications: how many.
        latency_us: from one to the next: the duration of a sample on the chip.
        energy_uj: of one: published power times that latency.
    """

    classifications: int
    latency_us: float
    energy_uj: float

    def __str__(self) -> str:
        seconds = self.classifications * self.latency_us * 1e-6
        return (
            f"{self.classifications:,} classifications of {self.latency_us:g} us: {seconds:.3g} s, "
            f"{self.energy_uj:.3g} uJ each (published power, {POWER_W * 1e3:g} mW for the chip, times the time; "
            "not measured).\n"
            f"Published for fast & deep's 16 x 16 MNIST: {PUBLISHED_LATENCY_US:g} us and {PUBLISHED_ENERGY_UJ:g} uJ "
            "each (Göltz et al. 2021)."
        )


def chip_cost(classifications: int, latency_us: float) -> ChipCost:
    """The cost of a number of classifications that take ``latency_us`` each."""
    return ChipCost(classifications, latency_us, POWER_W * latency_us)
