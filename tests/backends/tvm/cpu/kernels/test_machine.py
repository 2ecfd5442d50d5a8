"""What was measured holds for these very kernels."""

from __future__ import annotations

import shutil
from pathlib import Path

from convc.backends.tvm.cpu.kernels.machine import KERNELS, dated, machine


def test_a_database_is_dated_by_every_kernel(tmp_path: Path):
    kernels = tmp_path / "kernels"
    shutil.copytree(KERNELS, kernels)
    dates = [dated(kernels)]
    assert dates[0] in machine("m", 1, "0")
    sources = sorted(kernels.rglob("*.py"))
    assert {"softmax.py", "body.py", "writer.py"} <= {source.name for source in sources}
    for source in sources:
        source.write_text(source.read_text() + "# another way")
        dates.append(dated(kernels))
    assert len(set(dates)) == len(sources) + 1
