"""Group basis pursuit against independent solvers, the conditions of a minimum, and finite differences."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
import scipy.optimize
from hypothesis import given, settings

import evprop
from evprop.errors import ConvergenceError, DtypeError, ParameterError, ShapeError
from evprop.sparse import Pursuit, equal_groups, grassmannian, group_norms

WEIGHTS = {"l1": (0.15, 0.0), "l2": (0.0, 0.3), "mixed": (0.08, 0.2)}


def problem(seed: int, kind: str, batch: int = 4, spread: float = 0.0) -> tuple[Pursuit, np.ndarray]:
    """10 features, 18 atoms in 6 groups of unequal size in no order, weights that differ by up to 1 + spread."""
    rng = np.random.default_rng(seed)
    groups = rng.permutation(np.r_[np.arange(6), rng.integers(0, 6, 12)])
    l1, l2 = (w * rng.uniform(1.0, 1.0 + spread, 6) for w in WEIGHTS[kind])
    pursuit = Pursuit(rng.standard_normal((10, 18)) / np.sqrt(10), groups=groups, l1=l1, l2=l2)
    return pursuit, rng.standard_normal((batch, 10))


def dual_maximum(pursuit: Pursuit, x: np.ndarray) -> float:
    """The value of the dual problem by scipy's SLSQP: max x.t - ||t||^2 / 2 over all t that the penalty's dual norm allows.

    With c = D_G^T t, a group with l2 = 0 allows |c| <= l1, one with l2 > 0 allows ||soft(c, l1)|| <= l2, whose square is smooth.
    """
    d, groups = pursuit.dictionary, np.asarray(pursuit.groups)
    l1, cones = pursuit.l1[groups], pursuit.l2[0] > 0.0

    def room(t: np.ndarray) -> np.ndarray:
        c = d.T @ t
        if not cones:
            return np.concatenate([l1 - c, l1 + c])
        return pursuit.l2**2 - np.bincount(groups, np.maximum(np.abs(c) - l1, 0.0) ** 2)

    def room_slope(t: np.ndarray) -> np.ndarray:
        c = d.T @ t
        if not cones:
            return np.vstack([-d.T, d.T])
        by_atom = -2.0 * np.sign(c) * np.maximum(np.abs(c) - l1, 0.0)
        return np.array([d @ (by_atom * (groups == g)) for g in range(pursuit.n_groups)])

    found = scipy.optimize.minimize(
        lambda t: 0.5 * t @ t - x @ t,
        np.zeros(len(x)),
        jac=lambda t: t - x,
        constraints={"type": "ineq", "fun": room, "jac": room_slope},
        method="SLSQP",
        options={"maxiter": 1000, "ftol": 1e-14},
    )
    assert room(found.x).min() > -1e-9
    return -float(found.fun)


@pytest.mark.parametrize("kind", WEIGHTS)
@pytest.mark.parametrize("seed", range(3))
def test_the_minimum_is_that_of_scipy(kind: str, seed: int) -> None:
    pursuit, x = problem(seed, kind, batch=3, spread=1.0)
    ours = pursuit.objective(x, pursuit.solve(x, tolerance=1e-12).values)
    np.testing.assert_allclose(ours, [dual_maximum(pursuit, signal) for signal in x], rtol=0.0, atol=1e-7)


def coordinate_descent(pursuit: Pursuit, x: np.ndarray, sweeps: int = 3000) -> np.ndarray:
    """The lasso, one atom at a time (Wu & Lange 2008): each step is the exact minimum of its coordinate."""
    d, l1 = pursuit.dictionary, pursuit.l1[np.asarray(pursuit.groups)]
    a, r, squares = np.zeros(pursuit.n_atoms), x.copy(), np.sum(pursuit.dictionary**2, axis=0)
    for _ in range(sweeps):
        for k in range(len(a)):
            pull = d[:, k] @ r + squares[k] * a[k]
            new = np.sign(pull) * max(abs(pull) - l1[k], 0.0) / squares[k]
            r += d[:, k] * (a[k] - new)
            a[k] = new
    return a


def test_basis_pursuit_is_coordinate_descent() -> None:
    pursuit, x = problem(11, "l1", batch=1, spread=1.0)
    codes = pursuit.solve(x, tolerance=1e-14).values[0]
    reference = coordinate_descent(pursuit, x[0])
    assert np.array_equal(codes != 0.0, reference != 0.0)
    np.testing.assert_allclose(codes, reference, atol=1e-6)


@settings(max_examples=60)
@given(seed=st.integers(0, 2**32 - 1), kind=st.sampled_from(list(WEIGHTS)), spread=st.floats(0.0, 3.0))
def test_the_conditions_of_a_minimum(seed: int, kind: str, spread: float) -> None:
    """0 is in the subdifferential, group by group, written out apart from the solver."""
    pursuit, x = problem(seed, kind, batch=1, spread=spread)
    codes = pursuit.solve(x, tolerance=1e-14)
    a = codes.values[0]
    pull = pursuit.dictionary.T @ (x[0] - pursuit.dictionary @ a)
    for g in range(pursuit.n_groups):
        at = np.flatnonzero(np.asarray(pursuit.groups) == g)
        l1, l2, norm = pursuit.l1[g], pursuit.l2[g], np.linalg.norm(a[at])
        if norm == 0.0:
            assert np.linalg.norm(np.maximum(np.abs(pull[at]) - l1, 0.0)) <= l2 + 1e-5
        else:
            rest = pull[at] - l2 * a[at] / norm
            assert np.all(np.abs(rest) <= l1 + 1e-5)
            used = at[a[at] != 0.0]
            np.testing.assert_allclose(
                pull[used] - l2 * a[used] / norm, l1 * np.sign(a[used]), atol=1e-5
            )
    assert 0.0 <= codes.gaps[0] <= 1e-14 * 0.5 * x[0] @ x[0]


@settings(max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), kind=st.sampled_from(list(WEIGHTS)))
def test_the_gap_bounds_the_error(seed: int, kind: str) -> None:
    pursuit, x = problem(seed, kind, batch=2)
    rough, fine = pursuit.solve(x, tolerance=1e-2), pursuit.solve(x, tolerance=1e-14)
    above = pursuit.objective(x, rough.values) - pursuit.objective(x, fine.values)
    assert np.all(above <= rough.gaps + 1e-12)
    assert np.all(above >= -1e-12)


@settings(max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), kind=st.sampled_from(list(WEIGHTS)), scale=st.floats(1e-3, 1e3))
def test_scaling_and_renaming(seed: int, kind: str, scale: float) -> None:
    """Signals and weights times c: codes times c. Atoms in another order, groups renamed: the same codes."""
    pursuit, x = problem(seed, kind, batch=2)
    codes = pursuit.solve(x, tolerance=1e-14).values
    scaled = Pursuit(pursuit.dictionary, groups=pursuit.groups, l1=scale * pursuit.l1, l2=scale * pursuit.l2)
    np.testing.assert_allclose(scaled.solve(scale * x, tolerance=1e-14).values / scale, codes, atol=1e-6)
    rng = np.random.default_rng(seed)
    order, names = rng.permutation(18), rng.permutation(6)
    other = Pursuit(
        np.ascontiguousarray(pursuit.dictionary[:, order]),
        groups=names[np.asarray(pursuit.groups)][order],
        l1=pursuit.l1[np.argsort(names)],
        l2=pursuit.l2[np.argsort(names)],
    )
    np.testing.assert_allclose(other.solve(x, tolerance=1e-14).values, codes[:, order], atol=1e-6)


@pytest.mark.parametrize("kind", WEIGHTS)
def test_derivatives_are_those_of_differences(kind: str) -> None:
    pursuit, x = problem(5, kind, batch=6, spread=0.5)
    weights = np.random.default_rng(0).standard_normal((6, 18))
    value = lambda x: np.sum(weights * pursuit.solve(x, tolerance=1e-15).values, axis=1)  # noqa: E731
    pulled = pursuit.backward(pursuit.solve(x, tolerance=1e-15), weights)
    step = 1e-4
    for k in range(10):
        moved = np.zeros(10)
        moved[k] = step
        numeric = (value(x + moved) - value(x - moved)) / (2.0 * step)
        np.testing.assert_allclose(pulled[:, k], numeric, atol=2e-3)


@pytest.mark.parametrize("kind", WEIGHTS)
def test_derivatives_are_those_of_a_second_method(kind: str) -> None:
    """The dense Hessian of the cost on the support, by complex steps, and numpy's solver."""
    pursuit, x = problem(6, kind, batch=1, spread=0.5)
    codes = pursuit.solve(x, tolerance=1e-15).values
    weights = np.random.default_rng(1).standard_normal((1, 18))
    used = np.flatnonzero(codes[0])
    groups = np.asarray(pursuit.groups)[used]
    atoms, l1, l2 = pursuit.dictionary[:, used], pursuit.l1[groups], pursuit.l2[groups]

    def slope(a: np.ndarray) -> np.ndarray:
        squares = np.zeros(pursuit.n_groups, dtype=complex)
        np.add.at(squares, groups, a * a)
        return atoms.T @ (atoms @ a - x[0]) + l1 * np.sign(a.real) + l2 * a / np.sqrt(squares[groups])

    hessian = np.array([slope(codes[0, used] + 1e-30j * e).imag / 1e-30 for e in np.eye(len(used))])
    expected = atoms @ np.linalg.solve(hessian, weights[0, used])
    np.testing.assert_allclose(pursuit.backward(codes, weights)[0], expected, rtol=1e-9, atol=1e-12)


