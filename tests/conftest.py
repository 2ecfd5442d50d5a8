"""Property tests draw the same examples on every run; `make fuzz` is where new ones are looked for. Compiled kernels are kept for one run."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

settings.register_profile("same", derandomize=True, deadline=None)
settings.load_profile("same")


@pytest.fixture(scope="session", autouse=True)
def kernel_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """One for all workers and the commands that they start; the user's own is left alone."""
    base = tmp_path_factory.getbasetemp()
    os.environ["CONVC_CACHE"] = str((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "kernels")
