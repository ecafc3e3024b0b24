"""From a network to the chip's integers: registers, scales, delays, what is refused, what the report counts."""

from __future__ import annotations

import math

import numpy as np
import pytest

import evprop
from evprop.errors import HardwareError, ParameterError
from evprop.hardware import quantise
from evprop.hardware.loihi2.decays import decay_of, kappa, lift, peak

INPUTS, HIDDEN, OUTPUTS = 6, 8, 3


def network(*, delay: object = None, delay_kind: str | None = None, hidden: dict | None = None, output: object = None) -> evprop.Network:
    init = evprop.init
    return evprop.Network(
        {
            "input": evprop.Input(INPUTS),
            "hidden": evprop.LIF(HIDDEN, tau_mem=20.0, tau_syn=5.0, **(hidden or {})),
            "output": output or evprop.LI(OUTPUTS, tau_mem=20.0, tau_syn=5.0),
        },
        [
            evprop.Dense("input", "hidden", weight=init.Normal(1.0, 0.6), delay=delay, delay_kind=delay_kind),
            evprop.Dense("hidden", "hidden", weight=init.Normal(0.0, 0.3), delay=delay, delay_kind=delay_kind),
            evprop.Dense("hidden", "output", weight=init.Normal(0.0, 0.4)),
        ],
    )


def program_weights(quantised, k: int) -> np.ndarray:
    """What arrives for one spike: the chip's weights with their exponent, in levels."""
    return quantised.program.effective_weights(k) * 2.0 ** quantised.program.connections[k].weight_exp


def test_registers_of_the_published_constants() -> None:
    # tau_syn 5 ms and tau_mem 20 ms at dt 1 ms: 742 and 200 (ml_genn_netx's papers)
    assert decay_of(5.0, 1.0, 0.05, "x").register == 742
    assert decay_of(20.0, 1.0, 0.05, "x").register == 200
    q = quantise(network(), network().init(0), dt=1.0)
    hidden = q.program.populations["hidden"]
    assert hidden.du[0] + 1 == 742
    assert hidden.dv[0] == 200
    assert q.program.populations["output"].vth[0] == 2**17


@pytest.mark.parametrize(("tau_mem", "tau_syn"), [(20.0, 5.0), (5.0, 20.0), (10.0, 10.0), (10.0, 10.0 + 1e-9)])
def test_kappa_and_peak_against_small_steps(tau_mem: float, tau_syn: float) -> None:
    t = np.linspace(0.0, 400.0, 400_001)
    h = t[1]
    # the kernel as a sum of products of exponentials, by the trapezoid rule of its convolution
    found = np.array([kappa(d, tau_mem, tau_syn) for d in (0.5, 3.0, 40.0)])
    for d, value in zip((0.5, 3.0, 40.0), found, strict=True):
        s = t[t <= d]
        integrand = np.exp(-s / tau_syn) * np.exp(-(d - s) / tau_mem) / tau_mem
        assert value == pytest.approx(np.sum((integrand[1:] + integrand[:-1]) / 2.0) * h, rel=1e-6)
    curve = [kappa(d, tau_mem, tau_syn) for d in t[::100]]
    assert peak(tau_mem, tau_syn) == pytest.approx(max(curve), rel=1e-4)


def test_the_papers_rule() -> None:
    net = network()
    params = net.init(1)
    q = quantise(net, params, dt=1.0, scale="percentile")
    gain = kappa(1.0, *(decay_of(tau, 1.0, 0.05, "x").tau for tau in (20.0, 5.0)))
    gain *= peak(20.0, 5.0) / peak(*(decay_of(tau, 1.0, 0.05, "x").tau for tau in (20.0, 5.0)))
    lifts = []
    for name in ("input_hidden.weight", "hidden_hidden.weight"):
        root = np.sqrt(np.mean((gain * params[name]) ** 2))
        lifts.append(lift(64.0 * q.scales["hidden"] * root, *(decay_of(tau, 1.0, 0.05, "x") for tau in (20.0, 5.0))))
    assert all(1.0 < one < 1.01 for one in lifts)
    w = gain * np.concatenate([params["input_hidden.weight"].ravel(), params["hidden_hidden.weight"].ravel()])
    largest = max(np.percentile(w[w > 0], 99), np.percentile(-w[w < 0], 99))
    step = 2.0 ** (math.floor(math.log2(largest)) - 6)
    assert q.scales["hidden"] == 1.0 / step
    wanted = np.clip(np.rint(gain * lifts[0] * params["input_hidden.weight"] / step), -128, 127)
    np.testing.assert_array_equal(program_weights(q, 0), wanted)
    assert q.program.populations["hidden"].vth[0] == round(1.0 / step)


