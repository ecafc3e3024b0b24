"""Calibration finds the hidden mismatch of the chip model from its spikes and readouts alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import evprop
from evprop.errors import HardwareError
from evprop.hardware import BrainScaleS2, calibrate

WEIGHT = {"input_hidden": 1.5, "hidden_output": 1.5}


def network(output: str = "li") -> evprop.Network:
    given: dict[str, Any] = {"tau_mem": 6.0, "tau_syn": 6.0}
    last = evprop.LI(3, **given) if output == "li" else evprop.LIF(3, **given, t_ref=20.0)
    return evprop.Network(
        {"input": evprop.Input(2), "hidden": evprop.LIF(6, **given, t_ref=20.0), "output": last},
        [
            evprop.Dense("input", "hidden", weight=1.0, delay=10.0, delay_kind="axonal"),
            evprop.Dense("hidden", "output", weight=0.5),
        ],
    )


@pytest.mark.parametrize(("chip", "output"), [(4, "li"), (9, "lif")])
def test_hidden_mismatch_is_recovered(chip: int, output: str) -> None:
    net = network(output)
    params = net.init(0)
    sim = BrainScaleS2(chip=chip, min_vdot=0.01, weight_scale=30.0, copies={"input": 2})
    found = calibrate(sim, net, params, weight=WEIGHT, period=1.7, trials=10)
    true = sim.map(net).write(params).effective
    for name, values in found.constants.items():
        unit = params[name] if "tau" in name else 1.0
        error = np.sqrt(np.mean(((values - true[name]) / unit) ** 2))
        wrong = np.sqrt(np.mean(((params[name] - true[name]) / unit) ** 2))
        assert error < 0.012, f"{name}: {error:.4f}, and the nominal value is wrong by {wrong:.4f}"
        assert error < 0.5 * wrong, name
    for p in net.projections:
        name = f"{p.name}.weight"
        for k, sign in enumerate((1.0, -1.0)):
            pulse = {**params, name: np.full_like(params[name], sign * WEIGHT[p.name])}
            written = sim.map(net).write(pulse)
            gain = written.effective[name] / written.nominal[name]
            assert np.std(gain) > 0.02
            np.testing.assert_allclose(found.gains[p.name][k], gain, rtol=0.03)


def test_a_calibrated_network_predicts_the_chip() -> None:
    """The exact simulator with fitted constants gives the chip's spikes better than with nominal ones."""
    net = network("lif")
    params = net.init(0)
    params["input_hidden.weight"][...] = 1.7
    quiet = ("spike_jitter", "delay_jitter", "threshold_noise", "link_rate")
    sim = BrainScaleS2(chip=4, min_vdot=0.01, weight_scale=30.0, copies={"input": 2}).without(*quiet)
    fitted = calibrate(sim, net, params, weight=WEIGHT, period=1.7, trials=10).apply(params)
    spikes = evprop.Spikes.from_lists([([1.0, 2.0 + b], [0, 1]) for b in range(4)], n_units=2)
    chip, nominal, ours = (
        evprop.simulate(net, p, spikes, duration=30.0, simulator=s).spikes["hidden"]
        for p, s in ((params, sim), (params, None), (fitted, None))
    )
    assert chip.n_spikes == ours.n_spikes
    errors = [
        np.abs(np.sort(chip.times) - np.sort(t.times)).mean()
        for t in (ours, nominal)
        if t.n_spikes == chip.n_spikes
    ]
    assert errors[0] < 0.05
    assert len(errors) == 1 or errors[0] < 0.3 * errors[1]


def test_an_ideal_substrate_calibrates_to_its_nominal_values() -> None:
    net = network()
    params = net.init(0)
    sim = BrainScaleS2.ideal(readout_period=0.5, adc_bits=16, adc_offset=32768.0, adc_scale=10000.0)
    found = calibrate(sim, net, params, weight=WEIGHT, period=0.5, trials=3)
    for name, values in found.constants.items():
        np.testing.assert_allclose(values, params[name], atol=2e-3)
    for gains in found.gains.values():
        np.testing.assert_allclose(gains, 1.0, atol=1e-3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weight": {"input_hidden": 1.5}}, "weight\\['hidden_output'\\] is None"),
        ({"period": 0.0}, "period 0.0"),
        ({"trials": 0}, "trials is 0"),
    ],
)
def test_bad_calls(change: dict[str, Any], message: str) -> None:
    net = network()
    given: dict[str, Any] = {"weight": WEIGHT, "period": 1.7} | change
    with pytest.raises(HardwareError, match=message):
        calibrate(BrainScaleS2.ideal(), net, net.init(0), **given)


def test_what_it_cannot_measure_is_refused() -> None:
    net = evprop.Network(
        {"input": evprop.Input(1), "a": evprop.LIF(2)},
        [evprop.Dense("input", "a", weight=1.0), evprop.Dense("a", "a", weight=1.0)],
    )
    with pytest.raises(HardwareError, match="'a_a' is recurrent"):
        calibrate(BrainScaleS2.ideal(), net, net.init(0), weight={"input_a": 1.0, "a_a": 1.0}, period=1.7)
