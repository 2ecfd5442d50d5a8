"""What was measured holds for these very kernels."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from convc.backends.tvm.cpu.kernels import machine as dating
from convc.backends.tvm.cpu.kernels.machine import machine


def test_a_database_is_dated_by_every_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    kernels = tmp_path / "kernels"
    shutil.copytree(dating.KERNELS, kernels)
    monkeypatch.setattr(dating, "KERNELS", kernels)
    dates = [machine("m", 1, "0")]
    sources = sorted(kernels.rglob("*.py"))
    assert {"softmax.py", "body.py", "writer.py"} <= {source.name for source in sources}
    for source in sources:
        source.write_text(source.read_text() + "# another way")
        dates.append(machine("m", 1, "0"))
    assert len(set(dates)) == len(sources) + 1
