"""One file for a network and its parameters: exact, atomic, and clear about what is wrong with it."""

from __future__ import annotations

import errno
import json
import math
import os
import resource
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

import evprop
from evprop import LI, LIF, Dense, Input, Network, Sparse
from evprop.errors import CheckpointError, EvpropError, ParameterError
from evprop.init import Normal, Uniform


def network() -> Network:
    rng = np.random.default_rng(0)
    return Network(
        {
            "input": Input(6),
            "hidden": LIF(4, tau_mem=[10.0, 1 / 3, 30.0, 40.0], t_ref=math.inf, trainable=("tau_mem",)),
            "output": LI(2),
        },
        [
            Dense(
                "input", "hidden", weight=rng.normal(size=(6, 4)), delay=Uniform(0, 3), delay_kind="dendritic"
            ),
            Sparse("hidden", "output", weight=Normal(0, 1), mask=rng.random((4, 2)) < 0.7),
            Dense("hidden", "hidden", weight=Normal(0, 0.1), self_connections=False, trainable=()),
        ],
    )


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_round_trip(tmp_path: Path, dtype: str) -> None:
    net = network()
    params = net.init(seed=3, dtype=dtype)
    evprop.save(tmp_path / "net.safetensors", net, params)
    again, values = evprop.load(str(tmp_path / "net.safetensors"))
    assert again == net
    assert again.trainable == net.trainable
    assert list(values) == list(params)
    for name, array in params.items():
        assert values[name].dtype == array.dtype
        assert values[name].tobytes() == array.tobytes()
        assert values[name].flags.writeable
    fresh = again.init(seed=9)
    assert all((fresh[k] == v).all() for k, v in net.init(seed=9).items())
    assert os.listdir(tmp_path) == ["net.safetensors"]


def test_the_file_is_plain_safetensors(tmp_path: Path) -> None:
    from safetensors import safe_open

    net = network()
    evprop.save(tmp_path / "net", net, net.init(seed=0))
    with safe_open(tmp_path / "net", framework="numpy") as file:
        assert json.loads(file.metadata()["network"])["populations"]["hidden"]["size"] == 4
        assert set(net.parameter_names) <= set(file.keys())


def test_a_save_replaces_and_keeps_the_permissions(tmp_path: Path) -> None:
    net = network()
    path = tmp_path / "net"
    evprop.save(path, net, net.init(seed=0))
    plain = tmp_path / "plain"
    plain.write_text("x")
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)
    path.chmod(0o640)
    evprop.save(path, net, net.init(seed=1))
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert (evprop.load(path)[1]["input_hidden.delay"] == net.init(seed=1)["input_hidden.delay"]).all()


def test_bad_parameters_are_not_saved(tmp_path: Path) -> None:
    net = network()
    params = net.init(seed=0)
    evprop.save(tmp_path / "net", net, params)
    before = (tmp_path / "net").read_bytes()
    params["hidden.tau_mem"][2] = np.nan
    with pytest.raises(ParameterError, match=r"hidden.tau_mem\[2\] is nan"):
        evprop.save(tmp_path / "net", net, params)
    params = net.init(seed=0)
    params["output.tau_mem"] = params["output.tau_mem"].astype(np.float32)
    with pytest.raises(ParameterError, match=r"mix dtypes: output.tau_mem has float32"):
        evprop.save(tmp_path / "net", net, params)
    assert (tmp_path / "net").read_bytes() == before


# -- files that cannot be read -----------------------------------------------------------------------------------


def test_every_truncation_is_noticed(tmp_path: Path) -> None:
    net = network()
    path = tmp_path / "net"
    evprop.save(path, net, net.init(seed=0))
    whole = path.read_bytes()
    for size in [0, 1, 7, 8, 9, 100, len(whole) // 2, len(whole) - 8, len(whole) - 1]:
        path.write_bytes(whole[:size])
        with pytest.raises(
            CheckpointError, match=rf"net \({size} bytes\) is truncated, damaged or no safetensors"
        ):
            evprop.load(path)


def test_foreign_files(tmp_path: Path) -> None:
    path = tmp_path / "net"
    for content in [b"PK\x03\x04" + bytes(200), b"hello, world", os.urandom(500)]:
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match="truncated, damaged or no safetensors file"):
            evprop.load(path)
    save_file({"w": np.ones(3)}, path)
    with pytest.raises(CheckpointError, match="is a safetensors file but holds no evprop network"):
        evprop.load(path)
    save_file({"w": np.ones(3)}, path, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"format 'pt', needed 'evprop-network-1'"):
        evprop.load(path)


