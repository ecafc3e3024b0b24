"""What a user gets: a wheel is installed alone in an empty virtual environment, counted, weighed and tried.

    python tools/wheel_check.py dist/evprop-*.whl

Fails unless the tag is an abi3 one (on Linux a manylinux one), `pip install` brings fewer than 5 packages besides
evprop and less than 60 MB of wheels, no compiler of Rust is needed, and a network trains from the installed package.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

MOST_PACKAGES = 4
MOST_MEGABYTES = 60.0
TRY = """
import numpy as np, evprop
from pathlib import Path
data = evprop.datasets.yin_yang("train", size=200)
net = evprop.Network(
    {"input": evprop.Input(5), "hidden": evprop.LIF(30), "output": evprop.LI(3)},
    [evprop.Dense("input", "hidden", weight=evprop.init.Normal(1.5, 0.8), delay=evprop.init.Uniform(0.0, 10.0)),
     evprop.Dense("hidden", "output", weight=evprop.init.Normal(0.0, 1.0))],
)
params = net.init(seed=0)
loss = evprop.losses.CrossEntropy(evprop.losses.WeightedIntegral(60.0))
adam = evprop.optim.Adam(0.02)
history = evprop.train.fit(net, params, data, loss, adam, epochs=3, batch_size=20, duration=60.0, seed=0)
assert history["loss"][-1] < history["loss"][0], history["loss"]
print(evprop.__version__, "from", Path(evprop.__file__).parent)
"""


def check_tags(wheel: Path) -> None:
    """An abi3 wheel for Python 3.11 and later; on Linux for every glibc that manylinux promises."""
    tags = wheel.name.removesuffix(".whl").split("-")[2:]
    if tags[:2] != ["cp311", "abi3"]:
        sys.exit(f"{wheel.name}: the tag is {tags}; it must be cp311-abi3.")
    if sys.platform == "linux" and "manylinux" not in tags[2]:
        sys.exit(f"{wheel.name}: the platform is {tags[2]}; it must be a manylinux one.")
    print(f"{wheel.name}: {wheel.stat().st_size / 1e6:.1f} MB")


def check_install(wheel: Path, folder: Path) -> None:
    """Install it, with no Rust to be found, and count what came along."""
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    foreign = ("PYTHON", "CARGO", "RUST", "VIRTUAL")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(foreign)}
    kept["PATH"] = str(python.parent)

    def run(*command: str) -> str:
        whole = [str(python), *command]
        return subprocess.run(whole, env=kept, cwd=folder, text=True, check=True, stdout=subprocess.PIPE).stdout

    before = {package["name"] for package in json.loads(run("-m", "pip", "list", "--format", "json"))}
    run("-m", "pip", "download", "--quiet", "--only-binary", ":all:", "--dest", "wheels", str(wheel))
    run("-m", "pip", "install", "--quiet", "--no-index", "--find-links", "wheels", str(wheel))
    after = {package["name"] for package in json.loads(run("-m", "pip", "list", "--format", "json"))}
    brought = sorted(after - before - {"evprop"})
    size = sum(file.stat().st_size for file in (folder / "wheels").iterdir()) / 1e6
    print(f"brings {len(brought)} packages ({', '.join(brought)}); {size:.1f} MB of wheels in all")
    if len(brought) > MOST_PACKAGES or size > MOST_MEGABYTES:
        sys.exit(f"more than {MOST_PACKAGES} packages or {MOST_MEGABYTES:g} MB.")
    print(run("-c", TRY).strip())
    print(run("-m", "evprop", "info").strip())


def main() -> None:
    """Check the wheel named on the command line."""
    if len(sys.argv) != 2:
        sys.exit("usage: python tools/wheel_check.py WHEEL")
    wheel = Path(sys.argv[1]).resolve()
    check_tags(wheel)
    with tempfile.TemporaryDirectory() as folder:
        check_install(wheel, Path(folder))


if __name__ == "__main__":
    main()