def test_threads_and_batches_change_no_bit() -> None:
    pursuit, x = problem(7, "mixed", batch=70)
    threads = evprop.num_threads()
    try:
        evprop.set_num_threads(1)
        codes = pursuit.solve(x).values
        pulled = pursuit.backward(codes, codes)
        evprop.set_num_threads(3)
        assert pursuit.solve(x).values.tobytes() == codes.tobytes()
        assert pursuit.backward(codes, codes).tobytes() == pulled.tobytes()
    finally:
        evprop.set_num_threads(threads)
    assert pursuit.solve(x[31:32]).values.tobytes() == codes[31:32].tobytes()


def test_a_start_nearby_saves_iterations() -> None:
    pursuit, x = problem(8, "l2", batch=20)
    cold = pursuit.solve(x, tolerance=1e-10)
    warm = pursuit.solve(x + 1e-3, start=cold.values, tolerance=1e-10)
    again = pursuit.solve(x, start=cold.values, tolerance=1e-10)
    assert warm.iterations.sum() < 0.8 * cold.iterations.sum()
    assert np.all(again.iterations == 0)
    np.testing.assert_array_equal(again.values, cold.values)


def test_signals_below_the_weights_have_no_code() -> None:
    pursuit, x = problem(9, "l2")
    codes = pursuit.solve(1e-3 * x)
    assert not codes.values.any()
    assert not codes.iterations.any()
    assert not pursuit.backward(codes, np.ones((4, 18))).any()
    assert pursuit.solve(np.zeros((0, 10))).values.shape == (0, 18)


