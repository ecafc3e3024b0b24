from __future__ import annotations

import io
import json
import math
import re

import numpy as np
import pytest

import evprop
from evprop import init, losses
from evprop.augment import Blend, DropSpikes, JitterTimes, ShiftChannels
from evprop.callbacks import (
    Callback,
    ClipWeights,
    EarlyStopping,
    JsonLog,
    KeepBest,
    Progress,
    ReduceOnPlateau,
    SaveCheckpoint,
    StopOnSilence,
    StopWhen,
    WeightBumping,
    describe,
    health_line,
)
from evprop.datasets import Dataset, sequence_detection, yin_yang
from evprop.errors import (
    CheckpointError,
    ConfigError,
    DatasetError,
    TargetError,
    TrainingError,
    UnknownNameError,
)
from evprop.losses.skip_silent import SkipSilentLabels
from evprop.metrics import accuracy, confusion, evaluate, spikes_per_neuron
from evprop.optim import Adam, ExponentialDecay, Sigmoid
from evprop.train import fit

LOSS = losses.FirstSpike(tau_0=0.5, tau_1=6.4, alpha=3e-3)


def network(n=12, dtype="float64"):
    net = evprop.Network(
        {"input": evprop.Input(5), "hidden": evprop.LIF(n), "output": evprop.LIF(3)},
        [
            evprop.Dense("input", "hidden", weight=init.Normal(1.5, 0.8), delay=init.Uniform(0.5, 4.0)),
            evprop.Dense("hidden", "output", weight=init.Normal(2.0, 0.5)),
        ],
    )
    return net, net.init(0, dtype=dtype)


def optimiser():
    groups = {"*.delay": {"lr": 0.05, "map": Sigmoid(0.0, 10.0)}}
    return Adam(5e-3, groups=groups, schedule=ExponentialDecay(0.9), clip_norm=50.0)


@pytest.fixture(scope="module")
def data():
    return yin_yang("train", size=130), yin_yang("validation")[:60]


class StopAt(Callback):
    """Raises after a number of batches, as a crash would."""

    def __init__(self, batches):
        self.left = batches

    def on_batch(self, run):
        self.left -= 1
        if self.left == 0:
            raise RuntimeError("crash")


def run(data, params, net, *, epochs=4, callbacks=(), **more):
    train, validation = data
    return fit(
        net,
        params,
        train,
        LOSS,
        optimiser(),
        epochs=epochs,
        batch_size=32,
        duration=60.0,
        seed=3,
        validation=validation,
        callbacks=callbacks,
        **more,
    )


def bits(params):
    return {name: array.tobytes() for name, array in params.items()}


def test_training_learns_and_logs(data):
    net, params = network(40)
    history = run(data, params, net, epochs=12)
    assert len(history) == 12
    assert history["accuracy"][-1] > history["accuracy"][0] + 0.15
    assert history["loss"][-1] < 0.7 * history["loss"][0]
    assert (np.diff(history["seconds"]) > 0).all()
    assert (history["health.min_vdot"] > 0).all()
    assert (history["spikes_per_neuron.hidden"] > 0).all()
    row = history.rows[-1]
    assert row["epoch"] == 12
    assert row["learning_rates"]["*"] == pytest.approx(5e-3 * 0.9**11)
    assert set(row["health"]) == {"min_vdot", "silent", "dropped", "max_grad_norm", "bumped_steps"}
    with pytest.raises(UnknownNameError, match="did you mean 'val_accuracy'"):
        history["val_acuracy"]


