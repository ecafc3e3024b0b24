from __future__ import annotations

import errno
import math
import os
import subprocess
import sys

import numpy as np
import pytest

from evprop import checkpoint as module
from evprop.checkpoint import Checkpoint, from_json, to_json
from evprop.errors import CheckpointError


def some() -> Checkpoint:
    rng = np.random.default_rng(0)
    return Checkpoint(
        params={"a.weight": rng.normal(size=(3, 4)), "a.delay": rng.uniform(size=(3, 1)).astype("float32")},
        optimiser={
            "step": 7,
            "epoch": 2,
            "grad_norm": 0.1 + 0.2,
            "m": rng.normal(size=5),
            "preimages": np.zeros(0),
        },
        callbacks={"KeepBest": {"epoch": None, "score": [-math.inf, 0.1], "params.a": rng.normal(size=2)}},
        progress={"epoch": 2, "batch": 3, "rows": [{"loss": math.nan, "health": {"min_vdot": math.inf}}]},
        setup={"seed": 5, "loss": "FirstSpike(...)", "groups": {"*": {"lr": "0.1"}}},
    )


def same(a, b) -> bool:
    if isinstance(a, dict):
        return set(a) == set(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, float) and math.isnan(a):
        return math.isnan(b)
    return a == b and type(a) is type(b)


def test_round_trip_is_exact(tmp_path):
    path = tmp_path / "c.safetensors"
    some().write(path)
    again = Checkpoint.read(path)
    for part in ("params", "optimiser", "callbacks", "progress", "setup"):
        assert same(dict(getattr(some(), part)), dict(getattr(again, part))), part
    assert os.listdir(tmp_path) == ["c.safetensors"]


def test_any_truncation_is_an_error(tmp_path):
    path = tmp_path / "c.safetensors"
    some().write(path)
    whole = path.read_bytes()
    for size in [*range(40), *range(40, len(whole), 97), len(whole) - 1]:
        path.write_bytes(whole[:size])
        with pytest.raises(CheckpointError, match=r"c\.safetensors"):
            Checkpoint.read(path)
    path.write_bytes(whole + b"x")
    with pytest.raises(CheckpointError):
        Checkpoint.read(path)


def test_a_flipped_bit_is_an_error(tmp_path):
    path = tmp_path / "c.safetensors"
    some().write(path)
    whole = bytearray(path.read_bytes())
    whole[-3] ^= 4
    path.write_bytes(bytes(whole))
    with pytest.raises(CheckpointError, match="checksum"):
        Checkpoint.read(path)


def test_foreign_files_are_errors(tmp_path):
    from safetensors.numpy import save_file

    import evprop

    for name, content in (("text", b"hello"), ("empty", b""), ("noise", os.urandom(5000))):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CheckpointError, match=name):
            Checkpoint.read(tmp_path / name)
    save_file({"x": np.zeros(3)}, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match="no checkpoint"):
        Checkpoint.read(tmp_path / "other.safetensors")
    net = evprop.Network({"i": evprop.Input(2), "o": evprop.LI(1)}, [evprop.Dense("i", "o", weight=1.0)])
    evprop.save(tmp_path / "net.safetensors", net, net.init(0))
    with pytest.raises(CheckpointError, match=r"evprop\.load"):
        Checkpoint.read(tmp_path / "net.safetensors")
    with pytest.raises(CheckpointError, match="no such file"):
        Checkpoint.read(tmp_path / "missing")
    with pytest.raises(CheckpointError, match="folder"):
        Checkpoint.read(tmp_path)


def test_damaged_description(tmp_path):
    from evprop.files import write_tensors

    metadata = {"format": module.FORMAT, "content": "{", "crc32": str(module._checksum({}))}
    write_tensors(tmp_path / "c", {}, metadata)
    with pytest.raises(CheckpointError, match="description cannot be read"):
        Checkpoint.read(tmp_path / "c")


def test_a_failed_write_keeps_the_previous_file(tmp_path, monkeypatch):
    path = tmp_path / "c.safetensors"
    some().write(path)
    before = path.read_bytes()

    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match=r"No space left on device.*old file is unchanged"):
        some().write(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["c.safetensors"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs resource limits")
def test_a_full_disk_for_real(tmp_path):
    """A file size limit stands in for the full disk: the write itself fails half way."""
    code = """
import resource, signal, sys
import numpy as np
from evprop.checkpoint import Checkpoint
from evprop.errors import CheckpointError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
path = sys.argv[1]
Checkpoint({"w": np.ones(10)}, {}).write(path)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
try:
    Checkpoint({"w": np.zeros(100_000)}, {}).write(path)
except CheckpointError as error:
    print(error)
assert Checkpoint.read(path).params["w"].tolist() == [1.0] * 10
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "c")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "could not be written" in done.stdout
    assert "old file is unchanged" in done.stdout
    assert os.listdir(tmp_path) == ["c"]


def test_a_missing_folder(tmp_path):
    with pytest.raises(CheckpointError, match="does not exist"):
        some().write(tmp_path / "no" / "c")


def test_another_setup_is_named(tmp_path):
    some().check_setup(some().setup, "c")
    with pytest.raises(CheckpointError, match="another seed \\(5 there, 6 here\\)"):
        some().check_setup({**some().setup, "seed": 6}, "c")
    with pytest.raises(CheckpointError, match="another groups"):
        some().check_setup({**some().setup, "groups": {"*": {"lr": "0.2"}}}, "c")


def test_json_of_odd_numbers():
    value = {"a": [math.inf, -math.inf, 1e-310, np.float64(0.1), np.int64(3)], "b": {"c": None, "d": True}}
    assert from_json(to_json(value)) == {
        "a": [math.inf, -math.inf, 1e-310, 0.1, 3],
        "b": {"c": None, "d": True},
    }
    assert math.isnan(from_json(to_json(math.nan)))
