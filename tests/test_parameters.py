"""The check of a dict of parameters: every way in which it can be wrong, and the names asked for by wrt."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from evprop import LIF, Dense, Input, Network, Sparse
from evprop.errors import DtypeError, EvpropError, ParameterError, ShapeError
from evprop.init import Normal, Uniform

NET = Network(
    {"a": Input(3), "b": LIF(4, trainable=("v_th",))},
    [
        Dense("a", "b", weight=Normal(0, 1), delay=Uniform(0, 5)),
        Dense("b", "b", weight=Normal(0, 1), self_connections=False),
        Sparse("a", "b", weight=1.0, mask=np.ones((3, 4), bool), name="s"),
    ],
)


def changed(name: str, value: Any) -> dict[str, Any]:
    return NET.init(seed=0) | {name: value}


def with_value(name: str, index: Any, value: float) -> dict[str, Any]:
    params = NET.init(seed=0)
    params[name][index] = value
    return params


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_good_arrays_are_handed_on_as_they_are(dtype: str) -> None:
    params = NET.init(seed=0, dtype=dtype)
    arrays = NET.layout.collect(params, dtype)
    assert [id(a) for a in arrays] == [id(params[name]) for name in NET.parameter_names]
    shuffled = dict(reversed(params.items()))
    assert [id(a) for a in NET.layout.collect(shuffled, dtype)] == [id(a) for a in arrays]


@pytest.mark.parametrize(
    ("name", "index", "value"),
    [
        ("b.t_ref", 0, np.inf),
        ("b.t_ref", 0, 0.0),
        ("b.i_bias", 2, 1e6),
        ("b.v_reset", 1, -1e300),
        ("b.tau_mem", 1, 5e-324),
        ("a_b.delay", (0, 0), 0.0),
        ("a_b.delay", (0, 0), -0.0),
        ("a_b.delay", (0, 0), 1e300),
        ("a_b.weight", 0, 1e308),  # finite, although the sum of a row overflows
        ("b_b.weight", (0, 0), -0.0),
    ],
)
def test_the_edges_of_the_ranges_are_allowed(name: str, index: Any, value: float) -> None:
    NET.layout.collect(with_value(name, index, value), "float64")


BAD: list[tuple[dict[str, Any], type[EvpropError], str]] = [
    (
        with_value("b.tau_mem", 2, 0.0),
        ParameterError,
        r"b.tau_mem\[2\] is 0.0; it must be finite and > 0. A time constant",
    ),
    (with_value("b.tau_mem", 2, -5.0), ParameterError, r"b.tau_mem\[2\] is -5.0"),
    (with_value("b.tau_syn", 0, np.nan), ParameterError, r"b.tau_syn\[0\] is nan"),
    (with_value("b.tau_syn", 0, np.inf), ParameterError, r"b.tau_syn\[0\] is inf; it must be finite"),
    (with_value("b.t_ref", 1, -0.1), ParameterError, r"b.t_ref\[1\] is -0.1; it must be >= 0"),
    (with_value("b.t_ref", 1, np.nan), ParameterError, r"b.t_ref\[1\] is nan"),
    (with_value("b.i_bias", 1, -np.inf), ParameterError, r"b.i_bias\[1\] is -inf; it must be finite"),
    (with_value("b.v_th", 3, np.nan), ParameterError, r"b.v_th\[3\] is nan"),
    (
        with_value("b.v_th", 3, 0.0),
        ParameterError,
        r"b.v_reset\[3\] is 0.0 but b.v_th\[3\] is 0.0; v_reset must stay below",
    ),
    (with_value("b.v_reset", 3, 1.5), ParameterError, r"b.v_reset\[3\] is 1.5 but b.v_th\[3\] is 1.0"),
    (
        with_value("b.v_init", 0, 1.0),
        ParameterError,
        r"b.v_init\[0\] is 1.0 but b.v_th\[0\] is 1.0; v_init must stay below",
    ),
    (
        with_value("a_b.weight", (2, 1), np.nan),
        ParameterError,
        r"a_b.weight\[2, 1\] is nan; it must be finite",
    ),
    (
        with_value("a_b.weight", slice(None), np.inf),
        ParameterError,
        r"a_b.weight\[0, 0\] is inf \(12 such values in all\)",
    ),
    (with_value("s.weight", 5, -np.inf), ParameterError, r"s.weight\[5\] is -inf"),
    (
        with_value("a_b.delay", (1, 3), -1e-9),
        ParameterError,
        r"a_b.delay\[1, 3\] is -1e-09; .*>= 0. A delay cannot be negative",
    ),
    (with_value("a_b.delay", (1, 3), np.nan), ParameterError, r"a_b.delay\[1, 3\] is nan"),
    (with_value("a_b.delay", (1, 3), np.inf), ParameterError, r"a_b.delay\[1, 3\] is inf"),
    (
        with_value("b_b.weight", (2, 2), 0.1),
        ParameterError,
        r"b_b.weight\[2, 2\] is 0.1 but 'b_b' has self_connections=False",
    ),
    (
        changed("b.tau_men", np.ones(4)),
        ParameterError,
        r"unknown parameter 'b.tau_men': did you mean 'b.tau_mem'",
    ),
    (
        changed("b.tau_mem", 20.0),
        DtypeError,
        r"b.tau_mem is a float; it must be a NumPy array of shape \(4,\) and dtype float64",
    ),
    (changed("b.tau_mem", [20.0] * 4), DtypeError, r"b.tau_mem is a list"),
    (changed("b.tau_mem", np.ones(3)), ShapeError, r"b.tau_mem has shape \(3,\); it must have shape \(4,\)"),
    (
        changed("a_b.weight", np.ones((4, 3))),
        ShapeError,
        r"a_b.weight has shape \(4, 3\); it must have shape \(3, 4\)",
    ),
    (
        changed("a_b.weight", np.ones((4, 3)).T),
        ShapeError,
        r"a_b.weight has strides \(8, 24\); .*ascontiguousarray",
    ),
    (changed("a_b.weight", np.ones((6, 4))[::2]), ShapeError, r"a_b.weight has strides"),
    (
        changed("a_b.weight", np.ones((3, 4), int)),
        DtypeError,
        r"a_b.weight has dtype int64; it must be float64",
    ),
    (
        changed("a_b.weight", np.ones((3, 4), ">f8")),
        DtypeError,
        r"a_b.weight has dtype >f8; it must be float64",
    ),
    (
        changed("a_b.weight", np.ones((3, 4), np.float32)),
        DtypeError,
        r'a_b.weight has dtype float32 but the simulator computes in float64; use Exact\(dtype="float32"\) or net.init',
    ),
]


@pytest.mark.parametrize(("params", "error", "message"), BAD, ids=[b[2][:40] for b in BAD])
def test_refused(params: dict[str, Any], error: type[EvpropError], message: str) -> None:
    with pytest.raises(error, match=message):
        NET.layout.collect(params, "float64")


def test_missing() -> None:
    params = NET.init(seed=0)
    del params["a_b.delay"]
    with pytest.raises(
        ParameterError, match=r"parameter 'a_b.delay' \(shape \(3, 4\)\) is missing; net.init"
    ):
        NET.layout.collect(params, "float64")
    with pytest.raises(ParameterError, match=r"parameter 'b.tau_mem' .*missing"):
        NET.layout.collect({}, "float64")
    with pytest.raises(ParameterError, match="params is list; it must be the dict"):
        NET.layout.collect([1.0], "float64")  # type: ignore[arg-type]


def test_dtype_errors_are_type_errors_too() -> None:
    with pytest.raises(TypeError):
        NET.layout.collect(changed("b.tau_mem", 20.0), "float64")
    with pytest.raises(ValueError):
        NET.layout.collect(changed("b.tau_mem", 20.0), "float64")


def test_float32_parameters_are_checked_alike() -> None:
    params = NET.init(seed=0, dtype="float32")
    params["b.v_reset"][1] = 1.0
    with pytest.raises(ParameterError, match=r"b.v_reset\[1\] is 1.0"):
        NET.layout.collect(params, "float32")


# -- wrt ---------------------------------------------------------------------------------------------------------


def chosen(wrt: Any) -> list[str]:
    return [name for name, on in zip(NET.parameter_names, NET.layout.select(wrt), strict=True) if on]


def test_wrt() -> None:
    assert chosen(None) == list(NET.trainable)
    assert chosen(["s.weight", "b.tau_mem"]) == ["b.tau_mem", "s.weight"]
    assert chosen(()) == []
    assert chosen(iter(["b.v_th"])) == ["b.v_th"]


@pytest.mark.parametrize(
    ("wrt", "message"),
    [
        (["a_b.wieght"], r"wrt names an unknown parameter 'a_b.wieght': did you mean 'a_b.weight'"),
        ("a_b.weight", r"wrt='a_b.weight' is one string; give a list of names: wrt=\['a_b.weight'\]"),
        (["b.t_ref"], r"wrt names 'b.t_ref', which has no gradient"),
    ],
)
def test_wrt_refused(wrt: Any, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        NET.layout.select(wrt)
