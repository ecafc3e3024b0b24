"""What a Loihi 2 chip holds: each number with where it comes from.

Intel publishes no full data sheet. Where there is no figure for Loihi 2, that of Loihi 1 stands in and says so; how
memory is spent is a model of ours, and says so too.
"""

from __future__ import annotations

from dataclasses import dataclass

_INTEL = "Intel, Loihi 2 technology brief (2021)"
_DAVIES = "Davies et al. 2018, IEEE Micro 38(1)"


@dataclass(frozen=True)
class Limit:
    """A number and its source."""

    value: int
    source: str


@dataclass(frozen=True)
class Limits:
    """Of one chip.

    Attributes:
        cores: neurocores; ``columns`` routers in a row, ``cores_per_router`` cores at each.
        neurons_per_core: at most; depends on the size of their state.
        synapse_bytes, core_bytes: memory of a core for synapses, and for everything.
        axons_in, axons_out: per core: units elsewhere that reach it; (neuron, other core) pairs that it sends to.
        delay_bits: of a synapse, where its connection has delays.
        accumulator_bits: per neuron and per step that an arrival may lie ahead.
        state_bits: per neuron: u and v.
    """

    name: str
    cores: Limit
    columns: Limit
    cores_per_router: Limit
    neurons_per_core: Limit
    synapse_bytes: Limit
    core_bytes: Limit
    axons_in: Limit
    axons_out: Limit
    delay_bits: Limit
    accumulator_bits: Limit
    state_bits: Limit


LOIHI2 = Limits(
    name="loihi2",
    cores=Limit(128, "Timcheck, Pierro & Shrestha 2026, arXiv 2601.10035"),
    columns=Limit(8, "Timcheck, Pierro & Shrestha 2026: 8 x 4 routers"),
    cores_per_router=Limit(4, "Timcheck, Pierro & Shrestha 2026"),
    neurons_per_core=Limit(8192, _INTEL),
    synapse_bytes=Limit(128 * 1024, _INTEL),
    core_bytes=Limit(192 * 1024, _INTEL),
    axons_in=Limit(4096, f"Loihi 1: {_DAVIES}, p. 89; none published for Loihi 2"),
    axons_out=Limit(4096, f"Loihi 1: {_DAVIES}, p. 89; none published for Loihi 2"),
    delay_bits=Limit(6, f"Loihi 1: {_DAVIES}, p. 92; Lava's delays go to 63"),
    accumulator_bits=Limit(16, "model: one 16-bit accumulator (Lava) per neuron and step ahead; none published"),
    state_bits=Limit(48, "model: u and v of 24 bits (Lava), no overhead; none published"),
)
