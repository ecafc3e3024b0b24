from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

import evprop
from evprop.datasets import Dataset, Latency, sequence_detection, yin_yang, yin_yang_encoding, yin_yang_points
from evprop.errors import DatasetError
from evprop.loader import Loader, count_samples, take

# checksums of the published sets (github lkriener/yin_yang_data_set, publication_data): float64, little endian
PUBLISHED = {
    "train": (5000, 42, "d4a6d7fffc53f2641c8b5ecf53434a1b", (1681, 1702, 1617)),
    "validation": (1000, 41, "03a022356b156560a2f1d5af086dc488", (316, 336, 348)),
    "test": (1000, 40, "b33148d160e3a1513056a51622baa3a2", (350, 316, 334)),
}


@pytest.mark.parametrize("split", PUBLISHED)
def test_yin_yang_is_the_published_data_bit_for_bit(split):
    size, seed, md5, counts = PUBLISHED[split]
    values, labels = yin_yang_points(size, seed)
    assert hashlib.md5(values.astype("<f8").tobytes()).hexdigest() == md5
    assert tuple(np.bincount(labels)) == counts
    data = yin_yang(split)
    np.testing.assert_array_equal(data.labels, labels)
    np.testing.assert_array_equal(data.points, values[:, :2])
    assert tuple(data.class_counts()) == counts


def test_yin_yang_agrees_with_reference_rows(data_dir: Path):
    with np.load(data_dir / "yin_yang" / "yinyang_ref.npz") as ref:
        for ours, theirs in (("train", "train"), ("validation", "val"), ("test", "test")):
            size, seed = PUBLISHED[ours][:2]
            values, labels = yin_yang_points(size, seed)
            np.testing.assert_array_equal(values[:200], ref[f"{theirs}_x200"])
            np.testing.assert_array_equal(labels[:200], ref[f"{theirs}_y200"])


def test_first_labels_and_row():
    values, labels = yin_yang_points(10, 42)
    assert labels.tolist() == [2, 1, 2, 1, 1, 1, 0, 2, 2, 0]
    assert tuple(values[0, :2]) == (0.6803075385877797, 0.450499251969543)


def test_encodings():
    values, _ = yin_yang_points(1000, 40)
    for encoding, tau_syn, early, late, bias in (
        ("wunderlich_pehle", None, 0.0, 30.0, True),
        ("delgrad", 10.0, 1.5, 20.0, False),
        ("deventprop", None, 1.5, 20.0, False),
    ):
        data = yin_yang("test", encoding=encoding, tau_syn=tau_syn)
        assert data.spikes.n_units == 4 + bias
        assert len(data) == 1000
        for k in (0, 17, 999):
            times, units = data.spikes[k]
            assert (np.diff(times) >= 0).all()
            found = dict(zip(units.tolist(), times.tolist(), strict=True))
            for unit in range(4):
                assert found[unit] == early + values[k, unit] * (late - early)
            if bias:
                assert found[4] == 0.0
    with pytest.raises(DatasetError, match="tau_syn"):
        yin_yang_encoding("delgrad")
    with pytest.raises(DatasetError, match="did you mean 'delgrad'"):
        yin_yang("test", encoding="delgard")
    with pytest.raises(DatasetError, match="did you mean 'train'"):
        yin_yang("trian")


def test_size_and_seed_can_be_chosen():
    small = yin_yang("train", size=20, seed=7)
    assert len(small) == 20
    np.testing.assert_array_equal(small.points, yin_yang_points(20, 7)[0][:, :2])


def test_latency_refuses_values_out_of_range():
    with pytest.raises(DatasetError, match=r"\[0, 1\]"):
        Latency(0.0, 1.0).encode([[0.5, 1.5]])
    with pytest.raises(DatasetError, match=r"\[0, 1\]"):
        Latency(0.0, 1.0).encode([[0.5, np.nan]])


def test_sequence_detection():
    data = sequence_detection()
    assert data.labels.tolist() == [0, 1, 0, 1]
    for k, order in enumerate(([0, 1], [1, 0], [0, 1], [1, 0])):
        times, units = data.spikes[k]
        assert times.tolist() == [0.0, 10.0]
        assert units.tolist() == order
    assert len(sequence_detection(copies=1)) == 2
    with pytest.raises(DatasetError):
        sequence_detection(interval=0.0)


def test_dataset_checks_and_slices():
    data = yin_yang("test", size=30)
    part = data[np.array([4, 2])]
    assert len(part) == 2
    assert part.n_classes == 3
    np.testing.assert_array_equal(part.points, data.points[[4, 2]])
    assert len(data[data.labels == 0]) == data.class_counts()[0]
    spikes = data.spikes
    with pytest.raises(DatasetError, match="30 samples but 29 labels"):
        Dataset(spikes, data.labels[:29])
    with pytest.raises(DatasetError, match="integer"):
        Dataset(spikes, data.labels.astype(float))
    with pytest.raises(DatasetError, match=r"label 2 .*out of range"):
        Dataset(spikes, data.labels, n_classes=2)
    with pytest.raises(ValueError, match="read-only"):
        data.labels[0] = 1


