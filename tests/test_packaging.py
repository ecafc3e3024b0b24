"""The package's own description: versions agree, the lock covers what is declared, the extras stay optional."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

import evprop


@pytest.fixture(scope="module")
def project(repository: Path) -> dict:  # type: ignore[type-arg]
    return tomllib.loads((repository / "pyproject.toml").read_text())["project"]


def test_one_version(repository: Path) -> None:
    cargo = tomllib.loads((repository / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    assert evprop.__version__ == cargo
    assert f"version: {cargo}" in (repository / "CITATION.cff").read_text()
    assert f"## {cargo}" in (repository / "CHANGELOG.md").read_text()


def test_installed_version() -> None:
    assert version("evprop") == evprop.__version__


def test_the_lock_covers_every_declared_dependency(repository: Path, project: dict) -> None:  # type: ignore[type-arg]
    lines = (repository / "requirements-dev.lock").read_text().splitlines()
    locked = dict(line.split("==") for line in lines if "==" in line and not line.startswith(("#", " ")))
    declared = list(project["dependencies"])
    for extra in ("h5", "nir", "plot", "sklearn", "sweep", "test", "dev"):
        declared += project["optional-dependencies"][extra]
    for text in declared:
        requirement = Requirement(text)
        if requirement.name == "evprop":
            continue
        assert requirement.name in locked, f"{text} is not in requirements-dev.lock"
        assert Version(locked[requirement.name]) in requirement.specifier, text


def test_importing_needs_no_extra() -> None:
    """`import evprop` must not pull in a package that only an extra brings."""
    code = (
        "import sys, evprop\n"
        "heavy = {'matplotlib', 'scipy', 'hypothesis', 'pytest', 'torch', 'jax', 'tonic', 'h5py', 'nir', 'optuna', 'sklearn', "
        "'tensorboardX'}\n"
        "print(*sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_data_files_are_installed() -> None:
    root = Path(evprop.__file__).parent
    assert (root / "py.typed").exists()
    assert list(root.rglob("*.toml")), "the shipped configurations are missing"


def test_the_command_runs() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "evprop", "info"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert evprop.__version__ in done.stdout