def test_group_norms() -> None:
    codes = np.array([[3.0, 1.0, 4.0, 0.0]])
    np.testing.assert_array_equal(group_norms(codes, [0, 1, 0, 2]), [[5.0, 1.0, 0.0]])
    np.testing.assert_array_equal(equal_groups(6, 2), [0, 0, 1, 1, 2, 2])


@pytest.mark.parametrize(("n_features", "n_atoms"), [(4, 7), (6, 15), (5, 5)])
def test_packings_are_nearer_to_the_bound_than_their_start(n_features: int, n_atoms: int) -> None:
    def coherence(d: np.ndarray) -> float:
        return float(np.abs(d.T @ d - np.eye(n_atoms)).max())

    start = grassmannian(n_features, n_atoms, seed=3, n_iterations=0)
    packed = grassmannian(n_features, n_atoms, seed=3, n_iterations=60)
    np.testing.assert_allclose(np.linalg.norm(packed, axis=0), 1.0)
    welch = np.sqrt((n_atoms - n_features) / (n_features * (n_atoms - 1)))
    assert welch - 1e-12 <= coherence(packed) < welch + 0.5 * (coherence(start) - welch)
    np.testing.assert_array_equal(packed, grassmannian(n_features, n_atoms, seed=3, n_iterations=60))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"dictionary": np.ones(4)}, ShapeError, r"\(4,\); \(n_features, n_atoms\)"),
        ({"dictionary": np.ones((2, 4), np.float32)}, DtypeError, "float32"),
        ({"dictionary": np.zeros((2, 4))}, ParameterError, "atom 0 of the dictionary is 0"),
        ({"dictionary": np.full((2, 4), np.nan)}, ParameterError, r"dictionary\[0\] = NaN"),
        ({"groups": [0, 1]}, ShapeError, r"\(2,\); \(4,\)"),
        ({"groups": [0, 1, 1, 0.5]}, DtypeError, "float64; integers"),
        ({"groups": [0, 1, -1, 0]}, ParameterError, "holds -1"),
        ({"groups": [0, 0, 2, 2]}, ParameterError, "group 1 has no atom"),
        ({"groups": [0, 0, 1, 9]}, ParameterError, "holds 9, but 4 atoms"),
        ({"l2": 0.0}, ParameterError, "group 0 has l1 = l2 = 0"),
        ({"l2": -1.0}, ParameterError, r"l2\[0\] = -1"),
        ({"l1": [1.0, 2.0, 3.0]}, ShapeError, r"l1 has shape \(3,\)"),
        ({"l1": "large"}, ParameterError, "'large'"),
    ],
)
def test_bad_problems(changes: dict[str, Any], error: type[Exception], message: str) -> None:
    good = {"dictionary": np.array([[1.0, 0.0, 1.0, 2.0], [0.0, 1.0, 1.0, 1.0]]), "groups": [0, 1, 0, 1], "l2": 0.1}
    Pursuit(**good)
    with pytest.raises(error, match=message):
        Pursuit(**good | changes)


