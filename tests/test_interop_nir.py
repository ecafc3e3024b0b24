"""NIR: exact conversion of units, round trips, other tools' graphs, and refusals by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import evprop
from evprop.errors import NetworkError, ParameterError

nir = pytest.importorskip("nir", reason="needs the extra evprop[nir]")

from evprop.interop.nir import from_nir, to_nir  # noqa: E402


def example(dtype: str = "float64", *, synaptic: bool = False) -> tuple[evprop.Network, dict[str, Any]]:
    """Every part that NIR can say: two inputs, recurrence, axonal and dendritic delays, a sparse projection."""
    rng = np.random.default_rng(5)
    mask = rng.random((3, 4)) < 0.6
    mask[0, 0] = True
    delay = np.round(rng.uniform(0, 3, (4, 2))) if synaptic else rng.uniform(0, 3, (1, 2))
    net = evprop.Network(
        {
            "in": evprop.Input(3),
            "more": evprop.Input(2),
            "h": evprop.LIF(4, tau_mem=rng.uniform(8, 20, 4), tau_syn=rng.uniform(2, 7, 4), v_th=rng.uniform(0.9, 1.2, 4), v_reset=-0.1, i_bias=0.2, trainable=("tau_mem",)),
            "out": evprop.LIF(2),
            "read": evprop.LI(2, tau_mem=13.7, i_bias=-0.1),
        },
        [
            evprop.Sparse("in", "h", weight=rng.normal(7, 1, int(mask.sum())), delay=rng.uniform(0, 4, (3, 1)), delay_kind="axonal", mask=mask),
            evprop.Dense("more", "h", weight=rng.normal(5, 1, (2, 4))),
            evprop.Dense("h", "h", weight=rng.normal(0, 0.5, (4, 4)), delay=rng.uniform(0, 2, (4, 1)), delay_kind="axonal"),
            evprop.Dense("h", "out", weight=rng.normal(3, 1, (4, 2)), delay=delay, delay_kind="synaptic" if synaptic else "dendritic", name="to-out"),
            evprop.Dense("h", "read", weight=rng.normal(0, 1, (4, 2))),
        ],
    )
    return net, net.init(0, dtype=dtype)


def spikes_for(net: evprop.Network) -> dict[str, evprop.Spikes]:
    rng = np.random.default_rng(1)
    return {
        name: evprop.Spikes.from_lists([(rng.uniform(0, 12, 5), rng.integers(0, net.populations[name].size, 5)) for _ in range(2)], n_units=net.populations[name].size)
        for name in net.inputs
    }


def through_a_file(graph: Any, folder: Path) -> Any:
    nir.write(folder / "net.nir", graph)
    return nir.read(folder / "net.nir")


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_round_trip_is_bit_equal(dtype: str, tmp_path: Path) -> None:
    net, params = example(dtype)
    again, values = from_nir(through_a_file(to_nir(net, params), tmp_path))
    assert again == net
    assert list(values) == list(params)
    assert all(values[name].dtype == array.dtype and values[name].tobytes() == array.tobytes() for name, array in params.items())


def test_without_metadata_within_one_unit_in_the_last_place(tmp_path: Path) -> None:
    net, params = example()
    again, values = from_nir(through_a_file(to_nir(net, params), tmp_path), metadata=False)
    assert set(again.populations) == set(net.populations)
    for name, array in params.items():
        found = values[name]
        if name == "in_h.weight":  # a sparse projection comes back as a matrix with zeros
            assert sorted(found[found != 0]) == sorted(array)
        elif name.rpartition(".")[2] in ("tau_mem", "tau_syn", "delay"):  # seconds and back
            assert (np.abs(found - array) <= np.spacing(array)).all(), name
        else:
            assert found.tobytes() == array.tobytes(), name
    spikes = spikes_for(net)
    ours = evprop.simulate(net, params, spikes, duration=40.0)
    theirs = evprop.simulate(again, values, spikes, duration=40.0)
    assert ours.spikes["out"].n_spikes > 0
    for name in ("h", "out"):
        assert ours.spikes[name].units.tolist() == theirs.spikes[name].units.tolist()
        np.testing.assert_allclose(theirs.spikes[name].times, ours.spikes[name].times, rtol=1e-12)


def test_units_of_the_graph() -> None:
    net, params = example()
    graph = to_nir(net, params)
    h = graph.nodes["h"]
    np.testing.assert_array_equal(h.tau_mem, params["h.tau_mem"] / 1000.0)
    np.testing.assert_array_equal(h.w_in, h.tau_syn)  # a Dirac pulse of weight w adds w to the current
    assert (h.r == 1.0).all()
    np.testing.assert_array_equal(h.v_leak, params["h.i_bias"])
    np.testing.assert_array_equal(graph.nodes["more_h"].weight, params["more_h.weight"].T)
    np.testing.assert_array_equal(graph.nodes["to-out_delay"].delay, params["to-out.delay"].ravel() / 1000.0)
    assert ("in", "in_h_delay") in graph.edges
    assert ("to-out", "to-out_delay") in graph.edges
    assert ("out", "out_out") in graph.edges


def test_an_edited_graph_is_read_by_its_nodes() -> None:
    net, params = example()
    graph = to_nir(net, params)
    graph.nodes["more_h"].weight = graph.nodes["more_h"].weight * 2.0
    _, values = from_nir(graph)
    np.testing.assert_array_equal(values["more_h.weight"], 2.0 * params["more_h.weight"])


def test_delays_at_each_synapse_become_branches() -> None:
    net, params = example(synaptic=True)
    graph = to_nir(net, params)
    values = np.unique(params["to-out.delay"])
    assert sum(name.startswith("to-out_") and name.endswith("_delay") for name in graph.nodes) == len(values) > 1
    assert from_nir(graph)[0] == net
    again, read = from_nir(graph, metadata=False)
    spikes = spikes_for(net)
    ours = evprop.simulate(net, params, spikes, duration=40.0).spikes["out"]
    theirs = evprop.simulate(again, read, spikes, duration=40.0).spikes["out"]
    assert ours.n_spikes > 0
    assert ours.units.tolist() == theirs.units.tolist()
    np.testing.assert_allclose(theirs.times, ours.times, rtol=1e-12)
    with pytest.raises(NetworkError, match=r"'to-out' has delays of \d distinct values.*max_delays=1"):
        to_nir(net, params, max_delays=1)


def graph_of(*, weight: Any, nodes: dict[str, Any] | None = None, edges: Any = None, **neuron: Any) -> Any:
    """Input(2) -> Linear -> CubaLIF(1) -> Output, with constants replaced."""
    constants: dict[str, Any] = {"tau_syn": 5e-3, "tau_mem": 20e-3, "r": 1.0, "v_leak": 0.0, "v_threshold": 1.0, "w_in": 1.0}
    constants = {k: np.array([v]) for k, v in (constants | neuron).items()}
    made = {"in": nir.Input(np.array([2])), "fc": nir.Linear(np.array(weight)), "n": nir.CubaLIF(**constants), "out": nir.Output(np.array([1]))}
    made |= nodes or {}
    return nir.NIRGraph(made, edges or [("in", "fc"), ("fc", "n"), ("n", "out")], type_check=False)


@pytest.mark.parametrize(
    ("spike_area", "factor"), [(1.0, 3.0 * 2.0 / 5e-3), (1e-4, 3.0 * 2.0 * 1e-4 / 5e-3), ("jump", 6.0)]
)
def test_what_a_spike_is_worth(spike_area: Any, factor: float) -> None:
    """By NIR's equations, integrated by hand: I jumps by w_in a / tau_syn, and r stands before it."""
    graph = graph_of(weight=[[1.0, 0.5]], r=2.0, w_in=3.0, v_leak=0.25)
    net, params = from_nir(graph, spike_area=spike_area)
    np.testing.assert_allclose(params["fc.weight"], np.array([[1.0], [0.5]]) * factor, rtol=1e-15)
    assert params["n.i_bias"] == 0.25
    assert params["n.tau_mem"] == 20.0
    assert net.populations["n"].kind == "lif"


