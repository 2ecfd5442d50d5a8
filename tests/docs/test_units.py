"""Sizes are in MiB, KiB and GiB wherever there are any, titles of papers apart; rates alone are decimal, as GFLOP/s are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import convc

ROOT = Path(convc.__file__).parent
DECIMAL = re.compile(r"\b\d*[kKMG]B\b(?!/s)")


@pytest.mark.parametrize("folder", ["ir", "passes", "backends", "compiler", "docs", "tests/bench"])
def test_no_size_is_decimal(folder):
    files = [path for kind in ("py", "md", "json", "js") for path in (ROOT / folder).rglob(f"*.{kind}")]
    assert files
    found = {path.relative_to(ROOT).as_posix(): DECIMAL.findall(path.read_text(encoding="utf-8")) for path in files}
    assert not {name: words for name, words in found.items() if words}


def test_a_decimal_size_would_be_seen():
    assert DECIMAL.findall("32KB, 5 MB, 26 GB/s, 8 MiB and 500MB") == ["32KB", "MB", "500MB"]
    assert not DECIMAL.search((ROOT / "README.md").read_text(encoding="utf-8"))