def test_a_run_is_reproducible_whatever_the_threads(data):
    results = []
    before = evprop.num_threads()
    try:
        for threads in (1, 2, 3):
            evprop.set_num_threads(threads)
            net, params = network()
            history = run(data, params, net, epochs=2)
            results.append((bits(params), history["loss"].tolist(), history["val_loss"].tolist()))
    finally:
        evprop.set_num_threads(before)
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize("batches", [1, 3, 5, 9, 14])
def test_resume_gives_the_same_bits(data, tmp_path, batches):
    """A crash after some batch, at the end of an epoch (5 batches) or within one; then the same call again."""
    best, twin_best = KeepBest(window=2), KeepBest(window=2)
    bumping = lambda: WeightBumping({"hidden": 0.9, "output": 0.2})  # noqa: E731
    net, whole = network()
    wanted = run(data, whole, net, callbacks=(best, bumping()))
    _, params = network()
    checkpoint = tmp_path / "c.safetensors"

    class Save(SaveCheckpoint):
        def on_end(self, run, outcome):
            pass  # a kill leaves no time for a last checkpoint

    Save.name = "SaveCheckpoint"
    crash = StopAt(batches)
    crash.name = "Other"
    same_slot = Callback()
    same_slot.name = "Other"
    with pytest.raises(RuntimeError, match="crash"):
        run(
            data, params, net, callbacks=(KeepBest(window=2), bumping(), Save(checkpoint, seconds=0.0), crash)
        )
    _, params = network()
    history = run(
        data,
        params,
        net,
        callbacks=(twin_best, bumping(), Save(checkpoint, seconds=0.0), same_slot),
        resume=checkpoint,
    )
    assert bits(params) == bits(whole)
    assert history["loss"].tolist() == wanted["loss"].tolist()
    assert history["val_loss"].tolist() == wanted["val_loss"].tolist()
    assert [r["health"] for r in history] == [r["health"] for r in wanted]
    assert twin_best.epoch == best.epoch
    assert bits(twin_best.params) == bits(best.params)


def test_run_folder_and_longer_training(data, tmp_path):
    net, params = network()
    folder = tmp_path / "run"
    run(data, params, net, epochs=2, run_dir=folder)
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2]
    with pytest.raises(CheckpointError, match="already holds a run"):
        run(data, params, net, epochs=2, run_dir=folder)
    _, again = network()
    assert len(run(data, again, net, epochs=2, run_dir=folder, resume=True)) == 2
    assert bits(again) == bits(params)
    _, longer = network()
    run(data, longer, net, epochs=4, run_dir=folder, resume=True)
    _, whole = network()
    run(data, whole, net, epochs=4)
    assert bits(longer) == bits(whole)
    assert len((folder / "metrics.jsonl").read_text().splitlines()) == 4


def test_resume_refuses_another_setup(data, tmp_path):
    net, params = network()
    run(data, params, net, epochs=1, run_dir=tmp_path)
    with pytest.raises(CheckpointError, match="another data"):
        run((data[1], data[1]), params, net, epochs=2, run_dir=tmp_path, resume=True)
    with pytest.raises(CheckpointError, match="another max_dw_norm"):
        run(data, params, net, epochs=2, run_dir=tmp_path, resume=True, max_dw_norm=0.2)
    other, other_params = network(13)
    with pytest.raises(CheckpointError, match="another network"):
        run(data, other_params, other, epochs=2, run_dir=tmp_path, resume=True)
    with pytest.raises(CheckpointError, match="no such file"):
        run(data, params, net, resume=tmp_path / "none")
    with pytest.raises(ConfigError, match="run_dir"):
        run(data, params, net, resume=True)


def test_log_is_strict_json_and_resumes_cleanly(tmp_path):
    class Fake:
        rows = [{"epoch": 1, "loss": math.nan, "health": {"min_vdot": math.inf}}]  # noqa: RUF012

    path = tmp_path / "m.jsonl"
    path.write_text("left over from a killed run\nhalf a li")
    log = JsonLog(path)
    log.on_start(Fake())
    log.on_epoch(Fake(), {"epoch": 2, "loss": np.float64(0.5), "n": np.int64(3)})
    log.on_end(Fake(), "finished")
    first, second = path.read_text().splitlines()
    assert json.loads(first) == {"epoch": 1, "loss": None, "health": {"min_vdot": None}}
    assert json.loads(second) == {"epoch": 2, "loss": 0.5, "n": 3}


