"""`gradcheck`: the exact gradient of a loss against finite differences of the loss.

For each parameter a few directions are tried: single values where there are few, random signs on all values where
there are many. The derivative along a direction from the gradient, sum_i g_i u_i, is held against extrapolated central
differences of the mean loss. Where they disagree, three more questions are asked before the gradient is called wrong:
does a spike appear, vanish or change order with an arrival within the step (then a smaller step); do the differences
converge at all; do the slopes from the left and from the right agree (a kink, such as two equal maxima)?
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ParameterError
from ..gradients import value_and_grad
from ..losses import Loss
from ..network import Network
from ..parameters import WITHOUT_GRADIENT, Array
from ..record import Record, SpikesGiven
from ..simulators import Exact, Simulator, simulate
from ..spikes import Spikes
from . import patterns
from .differences import Estimate, central, one_sided
from .report import OK, UNDECIDED, WRONG, DirectionCheck, GradcheckReport, ParameterCheck

Floats = NDArray[np.float64]

INPUT_TIMES = "input_times"
LEVELS = 14


def gradcheck(
    net: Network,
    params: Mapping[str, Array],
    spikes: SpikesGiven,
    loss: Loss,
    *,
    duration: float,
    targets: Any = None,
    simulator: Simulator | None = None,
    wrt: Iterable[str] | None = None,
    step: float = 1e-3,
    n_directions: int = 4,
    tolerance: float | None = None,
    seed: int = 0,
) -> GradcheckReport:
    """Compare the exact gradients of a loss with finite differences.

    Args:
        net, params, spikes, loss, duration, targets, simulator: as for `evprop.value_and_grad`.
        wrt: parameter names, and "input_times" for the times of the input spikes; all that have a gradient unless
            given, trainable or not.
        step: the largest step, relative to the size of what is moved; halved as often as needed.
        n_directions: how many directions to try in each parameter; with as many as it has values, each is tried alone.
        tolerance: relative error allowed; 1e-6 in float64, 1e-3 in float32 (where the differences are taken in
            float64 if the simulator can).
        seed: of the random directions.

    Returns:
        A `GradcheckReport`: ``.ok``, ``print(report)``, ``report["hidden.tau_mem"].max_error``,
        ``report.raise_if_wrong()``.
    """
    if step <= 0 or n_directions < 1:
        raise ParameterError(f"step is {step!r} and n_directions {n_directions!r}; both must be > 0.")
    check = _Check(net, params, spikes, loss, float(duration), targets, simulator or Exact(), step, tolerance)
    return check.run(check.names(wrt), n_directions, np.random.default_rng(seed))


@dataclass(frozen=True)
class _Point:
    """Where the loss is evaluated: parameters and input times, in float64 for the differences."""

    params: dict[str, Array]
    inputs: dict[str, Spikes]


class _Check:
    def __init__(
        self,
        net: Network,
        params: Mapping[str, Array],
        spikes: SpikesGiven,
        loss: Loss,
        duration: float,
        targets: Any,
        simulator: Simulator,
        step: float,
        tolerance: float | None,
    ) -> None:
        self.net, self.params, self.loss, self.duration, self.targets = net, params, loss, duration, targets
        self.simulator = simulator
        self.spikes: dict[str, Spikes] = (
            {net.inputs[0]: spikes} if isinstance(spikes, Spikes) else dict(spikes)
        )
        self.given = spikes
        single = simulator.dtype == "float32"
        self.tolerance = (1e-3 if single else 1e-6) if tolerance is None else tolerance
        self.step = step
        self.precise: Any = simulator
        if single and dataclasses.is_dataclass(simulator) and not isinstance(simulator, type):
            self.precise = dataclasses.replace(simulator, dtype="float64")
        dtype = np.dtype(self.precise.dtype)
        self.base = {name: np.array(value, dtype=dtype) for name, value in params.items()}

    def names(self, wrt: Iterable[str] | None) -> list[str]:
        if wrt is None:
            known = [p.name for p in self.net.layout.parameters if p.kind not in WITHOUT_GRADIENT]
            return [*known, INPUT_TIMES]
        chosen = list(wrt)
        self.net.layout.select([n for n in chosen if n != INPUT_TIMES])  # raises for unknown names
        return chosen

    def run(self, names: list[str], n_directions: int, rng: np.random.Generator) -> GradcheckReport:
        asked = [n for n in names if n != INPUT_TIMES]
        value, grads, _ = value_and_grad(
            self.net,
            self.params,
            self.given,
            self.targets,
            self.loss,
            duration=self.duration,
            simulator=self.simulator,
            wrt=asked,
        )
        checks = [self.parameter(n, np.asarray(grads[n], np.float64), n_directions, rng) for n in asked]
        if INPUT_TIMES in names:
            by_input = (
                grads.input_times if len(self.net.inputs) > 1 else {self.net.inputs[0]: grads.input_times}
            )
            for name, gradient in by_input.items():
                label = INPUT_TIMES if len(by_input) == 1 else f"{INPUT_TIMES} {name}"
                checks.append(self.input_times(name, label, gradient, n_directions, rng))
        return GradcheckReport(tuple(checks), value, grads.health.min_vdot, self.tolerance)

    # -- what is moved ---------------------------------------------------------------------------------------

    def parameter(self, name: str, gradient: Floats, n: int, rng: np.random.Generator) -> ParameterCheck:
        parameter = self.net.layout.by_name[name]
        base = self.base[name]
        free = np.ones(base.shape, np.bool_)
        if parameter.no_diagonal:
            np.fill_diagonal(free, False)
        size = self.size(name, parameter.kind)
        at_zero = base < self.step * size if parameter.kind == "delay" else np.zeros(base.shape, np.bool_)
        checks = []
        for direction, words in _directions(free, n, rng):
            forward_only = bool((at_zero & (direction != 0)).any())
            along = np.where(at_zero, np.abs(direction), direction) * size

            def point(h: float, along: Floats = along) -> _Point:
                return _Point({**self.base, name: (base + h * along).astype(base.dtype)}, self.spikes)

            checks.append(self.direction(point, gradient, along, forward_only, words))
        return ParameterCheck(name, base.shape, tuple(checks))

    def input_times(
        self, name: str, label: str, gradient: Floats, n: int, rng: np.random.Generator
    ) -> ParameterCheck:
        spikes = self.spikes[name]
        size = self.size(name, INPUT_TIMES)
        early = spikes.times < self.step * size
        late = spikes.times > self.duration - self.step * size
        checks = []
        for direction, words in _directions(~(early & late), n, rng):
            moved = np.where(early, np.abs(direction), np.where(late, -np.abs(direction), direction)) * size
            forward_only = bool(((early | late) & (direction != 0)).any())

            def point(h: float, moved: Floats = moved) -> _Point:
                times = spikes.times + h * moved
                samples = [
                    (times[a:b], spikes.units[a:b])
                    for a, b in zip(spikes.offsets[:-1], spikes.offsets[1:], strict=True)
                ]
                return _Point(self.base, {**self.spikes, name: Spikes.from_lists(samples, spikes.n_units)})

            checks.append(self.direction(point, gradient, moved, forward_only, words))
        return ParameterCheck(label, spikes.times.shape, tuple(checks))

    def size(self, name: str, kind: str) -> float:
        """A typical size of what is moved, which steps are relative to."""
        taus = [v for k, v in self.base.items() if k.endswith(".tau_syn")]
        if kind in ("delay", INPUT_TIMES):
            return float(np.mean([v.mean() for v in taus])) if taus else 1.0
        if kind in ("tau_mem", "tau_syn"):
            return float(self.base[name].mean())
        if kind == "weight":
            rms = float(np.sqrt(np.mean(np.square(self.base[name]))))
            if rms > 0:
                return rms
        owner = name.rpartition(".")[0]
        if f"{owner}.v_th" in self.base:
            return float((self.base[f"{owner}.v_th"] - self.base[f"{owner}.v_reset"]).mean())
        return 1.0

    # -- one direction ---------------------------------------------------------------------------------------

    def direction(
        self, point: Any, gradient: Floats, along: Floats, forward_only: bool, words: str
    ) -> DirectionCheck:
        terms = gradient * along
        analytic, typical = float(terms.sum()), float(np.sqrt(np.square(terms).sum()))
        reason = "no spike appears or vanishes within the step"
        cheap = self.estimate(point, patterns.counts, forward_only)
        check = self.judge(cheap, analytic, typical, words, reason)
        if check.status == OK:
            return check
        reason = "nothing appears, vanishes or changes order within the step, and the differences converge"
        strict = self.estimate(point, patterns.order, forward_only)
        check = self.judge(strict, analytic, typical, words, reason)
        if check.status == WRONG and strict is not None and not forward_only and self.kink(point, strict):
            why = "the slopes from the two sides differ (a tie, such as two equal maxima or arrivals at a release)"
            return dataclasses.replace(check, status=UNDECIDED, reason=why)
        return check

    def judge(
        self, found: Estimate | None, analytic: float, typical: float, words: str, reason: str
    ) -> DirectionCheck:
        if found is None:
            why = (
                "a spike appears, vanishes or changes order with an arrival within every step down to "
                f"{self.step / 2.0 ** (LEVELS - 1):.0e} of the size of what is moved"
            )
            return DirectionCheck(analytic, math.nan, math.nan, UNDECIDED, why, words)
        if (
            max(abs(analytic), abs(found.value)) <= 20.0 * found.noise
        ):  # zero, as far as rounding lets one see
            return DirectionCheck(analytic, found.value, 0.0, OK, "", words)
        reference = max(abs(analytic), abs(found.value), typical)
        difference = abs(analytic - found.value)
        error = difference / reference if reference > 0 else 0.0
        allowed = self.tolerance * reference
        if difference <= allowed or (difference <= 2.0 * found.error and found.error <= 10.0 * allowed):
            return DirectionCheck(analytic, found.value, error, OK, "", words)
        if difference <= 10.0 * found.error:
            why = (
                f"finite differences do not converge (error {found.error:.1e} of {abs(found.value):.1e}); "
                "the point is nearly singular: a spike with a very small dV/dt, or one about to vanish"
            )
            return DirectionCheck(analytic, found.value, error, UNDECIDED, why, words)
        return DirectionCheck(analytic, found.value, error, WRONG, reason, words)

    def kink(self, point: Any, both: Estimate) -> bool:
        """Do the one-sided slopes disagree with each other?"""
        f = self.function(point, patterns.order)
        right = one_sided(f, both.step, LEVELS, self.tolerance / 10.0)
        left = one_sided(f, -both.step, LEVELS, self.tolerance / 10.0)
        if right is None or left is None:
            return True
        gap = abs(right.value - left.value)
        return gap > 10.0 * (right.error + left.error) and gap > self.tolerance * abs(both.value)

    def estimate(self, point: Any, pattern: Any, forward_only: bool) -> Estimate | None:
        f = self.function(point, pattern)
        return (one_sided if forward_only else central)(f, self.step, LEVELS, self.tolerance / 10.0)

    def function(self, point: Any, pattern: Any) -> Any:
        """h -> the mean loss at the point moved by h, or None where the pattern of spikes is another one."""
        at_zero, value = self.loss_at(point(0.0))
        expected = pattern(at_zero)

        def f(h: float) -> float | None:
            if h == 0.0:
                return value
            record, moved = self.loss_at(point(h))
            return moved if pattern(record) == expected else None

        return f

    def loss_at(self, point: _Point) -> tuple[Record, float]:
        inputs: Any = point.inputs if len(self.net.inputs) > 1 else point.inputs[self.net.inputs[0]]
        record = simulate(
            self.net,
            point.params,
            inputs,
            duration=self.duration,
            readouts=self.loss.readouts(self.net),
            simulator=self.precise,
        )
        values = self.loss.evaluate(record, self.targets).values
        return record, float(np.mean(values))


def _directions(free: NDArray[np.bool_], n: int, rng: np.random.Generator) -> list[tuple[Floats, str]]:
    """Directions in an array, of which only the `free` values may move, and words for them."""
    where = np.argwhere(free)
    if len(where) <= n:
        single = []
        for index in where:
            direction = np.zeros(free.shape)
            direction[tuple(index)] = 1.0
            single.append((direction, f"[{', '.join(str(i) for i in index)}]"))
        return single
    return [
        (np.where(free, rng.choice([-1.0, 1.0], free.shape), 0.0), f"random signs, direction {k}")
        for k in range(n)
    ]
