"""Compile the CUDA kernels to PTX with NVRTC: a library from PyPI, which needs neither a GPU nor a toolkit.

    python tools/make_ptx.py            write rust/evprop/src/cuda/evprop.ptx
    python tools/make_ptx.py --check    fail if it differs from what the sources give
    python tools/make_ptx.py --report   registers, spills and shared memory of each kernel, from ptxas

NVRTC and ptxas are taken from the packages of requirements-cuda.txt in the interpreter that runs this.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib.util
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CUDA = ROOT / "rust" / "evprop" / "src" / "cuda"
KERNELS = CUDA / "kernels"
PTX = CUDA / "evprop.ptx"

OPTIONS = [
    "--gpu-architecture=compute_70",  # the oldest that this PTX runs on; the driver compiles it for newer ones
    "--std=c++17",
    "--fmad=false",  # the same operations as on the CPU
    "--prec-div=true",
    "--prec-sqrt=true",
    "--ftz=false",
    "-default-device",
]
ARCHITECTURES = ["sm_70", "sm_80", "sm_90"]


def package(name: str) -> Path:
    """The folder of one of NVIDIA's packages."""
    spec = importlib.util.find_spec(f"nvidia.{name}")
    if spec is None or not spec.submodule_search_locations:
        sys.exit(f"nvidia.{name} is not installed: pip install --requirement requirements-cuda.txt")
    return Path(spec.submodule_search_locations[0])


def compile_ptx() -> str:
    """What NVRTC makes of the kernels."""
    (library,) = (package("cuda_nvrtc") / "lib").glob("libnvrtc.so.*")
    nvrtc = ctypes.CDLL(str(library))

    def call(name: str, *arguments: object) -> int:
        code: int = getattr(nvrtc, name)(*arguments)
        return code

    program = ctypes.c_void_p()
    headers = sorted(KERNELS.glob("*.cuh"))
    texts = (ctypes.c_char_p * len(headers))(*(h.read_bytes() for h in headers))
    names = (ctypes.c_char_p * len(headers))(*(h.name.encode() for h in headers))
    source = (KERNELS / "kernels.cu").read_bytes()
    code = call(
        "nvrtcCreateProgram", ctypes.byref(program), source, b"kernels.cu", len(headers), texts, names
    )
    if code:
        sys.exit(f"nvrtcCreateProgram: error {code}")
    options = (ctypes.c_char_p * len(OPTIONS))(*(o.encode() for o in OPTIONS))
    code = call("nvrtcCompileProgram", program, len(OPTIONS), options)
    if code:
        size = ctypes.c_size_t()
        call("nvrtcGetProgramLogSize", program, ctypes.byref(size))
        log = ctypes.create_string_buffer(size.value)
        call("nvrtcGetProgramLog", program, log)
        sys.exit(log.value.decode())
    size = ctypes.c_size_t()
    call("nvrtcGetPTXSize", program, ctypes.byref(size))
    text = ctypes.create_string_buffer(size.value)
    call("nvrtcGetPTX", program, text)
    return text.value.decode()


def report(ptx: str) -> None:
    """What ptxas says of each kernel on each architecture."""
    ptxas = package("cuda_nvcc") / "bin" / "ptxas"
    print(
        f"{'kernel':<24}{'arch':<8}{'registers':>10}{'stack':>8}{'spills':>8}{'shared':>8}   bytes but registers"
    )
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "evprop.ptx"
        source.write_text(ptx)
        for architecture in ARCHITECTURES:
            command = [
                str(ptxas),
                "--verbose",
                f"--gpu-name={architecture}",
                "--output-file=/dev/null",
                str(source),
            ]
            told = subprocess.run(command, check=True, capture_output=True, text=True).stderr
            for part in told.split("Compiling entry function")[1:]:
                found = re.search(r"'(\w+)'.*?(\d+) bytes stack frame, (\d+) bytes spill stores", part, re.S)
                used = re.search(r"Used (\d+) registers", part)
                assert found is not None, part
                assert used is not None, part
                shared = re.search(r"(\d+) bytes smem", part)
                name, stack, spills = found.groups()
                columns = [used[1], stack, spills, shared[1] if shared else "0"]
                print(
                    f"{name:<24}{architecture:<8}{columns[0]:>10}" + "".join(f"{c:>8}" for c in columns[1:])
                )


def main() -> None:
    """See the top of this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="fail if the committed PTX is not fresh")
    parser.add_argument("--report", action="store_true", help="registers, spills, shared memory")
    given = parser.parse_args()
    ptx = compile_ptx()
    if given.report:
        report(ptx)
    elif given.check:
        if not PTX.exists() or PTX.read_text() != ptx:
            sys.exit(f"{PTX.relative_to(ROOT)} is not what its sources give; run: make ptx")
        print(f"{PTX.relative_to(ROOT)} is fresh")
    else:
        PTX.write_text(ptx)
        print(f"wrote {PTX.relative_to(ROOT)}, {len(ptx)} bytes")


if __name__ == "__main__":
    main()