def test_keep_best_keeps_the_best_epoch(data):
    net, params = network()
    best = KeepBest()
    history = run(data, params, net, epochs=5, callbacks=(best,))
    scores = list(zip(history["val_accuracy"], -history["val_loss"], strict=True))
    assert best.epoch == 1 + scores.index(max(scores))
    seen = evaluate(net, best.params, data[1], LOSS, duration=60.0)
    assert seen.loss == history["val_loss"][best.epoch - 1]
    smooth = KeepBest(window=3)
    _, again = network()
    run(data, again, net, epochs=5, callbacks=(smooth,))
    means = [history["val_accuracy"][k - 2 : k + 1].mean() for k in range(2, 5)]
    assert means[smooth.epoch - 3] == pytest.approx(max(means))
    with pytest.raises(ConfigError, match="window"):
        KeepBest(window=0)
    with pytest.raises(ConfigError, match="validation"):
        fit(
            net,
            params,
            data[0],
            LOSS,
            optimiser(),
            epochs=1,
            batch_size=32,
            duration=60.0,
            seed=0,
            callbacks=[KeepBest()],
        )


def test_stop_when(data):
    net, params = network()
    history = run(data, params, net, epochs=50, callbacks=(StopWhen("accuracy", 0.4),))
    assert len(history) < 50
    assert history["accuracy"][-1] >= 0.4
    with pytest.raises(ConfigError, match="did you mean 'accuracy'"):
        run(data, params, net, epochs=1, callbacks=(StopWhen("acuracy", 0.4),))


def test_weight_bumping_is_fast_and_deeps():
    """One sample, hidden neurons 0 and 2 silent: the step is replaced by +amount on their inputs, doubling."""
    weight = np.array([[0.1, 9.0, 0.1], [0.2, 9.0, 0.2]])
    net = evprop.Network(
        {"input": evprop.Input(2), "hidden": evprop.LIF(3), "output": evprop.LIF(2)},
        [
            evprop.Dense("input", "hidden", weight=weight),
            evprop.Dense("hidden", "hidden", weight=0.0, self_connections=False),
            evprop.Dense("hidden", "output", weight=1.0),
        ],
    )
    params = net.init(0)
    spikes = evprop.Spikes.from_lists([([1.0, 2.0], [0, 1])], n_units=2)
    data = Dataset(spikes, np.array([0]), n_classes=2)
    bumping = WeightBumping({"hidden": 0.5, "output": 0.0}, amount=1e-3)
    history = fit(
        net, params, data, LOSS, Adam(0.1), epochs=3, batch_size=1, duration=30.0, seed=0, callbacks=[bumping]
    )
    added = 1e-3 + 2e-3 + 4e-3
    expected = weight + added * np.array([1.0, 0.0, 1.0])
    np.testing.assert_allclose(params["input_hidden.weight"], expected, rtol=1e-13)
    recurrent = added * np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
    np.testing.assert_allclose(params["hidden_hidden.weight"], recurrent, rtol=1e-13)
    np.testing.assert_array_equal(params["hidden_output.weight"], 1.0)
    assert [row["health"]["bumped_steps"] for row in history] == [1, 1, 1]
    # only the first population that misses spikes is helped; here it is the output's turn
    params = net.init(0)
    bumping = WeightBumping({"hidden": 0.7, "output": 0.0}, amount=1e-3, double=False)
    fit(
        net, params, data, LOSS, Adam(0.1), epochs=2, batch_size=1, duration=30.0, seed=0, callbacks=[bumping]
    )
    np.testing.assert_array_equal(params["input_hidden.weight"], weight)
    np.testing.assert_allclose(params["hidden_output.weight"], 1.002, rtol=1e-13)


