from __future__ import annotations

import time
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evprop.errors import ConfigError, DtypeError, ParameterError, ShapeError, TrainingError
from evprop.optim import (
    SGD,
    Adam,
    AdamW,
    Average,
    Constant,
    CosineDecay,
    EaseIn,
    ExponentialDecay,
    Log,
    Sigmoid,
    StepDecay,
)


def some(dtype="float64", seed=0):
    rng = np.random.default_rng(seed)
    params = {
        "a_b.weight": rng.normal(size=(4, 3)),
        "a_b.delay": rng.uniform(0.5, 5.0, size=(4, 1)),
        "b.tau_mem": rng.uniform(5.0, 20.0, size=3),
        "b.v_th": np.ones(3),
        "b.v_reset": np.zeros(3),
        "b.v_init": np.zeros(3),
    }
    params = {name: value.astype(dtype) for name, value in params.items()}
    return SimpleNamespace(trainable=("a_b.weight", "a_b.delay", "b.tau_mem")), params


def gradients(params, seed=1, scale=1.0):
    rng = np.random.default_rng(seed)
    return {n: (scale * rng.normal(size=p.shape)).astype(p.dtype) for n, p in params.items()}


def naive_adam(params, grads_of, steps, lr, b1=0.9, b2=0.999, eps=1e-8):
    """Kingma & Ba 2015, algorithm 1, array by array."""
    params = {n: p.copy() for n, p in params.items()}
    m = {n: np.zeros_like(p) for n, p in params.items()}
    v = {n: np.zeros_like(p) for n, p in params.items()}
    for t in range(1, steps + 1):
        for name, g in grads_of(t).items():
            m[name] = b1 * m[name] + (1 - b1) * g
            v[name] = b2 * v[name] + (1 - b2) * g**2
            m_hat, v_hat = m[name] / (1 - b1**t), v[name] / (1 - b2**t)
            params[name] = params[name] - lr(t, name) * m_hat / (np.sqrt(v_hat) + eps)
    return params


def test_adam_is_the_published_algorithm():
    net, params = some()
    wanted = naive_adam(params, lambda t: gradients(params, t), 20, lambda t, name: 1e-2)
    adam = Adam(1e-2)
    state = adam.init(net, params)
    for t in range(1, 21):
        adam.step(params, gradients(params, t), state)
    for name in net.trainable:
        np.testing.assert_allclose(params[name], wanted[name], rtol=1e-12)
    assert state["step"] == 20


def test_parameters_change_in_place_and_only_the_trainable_ones():
    net, params = some()
    before = {n: p.copy() for n, p in params.items()}
    arrays = dict(params)
    adam = Adam(1e-2)
    adam.step(params, gradients(params), adam.init(net, params))
    for name in params:
        assert params[name] is arrays[name]
        assert np.array_equal(params[name], before[name]) == (name not in net.trainable)


def test_sgd_momentum_and_nesterov():
    net, params = some()
    for nesterov in (False, True):
        mine = {n: p.copy() for n, p in params.items()}
        sgd = SGD(0.01, momentum=0.9, nesterov=nesterov)
        state = sgd.init(net, mine)
        w, u = params["a_b.weight"].copy(), 0.0
        for t in range(5):
            grads = gradients(params, t)
            sgd.step(mine, grads, state)
            u = 0.9 * u + grads["a_b.weight"]
            w = w - 0.01 * (grads["a_b.weight"] + 0.9 * u if nesterov else u)
        np.testing.assert_allclose(mine["a_b.weight"], w, rtol=1e-12)
    plain, state = SGD(0.5), None
    state = plain.init(net, params)
    before = params["a_b.weight"].copy()
    grads = gradients(params)
    plain.step(params, grads, state)
    np.testing.assert_allclose(params["a_b.weight"], before - 0.5 * grads["a_b.weight"], rtol=1e-14)
    assert set(state) == {"step", "epoch", "scale", "grad_norm", "preimages"}


