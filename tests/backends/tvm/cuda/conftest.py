"""A process that has an emulated GPU, which it keeps: the tests' own have none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from convc.tests.support.apart import Apart


@pytest.fixture(scope="session")
def apart() -> Iterator[Apart]:
    """Calls a function in a process of its own, one for all tests of a worker: to import TVM and load the device takes longer than most."""
    with Apart() as process:
        yield process


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where libraries are built, each once for the tests of a file."""
    return tmp_path_factory.mktemp("libraries")
