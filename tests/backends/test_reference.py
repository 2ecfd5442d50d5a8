"""The reference interpreter where a machine, or another runtime beside it, has limits."""

from __future__ import annotations

import numpy as np
import pytest

from convc.backends import reference
from convc.ir import memory
from convc.ir.errors import OutOfMemory
from convc.tests.support.graphs import typed_graph

GREAT = "graph @g(%x: f32[1]) { %y = tile(%x) {repeats=[1073741824]} return %y }"


def test_a_value_that_memory_is_too_small_for_is_refused_before_it_is_made(monkeypatch, tmp_path):
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 16000000 kB\nMemAvailable:    4194304 kB\n")
    monkeypatch.setattr(memory, "MEMINFO", meminfo)
    said = r"%y = tile, a value of f32\[1073741824\], takes 16.0 GiB, of which 4.0 GiB are free; give smaller sizes with --input"
    with pytest.raises(OutOfMemory, match=said):
        reference.run(typed_graph(GREAT), {"x": np.ones(1, np.float32)}, "f64")