def test_bad_signals() -> None:
    pursuit, x = problem(0, "l1")
    with pytest.raises(ShapeError, match=r"x has shape \[4, 9\]; \[samples, 10\]"):
        pursuit.solve(np.ones((4, 9)))
    with pytest.raises(DtypeError, match="float32"):
        pursuit.solve(x.astype(np.float32))
    with pytest.raises(ParameterError, match=r"x\[3\] = inf"):
        pursuit.solve(np.where(np.arange(10) == 3, np.inf, x))
    with pytest.raises(ParameterError, match="codes for 1 samples, x has 4"):
        pursuit.solve(x, start=np.zeros((1, 18)))
    with pytest.raises(ParameterError, match="max_iterations is -1"):
        pursuit.solve(x, max_iterations=-1)
    with pytest.raises(ParameterError, match="tolerance"):
        pursuit.solve(x, tolerance=0.0)
    with pytest.raises(ConvergenceError, match=r"sample 0: the duality gap is .* after 3 iterations; allow more"):
        pursuit.solve(x, max_iterations=3)
    with pytest.raises(ShapeError, match="cotangents"):
        pursuit.backward(pursuit.solve(x), np.ones((4, 10)))
    with pytest.raises(ParameterError, match="no whole number of groups of 4"):
        equal_groups(18, 4)
    with pytest.raises(ParameterError, match="3 atoms in 4 dimensions"):
        grassmannian(4, 3, seed=0)
    with pytest.raises(DtypeError, match="list"):
        group_norms([[1.0]], [0])
