"""Pictures: learning curves, a sample's spikes through the layers, the Yin-Yang decision map, weights and
delays.

Every function returns a Matplotlib figure of its own (no global state, no window);
``figure.savefig("name.png")`` writes it. Matplotlib comes with the extra ``evprop[plot]`` and is imported
when the first picture is made.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import MissingExtraError, ParameterError
from .losses import Loss
from .network import Network
from .parameters import Array
from .record import Record
from .simulators import Simulator, predict
from .spikes import Spikes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe & Ito's palette: told apart with any colour vision, and in grey
CLASS_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442")
UNDECIDED = "#BBBBBB"
BEFORE, AFTER = "#BBBBBB", "#0072B2"
TIMES = ("delay", "tau_mem", "tau_syn", "t_ref")  # in ms; all other parameters in the unit of v_th


def _figure(width: float, height: float) -> Figure:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError(
            "pictures need Matplotlib, which is not installed: pip install 'evprop[plot]'"
        ) from error
    return Figure(figsize=(width, height), layout="constrained", dpi=150)


def learning_curves(rows: Iterable[Mapping[str, Any]]) -> Figure:
    """Loss, error and spikes per neuron over the epochs.

    Args:
        rows: the log of a run: a `History`, or the lines of metrics.jsonl as dicts.
    """
    log = list(rows)
    if not log:
        raise ParameterError("learning_curves: the log is empty; train for at least one epoch.")
    epochs = [row["epoch"] for row in log]
    figure = _figure(10.5, 3.2)
    left, middle, right = figure.subplots(1, 3)
    series = (("", "training", AFTER, "-"), ("val_", "validation", CLASS_COLOURS[1], "-"))
    for prefix, label, colour, style in series:
        for axes, name, change in ((left, "loss", _same), (middle, "accuracy", _percent_wrong)):
            values = [_number(row.get(prefix + name)) for row in log]
            if not np.isnan(values).all():
                axes.plot(epochs, [change(v) for v in values], style, color=colour, label=label, lw=1.2)
    left.set(xlabel="epoch", ylabel="loss", title="Loss")
    middle.set(xlabel="epoch", ylabel="wrong [%]", title="Error")
    for axes in (left, middle):
        if axes.lines and all(np.nanmin(np.asarray(line.get_ydata(), float)) > 0 for line in axes.lines):
            axes.set_yscale("log")
            _plain_log_ticks(axes)
        if axes.lines:
            axes.legend(frameon=False)
    for k, name in enumerate(log[-1]["spikes_per_neuron"]):
        counts = [_number(row["spikes_per_neuron"].get(name)) for row in log]
        right.plot(epochs, counts, color=CLASS_COLOURS[k % len(CLASS_COLOURS)], label=name, lw=1.2)
    right.set(xlabel="epoch", ylabel="spikes per neuron", title="Activity")
    right.set_ylim(bottom=0.0)
    if right.lines:
        right.legend(frameon=False)
    for axes in (left, middle, right):
        _bare(axes)
    return figure


def compare_curves(logs: Mapping[str, Iterable[Mapping[str, Any]]]) -> Figure:
    """Loss and error of several runs over the epochs: training dotted, validation (where there is one) solid.

    Args:
        logs: {run: its log}, as for `learning_curves`.
    """
    read = {name: list(rows) for name, rows in logs.items()}
    if not read or not all(read.values()):
        raise ParameterError("compare_curves: there is a log without an epoch, or none at all.")
    figure = _figure(10.5, 3.4)
    left, right = figure.subplots(1, 2)
    for k, (name, rows) in enumerate(read.items()):
        colour = CLASS_COLOURS[k % len(CLASS_COLOURS)]
        epochs = [row["epoch"] for row in rows]
        for axes, column, change in ((left, "loss", _same), (right, "accuracy", _percent_wrong)):
            for prefix, style, label in (("", ":", None), ("val_", "-", name)):
                values = [change(_number(row.get(prefix + column))) for row in rows]
                if not np.isnan(values).all():
                    axes.plot(epochs, values, style, color=colour, label=label, lw=1.2)
    left.set(xlabel="epoch", ylabel="loss", title="Loss")
    right.set(xlabel="epoch", ylabel="wrong [%]", title="Error (dotted: training, solid: validation)")
    right.set_ylim(bottom=0.0)
    for axes in (left, right):
        _bare(axes)
    if right.get_legend_handles_labels()[1]:
        right.legend(frameon=False, fontsize=8)
    return figure


def confusion_matrix(table: ArrayLike, class_names: Sequence[str]) -> Figure:
    """The table of `evprop.metrics.confusion` as a picture: rows are labels, columns predictions; each row is coloured
    by its share."""
    counts = np.asarray(table, dtype=np.int64)
    n = len(class_names)
    if counts.shape != (n, n + 1):
        raise ParameterError(
            f"confusion_matrix: the table has shape {counts.shape}; {n} classes need ({n}, {n + 1})."
        )
    shown = counts if counts[:, n].any() else counts[:, :n]
    share = shown / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = 1.6 + 0.42 * n
    figure = _figure(side + 0.42 * (shown.shape[1] - n), side)
    axes = figure.subplots()
    axes.imshow(share, cmap="Blues", vmin=0.0, vmax=1.0)
    for i, j in zip(*np.nonzero(shown), strict=True):
        colour = "white" if share[i, j] > 0.6 else "black"
        axes.text(j, i, str(shown[i, j]), ha="center", va="center", color=colour, fontsize=8)
    columns = [*class_names, "undecided"][: shown.shape[1]]
    axes.set_xticks(range(len(columns)), columns, rotation=90)
    axes.set_yticks(range(n), class_names)
    axes.set(xlabel="prediction", ylabel="label")
    return figure


def raster(record: Record, sample: int = 0, *, title: str = "") -> Figure:
    """The spikes of one sample in every spiking population, one panel each, in the order of the network."""
    if not 0 <= sample < record.batch_size:
        raise ParameterError(f"raster: sample {sample} is out of range; the record has {record.batch_size}.")
    shown = [name for name, p in record.network.populations.items() if p.kind != "li"]
    sizes = [record.network.populations[name].size for name in shown]
    heights = [min(max(size, 4), 60) ** 0.5 for size in sizes]
    figure = _figure(6.5, 1.0 + 0.42 * sum(heights))
    panels = figure.subplots(len(shown), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    for k, (axes, name, size) in enumerate(zip(panels, shown, sizes, strict=True)):
        times, units = record.spikes[name][sample]
        axes.eventplot(
            [times[units == unit] for unit in range(size)],
            colors=CLASS_COLOURS[k % len(CLASS_COLOURS)],
            linelengths=max(0.85, size / 45),
            linewidths=1.3,
        )
        axes.set_ylim(-0.7, size - 0.3)
        axes.set_ylabel(name)
        axes.set_yticks(range(size) if size <= 6 else (0, size - 1))
        _bare(axes)
    panels[-1].set(xlabel="time [ms]", xlim=(-0.01 * record.duration, record.duration))
    if title:
        panels[0].set_title(title)
    return figure


def decision_map(
    net: Network,
    params: Mapping[str, Array],
    loss: Loss,
    encode: Callable[[NDArray[np.float64]], Spikes],
    *,
    duration: float,
    simulator: Simulator | None = None,
    points: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    resolution: int = 160,
    class_names: Sequence[str] = ("yin", "yang", "dot"),
) -> Figure:
    """The predicted class at every point of the Yin-Yang disc, the true border, and samples that went wrong.

    Args:
        encode: turns values (n, 4) = (x, y, 1 - x, 1 - y) into spikes: ``yin_yang_encoding(...).encode``.
        points, labels: (n, 2) coordinates and (n,) labels of samples to mark: rings where the class is wrong.
        resolution: pixels along the diameter.
    """
    from matplotlib.colors import ListedColormap

    side = (np.arange(resolution) + 0.5) / resolution
    x, y = np.meshgrid(side, side)
    inside = (x - 0.5) ** 2 + (y - 0.5) ** 2 <= 0.25
    grid = np.stack([x[inside], y[inside]], axis=1)
    image = np.full(x.shape, np.nan)
    image[inside] = _classes(net, params, loss, encode, grid, duration, simulator)
    figure = _figure(4.6, 4.9)
    axes = figure.subplots()
    colours = ListedColormap([UNDECIDED, *CLASS_COLOURS[: len(class_names)]])
    axes.imshow(
        image,
        origin="lower",
        extent=(0, 1, 0, 1),
        cmap=colours,
        vmin=-1.5,
        vmax=len(class_names) - 0.5,
        alpha=0.75,
    )
    _yin_yang_border(axes)
    wrong_share = ""
    if points is not None and labels is not None:
        at, wanted = np.asarray(points, dtype=np.float64), np.asarray(labels)
        wrong = _classes(net, params, loss, encode, at, duration, simulator) != wanted
        for k, name in enumerate(class_names):
            mine = wanted == k
            right, missed = at[mine & ~wrong], at[mine & wrong]
            axes.scatter(right[:, 0], right[:, 1], s=5, color=CLASS_COLOURS[k], lw=0, label=name)
            axes.scatter(
                missed[:, 0], missed[:, 1], s=26, color=CLASS_COLOURS[k], ec="black", lw=0.9, zorder=3
            )
        wrong_share = f"{np.count_nonzero(wrong)} of {len(wanted)} samples wrong (ringed)"
        axes.legend(loc="upper right", frameon=False, markerscale=2.5, borderpad=0.0, handletextpad=0.1)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel="x", ylabel="y", aspect="equal")
    axes.set_title(wrong_share, fontsize=10)
    _bare(axes)
    return figure


def _classes(
    net: Network,
    params: Mapping[str, Array],
    loss: Loss,
    encode: Callable[[NDArray[np.float64]], Spikes],
    points: NDArray[np.float64],
    duration: float,
    simulator: Simulator | None,
) -> NDArray[np.int64]:
    spikes = encode(np.hstack([points, 1.0 - points]))
    return predict(net, params, spikes, loss, duration=duration, simulator=simulator)


def _yin_yang_border(axes: Axes) -> None:
    """The true classes' outline: disc, dots, and the two half circles of the S between yin and yang."""
    around = np.linspace(0.0, 2.0 * np.pi, 200)
    half = np.linspace(0.0, np.pi, 100)
    for centre, radius, angle in (
        ((0.5, 0.5), 0.5, around),
        ((0.25, 0.5), 0.1, around),
        ((0.75, 0.5), 0.1, around),
        ((0.25, 0.5), 0.25, -half),
        ((0.75, 0.5), 0.25, half),
    ):
        axes.plot(
            centre[0] + radius * np.cos(angle), centre[1] + radius * np.sin(angle), color="black", lw=0.8
        )


