"""Networks: what they accept and refuse, their parameters' first values, and the way to a dict and back."""

from __future__ import annotations

import json
import math
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import scipy.sparse

from evprop import LI, LIF, Dense, Input, Network, Sparse
from evprop.errors import EvpropError, NetworkError, ParameterError
from evprop.init import Constant, Initialiser, LogNormal, Normal, Tonotopic, Uniform


def network(**changes: Any) -> Network:
    populations = {
        "input": Input(3),
        "hidden": LIF(4, tau_mem=Uniform(15.0, 25.0), t_ref=math.inf, trainable=("tau_mem",)),
        "output": LI(2, tau_syn=[4.0, 5.0]),
    }
    projections = [
        Dense("input", "hidden", weight=Normal(0.5, 0.1), delay=Uniform(0.0, 6.0)),
        Dense(
            "hidden",
            "hidden",
            weight=Normal(0.0, 0.1),
            delay=1.5,
            delay_kind="axonal",
            self_connections=False,
        ),
        Dense("hidden", "output", weight=np.arange(8.0).reshape(4, 2), trainable=()),
        Sparse(
            "input",
            "output",
            weight=Normal(0, 1),
            mask=np.eye(3, 2, dtype=bool),
            delay=LogNormal(0, 1),
            name="skip",
        ),
    ]
    return Network(populations | changes.get("populations", {}), projections + changes.get("projections", []))


def test_layout() -> None:
    net = network()
    lif = ["tau_mem", "tau_syn", "v_th", "v_reset", "i_bias", "v_init", "t_ref"]
    li = ["tau_mem", "tau_syn", "i_bias", "v_init"]
    shapes = {f"hidden.{k}": (4,) for k in lif} | {f"output.{k}": (2,) for k in li}
    shapes |= {"input_hidden.weight": (3, 4), "input_hidden.delay": (3, 4)}
    shapes |= {"hidden_hidden.weight": (4, 4), "hidden_hidden.delay": (4, 1)}
    shapes |= {"hidden_output.weight": (4, 2), "skip.weight": (2,), "skip.delay": (2,)}
    assert net.parameter_shapes == shapes
    assert list(net.init(seed=0)) == list(shapes) == list(net.parameter_names)
    assert net.trainable == (
        "hidden.tau_mem",
        "input_hidden.weight",
        "input_hidden.delay",
        "hidden_hidden.weight",
        "hidden_hidden.delay",
        "skip.weight",
        "skip.delay",
    )
    assert net.n_trainable == 4 + 12 + 12 + (16 - 4) + 4 + 2 + 2
    assert net.n_parameters == net.n_trainable + 6 * 4 + 4 * 2 + 8
    assert (net.inputs, net.outputs) == (("input",), ("output",))


def test_the_core_agrees_on_the_layout() -> None:
    net = network()
    assert {name: tuple(shape) for name, shape, _ in net.core.layout()} == net.parameter_shapes


def test_delay_kinds() -> None:
    for kind, shape in {"synaptic": (3, 2), "axonal": (3, 1), "dendritic": (1, 2), None: (3, 2)}.items():
        net = Network({"a": Input(3), "b": LIF(2)}, [Dense("a", "b", weight=1.0, delay=2.0, delay_kind=kind)])
        assert net.parameter_shapes["a_b.delay"] == shape
        assert (net.init(seed=1)["a_b.delay"] == 2.0).all()
    sparse = Sparse(
        "a", "b", weight=1.0, indptr=[0, 1, 1, 3], indices=[1, 0, 1], delay=1.0, delay_kind="dendritic"
    )
    assert Network({"a": Input(3), "b": LIF(2)}, [sparse]).parameter_shapes["a_b.delay"] == (1, 2)


def test_a_recurrent_population_can_be_the_output() -> None:
    net = Network({"a": Input(1), "b": LIF(2)}, [Dense("a", "b", weight=1.0), Dense("b", "b", weight=0.1)])
    assert net.outputs == ("b",)


