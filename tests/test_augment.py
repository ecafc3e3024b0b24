"""Augmentations against the same thing said plainly, sample by sample; seeds; what leaves the channels or the trial."""

from __future__ import annotations

import numpy as np
import pytest

from evprop import Spikes
from evprop.augment import (
    Augmentation,
    Augmenter,
    Blend,
    DropChannels,
    DropSpikes,
    JitterTimes,
    Pool,
    RoundTimes,
    ScaleTimes,
    ShiftChannels,
)
from evprop.datasets import Dataset
from evprop.errors import ConfigError, DatasetError
from evprop.loader import Loader

N_UNITS, DURATION = 50, 100.0
ALL = [
    ShiftChannels(10),
    Blend(0.6),
    JitterTimes(3.0),
    ScaleTimes(0.7, 1.5),
    RoundTimes(2.0),
    DropSpikes(0.3),
    DropChannels(0.3),
]


def some(n: int = 12, seed: int = 0) -> tuple[Spikes, np.ndarray]:
    rng = np.random.default_rng(seed)
    samples = []
    for k in range(n):
        m = 0 if k == 5 else int(rng.integers(30, 80))
        samples.append(
            (rng.uniform(0.0, DURATION, m).round(1), rng.integers(0, N_UNITS, m))
        )  # ties are common
    return Spikes.from_lists(samples, n_units=N_UNITS), np.arange(n) % 3


SPIKES, LABELS = some()
POOL = Pool(SPIKES, LABELS)


def rng(seed: int = 1) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


@pytest.mark.parametrize("augmentation", ALL, ids=repr)
def test_the_result_is_valid_and_depends_on_the_seed_alone(augmentation) -> None:
    out = augmentation(SPIKES, LABELS, POOL, DURATION, rng())
    assert (
        Spikes(out.times.copy(), out.units.copy(), out.offsets.copy(), n_units=N_UNITS) == out
    )  # all checks again
    assert len(out) == len(SPIKES)
    assert out.times.max() <= DURATION
    assert out != SPIKES
    assert augmentation(SPIKES, LABELS, POOL, DURATION, rng()) == out
    assert augmentation(SPIKES, LABELS, POOL, DURATION, rng(2)) != out


def test_shift_moves_a_sample_as_a_whole() -> None:
    out = ShiftChannels(10)(SPIKES, LABELS, POOL, DURATION, rng())
    seen = set()
    for (t, u), (t_0, u_0) in zip(out, SPIKES, strict=True):
        if len(u_0) == 0:
            assert len(u) == 0
            continue
        candidates = []
        for shift in range(-10, 11):
            moved = u_0.astype(int) + shift
            inside = (moved >= 0) & (moved < N_UNITS)
            if np.array_equal(moved[inside], u) and np.array_equal(t_0[inside], t):
                candidates.append(shift)
        assert candidates
        seen.add(candidates[0])
    assert len(seen) > 4
    assert min(seen) < 0 < max(seen)
    shifts = [
        int(ShiftChannels(2)(one, LABELS[:1], POOL, DURATION, rng(k)).units[0])
        for k in range(400)
        for one in (Spikes.from_lists([([1.0], [20])], n_units=N_UNITS),)
    ]
    counts = np.bincount(np.array(shifts) - 18)
    assert counts.shape == (5,)  # -2..2, both ends included
    assert counts.min() > 50


def test_blend_takes_half_of_each_of_two_aligned_samples() -> None:
    one = Spikes.from_lists(
        [(np.full(200, 20.0), np.full(200, 10)), (np.full(200, 40.0), np.full(200, 20))], n_units=N_UNITS
    )
    labels = np.array([0, 0])
    pool = Pool(one, labels)
    out = Blend(1.0)(one, labels, pool, DURATION, rng(3))
    for k in range(2):
        t, u = out[k]
        # the partner is the sample itself or the other one: everything meets at the mean of the two centres
        assert set(t) <= {20.0, 30.0, 40.0}
        assert len(set(zip(t.tolist(), u.tolist(), strict=True))) == 1
        assert 150 < len(t) < 250
        assert (t[0] - 20.0) / 20.0 == pytest.approx((u[0] - 10.0) / 10.0)
    kept = Blend(1.0, share=1.0)(one, labels, pool, DURATION, rng(3))
    assert kept.counts_per_sample().tolist() == [200, 200]
    assert Blend(0.0)(SPIKES, LABELS, POOL, DURATION, rng()) == SPIKES


def test_partners_are_of_the_same_class_and_all_of_them() -> None:
    spikes = Spikes.from_lists([([1.0], [k]) for k in range(30)], n_units=N_UNITS)
    labels = np.arange(30) % 3
    pool = Pool(spikes, labels)
    drawn = pool.partners(np.repeat([0, 1, 2], 200), rng()).units.astype(int)
    assert np.array_equal(drawn % 3, np.repeat([0, 1, 2], 200))
    assert len(set(drawn.tolist())) == 30


def test_jitter_and_scale() -> None:
    one = Spikes.from_lists(
        [(np.full(4000, 50.0), np.zeros(4000, int)), ([50.0, 60.0], [0, 1])], n_units=N_UNITS
    )
    t = JitterTimes(3.0)(one, np.zeros(2, int), POOL, DURATION, rng()).times[:4000]
    assert t.mean() == pytest.approx(50.0, abs=0.2)
    assert t.std() == pytest.approx(3.0, rel=0.05)
    out = ScaleTimes(0.5, 1.9)(SPIKES, LABELS, POOL, DURATION, rng())
    for (t, u), (t_0, u_0) in zip(out, SPIKES, strict=True):
        if len(t):
            factor = t[-1] / t_0[len(t) - 1]
            np.testing.assert_allclose(t, t_0[: len(t)] * factor)
            assert np.array_equal(u, u_0[: len(t)])
            assert 0.5 <= factor <= 1.9
            assert len(t) == len(t_0) or t_0[len(t)] * factor > DURATION


