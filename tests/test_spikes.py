"""Spikes: what they hold, what they refuse, and how batches are cut from them."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evprop import Spikes
from evprop.errors import DtypeError, EvpropError, ShapeError, SpikesError


def example() -> Spikes:
    """Three samples of 4 units: 3 spikes, none, 2 spikes (at one time)."""
    return Spikes([0.5, 1.0, 7.25, 2.0, 2.0], [3, 0, 3, 1, 2], [0, 3, 3, 5], n_units=4)


def as_lists(spikes: Spikes) -> list[tuple[list[float], list[int]]]:
    return [(t.tolist(), u.tolist()) for t, u in spikes]


# -- construction ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"])
def test_any_integer_dtype(dtype: str) -> None:
    s = Spikes(np.array([0.5, 1.0]), np.array([3, 0], dtype), np.array([0, 2], dtype), n_units=np.int16(4))
    assert (s.times.dtype, s.units.dtype, s.offsets.dtype) == (np.float64, np.uint32, np.int64)
    assert as_lists(s) == [([0.5, 1.0], [3, 0])]
    assert type(s.n_units) is int


def test_sizes() -> None:
    s = example()
    assert (len(s), s.n_spikes, s.n_units, s.dropped) == (3, 5, 4, 0)
    assert s.counts_per_sample().tolist() == [3, 0, 2]
    assert s.counts_per_unit().tolist() == [1, 1, 1, 2]
    assert s.counts().tolist() == [[1, 0, 0, 2], [0, 0, 0, 0], [0, 1, 1, 0]]
    assert s.samples.tolist() == [0, 0, 0, 2, 2]
    assert s.first_times()[0].tolist() == [1.0, np.inf, np.inf, 0.5]
    assert np.isinf(s.first_times()[1]).all()
    assert repr(s) == "Spikes(3 samples, 5 spikes, 4 units, 0.5 to 7.25 ms)"


def test_who_spikes_and_who_spikes_first() -> None:
    s = example()
    assert s.fired().tolist() == (s.counts() > 0).tolist()
    assert s.first_units().tolist() == [s.units[0], -1, s.units[3]]
    assert s.first_units().dtype == np.int64
    together = Spikes([1.0, 1.0], [3, 1], [0, 2], n_units=4)
    assert together.first_units().tolist() == [3]  # as listed
    assert len(Spikes([], [], [0], n_units=1).first_units()) == 0


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "int64", "uint64"])
def test_samples_are_taken_by_any_integers(dtype: str) -> None:
    s = example()
    taken = s[np.array([2, 0, 0, 1], dtype)]
    assert as_lists(taken) == [as_lists(s)[k] for k in (2, 0, 0, 1)]
    with pytest.raises(IndexError, match="sample 3 is out of range: there are 3 samples"):
        s[np.array([0, 3], dtype)]


def test_samples_are_taken_from_the_end() -> None:
    s = example()
    assert as_lists(s[np.array([-1, -3])]) == [as_lists(s)[2], as_lists(s)[0]]
    with pytest.raises(IndexError, match="sample -4 is out of range"):
        s[np.array([-4])]
    with pytest.raises(IndexError, match="out of range"):
        s[np.array([2**64 - 1], np.uint64)]


def test_nothing_can_be_changed() -> None:
    s = example()
    for part in (s, s[1:], s[np.array([2, 0])], s.crop(3.0)):
        for array in (part.times, part.units, part.offsets):
            with pytest.raises(ValueError, match="read-only"):
                array[...] = 0
        with pytest.raises(AttributeError, match="cannot be changed"):
            part.n_units = 9
    with pytest.raises(TypeError):
        hash(s)


def test_the_callers_arrays_stay_the_callers() -> None:
    times, units, offsets = np.array([1.0, 2.0]), np.array([0, 1], np.uint32), np.array([0, 2])
    s = Spikes(times, units, offsets, n_units=2)
    times[:] = np.nan
    units[:] = 77
    offsets[:] = -1
    assert as_lists(s) == [([1.0, 2.0], [0, 1])]
    times.setflags(write=False)


def test_read_only_arrays_are_not_copied() -> None:
    times = np.array([1.0, 2.0])
    times.setflags(write=False)
    assert np.shares_memory(Spikes(times, [0, 1], [0, 2], n_units=2).times, times)


def test_strided_arrays_are_taken() -> None:
    times = np.arange(8.0)
    s = Spikes(times[::2], np.arange(8)[::2], [0, 4], n_units=8)
    assert s.times.flags.c_contiguous
    assert as_lists(s) == [([0.0, 2.0, 4.0, 6.0], [0, 2, 4, 6])]


def test_empty_batch_and_empty_samples_are_values() -> None:
    assert len(Spikes([], [], [0], n_units=1)) == 0
    s = Spikes([], [], [0, 0, 0], n_units=1)
    assert (len(s), s.n_spikes) == (2, 0)
    assert as_lists(s) == [([], []), ([], [])]
    assert s.counts().tolist() == [[0], [0]]
    assert repr(s) == "Spikes(2 samples, 0 spikes, 1 units)"


BAD: list[tuple[str, dict[str, Any], type[EvpropError], str]] = [
    ("nan", {"times": [0.5, np.nan, 2.0]}, SpikesError, r"sample 1, spike 0: time nan ms .* finite and >= 0"),
    ("inf", {"times": [0.5, 1.0, np.inf]}, SpikesError, r"sample 1, spike 1: time inf ms .* finite"),
    ("minus inf", {"times": [-np.inf, 1.0, 2.0]}, SpikesError, r"sample 0, spike 0: time -inf ms"),
    ("negative", {"times": [0.5, -1.5, 2.0]}, SpikesError, r"sample 1, spike 0: time -1.5 ms .* >= 0"),
    (
        "unsorted",
        {"times": [0.5, 3.0, 2.0]},
        SpikesError,
        r"sample 1, spike 1: time 2 ms comes after 3 ms.*from_lists",
    ),
    (
        "float32",
        {"times": np.zeros(3, np.float32)},
        DtypeError,
        r"times has dtype float32; it must be float64, in ms",
    ),
    ("integers", {"times": np.arange(3)}, DtypeError, r"times has dtype int64"),
    ("complex", {"times": np.zeros(3, complex)}, DtypeError, r"complex128"),
    ("words", {"times": ["a", "b", "c"]}, SpikesError, r"times cannot be read as numbers"),
    (
        "two dimensions",
        {"times": np.zeros((3, 1))},
        ShapeError,
        r"times has shape \(3, 1\); it must have one",
    ),
    (
        "unit too large",
        {"units": [0, 1, 4]},
        SpikesError,
        r"sample 1, spike 1: unit 4 .* n_units=4 allows 0..3",
    ),
    ("unit negative", {"units": [0, -1, 2]}, SpikesError, r"sample 1, spike 0: unit -1 is out of range"),
    ("unit beyond 32 bits", {"units": [0, 1, 2**32]}, SpikesError, r"unit 4294967296 is out of range"),
    ("unit float", {"units": [0.0, 1.0, 2.0]}, DtypeError, r"units has dtype float64; .* integer"),
    ("unit bool", {"units": [True, False, True]}, DtypeError, r"units has dtype bool"),
    ("too few units", {"units": [0, 1]}, ShapeError, r"units has 2 entries but times has 3"),
    ("offsets start", {"offsets": [1, 1, 3]}, SpikesError, r"offsets\[0\] is 1; it must be 0"),
    ("offsets end", {"offsets": [0, 1, 2]}, SpikesError, r"offsets\[-1\] is 2 but there are 3 spikes"),
    (
        "offsets fall",
        {"offsets": [0, 4, 3]},
        SpikesError,
        r"sample 1: offsets\[2\]=3 is less than offsets\[1\]=4",
    ),
    ("offsets empty", {"offsets": []}, ShapeError, r"offsets is empty; .* batch \+ 1"),
    ("offsets float", {"offsets": [0.0, 1.0, 3.0]}, DtypeError, r"offsets has dtype float64"),
    ("no units", {"n_units": 0}, SpikesError, r"n_units is 0; a population has 1 to"),
    ("negative units", {"n_units": -3}, SpikesError, r"n_units is -3"),
    ("float n_units", {"n_units": 4.0}, SpikesError, r"n_units is 4.0; it must be an integer"),
]


@pytest.mark.parametrize(("change", "error", "message"), [b[1:] for b in BAD], ids=[b[0] for b in BAD])
def test_refused(change: dict[str, Any], error: type[EvpropError], message: str) -> None:
    good: dict[str, Any] = {"times": [0.5, 1.0, 2.0], "units": [0, 1, 2], "offsets": [0, 1, 3], "n_units": 4}
    Spikes(**good)
    with pytest.raises(error, match=message):
        Spikes(**(good | change))


def test_times_may_fall_from_one_sample_to_the_next() -> None:
    s = Spikes([5.0, 1.0, 3.0, 0.0], [0, 0, 0, 0], [0, 0, 1, 3, 3, 4, 4], n_units=1)
    assert s.counts_per_sample().tolist() == [0, 1, 2, 0, 1, 0]


# -- from_lists --------------------------------------------------------------------------------------------------


def test_from_lists_sorts_stably() -> None:
    s = Spikes.from_lists([([2.0, 1.0, 2.0, 1.0], [7, 5, 6, 4]), ([], [])], n_units=8)
    assert as_lists(s) == [([1.0, 1.0, 2.0, 2.0], [5, 4, 7, 6]), ([], [])]


def test_from_lists_joins_any_dtypes() -> None:
    pairs = [(np.array([1.0]), np.array([200], np.uint8)), ([0.5], [3]), (np.empty(0), np.empty(0))]
    s = Spikes.from_lists(pairs, n_units=256)
    assert as_lists(s) == [([1.0], [200]), ([0.5], [3]), ([], [])]
    assert len(Spikes.from_lists([], n_units=2)) == 0


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ([([1.0], [0]), ([np.nan], [0])], r"sample 1, spike 0: time nan"),
        ([([1.0], [0]), ([2.0, -1.0], [0, 1])], r"sample 1, spike 0: time -1"),
        ([([1.0], [0]), ([1.0, 2.0], [0, 9])], r"sample 1, spike 1: unit 9 is out of range"),
        ([([1.0, 2.0], [0])], r"sample 0: 2 times but 1 units"),
        ([([1.0], [0.0])], r"units of sample 0 has dtype float64"),
        ([(np.array([1]), [0])], r"times of sample 0 has dtype int64"),
        ([[1.0]], r"sample 0 is list; each sample must be a \(times, units\) pair"),
        ([3.0], r"sample 0 is float"),
    ],
)
def test_from_lists_refuses(samples: Any, message: str) -> None:
    with pytest.raises(EvpropError, match=message):
        Spikes.from_lists(samples, n_units=2)


# -- cutting -----------------------------------------------------------------------------------------------------

ragged = st.lists(
    st.lists(st.tuples(st.floats(0, 100), st.integers(0, 6)), max_size=5).map(sorted), min_size=0, max_size=7
)


def build(samples: list[list[tuple[float, int]]]) -> Spikes:
    return Spikes.from_lists([([t for t, _ in s], [u for _, u in s]) for s in samples], n_units=7)


@given(ragged, st.data())
def test_index_arrays_and_slices_are_those_of_lists(samples: Any, data: st.DataObject) -> None:
    s = build(samples)
    n = len(samples)
    whole = as_lists(s)
    index = data.draw(st.lists(st.integers(-n, n - 1), max_size=9)) if n else []
    taken = s[np.array(index, np.int64)]
    assert as_lists(taken) == [whole[i] for i in index]
    assert taken == s[index]
    chunk = slice(
        *(data.draw(st.none() | st.integers(-9, 9)) for _ in range(2)),
        data.draw(st.sampled_from([None, 1, 2, -1])),
    )
    assert as_lists(s[chunk]) == whole[chunk]
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)), bool)
    assert as_lists(s[mask]) == [w for w, m in zip(whole, mask, strict=True) if m]
    for part in (taken, s[chunk], s[mask]):  # what was cut would pass the constructor's checks
        assert Spikes(part.times, part.units, part.offsets, part.n_units) == part
    if n:
        assert as_lists(Spikes.concatenate([s[: n // 2], s[n // 2 :]])) == whole


def test_one_sample() -> None:
    s = example()
    t, u = s[-1]
    assert (t.tolist(), u.tolist()) == ([2.0, 2.0], [1, 2])
    t, u = s[np.int64(1)]
    assert (t.tolist(), u.tolist()) == ([], [])
    assert s[...] is s


def test_out_of_range_samples() -> None:
    s = example()
    for index in (3, -4):
        with pytest.raises(IndexError, match="out of range: there are 3 samples"):
            s[index]
        with pytest.raises(IndexError):
            s[np.array([0, index])]


@pytest.mark.parametrize("index", [np.array([0.0, 1.0]), np.array([[0]]), np.array([True]), "a", 1.5])
def test_no_index(index: Any) -> None:
    with pytest.raises(SpikesError, match="cannot index samples"):
        example()[index]


def test_slices_share_memory() -> None:
    s = example()
    assert np.shares_memory(s[1:].times, s.times)


def test_crop_tells_what_it_dropped() -> None:
    s = example()
    cropped = s.crop(2.0)
    assert as_lists(cropped) == [([0.5, 1.0], [3, 0]), ([], []), ([2.0, 2.0], [1, 2])]  # at the limit: kept
    assert (cropped.dropped, s.dropped, s.crop(7.25).dropped) == (1, 0, 0)
    assert "1 dropped" in repr(cropped)
    assert s.crop(0.0).dropped == 5
    for bad in (-1.0, np.nan):
        with pytest.raises(SpikesError, match="cannot crop"):
            s.crop(bad)


def test_concatenate_refuses() -> None:
    with pytest.raises(SpikesError, match="n_units=5 but part 0 has n_units=4"):
        Spikes.concatenate([example(), Spikes([], [], [0], n_units=5)])
    with pytest.raises(SpikesError, match="nothing to concatenate"):
        Spikes.concatenate([])


def test_equality_and_copies() -> None:
    s = example()
    assert s == example()
    assert s != s[:2]
    assert s != Spikes(s.times, s.units, s.offsets, n_units=5)
    assert s != 3
    for twin in (pickle.loads(pickle.dumps(s)), copy.deepcopy(s), copy.copy(s)):
        assert twin == s
        assert not twin.times.flags.writeable
    assert pickle.loads(pickle.dumps(s.crop(2.0))).dropped == 1