def test_weight_bumping_sparse():
    mask = np.array([[1, 1, 0], [0, 1, 1]], dtype=bool)
    net = evprop.Network(
        {"input": evprop.Input(2), "output": evprop.LIF(3)},
        [evprop.Sparse("input", "output", mask=mask, weight=np.array([0.1, 9.0, 9.0, 0.1]))],
    )
    params = net.init(0)
    spikes = evprop.Spikes.from_lists([([1.0, 2.0], [0, 1])], n_units=2)
    bumping = WeightBumping({"output": 0.0}, amount=0.5)
    data = Dataset(spikes, np.array([1]), n_classes=3)
    fit(
        net, params, data, LOSS, Adam(0.1), epochs=1, batch_size=1, duration=30.0, seed=0, callbacks=[bumping]
    )
    np.testing.assert_allclose(params["input_output.weight"], [0.6, 9.0, 9.0, 0.6])


def test_weight_bumping_checks(data):
    for settings in ({"max_missing": {"hidden": 1.5}}, {"max_missing": {}, "amount": 0.0}):
        with pytest.raises(ConfigError):
            WeightBumping(**settings)
    net, params = network()
    with pytest.raises(ConfigError, match="did you mean 'hidden'"):
        run(data, params, net, epochs=1, callbacks=(WeightBumping({"hiden": 0.3}),))


def test_silent_labels_can_be_left_out():
    """The label's neuron is silent: FirstSpike pushes the others later, SkipSilentLabels leaves the sample out."""
    net = evprop.Network(
        {"input": evprop.Input(1), "output": evprop.LIF(2)},
        [evprop.Dense("input", "output", weight=np.array([[9.0, 0.1]]))],
    )
    params = net.init(0)
    spikes = evprop.Spikes.from_lists([([1.0], [0]), ([1.0], [0])], n_units=1)
    skipping = SkipSilentLabels(LOSS)
    _, grads, _ = evprop.value_and_grad(net, params, spikes, np.array([1, 1]), LOSS, duration=30.0)
    assert grads["input_output.weight"][0, 0] != 0
    value, grads, _ = evprop.value_and_grad(net, params, spikes, np.array([1, 1]), skipping, duration=30.0)
    assert value == 100.0
    assert not grads["input_output.weight"].any()
    value, grads, record = evprop.value_and_grad(
        net, params, spikes, np.array([0, 1]), skipping, duration=30.0
    )
    alone, wanted, _ = evprop.value_and_grad(net, params, spikes[:1], np.array([0]), LOSS, duration=30.0)
    assert value == pytest.approx((alone + 100.0) / 2)
    np.testing.assert_allclose(grads["input_output.weight"], wanted["input_output.weight"] / 2, rtol=1e-13)
    np.testing.assert_array_equal(skipping.predict(record), [0, 0])
    with pytest.raises(ConfigError):
        SkipSilentLabels(losses.FirstSpike)
    li = evprop.Network({"i": evprop.Input(1), "o": evprop.LI(2)}, [evprop.Dense("i", "o", weight=1.0)])
    wrong = SkipSilentLabels(losses.CrossEntropy(losses.Max()))
    with pytest.raises(ConfigError, match="spike times of one population"):
        evprop.value_and_grad(li, li.init(0), spikes, np.array([0, 1]), wrong, duration=30.0)


def test_losses_without_classes(data):
    net, params = network()
    targets = np.full((20, 3), 30.0)

    class Timed:
        spikes = data[0].spikes[:20]
        labels = targets

    class Times(losses.Loss):
        """Squared error of spike times that tells no classes."""

        def evaluate(self, record, targets):
            return losses.SpikeTimeMSE().evaluate(record, targets)

    loss = Times()
    history = fit(
        net,
        params,
        Timed(),
        loss,
        Adam(1e-3),
        epochs=2,
        batch_size=8,
        duration=60.0,
        seed=0,
        validation=Timed(),
    )
    assert np.isnan(history["accuracy"]).all()
    assert np.isnan(history["val_accuracy"]).all()
    assert history["loss"][1] < history["loss"][0]


