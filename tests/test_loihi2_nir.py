"""The chip's programs as NIR: the same bits back, numbers that NIR's own equations agree with, and refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import evprop
from evprop.errors import CheckpointError, HardwareError
from evprop.hardware import Loihi2Connection, Loihi2Population, Loihi2Program, quantise

nir = pytest.importorskip("nir", reason="needs the extra evprop[nir]")

from evprop.interop.nir import from_nir, load_nir, program_from_nir, program_to_nir, save_nir  # noqa: E402

N_IN, N_HIDDEN, N_OUT, STEPS = 6, 9, 3, 80


def network(*, recurrent: bool = False, delay: float | None = None, i_bias: float = 0.0) -> evprop.Network:
    init = evprop.init
    late = None if delay is None else init.Uniform(0.0, delay)
    links = [evprop.Dense("input", "hidden", weight=init.Normal(0.9, 0.8), delay=late)]
    if recurrent:
        links.append(evprop.Dense("hidden", "hidden", weight=init.Normal(0.0, 0.5), delay=late))
    links.append(evprop.Dense("hidden", "output", weight=init.Normal(0.1, 0.4), delay=late))
    return evprop.Network(
        {"input": evprop.Input(N_IN), "hidden": evprop.LIF(N_HIDDEN, i_bias=i_bias), "output": evprop.LI(N_OUT)}, links
    )


def program_of(net: evprop.Network, dt: float = 1.0, **more: Any) -> Loihi2Program:
    return quantise(net, net.init(1), dt=dt, **more).program


def some_input(n: int = N_IN) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(0)
    at, units = np.nonzero(rng.random((STEPS - 20, n)) < 0.15)
    return at, units, np.array([0, len(at)]), rng.integers(1, 3, len(at))


def assert_same_run(a: Loihi2Program, b: Loihi2Program) -> None:
    assert a.populations.keys() == b.populations.keys()
    assert a.inputs == b.inputs
    x, y = (p.run({name: some_input(n) for name, n in p.inputs.items()}, STEPS, trace=list(p.populations)) for p in (a, b))
    assert sum(len(s) for s in x.steps.values()) > 10
    for name in a.populations:
        np.testing.assert_array_equal(x.u[name], y.u[name])
        np.testing.assert_array_equal(x.v[name], y.v[name])
        np.testing.assert_array_equal(x.steps[name], y.steps[name])
        np.testing.assert_array_equal(x.units[name], y.units[name])


@pytest.mark.parametrize(("scale", "bits"), [("percentile", 8), ("max", 2), ("max", 5)])
@pytest.mark.parametrize(("recurrent", "delay"), [(False, None), (True, None), (False, 9.0), (True, 9.0)])
def test_what_is_written_is_read_back(tmp_path: Path, recurrent: bool, delay: float | None, scale: str, bits: int) -> None:
    program = program_of(network(recurrent=recurrent, delay=delay, i_bias=0.3), scale=scale, num_weight_bits=bits)
    save_nir(tmp_path / "model.nir", program, dt=1.0)
    found = load_nir(tmp_path / "model.nir")
    assert_same_run(program, found)
    assert all(c.num_weight_bits <= bits for c in found.connections)
    # by the nodes alone, as another tool would leave them
    bare = nir.read(tmp_path / "model.nir")
    bare.metadata.clear()
    assert_same_run(program, program_from_nir(bare, dt=1.0))


def test_without_delays_there_is_one_matrix_a_connection() -> None:
    graph = program_to_nir(program_of(network(recurrent=True)), dt=1.0)
    kinds = [type(node).__name__ for node in graph.nodes.values()]
    assert sorted(kinds) == ["CubaLI", "CubaLIF", "Input", "Linear", "Linear", "Linear", "Output"]


def test_there_is_one_branch_for_each_distinct_delay() -> None:
    program = program_of(network(delay=30.0))
    graph = program_to_nir(program, dt=1.0)
    for c, k in zip(program.connections, range(2), strict=True):
        steps = np.unique(c.delays)
        here = {name: node for name, node in graph.nodes.items() if name.startswith(f"{c.source}_{c.target}")}
        late = [node.delay for node in here.values() if isinstance(node, nir.Delay)]
        assert sorted(d[0] for d in late) == pytest.approx(list(steps * 1e-3))
        matrices = [node.weight for node in here.values() if isinstance(node, nir.Linear)]
        assert len(matrices) == len(steps) > 5
        np.testing.assert_array_equal(sum(matrices), program.received(k).T)


@pytest.mark.parametrize("delay", [None, 20.0])
def test_the_graph_does_in_continuous_time_what_the_chip_does(delay: float | None) -> None:
    """NIR's equations, read by `from_nir` and run by the exact engine, give the chip's spikes to within its steps."""
    dt = 0.2
    net = network(delay=None if delay is None else delay * dt, i_bias=0.2)
    program = program_of(net, dt=dt)
    again, params = from_nir(program_to_nir(program, dt=dt), metadata=False)
    assert params["hidden.v_th"][0] == program.populations["hidden"].vth[0]
    steps, units, offsets, _ = some_input()
    chip = program.run({"input": (steps, units, offsets)}, 3 * STEPS)
    spikes = evprop.Spikes.from_lists([(steps * dt, units)], n_units=N_IN)
    exact = evprop.simulate(again, params, spikes, duration=3 * STEPS * dt).spikes["hidden"]
    seen = evprop.Spikes.from_lists([(chip.steps["hidden"] * dt, chip.units["hidden"])], n_units=N_HIDDEN)
    # first spikes: later ones start from a voltage that was reset late
    there = np.isfinite(seen.first_times())
    np.testing.assert_array_equal(there, np.isfinite(exact.first_times()))
    assert there.sum() > 5
    late = seen.first_times()[there] - exact.first_times()[there]
    assert (late > -0.05 * dt).all()
    assert (late < 1.05 * dt).all()


def lif(n: int = 2, **changes: object) -> Loihi2Population:
    return Loihi2Population(**{"n": n, "du": 741, "dv": 200, "vth": 100, **changes})


def test_programs_that_no_network_becomes() -> None:
    """Two inputs, a neuron with registers of its own, weights beyond 8 bits by their exponent, two synapses a pair."""
    links = [
        Loihi2Connection("x", "a", [[40, -60], [20, 30]], weight_exp=3, graded=True),
        Loihi2Connection("y", "a", [[-1, -200]], delays=[[3, 62]], graded=True),
        Loihi2Connection("a", "b", [[3, 255], [7, 9]], delays=2),
        Loihi2Connection("a", "b", [[30, -2], [0, 4]], delays=5),
        Loihi2Connection("b", "a", [[8, 0], [0, -8]]),
    ]
    a = lif(du=[741, 300], dv=[200, 4095], vth=[500, 2**17], bias_mant=[-40, 4001], bias_exp=3)
    program = Loihi2Program({"x": 2, "y": 1}, {"a": a, "b": lif(bias_mant=5, bias_exp=-1)}, links)
    graph = program_to_nir(program, dt=0.5)
    found = program_from_nir(graph)
    assert_same_run(program, found)
    assert not any(c.graded for c in program_from_nir(graph, graded_input=False).connections)
    assert len(found.connections) == len(links)


def changed(**changes: object) -> Any:
    graph = program_to_nir(program_of(network(delay=10.0)), dt=1.0)
    for name, value in changes.items():
        node, field = name.split("__")
        setattr(graph.nodes[node], field, value)
    return graph


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: program_to_nir(Loihi2Program({"x": 1}, {"a": lif(v0=3)}, []), dt=1.0), "a: v0 is not 0; NIR has no"),
        (lambda: program_to_nir(Loihi2Program({"x": 1}, {"a": lif(reset_interval=9)}, []), dt=1.0), "a: NIR has no periodic reset"),
        (lambda: program_to_nir(Loihi2Program({"x": 1}, {"a": lif(du=-1)}, []), dt=1.0), "a, neuron 0: the current's decay is 0/4096"),
        (lambda: program_to_nir(Loihi2Program({"x": 1}, {"a": lif(dv=4096)}, []), dt=1.0), "the voltage's decay is 4096/4096"),
        (
            lambda: program_to_nir(
                Loihi2Program({"x": 1}, {"a": lif()}, [Loihi2Connection("x", "a", [[2, 6]], weight_exp=-2)]), dt=1.0
            ),
            "x -> a: weight_exp = -2 leaves fractions",
        ),
        (lambda: program_to_nir(program_of(network()), dt=0.0), "dt is 0.0 ms"),
        (lambda: program_from_nir(changed(), dt=0.9), "no whole number of the chip's units. Give the dt"),
        (lambda: program_from_nir(changed(hidden__v_threshold=np.full(N_HIDDEN, 10.5))), "hidden: a threshold of 10.5"),
        (lambda: program_from_nir(changed(hidden__v_reset=np.full(N_HIDDEN, -1.0))), "hidden: v_reset is not 0"),
        (lambda: program_from_nir(changed(hidden__tau_mem=np.full(N_HIDDEN, np.inf))), r"hidden, neuron 0: the voltage's decay is 0/4096"),
        (lambda: program_from_nir(changed(input_hidden_1__weight=np.full((N_HIDDEN, N_IN), 0.3))), "input -> hidden: a weight of 0.3"),
        (lambda: program_from_nir(changed(input_hidden_1__weight=np.full((N_HIDDEN, N_IN), 1001.0))), "need 10 bits; 8 are held"),
        (lambda: program_from_nir(changed(input_hidden_1_delay__delay=np.full(N_IN, 70e-3))), "0 to 63"),
        (lambda: program_from_nir(changed(input_hidden_1_delay__delay=np.full(N_IN, 1.5e-3))), "a delay .in steps. of 1.5"),
    ],
)
def test_what_it_refuses(make, message: str) -> None:
    with pytest.raises(HardwareError, match=message):
        make()


def test_other_versions_steps_and_nodes_are_refused() -> None:
    graph = changed()
    graph.metadata["evprop loihi2 version"] = "7"
    with pytest.raises(HardwareError, match=r"another version .format 7; this one reads 1.. Update evprop"):
        program_from_nir(graph)
    graph.metadata.clear()
    with pytest.raises(HardwareError, match=r"give dt=\.\.\. in ms"):
        program_from_nir(graph)
    graph.nodes["hidden"] = nir.LIF(*(np.ones(N_HIDDEN) for _ in range(4)))
    with pytest.raises(HardwareError, match="node 'hidden' is a LIF"):
        program_from_nir(graph, dt=1.0)


def test_damaged_and_missing_files(tmp_path: Path) -> None:
    path = tmp_path / "model.nir"
    save_nir(path, program_of(network()), dt=1.0)
    whole = path.read_bytes()
    for length in (0, 100, len(whole) // 2):
        path.write_bytes(whole[:length])
        with pytest.raises(HardwareError, match=r"model.nir is no NIR file or is damaged"):
            load_nir(path)
    with pytest.raises(HardwareError, match="no such file"):
        load_nir(tmp_path / "other.nir")


def test_nothing_is_written_half(tmp_path: Path) -> None:
    with pytest.raises(HardwareError, match="periodic reset"):
        save_nir(tmp_path / "model.nir", Loihi2Program({"x": 1}, {"a": lif(reset_interval=9)}, []), dt=1.0)
    assert not list(tmp_path.iterdir())
    with pytest.raises(CheckpointError, match="does not exist; make it first"):
        save_nir(tmp_path / "no" / "model.nir", program_of(network()), dt=1.0)