# -- first values ------------------------------------------------------------------------------------------------


def test_init_repeats_and_depends_on_the_seed() -> None:
    net = network()
    a, b, c = net.init(seed=7), net.init(seed=7), net.init(seed=8)
    assert all((a[k] == b[k]).all() for k in a)
    assert (a["input_hidden.weight"] != c["input_hidden.weight"]).all()


def test_each_parameter_has_its_own_stream() -> None:
    old = network().init(seed=3)
    more = [Dense("input", "extra", weight=Normal(0, 1)), Dense("extra", "output", weight=Normal(0, 1))]
    new = network(populations={"extra": LIF(5, tau_mem=Uniform(1, 2))}, projections=more).init(seed=3)
    for name, values in old.items():
        assert (new[name] == values).all(), name


@pytest.mark.parametrize(
    ("kind", "draw"), [(Normal, "normal"), (LogNormal, "lognormal"), (Uniform, "uniform")]
)
def test_the_seed_s_stream_is_that_of_default_rng(kind: Any, draw: str) -> None:
    source = kind(0.1, 0.5, stream="seed")
    net = Network(
        {"a": Input(2), "b": LIF(3, i_bias=kind(0.1, 0.5)), "c": LIF(3)},
        [Dense("a", "b", weight=source), Dense("b", "c", weight=source)],
    )
    params = net.init(seed=4)
    for name, shape in (("a_b.weight", (2, 3)), ("b_c.weight", (3, 3))):
        expected = getattr(np.random.default_rng(4), draw)(0.1, 0.5, shape)
        np.testing.assert_array_equal(params[name], expected)
    assert params["b.i_bias"][0] != params["a_b.weight"][0, 0]
    assert "stream=seed" in str(source)
    assert "stream" not in str(kind(0.1, 0.5))
    assert Initialiser.from_dict(source.to_dict()) == source
    assert "stream" not in kind(0.1, 0.5).to_dict()


def test_tonotopic_weights_are_alike_nearby() -> None:
    """Mean, standard deviation at the edge as in the middle, and the correlation of overlapping Gaussians."""
    w = Tonotopic(0.2, 0.5, 4.0).draw(np.random.default_rng(0), (120, 4000))
    assert w.mean() == pytest.approx(0.2, abs=0.02)
    np.testing.assert_allclose(w.std(axis=1), 0.5, rtol=0.06)
    for gap in (0, 2, 8, 40):
        seen = np.corrcoef(w[50], w[50 + gap])[0, 1]
        assert seen == pytest.approx(np.exp(-(gap**2) / (4 * 4.0**2)), abs=0.05)
    plain = np.random.default_rng(1).normal(0.0, 0.5, (10, 3))
    near = [[sum(np.exp(-((i - j) ** 2) / 2) * plain[j, k] for j in range(10)) for k in range(3)] for i in range(10)]
    scale = [np.sqrt(sum(np.exp(-((i - j) ** 2)) for j in range(10))) for i in range(10)]
    drawn = Tonotopic(0.1, 0.5, 1.0).draw(np.random.default_rng(1), (10, 3))
    np.testing.assert_allclose(drawn, 0.1 + np.array(near) / np.array(scale)[:, None], rtol=1e-12)
    assert Initialiser.from_dict(Tonotopic(0.1, 0.5, 1.0).to_dict()) == Tonotopic(0.1, 0.5, 1.0)


def test_streams_are_the_same_on_every_machine() -> None:
    values = Network({"a": Input(1), "b": LIF(2)}, [Dense("a", "b", weight=Uniform(0, 1))]).init(seed=0)[
        "a_b.weight"
    ]
    assert values.tolist() == [PINNED]


PINNED = [0.7329440553683084, 0.6725884369853354]


