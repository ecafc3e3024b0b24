"""Gains of what a readout listens to: a chip's classes are brought nearer to those in floating point.

    y_k(g) = y_k + sum_j (g_j - 1) c_jk        c_jk: what the spikes of source j bring about in readout k
    L(g) = mean over samples of sum_k p_k ln(p_k / q_k) + strength sum_j (g_j - 1)^2        q = softmax(y(g))
    dL/dg_j = mean of sum_k c_jk (q_k - p_k), + 2 strength (g_j - 1)
    d2L/dg_i dg_j = mean of sum_k q_k c_ik c_jk - u_i u_j, u_j = sum_k q_k c_jk; + 2 strength where i = j

p: the classes in floating point, as in imitation.py. The readout is linear in the weights that reach it, and the chip's
spikes do not depend on these: so c is found once, L is convex, and Newton's method needs a few steps and no further run
of the chip. One gain for each source and not for each weight: it makes up for neurons that fire more or less often on
the chip than in floating point, and a thousand samples determine it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError
from ..losses import CrossEntropy
from ..losses.base import output_population
from ..network import Network
from ..parameters import Array
from ..populations import LI, Input
from ..projections import Projection, Sparse
from ..readouts import Max
from ..record import Record
from ..simulators import Exact, Simulator, simulate
from ..spikes import Spikes
from .imitation import class_shares, divergence

Floats = NDArray[np.float64]

STRENGTHS = (1e-1, 1e-2, 1e-3, 1e-4)
"""Our choice: from gains that hardly move to gains that a thousand samples just determine."""
BATCH = 64
STEPS = 20
ENOUGH = 1e-6
"""Newton's method ends where no gain changes by more."""


@dataclass(frozen=True)
class ReadoutGains:
    """What `fit_readout_gains` found.

    Attributes:
        params: those given, with the weights that reach the readout times their gains.
        gains: {projection: (n_pre,)}; all 1 where none helped.
        strength: the one that did best on the validation samples; None where none helped.
        divergence: {strength, None for no gains: mean divergence on the validation samples}, weights as on the chip.
    """

    params: dict[str, Array]
    gains: dict[str, Floats]
    strength: float | None
    divergence: dict[float | None, float]


def fit_readout_gains(
    net: Network,
    params: Mapping[str, Array],
    spikes: Spikes,
    validation: Spikes,
    simulator: Simulator,
    loss: CrossEntropy,
    *,
    duration: float,
    reference: Simulator | None = None,
    strengths: Sequence[float] = STRENGTHS,
) -> ReadoutGains:
    """Fit a gain to every unit that the readout of ``loss`` listens to.

    Args:
        spikes: samples to fit on, about a thousand of the training set.
        validation: samples that choose the strength.
        simulator: the chip's model.
        loss: whose classes shall be those that the same network has on ``reference``, `Exact` unless given.
        duration: ms.

    Raises:
        ConfigError: a readout that is not linear in the weights: of a population that spikes, or `Max`.
    """
    name = linear_readout(net, loss)
    if not all(0.0 < strength < np.inf for strength in strengths):
        raise ConfigError(f"strengths are {tuple(strengths)}; they must be finite and > 0.")
    exact = Exact(dtype=getattr(simulator, "dtype", "float64")) if reference is None else reference
    incoming = [p for p in net.projections if p.post == name]

    def played(these: Mapping[str, Array], samples: Spikes, on: Simulator) -> list[Record]:
        return [
            simulate(
                *(net, these, samples[first : first + BATCH]),
                duration=duration,
                readouts=loss.readouts(net),
                simulator=on,
            )
            for first in range(0, len(samples), BATCH)
        ]

    def readouts(records: Sequence[Record]) -> Floats:
        return np.concatenate([np.asarray(r.readout[name][0], np.float64) for r in records])

    wanted, there = readouts(played(params, spikes, exact)), readouts(played(params, validation, exact))
    records = played(params, spikes, simulator)
    y = readouts(records)
    c = np.concatenate([contributions(record, name, incoming, loss) for record in records])
    size = y.shape[-1]
    # the times of Sampled are as good as more samples
    y, wanted, c = y.reshape(-1, size), wanted.reshape(-1, size), c.reshape(-1, c.shape[-2], size)
    ends = np.cumsum([net.populations[p.pre].size for p in incoming])[:-1]

    def scaled(gains: Floats) -> tuple[dict[str, Floats], dict[str, Array]]:
        split = {p.name: part for p, part in zip(incoming, np.split(gains, ends), strict=True)}
        return split, {**params, **{f"{p.name}.weight": _times(p, params, split[p.name]) for p in incoming}}

    gains = np.ones(c.shape[1])
    best: tuple[float | None, tuple[dict[str, Floats], dict[str, Array]]] = (None, scaled(gains))
    found: dict[float | None, float] = {}
    for strength in (None, *sorted(strengths, reverse=True)):
        if strength is not None:
            gains = _newton(y, c, wanted, gains, strength)
        candidate = scaled(gains)
        seen = readouts(played(candidate[1], validation, simulator))
        found[strength] = float(divergence(seen, there)[0].mean())
        if found[strength] < found[best[0]]:
            best = (strength, candidate)
    return ReadoutGains(best[1][1], best[1][0], best[0], found)


