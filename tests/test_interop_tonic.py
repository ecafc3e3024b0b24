"""tonic's own data-set classes, transforms and caches, read from files in the layouts of SHD, SSC, N-MNIST and DVS gesture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import evprop
from evprop.datasets import from_events, read_hdf5

tonic = pytest.importorskip("tonic", reason="needs the extra evprop[tonic]")
h5py = pytest.importorskip("h5py", reason="needs the extra evprop[h5]")

pytestmark = pytest.mark.filterwarnings("default")  # theirs


def recordings(path: Path, n_classes: int, n: int = 12) -> None:
    """A small file in the layout of SHD and SSC, with equal times and float16 seconds as in theirs."""
    rng = np.random.default_rng(n_classes)
    with h5py.File(path, "w") as file:
        times = file.create_dataset("spikes/times", (n,), dtype=h5py.vlen_dtype(np.float16))
        units = file.create_dataset("spikes/units", (n,), dtype=h5py.vlen_dtype(np.uint16))
        for k in range(n):
            times[k] = np.sort(rng.uniform(0.0, 1.1, 300)).astype(np.float16)
            units[k] = rng.integers(0, 700, 300).astype(np.uint16)
        file["labels"] = (np.arange(n) % n_classes).astype(np.uint16)
        file["extra/speaker"] = (np.arange(n) % 12).astype(np.uint16)
        file["extra/keys"] = np.array([f"word {k}".encode() for k in range(n_classes)])


def shd(folder: Path, **more: Any) -> Any:
    place = folder / "SHD"
    place.mkdir()
    (place / "shd_train.h5.zip").touch()  # tonic looks for the archive too
    recordings(place / "shd_train.h5", 20)
    return tonic.datasets.SHD(str(folder), train=True, **more)


def ssc(folder: Path) -> Any:
    place = folder / "SSC"
    place.mkdir()
    (place / "ssc_valid.h5.zip").touch()
    recordings(place / "ssc_valid.h5", 35)
    return tonic.datasets.SSC(str(folder), split="valid")


@pytest.mark.parametrize(("make", "file"), [(shd, "SHD/shd_train.h5"), (ssc, "SSC/ssc_valid.h5")])
def test_recordings_of_words(tmp_path: Path, make: Any, file: str) -> None:
    theirs = make(tmp_path)
    names = [key.decode() for key in theirs.classes] if make is shd else []
    data = from_events(theirs, theirs.sensor_size, class_names=names)
    ours = read_hdf5(tmp_path / file)
    assert np.array_equal(data.labels, ours.labels)
    assert np.array_equal(data.spikes.offsets, ours.spikes.offsets)
    # tonic cuts times to whole microseconds, so spikes of one time stay so and their order too
    assert np.array_equal(data.spikes.units, ours.spikes.units)
    late = ours.spikes.times - data.spikes.times
    assert (late >= -1e-9).all()
    assert (late < 1e-3).all()
    if names:
        assert data.class_names == ours.class_names


def test_transforms_and_caches(tmp_path: Path) -> None:
    plain = from_events(shd(tmp_path), (700, 1, 1))
    (tmp_path / "more").mkdir()
    transform = tonic.transforms.Compose(
        [tonic.transforms.CropTime(max=500_000), tonic.transforms.Downsample(spatial_factor=0.1)]
    )
    changed = shd(tmp_path / "more", transform=transform)
    cache = tonic.DiskCachedDataset(changed, cache_path=str(tmp_path / "cache"))
    for samples in (changed, cache, cache):  # the second time the cache itself is read
        data = from_events(samples, (70, 1, 1))
        assert data.spikes.n_units == 70
        assert data.spikes.times.max() <= 500.0
        kept = plain.spikes.times <= 500.0
        assert np.array_equal(data.spikes.units, plain.spikes.units[kept] // 10)
        assert np.array_equal(data.spikes.times, plain.spikes.times[kept])


def test_real_recordings_of_a_camera(data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred real N-MNIST recordings, written back into the published files and read by tonic."""
    with h5py.File(data_dir / "nmnist_small" / "nmnist_test.h5") as file:
        t, x, y, p, offsets, labels = (file[k][()] for k in ("t", "x", "y", "p", "offsets", "labels"))
    for k, label in enumerate(labels):
        part = slice(offsets[k], offsets[k + 1])
        rows = np.empty((offsets[k + 1] - offsets[k], 5), np.uint8)
        rows[:, 0], rows[:, 1] = x[part], y[part]
        rows[:, 2] = (p[part].astype(np.uint8) << 7) | (t[part] >> 16).astype(np.uint8)
        rows[:, 3], rows[:, 4] = (t[part] >> 8) & 255, t[part] & 255
        place = tmp_path / "NMNIST" / "Test" / str(label)
        place.mkdir(parents=True, exist_ok=True)
        rows.tofile(place / f"{k:05d}.bin")
    monkeypatch.setattr(tonic.datasets.NMNIST, "_check_exists", lambda self: True)  # it wants all 10,000
    theirs = tonic.datasets.NMNIST(str(tmp_path), train=False)
    data = from_events(theirs, theirs.sensor_size, class_names=theirs.classes)
    order = np.lexsort((np.arange(len(labels)), labels))  # tonic goes by folder
    assert np.array_equal(data.labels, labels[order])
    assert data.spikes.n_units == 34 * 34 * 2
    for place, k in enumerate(order):
        part = slice(offsets[k], offsets[k + 1])
        times, units = data.spikes[place]
        sorted_by_time = np.argsort(t[part], kind="stable")
        assert np.array_equal(times, t[part][sorted_by_time] * 1e-3)
        expected = (x[part].astype(int) * 34 + y[part]) * 2 + p[part]
        assert np.array_equal(units, expected[sorted_by_time])
    net = evprop.Network(
        {"input": evprop.Input(34 * 34 * 2), "hidden": evprop.LIF(20), "output": evprop.LI(10)},
        [
            evprop.Dense("input", "hidden", weight=evprop.init.Normal(0.02, 0.05)),
            evprop.Dense("hidden", "output", weight=evprop.init.Normal(0.0, 0.3)),
        ],
    )
    loss = evprop.losses.CrossEntropy(evprop.losses.Max())
    value, grads, record = evprop.value_and_grad(net, net.init(0), data[:8].spikes, data[:8].labels, loss, duration=340.0)
    assert np.isfinite(value)
    assert record.spikes["hidden"].n_spikes > 0
    assert np.count_nonzero(grads["input_hidden.weight"]) > 0


