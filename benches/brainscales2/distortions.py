"""What each distortion of BrainScaleS-2 does to a trained network: accuracy, shift of the deciding spike, a raster.

    python benches/brainscales2/distortions.py RUN --out docs

RUN is the folder of

    evprop train yin-yang-chip --set 'simulator={kind="BrainScaleS2.ideal", min_vdot=0.05}'

a network trained without any distortion. It is tested as it is on chips 0 to 4: with all distortions, without each of
them, and with each of them alone. Prints a Markdown table; writes brainscales2-distortions.png and
brainscales2-raster.png.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import evprop
from evprop.experiment import open_run
from evprop.hardware.brainscales2.simulator import OFF

GROUPS: Mapping[str, tuple[str, ...]] = {
    "time constants": ("tau_mem_spread", "tau_syn_spread"),
    "thresholds": ("threshold_offset", "threshold_spread", "reset_spread"),
    "gains": ("neuron_gain_spread", "driver_gain_spread", "synapse_gain_spread"),
    "6-bit weights": ("weight_scale",),
    "threshold noise": ("threshold_noise",),
    "spike jitter": ("spike_jitter",),
    "membrane range": ("membrane_range",),
    "links and clock": ("link_rate", "time_stamp"),
}
CHIPS = range(5)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("--out", type=Path, default=Path())
    given = parser.parse_args()
    experiment, params = open_run(given.run)
    full = evprop.BrainScaleS2(chip=0, min_vdot=0.01, weight_scale=78.0, copies={"input": 5})
    others = ("readout_period", "delay_range", "delay_step", "delay_jitter", "refractory_range", "resources")
    full = full.without(*others)  # the rest: read by its spikes, delays as they are
    ideal = full.without(*(n for n in OFF if n != "copies"))
    rows: list[tuple[str, np.ndarray, np.ndarray]] = [("none", *figures(experiment, params, [ideal], ideal))]
    for name, members in GROUPS.items():
        alone = [full.without(*(n for n in OFF if n not in (*members, "copies"))) for _ in CHIPS]
        rows.append((f"{name} alone", *figures(experiment, params, on_chips(alone), ideal)))
    for name, members in GROUPS.items():
        rows.append(
            (f"all but {name}", *figures(experiment, params, on_chips([full.without(*members)] * 5), ideal))
        )
    rows.append(("all", *figures(experiment, params, on_chips([full] * 5), ideal)))
    print(
        "| distortions | accuracy (%), mean +- std over 5 chips | shift of the first output spike (us), rms |"
    )
    print("|---|---:|---:|")
    for name, accuracy, shift in rows:
        spread = f" +- {100 * accuracy.std():.2f}" if len(accuracy) > 1 else ""
        print(f"| {name} | {100 * accuracy.mean():.2f}{spread} | {shift.mean():.3f} |")
    draw_bars(rows, given.out / "brainscales2-distortions.png")
    draw_rasters(experiment, params, full, ideal, given.out / "brainscales2-raster.png")


def on_chips(sims: list[Any]) -> list[Any]:
    from dataclasses import replace

    return [replace(sim, chip=chip) for sim, chip in zip(sims, CHIPS, strict=True)]


def figures(experiment: Any, params: Any, sims: list[Any], ideal: Any) -> tuple[np.ndarray, np.ndarray]:
    """(accuracies, rms shifts of the first output spike in us) on the test set, one for each simulator."""
    test = experiment.data["test"]
    given = {"duration": experiment.duration}
    exact = first_spike(evprop.simulate(experiment.net, params, test.spikes, simulator=ideal, **given))
    found = []
    for sim in sims:
        record = evprop.simulate(experiment.net, params, test.spikes, simulator=sim, **given)
        correct = np.mean(experiment.loss.predict(record) == test.labels)
        shift = first_spike(record) - exact
        found.append((correct, np.sqrt(np.nanmean(shift**2))))
    accuracy, shift = np.array(found).T
    return accuracy, shift


def first_spike(record: Any) -> np.ndarray:
    """(batch,) ms; NaN where no output spikes."""
    spikes = record.spikes["output"]
    first = np.full(len(spikes), np.nan)
    counts = np.diff(spikes.offsets)
    first[counts > 0] = spikes.times[spikes.offsets[:-1][counts > 0]]
    return first


def draw_bars(rows: list[tuple[str, np.ndarray, np.ndarray]], path: Path) -> None:
    import matplotlib.pyplot as plt

    shown = [row for row in rows if not row[0].startswith("all but")]
    figure, axes = plt.subplots(figsize=(7.0, 3.2), layout="constrained")
    at = np.arange(len(shown))
    means = [100 * (1 - accuracy.mean()) for _, accuracy, _ in shown]
    axes.bar(at, means, color="#4878a8")
    for x, (_, accuracy, _) in zip(at, shown, strict=True):
        axes.plot(np.full(len(accuracy), x), 100 * (1 - accuracy), ".", color="black", ms=4)
    axes.set_xticks(at, [name.removesuffix(" alone") for name, _, _ in shown], rotation=30, ha="right")
    axes.set_ylabel("test error (%)")
    axes.set_title("trained without distortions, tested with them (dots: five chips)", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)


def draw_rasters(experiment: Any, params: Any, full: Any, ideal: Any, path: Path) -> None:
    """One test sample: ideal in grey, thirty trials with one group of distortions on top, and with all."""
    import matplotlib.pyplot as plt

    test = experiment.data["test"]
    panels = (*GROUPS, "all")
    figure, grid = plt.subplots(3, 3, figsize=(9.0, 7.6), sharex=True, sharey=True, layout="constrained")
    for axes, name in zip(grid.ravel(), panels, strict=True):
        keep = (*GROUPS.get(name, tuple(OFF)), "copies")
        sim = full.without(*(n for n in OFF if n not in keep)) if name != "all" else full
        for trial_sim, colour, size in ((ideal, "#bbbbbb", 40), (sim, "#c03030", 3)):
            trials = test.spikes[np.zeros(30 if trial_sim is sim else 1, np.int64)]
            record = evprop.simulate(
                experiment.net, params, trials, duration=experiment.duration, simulator=trial_sim
            )
            for population, base in (("hidden", 0), ("output", 32)):
                spikes = record.spikes[population]
                axes.scatter(spikes.times, spikes.units.astype(int) + base, s=size, c=colour, lw=0)
        axes.set_title(name, fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in grid[-1]:
        axes.set_xlabel("time (us on the chip)")
    for axes in grid[:, 0]:
        axes.set_ylabel("hidden, then output")
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
