"""Small MNIST digits as spikes: the file format, the pixels, the split."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from evprop.config import load_config
from evprop.datasets import mnist_16x16
from evprop.datasets.mnist import IMAGES, LABELS, read_idx, shrink
from evprop.errors import DatasetError
from evprop.experiment import build_experiment


def write_idx(path: Path, values: np.ndarray) -> None:
    head = bytes([0, 0, 8, values.ndim]) + np.array(values.shape, ">i4").tobytes()
    path.write_bytes(gzip.compress(head + values.tobytes()))


def make(folder: Path, images: np.ndarray, labels: np.ndarray) -> Path:
    folder.mkdir(exist_ok=True)
    write_idx(folder / IMAGES, images)
    write_idx(folder / LABELS, labels)
    return folder


def test_a_small_pixel_is_the_mean_of_what_it_covers() -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (3, 24, 24)).astype(np.uint8)
    fine = np.repeat(np.repeat(images, 2, axis=1), 2, axis=2)  # halves of pixels: 3 of them make a new one
    means = fine.reshape(3, 16, 3, 16, 3).mean(axis=(2, 4))
    np.testing.assert_allclose(shrink(images), means, atol=1e-10)


def test_digits_are_split_and_bright_ones_come_early(tmp_path: Path) -> None:
    images = np.zeros((60, 28, 28), np.uint8)
    images[:, 2:8, 2:8] = 255
    images[:, 0, 0] = 200  # beyond the centre
    labels = (np.arange(60) % 3).astype(np.uint8)
    found = mnist_16x16(make(tmp_path, images, labels), tau_syn=2.0, share=0.2)
    assert {name: len(part) for name, part in found.items()} == {"train": 36, "validation": 12, "test": 12}
    for part in found.values():
        assert part.class_counts()[:3].min() == len(part) // 3
        times, units = part.spikes[0]
        assert times[:16] == pytest.approx(0.3)
        assert sorted(units[:16]) == [16 * y + x for y in range(4) for x in range(4)]
        assert times[16:] == pytest.approx(4.0)
    again = mnist_16x16(tmp_path, tau_syn=2.0, share=0.2, early=1.0, late=2.0)
    assert again["test"].spikes.times.min() == pytest.approx(2.0)
    np.testing.assert_array_equal(again["test"].labels, found["test"].labels)


def test_the_real_digits(data_dir: Path) -> None:
    found = mnist_16x16(data_dir / "mnist_t10k", tau_syn=1.0)
    assert [len(found[name]) for name in ("train", "validation", "test")] == [8001, 999, 1000]
    assert sum(part.class_counts() for part in found.values()).tolist() == [
        *(980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009)
    ]
    assert len({part.spikes[k][0].tobytes() for part in found.values() for k in range(len(part))}) == 10_000


def test_the_experiment_has_as_many_inputs_as_pixels(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVPROP_DATA", str(data_dir))
    experiment = build_experiment(load_config("mnist-16x16"))
    assert experiment.data["train"].spikes.n_units == experiment.net.populations["input"].size


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no gzip", "is no gzip file or is damaged"),
        (gzip.compress(b"\0\0\x0d\x01\0\0\0\x01x"), r"starts with the bytes \[0, 0, 13, 1\]"),
        (gzip.compress(b"\0\0\x08\x01\0\0\0\x03xy"), r"says that it has \(3,\) values but holds 2"),
        (gzip.compress(b"\0\0"), r"starts with the bytes \[0, 0\]"),
    ],
)
def test_damaged_files(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(DatasetError, match=message):
        read_idx(tmp_path / "a", 1)


def test_what_is_no_mnist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no such file"):
        mnist_16x16(tmp_path, tau_syn=1.0)
    folder = make(tmp_path, np.zeros((20, 16, 16), np.uint8), np.zeros(20, np.uint8))
    with pytest.raises(DatasetError, match=r"\(16, 16\) pixels; MNIST's have 28 x 28"):
        mnist_16x16(folder, tau_syn=1.0)
    for bad in ({"tau_syn": 0.0}, {"tau_syn": 1.0, "early": 2.0}, {"tau_syn": 1.0, "share": 0.5}):
        with pytest.raises(DatasetError, match=r"needed|lie in"):
            mnist_16x16(folder, **bad)
    make(tmp_path, np.zeros((20, 28, 28), np.uint8), np.zeros(19, np.uint8))
    with pytest.raises(DatasetError, match="20 samples but 19 labels"):
        mnist_16x16(folder, tau_syn=1.0)
