"""The integer model: what it refuses, what strict mode reports, batches, and a slow second implementation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import evprop
from evprop.errors import HardwareError, NetworkError, ParameterError, ShapeError
from evprop.hardware import Loihi2Connection, Loihi2Population, Loihi2Program


def lif(n: int, **changes: object) -> Loihi2Population:
    return Loihi2Population(**{"n": n, "du": 741, "dv": 200, "vth": 100, **changes})


def single(weight: int = 100, *, delays: object = 0, **changes: object) -> Loihi2Program:
    connection = Loihi2Connection("input", "out", [[weight]], delays=delays)
    return Loihi2Program({"input": 1}, {"out": lif(1, **changes)}, [connection])


def spikes(*samples: list[tuple[int, int]]) -> tuple[np.ndarray, ...]:
    flat = [s for sample in samples for s in sample]
    return (
        np.array([s for s, _ in flat], np.uint32),
        np.array([u for _, u in flat], np.uint32),
        np.cumsum([0, *map(len, samples)]),
    )


def slow(program: Loihi2Program, raster: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """u and v of one sample, straight from the equations: every synapse in every step, in Python's integers."""
    n_steps = len(raster)
    state = {name: [[0] * p.n, [0] * p.n] for name, p in program.populations.items()}
    rows = {name: (np.zeros((n_steps, p.n), int), np.zeros((n_steps, p.n), int)) for name, p in program.populations.items()}
    sent = {"input": raster} | {name: np.zeros((n_steps, p.n), int) for name, p in program.populations.items()}
    effective = [program.effective_weights(k) for k in range(len(program.connections))]
    decay = lambda x, d: (abs(x) * (4096 - d) >> 12) * (1 if x >= 0 else -1)  # noqa: E731
    for t in range(n_steps):
        for name, p in program.populations.items():
            u, v = state[name]
            for i in range(p.n):
                a = 0
                for w, c in zip(effective, program.connections, strict=True):
                    if c.target != name:
                        continue
                    sums: dict[int, int] = {}
                    delays = np.broadcast_to(c.delays, w.shape)
                    for j in range(len(w)):
                        q = int(delays[j, i])
                        if t - 1 - q >= 0 and sent[c.source][t - 1 - q, j]:
                            sums[q] = sums.get(q, 0) + int(w[j, i])
                    a += sum(y << c.weight_exp if c.weight_exp > 0 else y >> -c.weight_exp for y in sums.values())
                u[i] = decay(u[i], int(p.du[i]) + 1) + (a << 6)
                v[i] = decay(v[i], int(p.dv[i])) + u[i]
                if v[i] > int(p.vth[i]) << 6:
                    v[i] = 0
                    sent[name][t, i] = 1
            rows[name][0][t], rows[name][1][t] = u, v
    return rows


@settings(max_examples=25)
@given(
    seed=st.integers(0, 2**32 - 1),
    exponents=st.tuples(*[st.integers(-3, 2)] * 3),
    recurrent=st.booleans(),
    delayed=st.booleans(),
    density=st.sampled_from([0.2, 0.7, 1.0]),
)
def test_any_network_runs_as_the_equations_say(
    seed: int, exponents: tuple[int, ...], recurrent: bool, delayed: bool, density: float
) -> None:
    rng = np.random.default_rng(seed)

    def link(source: str, target: str, n: int, m: int, exponent: int) -> Loihi2Connection:
        return Loihi2Connection(
            *(source, target, rng.integers(-256, 256, (n, m))),
            delays=rng.integers(0, 7, (n, m)) if delayed else int(rng.integers(0, 3)),
            weight_exp=exponent,
            sparse=None if density == 1.0 else rng.random((n, m)) < density,
        )

    links = [link("input", "a", 3, 4, exponents[0]), link("a", "b", 4, 2, exponents[1])]
    if recurrent:
        links.append(link("a", "a", 4, 4, exponents[2]))
    a = Loihi2Population(4, du=rng.integers(0, 2000, 4), dv=rng.integers(0, 900, 4), vth=rng.integers(1, 400, 4))
    program = Loihi2Program({"input": 3}, {"a": a, "b": lif(2, vth=2**17)}, links)
    raster = rng.random((30, 3)) < 0.3
    wanted = slow(program, raster)
    steps, units = np.nonzero(raster)
    run = program.run({"input": (steps, units, [0, len(steps)])}, 30, trace=["a", "b"])
    for name, (u, v) in wanted.items():
        np.testing.assert_array_equal(run.u[name][0], u)
        np.testing.assert_array_equal(run.v[name][0], v)


