"""The emulated CUDA driver, compiled."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path


def build_emulator(repository: Path, folder: Path, *defines: str) -> Path:
    """The emulated CUDA driver (rust/evprop/tests/cuda): a libcuda that runs the kernels on the CPU."""
    compiler = shutil.which("g++")
    assert compiler, "these tests compile the kernels as plain C++ and need g++ on the PATH"
    core = repository / "rust" / "evprop"
    library = folder / "libcuda.so.1"
    command = [compiler, "-std=c++17", "-O1", "-ffp-contract=off", "-Wall", "-Werror", "-shared", "-fPIC"]
    command += ["-Wl,-soname,libcuda.so.1", f"-I{core / 'src' / 'cuda' / 'kernels'}", *defines]
    command += ["-o", str(library), str(core / "tests" / "cuda" / "emulator.cpp")]
    subprocess.run(command, check=True)
    return library
