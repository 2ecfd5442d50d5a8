"""The tests: each lies where the room lies that it is about, finds its helpers where the package has them, and none of these is written twice."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

import pytest

import convc
from convc.tests.house import rooms
from convc.tests.support.heavy_first import heavy_first
from convc.tests.support.middle_tier import TABLE, Some

ROOT = Path(convc.__file__).parent
FILES = {path.relative_to(ROOT / "tests").as_posix(): path for path in sorted((ROOT / "tests").rglob("*.py"))}
ROOMS = {path.parent.relative_to(ROOT).as_posix() for path in rooms.sources(ROOT)}
OTHERS = {
    "golden",
    "support",
    "fuzz",
    "bench",
    "data",
    "docs",
    "house",
    "exporters",
    "torch",
    "gpu",
    "browser",
    "faults",
}  # what is about no room, or about all
MODULES = {path.stem for path in FILES.values()}
SEARCHED = ".".join(("sys", "path"))
OURS = [name for name in FILES if not name.startswith("data/")]  # what lies there ran in PyTorch's environment


def is_out_of_place(name: str) -> bool:
    """Whether a file below tests/ lies in no folder that is a room of the package."""
    folder = Path(name).parent.as_posix()
    return folder not in ROOMS and name.partition("/")[0] not in OTHERS and name != "conftest.py"


def helpers(source: str) -> list[tuple[str, str]]:
    """The functions of a file that are no tests, each with what it does: its decorators and its body."""
    found = [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef) and not node.name.startswith("test_")]
    return [(node.name, ast.dump(ast.Module([*map(ast.Expr, node.decorator_list), *_without_docstring(node.body)], []))) for node in found]


def _without_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    is_said = isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant)
    return body[1:] if is_said else body


def test_tests_lie_where_the_rooms_do():
    assert [name for name in FILES if is_out_of_place(name)] == []
    assert [name for name in ("new.py", "unit/new.py", "passes/new.py", "fuzz/new.py") if is_out_of_place(name)] == [
        "new.py",
        "unit/new.py",
    ]


@pytest.mark.parametrize("name", OURS)
def test_helpers_are_found_where_the_package_has_them(name):
    assert SEARCHED not in FILES[name].read_text()
    assert not {each.target for each in rooms.imports(ROOT, FILES[name]) if not each.is_ours} & MODULES, "import it from convc.tests"


def test_no_helper_is_written_twice():
    places = defaultdict[str, list[str]](list)
    for name, path in FILES.items():
        for helper, body in helpers(path.read_text()):
            places[body].append(f"{name}: {helper}")
    assert [same for same in places.values() if len(same) > 1] == []


def test_a_helper_is_known_by_what_it_does():
    one, other = 'def one():\n    """Says so."""\n    return 2\n', "def other():\n    return 2\n\ndef test_it():\n    return 2\n"
    assert [body for _, body in helpers(one)] == [body for _, body in helpers(other)]


def test_rows_of_the_middle_tier_name_tests():
    for file, tests in TABLE.items():
        assert set(tests) <= {node.name for node in ast.walk(ast.parse(FILES[file].read_text())) if isinstance(node, ast.FunctionDef)}, file


def test_some_cases_stay_and_some_are_for_later():
    assert Some(every=2).for_later("abcd") == {"b", "d"}
    assert Some(but=("a", "c")).for_later("abcd") == {"b", "d"}
    assert Some(only=("a", "c")).for_later("abcd") == {"a", "c"}
    assert Some().for_later("a") == {"a"}
    assert Some(but=("a", "x"), only=("y",)).unknown("ab") == ["x", "y"]


def test_each_worker_begins_with_what_is_heavy():
    names = [
        f"tests/{each}" for each in ("fuzz/a.py::1", "fuzz/a.py::2", "golden/b.py::1", "golden/b.py::2", "golden/b.py::3", "models/c.py::1")
    ]
    assert [names[at].removeprefix("tests/") for at in heavy_first(names, 2)] == [
        *("fuzz/a.py::1", "fuzz/a.py::2", "golden/b.py::1"),
        *("models/c.py::1", "golden/b.py::2", "golden/b.py::3"),
    ]
    assert heavy_first(names[:2], 3) == [0, 1]
    assert heavy_first(["tests/backends/tvm/cuda/a.py::1", "tests/backends/tvm/cuda/b/c.py::1", "tests/models/d.py::1"], 2) == [0, 1, 2]
