"""The command line: ``evprop train | sweep | eval | deploy | report | info | check | bench``."""

from __future__ import annotations

import contextlib
import os
import platform
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from .errors import EvpropError


@contextlib.contextmanager
def _clear_errors() -> Iterator[None]:
    """What evprop raises on purpose is a message, not a traceback."""
    try:
        yield
    except EvpropError as error:
        raise click.ClickException(str(error)) from error


def _threads(count: int | None) -> None:
    from . import set_num_threads

    if count is not None:
        set_num_threads(count)


def _version(context: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if wanted:
        from . import __version__

        click.echo(f"evprop {__version__}")
        context.exit()


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option(
    "--version", is_flag=True, expose_value=False, is_eager=True, callback=_version, help="Show the version."
)
def main() -> None:
    """Exact event-based simulation and training of spiking neural networks."""


class _Train(click.Command):
    """`train`, whose help lists the experiments."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from .config import experiments

        with formatter.section("Experiments"):
            formatter.write_dl(list(experiments().items()))


@main.command(cls=_Train)
@click.argument("task", required=False)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Set any value of the experiment, for example --set optimiser.lr=0.003; may be repeated.",
)
@click.option("--seed", type=int, help="Short for --set seed=N.")
@click.option("--epochs", type=int, help="Short for --set training.epochs=N.")
@click.option(
    "--parts",
    type=int,
    help="Short for --set training.parts=N: cut each batch into N parts, which the processes of mpiexec share.",
)
@click.option(
    "--out", type=click.Path(path_type=Path), help="The run folder; runs/TASK-1, -2, ... unless given."
)
@click.option(
    "--resume",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="RUN",
    help="Continue an interrupted run in its folder, to the same bits as an uninterrupted one.",
)
@click.option("--threads", type=int, help="Threads to use; results do not depend on it.")
@click.option(
    "--pictures/--no-pictures", default=True, help="Draw pictures into the run folder (extra [plot])."
)
@click.option("--quiet", is_flag=True, help="No progress.")
@click.option("--show", is_flag=True, help="Print the experiment file with all changes, and stop.")
def train(
    task: str | None,
    overrides: tuple[str, ...],
    seed: int | None,
    epochs: int | None,
    parts: int | None,
    out: Path | None,
    resume: Path | None,
    threads: int | None,
    pictures: bool,
    quiet: bool,
    show: bool,
) -> None:
    """Train TASK, a shipped experiment or a .toml file, and evaluate it on its test set.

    Under mpiexec the processes share each batch (extra [mpi]); with the same --parts one process gives the same bits.
    """
    changes = list(overrides)
    changes += [] if seed is None else [f"seed={seed}"]
    changes += [] if epochs is None else [f"training.epochs={epochs}"]
    changes += [] if parts is None else [f"training.parts={parts}"]
    if resume is not None and (task is not None or changes or out is not None):
        raise click.UsageError(
            "--resume RUN continues with the run's own settings: leave out TASK, --set and what is short for it, --out."
        )
    if resume is None and task is None:
        raise click.UsageError("Missing argument 'TASK'; evprop train --help lists the experiments.")
    with _clear_errors():
        from .config import load_config
        from .distributed import abort_together, world

        if show:
            click.echo(load_config(*_chosen(task, changes, resume)).text, nl=False)
            return
        comm = world()
        with contextlib.nullcontext() if comm is None else abort_together(comm):
            finished = _train(comm, task, changes, out, resume, threads, pictures=pictures, progress=not quiet)
    if not finished:
        sys.exit(130)


def _chosen(task: str | None, changes: list[str], resume: Path | None) -> tuple[str | Path, list[str]]:
    """The experiment, and what is changed of it."""
    return (task or "", changes) if resume is None else (resume / "config.toml", [])


def _train(
    comm: Any,
    task: str | None,
    changes: list[str],
    out: Path | None,
    resume: Path | None,
    threads: int | None,
    **how: bool,
) -> bool:
    """Train in this process or in all of an MPI communicator, of which the first speaks; False after Ctrl-C."""
    from .config import Config, load_config
    from .distributed import Team
    from .experiment import new_folder, train_experiment

    def chosen() -> tuple[Config, Path]:
        config = load_config(*_chosen(task, changes, resume))
        Team.of(config["training"].get("parts"), comm)
        return config, resume or out or new_folder(Path("runs"), config["name"])

    team = Team(1) if comm is None else Team(comm.Get_size(), comm)
    config, folder = team.from_first(chosen)
    one_each = team.size > 1 and "EVPROP_NUM_THREADS" not in os.environ
    _threads(1 if threads is None and one_each else threads)
    command = ("evprop", *sys.argv[1:])
    try:
        lines = train_experiment(config, folder, resume=resume is not None, command=command, comm=comm, **how).lines()
    except KeyboardInterrupt:
        if team.rank == 0:
            where = shlex.quote(str(folder))
            click.echo(f"\ninterrupted; continue with: evprop train --resume {where}", err=True)
        return False
    for line in lines if team.rank == 0 else ():
        click.echo(line)
    return True


@main.command()
@click.argument("task", required=False)
@click.option(
    "--vary",
    multiple=True,
    metavar="KEY=VALUES",
    help="A setting and its choices, [64, 128], or its range, {low = 1e-4, high = 1e-2, log = true}; may be repeated.",
)
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="As for train, of all trials.")
@click.option("--trials", type=int, default=50, show_default=True, help="How many, by all workers together.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the settings that are drawn.")
@click.option("--out", type=click.Path(path_type=Path), help="The sweep's folder; sweeps/TASK-1, ... unless given.")
@click.option("--storage", metavar="URL", help="Optuna's storage (sqlite:///...); a journal in the folder by default.")
@click.option(
    "--join",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="FOLDER",
    help="Be one more worker of a sweep, or go on after all have ended.",
)
@click.option("--threads", type=int, help="Threads to use; results do not depend on it.")
@click.option("--quiet", is_flag=True, help="No line per trial.")
def sweep(
    task: str | None,
    vary: tuple[str, ...],
    overrides: tuple[str, ...],
    trials: int,
    seed: int,
    out: Path | None,
    storage: str | None,
    join: Path | None,
    threads: int | None,
    quiet: bool,
) -> None:
    """Search for good settings of TASK with Optuna, by accuracy on its validation set (extra [sweep]).

    Start as many workers as there are cores: the first with TASK, the others with --join FOLDER, on any machine that
    sees the folder. A trial that a killed worker leaves behind is taken up again by the next free one.
    """
    if (task is None) == (join is None):
        raise click.UsageError("give TASK for a new sweep, or --join FOLDER for one that exists.")
    with _clear_errors():
        from .config import load_config, parse_settings
        from .experiment import new_folder
        from .sweep import Sweep, Trial

        _threads(threads)
        if join is not None:
            one = Sweep.open(join)
        else:
            config = load_config(task or "", overrides)
            folder = out or new_folder(Path("sweeps"), config["name"])
            one = Sweep.create(config, parse_settings(vary), folder, trials=trials, seed=seed, storage=storage)
            click.echo(f"sweep folder {folder}; further workers: evprop sweep --join {shlex.quote(str(folder))}")

        def told(trial: Trial) -> None:
            if not quiet:
                click.echo(_trial_line(trial))

        try:
            one.work(told)
        except KeyboardInterrupt:
            where = shlex.quote(str(one.folder))
            click.echo(f"\ninterrupted; continue with: evprop sweep --join {where}", err=True)
            sys.exit(130)
        found = one.found()
        click.echo(f"best of {len(found)} trials, by validation accuracy:")
        for trial in found[:5]:
            click.echo(_trial_line(trial))
        best = one.folder / f"trial-{found[0].number:04d}"
        click.echo(f"test accuracy of the best, once: evprop eval {shlex.quote(str(best))}")


def _trial_line(trial: Any) -> str:
    value = trial.state if trial.value is None else f"{100 * trial.value:.2f} %"
    return f"  trial {trial.number}: {value:>8}   {'  '.join(trial.overrides)}"


@main.command("eval")
@click.argument("run", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="An HDF5 file in the layout of SHD and SSC (.h5, .h5.gz), or an .npz file of evprop.datasets.Dataset.save; "
    "the experiment's own test set unless given.",
)
@click.option("--threads", type=int, help="Threads to use; results do not depend on it.")
def evaluate(run: Path, data: Path | None, threads: int | None) -> None:
    """Evaluate the trained network of a RUN folder."""
    with _clear_errors():
        from .experiment import open_data, open_run
        from .metrics import confusion

        _threads(threads)
        experiment, params = open_run(run)
        chosen = experiment.data["test"] if data is None else open_data(experiment, data)
        seen = experiment.evaluate(params, chosen)
        click.echo(f"{chosen.name}: {len(chosen)} samples")
        click.echo(f"accuracy {100 * seen.accuracy:.2f} %, loss {seen.loss:.4g}")
        counts = ", ".join(f"{name} {mean:.2f}" for name, mean in seen.spikes_per_neuron.items())
        click.echo(f"spikes per neuron: {counts or '-'}")
        sizes = {name: experiment.net.populations[name].size for name in seen.spikes_per_neuron}
        layers = [f"input {chosen.spikes.n_spikes / len(chosen):.0f}"]
        layers += [f"{name} {mean * sizes[name]:.0f}" for name, mean in seen.spikes_per_neuron.items()]
        click.echo(f"spikes per sample: {', '.join(layers)}")
        n = max(chosen.n_classes, 1 + int(seen.predictions.max()))
        names = chosen.class_names or tuple(str(k) for k in range(n))
        click.echo("label \\ prediction" + "".join(f"{name:>12}" for name in (*names, "undecided")))
        for name, row in zip(names, confusion(seen.predictions, chosen.labels, n), strict=False):
            click.echo(f"{name:>18}" + "".join(f"{count:>12}" for count in row))


@main.command()
@click.argument("run", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--target", type=click.Choice(["loihi2"]), default="loihi2", show_default=True, help="The chip.")
@click.option("--out", type=click.Path(path_type=Path), help="A file to write: .nir is NIR, else NetX for lava-dl.")
@click.option("--data", type=click.Path(path_type=Path), help="As for eval; the run's own test set unless given.")
@click.option("--fine-tune", type=int, default=0, metavar="N", help="Epochs of training on the chip's model.")
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="KEY=VALUE",
    help="What fine-tuning does otherwise than the run did, for example --set training.average=0.99; may be repeated.",
)
@click.option(
    "--towards",
    type=click.Choice(["labels", "float"]),
    default="labels",
    show_default=True,
    help="What fine-tuning aims at: the labels, or the answers in floating point.",
)
@click.option(
    "--fit-readout",
    type=int,
    default=0,
    metavar="SAMPLES",
    help="Gains of what the readout listens to, fitted on training samples towards floating point, before fine-tuning.",
)
@click.option("--dt", type=float, default=1.0, show_default=True, help="The chip's time step, in ms.")
@click.option("--bits", type=int, default=8, show_default=True, help="Bits of a weight, 2 to 8.")
@click.option("--scale", default="search", show_default=True, help="search, max or percentile.")
@click.option("--within", type=float, default=2.0, show_default=True, help="Spikes nearer than this agree, in ms.")
@click.option("--clip-delays", is_flag=True, help="Shorten delays beyond 62 steps, and count them.")
@click.option("--threads", type=int, help="Threads to use; results do not depend on it.")
def deploy(
    run: Path,
    target: str,
    out: Path | None,
    data: Path | None,
    fine_tune: int,
    changes: tuple[str, ...],
    towards: str,
    fit_readout: int,
    dt: float,
    bits: int,
    scale: str,
    within: float,
    clip_delays: bool,
    threads: int | None,
) -> None:
    """Quantise the trained network of a RUN folder for a chip, compare, place, cost, and write its file."""
    with _clear_errors():
        from .deploy import Settings
        from .deploy import deploy as deploy_run

        _threads(threads)
        settings = Settings(
            dt=dt,
            bits=bits,
            clip_delays=clip_delays,
            scale=scale,
            within=within,
            readout=fit_readout,
            epochs=fine_tune,
            towards=towards,
            changes=changes,
        )
        for line in deploy_run(run, settings, out=out, data=data).lines():
            click.echo(line)


@main.command()
@click.argument(
    "runs",
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="RUN...",
)
@click.option(
    "--out", type=click.Path(path_type=Path), help="The HTML file; report.html in the first RUN unless given."
)
def report(runs: tuple[Path, ...], out: Path | None) -> None:
    """Write one self-contained HTML file about finished RUN folders (extra [plot])."""
    with _clear_errors():
        from .report import write_report

        click.echo(f"wrote {write_report(runs, out or runs[0] / 'report.html')}")


@main.command()
def info() -> None:
    """Version, threads, SIMD level, and whether there is CUDA."""
    with _clear_errors():
        import numpy as np

        from . import __version__, _core, num_threads

        click.echo(f"evprop   {__version__}")
        click.echo(f"python   {platform.python_version()}, numpy {np.__version__}")
        click.echo(f"machine  {platform.platform()}")
        click.echo(f"threads  {num_threads()} (EVPROP_NUM_THREADS or evprop.set_num_threads(n))")
        click.echo(f"SIMD     {_core.simd_level()}")
        click.echo(f"CUDA     {cuda_status()}")


def cuda_status() -> str:
    """Which GPU evprop can use, or why none."""
    from . import _core
    from .errors import DeviceError

    try:
        return _core.cuda_device(0)
    except DeviceError as error:
        return f"no: {error}"


@main.command()
@click.option("--device", default="cuda", show_default=True, help='"cuda", or "cuda:N".')
@click.option("--networks", type=int, default=50, show_default=True, help="How many random networks.")
@click.option("--seconds", type=float, default=5.0, show_default=True, help="About how long to measure each workload.")
@click.option("--speed/--no-speed", default=True, help="Measure the workloads of bench too.")
@click.option("--out", type=click.Path(path_type=Path), help="A JSON file to write, to be sent to us.")
def check(device: str, networks: int, seconds: float, speed: bool, out: Path | None) -> None:
    """Compare a GPU with the CPU on random networks, and measure both; ends with 1 where they disagree."""
    with _clear_errors():
        from .check import check_up

        workloads = ("Y", "S-none", "S-learn", "S-axonal") if speed else ()
        found = check_up(device, networks=networks, seconds=seconds, workloads=workloads)
        for line in found.lines():
            click.echo(line)
        if out is not None:
            found.write(out)
        if not found.good:
            raise SystemExit(1)


@main.command()
@click.option(
    "--workload",
    "workloads",
    type=click.Choice(["Y", "S-none", "S-learn", "S-axonal", "S-paper"]),
    multiple=True,
    default=("Y", "S-none", "S-learn", "S-axonal"),
    show_default=True,
    help="What to measure; may be given several times.",
)
@click.option("--seconds", type=float, default=5.0, show_default=True, help="About how long to measure each.")
@click.option("--threads", type=int, default=1, show_default=True, help="Threads to use.")
@click.option("--dtype", type=click.Choice(["float64", "float32"]), default="float32", show_default=True)
@click.option("--peers", metavar="PYTHON", help="Measure other libraries too, in this interpreter (source tree).")
def bench(workloads: tuple[str, ...], seconds: float, threads: int, dtype: str, peers: str | None) -> None:
    """Measure whole training steps on fixed workloads, Yin-Yang size (Y) and keyword-spotting size (S-...)."""
    with _clear_errors():
        from .bench import machine, measure, table, workload

        if peers is not None:
            _bench_beside(peers)
            return
        _threads(threads)
        speeds = [measure(workload(name, dtype=dtype), seconds=seconds) for name in workloads]
        click.echo(f"{machine()}; {threads} thread{'s' * (threads > 1)}, Adam step included, medians of 5 rounds\n")
        click.echo(table(speeds))


def _bench_beside(peers: str) -> None:
    """Run the report of a source tree, which has one script for each workload and library."""
    import subprocess

    from .errors import ConfigError

    report = Path(__file__).resolve().parents[2] / "benches" / "report.py"
    if not report.exists():
        raise ConfigError(f"--peers needs a source tree, for its scripts: {report} does not exist; clone evprop")
    if subprocess.run([sys.executable, str(report), "--peers", peers], check=False).returncode != 0:
        raise SystemExit(1)
