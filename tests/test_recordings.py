"""Recordings in the layout of SHD and SSC: reading, what is wrong with a file, the cache, splits; the real files."""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path

import numpy as np
import pytest

import evprop
from evprop.datasets import Dataset, merge_channels, read_hdf5, recordings, split_groups, split_share
from evprop.errors import DatasetError, MissingExtraError

h5py = pytest.importorskip("h5py")

N, N_UNITS = 9, 30


def samples(seed: int = 0, times=np.float16, units=np.uint16):
    rng = np.random.default_rng(seed)
    rows = []
    for k in range(N):
        n = 0 if k == 4 else int(rng.integers(5, 20))
        rows.append((rng.uniform(0.0, 1.2, n).astype(times), rng.integers(0, N_UNITS, n).astype(units)))
    return rows


def write(path: Path, rows=None, *, labels=None, keys=("a", "b", "c"), leave_out=(), extra=True) -> Path:
    rows = samples() if rows is None else rows
    t_type, u_type = rows[0][0].dtype, rows[0][1].dtype
    with h5py.File(path, "w") as file:
        for name, column, dtype in (("times", 0, t_type), ("units", 1, u_type)):
            if f"spikes/{name}" not in leave_out:
                made = file.create_dataset(f"spikes/{name}", (len(rows),), dtype=h5py.vlen_dtype(dtype))
                for k, row in enumerate(rows):
                    made[k] = row[column]
        if "labels" not in leave_out:
            file["labels"] = (np.arange(len(rows)) % 3).astype(np.uint16) if labels is None else labels
        if extra:
            file["extra/keys"] = np.array([k.encode() for k in keys])
            file["extra/speaker"] = (np.arange(len(rows)) % 4).astype(np.uint16)
            file["extra/duration"] = np.ones(len(rows), np.float32)
            file["extra/meta_info/gender"] = np.array([b"m"] * 4)
    return path


def packed(path: Path) -> Path:
    target = path.with_suffix(".h5.gz")
    target.write_bytes(gzip.compress(path.read_bytes()))
    return target


@pytest.mark.parametrize(
    ("times", "units"), [(np.float16, np.uint16), (np.float32, np.int64), (np.float64, np.uint8)]
)
def test_a_file_is_read_as_the_plain_loop_reads_it(tmp_path, times, units):
    rows = samples(times=times, units=units)
    data = read_hdf5(write(tmp_path / "x.h5", rows), n_units=N_UNITS)
    assert (len(data), data.n_classes, data.class_names) == (N, 3, ("a", "b", "c"))
    assert list(data.groups) == ["speaker"]
    np.testing.assert_array_equal(data.groups["speaker"], np.arange(N) % 4)
    for k, (t, u) in enumerate(rows):
        spikes = sorted(((float(a) * 1000.0, i, int(b)) for i, (a, b) in enumerate(zip(t, u, strict=True))))
        got_t, got_u = data.spikes[k]
        assert got_t.tolist() == [a for a, _, _ in spikes]
        assert got_u.tolist() == [b for _, _, b in spikes]


def test_ties_keep_the_order_of_the_file(tmp_path):
    rows = [(np.array([0.5, 0.25, 0.5, 0.25], np.float16), np.array([3, 2, 1, 0], np.uint16))]
    data = read_hdf5(write(tmp_path / "x.h5", rows, labels=np.array([1])), n_units=N_UNITS)
    assert data.spikes[0][0].tolist() == [250.0, 250.0, 500.0, 500.0]
    assert data.spikes[0][1].tolist() == [2, 0, 3, 1]


def test_float16_times_do_not_overflow(tmp_path):
    rows = [(np.array([100.0], np.float16), np.array([0], np.uint16))]
    data = read_hdf5(write(tmp_path / "x.h5", rows, labels=np.array([0])), n_units=N_UNITS)
    assert data.spikes[0][0].tolist() == [100_000.0]  # inf in float16


