"""Experiment files: TOML in, a checked tree of settings out, and back to text for the run folder.

A table with a ``kind`` becomes an object of evprop: ``[loss] kind = "FirstSpike"`` takes exactly the
arguments of `evprop.losses.FirstSpike`. So the documentation of the classes is the documentation of the file,
and an unknown key is an error that suggests the nearest one. Sections:

    name, description, seed, duration (ms)
    base                 a shipped experiment that this one changes: tables merge, all else replaces
    [data]               kind = "yin_yang" | "sequence_detection" | "recordings"
    [populations.NAME]   kind = "Input" | "LIF" | "LI"         constants: numbers or initialisers
    [projections.NAME]   kind = "Dense"                        weight, delay: numbers or initialisers
    [simulator]          kind = "Exact" | "Loihi2" | "BrainScaleS2" | "BrainScaleS2.ideal" (false: a distortion off)
    [loss]               kind = "FirstSpike" | "RelativeMSE" | "SkipSilentLabels" | "SpikeTimeMSE" | "CrossEntropy"
    [[regularisers]]     kind = "Rate" | "PeakVoltage" | "DelayL2"; as many as you like
    [[augment]]          kind = "ShiftChannels" | "Blend" | ...; in this order (augment.py)
    [optimiser]          kind = "SGD" | "Adam" | "AdamW";      [optimiser.groups."GLOB"], schedule, map
    [training]           epochs, batch_size, max_dw_norm, shuffle, average, parts, tensorboard
    [callbacks.KIND]     ClipWeights, EarlyStopping, KeepBest, ReduceOnPlateau, StopOnSilence, StopWhen, WeightBumping

An initialiser is { kind = "Normal", mean = 0.0, std = 1.0 } and so on.
"""

from __future__ import annotations

import copy
import inspect
import math
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from . import augment, callbacks, datasets, init, losses, optim
from .errors import ConfigError, EvpropError, nearest
from .hardware import BrainScaleS2, Loihi2
from .populations import POPULATIONS
from .projections import Dense
from .simulators import Exact

Registry = Mapping[str, Callable[..., Any]]


def _named(*classes: Callable[..., Any]) -> dict[str, Callable[..., Any]]:
    return {c.__name__: c for c in classes}


INITIALISERS = _named(init.Constant, init.LogNormal, init.Normal, init.Tonotopic, init.Uniform)
READOUTS = _named(
    *(losses.Final, losses.Max, losses.Sampled),
    *(losses.Integral, losses.LinearIntegral, losses.SigmoidIntegral, losses.WeightedIntegral),
)
SCHEDULES = _named(
    optim.Constant, optim.CosineDecay, optim.EaseIn, optim.ExponentialDecay, optim.StepDecay
)
MAPS = _named(optim.Log, optim.Sigmoid)
DATA = _named(datasets.yin_yang, datasets.sequence_detection, datasets.recordings, datasets.mnist_16x16)
LOSSES = _named(
    losses.CrossEntropy, losses.FirstSpike, losses.RelativeMSE, losses.SkipSilentLabels, losses.SpikeTimeMSE
)
REGULARISERS = _named(losses.DelayL2, losses.PeakVoltage, losses.Rate)
AUGMENTATIONS = _named(
    *(augment.Blend, augment.DropChannels, augment.DropSpikes),
    *(augment.JitterTimes, augment.RoundTimes, augment.ScaleTimes, augment.ShiftChannels),
)
OPTIMISERS = _named(optim.SGD, optim.Adam, optim.AdamW)
CALLBACKS = _named(
    *(callbacks.ClipWeights, callbacks.EarlyStopping, callbacks.KeepBest, callbacks.ReduceOnPlateau),
    *(callbacks.StopOnSilence, callbacks.StopWhen, callbacks.WeightBumping),
)
SIMULATORS = _named(Exact, Loihi2, BrainScaleS2) | {"BrainScaleS2.ideal": BrainScaleS2.ideal}
NESTED: Mapping[str, Registry] = {
    "readout": READOUTS, "schedule": SCHEDULES, "then": SCHEDULES,
    "map": MAPS, "loss": LOSSES,
}
"""What a table with a kind inside another one may be, by its key; anything else is an initialiser."""

TOP_LEVEL = (
    "name",
    "description",
    "seed",
    "duration",
    "data",
    "populations",
    "projections",
    "simulator",
    "loss",
    "regularisers",
    "augment",
    "optimiser",
    "training",
    "callbacks",
)
OPTIONAL = ("description", "simulator", "regularisers", "augment", "callbacks")
REQUIRED = tuple(key for key in TOP_LEVEL if key not in OPTIONAL)
LISTS = ("regularisers", "augment")
TRAINING = ("epochs", "batch_size", "max_dw_norm", "shuffle", "average", "parts", "tensorboard")
SET_ELSEWHERE = frozenset({"split", "self"})
"""Arguments that no file sets."""