@pytest.mark.parametrize("bits", [3, 5, 8])
def test_the_largest_weight_takes_the_last_level(bits: int) -> None:
    net = network()
    q = quantise(net, net.init(2), dt=1.0, num_weight_bits=bits, scale="max")
    assert q.report.weights_clipped == 0
    taken = []
    for k, report in enumerate(q.report.projections[:2]):
        low, high = report.levels
        assert -(2 ** (bits - 1)) <= low <= high <= 2 ** (bits - 1) - 1
        assert len(np.unique(program_weights(q, k))) <= 2**bits
        taken.append(max(high / (2 ** (bits - 1) - 1), -low / 2 ** (bits - 1)))
        assert np.abs(program_weights(q, k)).max() <= 256
    assert max(taken) == 1.0
    # the spare bits are used
    for name in ("input_hidden", "hidden_hidden"):
        assert q.scales["hidden"] / q.scales[name] == 2.0 ** (9 - bits)


@pytest.mark.parametrize(("sign", "mode", "last"), [(1.0, "excitatory", 255), (-1.0, "inhibitory", -255)])
def test_weights_of_one_sign_have_all_levels(sign: float, mode: str, last: int) -> None:
    net = network()
    params = net.init(3)
    for name in ("input_hidden.weight", "hidden_hidden.weight"):
        params[name] = sign * np.abs(params[name])
    q = quantise(net, params, dt=1.0, scale="max")
    assert q.program.connections[0].sign_mode == mode
    extreme = max if sign > 0 else min
    assert extreme(program_weights(q, k).ravel()[np.abs(program_weights(q, k)).argmax()] for k in (0, 1)) == last


def test_what_is_held_is_what_was_asked_for_within_half_a_step() -> None:
    net = network(delay=evprop.init.Uniform(0.0, 20.0))
    params = net.init(4)
    q = quantise(net, params, dt=0.5, scale="max")
    for report in q.report.projections:
        name = f"{report.name}.weight"
        # the peak of a spike's voltage is kept where the decays are not
        population = next(p for p in net.projections if p.name == report.name).post
        held = [q.params[f"{population}.{tau}"][0] for tau in ("tau_mem", "tau_syn")]
        wanted = params[name] * peak(20.0, 5.0) / peak(*held)
        # and what rounding of u and v takes from it is given back
        root = np.sqrt(np.mean((wanted * kappa(0.5, *held)) ** 2))
        wanted *= lift(64.0 * q.scales[population] * root, *(decay_of(tau, 0.5, 0.05, "x") for tau in (20.0, 5.0)))
        assert np.abs(q.params[name] - wanted).max() <= report.step / 2 * (1 + 1e-9)
        root = np.sqrt(np.mean((q.params[name] - wanted) ** 2) / np.mean(params[name] ** 2))
        assert report.error == pytest.approx(root)
    margin = 0.5 * 1e-3
    np.testing.assert_array_equal(
        np.rint((q.params["input_hidden.delay"] - margin) / 0.5), np.rint(params["input_hidden.delay"] / 0.5)
    )
    # a neuron's spike is seen half a step late on average, and its delay is that much shorter
    wanted = np.maximum(params["hidden_hidden.delay"] - 0.25, 0.0)
    assert np.abs(q.params["hidden_hidden.delay"] - margin - wanted).max() <= 0.25 + 1e-9
    assert q.report.projections[1].delay_error <= 0.25 + 1e-9
    hidden = q.report.populations[0]
    assert q.params["hidden.tau_mem"][0] == hidden.tau_mem
    assert hidden.tau_mem == pytest.approx(20.0, rel=0.05)
    np.testing.assert_allclose(q.params["hidden.v_th"], 1.0, rtol=0.51 / q.scales["hidden"])