def test_adamw_decays_weights_only():
    net, params = some()
    twin = {n: p.copy() for n, p in params.items()}
    grads = gradients(params)
    decayed, plain = AdamW(1e-2, weight_decay=0.1), Adam(1e-2)
    decayed.step(params, grads, decayed.init(net, params))
    before = twin["a_b.weight"].copy()
    plain.step(twin, grads, plain.init(net, twin))
    np.testing.assert_allclose(params["a_b.weight"], twin["a_b.weight"] - 1e-2 * 0.1 * before, rtol=1e-12)
    np.testing.assert_array_equal(params["a_b.delay"], twin["a_b.delay"])
    asked = AdamW(1e-2, weight_decay=0.0, groups={"*.delay": {"weight_decay": 0.5}})
    twin2 = {n: p.copy() for n, p in params.items()}
    asked.step(params, grads, asked.init(net, params))
    plain.step(twin2, grads, plain.init(net, twin2))
    assert not np.array_equal(params["a_b.delay"], twin2["a_b.delay"])
    np.testing.assert_array_equal(params["a_b.weight"], twin2["a_b.weight"])


def test_groups_have_rates_and_schedules_of_their_own():
    net, params = some()
    adam = Adam(
        1e-3,
        schedule=StepDecay(2, 0.5),
        groups={"*.delay": {"lr": 0.1, "schedule": ExponentialDecay(0.9)}, "a_*": {"lr": 1e-2}},
    )
    state = adam.init(net, params)
    rates = {"a_b.weight": 1e-2, "a_b.delay": 0.1, "b.tau_mem": 1e-3}

    def lr(t, name):
        epoch = t - 1
        return rates[name] * (0.9**epoch if name.endswith("delay") else 0.5 ** (epoch // 2))

    wanted = naive_adam(
        {n: params[n] for n in rates}, lambda t: {n: gradients(params, t)[n] for n in rates}, 6, lr
    )
    for t in range(1, 7):
        state["epoch"] = t - 1
        adam.step(params, gradients(params, t), state)
    for name in rates:
        np.testing.assert_allclose(params[name], wanted[name], rtol=1e-12)
    assert adam.learning_rates(state) == pytest.approx(
        {"*.delay": 0.1 * 0.9**5, "a_*": 1e-2 / 4, "*": 1e-3 / 4}
    )


@pytest.mark.parametrize(
    ("schedule", "factors"),
    [
        (Constant(), [1, 1, 1, 1]),
        (StepDecay(2, 0.5), [1, 1, 0.5, 0.5]),
        (ExponentialDecay(0.5), [1, 0.5, 0.25, 0.125]),
        (ExponentialDecay(0.5, start=1), [1, 1, 0.5, 0.25]),
        (CosineDecay(2, final=0.2), [1, 0.6, 0.2, 0.2]),
    ],
)
def test_schedules(schedule, factors):
    assert [schedule(0, epoch) for epoch in range(4)] == pytest.approx(factors)


def test_schedule_by_steps():
    assert [StepDecay(2, 0.5, per="step")(s, 7) for s in range(4)] == [1, 1, 0.5, 0.5]
    for bad in (lambda: StepDecay(0, 0.5), lambda: ExponentialDecay(-1.0), lambda: CosineDecay(3, per="day")):
        with pytest.raises(ConfigError):
            bad()


def test_clipping_by_the_global_norm():
    net, params = some()
    grads = gradients(params)
    norm = np.sqrt(sum((grads[n] ** 2).sum() for n in net.trainable))
    before = {n: params[n].copy() for n in net.trainable}
    sgd = SGD(1.0, clip_norm=0.1, tau_min=1e-9)
    state = sgd.init(net, params)
    sgd.step(params, grads, state)
    assert state["grad_norm"] == pytest.approx(norm)
    for n in net.trainable:
        np.testing.assert_allclose(before[n] - params[n], 0.1 / norm * grads[n], rtol=1e-9)


def test_projections_keep_parameters_legal():
    net, params = some()
    net.trainable = ("a_b.delay", "b.tau_mem", "b.v_th", "b.v_reset")
    sgd = SGD(1e6, tau_min=0.2, min_swing=0.05)
    state = sgd.init(net, params)
    for k in range(10):
        sgd.step(params, gradients(params, k), state)
        assert (params["a_b.delay"] >= 0).all()
        assert (params["b.tau_mem"] >= 0.2).all()
        assert (params["b.v_reset"] <= params["b.v_th"] - 0.05 + 1e-9 * abs(params["b.v_th"])).all()
        assert (params["b.v_init"] < params["b.v_th"]).all()


def test_v_th_alone_moves_above_a_fixed_reset():
    net, params = some()
    net.trainable = ("b.v_th",)
    sgd = SGD(1.0)
    sgd.step(params, {"b.v_th": np.full(3, 5.0)}, sgd.init(net, params))
    np.testing.assert_allclose(params["b.v_th"], 1e-3)
    np.testing.assert_array_equal(params["b.v_reset"], 0.0)


def test_bounds_of_a_group():
    net, params = some()
    sgd = SGD(1.0, groups={"*.delay": {"min": -3.0, "max": 4.0}})
    state = sgd.init(net, params)
    sgd.step(params, {n: np.full_like(params[n], -100.0) for n in net.trainable}, state)
    np.testing.assert_array_equal(params["a_b.delay"], 4.0)
    sgd.step(params, {n: np.full_like(params[n], 100.0) for n in net.trainable}, state)
    np.testing.assert_array_equal(params["a_b.delay"], 0.0)  # a delay stays >= 0 whatever the group says


@pytest.mark.parametrize("mapping", [Log(), Sigmoid(0.0, 6.0), Sigmoid(-1.0, 30.0)])
def test_maps_are_consistent(mapping):
    value = np.linspace(0.3, 5.7, 13)
    theta = mapping.inverse(value, "x")
    np.testing.assert_allclose(mapping.forward(theta), value, rtol=1e-13)
    h = 1e-6
    numeric = (mapping.forward(theta + h) - mapping.forward(theta - h)) / (2 * h)
    np.testing.assert_allclose(mapping.slope(value), numeric, rtol=1e-8)
    assert np.isfinite(mapping.forward(np.array([-700.0, 700.0]))).all()


def test_a_mapped_parameter_moves_in_its_free_variable():
    net, params = some()
    sigmoid = Sigmoid(0.0, 6.0)
    sgd = SGD(0.1, groups={"*.delay": {"map": sigmoid}})
    state = sgd.init(net, params)
    theta = sigmoid.inverse(params["a_b.delay"], "d")
    grads = gradients(params)
    sgd.step(params, grads, state)
    theta = theta - 0.1 * grads["a_b.delay"] * sigmoid.slope(sigmoid.forward(theta))
    np.testing.assert_allclose(params["a_b.delay"], sigmoid.forward(theta), rtol=1e-12)
    np.testing.assert_allclose(state["preimages"], theta.ravel(), rtol=1e-12)
    for k in range(200):
        sgd.step(params, gradients(params, k, 1e3), state)
        assert ((params["a_b.delay"] >= 0) & (params["a_b.delay"] <= 6)).all()


def test_a_mapped_parameter_set_by_hand_is_taken_over():
    net, params = some()
    sgd = SGD(0.1, groups={"*.delay": {"map": Log()}})
    state = sgd.init(net, params)
    params["a_b.delay"][...] = 2.0
    sgd.step(params, {n: np.zeros_like(params[n]) for n in net.trainable}, state)
    np.testing.assert_allclose(params["a_b.delay"], 2.0, rtol=1e-14)


def test_a_map_refuses_values_outside_its_range():
    net, params = some()
    params["a_b.delay"][0] = 0.0
    with pytest.raises(ParameterError, match=r"a_b\.delay: 1 of 4 values .*0\.0.*strictly between"):
        SGD(0.1, groups={"*.delay": {"map": Log()}}).init(net, params)
    with pytest.raises(ConfigError, match="map"):
        SGD(0.1, groups={"*.delay": {"map": Sigmoid(0, 9.0), "max": 3.0}}).init(net, some()[1])
    with pytest.raises(ParameterError):
        Sigmoid(0.0, -1.0)
    with pytest.raises(ConfigError, match="down to -1 ms, but a delay cannot be negative"):
        SGD(0.1, groups={"*.delay": {"map": Sigmoid(-1.0, 9.0)}}).init(net, some()[1])


def test_restored_state_gives_the_same_bits():
    net, params = some()
    groups = {"*.delay": {"map": Sigmoid(0.0, 7.0), "lr": 0.1}}
    adam = Adam(1e-2, groups=groups)
    state = adam.init(net, params)
    for t in range(5):
        adam.step(params, gradients(params, t), state)
    saved = {k: v.copy() if isinstance(v, np.ndarray) else v for k, v in state.items()}
    twin = {n: p.copy() for n, p in params.items()}
    for t in range(5, 9):
        adam.step(params, gradients(params, t), state)
    other = Adam(1e-2, groups=groups)
    fresh = other.init(net, twin)
    other.restore(twin, fresh, saved)
    for t in range(5, 9):
        other.step(twin, gradients(twin, t), fresh)
    for name in params:
        np.testing.assert_array_equal(twin[name], params[name])
    with pytest.raises(ConfigError, match="has no such entry"):
        other.restore(twin, fresh, {**saved, "x": 1})
    with pytest.raises(ConfigError, match="lacks 'v'"):
        other.restore(twin, fresh, {k: v for k, v in saved.items() if k != "v"})


def test_float32_stays_float32():
    net, params = some("float32")
    adam = Adam(1e-2, groups={"*.delay": {"map": Sigmoid(0.0, 7.0)}, "b.*": {"lr": 0.1}})
    state = adam.init(net, params)
    adam.step(params, gradients(params), state)
    assert all(p.dtype == np.float32 for p in params.values())
    assert state["m"].dtype == np.float32


def test_bad_gradients_leave_the_parameters_alone():
    net, params = some()
    adam = Adam(1e-2)
    state = adam.init(net, params)
    before = {n: p.copy() for n, p in params.items()}
    grads = gradients(params)
    grads["a_b.delay"][2] = np.nan
    with pytest.raises(TrainingError, match=r"a_b\.delay \(1 of 4\)"):
        adam.step(params, grads, state)
    grads = gradients(params)
    grads["a_b.weight"] = grads["a_b.weight"].T
    with pytest.raises(ShapeError, match=r"\(3, 4\).*\(4, 3\)"):
        adam.step(params, grads, state)
    assert state["step"] == 0
    for name in params:
        np.testing.assert_array_equal(params[name], before[name])


def test_bad_settings():
    net, params = some()
    for make in (
        lambda: Adam(-1.0),
        lambda: Adam(np.nan),
        lambda: Adam(0.1, betas=(1.0, 0.9)),
        lambda: Adam(0.1, eps=0.0),
        lambda: SGD(0.1, momentum=1.0),
        lambda: SGD(0.1, nesterov=True),
        lambda: Adam(0.1, clip_norm=0.0),
        lambda: Adam(0.1, tau_min=0.0),
        lambda: AdamW(0.1, weight_decay=-1.0),
        lambda: Adam(0.1, groups={"*.delay": {"lr": -1.0}}),
        lambda: Adam(0.1, groups={"*.delay": {"weight_decay": -1.0}}),
    ):
        with pytest.raises(ConfigError):
            make()
    with pytest.raises(ConfigError, match="did you mean 'map'"):
        Adam(0.1, groups={"*.delay": {"mapp": Log()}})
    with pytest.raises(ConfigError, match=r"'\*\.dealy' matches no trainable"):
        Adam(0.1, groups={"*.dealy": {}}).init(net, params)
    with pytest.raises(ConfigError, match="lower bound"):
        Adam(0.1, groups={"*.delay": {"max": -1.0}}).init(net, params)
    with pytest.raises(ConfigError, match="init"):
        Adam(0.1).step(params, gradients(params), {})
    with pytest.raises(ParameterError, match="Nothing to train"):
        Adam(0.1).init(SimpleNamespace(trainable=()), params)
    with pytest.raises(ParameterError, match="lack"):
        Adam(0.1).init(net, {})
    params["a_b.delay"] = params["a_b.delay"].astype("float32")
    with pytest.raises(DtypeError, match="all float64 or all float32"):
        Adam(0.1).init(net, params)


def test_a_step_on_many_small_arrays_is_cheap():
    rng = np.random.default_rng(0)
    params = {
        f"p{k}.{kind}": rng.uniform(1, 2, size=(5, 60)) for k in range(8) for kind in ("weight", "delay")
    }
    grads = {n: rng.normal(size=p.shape) for n, p in params.items()}
    adam = Adam(1e-3, groups={"*.delay": {"lr": 0.1}}, clip_norm=1.0)
    state = adam.init(SimpleNamespace(trainable=tuple(params)), params)
    spent = []
    for _ in range(500):
        began = time.perf_counter()
        adam.step(params, grads, state)
        spent.append(time.perf_counter() - began)
    assert min(spent) < 150e-6  # 40 us on an idle core; the rest is room for a slow one


def test_ease_in_grows_to_one_and_hands_over():
    ease = EaseIn(1e-3, 1.05)
    assert [ease(k, 9) for k in range(3)] == pytest.approx([1e-3, 1.05e-3, 1.1025e-3])
    assert ease(141, 0) == pytest.approx(1e-3 * 1.05**141)
    assert ease(142, 0) == 1.0
    assert ease(10**9, 0) == 1.0
    both = EaseIn(0.25, 2.0, then=StepDecay(2, 0.5), per="epoch")
    assert [both(0, epoch) for epoch in range(5)] == pytest.approx([0.25, 0.5, 0.5, 0.5, 0.25])
    for start, growth in ((0.0, 2.0), (1.5, 2.0), (0.5, 1.0)):
        with pytest.raises(ConfigError, match="EaseIn"):
            EaseIn(start, growth)


def test_the_scale_of_the_state_multiplies_every_rate():
    net, params = some()
    adam = Adam(1e-2, groups={"*.delay": {"lr": 0.1}})
    state = adam.init(net, params)
    state["scale"] = 0.25
    assert adam.learning_rates(state) == pytest.approx({"*.delay": 0.025, "*": 0.0025})


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.9])
def test_average_is_the_weighted_mean_of_the_steps(decay):
    """Against the weights written out: each step's share, times (1 - share) of every later one."""
    rng = np.random.default_rng(3)
    seen = rng.normal(size=(25, 4))
    average = Average(decay, {"w": rng.normal(size=4)})
    for k, row in enumerate(seen, start=1):
        average.add({"w": row})
        shares = np.maximum(1.0 - decay, 1.0 / np.arange(1, k + 1))
        weights = shares * np.append(np.cumprod((1.0 - shares[::-1])[:-1])[::-1], 1.0)
        assert weights.sum() == pytest.approx(1.0)
        np.testing.assert_allclose(average.params["w"], weights @ seen[:k], rtol=1e-12, atol=1e-14)
    assert average.steps == 25


