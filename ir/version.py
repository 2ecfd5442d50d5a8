"""The version, where every floor can read it, and those of packages beside it."""

from __future__ import annotations

import time
from collections.abc import Sequence

__all__ = ["BEGAN", "__version__", "installed", "release"]

__version__ = "0.1.0"
BEGAN = time.time()  # when this process began to load convc, of which this is the first; in seconds since the epoch


def release(package: str) -> str:
    """Raises: PackageNotFoundError if it is not installed."""
    from importlib.metadata import version  # takes longer than all else that `import convc` does

    return version(package)


def installed(packages: Sequence[str]) -> dict[str, str]:
    """The release of each; one that is not installed is left out."""
    from importlib.metadata import PackageNotFoundError

    found: dict[str, str] = {}
    for package in packages:
        try:
            found[package] = release(package)
        except PackageNotFoundError:
            continue
    return found