def test_dataset_file(tmp_path):
    data = yin_yang("test", size=50)
    data.save(tmp_path / "d.npz")
    again = Dataset.load(tmp_path / "d.npz")
    assert again.spikes == data.spikes
    np.testing.assert_array_equal(again.labels, data.labels)
    assert (again.n_classes, again.class_names, dict(again.groups)) == (3, ("yin", "yang", "dot"), {})
    known = Dataset(data.spikes, data.labels, groups={"speaker": np.arange(50)})
    known.save(tmp_path / "g.npz")
    np.testing.assert_array_equal(Dataset.load(tmp_path / "g.npz").groups["speaker"], np.arange(50))
    whole = (tmp_path / "d.npz").read_bytes()
    for size in (0, 10, len(whole) // 2, len(whole) - 5):
        (tmp_path / "cut.npz").write_bytes(whole[:size])
        with pytest.raises(DatasetError, match=r"cut\.npz"):
            Dataset.load(tmp_path / "cut.npz")
    np.savez(tmp_path / "other.npz", times=data.spikes.times)
    with pytest.raises(DatasetError, match="lacks the array 'units'"):
        Dataset.load(tmp_path / "other.npz")
    np.save(tmp_path / "array.npy", np.zeros(3))
    with pytest.raises(DatasetError):
        Dataset.load(tmp_path / "array.npy")
    with pytest.raises(DatasetError, match="no such file"):
        Dataset.load(tmp_path / "none.npz")
    np.savez(tmp_path / "bad.npz", times=[2.0, 1.0], units=[0, 0], offsets=[0, 2], labels=[0], n_units=1)
    with pytest.raises(DatasetError, match="sorted"):
        Dataset.load(tmp_path / "bad.npz")


def test_loader_order_depends_on_seed_and_epoch_alone():
    data = yin_yang("test", size=103)
    loader = Loader(data, 20, seed=5)
    assert len(loader) == 6
    seen = np.concatenate([batch.index for batch in loader.batches(3)])
    assert sorted(seen.tolist()) == list(range(103))
    np.testing.assert_array_equal(seen, loader.order(3))
    np.testing.assert_array_equal(Loader(data, 7, seed=5).order(3), seen)
    assert not np.array_equal(loader.order(4), seen)
    assert not np.array_equal(Loader(data, 20, seed=6).order(3), seen)
    assert Loader(yin_yang("test", size=8), 4, seed=1).order(0).tolist() == [2, 4, 7, 5, 0, 6, 3, 1]
    np.testing.assert_array_equal(Loader(data, 20, 5, shuffle=False).order(9), np.arange(103))


def test_loader_shuffles_in_place_as_published_codes_do():
    data = yin_yang("test", size=103)
    published = np.random.RandomState(5)  # what numpy.random.seed(5) sets the global generator to
    order = np.arange(103)
    loader = Loader(data, 20, seed=5, shuffle="in_place")
    for epoch in range(4):
        steps = np.arange(103)
        published.shuffle(steps)
        order = order[steps]
        np.testing.assert_array_equal(loader.order(epoch), order)
    np.testing.assert_array_equal(loader.order(1), Loader(data, 7, seed=5, shuffle="in_place").order(1))


@pytest.mark.parametrize("shuffle", [True, "in_place"])
def test_loader_goes_on_at_any_batch(shuffle):
    data = yin_yang("test", size=103)
    loader = Loader(data, 20, seed=5, shuffle=shuffle)
    whole = list(loader.batches(2))
    for start in (0, 3, 6):
        rest = list(loader.batches(2, start=start))
        assert len(rest) == 6 - start
        for one, other in zip(whole[start:], rest, strict=True):
            np.testing.assert_array_equal(one.index, other.index)
            assert one.spikes == other.spikes
            np.testing.assert_array_equal(one.labels, data.labels[one.index])


def test_loader_refuses_nonsense():
    data = yin_yang("test", size=10)
    for batch_size, seed in ((0, 0), (3, -1)):
        with pytest.raises(DatasetError):
            Loader(data, batch_size, seed)
    with pytest.raises(DatasetError, match=r"'inplace'.*in_place"):
        Loader(data, 3, 0, shuffle="inplace")
    with pytest.raises(DatasetError, match=r"below 2\^32"):
        Loader(data, 3, 2**32, shuffle="in_place")
    empty = Dataset(data.spikes[:0], data.labels[:0])
    with pytest.raises(DatasetError, match="empty"):
        Loader(empty, 3, 0)

    class Odd:
        spikes = data.spikes
        labels = data.labels[:3]

    with pytest.raises(DatasetError, match="10 samples but there are 3 labels"):
        count_samples(Odd())


def test_several_inputs():
    data = yin_yang("test", size=10)

    class Two:
        spikes = {"a": data.spikes, "b": data.spikes[::-1]}  # noqa: RUF012
        labels = data.labels

    assert count_samples(Two()) == 10
    batch = next(Loader(Two(), 4, seed=0).batches(0))
    assert isinstance(batch.spikes["a"], evprop.Spikes)
    assert batch.spikes["a"] == data.spikes[batch.index]
    assert take(Two.spikes, slice(0, 2))["b"] == data.spikes[::-1][:2]
