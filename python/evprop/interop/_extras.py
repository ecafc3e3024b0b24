"""The one message about a package that an extra brings."""

from __future__ import annotations

from ..errors import MissingExtraError


def missing(package: str, extra: str) -> MissingExtraError:
    """The error to raise from an ImportError of ``package``."""
    return MissingExtraError(
        f"this part of evprop needs {package}, which is not installed: pip install 'evprop[{extra}]'"
    )