def histograms(net: Network, before: Mapping[str, Array], after: Mapping[str, Array]) -> Figure:
    """Weights and delays of every projection and the trainable constants of every population, before (grey) and
    after training (blue).

    A parameter that training does not change has one outline only.
    """
    shown = [p for p in net.layout.parameters if p.kind in ("weight", "delay") or p.trainable]
    if not shown:
        raise ParameterError("histograms: the network has no projection and no trainable constant.")
    columns = min(len(shown), 4)
    lines = math.ceil(len(shown) / columns)
    figure = _figure(3.0 * columns, 2.6 * lines)
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    for axes, parameter in zip(panels, shown, strict=False):
        old, new = before[parameter.name].ravel(), after[parameter.name].ravel()
        low, high = min(old.min(), new.min()), max(old.max(), new.max())
        room = (high - low) * 0.02 or 0.5
        bins = np.linspace(low - room, high + room, 41)
        axes.hist(old, bins, color=BEFORE, label="before")
        if not np.array_equal(old, new):
            axes.hist(new, bins, histtype="step", color=AFTER, lw=1.4, label="after")
        quantity = parameter.name.rpartition(".")[2]
        unit = "ms" if quantity in TIMES else "v_th"
        axes.set(title=parameter.name, xlabel=f"{quantity} [{unit}]", ylabel="count")
        _bare(axes)
    panels[0].margins(y=0.3)  # room for the legend
    panels[0].legend(frameon=False, ncols=2, loc="upper left")
    for axes in panels[len(shown) :]:
        axes.set_visible(False)
    return figure


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def _same(value: float) -> float:
    return value


def _percent_wrong(accuracy: float) -> float:
    return 100.0 * (1.0 - accuracy)


def _bare(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)


def _plain_log_ticks(axes: Axes) -> None:
    """Tick labels such as 0.3 in place of 3e-01; between the decades only where there is room."""
    from matplotlib.ticker import FuncFormatter, LogLocator

    low, high = axes.get_ylim()
    subs = (1.0, 2.0, 5.0) if high / low < 300.0 else (1.0,)
    axes.yaxis.set_major_locator(LogLocator(subs=subs))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(FuncFormatter(lambda value, _: ""))