@dataclass(frozen=True)
class Config:
    """A checked experiment: ``values`` is the tree of settings, ``text`` the TOML that says the same."""

    values: Mapping[str, Any]
    text: str

    def __getitem__(self, path: str) -> Any:
        """The setting at a dotted path."""
        value: Any = self.values
        for part in path.split("."):
            value = value[part]
        return value

    def build(self, section: str, **more: Any) -> Any:
        """The object that a section with a ``kind`` describes; ``more`` are arguments that no file sets."""
        return build(self.values[section], section, _registry(section), more)

    def build_list(self, section: str) -> tuple[Any, ...]:
        """The objects of a list of tables, in its order."""
        tables = self.values.get(section, [])
        return tuple(build(t, f"{section}[{k}]", _registry(section)) for k, t in enumerate(tables))


def experiments() -> dict[str, str]:
    """The experiments shipped with evprop: {name: its first comment line}."""
    found = {}
    for file in sorted(resources.files("evprop").joinpath("experiments").iterdir(), key=lambda f: f.name):
        if file.name.endswith(".toml"):
            first = file.read_text(encoding="utf-8").split("\n", 1)[0]
            found[file.name.removesuffix(".toml")] = first.lstrip("# ")
    return found


def load_config(task: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read an experiment by its shipped name or from a .toml file, and apply overrides such as
    "optimiser.lr=0.003".

    An override is a line of TOML: keys with dots in them are quoted (``optimiser.groups."*.delay".lr=1.0``),
        and a
    table with a ``kind`` replaces the old one (``loss={kind="RelativeMSE", delta=2.0}``). A bare word is a
    string.
    """
    text = _text_of(task)
    values = _parsed(text, task)
    if "base" in values:
        values = _on_its_base(values, str(task))
        text = f"{text.split(chr(10), 1)[0]}\n\n{to_toml(values)}"
    check(values)
    for line in overrides:
        changed = copy.deepcopy(values)
        for path, value in _leaves(_parse_override(line)):
            text = _edit_text(text, path, value)
            _set(changed, path, value)
        values = changed
    check(values)
    if not _says(text, values):
        text = f"# {values['name']}, as changed by: {'; '.join(overrides)}\n\n{to_toml(values)}"
    return Config(values, text)


def _parsed(text: str, task: str | Path) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{task} is no valid TOML: {error}") from error


def _on_its_base(values: dict[str, Any], *tasks: str) -> dict[str, Any]:
    """The settings of the experiment named by ``base``, as changed by these."""
    base = values.pop("base")
    if not isinstance(base, str):
        raise ConfigError(f"{tasks[-1]}: base is {base!r}; it must be the name of an experiment.")
    if base in tasks:
        raise ConfigError(f"{' -> '.join((*tasks, base))}: an experiment cannot be its own base.")
    below = _parsed(_text_of(base), base)
    if "base" in below:
        below = _on_its_base(below, *tasks, base)
    return _merged(below, values)


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Tables of the same kind merge; everything else of ``above`` replaces what is below."""
    merged = dict(below)
    for key, value in above.items():
        known = merged.get(key)
        if isinstance(known, Mapping) and isinstance(value, Mapping) and _alike(known, value):
            merged[key] = _merged(known, value)
        else:
            merged[key] = value
    return merged


def _alike(known: Mapping[str, Any], value: Mapping[str, Any]) -> bool:
    """Whether a table changes another one, and does not put something of another kind in its place."""
    return bool(value.get("kind", known.get("kind")) == known.get("kind"))


def _text_of(task: str | Path) -> str:
    path = Path(task)
    if path.suffix == ".toml":
        try:
            return path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path} cannot be read: {error}") from error
    shipped = resources.files("evprop").joinpath("experiments", f"{task}.toml")
    if not shipped.is_file():
        raise ConfigError(
            f"unknown task {str(task)!r}: {nearest(str(task), experiments())} Or give a .toml file."
        )
    return shipped.read_text(encoding="utf-8")


# -- checking and building -----------------------------------------------------------------------------------


