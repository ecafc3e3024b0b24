"""Anything that takes spikes and returns spikes is trained through like a chip: functions, and processes that are not ours."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import evprop
from evprop.errors import HardwareError, ParameterError, SpikesError
from evprop.hardware import ExternalSubstrate

SIZES, DURATION, TAU = (5, 12, 3), 80.0, (20.0, 10.0)
PROGRAMS = Path(__file__).resolve().parent / "substrates"


def network() -> evprop.Network:
    given: dict[str, Any] = {"tau_mem": TAU[0], "tau_syn": TAU[1], "t_ref": np.inf}
    return evprop.Network(
        {"input": evprop.Input(5), "hidden": evprop.LIF(12, **given), "output": evprop.LIF(3, **given)},
        [
            evprop.Dense("input", "hidden", weight=evprop.init.Normal(1.5, 0.8)),
            evprop.Dense("hidden", "output", weight=evprop.init.Normal(1.0, 0.4)),
        ],
    )


def data(batch: int) -> tuple[evprop.Spikes, np.ndarray]:
    found = evprop.datasets.yin_yang("train", encoding="wunderlich_pehle", size=batch)
    return found.spikes, found.labels


class Chip:
    """A program in a process of its own: batches to its standard input, spikes from its standard output."""

    def __init__(self, python: str, program: str) -> None:
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        self.process = subprocess.Popen(
            [python, "-P", str(PROGRAMS / program)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment | {"JAX_PLATFORMS": "cpu"},
        )
        setting = {
            "sizes": SIZES,
            "duration": DURATION,
            "tau_mem": TAU[0],
            "tau_syn": TAU[1],
            "spikes_per_sample": 5,
        }
        self.send(setting)

    def send(self, message: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(message) + "\n")
        self.process.stdin.flush()

    def run(
        self,
        net: evprop.Network,
        written: Mapping[str, Any],
        inputs: Mapping[str, evprop.Spikes],
        duration: float,
    ) -> dict[str, evprop.Spikes]:
        assert self.process.stdout is not None
        assert duration == DURATION
        samples = [inputs["input"][b] for b in range(len(inputs["input"]))]
        weights = {name: written[f"{pair}.weight"].tolist() for name, pair in PAIRS.items()}
        self.send(
            {**weights, "times": [t.tolist() for t, _ in samples], "units": [u.tolist() for _, u in samples]}
        )
        line = self.process.stdout.readline()
        assert line, "the chip's program ended; its message is above"
        answer = json.loads(line)
        return {
            name: evprop.Spikes.from_lists(
                [(np.array(t), np.array(u, dtype=np.int64)) for t, u in answer[name]],
                n_units=net.populations[name].size,
            )
            for name in PAIRS
        }

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(timeout=60)
        self.process.stdout.close()


PAIRS = {"hidden": "input_hidden", "output": "hidden_output"}


@pytest.fixture(scope="module", params=["oracle", "jaxsnn"])
def chip(request: pytest.FixtureRequest) -> Iterator[Chip]:
    python = sys.executable
    if request.param == "jaxsnn":
        python = os.environ.get("EVPROP_PEERS", "")
        if not python:
            pytest.skip("EVPROP_PEERS is not set: it names a Python with jaxsnn (make bench-peers makes one)")
    running = Chip(python, f"{request.param}_chip.py")
    yield running
    running.close()


def test_another_program_has_the_same_gradients(chip: Chip) -> None:
    """Spikes of a process that is not ours, our adjoint: the gradients of the exact simulator, but for its float32."""
    net = network()
    params, (spikes, labels), loss = net.init(0), data(30), evprop.losses.FirstSpike(2.0, 20.0, 1e-2)
    given: dict[str, Any] = {"duration": DURATION}
    value, exact, record = evprop.value_and_grad(net, params, spikes, labels, loss, **given)
    substrate = ExternalSubstrate(chip.run, min_vdot=1e-6)
    ours, grads, seen = evprop.value_and_grad(net, params, spikes, labels, loss, simulator=substrate, **given)
    assert seen.spikes["hidden"].n_spikes == record.spikes["hidden"].n_spikes > 100
    np.testing.assert_allclose(
        np.sort(seen.spikes["output"].times), np.sort(record.spikes["output"].times), atol=2e-3
    )
    assert ours == pytest.approx(value, rel=1e-3)
    for name in net.trainable:
        scale = np.abs(exact[name]).max()
        assert np.abs(grads[name] - exact[name]).max() < 5e-3 * scale, name


def test_training_through_another_program(chip: Chip) -> None:
    net = network()
    params, (spikes, labels) = net.init(1), data(60)
    loss = evprop.losses.SkipSilentLabels(evprop.losses.FirstSpike(2.0, 20.0, 1e-2))
    dataset = evprop.datasets.Dataset(spikes, labels, class_names=("yin", "yang", "dot"))
    substrate = ExternalSubstrate(
        chip.run, min_vdot=1e-3, write=lambda p: {k: _on_grid(k, v) for k, v in p.items()}
    )
    history = evprop.train.fit(
        *(net, params, dataset, loss, evprop.optim.Adam(0.03)),
        epochs=12,
        batch_size=20,
        duration=DURATION,
        seed=0,
        simulator=substrate,
    )
    assert history["loss"][-1] < 0.7 * history["loss"][0]
    assert history["accuracy"][-1] > history["accuracy"][0]


def _on_grid(name: str, values: np.ndarray) -> np.ndarray:
    return np.round(values * 16.0) / 16.0 if name.endswith("weight") else values


def exact_chip(
    net: evprop.Network, written: Mapping[str, Any], inputs: Mapping[str, evprop.Spikes], duration: float
) -> dict[str, evprop.Spikes]:
    record = evprop.simulate(net, written, dict(inputs), duration=duration)
    return {name: record.spikes[name] for name in ("hidden", "output")}


def test_the_gradient_is_that_of_what_was_written() -> None:
    net = network()
    params, (spikes, labels), loss = net.init(0), data(10), evprop.losses.RelativeMSE(delta=2.0)
    substrate = ExternalSubstrate(
        exact_chip, min_vdot=1e-9, write=lambda p: {k: _on_grid(k, v) for k, v in p.items()}
    )
    _, grads, record = evprop.value_and_grad(
        net, params, spikes, labels, loss, duration=80.0, simulator=substrate
    )
    written = {k: _on_grid(k, v) for k, v in params.items()}
    _, exact, _ = evprop.value_and_grad(net, written, spikes, labels, loss, duration=80.0)
    for name in net.trainable:
        np.testing.assert_allclose(grads[name], exact[name], rtol=1e-8, atol=1e-12)
    np.testing.assert_array_equal(record.params["input_hidden.weight"], written["input_hidden.weight"])


def test_bad_substrates_are_refused() -> None:
    net = network()
    params, (spikes, _) = net.init(0), data(4)
    given: dict[str, Any] = {"duration": 80.0}
    lacking = ExternalSubstrate(lambda *a: {"hidden": exact_chip(*a)["hidden"]}, min_vdot=0.01)
    with pytest.raises(SpikesError, match="lacks the LIF population 'output'"):
        evprop.simulate(net, params, spikes, simulator=lacking, **given)
    short = ExternalSubstrate(lambda *a: {k: v[:2] for k, v in exact_chip(*a).items()}, min_vdot=0.01)
    with pytest.raises(SpikesError, match="have 2 samples but the inputs have 4"):
        evprop.simulate(net, params, spikes, simulator=short, **given)
    with pytest.raises(ParameterError, match=r"min_vdot is 0\.0"):
        evprop.simulate(net, params, spikes, simulator=ExternalSubstrate(exact_chip, min_vdot=0.0), **given)
    readouts, sim = {"output": [evprop.losses.Final()]}, ExternalSubstrate(exact_chip, min_vdot=0.01)
    with pytest.raises(HardwareError, match="returns spikes only"):
        evprop.simulate(net, params, spikes, simulator=sim, readouts=readouts, **given)
    nan = ExternalSubstrate(
        exact_chip, min_vdot=0.01, write=lambda p: {**p, "hidden.tau_mem": p["hidden.tau_mem"] * np.nan}
    )
    with pytest.raises(ParameterError, match=r"hidden\.tau_mem"):
        evprop.simulate(net, params, spikes, simulator=nan, **given)
