"""Sequences of structured events: units, time units, errors, real N-MNIST recordings."""

from __future__ import annotations

import numpy as np
import pytest

from evprop.datasets import from_events
from evprop.errors import DatasetError

DTYPE = [("t", np.int64), ("x", np.int16), ("y", np.int16), ("p", np.bool_)]


def events(*rows, dtype=None):
    return np.array(list(rows), dtype=DTYPE if dtype is None else dtype)


def test_units_and_times():
    samples = [(events((3000, 2, 1, True), (1000, 0, 3, False), (1000, 4, 0, True)), 1), (events(), 0)]
    data = from_events(samples, (5, 4, 2), class_names=("a", "b"))
    assert data.spikes.n_units == 40
    t, u = data.spikes[0]
    assert t.tolist() == [1.0, 1.0, 3.0]
    assert u.tolist() == [(0 * 4 + 3) * 2 + 0, (4 * 4 + 0) * 2 + 1, (2 * 4 + 1) * 2 + 1]
    assert data.labels.tolist() == [1, 0]
    assert data.n_classes == 2
    assert len(data.spikes[1][0]) == 0


def test_audio_events_of_tonic():
    dtype = [("t", int), ("x", int), ("p", int)]
    data = from_events([(events((250_000, 699, 1), (5, 0, 1), dtype=dtype), 3)], (700, 1, 1))
    assert data.spikes[0][0].tolist() == [0.005, 250.0]
    assert data.spikes[0][1].tolist() == [0, 699]
    assert from_events([(events((250_000, 699, 1), dtype=dtype), 3)], {"x": 700}).spikes.n_units == 700
    seconds = from_events(
        [(events((0.25, 7), dtype=[("t", np.float32), ("x", int)]), 0)], {"x": 8}, time_unit="s"
    )
    assert seconds.spikes[0][0].tolist() == [250.0]


@pytest.mark.parametrize(
    ("samples", "size", "more", "message"),
    [
        (
            [(events((1, 5, 0, True)), 0)],
            (5, 4, 2),
            {},
            r"sample 0, event 0: x is 5; its size 5 allows 0\.\.4",
        ),
        ([(events((-1, 0, 0, True)), 0)], (5, 4, 2), {}, r"time -0\.001 ms is not valid"),
        ([(np.zeros(3), 0)], (5,), {}, "structured array with a field t"),
        ([(events((1, 2), dtype=[("t", int), ("x", int)]), 0)], (5, 4), {}, "has no field 'y'"),
        ([(events((1, 2, 0, True)), 0)], (5, 4, 2), {"time_unit": "min"}, "time_unit is 'min'"),
        ([(events((1, 2, 0, True)), 0)], (5, 0), {}, "sensor_size"),
        ([(events((1, 2, 0, True)), 0.5)], (5, 4, 2), {}, "one integer per sample"),
    ],
)
def test_errors(samples, size, more, message):
    with pytest.raises(DatasetError, match=message):
        from_events(samples, size, **more)


def test_recordings_of_digits(data_dir):
    h5py = pytest.importorskip("h5py")
    with h5py.File(data_dir / "nmnist_small" / "nmnist_test.h5") as file:
        t, x, y, p, offsets, labels = (file[k][()] for k in ("t", "x", "y", "p", "offsets", "labels"))

    class Digits:
        def __len__(self):
            return len(labels)

        def __getitem__(self, k):
            part = slice(offsets[k], offsets[k + 1])
            found = np.empty(offsets[k + 1] - offsets[k], DTYPE)
            found["t"], found["x"], found["y"], found["p"] = t[part], x[part], y[part], p[part]
            return found, int(labels[k])

    data = from_events(Digits(), (34, 34, 2))
    assert len(data) == 100
    assert data.spikes.n_units == 2312
    assert data.spikes.n_spikes == len(t)
    assert data.spikes.times.max() <= 336.5
    counts = np.bincount((x.astype(int) * 34 + y) * 2 + p, minlength=2312)
    np.testing.assert_array_equal(data.spikes.counts_per_unit(), counts)
