"""The database of tuned forms: what it keeps, where it lies, and what a damaged line costs."""

from __future__ import annotations

from pathlib import Path

import pytest

from convc.backends.tvm.store.tuned_forms import FILE, find_database, read_found, tuned_forms, write_found
from convc.ir.errors import UsageError
from convc.tests.support.tuning import found


def test_the_last_line_about_a_kernel_counts(tmp_path: Path):
    path = tmp_path / "deep" / FILE
    for each in (found("a", {"width": 1}), found("b", {"width": 2}), found("c", {"width": 3}, "another"), found("b")):
        write_found(path, each)
    assert read_found(path)[0][0] == found("a", {"width": 1})
    assert tuned_forms(path, "m") == ({"a": {"width": 1}}, "")
    assert tuned_forms(path, "another") == ({"c": {"width": 3}}, "")
    assert tuned_forms(tmp_path / "none", "m") == tuned_forms(None, "m") == ({}, "")


@pytest.mark.parametrize(
    "damage",
    [
        b'{"machine": "m", "ker',
        b"\xff\xfe\x00",
        b"[]",
        b"{}",
        b'{"machine":1,"kernel":"a","form":null,"rule":1.0,"best":1.0,"tried":1}',
        b"[" * 9999,
    ],
)
def test_a_damaged_line_costs_only_itself(damage: bytes, tmp_path: Path):
    path = tmp_path / FILE
    write_found(path, found("a", {"width": 1}))
    with path.open("ab") as file:
        file.write(damage)  # and no end of line, as where a disk was full
    write_found(path, found("b", {"width": 2}))
    forms, complaint = tuned_forms(path, "m")
    assert forms == {"a": {"width": 1}, "b": {"width": 2}}
    assert complaint == f"{path}: line 2 cannot be read; the rest of it counts"


def test_where_the_database_is(tmp_path: Path):
    assert find_database("/d", {}) == Path("/d") / FILE
    assert find_database(None, {"CONVC_CACHE": "/c"}) == Path("/c") / FILE
    assert find_database(None, {"XDG_CACHE_HOME": "/x"}) == Path("/x/convc") / FILE
    assert find_database("off", {"CONVC_CACHE": "/c"}) is find_database(None, {"CONVC_CACHE": "off"}) is None
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot be written"):
        write_found(tmp_path / "file" / FILE, found("a"))