def damaged(path: Path, change: Any) -> None:
    """A file with sound safetensors but changed content."""
    from evprop.files import read_tensors, write_tensors

    net = network()
    evprop.save(path, net, net.init(seed=0))
    tensors, metadata = read_tensors(path)
    change(tensors, metadata)
    write_tensors(path, tensors, metadata)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t, m: t.pop("hidden.tau_mem"), "damaged: parameter 'hidden.tau_mem' .*missing"),
        (lambda t, m: t.update({"hidden.tau_mem": np.ones(3)}), r"damaged: hidden.tau_mem has shape \(3,\)"),
        (
            lambda t, m: t.update({"hidden.tau_mem": np.full(4, np.nan)}),
            r"damaged: hidden.tau_mem\[0\] is nan",
        ),
        (
            lambda t, m: t.update({"hidden.tau_mem": np.ones(4, np.float32)}),
            "damaged: the parameters mix dtypes: hidden.tau_mem has float32",
        ),
        (lambda t, m: t.update({"more": np.ones(4)}), "damaged: unknown parameter 'more'"),
        (lambda t, m: t.pop("network/hidden.tau_mem"), "damaged"),
        (lambda t, m: m.update(network="{"), "damaged"),
        (lambda t, m: m.update(network="[]"), "damaged: this is no network description"),
    ],
)
def test_damaged_content(tmp_path: Path, change: Any, message: str) -> None:
    damaged(tmp_path / "net", change)
    with pytest.raises(CheckpointError, match=message):
        evprop.load(tmp_path / "net")


def test_missing_and_folders(tmp_path: Path) -> None:
    with pytest.raises(EvpropError, match="nowhere: no such file"):
        evprop.load(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError):
        evprop.load(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match="is a folder"):
        evprop.load(tmp_path)
    net = network()
    with pytest.raises(CheckpointError, match=r"the folder .*nowhere does not exist; make it first"):
        evprop.save(tmp_path / "nowhere" / "net", net, net.init(seed=0))


# -- a full disk -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["write", "fsync", "replace"])
@pytest.mark.parametrize("existed", [True, False])
def test_a_full_disk_keeps_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, existed: bool
) -> None:
    net = network()
    path = tmp_path / "net"
    if existed:
        evprop.save(path, net, net.init(seed=0))
    before = path.read_bytes() if existed else None

    def full(*args: Any, **kwargs: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    if call == "write":
        real = os.fdopen

        def fdopen(*args: Any, **kwargs: Any) -> Any:
            file = real(*args, **kwargs)
            monkeypatch.setattr(file, "write", full, raising=False)
            return file

        class Full:
            def __init__(self, handle: int) -> None:
                self.handle = handle

            def __enter__(self) -> Full:
                return self

            def __exit__(self, *args: Any) -> None:
                os.close(self.handle)

            write = staticmethod(full)

        monkeypatch.setattr(os, "fdopen", lambda handle, mode: Full(handle))
    else:
        monkeypatch.setattr(os, call, full)
    kept = "the old file is unchanged" if existed else "no file was left behind"
    with pytest.raises(
        CheckpointError, match=rf"No space left on device \(\d+ bytes are needed.*\); {kept}. Free some"
    ):
        evprop.save(path, net, net.init(seed=1))
    monkeypatch.undo()
    assert os.listdir(tmp_path) == (["net"] if existed else [])
    if existed:
        assert path.read_bytes() == before
        evprop.load(path)


def test_a_file_size_limit(tmp_path: Path) -> None:
    """The real thing: a process that may not write more than 600 bytes to a file."""
    net = network()
    path = tmp_path / "net"
    evprop.save(path, net, net.init(seed=0))
    before = path.read_bytes()
    assert len(before) > 600
    code = (
        "import sys, evprop\n"
        "net, params = evprop.load(sys.argv[1])\n"
        "try:\n    evprop.save(sys.argv[1], net, params)\n"
        "except evprop.errors.CheckpointError as error:\n    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-B", "-c", code, str(path)],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (600, 600)),
        capture_output=True,
        text=True,
        check=True,
    )
    assert "could not be written: File too large" in done.stdout
    assert "the old file is unchanged" in done.stdout
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["net"]


def test_a_folder_without_permission(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("the superuser may write anywhere")
    net = network()
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(CheckpointError, match="Permission denied; no file was left behind"):
            evprop.save(tmp_path / "net", net, net.init(seed=0))
    finally:
        tmp_path.chmod(0o700)