def test_average_leaves_what_it_is_given_alone():
    _, params = some("float32")
    before = {name: array.copy() for name, array in params.items()}
    average = Average(0.9, params)
    for scale in (1.0, 2.0):
        average.add({name: scale * array for name, array in params.items()})
    for name, array in params.items():
        np.testing.assert_array_equal(array, before[name])
        assert average.params[name].dtype == np.float32
        np.testing.assert_allclose(average.params[name], 1.5 * array, rtol=1e-6)
    again = Average(0.9, params)
    again.restore(average.state())
    assert again.steps == 2
    assert all(again.params[name].tobytes() == array.tobytes() for name, array in average.params.items())


@pytest.mark.parametrize("decay", [1.0, -0.1, float("nan"), float("inf"), True])
def test_average_refuses_what_is_no_decay(decay):
    with pytest.raises(ConfigError, match=r"average is .*below 1"):
        Average(decay, {"w": np.zeros(2)})


def in_numpy(rule, params, grads, moments, step, rates, decays, scale):
    """One step array by array, each operation rounded by itself in the parameters' dtype."""
    for k, (x, g) in enumerate(zip(params, grads, strict=True)):
        as_given = x.dtype.type
        g = g * as_given(scale)
        if rule == "adam":
            b1, b2, eps = 0.9, 0.99, 1e-6
            m, v = moments["m"][k], moments["v"][k]
            m[...] = m * as_given(b1) + as_given(1.0 - b1) * g
            v[...] = v * as_given(b2) + g * g * as_given(1.0 - b2)
            root = np.sqrt(v * as_given(1.0 / (1.0 - b2**step))) + as_given(eps)
            direction = m / root * as_given(1.0 / (1.0 - b1**step))
        elif rule == "sgd":
            direction = g
        else:
            u = moments["momentum"][k]
            u[...] = u * as_given(0.8) + g
            direction = g + as_given(0.8) * u if rule == "nesterov" else u.copy()
        if decays[k]:
            direction = direction + as_given(decays[k]) * x
        x -= direction * as_given(rates[k])