def test_values() -> None:
    params = network().init(seed=0)
    assert all(p.dtype == np.float64 and p.flags.c_contiguous for p in params.values())
    assert (params["hidden_output.weight"] == np.arange(8.0).reshape(4, 2)).all()
    assert (params["output.tau_syn"] == [4.0, 5.0]).all()
    assert np.isinf(params["hidden.t_ref"]).all()
    assert (np.diagonal(params["hidden_hidden.weight"]) == 0).all()
    assert np.count_nonzero(params["hidden_hidden.weight"]) == 12
    assert ((params["hidden.tau_mem"] >= 15) & (params["hidden.tau_mem"] < 25)).all()


def test_float32() -> None:
    net = network()
    double, single = net.init(seed=0), net.init(seed=0, dtype="float32")
    assert all(p.dtype == np.float32 for p in single.values())
    assert all((single[k] == double[k].astype(np.float32)).all() for k in double)


def test_init_gives_fresh_arrays() -> None:
    weight = np.ones((1, 2))
    net = Network({"a": Input(1), "b": LIF(2)}, [Dense("a", "b", weight=weight)])
    weight[:] = 9.0
    first = net.init(seed=0)["a_b.weight"]
    first[:] = 5.0
    assert (net.init(seed=0)["a_b.weight"] == 1.0).all()


@dataclass(frozen=True)
class Alternating(Initialiser):
    """+value, -value, +value, ..."""

    value: float

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        return self.value * (-1.0) ** np.arange(math.prod(shape)).reshape(shape)


def test_an_initialiser_of_ones_own() -> None:
    net = Network({"a": Input(1), "b": LIF(3)}, [Dense("a", "b", weight=Alternating(2.0))])
    assert net.init(seed=0)["a_b.weight"].tolist() == [[2.0, -2.0, 2.0]]
    assert Network.from_dict(net.to_dict()) == net


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"delay": Normal(1.0, 10.0)},
            r"a_b.delay \(drawn by Normal\(1, 10\)\).* is -.*finite and >= 0.*Uniform",
        ),
        ({"tau_mem": Normal(0.0, 1.0)}, r"b.tau_mem \(drawn by Normal\(0, 1\)\).*finite and > 0"),
        (
            {"v_reset": Uniform(2.0, 3.0)},
            r"b.v_reset\[0\] is 2.*b.v_th\[0\] is 1.0; v_reset must stay below v_th",
        ),
        ({"v_init": Constant(1.0)}, r"b.v_init\[0\] is 1.0 but b.v_th\[0\] is 1.0"),
    ],
)
def test_drawn_values_are_checked(changes: dict[str, Any], message: str) -> None:
    delay = changes.pop("delay", None)
    net = Network({"a": Input(30), "b": LIF(30, **changes)}, [Dense("a", "b", weight=1.0, delay=delay)])
    with pytest.raises(ParameterError, match=message):
        net.init(seed=0)


@pytest.mark.parametrize("seed", [-1, 1.5, "a", None])
def test_seeds_refused(seed: Any) -> None:
    with pytest.raises(NetworkError, match=r"seed is .*>= 0"):
        network().init(seed=seed)


def test_dtypes_refused() -> None:
    with pytest.raises(EvpropError, match=r'dtype is float16; it must be "float64" or "float32"'):
        network().init(seed=0, dtype="float16")


# -- what is refused ---------------------------------------------------------------------------------------------


def two(*projections: Any, post: Any = None) -> Network:
    return Network({"a": Input(3), "b": post or LIF(2)}, list(projections))