@pytest.mark.parametrize(("kind", "shape"), [("axonal", (INPUTS, 1)), ("dendritic", (1, HIDDEN)), ("synaptic", (INPUTS, HIDDEN))])
def test_every_kind_of_delay_becomes_one_per_synapse(kind: str, shape: tuple[int, int]) -> None:
    net = network(delay=evprop.init.Uniform(0.0, 30.0), delay_kind=kind)
    params = net.init(5)
    q = quantise(net, params, dt=1.0)
    assert q.params["input_hidden.delay"].shape == shape
    wanted = np.broadcast_to(np.rint(params["input_hidden.delay"]), (INPUTS, HIDDEN))
    np.testing.assert_array_equal(q.program.connections[0].delays, wanted)


def test_sparse_projections_keep_their_pattern() -> None:
    rng = np.random.default_rng(0)
    mask = rng.random((INPUTS, HIDDEN)) < 0.4
    weight, delay = rng.normal(1.0, 0.5, mask.sum()), rng.uniform(0.0, 9.0, mask.sum())
    net = evprop.Network(
        {"input": evprop.Input(INPUTS), "hidden": evprop.LIF(HIDDEN)},
        [evprop.Sparse("input", "hidden", mask=mask, weight=weight, delay=delay)],
    )
    q = quantise(net, net.init(0), dt=1.0, scale="max")
    levels = program_weights(q, 0)
    assert not levels[~mask].any()
    np.testing.assert_array_equal(q.program.connections[0].sparse, mask)
    np.testing.assert_array_equal(q.program.connections[0].delays[mask], np.rint(delay))
    gain = q.params["input_hidden.weight"] / levels[mask]
    assert np.ptp(gain[np.isfinite(gain)]) < 1e-12


def test_long_delays_are_refused_or_counted() -> None:
    net = network(delay=evprop.init.Uniform(0.0, 100.0))
    params = net.init(6)
    with pytest.raises(HardwareError, match=r"delays of 'input_hidden' are beyond 62 steps.*clip_delays=True"):
        quantise(net, params, dt=1.0)
    q = quantise(net, params, dt=1.0, clip_delays=True)
    counted = [int((np.rint(params["input_hidden.delay"]) > 62).sum()), int((np.rint(params["hidden_hidden.delay"] - 0.5) > 62).sum())]
    assert [p.delays_clipped for p in q.report.projections[:2]] == counted
    assert q.report.delays_clipped == sum(counted)
    assert q.program.connections[0].delays.max() == 62
    assert quantise(net, params, dt=2.0).report.delays_clipped == 0


def test_biases_take_the_finest_exponent() -> None:
    net = network(hidden={"i_bias": np.linspace(-0.4, 0.8, HIDDEN)})
    params = net.init(7)
    q = quantise(net, params, dt=1.0, scale="max")
    hidden = q.program.populations["hidden"]
    assert np.abs(hidden.bias_mant).max() <= 4095
    assert np.abs(hidden.bias_mant).max() > 2047 or hidden.bias_exp[0] == 0
    np.testing.assert_allclose(q.params["hidden.i_bias"], params["hidden.i_bias"], rtol=0.02, atol=1e-12)
    coarse = quantise(net, params, dt=1.0, scale="max", bias_exp=6)
    assert set(coarse.program.populations["hidden"].bias_exp) == {6}
    assert coarse.report.populations[0].bias_error > q.report.populations[0].bias_error


def test_a_large_threshold_bounds_the_scale() -> None:
    net = network(hidden={"v_th": 900.0})
    q = quantise(net, net.init(8), dt=1.0, scale="max")
    assert q.report.populations[0].bound == "threshold"
    assert q.program.populations["hidden"].vth[0] == 2**17 - 1
    papers = quantise(net, net.init(8), dt=1.0, scale="percentile")
    assert math.log2(papers.scales["hidden"]) == int(math.log2(papers.scales["hidden"]))
    assert papers.program.populations["hidden"].vth[0] <= 2**17 - 1


