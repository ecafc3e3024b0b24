from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from click.testing import CliRunner

import evprop
from evprop.cli import main
from evprop.datasets import yin_yang

QUICK = ["--set", "data.size=200", "--set", "populations.hidden.size=20", "--epochs", "2", "--quiet"]


def call(*arguments, expect=0):
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert result.exit_code == expect, result.output + repr(result.exception)
    return result.output


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "first"
    return folder, call("train", "yin-yang", *QUICK, "--seed", 7, "--out", folder)


def test_train_leaves_a_complete_run_folder(trained):
    folder, output = trained
    assert "test accuracy" in output
    assert "chosen on the validation set" in output
    assert "gradient health" in output
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "config.toml",
        "environment.json",
        "metrics.jsonl",
        "checkpoint.safetensors",
        "final.safetensors",
        "best.safetensors",
        "result.json",
        "weights-and-delays.png",
        "raster.png",
        "learning-curves.png",
        "decision-map.png",
    }
    environment = json.loads((folder / "environment.json").read_text())
    assert environment["evprop"] == evprop.__version__
    assert environment["seed"] == 7
    assert "command" in environment
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert len(rows) == 2
    assert {"min_vdot", "silent", "dropped"} <= set(rows[0]["health"])
    net, params = evprop.load(folder / "final.safetensors")
    assert net.populations["hidden"].size == 20
    result = json.loads((folder / "result.json").read_text())
    loss = evprop.losses.FirstSpike(tau_0=0.5, tau_1=6.4, alpha=3e-3)
    seen = evprop.metrics.evaluate(net, params, yin_yang("test"), loss, duration=60.0)
    assert result["test_accuracy_last"] == seen.accuracy


def test_a_run_can_be_repeated_from_its_own_config(trained, tmp_path):
    folder, _ = trained
    call("train", folder / "config.toml", "--quiet", "--no-pictures", "--out", tmp_path / "again")
    assert (tmp_path / "again" / "config.toml").read_text() == (folder / "config.toml").read_text()
    one, other = (evprop.load(f / "final.safetensors")[1] for f in (folder, tmp_path / "again"))
    for name in one:
        np.testing.assert_array_equal(one[name], other[name])
    assert not list((tmp_path / "again").glob("*.png"))


def test_resume_of_a_finished_run_changes_nothing(trained):
    folder, _ = trained
    before = evprop.load(folder / "final.safetensors")[1]
    assert "test accuracy" in call("train", "--resume", folder, "--quiet", "--no-pictures")
    after = evprop.load(folder / "final.safetensors")[1]
    for name in before:
        np.testing.assert_array_equal(before[name], after[name])


def test_default_folder_counts_up(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for k in (1, 2):
        assert f"run folder runs/sequence-detection-{k}" in call(
            "train", "sequence-detection", "--no-pictures", "--quiet"
        )


def test_eval(trained, tmp_path):
    folder, _ = trained
    said = call("eval", folder)
    best = json.loads((folder / "result.json").read_text())["test_accuracy_best"]
    assert f"accuracy {100 * best:.2f} %" in said
    assert "undecided" in said
    yin_yang("validation")[:100].save(tmp_path / "d.npz")
    assert "d.npz: 100 samples" in call("eval", folder, "--data", tmp_path / "d.npz")
    assert "no such file" in call("eval", folder, "--data", tmp_path / "none.npz", expect=1)
    (tmp_path / "text.npz").write_text("hello")
    assert "damaged" in call("eval", folder, "--data", tmp_path / "text.npz", expect=1)
    wide = yin_yang("test", encoding="deventprop")[:10]
    wide.save(tmp_path / "wide.npz")
    assert "Error:" in call("eval", folder, "--data", tmp_path / "wide.npz", expect=1)


def test_info():
    output = call("info")
    assert evprop.__version__ in output
    for word in ("threads", "SIMD", "CUDA"):
        assert word in output


def test_bench():
    output = call("bench", "--seconds", "0.1", "--workload", "Y", "--workload", "S-none")
    assert "samples/s" in output
    assert "1 thread" in output
    rows = {line.split(" | ")[0].strip("| "): line for line in output.splitlines() if line.startswith("| ")}
    assert {"Y", "S-none"} <= set(rows)
    # Workload S is defined by its activity: 13 to 16 spikes of each of 256 hidden neurons.
    hidden = float(rows["S-none"].split("hidden ")[1].split(" ")[0].replace(",", ""))
    assert 13 < hidden / 256 < 16


def test_show_and_help():
    text = call("train", "yin-yang", "--set", "optimiser.lr=0.25", "--show")
    assert "lr = 0.25" in text
    assert "sequence-detection" in call("train", "--help")
    assert "train" in call("--help")
    assert evprop.__version__ in call("--version")


def test_mistakes_are_one_clear_line(trained, tmp_path):
    folder, _ = trained
    for arguments, message, code in (
        (["train"], "Missing argument 'TASK'", 2),
        (["train", "ying-yang"], "did you mean 'yin-yang'", 1),
        (["train", "yin-yang", "--set", "optimiser.lrr=1"], "did you mean 'lr'", 1),
        (["train", "yin-yang", "--out", folder], "already holds a run", 1),
        (["train", "yin-yang", "--resume", folder], "leave out TASK", 2),
        (["train", "--resume", tmp_path], "cannot be read", 1),
        (["train", "yin-yang", "--threads", "0"], "threads", 1),
        (["eval", tmp_path], "cannot be read", 1),
    ):
        output = call(*arguments, expect=code)
        assert message in output
        assert "Traceback" not in output


def test_a_truncated_checkpoint_is_told(trained, tmp_path):
    folder, _ = trained
    other = tmp_path / "broken"
    other.mkdir()
    (other / "config.toml").write_text((folder / "config.toml").read_text())
    (other / "checkpoint.safetensors").write_bytes((folder / "checkpoint.safetensors").read_bytes()[:500])
    assert "truncated" in call("train", "--resume", other, "--quiet", expect=1)


def test_without_matplotlib(tmp_path, monkeypatch):
    for name in [m for m in sys.modules if m.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    output = call("train", "sequence-detection", "--quiet", "--out", tmp_path / "run")
    assert output.count("evprop[plot]") == 1
    assert "test accuracy 100" in output
