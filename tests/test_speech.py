"""Recordings from the experiment file to the report: train, evaluate on any file, resume, one HTML page."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
from click.testing import CliRunner

import evprop
from evprop import Spikes
from evprop.cli import main
from evprop.config import experiments, load_config
from evprop.datasets import Dataset, read_hdf5
from evprop.errors import ConfigError
from evprop.experiment import build_experiment
from evprop.losses import DelayL2, Rate

h5py = pytest.importorskip("h5py")
pytest.importorskip("matplotlib")

N_UNITS, CLASSES = 40, ("low", "middle", "high")


def write(path, n, seed, *, n_units=N_UNITS, keys=CLASSES):
    """Words of three classes: spikes around a third of the channels each, over some 60 ms."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % len(keys)
    with h5py.File(path, "w") as file:
        times = file.create_dataset("spikes/times", (n,), dtype=h5py.vlen_dtype(np.float16))
        units = file.create_dataset("spikes/units", (n,), dtype=h5py.vlen_dtype(np.uint16))
        for k, label in enumerate(labels):
            times[k] = np.sort(rng.uniform(0.0, 0.07, 60)).astype(np.float16)
            centre = (label + 0.5) * n_units / len(keys)
            units[k] = np.clip(rng.normal(centre, n_units / 10, 60), 0, n_units - 1).astype(np.uint16)
        file["labels"] = labels.astype(np.uint16)
        file["extra/keys"] = np.array([key.encode() for key in keys])
        file["extra/speaker"] = (np.arange(n) // 3 % 4).astype(np.uint16)
    return path


EXPERIMENT = """# Three made-up words
name = "words"
seed = 0
duration = 60.0
augment = [{ kind = "ShiftChannels", most = 2 }, { kind = "Blend", p = 0.3 }]
regularisers = [
    { kind = "Rate", population = "hidden", target = 4.0, upper = 1e-4 },
    { kind = "DelayL2", projection = "input_hidden", strength = 1e-6 },
]
[data]
kind = "recordings"
folder = "words"
train = "train.h5"
test = "test.h5"
validation = { speaker = [3] }
n_units = 40
[populations.input]
kind = "Input"
size = 40
[populations.hidden]
kind = "LIF"
size = 24
trainable = ["tau_mem"]
[populations.output]
kind = "LI"
size = 3
[projections.input_hidden]
kind = "Dense"
pre = "input"
post = "hidden"
weight = { kind = "Normal", mean = 0.15, std = 0.3 }
delay = { kind = "Uniform", low = 0.0, high = 10.0 }
[projections.hidden_output]
kind = "Dense"
pre = "hidden"
post = "output"
weight = { kind = "Normal", mean = 0.0, std = 0.3 }
[loss]
kind = "CrossEntropy"
readout = { kind = "WeightedIntegral", tau = 60.0 }
[optimiser]
kind = "Adam"
lr = 0.03
schedule = { kind = "EaseIn", start = 0.1, growth = 1.5, then = { kind = "CosineDecay", over = 8 } }
[training]
epochs = 8
batch_size = 8
[callbacks.KeepBest]
[callbacks.EarlyStopping]
patience = 7
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with the recordings and the experiment file, and two finished runs."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "words").mkdir()
    write(folder / "words" / "train.h5", 120, 1)
    write(folder / "words" / "test.h5", 45, 2)
    (folder / "words.toml").write_text(EXPERIMENT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVPROP_DATA", str(folder))
        for seed in (0, 1):
            call(
                "train",
                folder / "words.toml",
                "--seed",
                seed,
                "--out",
                folder / f"run-{seed}",
                "--quiet",
                "--no-pictures",
            )
        yield folder


def call(*arguments, expect=0):
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert result.exit_code == expect, result.output + repr(result.exception)
    return result.output


def test_training_on_recordings_learns(home):
    result = json.loads((home / "run-0" / "result.json").read_text())
    assert result["test_accuracy_best"] > 0.8
    experiment = build_experiment(load_config(home / "run-0" / "config.toml"))
    assert {name: len(part) for name, part in experiment.data.items()} == {
        "train": 90,
        "validation": 30,
        "test": 45,
    }
    assert [type(a).__name__ for a in experiment.augment] == ["ShiftChannels", "Blend"]
    assert [type(term) for _, term in experiment.loss.terms][1:] == [Rate, DelayL2]


def test_what_comes_too_late_is_told(home, capsys):
    build_experiment(load_config(home / "words.toml")).data["test"]
    said = capsys.readouterr().err
    assert re.search(
        r"test\.h5: \d+ of 2700 spikes .* come after the duration of 60 ms and are left out", said
    )


def test_missing_recordings_leave_no_folder(home, monkeypatch):
    said = call(
        "train", home / "words.toml", "--set", "data.folder=nowhere", "--out", home / "none", expect=1
    )
    assert "no folder nowhere" in said
    assert not (home / "none").exists()


def figures(said):
    """What eval prints of a data set, without its name and without what is said about late spikes."""
    return [line for line in said.splitlines() if " samples" not in line and "left out" not in line]


def test_eval_takes_any_file_of_the_layout(home, tmp_path):
    own = call("eval", home / "run-0")
    same = call("eval", home / "run-0", "--data", home / "words" / "test.h5")
    assert figures(own) == figures(same)
    assert re.search(r"spikes per sample: input \d+, hidden \d+", same)
    assert [line.split()[0] for line in figures(same)[-3:]] == list(CLASSES)
    other = write(tmp_path / "other.h5", 30, 3)
    assert "other.h5: 30 samples" in call("eval", home / "run-0", "--data", other)
    data = read_hdf5(other, n_units=N_UNITS).crop(60.0)
    data.save(tmp_path / "other.npz")
    one, two = (call("eval", home / "run-0", "--data", path) for path in (other, tmp_path / "other.npz"))
    assert figures(one) == figures(two)


def test_merged_channels_from_training_to_eval(home, tmp_path):
    merged = ("data.merge=2", "data.every=2", "populations.input.size=20")
    changes = [word for change in merged for word in ("--set", change)]
    call("train", home / "words.toml", *changes, "--epochs", 2, "--out", tmp_path / "run", "--quiet", "--no-pictures")
    expected = json.loads((tmp_path / "run/result.json").read_text())["test_accuracy_best"]
    printed = call("eval", tmp_path / "run", "--data", home / "words/test.h5")
    assert f"{100 * expected:.2f} %" in printed


def test_eval_refuses_what_does_not_fit(home, tmp_path):
    def refused(path):
        return call("eval", home / "run-0", "--data", path, expect=1)

    assert "unit" in refused(write(tmp_path / "wide.h5", 9, 0, n_units=80))
    assert "no spike comes from a channel above" in refused(write(tmp_path / "narrow.h5", 30, 0, n_units=12))
    assert "has 4 classes (a, b, c, d, ...), the network has 3 outputs" in refused(
        write(tmp_path / "classes.h5", 12, 0, keys=tuple("abcd"))
    )
    with h5py.File(tmp_path / "layout.h5", "w") as file:
        file["t"] = np.zeros(3)
    assert "another layout than SHD and SSC (it holds t;" in refused(tmp_path / "layout.h5")
    (tmp_path / "cut.h5").write_bytes((home / "words" / "test.h5").read_bytes()[:3000])
    assert "cut.h5" in refused(tmp_path / "cut.h5")
    Dataset(Spikes.from_lists([([1.0], [3])], n_units=39), np.array([1])).save(tmp_path / "less.npz")
    assert "has 39 channels, the network has 40 inputs" in refused(tmp_path / "less.npz")


# -- report ------------------------------------------------------------------------------------------------------


class Page(HTMLParser):
    """Counts tags and collects what a page asks for from elsewhere."""

    def __init__(self):
        super().__init__()
        self.tags, self.open, self.sources, self.text = [], [], [], ""

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag not in ("meta", "img"):
            self.open.append(tag)
        self.sources += [value for name, value in attributes if name in ("src", "href")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def written(home):
    assert f"wrote {home / 'r.html'}" in call(
        "report", home / "run-0", home / "run-1", "--out", home / "r.html"
    )
    return home / "r.html"


def test_report_is_one_page_that_needs_nothing_else(home, written):
    page = Page()
    page.feed(written.read_text())
    assert page.open == []
    assert len(page.sources) == 1 + 2 * 3
    for source in page.sources:
        head, data = source.split(",", 1)
        assert head == "data:image/svg+xml;base64"
        picture = base64.b64decode(data).decode()
        assert "<svg" in picture
        assert not re.search(r'(?:href|src)="http', picture)
    accuracies = []
    for k in (0, 1):
        result = json.loads((home / f"run-{k}" / "result.json").read_text())
        accuracies.append(100 * result["test_accuracy_best"])
        assert f"{accuracies[-1]:.2f}" in page.text
    assert f"{np.mean(accuracies):.2f} ± {np.std(accuracies, ddof=1):.2f}" in page.text
    for word in (
        "Configuration",
        "How to repeat it",
        "Spikes per layer",
        "[projections.input_hidden]",
        "run-1",
    ):
        assert word in page.text


def test_report_without_the_recordings_says_so(home, tmp_path, monkeypatch):
    monkeypatch.setenv("EVPROP_DATA", str(tmp_path))
    call("report", home / "run-0", "--out", tmp_path / "r.html")
    text = (tmp_path / "r.html").read_text()
    assert "Without its data set" in text
    assert text.count("<img") == 2


def test_report_of_an_unfinished_run(home, tmp_path):
    shutil.copytree(home / "run-0", tmp_path / "cut")
    (tmp_path / "cut" / "result.json").unlink()
    assert "no finished run" in call("report", tmp_path / "cut", expect=1)


def test_report_opens_in_a_browser(written, tmp_path):
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        pytest.skip("no chromium here")
    picture = tmp_path / "r.png"
    subprocess.run(
        [
            browser,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            f"--screenshot={picture}",
            "--window-size=1200,3000",
            f"file://{written}",
        ],
        check=True,
        capture_output=True,
        timeout=120,
    )
    assert picture.stat().st_size > 50_000


# -- the shipped experiments on recordings -----------------------------------------------------------------------


SPOKEN = [name for name in experiments() if name.split("-")[0] in ("fsdd", "gsc", "shd", "ssc")]


@pytest.mark.parametrize("name", SPOKEN)
def test_shipped_settings_make_a_step(name):
    """A step of each on a few made-up spikes, with few neurons."""
    config = load_config(name)
    small = [f"populations.{p}.size=8" for p in config["populations"] if p.startswith("hidden")]
    experiment = build_experiment(load_config(name, small))
    rng = np.random.default_rng(0)
    n_units = experiment.net.populations["input"].size
    assert n_units == 700 // config["data"].get("merge", 1)
    spikes = evprop.Spikes.from_lists(
        [(rng.uniform(0, 300, 400), rng.integers(0, n_units, 400)) for _ in range(3)], n_units=n_units
    )
    params = experiment.init()
    state = experiment.optimiser.init(experiment.net, params)
    value, grads, _ = evprop.value_and_grad(
        experiment.net,
        params,
        spikes,
        np.array([0, 1, 2]),
        experiment.loss,
        duration=experiment.duration,
        simulator=experiment.simulator,
    )
    experiment.optimiser.step(params, grads, state)
    n_classes = experiment.net.populations["output"].size
    assert value == pytest.approx(np.log(n_classes), rel=0.3)
    delays = [p for p in experiment.net.trainable if p.endswith(".delay")]
    assert bool(delays) == ("delays" in name or "loihi" in name)
    assert ("hidden.tau_mem" in experiment.net.trainable) == ("taus" in name)
    recurrent = any(p.pre == p.post for p in experiment.net.projections)
    assert recurrent == ("-ff" not in name)


def test_an_experiment_on_a_base(tmp_path):
    below, above = load_config("fsdd-ff"), load_config("fsdd-ff-delays")
    changed = {k for k in below.values if below.values[k] != above.values[k]}
    assert changed == {"name", "projections", "optimiser"}
    assert above["projections.input_hidden.weight"] == below["projections.input_hidden.weight"]
    assert "base" not in above.values
    assert above.text.startswith("# Spoken digits")
    own = tmp_path / "own.toml"
    own.write_text(above.text)
    assert load_config(own).values == above.values
    own.write_text('base = "own.toml"\n')
    for text, message in (
        ("base = 3\n", "base is 3"),
        ('base = "fsdd-f"\n', "did you mean 'fsdd-ff'"),
        (f'base = "{own}"\n', "cannot be its own base"),
        ('base = "fsdd-ff"\n[data]\nkind = "yin_yang"\n', None),
    ):
        own.write_text(text)
        if message is None:
            assert load_config(own)["data"] == {
                "kind": "yin_yang"
            }  # another kind takes nothing from the base
            continue
        with pytest.raises(ConfigError, match=message):
            load_config(own)
