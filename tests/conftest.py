"""Property tests draw the same examples on every run; `make fuzz` is where new ones are looked for. What they write, and
compiled kernels, are kept for one run, in memory where there is room: a disk takes some 8 ms to remove a folder."""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
from collections.abc import Iterator
from multiprocessing.util import Finalize
from pathlib import Path

import pytest
from hypothesis import settings

from convc.tests.support import middle_tier, once
from convc.tests.support.heavy_first import heavy_first

settings.register_profile("same", derandomize=True, deadline=None)
settings.load_profile("same")

MEMORY = Path("/dev/shm")
RUN = "convc-tests-"
RARELY = 20_000  # new objects to a collection of garbage, for 700 as usual: a thirtieth of all the time
LAST = -1000  # of what multiprocessing does at the end of a process; its own folder goes at -100


class Checkout:
    """pytest would import the package that holds the tests, and by its folder's name, which may be no name of a module (`convc-1.0`, `a.b`)."""

    @staticmethod
    def pytest_collect_directory(path: Path, parent: pytest.Collector) -> pytest.Collector | None:
        return pytest.Dir.from_parent(parent, path=path) if path == parent.config.rootpath else None


def pytest_configure(config: pytest.Config) -> None:
    """A run has one folder, of all workers and the commands that they start: compiled kernels, and what is made once."""
    config.pluginmanager.register(Checkout)
    if "PYTEST_XDIST_WORKER" in os.environ:
        return
    is_ours_to_choose = "TMPDIR" not in os.environ and in_memory(MEMORY)
    run = run_folder(MEMORY if is_ours_to_choose else Path(tempfile.gettempdir()))
    if is_ours_to_choose:
        os.environ["PYTEST_DEBUG_TEMPROOT"] = str(MEMORY)  # folders of tests that fail stay; whatever else a test leaves goes with the run
        os.environ["TMPDIR"] = tempfile.tempdir = str(run / "tmp")
        os.mkdir(tempfile.tempdir)
    os.environ["CONVC_CACHE"] = str(run / "kernels")  # the user's own is left alone
    os.environ[once.FOLDER] = str(run)
    os.environ.setdefault("TVM_THREAD_POOL_SPIN_COUNT", "0")  # a thread of TVM's that waits takes a whole processor, 0.1 s a kernel
    if config.args_source is config.ArgsSource.TESTPATHS:
        config.add_cleanup(once.ahead("convc.tests.backends.onnx.test_conformance").wait)


def run_folder(place: Path) -> Path:
    """It goes as the process ends, after what multiprocessing has in it. Its name has the number of the process, by which a later run sees
    what runs that were killed have left, and removes it.
    """
    for left in place.glob(f"{RUN}*-*"):
        number = left.name.removeprefix(RUN).partition("-")[0]
        if number.isdecimal() and not is_alive(int(number)):
            shutil.rmtree(left, ignore_errors=True)
    folder = tempfile.mkdtemp(prefix=f"{RUN}{os.getpid()}-", dir=place)
    Finalize(None, shutil.rmtree, (folder, True), exitpriority=LAST)
    return Path(folder)


def is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def in_memory(folder: Path, least: int = 8 << 30) -> bool:
    """Whether tests may write there, as much as they do (bytes), and load what they wrote: containers forbid the latter."""
    is_writable = os.access(folder, os.W_OK) and shutil.disk_usage(folder).free >= least
    return is_writable and not os.statvfs(folder).f_flag & os.ST_NOEXEC


@pytest.fixture(scope="session", autouse=True)
def unsynced() -> Iterator[None]:
    """No test pulls the plug, and none waits for the disk."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", int)
        yield


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Iterator[None]:
    """Before pytest looks at marks, and after it has."""
    middle_tier.mark(items, are_whole_files=not any("::" in argument for argument in config.args))
    yield
    if "PYTEST_XDIST_WORKER_COUNT" in os.environ:
        order = heavy_first([item.nodeid for item in items], int(os.environ["PYTEST_XDIST_WORKER_COUNT"]))
        items[:] = [items[at] for at in order]


def pytest_collection() -> None:
    """What is collected stays to the end: thousands of tests, which no collection of garbage need walk through meanwhile or later."""
    gc.disable()


def pytest_collection_finish() -> None:
    gc.enable()
    gc.collect()
    gc.freeze()
    gc.set_threshold(RARELY)