def test_gzip_folder_and_rectangular_rows(tmp_path):
    plain = write(tmp_path / "x.h5")
    whole = read_hdf5(plain, n_units=N_UNITS)
    (tmp_path / "one").mkdir()
    packed(plain).rename(tmp_path / "one" / "x.h5.gz")
    assert read_hdf5(tmp_path / "one", n_units=N_UNITS).spikes == whole.spikes
    (tmp_path / "one" / "y.h5").write_bytes(plain.read_bytes())
    with pytest.raises(DatasetError, match="holds 2 HDF5 files"):
        read_hdf5(tmp_path / "one")
    with h5py.File(tmp_path / "r.h5", "w") as file:
        file["spikes/times"] = np.array([[0.2, 0.1], [0.3, 0.4]])
        file["spikes/units"] = np.array([[5, 6], [7, 8]])
        file["labels"] = np.array([0, 1])
    data = read_hdf5(tmp_path / "r.h5", n_units=N_UNITS)
    assert data.spikes[0][1].tolist() == [6, 5]
    assert (data.class_names, data.n_classes, dict(data.groups)) == ((), 2, {})


def test_what_is_wrong_with_a_file_is_said(tmp_path):
    with pytest.raises(DatasetError, match="no such file"):
        read_hdf5(tmp_path / "none.h5")
    (tmp_path / "text.h5").write_text("labels")
    with pytest.raises(DatasetError, match=r"text\.h5 is no HDF5 file or is damaged"):
        read_hdf5(tmp_path / "text.h5")
    whole = write(tmp_path / "x.h5")
    for size in (600, whole.stat().st_size // 2, whole.stat().st_size - 100):
        (tmp_path / "cut.h5").write_bytes(whole.read_bytes()[:size])
        with pytest.raises(DatasetError, match=r"cut\.h5"):
            read_hdf5(tmp_path / "cut.h5", n_units=N_UNITS)
        gz = gzip.compress(whole.read_bytes())
        (tmp_path / "cut.h5.gz").write_bytes(gz[: len(gz) * size // whole.stat().st_size])
        with pytest.raises(DatasetError, match=r"cut\.h5\.gz"):
            read_hdf5(tmp_path / "cut.h5.gz", n_units=N_UNITS)
    for name in ("spikes/times", "spikes/units", "labels"):
        with pytest.raises(DatasetError, match=rf"lacks /{name}: it has another layout than SHD"):
            read_hdf5(write(tmp_path / "less.h5", leave_out=(name,)), n_units=N_UNITS)
    with pytest.raises(DatasetError, match=r"unit 2\d is out of range; n_units=20"):
        read_hdf5(whole, n_units=20)
    with pytest.raises(DatasetError, match=r"label 2 of sample 2 is out of range; 2 classes"):
        read_hdf5(write(tmp_path / "k.h5", keys=("a", "b")), n_units=N_UNITS)
    with pytest.raises(DatasetError, match="9 rows of times, 9 of units and 8 labels"):
        read_hdf5(write(tmp_path / "l.h5", labels=np.zeros(8, int)), n_units=N_UNITS)
    with pytest.raises(DatasetError, match="labels has dtype float64"):
        read_hdf5(write(tmp_path / "f.h5", labels=np.zeros(9)), n_units=N_UNITS)
    odd = samples()
    odd[3] = (odd[3][0][:-1], odd[3][1])
    with pytest.raises(DatasetError, match="sample 3 has times of shape"):
        read_hdf5(write(tmp_path / "o.h5", odd), n_units=N_UNITS)
    micro = [(np.array([1000], np.int64), np.array([1], np.uint16))]
    with pytest.raises(DatasetError, match="times has dtype int64"):
        read_hdf5(write(tmp_path / "m.h5", micro, labels=np.array([0])), n_units=N_UNITS)
    nan = [(np.array([0.1, np.nan]), np.array([1, 2]))]
    with pytest.raises(DatasetError, match="time nan ms is not valid"):
        read_hdf5(write(tmp_path / "n.h5", nan, labels=np.array([0])), n_units=N_UNITS)


def test_without_h5py_the_extra_is_named(tmp_path, monkeypatch):
    path = write(tmp_path / "x.h5")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(MissingExtraError, match=r"evprop\[h5\]"):
        read_hdf5(path)


# -- cache -------------------------------------------------------------------------------------------------------


def same(one: Dataset, other: Dataset) -> bool:
    return (
        one.spikes == other.spikes
        and np.array_equal(one.labels, other.labels)
        and (one.name, one.n_classes, one.class_names) == (other.name, other.n_classes, other.class_names)
        and list(one.groups) == list(other.groups)
        and all(np.array_equal(one.groups[g], other.groups[g]) for g in one.groups)
    )


def test_the_cache_gives_the_same_and_does_not_read_the_file_again(tmp_path, monkeypatch):
    path, cache = write(tmp_path / "x.h5"), tmp_path / "cache"
    direct = read_hdf5(path, n_units=N_UNITS)
    assert same(read_hdf5(path, n_units=N_UNITS, cache=cache), direct)
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "h5py", None)
        again = read_hdf5(path, n_units=N_UNITS, cache=cache)
    assert same(again, direct)
    base = again.spikes.times
    while isinstance(base.base, np.ndarray):
        base = base.base
    assert isinstance(base, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        again.spikes.times[0] = 1.0
    assert len(list(cache.iterdir())) == 1


def test_other_content_under_the_same_name_is_another_entry(tmp_path):
    path, cache = write(tmp_path / "x.h5"), tmp_path / "cache"
    first = read_hdf5(path, n_units=N_UNITS, cache=cache)
    write(path, samples(seed=5))
    second = read_hdf5(path, n_units=N_UNITS, cache=cache)
    assert second.spikes != first.spikes
    assert same(second, read_hdf5(path, n_units=N_UNITS))
    read_hdf5(path, n_units=N_UNITS + 1, cache=cache)
    assert len(list(cache.iterdir())) == 3


@pytest.mark.parametrize("harm", ["flip", "cut", "lose", "index", "format", "half"])
def test_a_damaged_copy_is_made_anew(tmp_path, harm):
    path, cache = write(tmp_path / "x.h5"), tmp_path / "cache"
    direct = read_hdf5(path, n_units=N_UNITS, cache=cache)
    (place,) = cache.iterdir()
    times = place / "times.bin"
    content = bytearray(times.read_bytes())
    if harm == "flip":
        content[9] ^= 1
        times.write_bytes(content)
    elif harm == "cut":
        times.write_bytes(content[:-8])
    elif harm == "lose":
        times.unlink()
    elif harm == "index":
        (place / "index.json").write_text("{")
    elif harm == "format":
        index = json.loads((place / "index.json").read_text())
        (place / "index.json").write_text(json.dumps(index | {"format": "another"}))
    else:
        (place / "index.json").unlink()
    direct = read_hdf5(path, n_units=N_UNITS)
    assert same(read_hdf5(path, n_units=N_UNITS, cache=cache), direct)
    assert [p.name for p in cache.iterdir()] == [place.name]
    assert bytes(times.read_bytes()) == direct.spikes.times.tobytes()


def test_a_cache_that_cannot_be_written_says_so(tmp_path):
    path = write(tmp_path / "x.h5")
    (tmp_path / "file").write_text("")
    with pytest.raises(DatasetError, match="could not be written"):
        read_hdf5(path, n_units=N_UNITS, cache=tmp_path / "file")
    with pytest.raises(DatasetError, match="could not be written"):
        read_hdf5(path, n_units=N_UNITS, cache="/dev/full/x")


# -- splits ------------------------------------------------------------------------------------------------------


def test_split_by_group():
    data = some_data(40)
    rest, held = split_groups(data, "speaker", [1, 3])
    assert set(held.groups["speaker"].tolist()) == {1, 3}
    assert set(rest.groups["speaker"].tolist()) == {0, 2, 4}
    assert len(rest) + len(held) == 40
    for part in (rest, held):
        for k in range(len(part)):
            where = part.groups["number"][k]
            assert np.array_equal(part.spikes[k][0], data.spikes[where][0])
            assert part.labels[k] == data.labels[where]
    with pytest.raises(DatasetError, match=r"did you mean 'speaker'"):
        split_groups(data, "speakers", [1])
    with pytest.raises(DatasetError, match=r"no sample has speaker \[9\]"):
        split_groups(data, "speaker", [1, 9])
    with pytest.raises(DatasetError, match="nothing is held out"):
        split_groups(data, "speaker", [])
    with pytest.raises(DatasetError, match="empty"):
        split_groups(data, "speaker", range(5))


def test_split_by_share():
    data = some_data(60)
    rest, held = split_share(data, 0.25, seed=3)
    assert held.class_counts().tolist() == [5, 5, 5]
    assert rest.class_counts().tolist() == [15, 15, 15]
    assert not set(rest.groups["number"]) & set(held.groups["number"])
    assert np.array_equal(split_share(data, 0.25, 3)[1].groups["number"], held.groups["number"])
    assert not np.array_equal(split_share(data, 0.25, 4)[1].groups["number"], held.groups["number"])
    assert held.groups["number"].tolist()[:3] == [0, 4, 7]  # a draw that no version of NumPy may change
    for share, seed in ((0.0, 1), (1.0, 1), (0.5, -1)):
        with pytest.raises(DatasetError):
            split_share(data, share, seed)
    lone = Dataset(data.spikes[:1], data.labels[:1])
    with pytest.raises(DatasetError, match="empty"):
        split_share(lone, 0.5, 0)


def some_data(n: int) -> Dataset:
    rng = np.random.default_rng(0)
    spikes = evprop.Spikes.from_lists(
        [(rng.uniform(0, 9, 4), rng.integers(0, 5, 4)) for _ in range(n)], n_units=5
    )
    return Dataset(spikes, np.arange(n) % 3, groups={"speaker": np.arange(n) % 5, "number": np.arange(n)})


def test_groups_must_fit():
    data = some_data(6)
    with pytest.raises(DatasetError, match=r"group 'speaker' has shape \(5,\)"):
        Dataset(data.spikes, data.labels, groups={"speaker": np.zeros(5, int)})


def test_recordings(tmp_path, monkeypatch):
    (tmp_path / "d").mkdir()
    write(tmp_path / "d" / "train.h5", samples(1))
    write(tmp_path / "d" / "test.h5", samples(2))
    files = {"train": "train.h5", "test": "test.h5", "n_units": N_UNITS}
    monkeypatch.setenv("EVPROP_DATA", str(tmp_path))
    found = recordings("d", validation={"speaker": [2]}, **files)
    assert {name: len(part) for name, part in found.items()} == {"train": 7, "validation": 2, "test": 9}
    assert found["test"].spikes == read_hdf5(tmp_path / "d" / "test.h5", n_units=N_UNITS).spikes
    found = recordings(tmp_path / "d", validation={"share": 0.34, "seed": 0}, **files)
    assert {name: len(part) for name, part in found.items()} == {"train": 6, "validation": 3, "test": 9}
    few = recordings("d", validation={"speaker": [2]}, subset=0.5, **files)
    whole = recordings("d", validation={"speaker": [2]}, **files)
    assert 0 < len(few["train"]) < len(whole["train"])
    assert len(few["validation"]) == len(whole["validation"])
    assert set(few["train"].labels) == set(whole["train"].labels)
    with pytest.raises(DatasetError, match=r"share is 1\.5"):
        recordings("d", validation={"speaker": [2]}, subset=1.5, **files)
    found = recordings("d", validation="test.h5", **files)
    assert found["validation"].spikes == found["test"].spikes
    for how in ({}, {"share": 0.1}, {"speaker": 3}, {"speaker": [1], "label": [2]}):
        with pytest.raises(DatasetError, match="give the name of a file"):
            recordings("d", validation=how, **files)
    write(tmp_path / "d" / "other.h5", keys=("a", "b", "d"))
    with pytest.raises(DatasetError, match="do not belong together"):
        recordings("d", validation="other.h5", **files)
    monkeypatch.delenv("EVPROP_DATA")
    with pytest.raises(DatasetError, match=r"no folder d; set data\.folder, or EVPROP_DATA"):
        recordings("d", validation="test.h5", **files)


# -- the real files ----------------------------------------------------------------------------------------------


def test_spoken_digits(data_dir):
    data = read_hdf5(data_dir / "fsdd" / "fsdd_test.h5.gz")
    assert len(data) == 300
    assert data.class_counts().tolist() == [30] * 10
    assert data.class_names[:2] == ("zero", "one")
    counts = data.spikes.counts_per_sample()
    assert (counts.min(), counts.max()) == (1347, 7889)
    assert round(counts.mean()) == 4075
    assert data.spikes.times.max() == pytest.approx(1150, abs=1)
    assert np.bincount(data.groups["speaker"]).tolist() == [50] * 6
    assert sorted(set(data.groups["recording"].tolist())) == [0, 1, 2, 3, 4]


def test_words_have_disjoint_speakers(data_dir):
    valid, test = (read_hdf5(data_dir / "gsc" / f"gsc_{part}.h5.gz") for part in ("valid", "test"))
    assert (len(valid), len(test)) == (435, 491)
    assert valid.n_classes == test.n_classes == 11
    assert not set(valid.groups["speaker"]) & set(test.groups["speaker"])


# -- merged channels ---------------------------------------------------------------------------------------------


def test_merged_channels_keep_each_kth_spike_of_a_sample(tmp_path):
    data = read_hdf5(write(tmp_path / "a.h5"), n_units=N_UNITS)
    found = merge_channels(data, 5, 3)
    assert found.spikes.n_units == 6
    for k in range(len(data)):
        times, units = data.spikes[k]
        seen = dict.fromkeys(range(6), 0)
        expected = []
        for t, u in zip(times, units // 5, strict=True):
            seen[int(u)] += 1
            if seen[int(u)] % 3 == 0:
                expected.append((t, u))
        t, u = found.spikes[k]
        assert list(zip(t, u, strict=True)) == expected
    assert (found.labels == data.labels).all()
    assert found.class_names == data.class_names


def test_merging_alone_loses_nothing(tmp_path):
    data = read_hdf5(write(tmp_path / "a.h5"), n_units=N_UNITS)
    found = merge_channels(data, 10)
    assert (found.spikes.times == data.spikes.times).all()
    assert (found.spikes.units == data.spikes.units // 10).all()


def test_the_phases_of_a_thinning_part_the_spikes_among_them(tmp_path):
    data = read_hdf5(write(tmp_path / "a.h5"), n_units=N_UNITS)
    whole = merge_channels(data, 5)
    phases = [merge_channels(data, 5, 3, phase) for phase in range(3)]
    for k in range(len(data)):
        every = np.lexsort(whole.spikes[k])
        parts = [np.concatenate(column) for column in zip(*(one.spikes[k] for one in phases), strict=True)]
        order = np.lexsort(parts)
        for found, wanted in zip(parts, whole.spikes[k], strict=True):
            assert (found[order] == wanted[every]).all()
    for one in phases:
        assert (one.labels == data.labels).all()


def test_recordings_in_all_phases(tmp_path):
    write(tmp_path / "a.h5")
    given = {"train": "a.h5", "test": "a.h5", "validation": {"speaker": [3]}, "n_units": N_UNITS, "merge": 5, "every": 3}
    found = recordings(tmp_path, **given, phase=1, all_phases=True)
    apart = [recordings(tmp_path, **given, phase=k) for k in range(3)]
    assert (found["test"].spikes.times == apart[1]["test"].spikes.times).all()
    for name in ("train", "validation"):
        whole, n = found[name], len(apart[0][name])
        assert len(whole) == 3 * n
        for k, one in enumerate(apart):
            assert (whole[k * n : (k + 1) * n].spikes.times == one[name].spikes.times).all()
            assert (whole[k * n : (k + 1) * n].labels == one[name].labels).all()
        assert (whole.groups["speaker"] == np.tile(apart[0][name].groups["speaker"], 3)).all()


def test_recordings_come_merged(tmp_path):
    write(tmp_path / "a.h5")
    given = {"train": "a.h5", "test": "a.h5", "validation": {"speaker": [3]}, "n_units": N_UNITS}
    whole, merged = recordings(tmp_path, **given), recordings(tmp_path, **given, merge=5, every=2)
    for name in ("train", "validation", "test"):
        assert (merged[name].spikes.times == merge_channels(whole[name], 5, 2).spikes.times).all()


def test_channels_that_cannot_be_merged(tmp_path):
    data = read_hdf5(write(tmp_path / "a.h5"), n_units=N_UNITS)
    with pytest.raises(DatasetError, match="7 channels cannot be merged into one; 30 channels"):
        merge_channels(data, 7)
    with pytest.raises(DatasetError, match="every is 0"):
        merge_channels(data, 5, 0)
    with pytest.raises(DatasetError, match="phase is 3; with every=3 it must be 0 to 2"):
        merge_channels(data, 5, 3, 3)