def test_gestures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of (x, y, p, t in ms), as tonic's copy of DVS gesture has them."""
    rng = np.random.default_rng(0)
    place = tmp_path / "DVSGesture" / "ibmGestureTrain" / "user01_led"
    place.mkdir(parents=True)
    rows = {}
    for label in range(11):
        n = 50 + label
        columns = (rng.integers(0, 128, n), rng.integers(0, 128, n), rng.integers(0, 2, n), np.sort(rng.integers(0, 6000, n)))
        rows[label] = np.stack(columns, axis=1).astype(np.int64)
        np.save(place / f"{label}.npy", rows[label])
    monkeypatch.setattr(tonic.datasets.DVSGesture, "_check_exists", lambda self: True)
    theirs = tonic.datasets.DVSGesture(str(tmp_path), train=True)
    data = from_events(theirs, theirs.sensor_size, class_names=theirs.classes)
    assert data.spikes.n_units == 128 * 128 * 2
    assert sorted(data.labels) == list(range(11))
    for k, label in enumerate(data.labels):
        times, units = data.spikes[k]
        x, y, p, t = rows[int(label)].T
        assert np.array_equal(times, t.astype(float))
        assert np.array_equal(units, (x * 128 + y) * 2 + p)
    small = tonic.datasets.DVSGesture(str(tmp_path), train=True, transform=tonic.transforms.Downsample(spatial_factor=0.25))
    assert from_events(small, (32, 32, 2)).spikes.n_units == 2048
