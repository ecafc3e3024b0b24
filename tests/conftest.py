"""What all tests share: recordings by EVPROP_DATA, pictures without a screen, reproducible examples of hypothesis."""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis
import pytest

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
