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


def lost(file: str, test: str, some: Some) -> str:
    """Why a test of the middle tier has its kind nowhere in `make test`, as far as files tell; "" if it does."""
    if not some.takes_all:
        return f"{test} has cases that stay, and one that stands for it" if some.by else ""
    if not some.by:
        return f"no case of {test} stays: `by` names the test that stands for it"
    where, named, case = some.stand_in(file)
    tests = (
        {node.name: node for node in ast.walk(ast.parse(FILES[where].read_text())) if isinstance(node, ast.FunctionDef)}
        if where in FILES
        else {}
    )
    if named not in tests:
        return f"{some.by}, which stands for {test}, is not there"
    is_slow = any(ast.unparse(each) == "pytest.mark.slow" for each in tests[named].decorator_list)
    row = TABLE.get(where, {}).get(named)
    is_later = row is not None and (row.takes_all or (not row.every and case in row.for_later([case])))
    return f"{some.by}, which stands for {test}, is for later itself" if is_slow or is_later else ""


def test_what_is_for_later_has_its_kind_in_make_test():
    assert [why for file, tests in TABLE.items() for test, some in tests.items() if (why := lost(file, test, some))] == []


@pytest.mark.parametrize(
    ("some", "why"),
    [
        (Some(), "no case of test_it stays"),
        (Some(every=2, by="test_one"), "has cases that stay"),
        (Some(by="test_nobody_has_it"), "is not there"),
        (Some(by="nowhere.py::test_it"), "is not there"),
        (Some(by="test_hundreds_of_faults_lose_nothing_and_leave_nothing"), "is for later itself"),
        (Some(by="test_a_few_faults_lose_nothing_and_leave_nothing"), "is for later itself"),
        (Some(by="compiler/checking/test_gradients_of_networks.py::test_engines_compute_them[lenet-tvm]"), "is for later itself"),
    ],
    ids=lambda given: getattr(given, "by", given),
)
def test_a_kind_that_would_be_lost_is_seen(some: Some, why: str):
    assert why in lost("faults/test_faults.py", "test_it", some)


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
