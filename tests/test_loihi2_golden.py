"""The integer model against recordings of Lava's fixed-point models: every u, v and spike, bit for bit.

EVPROP_GOLDEN names the folder, $EVPROP_DATA/loihi_golden unless set; its README describes the fields. One case a file.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from evprop.hardware import Loihi2Connection, Loihi2Population, Loihi2Program, load_net

SIGN_MODES = (None, "mixed", "excitatory", "inhibitory")


def folder() -> Path | None:
    given = os.environ.get("EVPROP_GOLDEN")
    data = os.environ.get("EVPROP_DATA")
    return Path(given) if given else Path(data) / "loihi_golden" if data else None


def cases(pattern: str) -> list:
    where = folder()
    if where is None:
        reason = "neither EVPROP_GOLDEN nor EVPROP_DATA is set: they name the folder with recordings of Lava's models"
        return [pytest.param(None, id="none", marks=pytest.mark.skip(reason=reason))]
    found = sorted(where.glob(pattern))
    return [pytest.param(path, id=path.stem) for path in found] or [pytest.param(where, id="empty")]


def program_of(data: np.lib.npyio.NpzFile, meta: dict) -> Loihi2Program:
    populations = {
        f"pop{i}": Loihi2Population(
            **{k: p[k] for k in ("n", "du", "dv", "vth")},
            **{k: data[f"pop{i}_{k}"] for k in ("bias_mant", "bias_exp", "u0", "v0")},
            reset_interval=p["reset_interval"] or None,
            reset_offset=p["reset_offset"],
        )
        for i, p in enumerate(meta["pops"])
    }
    connections = []
    for k, c in enumerate(meta["conns"]):
        delays = data[f"conn{k}_delays"].T if c["has_delays"] else 0
        weights = data[f"conn{k}_weights"].T
        connections.append(
            Loihi2Connection(
                "input" if c["src"] < 0 else f"pop{c['src']}",
                f"pop{c['dst']}",
                weights,
                delays=delays,
                weight_exp=c["weight_exp"],
                num_weight_bits=c["num_weight_bits"],
                sign_mode=SIGN_MODES[c["sign_mode"]],
                graded=c["num_message_bits"] > 0,
                sparse=weights != 0 if c["kind"] == "sparse" else None,
            )
        )
    return Loihi2Program({"input": meta["n_in"]}, populations, connections)


def input_of(data: np.lib.npyio.NpzFile) -> tuple[np.ndarray, ...]:
    raster = data["input"].T
    steps, units = np.nonzero(raster)
    return steps, units, np.array([0, len(steps)]), raster[steps, units]


@pytest.mark.parametrize("path", cases("*.npz"))
def test_golden(path: Path) -> None:
    assert path.is_file(), f"{path} holds no recordings (*.npz)"
    data = np.load(path)
    meta = json.loads(str(data["meta"]))
    program = program_of(data, meta)
    for k in range(len(meta["conns"])):
        np.testing.assert_array_equal(program.effective_weights(k), data[f"conn{k}_weights_eff"].T)
    for strict in (False, True):
        compare(program, data, meta["T"], {name: name for name in program.populations}, strict)


@pytest.mark.parametrize("path", cases("*.net"))
def test_golden_net(path: Path) -> None:
    """The same from the NetX file that Lava's own run was loaded from, as lava-dl's loader reads it."""
    pytest.importorskip("h5py", reason="NetX files are HDF5: the extra evprop[h5] brings h5py")
    assert path.is_file(), f"{path} holds no NetX files (*.net)"
    data = np.load(path.with_suffix(".npz"))
    meta = json.loads(str(data["meta"]))
    interval = meta["pops"][0]["reset_interval"] or None
    program = load_net(path, graded_input=meta["conns"][0]["num_message_bits"] > 0, reset_interval=interval)
    for k, c in enumerate(meta["conns"]):
        connection = program.connections[k]
        np.testing.assert_array_equal(connection.weights, data[f"conn{k}_weights"].T)
        assert (connection.weight_exp, connection.num_weight_bits) == (c["weight_exp"], c["num_weight_bits"])
    names = dict(zip((f"pop{i}" for i in range(len(meta["pops"]))), program.populations, strict=True))
    compare(program, data, meta["T"], names, strict=True)


def compare(program: Loihi2Program, data: np.lib.npyio.NpzFile, n_steps: int, names: dict, strict: bool) -> None:
    run = program.run({"input": input_of(data)}, n_steps, trace=list(program.populations), strict=strict)
    for recorded, name in names.items():
        np.testing.assert_array_equal(run.u[name][0], data[f"{recorded}_u"])
        np.testing.assert_array_equal(run.v[name][0], data[f"{recorded}_v"])
        raster = run.raster(name, 0, n_steps, program.populations[name].n)
        np.testing.assert_array_equal(raster, data[f"{recorded}_s"])
