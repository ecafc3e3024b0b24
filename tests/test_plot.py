from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

import evprop
from evprop import init, losses
from evprop.datasets import yin_yang, yin_yang_encoding
from evprop.errors import MissingExtraError, ParameterError

pytest.importorskip("matplotlib")
from evprop import plot

LOSS = losses.FirstSpike(tau_0=0.5, tau_1=6.4, alpha=3e-3)


@pytest.fixture(scope="module")
def trained():
    net = evprop.Network(
        {"input": evprop.Input(5), "hidden": evprop.LIF(20), "output": evprop.LIF(3)},
        [
            evprop.Dense("input", "hidden", weight=init.Normal(1.5, 0.8), delay=init.Uniform(0.0, 4.0)),
            evprop.Dense("hidden", "output", weight=init.Normal(2.0, 0.5)),
        ],
    )
    params = net.init(0)
    data = yin_yang("train", size=60)
    history = evprop.train.fit(
        net,
        params,
        data,
        LOSS,
        evprop.optim.Adam(5e-3),
        epochs=3,
        batch_size=20,
        duration=60.0,
        seed=0,
        validation=data,
    )
    return net, params, data, history


def written(figure, path):
    figure.savefig(path)
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG")
    assert len(data) > 5000
    return figure


def test_learning_curves(trained, tmp_path):
    from evprop.callbacks import json_line

    figure = written(plot.learning_curves(trained[3]), tmp_path / "a.png")
    loss, error, activity = figure.axes
    assert loss.get_yscale() == "log"
    np.testing.assert_array_equal(loss.lines[0].get_ydata(), trained[3]["loss"])
    np.testing.assert_allclose(error.lines[1].get_ydata(), 100 * (1 - trained[3]["val_accuracy"]))
    assert [line.get_label() for line in activity.lines] == ["hidden", "output"]
    rows = [json.loads(json_line(row)) for row in trained[3]]
    rows[0]["loss"] = None  # a NaN in the log
    written(plot.learning_curves(rows), tmp_path / "b.png")
    for row in rows:
        row["accuracy"] = None
        row["val_accuracy"] = 1.0
    assert written(plot.learning_curves(rows), tmp_path / "c.png").axes[1].get_yscale() == "linear"
    with pytest.raises(ParameterError, match="empty"):
        plot.learning_curves([])


def test_raster(trained, tmp_path):
    net, params, data, _ = trained
    record = evprop.simulate(net, params, data.spikes, duration=60.0)
    figure = written(plot.raster(record, 3, title="sample 3"), tmp_path / "a.png")
    assert [axes.get_ylabel() for axes in figure.axes] == ["input", "hidden", "output"]
    drawn = sum(len(c.get_positions()) for c in figure.axes[1].collections)
    assert drawn == len(record.spikes["hidden"][3][0])
    with pytest.raises(ParameterError, match="out of range"):
        plot.raster(record, 60)


def test_decision_map_shows_the_networks_own_classes(trained, tmp_path):
    net, params, data, _ = trained
    encode = yin_yang_encoding("wunderlich_pehle").encode
    figure = plot.decision_map(
        net, params, LOSS, encode, duration=60.0, points=data.points, labels=data.labels, resolution=30
    )
    axes = written(figure, tmp_path / "a.png").axes[0]
    image = axes.images[0].get_array()
    assert image.shape == (30, 30)
    row, column = 14, 22  # y = 14.5 / 30, x = 22.5 / 30
    point = np.array([[22.5 / 30, 14.5 / 30, 1 - 22.5 / 30, 1 - 14.5 / 30]])
    predicted = evprop.predict(net, params, encode(point), LOSS, duration=60.0)[0]
    assert image[row, column] == predicted
    assert np.ma.is_masked(image[0, 0]) or np.isnan(image[0, 0])
    wrong = (evprop.predict(net, params, data.spikes, LOSS, duration=60.0) != data.labels).sum()
    assert axes.get_title().startswith(f"{wrong} of 60")


def test_histograms(trained, tmp_path):
    net, params, _, _ = trained
    figure = written(plot.histograms(net, net.init(0), params), tmp_path / "a.png")
    assert [axes.get_title() for axes in figure.axes] == [
        "input_hidden.weight",
        "input_hidden.delay",
        "hidden_output.weight",
    ]
    assert figure.axes[1].get_xlabel() == "delay [ms]"
    li = evprop.Network({"i": evprop.Input(2), "o": evprop.LI(2)}, [evprop.Dense("i", "o", weight=1.0)])
    written(plot.histograms(li, li.init(0), li.init(0)), tmp_path / "b.png")
    alone = evprop.Network({"i": evprop.Input(2)})
    with pytest.raises(ParameterError, match="no projection"):
        plot.histograms(alone, {}, {})


def test_histograms_show_the_constants_that_training_may_change():
    lif = evprop.LIF(3, tau_mem=evprop.init.Uniform(10.0, 30.0), trainable=("tau_mem", "v_th"))
    net = evprop.Network({"i": evprop.Input(2), "h": lif}, [evprop.Dense("i", "h", weight=1.0)])
    before, after = net.init(0), net.init(0)
    after["h.tau_mem"] *= 1.5
    figure = plot.histograms(net, before, after)
    labels = {axes.get_title(): axes.get_xlabel() for axes in figure.axes}
    assert labels == {"i_h.weight": "weight [v_th]", "h.tau_mem": "tau_mem [ms]", "h.v_th": "v_th [v_th]"}
    (tau_mem,) = (axes for axes in figure.axes if axes.get_title() == "h.tau_mem")
    grey, blue = tau_mem.patches[:40], tau_mem.patches[40:]
    assert sum(bar.get_height() for bar in grey) == 3
    assert blue


def test_without_matplotlib_one_line_names_the_extra(trained, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'evprop\[plot\]'"):
        plot.histograms(trained[0], trained[1], trained[1])


def test_importing_the_module_needs_no_matplotlib():
    code = "import sys, evprop.plot; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
