"""One HTML file about one or several runs: curves together, test figures, confusion, a sample's spikes, weights, delays
and constants before and after, the configuration, and how to repeat it.

The file holds everything itself (pictures as SVG in data URIs, no script, no link to the net), so that it opens
anywhere.
"""

from __future__ import annotations

import base64
import io
import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import plot
from .errors import CheckpointNotFoundError, DatasetError, MissingExtraError
from .experiment import Experiment, open_run
from .files import write_atomically
from .metrics import Evaluation, confusion
from .parameters import Array
from .simulators import simulate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 68rem; margin: 2rem auto; padding: 0 1rem; }
h1, h2, h3 { line-height: 1.2; } h2 { margin-top: 2.5rem; border-bottom: 1px solid #ccc; }
table { border-collapse: collapse; margin: 1rem 0; } td, th { padding: .25rem .8rem; text-align: right; }
th { border-bottom: 1px solid #888; } td:first-child, th:first-child { text-align: left; }
img { max-width: 100%; } pre { background: #f5f5f5; padding: .8rem; overflow-x: auto; font-size: 13px; }
.note { color: #666; }
"""


@dataclass(frozen=True)
class _Seen:
    """A finished run and what the report says of it."""

    folder: Path
    experiment: Experiment
    params: dict[str, Array]
    rows: list[dict[str, Any]]
    result: dict[str, Any]
    environment: dict[str, Any]

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def accuracy(self) -> float:
        """On the test set: of the epoch chosen on the validation set, else of the last."""
        return float(self.result.get("test_accuracy_best", self.result["test_accuracy_last"]))


def write_report(runs: Sequence[Path], out: Path) -> Path:
    """Write the report of finished runs (their folders) to ``out``.

    Raises:
        CheckpointNotFoundError: a folder holds no finished run.
        MissingExtraError: Matplotlib is not installed.
    """
    seen = [_read(folder) for folder in runs]
    title = ", ".join(run.name for run in seen)
    body = [f"<h1>{escape(title)}</h1>", _table(seen), _seeds(seen)]
    body.append(_picture(plot.compare_curves({run.name: run.rows for run in seen}), "learning curves"))
    for run in seen:
        body.append(_section(run))
    page = (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{STYLE}</style></head>\n<body>\n{chr(10).join(part for part in body if part)}\n</body></html>\n"
    )
    write_atomically(out, page.encode())
    return out


def _read(folder: Path) -> _Seen:
    if not (folder / "result.json").exists():
        raise CheckpointNotFoundError(
            f"{folder} holds no finished run (result.json is missing); finish it: evprop train --resume {folder}"
        )
    experiment, params = open_run(folder)
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    environment = json.loads((folder / "environment.json").read_text(encoding="utf-8"))
    return _Seen(folder, experiment, params, rows, result, environment)


def _table(seen: Sequence[_Seen]) -> str:
    head = (
        "run",
        "experiment",
        "seed",
        "test accuracy [%]",
        "epochs",
        "chosen epoch",
        "training [s]",
        "parameters",
    )
    lines = [
        (
            run.name,
            run.experiment.config["name"],
            run.experiment.seed,
            f"{100 * run.accuracy:.2f}",
            run.result["epochs"],
            run.result.get("best_epoch", "last"),
            f"{run.result['training_seconds']:.0f}",
            run.environment.get("trainable parameters", ""),
        )
        for run in seen
    ]
    return _html_table(head, lines)


def _seeds(seen: Sequence[_Seen]) -> str:
    """Mean and standard deviation of runs that differ in nothing but the seed."""
    groups: dict[str, list[_Seen]] = {}
    for run in seen:
        values = {k: v for k, v in run.experiment.config.values.items() if k != "seed"}
        groups.setdefault(json.dumps(values, sort_keys=True), []).append(run)
    lines = []
    for group in groups.values():
        found = [100 * run.accuracy for run in group]
        if len(found) > 1:
            spread = f"{statistics.mean(found):.2f} ± {statistics.stdev(found):.2f}"
            lines.append((group[0].experiment.config["name"], len(found), spread))
    return _html_table(("experiment", "seeds", "test accuracy [%], mean ± sd"), lines) if lines else ""


def _section(run: _Seen) -> str:
    parts = [f"<h2>{escape(run.name)}</h2>"]
    experiment = run.experiment
    try:
        test = experiment.data["test"]
    except (DatasetError, MissingExtraError) as error:
        parts.append(
            f'<p class="note">Without its data set, so without confusion and spikes: {escape(str(error))}</p>'
        )
    else:
        seen = experiment.evaluate(run.params, test)
        names = test.class_names or tuple(str(k) for k in range(test.n_classes))
        table = confusion(seen.predictions, test.labels, test.n_classes)
        parts.append(f"<h3>Test set: {escape(test.name)}, {len(test)} samples</h3>")
        parts.append(f"<p>Accuracy {100 * seen.accuracy:.2f} %, loss {seen.loss:.4g}.</p>")
        parts.append(_picture(plot.confusion_matrix(table, names), "confusion matrix"))
        parts.append("<h3>Spikes per layer</h3>" + _layers(run, seen, test.spikes.n_spikes / len(test)))
        record = simulate(
            experiment.net,
            run.params,
            test.spikes[:1],
            duration=experiment.duration,
            simulator=experiment.simulator,
        )
        parts.append(
            _picture(plot.raster(record, title=f"a sample of class {names[test.labels[0]]}"), "raster")
        )
    parts.append("<h3>Weights, delays and constants, before and after</h3>")
    parts.append(_picture(plot.histograms(experiment.net, experiment.init(), run.params), "distributions"))
    parts.append("<h3>Configuration</h3>")
    parts.append(f"<pre>{escape(experiment.config.text)}</pre>")
    parts.append("<h3>How to repeat it</h3>")
    command = " ".join(run.environment.get("command", []))
    parts.append(f"<p>First made with <code>{escape(command)}</code>; from its own configuration:</p>")
    parts.append(f"<pre>evprop train {escape(str(run.folder / 'config.toml'))}</pre>")
    machine = {k: v for k, v in run.environment.items() if k != "command"}
    parts.append(f"<pre>{escape(json.dumps(machine, indent=1))}</pre>")
    return "\n".join(parts)


def _layers(run: _Seen, seen: Evaluation, input_spikes: float) -> str:
    lines: list[tuple[Any, ...]] = []
    for name, population in run.experiment.net.populations.items():
        if population.kind == "input":
            lines.append(
                (name, population.size, f"{input_spikes / population.size:.2f}", f"{input_spikes:.0f}")
            )
        elif population.kind == "lif":
            mean = seen.spikes_per_neuron[name]
            lines.append((name, population.size, f"{mean:.2f}", f"{mean * population.size:.0f}"))
    return _html_table(("layer", "neurons", "spikes per neuron and sample", "spikes per sample"), lines)


def _html_table(head: Sequence[str], lines: Sequence[Sequence[Any]]) -> str:
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    rows = "".join("<tr>" + "".join(f"<td>{escape(str(c))}</td>" for c in line) + "</tr>" for line in lines)
    return f"<table><thead><tr>{top}</tr></thead><tbody>{rows}</tbody></table>"


def _picture(figure: Figure, alt: str) -> str:
    drawn = io.BytesIO()
    figure.savefig(drawn, format="svg", metadata={"Date": None})
    data = base64.b64encode(drawn.getvalue()).decode()
    return f'<p><img alt="{escape(alt)}" src="data:image/svg+xml;base64,{data}"></p>'


__all__ = ("write_report",)
