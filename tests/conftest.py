"""Property tests draw the same examples on every run; `make fuzz` is where new ones are looked for. Compiled kernels are kept for one run."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("same", derandomize=True, deadline=None)
settings.load_profile("same")


class Checkout:
    """pytest would import the package that holds the tests, and by its folder's name, which may be no name of a module (`convc-1.0`, `a.b`)."""

    @staticmethod
    def pytest_collect_directory(path: Path, parent: pytest.Collector) -> pytest.Collector | None:
        return pytest.Dir.from_parent(parent, path=path) if path == parent.config.rootpath else None


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Checkout)


@pytest.fixture(scope="session", autouse=True)
def kernel_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """One for all workers and the commands that they start; the user's own is left alone."""
    base = tmp_path_factory.getbasetemp()
    os.environ["CONVC_CACHE"] = str((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "kernels")


@pytest.fixture(scope="session", autouse=True)
def unsynced() -> Iterator[None]:
    """No test pulls the plug, and none waits for the disk."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", int)
        yield


def pytest_collection_finish() -> None:
    """What was collected stays to the end: thousands of tests that every collection of garbage would walk through."""
    gc.collect()
    gc.freeze()