def test_samples_do_not_know_each_other_nor_the_number_of_threads() -> None:
    rng = np.random.default_rng(0)
    links = [
        Loihi2Connection("input", "a", rng.integers(-200, 200, (5, 8)), delays=rng.integers(0, 20, (5, 8))),
        Loihi2Connection("a", "a", rng.integers(-200, 200, (8, 8)), weight_exp=-2),
    ]
    program = Loihi2Program({"input": 5}, {"a": lif(8)}, links)
    samples = [sorted({(int(s), int(u)) for s, u in rng.integers(0, 5, (30, 2)) * [10, 1]}) for _ in range(7)]
    before = evprop.num_threads()
    try:
        runs = []
        for threads in (1, 3):
            evprop.set_num_threads(threads)
            runs.append(program.run({"input": spikes(*samples)}, 60, trace=["a"]))
    finally:
        evprop.set_num_threads(before)
    np.testing.assert_array_equal(runs[0].v["a"], runs[1].v["a"])
    for b, sample in enumerate(samples):
        alone = program.run({"input": spikes(sample)}, 60, trace=["a"])
        np.testing.assert_array_equal(alone.v["a"][0], runs[0].v["a"][b])
        np.testing.assert_array_equal(alone.raster("a", 0, 60, 8), runs[0].raster("a", b, 60, 8))


def test_strict_names_population_neuron_and_step() -> None:
    links = [Loihi2Connection("input", "out", [[0, 255]], weight_exp=9)]
    program = Loihi2Program({"input": 1}, {"out": lif(2, vth=2**17, du=-1)}, links)
    run = program.run({"input": spikes([], [(3, 0)])}, 10, strict=True)
    first = run.alarms[0]
    assert first == ("accumulator", 1, "out", 1, 4, 255 << 9)
    assert run.alarm_counts["accumulator"] == 1
    assert run.alarm_counts["voltage_clip"] > 0
    assert program.run({"input": spikes([], [(3, 0)])}, 10).alarms == ()
    short = program.run({"input": spikes([], [(3, 0)])}, 10, strict=True, max_alarms=1)
    assert short.alarms == (first,)
    assert short.alarm_counts == run.alarm_counts


def test_strict_sees_the_wrap_of_u() -> None:
    links = [Loihi2Connection("input", "out", [[255]], weight_exp=8)]
    program = Loihi2Program({"input": 1}, {"out": lif(1, vth=2**17, du=-1)}, links)
    run = program.run({"input": spikes([(0, 0), (1, 0), (2, 0)])}, 6, strict=True)
    assert [(a.kind, a.step) for a in run.alarms if a.kind == "current_wrap"] == [("current_wrap", 3)]


def test_registers_beyond_their_range_are_warned_of() -> None:
    warned = single(vth=2**17, bias_mant=5000, bias_exp=9, delays=63).warnings()
    assert [w.split(" is ")[0] for w in warned[:3]] == ["out: vth[0]", "out: bias_mant[0]", "out: bias_exp[0]"]
    assert "63 steps" in warned[3]
    assert single().warnings() == []


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: single(du=4096), NetworkError, "du.0. is 4096; it must lie in -1 to 4095"),
        (lambda: single(dv=-1), NetworkError, "dv.0. is -1"),
        (lambda: single(bias_mant=40000), NetworkError, "bias_mant.0. is 40000"),
        (lambda: single(du=[1, 2]), ShapeError, "give one integer, or 1"),
        (lambda: single(du=0.5), HardwareError, "integers"),
        (lambda: single(delays=64), HardwareError, "0 to 63"),
        (lambda: single(reset_interval=0), NetworkError, "interval of 0"),
        (lambda: Loihi2Connection("a", "b", [[0.5]]), HardwareError, "round them yourself"),
        (lambda: Loihi2Connection("a", "b", [1]), ShapeError, "n_source, n_target"),
        (lambda: Loihi2Connection("a", "b", [[1]], sign_mode="mixd"), HardwareError, "mixed"),
        (
            lambda: Loihi2Program({"input": 1}, {"a": lif(1)}, [Loihi2Connection("inputs", "a", [[1]])]),
            HardwareError,
            "did you mean 'input'",
        ),
        (
            lambda: Loihi2Program({"input": 2}, {"a": lif(1)}, [Loihi2Connection("input", "a", [[1], [1], [1]])]),
            (ShapeError, NetworkError),
            "input -> a",
        ),
        (
            lambda: Loihi2Program({"input": 1}, {"a": lif(1)}, [Loihi2Connection("input", "a", [[1]], num_weight_bits=9)]),
            NetworkError,
            "num_weight_bits is 9",
        ),
        (lambda: Loihi2Program({"a": 1}, {"a": lif(1)}, []), HardwareError, "rename one"),
        (lambda: single().run({"input": spikes([(5, 0)])}, 5), ParameterError, "of 1 units and 5 steps"),
        (lambda: single().run({"input": spikes([(1, 1)])}, 5), ParameterError, "unit 1"),
        (lambda: single().run({"input": spikes([(1, 0), (1, 0)])}, 5), ParameterError, "none twice"),
        (lambda: single().run({}, 5), HardwareError, "lacks 'input'"),
        (lambda: single().run({"input": spikes([])}, 5, trace=["in"]), HardwareError, "trace names 'in'"),
    ],
)
def test_what_it_refuses(make, error, message) -> None:
    with pytest.raises(error, match=message):
        make()