def test_sequence_detection_is_solved_by_delays_alone():
    data = sequence_detection()
    net = evprop.Network(
        {"input": evprop.Input(2), "output": evprop.LI(2, tau_mem=10.0, tau_syn=5.0)},
        [evprop.Dense("input", "output", weight=1.0, delay=0.0, trainable=("delay",))],
    )
    params = net.init(0)
    loss = losses.CrossEntropy(losses.Max())
    adam = Adam(1.0, groups={"*.delay": {"max": 15.0}})
    history = fit(
        net,
        params,
        data,
        loss,
        adam,
        epochs=200,
        batch_size=2,
        duration=25.0,
        seed=0,
        callbacks=[StopWhen("accuracy", 1.0)],
    )
    assert history["accuracy"][-1] == 1.0
    assert (params["input_output.weight"] == 1.0).all()
    delays = params["input_output.delay"]
    assert delays[0, 0] > delays[1, 0]
    assert delays[1, 1] > delays[0, 1]
    assert evaluate(net, params, data, loss, duration=25.0).accuracy == 1.0


def test_float32_trains(data):
    net, params = network(dtype="float32")
    history = run(data, params, net, epochs=2, simulator=evprop.Exact(dtype="float32"))
    assert params["input_hidden.weight"].dtype == np.float32
    assert np.isfinite(history["loss"]).all()


def test_bad_calls(data):
    net, params = network()
    bad = Dataset(data[0].spikes, data[0].labels + 3)
    with pytest.raises(TargetError):
        run((bad, data[1]), params, net)
    with pytest.raises(DatasetError, match="empty"):
        run((data[0][:0], data[1]), params, net)
    with pytest.raises(ConfigError, match="epochs"):
        run(data, params, net, epochs=-1)
    with pytest.raises(ConfigError, match="two callbacks are named 'KeepBest'"):
        run(data, params, net, callbacks=(KeepBest(), KeepBest()))
    assert len(run(data, params, net, epochs=0)) == 0
    assert run(data, params, net, epochs=0)["loss"].shape == (0,)


def test_samples_without_spikes_train(data):
    net, params = network()
    empty = evprop.Spikes.from_lists([([], []), ([1.0], [4])], n_units=5)
    mixed = Dataset(evprop.Spikes.concatenate([empty, data[0].spikes]), np.r_[[0, 1], data[0].labels])
    history = run((mixed, data[1]), params, net, epochs=1)
    assert np.isfinite(history["loss"]).all()


