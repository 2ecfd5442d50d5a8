"""A process that has an emulated GPU, which it keeps: the tests' own have none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from multiprocessing import get_context
from typing import Any

import pytest


@pytest.fixture(scope="session")
def apart() -> Iterator[Callable[..., Any]]:
    """Calls a function in a process of its own, one for all tests of a worker: to import TVM and load the device takes longer than most."""
    with get_context("spawn").Pool(1) as pool:
        yield lambda function, *arguments: pool.apply(function, arguments)