def check(values: Mapping[str, Any]) -> None:
    """Raise unless every key is known and every table with a kind takes the arguments it is given."""
    _known_keys("", values, TOP_LEVEL)
    for key in REQUIRED:
        if key not in values:
            raise ConfigError(f"the experiment lacks '{key}'.")
    for section in ("populations", "projections"):
        for name, table in values[section].items():
            arguments_of(table, f"{section}.{name}", _registry(section))
    for section in ("data", "simulator", "loss", "optimiser"):
        if section in values:
            arguments_of(values[section], section, _registry(section))
    for section in LISTS:
        if not isinstance(values.get(section, []), list):
            raise ConfigError(f"{section} is {values[section]!r}; it is a list of tables: [[{section}]].")
        for k, table in enumerate(values.get(section, [])):
            arguments_of(table, f"{section}[{k}]", _registry(section))
    for pattern, group in values["optimiser"].get("groups", {}).items():
        where = f'optimiser.groups."{pattern}"'
        _known_keys(where, group, optim.GROUP_KEYS)
        _check_nested(group, where)
    for name, table in values.get("callbacks", {}).items():
        arguments_of({"kind": name, **table}, f"callbacks.{name}", CALLBACKS)
    _known_keys("training", values["training"], TRAINING)
    for key in ("epochs", "batch_size"):
        if not isinstance(values["training"].get(key), int):
            raise ConfigError(f"training.{key} is {values['training'].get(key)!r}; it must be an integer.")
    for key, types in (("seed", int), ("duration", (int, float)), ("name", str)):
        if not isinstance(values[key], types) or isinstance(values[key], bool):
            raise ConfigError(
                f"{key} is {values[key]!r}; it must be {'text' if key == 'name' else 'a number'}."
            )


def build(table: Any, where: str, registry: Registry, more: Mapping[str, Any] | None = None) -> Any:
    """The object of a table with a kind, those inside it built first."""
    maker, arguments = arguments_of(table, where, registry)
    built = {}
    for key, value in arguments.items():
        if isinstance(value, Mapping) and "kind" in value:
            built[key] = build(value, f"{where}.{key}", NESTED.get(key, INITIALISERS))
        elif key == "groups":
            built[key] = {
                pattern: {
                    k: build(v, f"{where}.{pattern}.{k}", NESTED[k]) if isinstance(v, Mapping) else v
                    for k, v in group.items()
                }
                for pattern, group in value.items()
            }
        else:
            built[key] = tuple(value) if isinstance(value, list) else value
    try:
        return maker(**built, **(more or {}))
    except EvpropError as error:
        raise ConfigError(f"[{where}] {error}") from error
    except TypeError as error:
        raise ConfigError(f"[{where}] cannot be made: {error}") from error


def arguments_of(table: Any, where: str, registry: Registry) -> tuple[Callable[..., Any], dict[str, Any]]:
    """The class that a table names and the table's other entries, checked against the class's arguments."""
    if not isinstance(table, Mapping) or "kind" not in table:
        raise ConfigError(f"[{where}] lacks 'kind': {nearest('', registry)}")
    kind = table["kind"]
    if kind not in registry:
        raise ConfigError(f"[{where}] kind = {kind!r} is unknown: {nearest(kind, registry)}")
    arguments = {key: value for key, value in table.items() if key != "kind"}
    _known_keys(where, arguments, arguments_taken(registry[kind]))
    _check_nested(arguments, where)
    return registry[kind], arguments


def arguments_taken(maker: Callable[..., Any]) -> list[str]:
    """The names of a class's or function's arguments; ``**common`` stands for those of the base class."""
    makers: list[Callable[..., Any]] = [maker]
    if isinstance(maker, type):
        makers = [vars(c)["__init__"] for c in maker.__mro__ if "__init__" in vars(c)]
    elif isinstance(owner := getattr(maker, "__self__", None), type):  # another way to make it
        makers = [maker, vars(owner)["__init__"]]
    names: dict[str, None] = {}
    for one in makers:
        parameters = inspect.signature(one).parameters.values()
        names.update(
            dict.fromkeys(p.name for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL))
        )
        if not any(p.kind == p.VAR_KEYWORD for p in parameters):
            break
    return [name for name in names if name not in SET_ELSEWHERE]


def _check_nested(arguments: Mapping[str, Any], where: str) -> None:
    for key, value in arguments.items():
        if isinstance(value, Mapping) and ("kind" in value or key in NESTED):
            arguments_of(value, f"{where}.{key}", NESTED.get(key, INITIALISERS))


def _known_keys(where: str, table: Any, known: Sequence[str]) -> None:
    if not isinstance(table, Mapping):
        raise ConfigError(f"{where} is {table!r}; it must be a table.")
    for key in table:
        if key not in known:
            raise ConfigError(f"unknown setting '{f'{where}.' if where else ''}{key}': {nearest(key, known)}")