BAD: list[tuple[Callable[[], Any], str]] = [
    (lambda: Input(0), r"Input: size is 0; a population needs at least 1 unit"),
    (lambda: LIF(0), r"LIF: size is 0"),
    (lambda: LI(-2), r"LI: size is -2"),
    (lambda: LIF(2.0), r"size is 2.0; it must be an integer"),
    (lambda: LIF(2, tau_mem=0.0), r"LIF.tau_mem is 0.0; it must be finite and > 0"),
    (lambda: LIF(2, tau_syn=[5.0, -1.0]), r"LIF.tau_syn\[1\] is -1.0; it must be finite and > 0"),
    (lambda: LIF(2, tau_mem=math.nan), r"LIF.tau_mem is nan"),
    (lambda: LIF(2, tau_mem=math.inf), r"LIF.tau_mem is inf; it must be finite"),
    (lambda: LIF(2, t_ref=-1.0), r"LIF.t_ref is -1.0; it must be >= 0"),
    (lambda: LIF(2, t_ref=math.nan), r"LIF.t_ref is nan"),
    (lambda: LIF(2, i_bias=math.inf), r"LIF.i_bias is inf; it must be finite"),
    (lambda: LIF(2, v_reset=1.0), r"LIF.v_reset is 1.0 but LIF.v_th is 1.0; v_reset must stay below v_th"),
    (lambda: LIF(2, v_th=[1.0, 2.0], v_init=1.5), r"LIF.v_init\[0\] is 1.5 but LIF.v_th\[0\] is 1.0"),
    (lambda: LIF(3, tau_mem=[1.0, 2.0]), r"LIF.tau_mem has shape \(2,\); .* shape \(3,\)"),
    (lambda: LIF(2, tau_mem="20"), r"LIF.tau_mem is '20'; it must be a number"),
    (lambda: LIF(2, tau_mem=Normal), r"give an instance, such as Normal\(0.0, 1.0\)"),
    (lambda: LIF(2, trainable="tau_mem"), r"trainable='tau_mem' is one string; give a tuple: \('tau_mem',\)"),
    (
        lambda: LIF(2, trainable=("tau_men",)),
        r"unknown trainable parameter 'tau_men': did you mean 'tau_mem'",
    ),
    (lambda: LIF(2, trainable=("t_ref",)), r"'t_ref' has no gradient"),
    (lambda: Network({"b": LIF(2)}), r"at least one Input"),
    (lambda: Network([Input(2)]), r"populations is list; give a dict"),  # type: ignore[arg-type]
    (lambda: Network({"a.b": Input(2)}), r"population name 'a.b': use letters, digits"),
    (lambda: Network({"a": 3}), r"population 'a' is 3; use evprop.Input"),  # type: ignore[dict-item]
    (lambda: two(3), r"3 is no projection; use evprop.Dense"),
    (
        lambda: two(Dense("a", "c", weight=1.0)),
        r"projection 'a_c' names an unknown population 'c': known: 'a', 'b'",
    ),
    (
        lambda: two(Dense("a", "b", weight=1.0), Dense("a", "b", weight=1.0)),
        r"the name 'a_b' .* is taken; give name=",
    ),
    (
        lambda: two(Dense("b", "b", weight=1.0), post=LI(2)),
        r"'b_b' starts at 'b', an LI population, which never spikes",
    ),
    (
        lambda: two(Dense("b", "a", weight=1.0)),
        r"'b_a' ends at 'a', an Input population, which receives nothing",
    ),
    (
        lambda: two(Dense("a", "b", weight=np.ones((2, 3)))),
        r"weight has shape \(2, 3\); it must have shape \(3, 2\)",
    ),
    (
        lambda: two(Dense("a", "b", weight=[[np.nan, 1], [1, 1], [1, 1]])),
        r"a_b.weight\[0, 0\] is nan; it must be finite",
    ),
    (lambda: two(Dense("a", "b", weight=np.inf)).init(0), r"a_b.weight\[0, 0\] is inf"),
    (
        lambda: Dense("a", "b", weight=1.0, delay=-1.0),
        r"delay is -1.0; it must be finite and >= 0. .*negative",
    ),
    (lambda: Dense("a", "b", weight=1.0, delay=np.inf), r"delay is inf; it must be finite"),
    (lambda: Dense("a", "b", weight=1.0, delay=[[np.nan]]), r"delay\[0, 0\] is nan"),
    (lambda: Dense("a", "b", weight=1.0, delay_kind="axonal"), r"delay_kind='axonal' without a delay"),
    (
        lambda: Dense("a", "b", weight=1.0, delay=1.0, delay_kind="axon"),
        r"unknown delay_kind 'axon': did you mean 'axonal'",
    ),
    (
        lambda: two(Dense("a", "b", weight=1.0, delay=np.ones((3, 1)))),
        r'delay has shape \(3, 1\); it must have shape \(3, 2\) or another delay_kind than "synaptic"',
    ),
    (
        lambda: Dense("a", "b", weight=1.0, trainable=("delay",)),
        r"unknown trainable parameter 'delay': known: 'weight'",
    ),
    (lambda: Dense("a", "b", weight=1.0, self_connections=False), r"recurrent projection only, .*'a' to 'b'"),
    (
        lambda: two(Dense("b", "b", weight=np.ones((2, 2)), self_connections=False)).init(0),
        r"b_b.weight\[0, 0\] is 1.0 but 'b_b' has self_connections=False; keep its diagonal at 0",
    ),
    (lambda: Sparse("a", "b", weight=1.0), r"give either mask=, or both indptr= and indices="),
    (lambda: Sparse("a", "b", weight=1.0, indptr=[0, 1]), r"give either mask="),
    (lambda: Sparse("a", "b", weight=1.0, mask=np.ones((3, 2))), r"mask has dtype float64 .* boolean"),
    (lambda: Sparse("a", "b", weight=1.0, mask=np.zeros((3, 2), bool)), r"has no connections"),
    (
        lambda: Sparse("a", "b", weight=1.0, indptr=[0, 2, 1, 1], indices=[0]),
        r"indptr must start at 0, not decrease",
    ),
    (
        lambda: Sparse("a", "b", weight=1.0, indptr=[0, 2, 2, 2], indices=[1, 0]),
        r"indices\[1\]=0 follows 1 in the same row",
    ),
    (lambda: Sparse("a", "b", weight=1.0, indptr=[0, 2, 2, 2], indices=[1, 1]), r"each once"),
    (lambda: Sparse("a", "b", weight=1.0, indptr=[0, 1], indices=[-1]), r"indices must be in 0..4294967295"),
    (lambda: Sparse("a", "b", weight=1.0, indptr=[0, 1], indices=[0.5]), r"indices has dtype float64"),
    (
        lambda: two(Sparse("a", "b", weight=1.0, indptr=[0, 1], indices=[0])),
        r"the pattern has 1 rows; it must have 3 rows",
    ),
    (
        lambda: two(Sparse("a", "b", weight=1.0, indptr=[0, 1, 1, 1], indices=[2])),
        r"indices\[0\] is 2; it must be below 2",
    ),
    (
        lambda: two(Sparse("a", "b", weight=1.0, mask=np.ones((3, 4), bool))),
        r"3 rows and 4 columns; .* 2 columns",
    ),
    (
        lambda: Sparse("b", "b", weight=1.0, mask=np.ones((2, 2), bool), self_connections=False),
        r"self_connections=False but the pattern has 2 entries on the diagonal",
    ),
    (lambda: network().population("hiden"), r"unknown population 'hiden': did you mean 'hidden'"),
    (lambda: Normal(0.0, 1.0, stream="sed"), r"Normal: stream='sed' is unknown: did you mean 'seed'"),
    (lambda: Normal(0.0, -1.0), r"Normal: std=-1.0 must be >= 0"),
    (lambda: Tonotopic(0.0, 1.0, 0.0), r"Tonotopic: std=1.0 must be >= 0 and width=0.0 > 0"),
    (lambda: Tonotopic(9.0, 1.0, 2.0).draw(np.random.default_rng(0), (2,)), r"Dense projection, not shape \(2,\)"),
    (lambda: LogNormal(0.0, -1.0), r"LogNormal: sigma=-1.0 must be >= 0"),
    (lambda: Uniform(2.0, 1.0), r"Uniform: low=2.0 must not exceed high=1.0"),
    (lambda: Uniform(0.0, math.inf), r"Uniform: high=inf must be finite"),
    (lambda: Constant(math.nan), r"Constant: value=nan must be finite"),
]