def test_metrics(data):
    assert accuracy([0, 1, -1, 2], [0, 1, 2, 0]) == 0.5
    for bad in (([], []), ([1], [1, 2])):
        with pytest.raises(TargetError):
            accuracy(*bad)
    table = confusion([0, 1, -1, 2], [0, 1, 2, 0], 3)
    np.testing.assert_array_equal(table, [[1, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
    net, params = network()
    whole = evaluate(net, params, data[0], LOSS, duration=60.0)
    parts = evaluate(net, params, data[0], LOSS, duration=60.0, batch_size=7)
    np.testing.assert_array_equal(whole.predictions, parts.predictions)
    assert whole.loss == pytest.approx(parts.loss, rel=1e-12)
    record = evprop.simulate(net, params, data[0].spikes, duration=60.0)
    mean = spikes_per_neuron(record)
    assert mean["hidden"] == pytest.approx(record.spikes["hidden"].counts().mean())
    assert whole.spikes_per_neuron == pytest.approx(mean)
    np.testing.assert_array_equal(whole.predictions, LOSS.predict(record))


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress(data):
    net, params = network()
    screen, plain = Terminal(), io.StringIO()
    run(data, params, net, epochs=2, callbacks=(Progress(file=screen),))
    run(data, params, net, epochs=2, callbacks=(Progress(file=plain, seconds=0.0),))
    assert "epoch 2/2" in screen.getvalue()
    for text in (screen.getvalue(), plain.getvalue()):
        assert "spikes/neuron hidden" in text
        assert "loss" in text
        assert "val" in text
    first, last = plain.getvalue().splitlines()
    assert re.search(r"  0:0\d:\d\d left$", first)
    assert last.endswith("  0:00:00 left")


def test_lines_for_people(data):
    net, params = network()
    row = run(data, params, net, epochs=1).rows[0]
    assert "spikes/neuron hidden" in describe(row)
    assert "dV/dt" in health_line(row)
    assert "silent: hidden" in health_line(row)


# -- patience ------------------------------------------------------------------------------------------------------


class Rows(Callback):
    """Puts given numbers into the log, as if they had been measured."""

    def __init__(self, column, values):
        self.column, self.values = column, values

    def on_epoch(self, run, row):
        row[self.column] = self.values[run.epoch - 1]


@pytest.mark.parametrize(
    ("values", "rising", "stops"),
    [
        ([0.1, 0.3, 0.2, 0.3, 0.25, 0.9], True, 5),  # three epochs that are not above 0.3
        ([0.1, 0.3, 0.2, 0.4, 0.4, 0.4], True, 6),
        ([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], True, 6),
        ([3.0, 2.0, 2.5, 2.0, 2.1, 1.0], False, 5),
        ([math.nan] * 6, True, 3),
    ],
)
def test_early_stopping(data, values, rising, stops):
    net, params = network(3)
    callbacks = [Rows("x", values), EarlyStopping(3, column="x", rising=rising)]
    history = run((data[0][:32], data[1][:5]), params, net, epochs=6, callbacks=callbacks)
    assert len(history) == stops


def test_reduce_on_plateau(data, tmp_path):
    values = [0.1, 0.3, 0.2, 0.2, 0.2, 0.2, 0.5, 0.4]
    part = (data[0][:32], data[1][:5])

    def callbacks():
        return [Rows("x", values), ReduceOnPlateau(0.5, 2, column="x")]

    net, params = network(3)
    history = run(part, params, net, epochs=8, callbacks=callbacks())
    rates = [row["learning_rates"]["*.delay"] / (0.05 * 0.9**k) for k, row in enumerate(history)]
    # two epochs of patience after epoch 2, twice; an epoch's rates are those of its last step
    assert rates == pytest.approx([1, 1, 1, 1, 0.5, 0.5, 0.25, 0.25])
    _, again = network(3)
    run(part, again, net, epochs=3, callbacks=callbacks(), run_dir=tmp_path)
    _, resumed = network(3)
    run(part, resumed, net, epochs=8, callbacks=callbacks(), run_dir=tmp_path, resume=True)
    for name in params:
        np.testing.assert_array_equal(params[name], resumed[name])


def test_silence_ends_training_and_keeps_the_checkpoint(data, tmp_path):
    net, params = network()

    class Silencer(Callback):
        def on_epoch(self, run, row):
            if run.epoch == 2:
                run.params["input_hidden.weight"][...] = 0.0

    with pytest.raises(TrainingError, match=r"'hidden' fired no spike in epoch 3.*PeakVoltage"):
        run((data[0][:32], data[1][:5]), params, net, callbacks=[StopOnSilence(), Silencer()], run_dir=tmp_path)
    assert (tmp_path / "checkpoint.safetensors").exists()
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 2


def test_patience_is_checked(data):
    for make in (lambda: EarlyStopping(0), lambda: ReduceOnPlateau(0.5, 0), lambda: ReduceOnPlateau(1.0, 3)):
        with pytest.raises(ConfigError, match=r"patience is 0|factor is"):
            make()
    net, params = network(3)
    with pytest.raises(ConfigError, match=r"no column 'val_acuracy'.*'val_accuracy'"):
        run((data[0][:32], data[1][:5]), params, net, callbacks=[EarlyStopping(3, column="val_acuracy")])


# -- augmentation --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batches", [3, 8])
def test_resume_with_augmentation_gives_the_same_bits(data, tmp_path, batches):
    augment = [ShiftChannels(1), Blend(0.5), JitterTimes(0.5), DropSpikes(0.1)]
    net, params = network()
    whole = run(data, params, net, augment=augment)
    _, plain = network()
    run(data, plain, net)
    assert not np.array_equal(params["input_hidden.weight"], plain["input_hidden.weight"])
    _, cut = network()
    with pytest.raises(RuntimeError, match="crash"):
        run(data, cut, net, augment=augment, run_dir=tmp_path, callbacks=[SaveOften(tmp_path), StopAt(batches)])
    _, resumed = network()
    again = run(
        data, resumed, net, augment=augment, run_dir=tmp_path, resume=True, callbacks=[SaveOften(tmp_path), StopAt(0)]
    )
    for name in params:
        np.testing.assert_array_equal(params[name], resumed[name])
    assert [r["loss"] for r in whole] == [r["loss"] for r in again]
    _, other = network()
    with pytest.raises(CheckpointError, match="augmentation"):
        run(data, other, net, run_dir=tmp_path, resume=True, callbacks=[SaveOften(tmp_path), StopAt(0)])


class SaveOften(Callback):
    """A checkpoint after every batch, in the place where a run folder has its own."""

    def __init__(self, folder):
        self.path = folder / "checkpoint.safetensors"

    def on_batch(self, run):
        run.checkpoint().write(self.path)


# -- the average over the steps --------------------------------------------------------------------------------


class Steps(Callback):
    """The parameters after each step."""

    def __init__(self):
        self.seen = []

    def on_batch(self, run):
        self.seen.append({name: array.copy() for name, array in run.params.items()})


def test_what_is_validated_and_kept_is_the_average(data):
    net, plain = network()
    without = run(data, plain, net, epochs=2)
    net, params = network()
    steps, best = Steps(), KeepBest()
    history = run(data, params, net, epochs=2, average=0.8, callbacks=[steps, best])
    assert history["loss"].tolist() == without["loss"].tolist()  # the steps are made as without
    assert bits(steps.seen[-1]) == bits(plain)
    mean = None
    looked = []
    for k, step in enumerate(steps.seen, start=1):
        share = max(0.2, 1 / k)
        mean = step if mean is None else {n: (1 - share) * mean[n] + share * step[n] for n in step}
        if k % 5 == 0:  # an epoch
            looked.append(evaluate(net, mean, data[1], LOSS, duration=60.0).loss)
    for name, array in params.items():
        np.testing.assert_allclose(array, mean[name], rtol=1e-12, atol=1e-14)
    assert any(not np.array_equal(params[name], plain[name]) for name in params)
    np.testing.assert_allclose(history["val_loss"], looked, rtol=1e-9)
    assert evaluate(net, best.params, data[1], LOSS, duration=60.0).loss == history["val_loss"][best.epoch - 1]


@pytest.mark.parametrize("batches", [3, 5, 8])
def test_resume_with_an_average_gives_the_same_bits(data, tmp_path, batches):
    net, params = network()
    whole = run(data, params, net, average=0.9)
    _, cut = network()
    with pytest.raises(RuntimeError, match="crash"):
        run(data, cut, net, average=0.9, run_dir=tmp_path, callbacks=[SaveOften(tmp_path), StopAt(batches)])
    given = {"run_dir": tmp_path, "resume": True, "callbacks": [SaveOften(tmp_path), StopAt(0)]}
    _, resumed = network()
    again = run(data, resumed, net, average=0.9, **given)
    assert bits(resumed) == bits(params)
    assert whole["val_loss"].tolist() == again["val_loss"].tolist()
    _, other = network()
    for average in (None, 0.8):
        with pytest.raises(CheckpointError, match="another average"):
            run(data, other, net, average=average, **given)
    _, longer, straight = (network()[1] for _ in range(3))
    run(data, longer, net, epochs=5, average=0.9, **given)  # from the steps, not from their average
    run(data, straight, net, epochs=5, average=0.9)
    assert bits(longer) == bits(straight)


def test_clipped_weights_have_a_clipped_average(data):
    net, params = network()
    run(data, params, net, epochs=1, average=0.5, callbacks=[ClipWeights({"input_hidden": 1.5})])
    assert np.abs(params["input_hidden.weight"]).max() <= 1.5
