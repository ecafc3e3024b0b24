"""Feed-forward stand-ins for pooled codes: they learn them, and can be attacked like what they stand in for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from evprop.errors import ParameterError, ShapeError
from evprop.sparse import Pursuit, PursuitClassifier, equal_groups, grassmannian, group_norms, ifgsm

torch = pytest.importorskip("torch", reason="stand-ins need PyTorch, which an extra brings")

from evprop.interop.torch import (  # noqa: E402
    DenseStandIn,
    LinearTransformerStandIn,
    StandInClassifier,
    train_stand_in,
)

GROUPS = equal_groups(24, 4)
PURSUIT = Pursuit(grassmannian(12, 24, seed=0, n_iterations=30), groups=GROUPS, l2=0.1)


def signals(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Signals of one group, and their pooled codes."""
    rng = np.random.default_rng(seed)
    used = rng.integers(0, 6, n)[:, None] == GROUPS
    x = (used * rng.uniform(1.0, 2.0, (n, 24))) @ PURSUIT.dictionary.T
    return x, group_norms(PURSUIT.solve(x, tolerance=1e-6).values, GROUPS)


def models() -> dict[str, Any]:
    torch.manual_seed(0)
    return {
        "dense": DenseStandIn(12, 6),
        "deep": DenseStandIn(12, 6, hidden=(32, 32)),
        "transformer": LinearTransformerStandIn(12, 6, tokens=3, width=16, heads=2, depth=1),
    }


@pytest.mark.parametrize("name", models())
def test_they_learn_the_pooled_codes(name: str) -> None:
    model, (x, pooled), (x_test, test) = models()[name], signals(600, 1), signals(200, 2)
    losses = train_stand_in(model, x, pooled, epochs=20, batch_size=50, lr=1e-2, seed=0)
    assert losses[-1] < 0.5 * losses[0]
    assert not model.training
    with torch.no_grad():
        found = model(torch.as_tensor(x_test, dtype=torch.float32)).numpy()
    assert found.shape == (200, 6)
    assert found.min() >= 0.0
    assert np.mean((found - test) ** 2) < 0.5 * np.var(test, axis=0).mean()
    assert np.mean(found.argmax(axis=1) == test.argmax(axis=1)) > 0.7


def test_the_seed_decides_the_order() -> None:
    (x, pooled), found = signals(200, 1), []
    for seed in (3, 3, 4):
        found.append(train_stand_in(models()["dense"], x, pooled, epochs=2, batch_size=50, lr=1e-2, seed=seed))
    assert found[0] == found[1] != found[2]


@pytest.mark.parametrize("name", models())
def test_the_unit_of_signals_and_codes_does_not_matter(name: str) -> None:
    (x, pooled), found = signals(200, 1), []
    how = {"epochs": 3, "batch_size": 50, "lr": 1e-2, "seed": 0}
    for small, few in ((1.0, 1.0), (2.0**-10, 2.0**-6)):
        model = models()[name]
        losses = train_stand_in(model, small * x, few * pooled, **how)
        with torch.no_grad():
            found.append((losses, model(torch.as_tensor(small * x, dtype=torch.float32)).numpy() / few))
    assert found[0][0] == found[1][0]
    np.testing.assert_array_equal(found[0][1], found[1][1])


def test_attention_is_linear_attention() -> None:
    """One block written out token by token with numpy."""
    model = models()["transformer"].double().eval()
    block = model.blocks[0]
    h = torch.randn(1, 3, 16, dtype=torch.float64)
    normed = block.norms[0](h)[0].detach().numpy()
    weights, bias = (p.detach().numpy() for p in block.query_key_value.parameters())
    q, k, v = np.split(normed @ weights.T + bias, 3, axis=1)
    phi = lambda z: np.where(z > 0.0, z, np.expm1(z)) + 1.0  # noqa: E731
    out = np.zeros((3, 16))
    for head in range(2):
        part = slice(8 * head, 8 * head + 8)
        for i in range(3):
            pull = np.array([phi(q[i, part]) @ phi(k[j, part]) for j in range(3)])
            out[i, part] = pull @ v[:, part] / pull.sum()
    joined = h[0] + block.join(torch.as_tensor(out))
    expected = joined + block.feed(block.norms[1](joined))
    np.testing.assert_allclose(block(h)[0].detach().numpy(), expected.detach().numpy(), rtol=1e-10)


def test_they_can_be_attacked() -> None:
    (x, pooled), rng = signals(300, 1), np.random.default_rng(0)
    model = models()["deep"]
    train_stand_in(model, x, pooled, epochs=10, batch_size=50, lr=1e-2, seed=0)
    weight, bias = rng.standard_normal((6, 3)), np.zeros(3)
    top = StandInClassifier(model, weight, bias)
    truth = PursuitClassifier(PURSUIT, weight, bias, pooled=True, tolerance=1e-6)
    labels = truth.predict(x)
    assert np.mean(top.predict(x) == labels) > 0.7
    margins, slopes, _ = top.margins(x, labels)
    np.testing.assert_array_equal(margins > 0.0, top.predict(x) == labels)
    moved = x + 1e-3 * np.sign(slopes)
    better = (top.margins(moved, labels)[0] > margins)[slopes.any(axis=1)]  # without slope: no group in use
    assert better.mean() > 0.95
    assert len(better) > 200
    made = ifgsm(top, x, labels, budget=0.5, norm="l2", steps=5)
    assert made.margins.mean() < margins.mean() - 0.1
    assert np.all(np.linalg.norm(made.x - x, axis=1) <= 0.5 * (1.0 + 1e-9))


def test_bad_arguments() -> None:
    with pytest.raises(ParameterError, match="12 numbers cannot be cut into 5"):
        LinearTransformerStandIn(12, 6, tokens=5, width=16, heads=2, depth=1)
    with pytest.raises(ParameterError, match="width is 16 and heads is 3"):
        LinearTransformerStandIn(12, 6, tokens=3, width=16, heads=3, depth=1)
    x, pooled = signals(10, 0)
    with pytest.raises(ShapeError, match="10 samples and pooled 9"):
        train_stand_in(models()["dense"], x, pooled[:9], epochs=1, batch_size=5, lr=1e-2, seed=0)
    with pytest.raises(ParameterError, match="and 0; both must be above 0"):
        train_stand_in(models()["dense"], x + 1.0, 0.0 * pooled, epochs=1, batch_size=5, lr=1e-2, seed=0)
    with pytest.raises(ParameterError, match="batch_size 1"):
        train_stand_in(models()["dense"], x, pooled, epochs=1, batch_size=1, lr=1e-2, seed=0)
