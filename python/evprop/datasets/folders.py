"""Where data lies: folders named in an experiment are looked for here and below EVPROP_DATA."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import DatasetError


def find_folder(folder: str | os.PathLike[str]) -> Path:
    """The folder, or the one of this name below EVPROP_DATA."""
    folder = Path(folder)
    root = os.environ.get("EVPROP_DATA", "")
    places = [folder] if folder.is_absolute() or not root else [folder, Path(root) / folder]
    for place in places:
        if place.is_dir():
            return place
    raise DatasetError(
        f"no folder {' or '.join(str(p) for p in places)}; set data.folder, or EVPROP_DATA to the "
        f"folder that {folder} is in."
    )
