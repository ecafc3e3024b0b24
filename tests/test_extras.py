"""Without the package of an extra, importing the module that needs it says which extra brings it."""

from __future__ import annotations

import subprocess
import sys

import pytest

MODULES = {
    "evprop.estimator": ("sklearn", "sklearn"),
    "evprop.interop.jax": ("jax", "jax"),
    "evprop.interop.neurobench": ("neurobench", "neurobench"),
    "evprop.interop.nir": ("nir", "nir"),
    "evprop.interop.torch": ("torch", "torch"),
    "evprop.sweep": ("optuna", "sweep"),
}
"""{module: (the package it needs, the extra that brings it)}"""


@pytest.mark.parametrize("module", MODULES)
def test_a_missing_package_names_its_extra(module: str) -> None:
    package, extra = MODULES[module]
    code = (
        "import sys\n"
        f"sys.modules[{package!r}] = None\n"  # what Python itself does for a package that cannot be imported
        "from evprop.errors import MissingExtraError\n"
        f"try:\n    import {module}\nexcept MissingExtraError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert f"pip install 'evprop[{extra}]'" in done.stdout, done.stderr
