"""Lava itself beside the integer model: NetX files of ours, loaded by lava-dl and run on Lava's fixed-point models.

Needs an interpreter with Lava, named by EVPROP_LAVA; without it these tests are skipped. Lava runs on Python 3.10:

    python3.10 -m venv lava
    lava/bin/pip install numpy==1.24.4 scipy==1.10.1 networkx==2.8.7 "asteval<1.1" scikit-learn h5py "matplotlib<3.9"
    lava/bin/pip install torch==2.2.2 opencv-python-headless==4.8.1.78
    lava/bin/pip install --no-deps torchvision==0.17.2 pyyaml tqdm lava-nc==0.10.0 lava-dl==0.6.0
    EVPROP_LAVA=lava/bin/python make test ARGS="-m lava"
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

import evprop
from evprop.hardware import Loihi2Program, quantise, save_net

pytestmark = [
    pytest.mark.lava,
    pytest.mark.skipif(
        not os.environ.get("EVPROP_LAVA"), reason="EVPROP_LAVA does not name an interpreter with Lava (see this file)"
    ),
]

N_IN, STEPS = 12, 150
SCRIPT = Path(__file__).parent / "lava" / "run_net.py"


def lava(folder: Path, program: Loihi2Program, raster: np.ndarray) -> dict[str, np.ndarray]:
    save_net(folder / "model.net", program)
    np.save(folder / "input.npy", raster.T.astype(np.int32))
    done = subprocess.run(
        [os.environ["EVPROP_LAVA"], str(SCRIPT), "model.net", "input.npy", "out.npz"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(np.load(folder / "out.npz"))


def network(*, recurrent: bool, delay: float | None, kind: str | None, i_bias: float) -> evprop.Network:
    init = evprop.init
    late = None if delay is None else init.Uniform(0.0, delay)
    links = [evprop.Dense("input", "hidden", weight=init.Normal(0.8, 0.6), delay=late, delay_kind=kind)]
    if recurrent:
        links.append(evprop.Dense("hidden", "hidden", weight=init.Normal(0.0, 0.4)))
    links.append(evprop.Dense("hidden", "output", weight=init.Normal(0.0, 0.4), delay=late, delay_kind=kind))
    return evprop.Network(
        {"input": evprop.Input(N_IN), "hidden": evprop.LIF(16, i_bias=i_bias), "output": evprop.LI(5)}, links
    )


@pytest.mark.parametrize(
    ("recurrent", "delay", "kind", "i_bias", "scale", "bits"),
    [
        (False, None, None, 0.0, "percentile", 8),
        (False, 40.0, "synaptic", 0.0, "max", 8),
        (False, 40.0, "axonal", 0.2, "max", 5),
        (False, 40.0, "dendritic", 0.0, "percentile", 8),
        (True, None, None, 0.3, "max", 8),
        (True, None, None, 0.0, "percentile", 4),
    ],
)
def test_lava_runs_our_files_to_the_same_bits(
    tmp_path: Path, recurrent: bool, delay: float | None, kind: str | None, i_bias: float, scale: str, bits: int
) -> None:
    net = network(recurrent=recurrent, delay=delay, kind=kind, i_bias=i_bias)
    q = quantise(net, net.init(3), dt=1.0, scale=scale, num_weight_bits=bits, bias_exp=6)
    raster = (np.random.default_rng(0).random((STEPS, N_IN)) < 0.1).astype(np.int32)
    found = lava(tmp_path, q.program, raster)
    steps, units = np.nonzero(raster)
    run = q.program.run({"input": (steps, units, [0, len(steps)])}, STEPS, trace=["hidden", "output"])
    assert len(run.steps["hidden"]) > 20
    for k, name in enumerate(("hidden", "output")):
        np.testing.assert_array_equal(found[f"{k}_u"], run.u[name][0])
        np.testing.assert_array_equal(found[f"{k}_v"], run.v[name][0])
        np.testing.assert_array_equal(found[f"{k}_s"] != 0, run.raster(name, 0, STEPS, q.program.populations[name].n))
