"""What is kept is known by all sources that made it, or is not kept."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from convc.ir.sources import _hash, hash_of  # what it remembers is forgotten between edits here
from convc.ir.version import BEGAN

LATER = 1e12
EDITS: dict[str, Callable[[Path], object]] = {
    "bytes": lambda file: file.write_bytes(b"two"),
    "name": lambda file: file.rename(file.with_name("pool.py")),
    "folder": lambda file: file.rename(file.parents[1] / file.name),
    "another": lambda file: file.with_name("pool.py").write_text("one"),
    "end of line": lambda file: file.write_bytes(b"one\r\n"),
    "single file": lambda file: file.parents[2].joinpath("processor.py").write_text("two"),
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "ir" / "ops" / "conv.py"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"one\n")
    (tmp_path / "processor.py").write_text("one")
    return path


def hashed(file: Path, began: float = LATER) -> str | None:
    _hash.cache_clear()
    root = file.parents[2]
    return hash_of(root, ("ir", "processor.py"), began)


@pytest.mark.parametrize("what", EDITS)
def test_whatever_is_edited_makes_another(what: str, file: Path) -> None:
    before = hashed(file)
    assert before is not None
    (file.parent / "notes.txt").write_text("no source")
    (file.parents[2] / "other.py").write_text("of no concern")
    assert hashed(file) == before
    EDITS[what](file)
    assert hashed(file) not in (before, None)


def test_what_was_written_since_has_none(file: Path) -> None:
    assert hashed(file, BEGAN) is None
    now = time.time() + 1
    assert hashed(file, now) is not None
    os.utime(file, (0, 0))  # as an archive brings it
    assert hashed(file, BEGAN) is None
    file.unlink()
    (file.parents[2] / "processor.py").unlink()
    assert hashed(file) is None  # and who cannot read them does not know either
    assert time.time() >= BEGAN
