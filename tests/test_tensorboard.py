"""The log for TensorBoard, read back from its event files."""

from __future__ import annotations

import struct
import sys

import pytest

import evprop
from evprop import losses
from evprop.datasets import sequence_detection
from evprop.errors import MissingExtraError
from evprop.optim import Adam
from evprop.tensorboard import TensorBoard
from evprop.train import fit


def trained(folder, run_dir, *, epochs, resume=False):
    net = evprop.Network(
        {"input": evprop.Input(2), "output": evprop.LI(2, tau_mem=10.0)},
        [evprop.Dense("input", "output", weight=1.0, delay=0.0)],
    )
    params = net.init(0)
    return fit(
        *(net, params, sequence_detection(interval=10.0, copies=2), losses.CrossEntropy(losses.Max()), Adam(0.5)),
        epochs=epochs,
        batch_size=2,
        duration=25.0,
        seed=0,
        callbacks=[TensorBoard(folder)],
        run_dir=run_dir,
        resume=resume,
    )


def scalars(folder):
    """{(name, step): value} of all event files in order, each record: length, checksum, event, checksum."""
    from tensorboardX.proto.event_pb2 import Event

    found, starts = {}, []
    for path in sorted(folder.glob("events.*"), key=lambda p: p.stat().st_mtime_ns):
        content, at = path.read_bytes(), 0
        while at < len(content):
            (length,) = struct.unpack_from("<Q", content, at)
            event = Event.FromString(content[at + 12 : at + 12 + length])
            at += length + 16
            if event.HasField("session_log"):
                starts.append(event.step)
            found |= {(v.tag, event.step): v.simple_value for v in event.summary.value}
    return found, starts


def test_every_number_of_the_log_is_there(tmp_path):
    pytest.importorskip("tensorboardX")
    history = trained(tmp_path / "logs", tmp_path / "run", epochs=3)
    found, starts = scalars(tmp_path / "logs")
    assert starts == []
    for row in history:
        assert found["loss", row["epoch"]] == pytest.approx(row["loss"])
        assert found["learning_rates/_", row["epoch"]] == pytest.approx(0.5)
        assert found["health/max_grad_norm", row["epoch"]] == pytest.approx(row["health"]["max_grad_norm"])
    assert {step for _, step in found} == {1, 2, 3}


def test_a_resumed_run_says_where_it_goes_on(tmp_path):
    pytest.importorskip("tensorboardX")
    trained(tmp_path / "logs", tmp_path / "run", epochs=2)
    history = trained(tmp_path / "logs", tmp_path / "run", epochs=4, resume=True)
    found, starts = scalars(tmp_path / "logs")
    assert starts == [3]
    assert [found["loss", k] for k in (1, 2, 3, 4)] == pytest.approx(list(history["loss"]))


def test_without_the_package_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'evprop\[tensorboard\]'"):
        trained(tmp_path / "logs", tmp_path / "run", epochs=1)
