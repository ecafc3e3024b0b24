"""Classifiers of sparse codes, attacks on them, and what coherence promises."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from evprop.errors import ConfigError, ParameterError, ShapeError, TargetError
from evprop.sparse import (
    Pursuit,
    PursuitClassifier,
    block_coherence,
    coherence,
    equal_groups,
    grassmannian,
    group_norms,
    group_sparsity_limit,
    ifgsm,
    sparsity_limit,
    sub_coherence,
)


def classifier(pooled: bool, l1: float = 0.05, l2: float = 0.1, tolerance: float = 1e-14) -> PursuitClassifier:
    rng = np.random.default_rng(4)
    dictionary = rng.standard_normal((10, 16)) / np.sqrt(10)
    pursuit = Pursuit(dictionary, groups=equal_groups(16, 4), l1=l1, l2=l2)
    weight = rng.standard_normal((4 if pooled else 16, 3))
    return PursuitClassifier(pursuit, weight, rng.standard_normal(3), pooled, tolerance)


def signals(batch: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    return rng.standard_normal((batch, 10)), rng.integers(0, 3, batch)


@pytest.mark.parametrize("pooled", [False, True])
def test_scores_and_margins(pooled: bool) -> None:
    model = classifier(pooled)
    x, labels = signals(20)
    codes = model.pursuit.solve(x, tolerance=1e-14).values
    features = group_norms(codes, model.pursuit.groups) if pooled else codes
    scores = features @ model.weight + model.bias
    np.testing.assert_array_equal(model.predict(x), scores.argmax(axis=1))
    margins = model.margins(x, labels)[0]
    for row, label, margin in zip(scores, labels, margins, strict=True):
        assert margin == pytest.approx(row[label] - max(np.delete(row, label)))
    np.testing.assert_array_equal(margins > 0.0, model.predict(x) == labels)


@pytest.mark.parametrize("pooled", [False, True])
def test_margins_have_the_slopes_of_differences(pooled: bool) -> None:
    model = classifier(pooled, tolerance=1e-15)
    x, labels = signals(6)
    gradient = model.margins(x, labels)[1]
    step = 1e-4
    for k in range(10):
        moved = np.zeros(10)
        moved[k] = step
        numeric = (model.margins(x + moved, labels)[0] - model.margins(x - moved, labels)[0]) / (2.0 * step)
        np.testing.assert_allclose(gradient[:, k], numeric, atol=5e-3)
    assert np.abs(gradient).max() > 0.1


@pytest.mark.parametrize("norm", ["l2", "linf"])
@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize("step_size", [None, 0.2])
def test_attacks_stay_in_their_ball_and_lower_margins(norm: str, pooled: bool, step_size: float | None) -> None:
    model = classifier(pooled, tolerance=1e-10)
    x, labels = signals(40)
    before = model.margins(x, labels)[0]
    made = ifgsm(model, x, labels, budget=0.3, norm=norm, steps=6, step_size=step_size)
    offset = made.x - x
    length = np.abs(offset).max(axis=1) if norm == "linf" else np.linalg.norm(offset, axis=1)
    assert np.all(length <= 0.3 * (1.0 + 1e-12))
    assert length.max() > 0.29
    assert np.mean(made.margins < before) > 0.9
    assert made.margins.mean() < before.mean() - 0.1
    np.testing.assert_array_equal(made.fooled, model.predict(made.x) != labels)
    np.testing.assert_allclose(made.margins, model.margins(made.x, labels)[0], atol=1e-3)


def test_one_small_step_costs_what_the_gradient_says() -> None:
    """To first order a step of length a lowers the margin by a ||g||_2, or a ||g||_1 in l-infinity."""
    model = classifier(True, tolerance=1e-15)
    x, labels = signals(12)
    before, gradient, _ = model.margins(x, labels)
    for norm, order in (("l2", 2), ("linf", 1)):
        made = ifgsm(model, x, labels, budget=1e-4, norm=norm, steps=1)
        lost = (before - made.margins) / 1e-4
        np.testing.assert_allclose(lost, np.linalg.norm(gradient, ord=order, axis=1), rtol=0.02, atol=5e-3)


def test_no_budget_changes_nothing() -> None:
    model = classifier(True)
    x, labels = signals(5)
    made = ifgsm(model, x, labels, budget=0.0, norm="l2", steps=3)
    np.testing.assert_array_equal(made.x, x)
    silent = ifgsm(classifier(True, l2=100.0), x, labels, budget=1.0, norm="l2", steps=2)
    np.testing.assert_array_equal(silent.x, x)  # no group in use: no gradient


def test_bad_arguments() -> None:
    model, (x, labels) = classifier(True), signals(3)
    with pytest.raises(ConfigError, match="'l1'"):
        ifgsm(model, x, labels, budget=1.0, norm="l1", steps=3)
    with pytest.raises(ParameterError, match="budget is -1"):
        ifgsm(model, x, labels, budget=-1.0, norm="l2", steps=3)
    with pytest.raises(ParameterError, match="steps is 0"):
        ifgsm(model, x, labels, budget=1.0, norm="l2", steps=0)
    with pytest.raises(ParameterError, match="step_size is nan"):
        ifgsm(model, x, labels, budget=1.0, norm="l2", steps=1, step_size=float("nan"))
    with pytest.raises(TargetError, match="sample 1 has label 3; labels must be 0 to 2"):
        model.margins(x, [0, 3, 1])
    with pytest.raises(TargetError, match=r"shape \(2,\); integers of shape \(3,\)"):
        model.margins(x, [0, 1])
    with pytest.raises(ShapeError, match=r"weight has shape \(16, 3\); \(4, "):
        PursuitClassifier(model.pursuit, np.ones((16, 3)), np.ones(3), True)
    with pytest.raises(ShapeError, match=r"bias has shape \(2,\)"):
        PursuitClassifier(model.pursuit, model.weight, np.ones(2), True)
    with pytest.raises(ParameterError, match="atom 0 has norm 2"):
        coherence(2.0 * np.eye(3))
    with pytest.raises(ParameterError, match="groups have 1 to 2 atoms"):
        block_coherence(np.eye(3), [0, 0, 1])


def test_coherence_by_hand() -> None:
    root = np.sqrt(0.5)
    d = np.array([[1.0, 0.0, root, 0.6], [0.0, 1.0, root, 0.8]])
    assert coherence(d) == pytest.approx(0.7 * np.sqrt(2.0))
    assert sub_coherence(d, [0, 0, 1, 2]) == 0.0
    assert sub_coherence(d, [0, 1, 1, 2]) == pytest.approx(root)
    blocks = np.linalg.norm(d[:, :2].T @ d[:, 2:], ord=2) / 2.0
    assert block_coherence(d, [0, 0, 1, 1]) == pytest.approx(blocks)
    assert block_coherence(d, [0, 1, 2, 3]) == pytest.approx(coherence(d))
    assert group_sparsity_limit(np.eye(4), [0, 0, 1, 1]) == np.inf
    assert sparsity_limit(np.eye(4)) == np.inf
    assert sparsity_limit(d) == pytest.approx((1.0 + 1.0 / (0.7 * np.sqrt(2.0))) / 3.0)


PACKED = grassmannian(24, 32, seed=1, n_iterations=100)
LIMIT = sparsity_limit(PACKED)


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    noise=st.floats(1e-3, 10.0),
    n_active=st.integers(1, int(np.ceil(LIMIT)) - 1),
)
def test_basis_pursuit_is_stable_inside_its_bound(seed: int, noise: float, n_active: int) -> None:
    assert LIMIT > 2.0  # more than the trivial case
    rng = np.random.default_rng(seed)
    code = np.zeros(32)
    code[rng.choice(32, n_active, replace=False)] = rng.choice([-1.0, 1.0], n_active) * rng.uniform(0.0, 20.0 * noise)
    error = rng.standard_normal(24)
    error *= noise / np.linalg.norm(error)
    found = Pursuit(PACKED, l1=4.0 * noise).solve((PACKED @ code + error)[None], tolerance=1e-13).values[0]
    assert not np.any(found[code == 0.0])
    assert np.abs(found - code).max() < 7.5 * noise
    assert np.all(found[np.abs(code) > 7.5 * noise] != 0.0)


def orthogonal_blocks(seed: int) -> np.ndarray:
    """24 groups of 2 in 32 dimensions: the first 16 are an orthonormal basis, the others are turned into it evenly."""
    rng = np.random.default_rng(seed)
    hadamard = np.ones((1, 1))
    for _ in range(4):
        hadamard = np.block([[hadamard, hadamard], [hadamard, -hadamard]])
    turn = np.linalg.qr(rng.standard_normal((2, 2)))[0]
    return np.hstack([np.eye(32), np.kron(hadamard / 4.0, turn)[:, :16]])


@settings(max_examples=40)
@given(seed=st.integers(0, 2**32 - 1), weight=st.floats(1e-3, 10.0), n_active=st.integers(1, 2))
def test_groups_inside_the_bound_are_recovered(seed: int, weight: float, n_active: int) -> None:
    """Without noise no group outside enters, whatever the weight; and all enter where it is small."""
    groups, dictionary = equal_groups(48, 2), orthogonal_blocks(seed)
    assert n_active < group_sparsity_limit(dictionary, groups)
    rng = np.random.default_rng(seed)
    active = np.isin(groups, rng.choice(24, n_active, replace=False))
    code = np.where(active, rng.uniform(1.0, 2.0, 48) * rng.choice([-1.0, 1.0], 48), 0.0)
    x = (dictionary @ code)[None]
    found = Pursuit(dictionary, groups=groups, l2=weight).solve(x, tolerance=1e-13).values[0]
    assert not np.any(found[~active])
    small = Pursuit(dictionary, groups=groups, l2=1e-3).solve(x, tolerance=1e-13).values[0]
    assert np.all(small[active] != 0.0)
    np.testing.assert_allclose(small, code, atol=1e-2)
