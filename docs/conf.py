"""The documentation site: `make docs` builds it from the Markdown pages beside this file, without a warning."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

project = "evprop"
author = "The evprop developers"
copyright = author
release = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]

extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
root_doc = "index"
exclude_patterns = ["_build"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = f"evprop {release}"