def test_the_report_reads_well() -> None:
    text = str(quantise(network(), network().init(0), dt=1.0).report)
    assert "hidden" in text
    assert "742" in text
    assert "input_hidden" in text


def changed(name: str, value: object, **more: object) -> object:
    net = network(**more)
    params = net.init(0)
    params[name] = np.full_like(params[name], value) if np.ndim(value) == 0 else np.asarray(value, float)
    return quantise(net, params, dt=1.0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: changed("hidden.v_reset", -0.5), r"hidden.v_reset\[0\] is -0.5.*Subtract it from v_th"),
        (lambda: changed("hidden.t_ref", 2.0), r"hidden.t_ref\[0\] is 2.*refractory"),
        (lambda: changed("hidden.tau_syn", np.linspace(4, 6, HIDDEN)), "hidden.tau_syn has several values, 4 to 6 ms.*Split the population"),
        (lambda: changed("output.tau_mem", [10.0, 10.0, 11.0]), "output.tau_mem has several values"),
        (lambda: changed("hidden.v_th", 1e9), "weights of 'input_hidden' become 0 at the scale .*larger dt"),
        (lambda: changed("input_hidden.weight", 1e7), "hidden.v_th of 1 becomes 0 at the scale"),
        (lambda: changed("input_hidden.weight", 1e300), "hidden.v_th of 1 becomes 0 at the scale .* Use more bits, a larger dt"),
        (lambda: changed("hidden.i_bias", 1e6), "hidden.v_th of 1 becomes 0 at the scale"),
        (lambda: changed("output.i_bias", 1e6), "all weights of 'hidden_output' become 0 at the scale .*use a larger dt"),
        (lambda: changed("output.v_init", -1e9), "output.v_init of 1e\\+09 becomes .*v holds 8388607. Give a scale of at most"),
        (lambda: quantise(network(), network().init(0), dt=1e-3), "hidden.tau_mem is 20 ms.*dt from"),
        (lambda: quantise(network(), network().init(0), dt=60.0), "hidden.tau_syn is 5 ms.*dt from"),
        (lambda: quantise(network(), network().init(0), dt=0.0), "dt is 0.0 ms"),
        (lambda: quantise(network(), network().init(0), dt="fast"), "dt is 'fast'"),
        (lambda: quantise(network(), network().init(0), dt=1.0, num_weight_bits=9), "num_weight_bits is 9"),
        (lambda: quantise(network(), network().init(0), dt=1.0, scale="percentil"), "did you mean 'percentile'"),
        (lambda: quantise(network(), network().init(0), dt=1.0, scale={"hidden": 1.0}), "lacks the population 'output'"),
        (lambda: quantise(network(), network().init(0), dt=1.0, scale={"hiden": 1.0}), "did you mean 'hidden'"),
        (lambda: quantise(network(), network().init(0), dt=1.0, scale={"hidden": 2e5, "output": 1.0}), "v_th of 1 becomes 200000.*at most 131071"),
        (lambda: quantise(network(), network().init(0), dt=1.0, scale={"hidden": math.nan, "output": 1.0}), "must be finite and > 0"),
        (lambda: quantise(network(), network().init(0), dt=1.0, bias_exp=8), "bias_exp is 8"),
        (lambda: quantise(network(hidden={"i_bias": 5.0}), network(hidden={"i_bias": 5.0}).init(0), dt=1.0, bias_exp=0), "13 bits hold 4095. Leave out bias_exp"),
    ],
)
def test_what_it_refuses(make, message) -> None:
    with pytest.raises(HardwareError, match=message):
        make()


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_numbers_that_are_none_are_named(value: float) -> None:
    with pytest.raises(ParameterError, match=r"input_hidden.weight\[0, 0\] is (nan|inf).*must be finite"):
        changed("input_hidden.weight", value)
