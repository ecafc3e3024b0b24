"""NetX files: what is written is read back to the same bits, and what is damaged or foreign is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import evprop
from evprop.errors import CheckpointError, HardwareError
from evprop.hardware import Loihi2Connection, Loihi2Population, Loihi2Program, load_net, quantise, save_net
from evprop.hardware.loihi2.netx import fill_bits

h5py = pytest.importorskip("h5py")

N_IN, N_HIDDEN, N_OUT = 5, 6, 3


def network(*, recurrent: bool, delay: float | None, i_bias: float = 0.0) -> evprop.Network:
    init = evprop.init
    late = None if delay is None else init.Uniform(0.0, delay)
    links = [evprop.Dense("input", "hidden", weight=init.Normal(0.9, 0.8), delay=late)]
    if recurrent:
        links.append(evprop.Dense("hidden", "hidden", weight=init.Normal(0.0, 0.5)))
    links.append(evprop.Dense("hidden", "output", weight=init.Normal(0.1, 0.4), delay=late))
    return evprop.Network(
        {"input": evprop.Input(N_IN), "hidden": evprop.LIF(N_HIDDEN, i_bias=i_bias), "output": evprop.LI(N_OUT)}, links
    )


def some_input(n: int = N_IN, steps: int = 60) -> tuple[np.ndarray, ...]:
    raster = np.random.default_rng(0).random((steps, n)) < 0.15
    at, units = np.nonzero(raster)
    return at, units, np.array([0, len(at)])


def same_run(a: Loihi2Program, b: Loihi2Program) -> None:
    assert list(a.populations) == list(b.populations)
    names = list(a.populations)
    x, y = (p.run({next(iter(p.inputs)): some_input()}, 80, trace=names) for p in (a, b))
    assert any(len(s) for s in x.steps.values())
    for name in names:
        np.testing.assert_array_equal(x.u[name], y.u[name])
        np.testing.assert_array_equal(x.v[name], y.v[name])
        np.testing.assert_array_equal(x.steps[name], y.steps[name])
        np.testing.assert_array_equal(x.units[name], y.units[name])


@pytest.mark.parametrize("bits", [3, 8])
@pytest.mark.parametrize("scale", ["percentile", "max"])
@pytest.mark.parametrize(("recurrent", "delay"), [(False, None), (False, 30.0), (True, None)])
def test_what_is_written_is_read_back(tmp_path: Path, recurrent: bool, delay: float | None, scale: str, bits: int) -> None:
    net = network(recurrent=recurrent, delay=delay, i_bias=0.3)
    q = quantise(net, net.init(1), dt=1.0, scale=scale, bias_exp=6, num_weight_bits=bits)
    save_net(tmp_path / "model.net", q.program)
    found = load_net(tmp_path / "model.net")
    assert list(found.inputs) == ["input"]
    same_run(q.program, found)


def test_recurrence_with_delays_is_written_with_a_warning(tmp_path: Path) -> None:
    net = network(recurrent=True, delay=30.0)
    q = quantise(net, net.init(1), dt=1.0)
    with pytest.warns(UserWarning, match=r"lava-dl 0.6.0 cannot load such a layer"):
        save_net(tmp_path / "model.net", q.program)
    with h5py.File(tmp_path / "model.net") as file:
        assert file["layer/1/delay"].shape == (N_HIDDEN, N_IN)
        assert "delay_rec" in file["layer/1"]
    same_run(q.program, load_net(tmp_path / "model.net"))


def test_the_layout_is_that_of_the_format(tmp_path: Path) -> None:
    net = network(recurrent=False, delay=20.0)
    q = quantise(net, net.init(2), dt=1.0)
    save_net(tmp_path / "model.net", q.program)
    with h5py.File(tmp_path / "model.net") as file:
        assert file["layer/0/type"][()] == b"input"
        assert file["layer/0/shape"][()].tolist() == [N_IN]
        layer = file["layer/1"]
        assert layer["type"][()] == b"dense"
        assert layer["weight"].shape == (N_HIDDEN, N_IN)
        assert layer["delay"].shape == (N_HIDDEN, N_IN)
        assert (int(layer["neuron/iDecay"][()]), int(layer["neuron/vDecay"][()])) == (742, 200)
        assert file["layer/2/neuron/vThMant"][()] == 2**17
        weights = q.program.effective_weights(0) * 2.0 ** q.program.connections[0].weight_exp
        np.testing.assert_array_equal(layer["weight"][()], weights.T)


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        # shift and num_weight_bits, worked out by hand from the rule
        ([[127, -128]], (1, 8)),
        ([[100, -20]], (1, 6)),
        ([[254, -256]], (0, 8)),
        ([[1, 0]], (7, 1)),
        ([[255, 3]], (0, 8)),
        ([[-1, -2]], (7, 1)),
        ([[16, 48]], (2, 2)),
    ],
)
def test_filling_bits(weights: list, expected: tuple) -> None:
    assert fill_bits(np.array(weights, np.int32)) == expected


def written(tmp_path: Path) -> Path:
    net = network(recurrent=False, delay=20.0)
    save_net(tmp_path / "model.net", quantise(net, net.init(2), dt=1.0).program)
    return tmp_path / "model.net"


def replaced(path: Path, **values: object) -> Path:
    with h5py.File(path, "r+") as file:
        for name, value in values.items():
            where = name.replace("__", "/")
            if where in file:
                del file[where]
            if value is not None:
                file[where] = value
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layer__1__weight": None}, r"layer 1 \(hidden\): 'weight' is missing"),
        ({"layer__1__weight": np.full((N_HIDDEN, N_IN), 3.6)}, "not made of integers"),
        ({"layer__1__weight": np.zeros((N_HIDDEN, N_IN), int)}, "all weights are 0"),
        ({"layer__1__weight": np.ones((N_HIDDEN, 4), int)}, r"has shape \(6, 4\); \(6, 5\) is needed"),
        ({"layer__1__weight": np.full((N_HIDDEN, N_IN), 300)}, "from 300 to 300"),
        ({"layer__1__delay": np.full((N_HIDDEN, N_IN), 63)}, "NetX would clip to 0 to 62"),
        ({"layer__1__delay": np.zeros((2, 2), int)}, r"delay has shape \(2, 2\)"),
        ({"layer__2__type": np.bytes_("conv")}, "layer 2 is of type 'conv'"),
        ({"layer__1__neuron__type": np.bytes_("SDNN")}, "neurons of type 'SDNN'"),
        ({"layer__1__neuron__iDecay": 5000}, "du"),
        ({"layer__0__type": np.bytes_("dense")}, "layer 0 must be an input"),
        ({"layer__5__type": np.bytes_("dense")}, r"layers \[0, 1, 2, 5\]"),
        ({"evprop__version": 99}, "another version .format 99; this one reads 1.. Update evprop"),
        ({"evprop__names": np.array([b"input"])}, "1 names for 3 layers"),
    ],
)
def test_damaged_and_foreign_files(tmp_path: Path, changes: dict, message: str) -> None:
    path = replaced(written(tmp_path), **changes)
    with pytest.raises(evprop.errors.EvpropError, match=message):
        load_net(path)


def test_a_file_of_lava_dl_itself_has_no_names(tmp_path: Path) -> None:
    path = replaced(written(tmp_path), evprop=None)
    found = load_net(path)
    assert list(found.inputs) == ["input"]
    assert list(found.populations) == ["layer1", "layer2"]


def test_truncated_and_missing_files(tmp_path: Path) -> None:
    path = written(tmp_path)
    whole = path.read_bytes()
    for length in (0, 100, len(whole) // 2):
        path.write_bytes(whole[:length])
        with pytest.raises(HardwareError, match="is no HDF5 file or is damaged"):
            load_net(path)
    with pytest.raises(HardwareError, match="no such file"):
        load_net(tmp_path / "other.net")


def program(*connections: Loihi2Connection, **changes: object) -> Loihi2Program:
    constants = {"du": 741, "dv": 200, "vth": 100} | changes
    populations = {name: Loihi2Population(2, **constants) for name in ("a", "b")}
    links = [Loihi2Connection("input", "a", [[1, 2]]), Loihi2Connection("a", "b", [[1, -2], [3, 4]]), *connections]
    return Loihi2Program({"input": 1}, populations, links)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: program(Loihi2Connection("input", "b", [[1, 1]])), r"'input' reaches \['a', 'b'\]"),
        (lambda: program(Loihi2Connection("b", "a", [[1, 1], [1, 1]])), r"'b' reaches \['a'\]"),
        (lambda: program(Loihi2Connection("a", "b", [[1, 1], [1, 1]])), "'b' is reached by"),
        (lambda: program(v0=5), "a: v0 is not 0"),
        (lambda: program(bias_mant=5, bias_exp=2), "bias_exp is 2; NetX has 6 only"),
        (lambda: program(reset_interval=5), "no periodic reset"),
        (lambda: program(Loihi2Connection("a", "a", [[1, 3], [1, 1]], weight_exp=-1)), "leaves fractions"),
        (lambda: program(Loihi2Connection("a", "a", [[200, 0], [0, -200]])), "not all even need 9 bits"),
        (
            lambda: Loihi2Program(
                *({"x": 1}, {"a": Loihi2Population(1, du=1, dv=1, vth=1)}, [Loihi2Connection("x", "a", [[0]])])
            ),
            "all weights are 0",
        ),
        (lambda: program(Loihi2Connection("a", "a", [[200, 0], [0, -200]], weight_exp=3)), "weights from -1600 to 1600"),
        (lambda: program(Loihi2Connection("a", "a", [[2, 2], [2, 2]], delays=63)), "a delay of 63 steps"),
        (lambda: Loihi2Program({"x": 1, "y": 1}, {}, []), "one input"),
        (
            lambda: Loihi2Program({"x": 1}, {"a": Loihi2Population(1, du=1, dv=1, vth=1)}, []),
            "'a' is not in the chain",
        ),
    ],
)
def test_what_the_format_cannot_hold_is_refused_and_nothing_written(tmp_path: Path, make, message: str) -> None:
    with pytest.raises(HardwareError, match=message):
        save_net(tmp_path / "model.net", make())
    assert not list(tmp_path.iterdir())


def test_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    net = network(recurrent=False, delay=None)
    with pytest.raises(CheckpointError, match="does not exist; make it first"):
        save_net(tmp_path / "no" / "model.net", quantise(net, net.init(2), dt=1.0).program)


def test_without_h5py_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    path = written(tmp_path)
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(evprop.errors.MissingExtraError, match=r"evprop\[h5\]"):
        load_net(path)
