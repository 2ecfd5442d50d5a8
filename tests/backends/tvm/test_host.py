"""TVM in a process: imported when it is first wanted, with threads on the processors that the process was given."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from convc.backends.tvm import host
from convc.ir.errors import BackendMissing
from convc.tests.support.shell import without_tvm_settings

LAZY = """
import json, sys
import convc.backends.tvm.library.build, convc.backends.tvm.library.run
from convc.backends.tvm import host
before = "tvm" in sys.modules
host.tvm()
print(json.dumps([before, host.thread_count(), host.physical_cores()]))
"""


def test_importing_the_backend_does_not_import_tvm() -> None:
    done = subprocess.run([sys.executable, "-c", LAZY], env=without_tvm_settings(), capture_output=True, text=True, check=True)
    before, threads, cores = json.loads(done.stdout)
    assert not before
    assert threads == cores


STAYING = """
import json, os, sys
os.sched_setaffinity(0, {int(sys.argv[1])})
from pathlib import Path
from convc.backends.tvm import host
host.tvm(2)
tasks = [os.sched_getaffinity(int(task.name)) for task in Path("/proc/self/task").iterdir()]
print(json.dumps([len(tasks) > 1, sorted(set().union(*tasks)), host.thread_count(), host.physical_cores()]))
"""


@pytest.mark.parametrize("processor", sorted(os.sched_getaffinity(0))[-2:])
def test_threads_stay_on_the_processors_that_the_process_was_given(processor: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", STAYING, str(processor)], env=without_tvm_settings(), capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == [True, [processor], 2, 1]


def test_without_tvm_the_way_out_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tvm", None)
    with pytest.raises(BackendMissing, match="install it with: pip install") as caught:
        host.tvm()
    assert caught.value.exit_code == 5
