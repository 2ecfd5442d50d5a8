"""What was measured holds for these very kernels."""

from __future__ import annotations

import os

import pytest

from convc.backends.tvm.cpu.kernels import machine as machines
from convc.backends.tvm.cpu.kernels.machine import ROOT, SOURCES, machine
from convc.ir.sources import hash_of


def test_a_database_is_dated_by_every_kernel() -> None:
    found = hash_of(ROOT, SOURCES)
    assert found is not None
    assert machine("m", 1, "0").endswith(f"kernels {found[:12]}")
    sources = {path.name for folder in SOURCES for path in (ROOT / folder).rglob("*.py")}
    assert {"softmax.py", "body.py", "writer.py"} <= sources
    assert (ROOT / SOURCES[1]).is_file()


def test_what_unknown_kernels_measure_holds_for_their_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machines, "hash_of", lambda root, sources: None)
    assert f"kernels of process {os.getpid()} at" in machine("m", 1, "0")
    assert machine("m", 1, "0") == machine("m", 1, "0")
