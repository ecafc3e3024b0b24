"""Spikes left out and spikes added, greedily: each round takes the one that raises the victim's loss most.

The gradient knows nothing of spikes that appear or vanish (theory: what an exact gradient cannot see), so changes are
tried out.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import ParameterError
from ..spikes import Spikes
from .victim import Floats, Labels, SpikeAttack, Victim, rebuilt, replaced


def delete_spikes(
    victim: Victim, spikes: Spikes, labels: Any, *, most: int, candidates: int | None = None
) -> SpikeAttack:
    """Leave out up to ``most`` input spikes of each sample.

    candidates  how many deletions are tried per round and sample, those of the spikes with the largest |dL/dt|;
                None: all
    """
    _check(most, candidates)
    wanted = victim.check(spikes, labels)

    def trials(batch: Spikes, targets: Labels, _: int) -> tuple[NDArray[np.int64], Spikes]:
        """Versions of the batch with one spike less each, and the sample of each."""
        chosen = np.arange(batch.n_spikes)
        if candidates is not None and batch.n_spikes:
            slopes = victim.look(batch, targets, slopes=True).slopes
            assert slopes is not None
            order = np.lexsort((-np.abs(slopes), batch.samples))
            chosen = order[np.arange(len(order)) - batch.offsets[batch.samples[order]] < candidates]
        owners = batch.samples[chosen]
        copies: Spikes = batch[owners]
        kept = np.ones(copies.n_spikes, np.bool_)
        kept[copies.offsets[:-1] + chosen - batch.offsets[owners]] = False
        return owners, rebuilt(copies.samples[kept], copies.times[kept], copies.units[kept], copies)

    return _greedy(victim, spikes, wanted, most, trials)


def insert_spikes(
    victim: Victim,
    spikes: Spikes,
    labels: Any,
    *,
    most: int,
    times: ArrayLike,
    candidates: int | None = None,
    seed: int = 0,
) -> SpikeAttack:
    """Add up to ``most`` input spikes to each sample.

    times       (m,) ms: when a spike may be added, on any unit
    candidates  how many of these insertions are tried per round and sample, drawn from ``seed``; None: all
    """
    _check(most, candidates)
    wanted = victim.check(spikes, labels)
    at = np.asarray(times, np.float64)
    if (
        at.ndim != 1
        or not at.size
        or not (np.isfinite(at).all() and at.min() >= 0.0 and at.max() <= victim.duration)
    ):
        raise ParameterError(
            f"times are {times!r}; at least one is needed, each from 0 to the duration of "
            f"{victim.duration:g} ms."
        )
    places = len(at) * spikes.n_units

    def trials(batch: Spikes, targets: Labels, round_: int) -> tuple[NDArray[np.int64], Spikes]:
        """Versions of the batch with one spike more each, and the sample of each."""
        n = places if candidates is None else min(candidates, places)
        if n == places:
            chosen = np.tile(np.arange(places), len(batch))
        else:
            chosen = np.random.default_rng([seed, round_]).integers(0, places, len(batch) * n)
        owners = np.repeat(np.arange(len(batch)), n)
        copies: Spikes = batch[owners]
        which, units = np.divmod(chosen, spikes.n_units)
        joined = (
            np.concatenate([copies.samples, np.arange(len(owners))]),
            np.concatenate([copies.times, at[which]]),
            np.concatenate([copies.units, units.astype(np.uint32)]),
        )
        return owners, rebuilt(*joined, copies)

    return _greedy(victim, spikes, wanted, most, trials)


def _greedy(victim: Victim, spikes: Spikes, wanted: Labels, most: int, trials: Any) -> SpikeAttack:
    """Rounds of trials, until a sample is misclassified; of each the best is taken if it raises the loss."""
    best = spikes
    seen = victim.look_in_parts(spikes, wanted)
    losses, classes = seen.losses.copy(), seen.classes.copy()
    left = np.flatnonzero(classes == wanted)
    for round_ in range(most):
        if not left.size:
            break
        owners, versions = trials(best[left], wanted[left], round_)
        if not owners.size:
            break
        seen = victim.look_in_parts(versions, wanted[left][owners])
        first = _best_of_each(owners, seen.classes != wanted[left][owners], seen.losses)
        wins = (seen.classes[first] != wanted[left][owners[first]]) | (
            seen.losses[first] > losses[left][owners[first]]
        )
        first = first[wins]
        changed = left[owners[first]]
        best = replaced(best, changed, versions[first])
        losses[changed], classes[changed] = seen.losses[first], seen.classes[first]
        left = changed[classes[changed] == wanted[changed]]
    return SpikeAttack(best, losses, classes, classes != wanted)


def _best_of_each(owners: NDArray[np.int64], fooled: NDArray[np.bool_], losses: Floats) -> NDArray[np.int64]:
    """For every owner the version that is misclassified, else that with the largest loss; the first of equals."""
    order = np.lexsort((np.arange(len(owners)), -losses, ~fooled, owners))
    starts = np.flatnonzero(np.diff(owners[order], prepend=-1))
    best: NDArray[np.int64] = order[starts]
    return best


def _check(most: int, candidates: int | None) -> None:
    if operator.index(most) < 0:
        raise ParameterError(f"most is {most}; it must be at least 0.")
    if candidates is not None and operator.index(candidates) < 1:
        raise ParameterError(f"candidates is {candidates}; it must be at least 1, or None for all.")