@pytest.mark.parametrize(("make", "message"), BAD, ids=[message[:40] for _, message in BAD])
def test_refused(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(EvpropError, match=message):
        make()


# -- sparse patterns ---------------------------------------------------------------------------------------------


def test_the_ways_to_give_a_pattern_agree() -> None:
    mask = np.array([[0, 1, 1], [0, 0, 0], [1, 0, 1]], bool)
    csr = scipy.sparse.csr_array(mask * 2.5)
    unsorted = scipy.sparse.csr_array(([1.0, 1.0, 1.0, 1.0], [2, 1, 2, 0], [0, 2, 2, 4]), shape=(3, 3))
    patterns = [
        Sparse("a", "b", weight=1.0, mask=mask),
        Sparse("a", "b", weight=1.0, mask=csr),
        Sparse("a", "b", weight=1.0, mask=csr.tocoo()),
        Sparse("a", "b", weight=1.0, mask=unsorted),
        Sparse("a", "b", weight=1.0, indptr=[0, 2, 2, 4], indices=[1, 2, 0, 2]),
    ]
    for p in patterns:
        indptr, indices = p.structure()
        assert (indptr.dtype, indices.dtype) == (np.int64, np.uint32)
        assert (indptr.tolist(), indices.tolist()) == ([0, 2, 2, 4], [1, 2, 0, 2])
    assert unsorted.indices.tolist() == [2, 1, 2, 0]  # the caller's matrix is as it was


# -- text, dict, pickle ------------------------------------------------------------------------------------------


def test_to_dict_and_back_through_json() -> None:
    net = network()
    again = Network.from_dict(json.loads(json.dumps(net.to_dict(), allow_nan=False)))
    assert again == net
    assert again.trainable == net.trainable
    a, b = net.init(seed=5), again.init(seed=5)
    assert all((a[k] == b[k]).all() for k in a)


def test_networks_differ_where_they_differ() -> None:
    assert network() == network()
    assert network() != network(populations={"output": LI(2)})
    assert network() != 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"evprop_network": 99}, "format 99; this version of evprop reads format 1"),
        ({"populations": {"a": {"kind": "LIG", "size": 3}}}, "unknown kind 'LIG': did you mean"),
        ({"populations": {"a": {"kind": "Input", "size": 3, "colour": 1}}}, "colour"),
        ({"populations": 3}, "damaged"),
        ({"projections": [{"kind": "Dense", "pre": "input", "post": "hidden"}]}, "weight"),
        ({"projections": [{"kind": "Dense", "weight": {"init": "Cauchy"}}]}, "unknown initialiser 'Cauchy'"),
        ({"projections": [{"kind": "Dense", "weight": {"init": "Normal", "x": 1}}]}, "cannot be rebuilt"),
    ],
)
def test_descriptions_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(NetworkError, match=message):
        Network.from_dict(network().to_dict() | change)
    with pytest.raises(NetworkError, match="no network description"):
        Network.from_dict({})


def test_pickle() -> None:
    assert pickle.loads(pickle.dumps(network())) == network()


def test_summary_tells_the_essentials() -> None:
    text = network().summary()
    assert (
        text.splitlines()[0]
        == "Network: 6 neurons, 4 projections, 48 trainable parameters of 88 (* trainable)"
    )
    for part in (
        "tau_mem* Uniform(15, 25)",
        "t_ref inf",
        "hidden -> hidden",
        "delay* axonal 1.5",
        "weight 0..7",
    ):
        assert part in text
    assert repr(network()) == (
        "Network(input: Input(3), hidden: LIF(4), output: LI(2); 4 projections, 48 trainable parameters)"
    )


def test_a_network_cannot_be_changed_by_accident() -> None:
    net = network()
    with pytest.raises(TypeError):
        net.populations["more"] = LIF(2)  # type: ignore[index]
    with pytest.raises(AttributeError):
        net.populations["hidden"].size = 9  # type: ignore[misc]
