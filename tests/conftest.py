"""What all tests share: recordings by EVPROP_DATA, pictures without a screen, reproducible examples of hypothesis."""

from __future__ import annotations

import ctypes
import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import hypothesis
import pytest

from emulator import build_emulator

os.environ.setdefault("MPLBACKEND", "Agg")

REPOSITORY = Path(__file__).resolve().parent.parent

# the same examples on every run and no deadline: a loaded machine is not a failure
hypothesis.settings.register_profile("evprop", derandomize=True, deadline=None, print_blob=True)
hypothesis.settings.register_profile("explore", deadline=None, print_blob=True)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "evprop"))


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the source tree."""
    return REPOSITORY


def load_bench(name: str) -> ModuleType:
    """benches/NAME as a module."""
    spec = importlib.util.spec_from_file_location(Path(name).stem, REPOSITORY / "benches" / name)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def exactness() -> ModuleType:
    """The bench that compares random networks with the oracle."""
    return load_bench("exactness.py")


@pytest.fixture(scope="session")
def closed_form() -> ModuleType:
    """The bench that trains DelGrad's net with nothing of evprop."""
    return load_bench("brainscales2/closed_form.py")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder with recordings and reference numbers named by EVPROP_DATA.

    Unset: the test is skipped. Set to a folder that does not exist: the test fails, for whoever sets
    it (CI does) wants these tests to run.
    """
    value = os.environ.get("EVPROP_DATA")
    if not value:
        pytest.skip("EVPROP_DATA is not set: it names the folder with recordings and reference numbers")
    folder = Path(value)
    assert folder.is_dir(), f"EVPROP_DATA={value} is not a folder"
    return folder


@pytest.fixture(scope="session")
def library(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_emulator(repository, tmp_path_factory.mktemp("cuda"))


@pytest.fixture(scope="session")
def emulator(library: Path) -> ctypes.CDLL:
    loaded = ctypes.CDLL(str(library))
    for name in ("emulator_in_use", "emulator_launches", "emulator_fetched"):
        getattr(loaded, name).restype = ctypes.c_size_t
    return loaded


@pytest.fixture
def gpu(emulator: ctypes.CDLL) -> Iterator[ctypes.CDLL]:
    """The emulated device; everything that was taken must have been given back."""
    yield emulator
    assert emulator.emulator_in_use() == 0


@pytest.fixture(scope="module")
def gpu_for_hypothesis(emulator: ctypes.CDLL) -> Iterator[None]:
    yield
    assert emulator.emulator_in_use() == 0
