"""`evprop deploy`: from a run folder to a NetX file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import evprop
from evprop.cli import main
from evprop.datasets import yin_yang
from evprop.deploy import Deployed, Settings, deploy
from evprop.experiment import open_run
from evprop.hardware import Imitation, fit_readout_gains, load_net, search_scales
from evprop.metrics import evaluate
from evprop.train import fit

pytest.importorskip("h5py")


def call(*arguments: object, expect: int = 0) -> str:
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert result.exit_code == expect, result.output + repr(result.exception)
    return result.output


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "first"
    quick = ["--set", "data.size=200", "--set", "populations.hidden.size=15", "--epochs", "2", "--quiet", "--no-pictures"]
    call("train", "yin-yang", *quick, "--out", folder)
    return folder


@pytest.fixture(scope="module")
def some(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "some.npz"
    yin_yang("test")[:60].save(path)
    return path


def test_it_prints_and_writes(run: Path, some: Path, tmp_path: Path) -> None:
    out = tmp_path / "model.net"
    text = call("deploy", run, "--out", out, "--data", some, "--dt", 0.5, "--fine-tune", 1, "--scale", "max")
    for line in ("some.npz: 60 samples", "float ", "quantised ", "fine-tuned ", "2 of 128 cores", "not measured", "Jetson Orin Nano", "written: "):
        assert line in text, line
    for row in ("float", "quantised", "fine-tuned"):
        share = float(next(line for line in text.splitlines() if line.startswith(row)).split()[1])
        assert 0.0 <= share <= 100.0
    assert "synaptic operations" in text
    program = load_net(out)
    assert list(program.populations) == ["hidden", "output"]
    assert program.populations["hidden"].n == 15
    assert program.connections[0].delays.max() > 0


def test_nir_files(run: Path, some: Path, tmp_path: Path) -> None:
    load_nir = pytest.importorskip("evprop.interop.nir", reason="needs the extra evprop[nir]").load_nir
    arguments = ["--data", some, "--dt", 0.5, "--scale", "max"]
    assert "written: " in call("deploy", run, "--out", tmp_path / "model.nir", *arguments)
    call("deploy", run, "--out", tmp_path / "model.net", *arguments)
    a, b = load_nir(tmp_path / "model.nir"), load_net(tmp_path / "model.net")
    for k in range(2):
        np.testing.assert_array_equal(a.received(k), b.received(k))
        there = a.received(k) != 0
        np.testing.assert_array_equal(a.connections[k].delays[there], b.connections[k].delays[there])
    for name, population in b.populations.items():
        for register in ("du", "dv", "vth"):
            np.testing.assert_array_equal(getattr(a.populations[name], register), getattr(population, register))


def test_the_search_is_the_default(run: Path, some: Path) -> None:
    text = call("deploy", run, "--data", some, "--dt", 1.0, "--bits", 4)
    assert "weights of 4 bits" in text
    assert "given" in text  # the scales were found, not made by a rule
    assert "written" not in text


def validation_loss(run: Path, state: Deployed) -> float:
    experiment = open_run(run)[0]
    given = (experiment.net, state.params, experiment.data["validation"], experiment.loss)
    return evaluate(*given, duration=experiment.duration, simulator=state.simulator).loss


@pytest.mark.parametrize(("rate", "best"), [(6.0, "last"), (2.5, "between"), (1e3, "none")])
def test_fine_tuning_keeps_its_best_epoch(
    run: Path, some: Path, monkeypatch: pytest.MonkeyPatch, rate: float, best: str
) -> None:
    logs = []
    monkeypatch.setattr("evprop.deploy.fit", lambda *given, **named: logs.append(fit(*given, **named)))
    found = deploy(run, Settings(dt=1.0, scale="max", epochs=4, rate=rate), data=some)
    before, after = found.quantised, found.tuned
    assert after.simulator == before.simulator
    seen = [validation_loss(run, one) for one in (before, after)]
    losses = [seen[0], *logs[0]["val_loss"]]
    k = int(np.argmin(losses))
    assert (k == 0, 0 < k < 4, k == 4) == (best == "none", best == "between", best == "last"), losses
    assert seen[1] == losses[k]


def test_fine_tuning_by_other_settings(run: Path, some: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given, logs = {}, []

    def watched(*positional: object, **named: object) -> None:
        given.update(named)
        logs.append(fit(*positional, **named))

    monkeypatch.setattr("evprop.deploy.fit", watched)
    changes = ("training.average=0.3",)
    found = deploy(run, Settings(dt=1.0, scale="max", epochs=4, rate=2.5, changes=changes), data=some)
    assert given["average"] == 0.3
    falling = 0.5 * (1.0 + np.cos(np.pi * np.array([3, 7, 11, 15]) / 16))  # at the last of the 4 steps of each epoch
    np.testing.assert_allclose([row["learning_rates"]["*.delay"] for row in logs[0]], 2.5 * 0.05 * falling)
    assert validation_loss(run, found.tuned) == min(logs[0]["val_loss"])  # of the averages, one of which is kept


def test_towards_the_answers_in_floating_point(some: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    changes = ["data.size=200", "populations.hidden.size=15", 'populations.output={kind="LI",size=3}']
    changes += ['loss={kind="CrossEntropy",readout={kind="Max"}}', "regularisers=[]", "optimiser.lr=0.02"]
    call("train", "yin-yang", *(w for c in changes for w in ("--set", c)), "--epochs", 2, "--quiet", "--no-pictures", "--out", run)
    found = deploy(run, Settings(dt=1.0, bits=5, scale="max", epochs=2, towards="float"), data=some)
    experiment, params = open_run(run)
    loss = Imitation(experiment.config.build("loss"), params, experiment.simulator)
    before, after = (
        evaluate(
            *(experiment.net, one.params, experiment.data["validation"], loss),
            duration=experiment.duration,
            simulator=one.simulator,
        ).loss
        for one in (found.quantised, found.tuned)
    )
    assert after < before
    assert "fine-tuned" in call("deploy", run, "--data", some, "--scale", "max", "--fine-tune", 1, "--towards", "float")


def test_the_readout_is_fitted_and_scales_are_searched_by_classes(some: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    changes = ["data.size=200", "populations.hidden.size=15", 'populations.output={kind="LI",size=3}']
    changes += ['loss={kind="CrossEntropy",readout={kind="Final"}}', "regularisers=[]", "optimiser.lr=0.02"]
    call("train", "yin-yang", *(w for c in changes for w in ("--set", c)), "--epochs", 2, "--quiet", "--no-pictures", "--out", run)
    found = deploy(run, Settings(dt=1.0, samples=40, readout=100), data=some)
    experiment, params = open_run(run)
    loss, duration = experiment.config.build("loss"), experiment.duration
    plain = evprop.Loihi2(dt=1.0, bias_exp=6, dtype=experiment.simulator.dtype)
    train, validation = (experiment.data[name].spikes for name in ("train", "validation"))
    by_classes = search_scales(experiment.net, params, train[:40], plain, duration=duration, imitate=loss, rounds=1)
    assert found.quantised.simulator == by_classes.simulator
    gains = fit_readout_gains(
        experiment.net, params, train[:100], validation, by_classes.simulator, loss, duration=duration
    )
    assert gains.strength is not None
    for name, values in gains.params.items():
        np.testing.assert_array_equal(found.tuned.params[name], values)
    assert "fine-tuned" in call("deploy", run, "--data", some, "--scale", "max", "--fit-readout", 50)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--fit-readout", -5], "cannot be fitted to -5 samples"),
        (["--fit-readout", 50], "classes of a CrossEntropy"),
        (["--dt", 0.05], "delays of 'input_hidden' are beyond 62 steps"),
        (["--dt", 0], "dt is 0.0 ms"),
        (["--bits", 12], "num_weight_bits is 12"),
        (["--scale", "best"], "one of search, max, percentile"),
        (["--fine-tune", -1], "fine-tuning of -1 epochs"),
        (["--towards", "float"], "compares the classes of a CrossEntropy"),
        (["--data", "nowhere.npz"], "no such file"),
        (["--set", "training.averages=0.9"], "averages"),
        (["--set", "populations.hidden.v_reset=0.2"], "populations belongs to the trained network"),
    ],
)
def test_errors_are_messages_and_nothing_is_written(run: Path, tmp_path: Path, arguments: list, message: str) -> None:
    out = tmp_path / "model.net"
    text = call("deploy", run, "--out", out, *arguments, expect=1)
    assert message in text
    assert "Traceback" not in text
    assert not list(tmp_path.iterdir())


def test_long_delays_can_be_clipped(run: Path, some: Path) -> None:
    text = call("deploy", run, "--data", some, "--dt", 0.1, "--scale", "max", "--clip-delays")
    line = next(line for line in text.splitlines() if line.startswith("input_hidden"))
    assert int(line.split()[-2]) > 0
    assert np.isfinite(float(line.split()[-1]))
