"""A projection's weights and delays in the chip's integers."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...errors import HardwareError
from ...network import Network
from ...projections import Projection
from .program import Loihi2Connection
from .registers import Cell, Step, root_mean_square
from .report import ProjectionReport
from .scales import Floats, Levels

MAX_DELAY = 62
"""Steps; NetX and the chip's tools stop there."""
ORDER_MARGIN = 1e-3
"""Of a step: what is held is so much longer, so that an arrival in a step comes after the spikes of the step before."""


class Held(NamedTuple):
    """What the chip holds of a projection, in the network's units and shapes."""

    weight: Floats
    delay: Floats | None


def connect(
    net: Network,
    projection: Projection,
    weight: Floats,
    delay: Floats | None,
    cell: Cell,
    levels: Levels,
    scales: tuple[float, float],
    step: Step,
) -> tuple[Loihi2Connection, Held, ProjectionReport]:
    """The connection, what it holds, and a line for the report. ``scales``: S of its target; its own, about S 2^-j."""
    scale, own = scales
    coarser = round(math.log2(scale / own))
    factor = scale * 2.0**-coarser * cell.gain
    wanted = weight * cell.boost
    wanted = wanted * cell.lift(wanted * cell.gain, scale) * (own * 2.0**coarser / scale)
    exact = np.rint(wanted * factor)
    level = np.clip(exact, levels.low, levels.high)
    held = level / factor
    vanished = int(np.count_nonzero((level == 0.0) & (weight != 0.0)))
    if weight.any() and not level.any():
        raise HardwareError(
            f"all weights of {projection.name!r} become 0 at the scale {own:g}: the largest is "
            f"{np.abs(weight).max():g}, a step {1.0 / factor:.3g}. {cell.name!r} has thresholds, voltages or other "
            "weights too large beside them: use a larger dt, more bits, or larger weights."
        )
    steps, delay_held, (n_delays, n_clipped, longest, off) = _delays(net, projection, delay, step)
    shift = levels.spare
    mask, dense = _dense(net, projection, level.astype(np.int32) << shift)
    connection = Loihi2Connection(
        *(projection.pre, projection.post, dense),
        delays=steps if isinstance(steps, int) else _dense(net, projection, steps)[1],
        weight_exp=coarser - shift,
        num_weight_bits=step.bits,
        sign_mode=levels.mode,
        graded=net.populations[projection.pre].kind == "input",
        sparse=mask,
    )
    size, change = root_mean_square(weight), root_mean_square(held - wanted)
    report = ProjectionReport(
        projection.name,
        size=weight.size,
        clipped=int(np.count_nonzero(exact != level)),
        vanished=vanished,
        step=1.0 / factor,
        error=change / size if size else 0.0,
        levels=(int(level.min(initial=0)), int(level.max(initial=0))),
        delays=n_delays,
        delays_clipped=n_clipped,
        longest=longest,
        delay_error=off,
    )
    return connection, Held(held, delay_held), report


def _dense(
    net: Network, projection: Projection, values: NDArray[np.int32]
) -> tuple[NDArray[np.bool_] | None, NDArray[np.int32]]:
    """(mask or None, values as a (pre, post) matrix)."""
    shape = (net.populations[projection.pre].size, net.populations[projection.post].size)
    pattern = projection.structure()
    if pattern is None:
        return None, np.ascontiguousarray(np.broadcast_to(values, shape))
    indptr, indices = pattern
    rows = np.repeat(np.arange(shape[0]), np.diff(indptr))
    dense: NDArray[np.int32] = np.zeros(shape, np.int32)
    # one delay per sender or receiver is broadcast; one value per connection is put in its place
    dense[rows, indices] = values if values.ndim == 1 else np.broadcast_to(values, shape)[rows, indices]
    mask: NDArray[np.bool_] = np.zeros(shape, np.bool_)
    mask[rows, indices] = True
    return mask, dense


def _delays(
    net: Network, projection: Projection, delay: Floats | None, step: Step
) -> tuple[NDArray[np.int32] | int, Floats | None, tuple[int, int, float, float]]:
    """(steps, ms that they amount to, (number, clipped, longest, largest error))."""
    if delay is None:
        return 0, None, (0, 0, 0.0, 0.0)
    late = 0.0 if net.populations[projection.pre].kind == "input" else 0.5
    wanted = np.maximum(delay / step.dt - late, 0.0)
    exact = np.rint(wanted)
    clipped = int(np.count_nonzero(exact > MAX_DELAY))
    longest = float(delay.max(initial=0.0))
    if clipped and not step.clip_delays:
        raise HardwareError(
            f"{clipped} of {delay.size} delays of {projection.name!r} are beyond {MAX_DELAY} steps of {step.dt:g} ms, "
            f"the chip's longest; the longest is {longest:g} ms. Use dt of at least {longest / MAX_DELAY:.3g} ms, "
            f"train with delays of at most {MAX_DELAY * step.dt:g} ms, or shorten them by clip_delays=True, "
            "which counts them."
        )
    steps = np.minimum(exact, MAX_DELAY)
    kept = exact <= MAX_DELAY
    error = step.dt * float(np.abs(steps - wanted)[kept].max(initial=0.0))
    held = (steps + ORDER_MARGIN) * step.dt
    return steps.astype(np.int32), held, (delay.size, clipped, longest, error)
