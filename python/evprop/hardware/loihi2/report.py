"""What quantising has cost, number by number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class PopulationReport:
    """Registers of one population beside what was asked for.

    Attributes:
        scale: chip units (v / 64) for one unit of V; ``bound``: what keeps it from being larger ("weights",
            "threshold", "voltage", "given" or "nothing").
        i_decay, v_decay: of u and v, in 4096ths; ``tau_syn``, ``tau_mem`` (ms): what they amount to, with the relative
            errors ``tau_syn_error`` and ``tau_mem_error``.
        vth: smallest and largest threshold, chip units; ``vth_error``: largest relative error. None for LI populations.
        bias_error: largest relative error of i_bias; 0 without biases.
    """

    name: str
    scale: float
    bound: str
    i_decay: int
    v_decay: int
    tau_syn: float
    tau_mem: float
    tau_syn_error: float
    tau_mem_error: float
    vth: tuple[int, int] | None
    vth_error: float
    bias_error: float


@dataclass(frozen=True)
class ProjectionReport:
    """Weights and delays of one projection beside what was asked for.

    Attributes:
        size: number of weights; ``clipped``: those beyond the levels, ``vanished``: those that were not 0 and are now.
        step: of the weights, in the network's unit; ``error``: root mean square of what rounding and clipping
            changed, relative to the weights'.
        levels: the smallest and the largest level that a weight has taken.
        delays: number of delays (0 without); ``delays_clipped``: those beyond 62 steps; ``longest``: ms, as asked for;
            ``delay_error``: ms, largest change of a delay that was not clipped, against its best time on the grid.
    """

    name: str
    size: int
    clipped: int
    vanished: int
    step: float
    error: float
    levels: tuple[int, int]
    delays: int
    delays_clipped: int
    longest: float
    delay_error: float


@dataclass(frozen=True)
class QuantisationReport:
    """``print`` it: a line per population and per projection, and what the chip's registers may not hold."""

    dt: float
    num_weight_bits: int
    populations: tuple[PopulationReport, ...]
    projections: tuple[ProjectionReport, ...]
    warnings: tuple[str, ...]

    @property
    def weights_clipped(self) -> int:
        """Of all projections."""
        return sum(p.clipped for p in self.projections)

    @property
    def delays_clipped(self) -> int:
        """Of all projections."""
        return sum(p.delays_clipped for p in self.projections)

    def __str__(self) -> str:
        lines = [f"dt {self.dt:g} ms, weights of {self.num_weight_bits} bits"]
        lines += _table(
            ("population", "scale", "set by", "i_decay", "v_decay", "tau_syn", "tau_mem", "vth", "vth error"),
            [
                (
                    *(p.name, f"{p.scale:.6g}", p.bound, str(p.i_decay), str(p.v_decay)),
                    *(_percent(p.tau_syn, p.tau_syn_error), _percent(p.tau_mem, p.tau_mem_error)),
                    "none" if p.vth is None else _span(p.vth),
                    "-" if p.vth is None else f"{p.vth_error:.2%}",
                )
                for p in self.populations
            ],
        )
        lines += _table(
            ("projection", "weights", "clipped", "vanished", "step", "rms error", "delays", "clipped", "off by (ms)"),
            [
                (
                    *(p.name, f"{p.size:,}", f"{p.clipped:,}", f"{p.vanished:,}", f"{p.step:.3g}", f"{p.error:.2%}"),
                    *(f"{p.delays:,}", f"{p.delays_clipped:,}", f"{p.delay_error:.3g}" if p.delays else "-"),
                )
                for p in self.projections
            ],
        )
        return "\n".join([*lines, *(f"note: {text}" for text in self.warnings)])


def _percent(tau: float, error: float) -> str:
    return f"{tau:.4g} ms ({error:+.1%})"


def _span(ends: tuple[int, int]) -> str:
    return str(ends[0]) if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[k]) for row in [head, *rows]) for k in range(len(head))]

    def line(row: Sequence[str]) -> str:
        first = f"{row[0]:<{widths[0]}}"
        return "  ".join([first, *(f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True))])

    return [line(head), *(line(row) for row in rows)] if rows else []
