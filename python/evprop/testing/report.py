"""What `gradcheck` found, parameter by parameter, and how it reads."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..errors import EvpropError

OK = "ok"
WRONG = "wrong"
UNDECIDED = "not differentiable within the step"


class GradientMismatchError(EvpropError, AssertionError):
    """A gradient that finite differences contradict where nothing appears, vanishes or changes order."""


@dataclass(frozen=True)
class DirectionCheck:
    """One direction in one parameter: the derivative along it, twice.

    Attributes:
        analytic: from the gradient.
        numeric: from finite differences; NaN where no step could be used.
        error: |analytic - numeric| / max(|analytic|, |numeric|, size of the terms summed); NaN likewise.
        status: "ok", "wrong" or "not differentiable within the step".
        reason: why, unless ok.
        direction: what was moved, in words.
    """

    analytic: float
    numeric: float
    error: float
    status: str
    reason: str
    direction: str


@dataclass(frozen=True)
class ParameterCheck:
    """All directions tried in one parameter."""

    name: str
    shape: tuple[int, ...]
    directions: tuple[DirectionCheck, ...]

    @property
    def status(self) -> str:
        """The worst status: "wrong", else "ok" if any direction was, else "not differentiable within the step"."""
        found = {d.status for d in self.directions}
        if WRONG in found:
            return WRONG
        return OK if OK in found or not found else UNDECIDED

    @property
    def max_error(self) -> float:
        """The largest relative error of the directions that could be judged; NaN if none could."""
        return max((d.error for d in self.directions if d.status != UNDECIDED), default=float("nan"))

    @property
    def undecided(self) -> tuple[DirectionCheck, ...]:
        """The directions that no step could judge."""
        return tuple(d for d in self.directions if d.status == UNDECIDED)

    def line(self) -> str:
        """One row of the table."""
        judged = len(self.directions) - len(self.undecided)
        error = f"{self.max_error:.1e}" if judged else "-"
        row = f"{self.name:<28} {self.shape!s:>12} {judged:>4}/{len(self.directions):<4} {error:>8}  {self.status}"
        notes = [f"{d.direction}: {_explain(d)}" for d in self.directions if d.status == WRONG]
        notes += [f"{d.direction}: {d.reason}" for d in self.undecided[:1]]
        return "\n".join([row, *(f"    {note}" for note in notes)])


def _explain(check: DirectionCheck) -> str:
    return (
        f"gradient {check.analytic:.9g}, finite differences {check.numeric:.9g} "
        f"(relative error {check.error:.2g}); {check.reason}"
    )


@dataclass(frozen=True)
class GradcheckReport:
    """The outcome of `gradcheck`; ``print`` it.

    Attributes:
        parameters: one `ParameterCheck` each, also as ``report[name]``.
        value: the loss at the point.
        min_vdot: the smallest dV/dt at a spike (units of v_th per ms); near 0 a spike is about to vanish.
        tolerance: the relative error allowed.
    """

    parameters: tuple[ParameterCheck, ...]
    value: float
    min_vdot: float
    tolerance: float
    by_name: dict[str, ParameterCheck] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_name", {p.name: p for p in self.parameters})

    def __getitem__(self, name: str) -> ParameterCheck:
        return self.by_name[name]

    @property
    def ok(self) -> bool:
        """No gradient is wrong. (A direction that cannot be judged is not wrong; see `undecided`.)"""
        return not self.wrong

    @property
    def wrong(self) -> tuple[str, ...]:
        """Names of the parameters with a wrong gradient."""
        return tuple(p.name for p in self.parameters if p.status == WRONG)

    @property
    def undecided(self) -> tuple[str, ...]:
        """Names of the parameters none of whose directions could be judged."""
        return tuple(p.name for p in self.parameters if p.status == UNDECIDED)

    @property
    def max_error(self) -> float:
        """The largest relative error of all that could be judged; 0 if nothing could."""
        return max((p.max_error for p in self.parameters if p.status != UNDECIDED), default=0.0)

    def raise_if_wrong(self) -> GradcheckReport:
        """Raise `GradientMismatchError` with the table if any gradient is wrong; else return the report."""
        if self.wrong:
            raise GradientMismatchError(str(self))
        return self

    def __str__(self) -> str:
        if self.wrong:
            verdict = f"WRONG: {', '.join(self.wrong)}"
        elif self.undecided:
            verdict = f"no gradient is wrong; could not be judged: {', '.join(self.undecided)}"
        else:
            verdict = f"all gradients agree with finite differences to {self.tolerance:.0e}"
        head = f"{'parameter':<28} {'shape':>12} {'judged':>9} {'error':>8}  status"
        foot = f"loss {self.value:.9g}, smallest dV/dt at a spike {self.min_vdot:.3g} v_th/ms"
        return "\n".join([verdict, head, *(p.line() for p in self.parameters), foot])
