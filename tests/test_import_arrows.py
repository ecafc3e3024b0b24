"""Imports run one way only, along the data's way: spikes -> network -> simulate -> loss -> adjoint -> optimiser.

Each unit (a module or package directly below the root) has a rank; it may import units of a lower rank only.
Units of one rank do not know each other: the adjoint, for one, must never learn which simulator made a record.
A new unit must be given its place here.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

RUST = {
    "error": 0,
    "math": 1,
    "vectorised": 1,  # the macro of math::simd, which the crate's root exports
    "parallel": 1,
    "optim": 2,
    "spikes": 2,
    "projection": 2,
    "neuron": 3,
    "network": 4,
    "record": 5,
    "loss": 6,
    "simulate": 6,
    "adjoint": 6,
    "cuda": 7,
    "hardware": 7,
    "sparse": 8,  # its tests draw numbers as test_problems does
    "test_problems": 7,
}

PYTHON = {
    "errors": 0,
    "_core": 1,
    "interrupts": 1,
    "devices": 2,
    "spikes": 2,
    "init": 2,
    "parameters": 2,
    "readouts": 2,
    "augment": 3,
    "populations": 3,
    "projections": 4,
    "network": 5,
    "files": 6,
    "record": 6,
    "loader": 7,
    "checkpoint": 7,
    "datasets": 7,
    "losses": 7,
    "simulators": 8,
    "gradients": 9,
    "on_device": 10,
    "optim": 9,
    "metrics": 10,
    "testing": 10,
    "hardware": 10,
    "attacks": 10,
    "sparse": 11,  # its neurons run on the engine and in the chip's integers
    "distributed": 11,
    "plot": 11,
    "run": 12,
    "callbacks": 13,
    "tensorboard": 13,
    "interop": 14,
    "train": 14,
    "config": 14,
    # the package's root imports most of the above; only what stands over all of it may lean on it
    "__version__": 14,
    "num_threads": 14,
    "set_num_threads": 14,
    "bench": 15,
    "estimator": 15,
    "experiment": 15,
    "check": 16,
    "deploy": 16,
    "report": 16,
    "sweep": 16,
    "cli": 20,
}


def rust_imports(root: Path) -> Iterator[tuple[str, str, str]]:
    """(unit, unit it names, place) for every `crate::unit` outside comments and `#[cfg(test)]` modules."""
    for path in sorted(root.rglob("*.rs")):
        parts = path.relative_to(root).parts
        unit = parts[0].removesuffix(".rs")
        if unit == "lib":
            continue
        text = re.sub(r"//.*", "", path.read_text())
        text = re.split(r"#\[cfg\(test\)\]\s*(?:pub )?mod ", text)[0]
        for match in re.finditer(r"\bcrate::(\w+|\{[^}]*\})", text):
            names = re.findall(r"(?:^|[{,])\s*(\w+)", match.group(1))
            line = text[: match.start()].count("\n") + 1
            for name in names:
                yield unit, name, f"{'/'.join(parts)}:{line}"


def python_imports(root: Path) -> Iterator[tuple[str, str, str]]:
    """(unit, unit it imports, place) for every import of the package, those inside functions included."""
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).parts
        unit = parts[0].removesuffix(".py")
        if unit in ("__init__", "__main__"):
            continue
        package = ["evprop", *parts[:-1]]
        for node in ast.walk(ast.parse(path.read_text())):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                base = package[: len(package) - node.level + 1] if node.level else []
                base = base + (node.module.split(".") if node.module else [])
                names = [".".join([*base, alias.name]) for alias in node.names]
            for name in names:
                pieces = name.split(".")
                if pieces[0] == "evprop":
                    target = pieces[1] if len(pieces) > 1 else "evprop"
                    yield unit, target, f"{'/'.join(parts)}:{node.lineno}"


def backward_arrows(imports: Iterator[tuple[str, str, str]], ranks: dict[str, int]) -> list[str]:
    """A line for every import that does not lead to a lower rank, or that names a unit without one."""
    found = []
    for unit, target, place in imports:
        if unit == target:
            continue
        if unit not in ranks or target not in ranks:
            missing = unit if unit not in ranks else target
            found.append(f"{place}: {missing!r} has no rank in this test; give it its place")
        elif ranks[target] >= ranks[unit]:
            found.append(
                f"{place}: {unit} (rank {ranks[unit]}) must not import {target} (rank {ranks[target]})"
            )
    return sorted(set(found))


def test_rust_core(repository: Path) -> None:
    found = backward_arrows(rust_imports(repository / "rust" / "evprop" / "src"), RUST)
    assert not found, "\n".join(found)


def test_python_package(repository: Path) -> None:
    found = backward_arrows(python_imports(repository / "python" / "evprop"), PYTHON)
    assert not found, "\n".join(found)


def test_only_the_door_knows_python(repository: Path) -> None:
    manifest = (repository / "rust" / "evprop" / "Cargo.toml").read_text()
    assert not re.search(r"^(pyo3|numpy)\b", manifest, re.MULTILINE)


@pytest.mark.parametrize(
    ("name", "text", "reported"),
    [
        ("adjoint/mod.rs", "use crate::simulate::Exact;", True),
        ("adjoint/mod.rs", "use crate::{math, record::Record};", False),
        ("math/mod.rs", "// use crate::adjoint;", False),
        ("math/mod.rs", "fn f() { crate::spikes::g() }", True),
        ("network.rs", "#[cfg(test)]\nmod tests { use crate::adjoint::backward; }", False),
    ],
)
def test_the_reader_of_rust_sees_them(tmp_path: Path, name: str, text: str, reported: bool) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    assert bool(backward_arrows(rust_imports(tmp_path), RUST)) == reported


@pytest.mark.parametrize(
    ("name", "text", "reported"),
    [
        ("spikes.py", "from .network import Network", True),
        ("spikes.py", "from . import errors", False),
        ("losses/rate.py", "from ..spikes import Spikes\nfrom .base import Loss", False),
        ("losses/rate.py", "def f():\n    from ..train import fit", True),
        ("train.py", "import evprop.cli", True),
        ("train.py", "from evprop.losses import Loss", False),
    ],
)
def test_the_reader_of_python_sees_them(tmp_path: Path, name: str, text: str, reported: bool) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    assert bool(backward_arrows(python_imports(tmp_path), PYTHON)) == reported