@given(
    rule=st.sampled_from(["adam", "sgd", "momentum", "nesterov"]),
    dtype=st.sampled_from(["float64", "float32"]),
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=4),
    rates=st.lists(st.floats(0.0, 1.0), min_size=4, max_size=4),
    decays=st.lists(st.sampled_from([0.0, 0.01, 0.3]), min_size=4, max_size=4),
    clip=st.sampled_from([None, 0.5, 1e6]),
    seed=st.integers(0, 1000),
)
def test_a_step_has_the_bits_of_one_array_after_the_other(rule, dtype, sizes, rates, decays, clip, seed):
    rng = np.random.default_rng(seed)
    names = [f"p{k}.weight" for k in range(len(sizes))]
    params = {name: rng.normal(size=(n, 2)).astype(dtype) for name, n in zip(names, sizes, strict=True)}
    groups = {name: {"lr": rates[k], "weight_decay": decays[k]} for k, name in enumerate(names)}
    common = {"groups": groups, "clip_norm": clip}
    if rule == "adam":
        optimiser = Adam(0.1, betas=(0.9, 0.99), eps=1e-6, **common)
    else:
        optimiser = SGD(0.1, momentum=0.0 if rule == "sgd" else 0.8, nesterov=rule == "nesterov", **common)
    state = optimiser.init(SimpleNamespace(trainable=tuple(names)), params)
    mine = [params[name].copy() for name in names]
    moments = {key: [np.zeros_like(x) for x in mine] for key in ("m", "v", "momentum")}
    for step in range(1, 4):
        grads = {name: rng.normal(size=x.shape).astype(dtype) for name, x in params.items()}
        optimiser.step(params, grads, state)
        norm = np.sqrt(sum((g.astype("float64") ** 2).sum() for g in grads.values()))
        assert state["grad_norm"] == pytest.approx(norm, rel=1e-12)
        scale = clip / state["grad_norm"] if clip is not None and state["grad_norm"] > clip else 1.0
        in_numpy(rule, mine, list(grads.values()), moments, step, rates, decays, scale)
    for name, wanted in zip(names, mine, strict=True):
        np.testing.assert_array_equal(params[name], wanted)
    for key in ("m", "v", "momentum"):
        if key in state:
            np.testing.assert_array_equal(state[key], np.concatenate([x.reshape(-1) for x in moments[key]]))


def test_gradients_of_another_dtype_or_order_count_as_they_are():
    net, params = some("float32")
    twin = {n: p.copy() for n, p in params.items()}
    adam = Adam(1e-2)
    grads = gradients(params)
    adam.step(params, grads, adam.init(net, params))
    wide = {n: np.asfortranarray(g.astype("float64")) for n, g in grads.items()}
    adam.step(twin, wide, adam.init(net, twin))
    for name in params:
        np.testing.assert_array_equal(params[name], twin[name])
    params["a_b.weight"].setflags(write=False)
    with pytest.raises(DtypeError, match="changed in place"):
        adam.step(params, grads, adam.init(net, params))
