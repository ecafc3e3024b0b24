"""Three forms of the locally competitive algorithm, and stacks of pursuits, against the solver."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
import scipy.integrate
from hypothesis import given, settings

import evprop
from evprop.errors import HardwareError, ParameterError, ShapeError
from evprop.sparse import (
    LCA,
    DeepPursuit,
    LayeredPursuit,
    Loihi2LCA,
    Pursuit,
    PursuitClassifier,
    SpikingLCA,
    equal_groups,
    grassmannian,
    group_norms,
    ifgsm,
)

PACKED = grassmannian(12, 20, seed=0, n_iterations=60)


def signals(n: int, seed: int = 0) -> np.ndarray:
    """Sums of 3 atoms of both signs."""
    rng = np.random.default_rng(seed)
    used = rng.permuted(np.tile(np.arange(20) < 3, (n, 1)), axis=1)
    return (used * rng.uniform(0.5, 1.5, (n, 20)) * rng.choice([-1.0, 1.0], (n, 20))) @ PACKED.T


WEIGHTS: dict[str, dict[str, Any]] = {
    "l1": {"l1": 0.1},
    "group": {"l2": 0.2, "groups": equal_groups(20, 4)},
    "mixed": {"l1": 0.05, "l2": 0.1, "groups": np.arange(20) * 3 % 5},
}


@pytest.mark.parametrize("kind", WEIGHTS)
def test_rates_come_to_rest_at_the_minimum(kind: str) -> None:
    pursuit, x = Pursuit(PACKED, **WEIGHTS[kind]), signals(5)
    codes = LCA(tau=10.0, dt=1.0).run(pursuit, x, [0.0, 20.0, 2000.0])
    assert not codes[:, 0].any()
    np.testing.assert_allclose(codes[:, 2], pursuit.solve(x, tolerance=1e-14).values, atol=1e-7)
    late, early = (pursuit.residual(x, np.ascontiguousarray(codes[:, k])).max() for k in (2, 1))
    assert late < 1e-9 < 1e-3 < early


def test_rates_follow_the_differential_equation() -> None:
    """The same equation by scipy's integrator: Euler's method nears it as its step does 0."""
    pursuit, x = Pursuit(PACKED, **WEIGHTS["group"]), signals(1)
    groups, gram = np.asarray(pursuit.groups), PACKED.T @ PACKED

    def prox(u: np.ndarray) -> np.ndarray:
        norms = np.sqrt(np.bincount(groups, u * u))[groups]
        return u * np.maximum(1.0 - 0.2 / np.maximum(norms, 1e-300), 0.0)

    def slope(_: float, u: np.ndarray) -> np.ndarray:
        a = prox(u)
        return (PACKED.T @ x[0] - u - gram @ a + a) / 10.0

    exact = prox(scipy.integrate.solve_ivp(slope, (0.0, 15.0), np.zeros(20), rtol=1e-9, atol=1e-12).y[:, -1])
    errors = [np.abs(LCA(tau=10.0, dt=dt).run(pursuit, x, [15.0])[0, 0] - exact).max() for dt in (0.5, 0.05)]
    assert errors[1] < 0.15 * errors[0] < 0.15 * 0.1
    assert np.abs(exact).max() > 0.3


def test_threads_and_batches_change_no_bit() -> None:
    pursuit, x = Pursuit(PACKED, **WEIGHTS["mixed"]), signals(70)
    threads = evprop.num_threads()
    try:
        evprop.set_num_threads(1)
        codes = LCA(tau=10.0, dt=1.0).run(pursuit, x, [50.0])
        evprop.set_num_threads(3)
        assert LCA(tau=10.0, dt=1.0).run(pursuit, x, [50.0]).tobytes() == codes.tobytes()
    finally:
        evprop.set_num_threads(threads)
    assert LCA(tau=10.0, dt=1.0).run(pursuit, x[31:32], [50.0]).tobytes() == codes[31:32].tobytes()


@settings(max_examples=8)
@given(seed=st.integers(0, 2**32 - 1))
def test_spikes_end_where_the_solver_does(seed: int) -> None:
    """The residual is the charge not paid back per time, of at most 3 quanta here, and a share of the leak."""
    pursuit, x = Pursuit(PACKED, l1=0.1), signals(2, seed)
    lca = SpikingLCA(quantum=2.0, tau_mem=1000.0, tau_syn=2.0, settle=50.0)
    times = np.array([250.0, 1050.0])
    codes = lca.run(pursuit, x, times)
    for k, time in enumerate(times):
        residual = pursuit.residual(x, np.ascontiguousarray(codes[:, k]))
        assert residual.max() <= 3.0 * 2.0 / (time - 50.0) + 2.0 / (2.0 * 1000.0)


@settings(max_examples=6)
@given(seed=st.integers(0, 2**32 - 1), spread=st.floats(0.0, 0.2))
def test_the_chip_stays_within_its_limit(seed: int, spread: float) -> None:
    """At every time; and the limit falls with it, to a floor that the residual of other codes exceeds."""
    pursuit, x = Pursuit(PACKED * np.linspace(1.0 - spread, 1.0 + spread, 20), l1=0.1), signals(2, seed)
    chip, times = Loihi2LCA(drive=1024, dt=0.02, settle=20.0), np.array([40.0, 80.0, 160.0])
    codes = chip.run(pursuit, x, times)
    limit = chip.residual_limit(pursuit, x, codes, times)
    for k in range(len(times)):
        assert np.all(pursuit.residual(x, np.ascontiguousarray(codes[:, k])) <= limit[:, k])
    assert np.all(np.diff(limit, axis=1) < 0.0)
    assert np.all(limit[:, -1] < 0.5 * pursuit.residual(x, np.zeros((2, 20))))


def test_spikes_are_more_exact_the_longer_they_run() -> None:
    pursuit, x = Pursuit(PACKED * np.linspace(0.8, 1.2, 20), l1=0.1), signals(6)
    exact = pursuit.solve(x, tolerance=1e-13).values
    spiking = SpikingLCA(quantum=2.0, tau_mem=1000.0, tau_syn=2.0).run(pursuit, x, [100.0, 1600.0])
    chip = Loihi2LCA(drive=1024, dt=0.01, settle=10.0).run(pursuit, x, [20.0, 90.0])
    for codes, last in ((spiking, 0.01), (chip, 0.06)):
        errors = np.abs(codes - exact[:, None]).max(axis=(0, 2))
        assert errors[1] < last
        assert errors[1] < 0.4 * errors[0]
    assert np.abs(exact).max() > 0.5


def test_a_silent_signal_has_no_code() -> None:
    pursuit = Pursuit(PACKED, l1=0.1)
    codes = SpikingLCA(quantum=2.0, tau_mem=1000.0, tau_syn=2.0).run(pursuit, np.zeros((1, 12)), [100.0])
    assert codes.shape == (1, 1, 20)
    assert not codes.any()
    with pytest.raises(ParameterError, match="signals are 0"):
        Loihi2LCA(drive=1024, dt=1.0).run(pursuit, np.zeros((1, 12)), [100.0])


def test_bad_arguments() -> None:
    pursuit, x = Pursuit(PACKED, l1=0.1), signals(1)
    spiking = SpikingLCA(quantum=1.0, tau_mem=1000.0, tau_syn=2.0, settle=5.0)
    with pytest.raises(ParameterError, match="tau is 0"):
        LCA(tau=0.0, dt=1.0)
    with pytest.raises(ParameterError, match="largest eigenvalue"):
        LCA(tau=1.0, dt=1.0).run(Pursuit(1.3 * PACKED, l1=0.1), x, [5.0])
    with pytest.raises(ParameterError, match=r"dt / tau.* = 2"):
        LCA(tau=1.0, dt=2.0).run(pursuit, x, [5.0])
    with pytest.raises(ParameterError, match="ascend"):
        LCA(tau=10.0, dt=1.0).run(pursuit, x, [5.0, 4.0])
    with pytest.raises(ShapeError, match="at least one time"):
        spiking.run(pursuit, x, [])
    with pytest.raises(ParameterError, match="after 5 ms"):
        spiking.run(pursuit, x, [5.0])
    with pytest.raises(ParameterError, match="group 0 has 4 atoms"):
        spiking.run(Pursuit(PACKED, l2=0.1, groups=equal_groups(20, 4)), x, [9.0])
    with pytest.raises(ParameterError, match="quantum is -1"):
        SpikingLCA(quantum=-1.0, tau_mem=1.0, tau_syn=1.0)
    with pytest.raises(HardwareError, match="pulse is 63"):
        Loihi2LCA(drive=1024, dt=1.0, pulse=63)
    with pytest.raises(HardwareError, match="v_th would be 1007872"):
        Loihi2LCA(drive=1024, dt=1.0, weight_exp=6)
    with pytest.raises(HardwareError, match="smaller weight_exp or drive"):
        Loihi2LCA(drive=40_000, dt=1.0).run(pursuit, 3.0 * x, [50.0])


def layers() -> list[Pursuit]:
    rng = np.random.default_rng(1)
    sizes = [(8, 12), (12, 10), (10, 6)]
    unit = [(d := rng.standard_normal(size)) / np.linalg.norm(d, axis=0) for size in sizes]
    return [
        Pursuit(unit[0], l1=0.05),
        Pursuit(unit[1], groups=equal_groups(10, 2), l2=0.05),
        Pursuit(unit[2], groups=equal_groups(6, 3), l1=0.02, l2=0.02),
    ]


def test_layers_code_the_codes_below() -> None:
    x = np.random.default_rng(2).standard_normal((4, 8))
    codes = LayeredPursuit(layers()).solve(x, tolerance=1e-12)
    signal = x
    for layer, found in zip(layers(), codes.layers, strict=True):
        np.testing.assert_array_equal(found.values, layer.solve(signal, tolerance=1e-12).values)
        signal = found.values
    np.testing.assert_array_equal(codes.values, signal)


def test_deep_codes_minimise_all_layers_together() -> None:
    """The cost written out layer by layer is at its minimum: below that of the layered codes, and of codes nearby."""
    x, rng = np.random.default_rng(2).standard_normal((4, 8)), np.random.default_rng(3)
    stack = layers()

    def cost(codes: list[np.ndarray]) -> np.ndarray:
        total, signal = np.zeros(len(x)), x
        for layer, values in zip(stack, codes, strict=True):
            total += layer.objective(signal, np.ascontiguousarray(values))
            signal = values
        return total

    deep = [c.values for c in DeepPursuit(stack).solve(x, tolerance=1e-13).layers]
    layered = [c.values for c in LayeredPursuit(stack).solve(x, tolerance=1e-12).layers]
    assert np.all(cost(deep) < cost(layered))
    for size in (1e-4, 1e-2, 1.0):
        for _ in range(10):
            near = [values + size * rng.standard_normal(values.shape) for values in deep]
            assert np.all(cost(near) >= cost(deep) - 1e-12)
    assert all(values.any() for values in deep)


@pytest.mark.parametrize("kind", [LayeredPursuit, DeepPursuit])
@pytest.mark.parametrize("pooled", [False, True])
def test_margins_of_stacks_have_the_slopes_of_differences(kind: Any, pooled: bool) -> None:
    rng = np.random.default_rng(4)
    weight = rng.standard_normal((2 if pooled else 6, 3))
    model = PursuitClassifier(kind(layers()), weight, np.zeros(3), pooled, tolerance=1e-13)
    x, labels = 2.0 * rng.standard_normal((6, 8)), rng.integers(0, 3, 6)
    gradient = model.margins(x, labels)[1]
    assert np.abs(gradient).max() > 1e-2
    step = 1e-4
    for k in range(8):
        moved = np.zeros(8)
        moved[k] = step
        numeric = (model.margins(x + moved, labels)[0] - model.margins(x - moved, labels)[0]) / (2.0 * step)
        np.testing.assert_allclose(gradient[:, k], numeric, atol=5e-3)
    made = ifgsm(model, x, labels, budget=0.3, norm="l2", steps=3)
    assert made.margins.mean() < model.margins(x, labels)[0].mean() - 0.01
    if pooled:
        codes = model.pursuit.solve(x).values
        np.testing.assert_allclose(model.scores(codes), group_norms(codes, equal_groups(6, 3)) @ weight)


def test_layers_must_fit() -> None:
    first, _, third = layers()
    with pytest.raises(
        ShapeError, match="layer 1 codes signals of 10 numbers, but the codes of layer 0 have 12"
    ):
        LayeredPursuit([first, third])
    with pytest.raises(ParameterError, match="no layers"):
        DeepPursuit([])


@pytest.mark.parametrize("kind", WEIGHTS)
def test_the_slope_of_the_dictionary_is_that_of_differences(kind: str) -> None:
    x, rng = signals(3), np.random.default_rng(5)
    cotangent = rng.standard_normal((3, 20))

    def value(dictionary: np.ndarray) -> float:
        codes = Pursuit(dictionary, **WEIGHTS[kind]).solve(x, tolerance=1e-15).values
        return float(np.sum(cotangent * codes))

    pursuit = Pursuit(PACKED, **WEIGHTS[kind])
    gradient = pursuit.dictionary_gradient(x, pursuit.solve(x, tolerance=1e-15), cotangent)
    for _ in range(10):
        direction = rng.standard_normal(PACKED.shape)
        numeric = (value(PACKED + 1e-6 * direction) - value(PACKED - 1e-6 * direction)) / 2e-6
        assert np.sum(gradient * direction) == pytest.approx(numeric, rel=2e-3, abs=2e-3)


@pytest.mark.parametrize("kind", WEIGHTS)
def test_the_residual_is_0_at_the_minimum_alone(kind: str) -> None:
    pursuit, x = Pursuit(PACKED, **WEIGHTS[kind]), signals(3)
    codes = pursuit.solve(x, tolerance=1e-15)
    assert pursuit.residual(x, codes).max() < 1e-7
    moved = codes.values.copy()
    moved[:, 4] += 0.1
    assert pursuit.residual(x, moved).min() > 0.05
