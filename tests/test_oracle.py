"""The slow simulator against closed forms and against itself in many digits; its tangents against differences there."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from oracle import (
    FLOAT64,
    Digits,
    Directions,
    Model,
    Population,
    Projection,
    flow,
    read,
    simulate,
    unit_directions,
)
from oracle.ttfs import double_constant, equal_constants

RATIOS = [0.2, 0.5, 1.0 - 1e-9, 1.0, 1.0 + 1e-13, 1.0 + 1e-6, 1.001, 1.4, 2.0, 3.0, 4.0, 40.0]


def one_neuron(n_inputs: int) -> Model:
    return Model(
        [Population("in", "input", n_inputs), Population("n", "lif", 1)], [Projection("w", "in", "n")]
    )


def constants(name: str, n: int, kind: str = "lif", **given: Any) -> dict[str, np.ndarray]:
    values = {"tau_mem": 20.0, "tau_syn": 5.0, "i_bias": 0.0, "v_init": 0.0}
    if kind == "lif":
        values |= {"v_th": 1.0, "v_reset": 0.0, "t_ref": 0.0}
    values |= given
    return {
        f"{name}.{k}": np.broadcast_to(np.asarray(v, dtype=float), (n,)).copy() for k, v in values.items()
    }


# -- one span ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("d", [1e-9, 0.3, 7.0, 250.0])
def test_flow_matches_forty_digits(ratio: float, d: float) -> None:
    tau_syn = 5.0
    tau_mem = tau_syn * ratio
    digits = Digits(60)
    h = Decimal(10) ** -20
    args = [Decimal(x) for x in (0.3, 1.7, -0.1, tau_mem, tau_syn)]

    def exact(k: int, by: Decimal) -> Decimal:
        moved = [a + (by if j == k else 0) for j, a in enumerate(args)]
        if moved[3] == moved[4]:
            moved[3] += Decimal(10) ** -25  # the plain difference of exponentials wants unequal constants
        return flow.voltage(digits, Decimal(d), *moved)

    plain = [0.3, 1.7, -0.1, tau_mem, tau_syn]
    assert flow.voltage(FLOAT64, d, *plain) == pytest.approx(
        float(exact(0, Decimal(0))), rel=1e-14, abs=1e-15
    )
    by_mem, by_syn, by_bias, _ = flow.constants_derivatives(FLOAT64, d, *plain)
    for k, ours in ((3, by_mem), (4, by_syn), (2, by_bias)):
        reference = float((exact(k, h) - exact(k, -h)) / (2 * h))
        assert ours == pytest.approx(reference, rel=1e-11, abs=1e-15)


@pytest.mark.parametrize("ratio", RATIOS)
def test_stationary_point_is_stationary(ratio: float) -> None:
    tau_mem, tau_syn = 5.0 * ratio, 5.0
    for v0, i0, bias in [(0.0, 2.0, 0.0), (0.4, 1.0, 0.1), (0.5, -1.0, 0.8), (0.9, 1.0, -0.5)]:
        peak = flow.stationary_point(FLOAT64, v0, i0, bias, tau_mem, tau_syn)
        slope = i0 + bias - v0
        if peak is None:
            later = flow.voltage(FLOAT64, 1000.0, v0, i0, bias, tau_mem, tau_syn)
            assert (later - v0) * slope >= 0.0
        else:
            v = flow.voltage(FLOAT64, peak, v0, i0, bias, tau_mem, tau_syn)
            assert flow.current(FLOAT64, peak, i0, tau_syn) + bias - v == pytest.approx(0.0, abs=1e-13)


# -- one neuron ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("ratio", [1, 2])
def test_first_spike_matches_published_closed_form(ratio: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 9))
    times, weights = rng.uniform(0.0, 15.0, n), rng.normal(0.9, 1.0, n)
    formula = equal_constants if ratio == 1 else double_constant
    expected = formula(times.tolist(), weights.tolist(), 5.0, 1.0)
    params = constants("n", 1, tau_mem=5.0 * ratio, t_ref=np.inf) | {"w.weight": weights[:, None]}
    inputs = {"in": (times, np.arange(n))}
    directions = unit_directions(params, inputs, ["w.weight", "input_times:in"])
    result = simulate(one_neuron(n), params, inputs, 500.0, directions=directions)
    assert len(result.spikes["n"]) == (expected is not None)
    if expected is not None:
        spike, by_w, by_t = expected
        tangent = result.tangents("n")[0]
        worst = 1e-12 / float(result.spikes["n"][0].slope)
        assert result.times("n")[0] == pytest.approx(spike, abs=worst)
        np.testing.assert_allclose(
            directions.gradient("w.weight", tangent)[:, 0], by_w, rtol=1e-9, atol=worst
        )
        np.testing.assert_allclose(
            directions.gradient("input_times:in", tangent), by_t, rtol=1e-9, atol=worst
        )


def test_tonic_firing_has_its_closed_form_period() -> None:
    params = constants("n", 1, tau_mem=10.0, i_bias=1.5, v_reset=-0.2, t_ref=2.0) | {
        "w.weight": np.zeros((1, 1))
    }
    result = simulate(one_neuron(1), params, {}, 100.0)
    first, period = 10.0 * np.log(1.5 / 0.5), 10.0 * np.log(1.7 / 0.5) + 2.0
    expected = first + period * np.arange(50)
    np.testing.assert_allclose(result.times("n"), expected[expected <= 100.0], rtol=1e-13)


def test_touch_is_no_spike_and_is_reported_as_a_near_miss() -> None:
    tau = 5.0
    params = constants("n", 1, tau_mem=tau, tau_syn=tau)
    touching = float(np.e)  # the peak of w (t/tau) e^{-t/tau} is w/e
    for weight, spikes in ((touching * (1 - 1e-9), 0), (touching * (1 + 1e-9), 1)):
        result = simulate(
            one_neuron(1), params | {"w.weight": np.full((1, 1), weight)}, {"in": ([1.0], [0])}, 100.0
        )
        assert len(result.spikes["n"]) == spikes
        assert result.margin() == pytest.approx(1e-9, rel=1e-3)
        assert result.first_marginal_time(1e-8) == pytest.approx(6.0, abs=1e-3)


def test_refractory_neuron_integrates_current_only() -> None:
    params = constants("n", 1, t_ref=np.inf) | {"w.weight": np.full((1, 1), 60.0)}
    result = simulate(one_neuron(1), params, {"in": ([0.0, 5.0], [0, 0])}, 50.0)
    assert len(result.spikes["n"]) == 1
    assert read(result, "n", ("final",))[0][0] == 0.0


# -- events --------------------------------------------------------------------------------------------------


def chain(delay_kind: str | None = None) -> tuple[Model, dict[str, np.ndarray]]:
    model = Model(
        [Population("in", "input", 1), Population("a", "lif", 2)],
        [Projection("ia", "in", "a"), Projection("aa", "a", "a", delay_kind)],
    )
    weights = {"ia.weight": np.array([[8.0, 8.0]]), "aa.weight": np.array([[0.0, 5.0], [-7.0, 0.0]])}
    return model, constants("a", 2) | weights


def test_simultaneous_crossings_come_before_the_arrivals_they_cause() -> None:
    model, params = chain()
    result = simulate(model, params, {"in": ([1.0], [0])}, 30.0)
    assert result.times("a")[0] == result.times("a")[1]
    assert result.units("a")[:2].tolist() == [0, 1]


def test_arrival_at_the_duration_has_no_effect_but_a_spike_at_the_duration_counts() -> None:
    params = constants("n", 1) | {"w.weight": np.full((1, 1), 40.0)}
    free = simulate(one_neuron(1), params, {"in": ([1.0], [0])}, 30.0)
    first = free.times("n")[0]
    at = simulate(one_neuron(1), params, {"in": ([1.0], [0])}, np.nextafter(first, 99.0))
    assert len(at.spikes["n"]) == 1
    late = simulate(one_neuron(1), params, {"in": ([1.0], [0])}, 1.0)
    assert not late.spikes["n"]
    assert read(late, "n", ("final",))[0][0] == 0.0


# -- whole networks ------------------------------------------------------------------------------------------


def recurrent(seed: int) -> tuple[Model, dict[str, np.ndarray], dict[str, Any]]:
    """All delay kinds, a sparse projection, refractory and tonic neurons, different constants everywhere."""
    rng = np.random.default_rng(seed)
    model = Model(
        [Population("in", "input", 2), Population("h", "lif", 3), Population("o", "li", 2)],
        [
            Projection("ih", "in", "h", "synaptic"),
            Projection("hh", "h", "h", "axonal", None, False),
            Projection("h0", "h", "h"),
            Projection("ho", "h", "o", "synaptic", ([0, 1, 3, 4], [1, 0, 1, 0])),
            Projection("io", "in", "o", "dendritic"),
        ],
    )
    u = rng.uniform
    params = {
        "h.tau_mem": u(5, 20, 3), "h.tau_syn": u(2, 10, 3), "h.v_th": u(0.9, 1.1, 3), "h.v_reset": u(-0.3, 0.2, 3),
        "h.i_bias": np.array([0.1, -0.1, 1.3]), "h.v_init": u(-0.3, 0.3, 3), "h.t_ref": np.array([0.0, 1.5, 3.1]),
        "o.tau_mem": np.array([7.0, u(5, 20)]), "o.tau_syn": np.array([7.0, u(2, 10)]), "o.i_bias": u(-0.2, 0.3, 2),
        "o.v_init": u(-0.3, 0.3, 2),
        "ih.weight": rng.normal(6, 1, (2, 3)), "ih.delay": u(0, 5, (2, 3)),
        "hh.weight": rng.normal(0.2, 1, (3, 3)), "hh.delay": u(0, 5, (3, 1)),
        "h0.weight": rng.normal(0, 0.3, (3, 3)),
        "ho.weight": rng.normal(0, 1, 4), "ho.delay": u(0, 5, 4),
        "io.weight": rng.normal(0, 1, (2, 2)), "io.delay": u(0, 5, (1, 2)),
    }  # fmt: skip
    inputs = {"in": (np.sort(u(0, 12, 6)), rng.integers(0, 2, 6))}
    return model, params, inputs


READOUTS: list[tuple[Any, ...]] = [
    ("integral", True), ("weighted_integral", 9.0, True), ("max",), ("final",), ("sampled", (2.0, 11.0)),
]  # fmt: skip


def decimals(values: np.ndarray) -> np.ndarray:
    return np.vectorize(lambda x: Decimal(float(x)), otypes=[object])(values)


@pytest.mark.parametrize("seed", [1, 2])
def test_tangents_match_differences_in_many_digits(seed: int) -> None:
    model, params, inputs = recurrent(seed)
    names = [*model.parameter_names(), "input_times:in"]
    rng = np.random.default_rng(seed)
    directions = Directions(len(names))
    for k, name in enumerate(names):
        shape = inputs["in"][0].shape if name.startswith("input") else params[name].shape
        tangent = np.zeros((*shape, len(names)))
        tangent[..., k] = rng.choice([-1.0, 1.0], shape)
        if name == "h.t_ref":
            tangent[0] = 0.0  # the derivative from t_ref = 0 is one-sided
        if name.startswith("input"):
            directions.input_times["in"] = tangent
        else:
            directions.values[name] = tangent
    duration = 12.0
    result = simulate(model, params, inputs, duration, directions=directions)
    assert len(result.spikes["h"]) >= 6
    digits, h = Digits(38), Decimal(10) ** -9

    def moved(k: int, sign: int) -> Any:
        name = names[k]
        shifted = dict(params)
        times, units = inputs["in"]
        if name.startswith("input"):
            times = decimals(times) + sign * h * decimals(directions.input_times["in"][..., k])
        else:
            shifted[name] = decimals(params[name]) + sign * h * decimals(directions.values[name][..., k])
        return simulate(model, shifted, {"in": (times, units)}, duration, arithmetic=digits)

    for k, name in enumerate(names):
        plus, minus = moved(k, 1), moved(k, -1)
        slopes = [
            float((p.time - m.time) / (2 * h))
            for p, m in zip(plus.spikes["h"], minus.spikes["h"], strict=True)
        ]
        np.testing.assert_allclose(result.tangents("h")[:, k], slopes, rtol=1e-11, atol=1e-12, err_msg=name)
        for population, spec in [("o", spec) for spec in READOUTS] + [
            ("h", ("integral", True)),
            ("h", ("final",)),
        ]:
            difference = read(plus, population, spec)[0] - read(minus, population, spec)[0]
            expected = (difference / (2 * h)).astype(float)
            found = read(result, population, spec)[1][..., k]
            np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-12, err_msg=f"{spec} by {name}")


def test_spike_times_match_forty_digits() -> None:
    for seed in range(3):
        model, params, inputs = recurrent(seed)
        plain = simulate(model, params, inputs, 30.0)
        exact = simulate(model, params, inputs, 30.0, arithmetic=Digits(40))
        assert plain.units("h").tolist() == exact.units("h").tolist()
        np.testing.assert_allclose(plain.times("h"), exact.times("h"), rtol=0, atol=1e-12)


@pytest.mark.parametrize("weights", [(3.0, -6.0), (3.0, 0.5)], ids=["at an arrival", "between arrivals"])
def test_maximum_moves_with_the_arrival_that_makes_it(weights: tuple[float, float]) -> None:
    model = Model([Population("in", "input", 2), Population("o", "li", 1)], [Projection("w", "in", "o")])
    params = constants("o", 1, "li") | {"w.weight": np.array(weights)[:, None]}
    times = np.array([1.0, 4.0])
    inputs = {"in": (times, np.array([0, 1]))}
    directions = unit_directions(params, inputs, ["w.weight", "input_times:in", "o.tau_mem"])
    _, tangent = read(simulate(model, params, inputs, 60.0, directions=directions), "o", ("max",))
    h = 1e-6
    for k in range(2):
        shift = h * np.eye(2)[k]
        moved = [simulate(model, params, {"in": (times + s * shift, [0, 1])}, 60.0) for s in (1, -1)]
        high, low = (read(result, "o", ("max",))[0][0] for result in moved)
        assert directions.gradient("input_times:in", tangent[0])[k] == pytest.approx(
            (high - low) / (2 * h), abs=1e-8
        )


def test_integral_of_a_postsynaptic_potential() -> None:
    model = Model([Population("in", "input", 1), Population("o", "li", 1)], [Projection("w", "in", "o")])
    params = constants("o", 1, "li", tau_mem=20.0, tau_syn=5.0) | {"w.weight": np.full((1, 1), 2.0)}
    result = simulate(model, params, {"in": ([1.0], [0])}, 1000.0)
    assert read(result, "o", ("integral", False))[0][0] == pytest.approx(2.0 * 5.0, rel=1e-12)