def _registry(section: str) -> Registry:
    registries: dict[str, Registry] = {
        "data": DATA,
        "populations": POPULATIONS,
        "projections": _named(Dense),
        "simulator": SIMULATORS,
        "loss": LOSSES,
        "regularisers": REGULARISERS,
        "augment": AUGMENTATIONS,
        "optimiser": OPTIMISERS,
    }
    return registries[section]


# -- overrides -----------------------------------------------------------------------------------------------


def _parse_override(line: str) -> dict[str, Any]:
    key, equals, value = line.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"--set {line!r}: give KEY=VALUE, for example optimiser.lr=0.003.")
    for candidate in (f"{key} = {value}", f"{key} = '{value.strip()}'"):
        try:
            return tomllib.loads(candidate)
        except tomllib.TOMLDecodeError:
            continue
    raise ConfigError(f"--set {line!r}: neither key nor value can be read; values are written as in TOML.")


def parse_settings(lines: Sequence[str]) -> dict[str, Any]:
    """{key: value} of lines KEY=VALUE, the values as in TOML."""
    found = {}
    for line in lines:
        _parse_override(line)
        key, _, value = line.partition("=")
        found[key.strip()] = _parse_override(f"value={value}")["value"]
    return found


def _leaves(tree: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping) and value and "kind" not in value:
            yield from _leaves(value, (*path, key))
        else:
            yield (*path, key), value


def _set(values: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    table: Any = values
    for depth, key in enumerate(path[:-1]):
        if key not in table:
            fresh = path[0] == "callbacks" or path[:2] == ("optimiser", "groups") or depth == 0
            if not fresh or (depth == 0 and key not in TOP_LEVEL):
                raise ConfigError(
                    f"unknown setting '{'.'.join(path)}': no '{key}' here; {nearest(key, table)}"
                )
            table[key] = {}
        table = table[key]
        if not isinstance(table, dict):
            raise ConfigError(f"'{'.'.join(path)}': '{key}' is {table!r}, not a table.")
    table[path[-1]] = value


# -- text ----------------------------------------------------------------------------------------------------


def to_toml(values: Mapping[str, Any]) -> str:
    """A tree of settings as TOML: tables two levels deep as sections, deeper ones inline."""
    lines = [f"{_key(k)} = {toml_value(v)}" for k, v in values.items() if not isinstance(v, Mapping)]
    for section, table in values.items():
        if not isinstance(table, Mapping):
            continue
        named = section in ("populations", "projections", "callbacks")
        if not named:
            lines += ["", f"[{_key(section)}]", *(f"{_key(k)} = {toml_value(v)}" for k, v in table.items())]
            continue
        for name, inner in table.items():
            head = f"[{_key(section)}.{_key(name)}]"
            lines += ["", head, *(f"{_key(k)} = {toml_value(v)}" for k, v in inner.items())]
    return "\n".join(lines) + "\n"


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _text(key)


def _text(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{escaped}"'


def toml_value(value: Any) -> str:
    """One setting as it stands in a file."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else {math.inf: "inf", -math.inf: "-inf"}.get(value, "nan")
    if isinstance(value, Mapping):
        return (
            "{ " + ", ".join(f"{_key(k)} = {toml_value(v)}" for k, v in value.items()) + " }" if value else "{}"
        )
    if isinstance(value, list | tuple):
        return "[" + ", ".join(toml_value(v) for v in value) + "]"
    return repr(value)


def _edit_text(text: str, path: tuple[str, ...], value: Any) -> str:
    """The same text with one value replaced, its comments kept; unchanged where the value has no line of its own."""
    section, lines = "", text.split("\n")
    wanted = ".".join(_key(part) for part in path[:-1])
    for k, line in enumerate(lines):
        if head := re.match(r"\s*\[([^\[\]]+)\]", line):
            section = head[1].replace(" ", "")
        found = re.match(r"(\s*)([\w\-\"*.]+)(\s*=\s*)", line)
        if found and section == wanted and found[2] == _key(path[-1]):
            quoted = re.search(r"\s+#[^\"']*$", line)
            comment = quoted[0] if quoted else ""
            lines[k] = f"{found[1]}{found[2]}{found[3]}{toml_value(value)}{comment}"
    return "\n".join(lines)


def _says(text: str, values: Mapping[str, Any]) -> bool:
    try:
        return tomllib.loads(text) == values
    except tomllib.TOMLDecodeError:
        return False
