"""What deployment to Loihi 2's model costs in accuracy, over trained run folders; tables in Markdown.

    for s in 0 1 2 3 4; do evprop train benches/loihi2/yin-yang-delays.toml --seed $s --out runs/delays-$s; done
    python benches/loihi2/accuracy.py deploy runs/delays-* --dt 0.1 --fine-tune 3 --size 3000
    python benches/loihi2/accuracy.py rates runs/delays-0 --dt 0.1 --fine-tune 3 --size 3000
    python benches/loihi2/accuracy.py phases runs/delays-* --dt 0.1
    python benches/loihi2/accuracy.py bits runs/delays-0 --dt 0.1 --size 3000
    python benches/loihi2/accuracy.py steps runs/delays-0 --size 3000

deploy: accuracy in floating point, quantised (scales searched on training samples) and fine-tuned on the chip's model;
paired differences over the runs with 95 % bounds (Student's t), of accuracy and of the loss without regularisers, on
the test set and on test and validation set together. Beside an accuracy: how many samples became wrong and right by it,
and p, how often chance alone parts as many as unevenly (McNemar's exact test, two-sided). --fit-readout: gains of what
the readout listens to, fitted on training samples, come before the epochs of fine-tuning. --set: of the experiment, for
fine-tuning. --control: the same fine-tuning in floating point too, which tells what of it is only more training.
--all-phases: recordings that are thinned to every k-th spike are looked at in all k phases of the
thinning, which make k disjoint sets of spikes of each. These are no samples of their own, and neither are the answers
of several runs to the same recording: so there is no p, and beside the bounds over the runs, which say what other
seeds would do, are bounds over recordings, which say what other recordings would do to these runs: of each the mean
difference over runs and phases, and Student's t over recordings.
rates: fine-tuning from several learning rates, on samples of the validation set.
phases: every test sample sent later by 0 to 3 quarters of a step, which only moves the grid against it. The exact
engine on inputs in these steps, and the chip's model on the same, without a search for scales: what a step costs any
network, and what the rest of the chip costs.
bits: weights of 8 to 2 bits, by each rule and by search.
steps: dt up to 5 ms, beside the exact engine on inputs that were rounded to the same grid: what no chip can undo.
--size: of Yin-Yang's test or validation set, made longer by its own generator: the first 1,000 samples are the
published ones.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import stats

import evprop
from evprop import Spikes
from evprop.datasets import Dataset, merge_channels, yin_yang
from evprop.deploy import Settings, deploy, fine_tune
from evprop.experiment import Experiment, open_run
from evprop.hardware import median_shift, search_scales, spike_agreement
from evprop.hardware.loihi2.steps import on_grid, rows_of

SAMPLES, WITHIN, BATCH, PHASES = 200, 2.0, 64, 4
RATES = (0.03, 0.1, 0.3, 1.0)
BITS = (8, 6, 4, 3, 2)
STEPS = (0.5, 1.0, 2.0, 5.0)
FINE_STEPS = (0.1, 0.2)  # of Yin-Yang
CONTROL = "float, trained on alike"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=["deploy", "rates", "phases", "bits", "steps"])
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--dt", type=float, default=0.1)
    parser.add_argument("--fine-tune", type=int, default=0, metavar="EPOCHS")
    parser.add_argument("--fit-readout", type=int, default=0, metavar="SAMPLES")
    parser.add_argument("--towards", choices=["labels", "float"], default=Settings.towards)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--set", dest="changes", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--all-phases", action="store_true")
    parser.add_argument("--control", action="store_true")
    parser.add_argument("--size", type=int)
    parser.add_argument("--samples", type=int, default=SAMPLES, help="for the search, and for agreement")
    arguments = parser.parse_args()
    settings = Settings(
        dt=arguments.dt,
        within=WITHIN,
        samples=arguments.samples,
        readout=arguments.fit_readout,
        epochs=arguments.fine_tune,
        towards=arguments.towards,
        rate=arguments.rate,
        changes=tuple(arguments.changes),
    )
    if arguments.table == "deploy":
        deployed(arguments.runs, settings, arguments.size, arguments.all_phases, arguments.control)
        return
    if arguments.table == "rates":
        rates(arguments.runs, settings, arguments.size)
        return
    if arguments.table == "phases":
        phases(arguments.runs, settings.dt, arguments.size)
        return
    for run in arguments.runs:
        experiment, params = open_run(run)
        print(f"\n{run.name}\n")
        table = {"bits": bits, "steps": steps}[arguments.table]
        table(experiment, params, test_set(experiment, arguments.size), settings)


def rates(runs: list[Path], settings: Settings, size: int | None) -> None:
    """What fine-tuning reaches from several rates."""
    print("| run | first rates, of the run's | float | quantised | fine-tuned | its loss |")
    print("|---|---:|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        for run in runs:
            data = Path(folder) / f"{run.name}.npz"
            validation = open_run(run)[0].data["validation"]
            (validation if size is None else yin_yang("validation", size=size)).save(data)
            for rate in RATES:
                found = deploy(run, replace(settings, rate=rate), data=data)
                seen = [found.exact, found.quantised.seen, found.tuned.seen]
                cells = [f"{100.0 * one.accuracy:.2f}" for one in seen]
                print(f"| {run.name} | {rate:g} | {' | '.join(cells)} | {seen[2].loss:.4f} |", flush=True)


def test_set(experiment: Experiment, size: int | None) -> Dataset:
    return experiment.data["test"] if size is None else yin_yang("test", size=size)


def deployed(runs: list[Path], settings: Settings, size: int | None, all_phases: bool, control: bool) -> None:
    """One row a run, then the paired differences."""
    if is_yin_yang(open_run(runs[0])[0]):
        print(f"inputs in steps of {settings.dt:g} ms: no classifier can pass {limit(settings.dt):.1f} %\n")
    columns = ["quantised", "fine-tuned", *([CONTROL] if control else [])]
    changes = "wrong, right" if all_phases else "wrong, right, p"
    print(f"| run | float | {' | '.join(f'{name} | {changes}' for name in columns)} | spikes that agree | cores |")
    print(f"|---|---:|{'---:|---:|' * len(columns)}---:|---:|")
    seen: list[dict[str, list[Looked]]] = []
    with tempfile.TemporaryDirectory() as folder:
        data = None if size is None else Path(folder) / "test.npz"
        if data is not None:
            test_set(open_run(runs[0])[0], size).save(data)
        for run in runs:
            experiment, params = open_run(run)
            found = deploy(run, settings, data=data)
            sets = in_phases(run) if all_phases else sets_of(experiment, found.data)
            states = {"float": look(experiment, params, sets, experiment.simulator)}
            for name, state in (("quantised", found.quantised), ("fine-tuned", found.tuned)):
                if state is not None:
                    states[name] = look(experiment, state.params, sets, state.simulator)
            if control:
                states[CONTROL] = look(experiment, tuned_in_float(run, settings), sets, experiment.simulator)
            seen.append(states)
            exact = states["float"][0]
            cells = [f"{exact.accuracy:.2f}"]
            for name in columns:
                if name in states:
                    there = states[name][0]
                    cells.append(f"{there.accuracy:.2f} | {changed(exact, there, all_phases)}")
                else:
                    cells.append("nan | -")
            cells += [f"{found.quantised.agreement['hidden']:.1%}", str(len(found.placement.cores))]
            print(f"| {run.name} | {' | '.join(cells)} |", flush=True)
    if len(seen) > 1:
        for first, then in (*(("float", name) for name in columns), (CONTROL, "fine-tuned")):
            if first in seen[0] and then in seen[0]:
                pairs = [(states[first], states[then]) for states in seen]
                difference(f"{first} to {then}, test", [(before[:1], after[:1]) for before, after in pairs], all_phases)
                if len(pairs[0][0]) > 1:
                    difference(f"{first} to {then}, test and validation", pairs, all_phases)


def tuned_in_float(run: Path, settings: Settings) -> dict:
    """The parameters after the same fine-tuning without the chip."""
    experiment, params = open_run(run, settings.changes)
    return fine_tune(run, experiment, params, experiment.simulator, experiment.loss, settings)


def sets_of(experiment: Experiment, test: Dataset) -> list[list[Dataset]]:
    """The test set and the validation set, if there is one, in the phase they are in."""
    validation = experiment.data.get("validation")
    return [[test]] if validation is None else [[test], [validation]]


def in_phases(run: Path) -> list[list[Dataset]]:
    """The test set and the validation set of a run, each in every phase of its thinning."""
    given = open_run(run)[0].config["data"]
    merge, every = given.get("merge", 1), given.get("every", 1)
    whole = open_run(run, ["data.merge=1", "data.every=1", "data.phase=0", "data.all_phases=false"])[0].data
    return [
        [merge_channels(whole[name], merge, every, phase) for phase in range(every)] for name in ("test", "validation")
    ]


class Looked(NamedTuple):
    """Samples of one set in its phases, (phases, samples, ...): the loss of each, whether its class was found, and what
    the loss reads, if anything."""

    losses: np.ndarray
    right: np.ndarray
    readout: np.ndarray

    @property
    def accuracy(self) -> float:
        """In percent."""
        return float(100.0 * self.right.mean())


def look(experiment: Experiment, params: dict, sets: list[list[Dataset]], simulator: object) -> list[Looked]:
    """Loss, without regularisers, and class of each sample; a set is given in its phases."""
    seen = []
    for phases in sets:
        found = [look_at(experiment, params, one, simulator) for one in phases]
        seen.append(Looked(*(np.stack(column) for column in zip(*found, strict=True))))
    return seen


def look_at(experiment: Experiment, params: dict, data: Dataset, simulator: object) -> tuple[np.ndarray, ...]:
    loss = experiment.config.build("loss")
    asked = loss.readouts(experiment.net)
    losses, right, readouts = [], [], []
    for first in range(0, len(data), BATCH):
        part = data[first : first + BATCH]
        record = evprop.simulate(
            *(experiment.net, params, part.spikes),
            duration=experiment.duration,
            readouts=asked,
            simulator=simulator,
        )
        losses.append(np.asarray(loss.evaluate(record, part.labels).values))
        right.append(loss.predict(record) == part.labels)
        readouts.append(record.readout[next(iter(asked))][0] if asked else np.empty((len(part), 0)))
    return np.concatenate(losses), np.concatenate(right), np.concatenate(readouts)


def join(parts: Iterable[Looked]) -> Looked:
    """All samples of some sets that were looked at in as many phases."""
    return Looked(*(np.concatenate(column, axis=1) for column in zip(*parts, strict=True)))


def difference(what: str, pairs: list[tuple[list[Looked], list[Looked]]], all_phases: bool) -> None:
    """Means over the runs, with 95 % bounds, and McNemar's test over the samples of all runs; or, with all phases,
    bounds over recordings."""
    joined = [(join(before), join(after)) for before, after in pairs]
    points = bounds(np.array([a.accuracy - b.accuracy for a, b in joined]), 2)
    loss = bounds(np.array([(b.losses - a.losses).mean() for a, b in joined]), 4)
    before, after = (join(column) for column in zip(*joined, strict=True))
    if all_phases:
        lost = [100.0 * (a.right.mean(axis=0) - b.right.mean(axis=0)) for a, b in joined]
        more = f"over recordings {bounds(np.mean(lost, axis=0), 2)} points; {changed(before, after, True)}"
    else:
        more = changed(before, after)
    print(f"\n{what}: accuracy lower by {points} points, loss higher by {loss}; {more}", flush=True)


def bounds(x: np.ndarray, places: int) -> str:
    """A mean and its 95 % bounds (Student's t)."""
    half = stats.t.ppf(0.975, len(x) - 1) * x.std(ddof=1) / math.sqrt(len(x))
    return f"{x.mean():.{places}f} ({x.mean() - half:.{places}f} to {x.mean() + half:.{places}f})"


def changed(before: Looked, after: Looked, all_phases: bool = False) -> str:
    """How many samples became wrong, how many right, and McNemar's p of one phase."""
    wrong, right = turned(before.right, after.right)
    if all_phases:
        return f"{wrong}, {right}"
    p = stats.binomtest(wrong, wrong + right).pvalue if wrong + right else 1.0
    return f"{wrong}, {right}, {p:.2f}"


def turned(before: np.ndarray, after: np.ndarray) -> tuple[int, int]:
    """How many samples became wrong and how many right; whether each is right, before and after."""
    return int((before & ~after).sum()), int((~before & after).sum())


def phases(runs: list[Path], dt: float, size: int | None) -> None:
    """A row for each run: accuracies, and how many samples became wrong and right against floating point."""
    print("| run | float | exact, inputs on the grid, four phases | mean | chip | mean |")
    print("|---|---:|---|---:|---|---:|")
    seen = []
    for run in runs:
        experiment, params = open_run(run)
        test, duration = test_set(experiment, size), experiment.duration
        sent = [replace(test, spikes=moved(test.spikes, dt * k / PHASES, duration)) for k in range(PHASES)]
        exact = look(experiment, params, [[test]], experiment.simulator)[0]
        gridded = [[on_the_grid(one, dt, duration)] for one in sent]
        states = [look(experiment, params, gridded, experiment.simulator)]
        states.append(look(experiment, params, [[one] for one in sent], chip(experiment, dt)))
        cells = [f"{exact.accuracy:.2f}"]
        for found in states:
            flips = (turned(exact.right, one.right) for one in found)
            cells.append("; ".join(f"{a.accuracy:.2f} ({b}, {c})" for a, (b, c) in zip(found, flips, strict=True)))
            cells.append(f"{np.mean([one.accuracy for one in found]):.2f}")
        print(f"| {run.name} | {' | '.join(cells)} |", flush=True)
        seen.append([exact.accuracy, *(np.mean([one.accuracy for one in found]) for found in states)])
    if len(seen) > 1:
        a, b, c = np.array(seen).T
        print(f"\nfloat - inputs on the grid {bounds(a - b, 2)} points, inputs on the grid - chip {bounds(b - c, 2)}")


def moved(spikes: Spikes, by: float, duration: float) -> Spikes:
    """The same spikes, later by ``by`` ms, without those that then come after the duration."""
    return Spikes(spikes.times + by, spikes.units, spikes.offsets, n_units=spikes.n_units).crop(duration)


def on_the_grid(data: Dataset, dt: float, duration: float) -> Dataset:
    """The data set with its spikes where the chip's steps put them."""
    return replace(data, spikes=on_grid(data.spikes, rows_of(duration, dt), dt, duration)[0])


def is_yin_yang(experiment: Experiment) -> bool:
    return experiment.config["data.kind"] == "yin_yang"


def limit(dt: float, points: int = 2000) -> float:
    """In percent: what the best classifier of Yin-Yang makes of times 30 v ms that are rounded to steps of dt.

    All points of a fine grid that fall on the same four rounded times go to the class with the most weight there; each
    class has weight 1/3 in all, as in the data set.
    """
    v = (np.arange(points) + 0.5) / points
    x, y = (a.ravel() for a in np.meshgrid(v, v))
    inside = np.hypot(x - 0.5, y - 0.5) <= 0.5
    x, y = x[inside], y[inside]
    right, left = np.hypot(x - 0.75, y - 0.5), np.hypot(x - 0.25, y - 0.5)
    yang = (right <= 0.1) | ((left > 0.1) & (left <= 0.25)) | ((y > 0.5) & (right > 0.25))
    classes = np.where((right < 0.1) | (left < 0.1), 2, yang.astype(int))
    key = np.zeros(len(x), np.int64)
    for value in (x, 1.0 - x, y, 1.0 - y):
        key = key * (round(30.0 / dt) + 2) + np.rint(30.0 * value / dt).astype(np.int64)
    cells, place = np.unique(key, return_inverse=True)
    share = 1.0 / (3.0 * np.bincount(classes, minlength=3))
    held = [np.bincount(place[classes == c], minlength=len(cells)) * share[c] for c in range(3)]
    return float(100.0 * np.max(held, axis=0).sum())


def accuracy(experiment: Experiment, params: dict, data: Dataset, simulator: object) -> str:
    """In percent, or why not."""
    try:
        seen = evprop.metrics.evaluate(
            experiment.net, params, data, experiment.loss, duration=experiment.duration, simulator=simulator
        )
    except evprop.errors.HardwareError as error:
        return f"refused ({str(error).split(':')[0].split('. ')[0][:60]})"
    return f"{100.0 * seen.accuracy:.2f}"


def bits(experiment: Experiment, params: dict, test: Dataset, settings: Settings) -> None:
    """Weights of fewer bits, by rule and by search."""
    dt = settings.dt
    print(f"float: {accuracy(experiment, params, test, experiment.simulator)} %; dt {dt:g} ms\n")
    print("| bits | percentile | max | search |")
    print("|---:|---:|---:|---:|")
    for n in BITS:
        plain = chip(experiment, dt, num_weight_bits=n)
        cells = [accuracy(experiment, params, test, chip(experiment, dt, num_weight_bits=n, scale="percentile"))]
        cells.append(accuracy(experiment, params, test, plain))
        try:
            cells.append(accuracy(experiment, params, test, searched(experiment, params, plain, settings.samples)))
        except evprop.errors.HardwareError:
            cells.append("refused")
        print(f"| {n} | {' | '.join(cells)} |", flush=True)


def chip(experiment: Experiment, dt: float, **more: object) -> evprop.Loihi2:
    return evprop.Loihi2(dt=dt, clip_delays=True, dtype=experiment.simulator.dtype, **more)


def searched(experiment: Experiment, params: dict, simulator: evprop.Loihi2, samples: int) -> evprop.Loihi2:
    train = experiment.data["train"].spikes[:samples]
    return search_scales(
        experiment.net, params, train, simulator, duration=experiment.duration, within=WITHIN
    ).simulator


def steps(experiment: Experiment, params: dict, test: Dataset, settings: Settings) -> None:
    """The grid: the exact engine with inputs on it, and the chip's model."""
    some = test.spikes[: settings.samples]
    exact = evprop.simulate(
        experiment.net, params, some, duration=experiment.duration, simulator=experiment.simulator
    ).spikes["hidden"]
    print(f"float: {accuracy(experiment, params, test, experiment.simulator)} %\n")
    first = "no classifier passes | " if is_yin_yang(experiment) else ""
    print(f"| dt (ms) | {first}exact, inputs on the grid | chip | delays clipped | hidden spikes: shift (ms) | agree |")
    print("|---:|---:|---:|---:|---:|---:|" + ("---:|" if first else ""))
    for dt in (*FINE_STEPS, *STEPS) if first else STEPS:
        duration = experiment.duration
        rounded = on_the_grid(test, dt, duration)
        simulator = chip(experiment, dt)
        cells = [f"{limit(dt):.1f}"] if first else []
        cells.append(accuracy(experiment, params, rounded, experiment.simulator))
        cells.append(accuracy(experiment, params, test, simulator))
        clipped = simulator.quantise(experiment.net, params).report.delays_clipped
        found = evprop.simulate(experiment.net, params, some, duration=duration, simulator=simulator).spikes["hidden"]
        shift = median_shift(exact, found, within=5.0)
        agree = spike_agreement(exact, found, within=WITHIN)
        print(f"| {dt:g} | {' | '.join(cells)} | {clipped} | {shift:.3f} | {agree:.1%} |", flush=True)


if __name__ == "__main__":
    main()