def test_rounded_times_lie_on_a_grid_of_the_samples_own() -> None:
    step, phases = 0.8, []
    out = RoundTimes(step)(SPIKES, LABELS, POOL, DURATION, rng())
    for (t, u), (t_0, u_0) in zip(out, SPIKES, strict=True):
        if len(t):
            phases.append(t[0] / step % 1.0)
            whole = t / step - phases[-1]
            np.testing.assert_allclose(whole, np.rint(whole), atol=1e-9)
            # the k-th spike moves by half a step at most; those that leave the trial do so at its ends
            first = len(t_0) - len(t) if t_0[0] < step / 2 and abs(t[0] - t_0[0]) > step / 2 else 0
            own = slice(first, first + len(t))
            assert np.abs(t - t_0[own]).max() <= step / 2 + 1e-9
            assert np.array_equal(u, u_0[own])
            assert len(t) == len(t_0) or t_0[0] < step / 2 or t_0[-1] > DURATION - step / 2
    assert np.std(phases) == pytest.approx(1 / np.sqrt(12), rel=0.5)


def test_drops() -> None:
    out = DropSpikes(0.25)(SPIKES, LABELS, POOL, DURATION, rng())
    assert out.n_spikes == pytest.approx(0.75 * SPIKES.n_spikes, rel=0.08)
    out = DropChannels(0.25)(SPIKES, LABELS, POOL, DURATION, rng())
    before, after = SPIKES.counts(), out.counts()
    assert ((after == before) | (after == 0)).all()  # a channel is there as a whole or not at all
    assert np.count_nonzero(after) == pytest.approx(0.75 * np.count_nonzero(before), rel=0.08)


def test_a_batch_depends_on_seed_epoch_and_number_alone() -> None:
    data = Dataset(SPIKES, LABELS)
    loader = Loader(data, 5, seed=7, augment=ALL, duration=DURATION)
    whole = [list(loader.batches(epoch)) for epoch in range(2)]
    assert whole[0][1].spikes != whole[1][1].spikes
    again = Loader(data, 5, seed=7, augment=ALL, duration=DURATION)
    late = list(again.batches(1, start=2))
    assert len(late) == 1
    assert late[0].spikes == whole[1][2].spikes
    of_seed = [
        next(Loader(data, 5, seed=seed, shuffle=False, augment=ALL, duration=DURATION).batches(0)) for seed in (7, 8)
    ]
    assert np.array_equal(of_seed[0].index, of_seed[1].index)
    assert of_seed[0].spikes != of_seed[1].spikes
    plain = Loader(data, 5, seed=7)
    for one, other in zip(plain.batches(0), whole[0], strict=True):
        assert np.array_equal(one.index, other.index)
        assert np.array_equal(one.labels, other.labels)


@pytest.mark.parametrize("augment", [(), ALL])
def test_parts_of_a_batch_do_not_depend_on_who_makes_them(augment: tuple[Augmentation, ...]) -> None:
    loader = Loader(Dataset(SPIKES, LABELS), 5, seed=7, augment=augment, duration=DURATION)
    whole = list(loader.batches(1))
    by_one = list(loader.cut_batches(1, 4, range(4)))
    by_two = [list(loader.cut_batches(1, 4, own)) for own in (range(0, 4, 2), range(1, 4, 2))]
    assert [cut.size for cut in by_one] == [len(batch.labels) for batch in whole]
    for number, (batch, cut) in enumerate(zip(whole, by_one, strict=True)):
        assert np.array_equal(np.concatenate([piece.index for _, piece in cut.pieces]), batch.index)
        assert np.array_equal(np.concatenate([piece.labels for _, piece in cut.pieces]), batch.labels)
        others = dict(piece for own in by_two for piece in own[number].pieces)
        assert sorted(others) == [k for k, _ in cut.pieces]
        assert all(others[k].spikes == piece.spikes for k, piece in cut.pieces)
        if not augment:
            assert all(piece.spikes == SPIKES[piece.index] for _, piece in cut.pieces)
    assert len(by_one[-1].pieces) == 2  # two samples in four parts
    late = list(loader.cut_batches(1, 4, range(4), start=2))
    assert late[0].pieces[0][1].spikes == by_one[2].pieces[0][1].spikes


def test_nonsense_is_refused() -> None:
    for make, match in [
        (lambda: ShiftChannels(-1), "most is -1"),
        (lambda: Blend(1.5), r"p is 1\.5"),
        (lambda: JitterTimes(float("nan")), "std is nan"),
        (lambda: ScaleTimes(0.0, 1.0), "low is 0"),
        (lambda: ScaleTimes(2.0, 1.0), "low is 2"),
        (lambda: RoundTimes(0.0), "step is 0"),
        (lambda: RoundTimes(-1.0), "step is -1"),
        (lambda: DropSpikes(-0.1), "p is"),
        (lambda: DropChannels(1.1), "p is"),
    ]:
        with pytest.raises(ConfigError, match=match):
            make()
    with pytest.raises(ConfigError, match=r"no evprop\.augment\.Augmentation"):
        Augmenter([lambda s: s], SPIKES, LABELS, duration=DURATION, seed=0)  # type: ignore[list-item]
    with pytest.raises(DatasetError, match="one Input population"):
        Augmenter([DropSpikes(0.1)], {"a": SPIKES}, LABELS, duration=DURATION, seed=0)  # type: ignore[arg-type]