def test_scales_delays_and_one_to_one_connections() -> None:
    nodes = {
        "s1": nir.Scale(np.array([2.0, 3.0])), "d1": nir.Delay(np.array([1e-3, 2e-3])),
        "s2": nir.Scale(np.array([10.0])), "d2": nir.Delay(np.array([4e-3])),
    }
    edges = [("in", "d1"), ("d1", "s1"), ("s1", "fc"), ("fc", "s2"), ("s2", "d2"), ("d2", "n"), ("n", "d3"), ("d3", "n"), ("n", "out")]
    nodes["d3"] = nir.Delay(np.array([7e-3]))
    net, params = from_nir(graph_of(weight=[[1.0, 0.5]], nodes=nodes, edges=edges), spike_area="jump")
    np.testing.assert_array_equal(params["fc.weight"], [[20.0], [15.0]])
    np.testing.assert_allclose(params["fc.delay"], [[5.0], [6.0]], rtol=1e-15)
    assert [p.name for p in net.projections] == ["fc", "n_n"]
    np.testing.assert_array_equal(params["n_n.delay"], [[7.0]])


def test_subgraphs_are_laid_flat() -> None:
    """As snnTorch writes a recurrent layer."""
    inner = nir.NIRGraph(
        {
            "input": nir.Input(np.array([2])),
            "lif": nir.CubaLIF(*(np.full(2, v) for v in (5e-3, 2e-2, 1.0, 0.0, 1.0)), w_in=np.full(2, 5e-3)),
            "w_rec": nir.Linear(np.array([[0.0, 1.0], [2.0, 0.0]])),
            "output": nir.Output(np.array([2])),
        },
        [("input", "lif"), ("lif", "w_rec"), ("w_rec", "lif"), ("lif", "output")],
    )
    graph = nir.NIRGraph(
        {"input": nir.Input(np.array([2])), "fc": nir.Linear(np.eye(2)), "layer": inner, "output": nir.Output(np.array([2]))},
        [("input", "fc"), ("fc", "layer"), ("layer", "output")],
    )
    net, params = from_nir(graph)
    assert list(net.populations) == ["input", "layer_lif"]
    np.testing.assert_array_equal(params["layer_w_rec.weight"], [[0.0, 2.0], [1.0, 0.0]])
    assert net.outputs == ("layer_lif",)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"nodes": {"n": nir.LIF(*(np.ones(1) for _ in range(4)))}}, "'n' is a LIF.*exponential"),
        ({"nodes": {"fc": nir.Conv1d(None, np.ones((1, 1, 3)), 1, 0, 1, 1, np.zeros(1))}}, "'fc' is a Conv1d"),
        ({"nodes": {"fc": nir.Affine(np.ones((1, 2)), np.ones(1))}}, "'fc' has a bias"),
        ({"nodes": {"fc": nir.Linear(np.ones((1, 3)))}}, r"'fc' has shape \(1, 3\)"),
        ({"nodes": {"f2": nir.Linear(np.ones((1, 1)))}, "edges": [("in", "fc"), ("fc", "f2"), ("f2", "n")]}, "'f2' follows another matrix"),
        ({"edges": [("in", "fc"), ("fc", "n"), ("fc", "out")]}, "output 'out' reads node 'fc'"),
        ({"edges": [("in", "n")]}, "without a matrix"),
        ({"nodes": {"s": nir.Scale(np.ones(1)), "z": nir.Scale(np.ones(1))}, "edges": [("in", "s"), ("s", "z"), ("z", "s")]}, "loop without a neuron"),
        ({"nodes": {"in": nir.Input(np.array([2, 1]))}}, "one dimension"),
    ],
)
def test_refused_by_name(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(NetworkError, match=words):
        from_nir(graph_of(weight=[[1.0, 0.5]], **changes))


def test_what_nir_cannot_say() -> None:
    for kind, words in (("t_ref", "refractory time"), ("v_init", "first voltage")):
        net = evprop.Network({"i": evprop.Input(1), "n": evprop.LIF(1, **{kind: 0.5})}, [evprop.Dense("i", "n", weight=1.0)])
        with pytest.raises(NetworkError, match=words):
            to_nir(net, net.init(0))


def test_bad_arguments() -> None:
    with pytest.raises(NetworkError, match=r"nir\.read"):
        from_nir("net.nir")
    with pytest.raises(ParameterError, match="spike_area is 0"):
        from_nir(graph_of(weight=[[1.0, 1.0]]), spike_area=0)
    graph = to_nir(*example())
    graph.metadata["evprop"] = "{"
    with pytest.raises(NetworkError, match="damaged"):
        from_nir(graph)


# -- graphs that other tools wrote ---------------------------------------------------------------------------


@pytest.mark.filterwarnings("default")  # theirs
def test_a_network_of_norse() -> None:
    """Norse steps in time; its spikes lie on its grid, at most a few steps after the exact ones."""
    torch = pytest.importorskip("torch", reason="needs norse")
    norse = pytest.importorskip("norse.torch", reason="needs norse")
    torch.manual_seed(0)
    torch.set_num_threads(1)
    dt, steps = 1e-5, 4000
    parameters = norse.LIFParameters(tau_syn_inv=torch.full((5,), 200.0), tau_mem_inv=torch.full((5,), 50.0), v_th=torch.ones(5), v_leak=torch.zeros(5), v_reset=torch.zeros(5))
    first = torch.nn.Linear(3, 5, bias=False)
    torch.nn.init.uniform_(first.weight, 2.0, 4.0)
    cell = norse.LIFCell(parameters, dt=dt)
    model = norse.SequentialState(first, cell)
    graph = norse.to_nir(model, torch.zeros(3), dt=1.0)  # tau = 1 / tau_inv
    net, params = from_nir(graph, spike_area="jump")
    lif = next(name for name, p in net.populations.items() if p.kind == "lif")
    assert params[f"{lif}.tau_mem"] == pytest.approx(20.0, rel=1e-6)
    trains = ([1.0, 2.0, 2.5, 9.0, 11.0], [0, 1, 2, 1, 0])
    record = evprop.simulate(net, params, evprop.Spikes.from_lists([trains], n_units=3), duration=40.0)
    data = torch.zeros(steps, 3)
    for t, unit in zip(*trains, strict=True):
        data[round(t * 1e-3 / dt), unit] = 1.0
    state, found = None, []
    with torch.no_grad():
        for step in range(steps):
            out, state = model(data[step][None], state)
            found += [(step * dt * 1e3, int(unit)) for unit in out[0].nonzero().ravel()]
    times, units = record.spikes[lif][0]
    assert len(times) == len(found) > 8
    theirs = sorted(found, key=lambda spike: (spike[1], spike[0]))
    ours = sorted(zip(times.tolist(), units.tolist(), strict=True), key=lambda spike: (spike[1], spike[0]))
    assert [u for _, u in ours] == [u for _, u in theirs]
    worst = max(abs(a[0] - b[0]) for a, b in zip(ours, theirs, strict=True))
    assert worst < 10 * dt * 1e3, worst


@pytest.mark.filterwarnings("default")  # theirs
def test_a_network_of_snntorch() -> None:
    """Its neurons decay by steps of 0.1 ms of NIR's time; spikes agree to a few steps."""
    torch = pytest.importorskip("torch", reason="needs snntorch")
    snn = pytest.importorskip("snntorch", reason="needs snntorch")
    from snntorch.export_nir import export_to_nir

    torch.manual_seed(0)
    torch.set_num_threads(1)
    step_ms = 0.1  # the exporter's dt
    alpha, beta = 0.998, 0.9995  # tau_syn = 50 ms, tau_mem = 200 ms
    fc = torch.nn.Linear(3, 4, bias=False)
    torch.nn.init.uniform_(fc.weight, 0.0015, 0.003)
    model = torch.nn.Sequential(fc, snn.Synaptic(alpha=torch.full((4,), alpha), beta=torch.full((4,), beta), threshold=torch.ones(4), reset_mechanism="zero", init_hidden=True))
    graph = export_to_nir(model, torch.zeros(3))
    net, params = from_nir(graph, spike_area=1e-4)
    lif = next(name for name, p in net.populations.items() if p.kind == "lif")
    assert params[f"{lif}.tau_mem"] == pytest.approx(200.0, rel=1e-3)
    assert params[f"{lif}.tau_syn"] == pytest.approx(50.0, rel=1e-3)
    trains = ([10.0, 20.0, 25.0, 90.0, 110.0], [0, 1, 2, 1, 0])
    record = evprop.simulate(net, params, evprop.Spikes.from_lists([trains], n_units=3), duration=400.0)
    data = torch.zeros(4000, 1, 3)
    for t, unit in zip(*trains, strict=True):
        data[round(t / step_ms), 0, unit] = 1.0
    found = []
    with torch.no_grad():
        for step in range(4000):
            out = model(data[step])
            found += [(step * step_ms, int(unit)) for unit in out[0].nonzero().ravel()]
    times, units = record.spikes[lif][0]
    ours = sorted(zip(units.tolist(), times.tolist(), strict=True))
    theirs = sorted((unit, t) for t, unit in found)
    assert [u for u, _ in ours] == [u for u, _ in theirs]
    assert len(ours) > 3
    worst = max(abs(a[1] - b[1]) for a, b in zip(ours, theirs, strict=True))
    assert worst < 40 * step_ms, worst  # its reset comes a step late, at every spike