def contributions(record: Record, name: str, incoming: Sequence[Projection], loss: CrossEntropy) -> Floats:
    """(batch, sources, classes), with (batch, m, ...) of `Sampled`: what each source brings about in each readout.

    The recorded spikes, with the weights, delays and time constants of the record, reach integrators of which each
    hears of one source and stands for one class.
    """
    net, params, size = record.network, record.params, record.network.populations[name].size
    populations: dict[str, Input | LI] = {}
    projections, own, spikes, first = [], {}, {}, 0
    for k, p in enumerate(incoming):
        n_pre, source, arrivals = net.populations[p.pre].size, f"source{k}", f"arrivals{k}"
        indptr, indices = p.structure() or (np.arange(n_pre + 1) * size, np.tile(np.arange(size), n_pre))
        sources = np.repeat(np.arange(n_pre), np.diff(indptr))
        populations[source] = Input(n_pre)
        projections.append(
            Sparse(
                *(source, "readout"),
                name=arrivals,
                weight=0.0,
                delay=None if p.delay_kind is None else 0.0,
                indptr=indptr,
                indices=first + sources * size + indices,
            )
        )
        own[f"{arrivals}.weight"] = params[f"{p.name}.weight"].ravel()
        if p.delay_kind is not None:
            delay = params[f"{p.name}.delay"]
            per_pair = delay if delay.ndim == 1 else np.broadcast_to(delay, (n_pre, size))[sources, indices]
            own[f"{arrivals}.delay"] = np.ascontiguousarray(per_pair)
        spikes[source] = record.inputs[p.pre] if p.pre in record.inputs else record.spikes[p.pre]
        first += n_pre * size
    taus = {f"readout.{tau}": np.tile(params[f"{name}.{tau}"], first // size) for tau in ("tau_mem", "tau_syn")}
    probe = Network({**populations, "readout": LI(first)}, projections)
    seen = simulate(
        *(probe, {**probe.init(0, dtype=record.dtype), **own, **taus}, spikes),
        duration=record.duration,
        readouts={"readout": [loss.readout]},
        simulator=Exact(dtype=record.dtype),
    ).readout["readout"][0]
    found: Floats = seen.reshape(*seen.shape[:-1], first // size, size).astype(np.float64)
    return found


def _newton(y: Floats, c: Floats, wanted: Floats, gains: Floats, strength: float) -> Floats:
    """The gains of least L."""
    p = class_shares(wanted)
    rows, sources, size = c.shape
    flat = np.ascontiguousarray(c.transpose(0, 2, 1)).reshape(rows * size, sources)

    def outcome(g: Floats) -> tuple[float, Floats]:
        readout = y + (flat @ (g - 1.0)).reshape(rows, size)
        value = divergence(readout, wanted)[0].mean() + strength * np.sum((g - 1.0) ** 2)
        return float(value), class_shares(readout)

    value, q = outcome(gains)
    for _ in range(STEPS):
        slope = flat.T @ (q - p).ravel() / rows + 2.0 * strength * (gains - 1.0)
        u = np.einsum("nk,njk->nj", q, c)
        bend = (flat.T @ (q.ravel()[:, None] * flat) - u.T @ u) / rows + 2.0 * strength * np.eye(sources)
        step = np.linalg.solve(bend, slope)
        while np.abs(step).max() > ENOUGH:  # a full step but for starts far away
            ahead, there = outcome(gains - step)
            if ahead <= value:
                break
            step = step / 2.0
        else:
            return gains
        gains, value, q = gains - step, ahead, there
    return gains


def _times(p: Projection, params: Mapping[str, Array], gains: Floats) -> Array:
    weight = params[f"{p.name}.weight"]
    pattern = p.structure()
    factors = gains[:, None] if pattern is None else np.repeat(gains, np.diff(pattern[0]))
    return np.ascontiguousarray((weight * factors).astype(weight.dtype))


def linear_readout(net: Network, loss: Any) -> str:
    """The population that a loss reads; refused where its readout is not linear in the weights that reach it."""
    if not isinstance(loss, CrossEntropy):
        raise ConfigError(f"gains are fitted to the classes of a CrossEntropy, not of {loss!r}.")
    name = output_population(net, loss.population, "CrossEntropy")
    if net.populations[name].kind != "li" or isinstance(loss.readout, Max):
        raise ConfigError(
            f"{loss.readout!r} of {name!r} ({net.populations[name].kind}) is not linear in the weights that reach it; "
            "gains are fitted to integrals and samples of the voltage of leaky integrators."
        )
    return name
