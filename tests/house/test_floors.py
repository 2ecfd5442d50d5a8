"""The house: imports point one way, rooms are few and stand where they should, heavy packages load late, every op has every row."""

from __future__ import annotations

import functools
import re
import statistics
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import networkx
import pytest

import convc
from convc.backends.onnx.write.onnx_rows import ROWS as ONNX
from convc.backends.tvm.stock.relax_rows import ROWS as TVM
from convc.backends.unsupported import Unsupported
from convc.ir.ops import OPS
from convc.tests.house import rooms

ROOT = Path(convc.__file__).parent
SOURCES = {path.relative_to(ROOT).as_posix(): path for path in rooms.sources(ROOT)}
FOLDERS = sorted({parent.as_posix() for name in SOURCES for parent in Path(name).parents} - {"."})
HEAVY = {"tvm", "onnx", "onnxruntime", "networkx", "PIL", "safetensors", "scipy", "torch", "onnx_ir", "onnxscript", "matplotlib"}


@functools.cache
def house() -> dict[str, set[str]]:
    """What each file imports of the package."""
    return {name: {each.target for each in rooms.imports(ROOT, path) if each.is_ours} for name, path in SOURCES.items()}


@pytest.mark.parametrize("name", SOURCES)
def test_imports_point_down(name):
    assert rooms.broken(name, house()[name]) == []
    assert "convc" not in {each.target for each in rooms.imports(ROOT, SOURCES[name])}, "import relatively inside the package"


@pytest.mark.parametrize(
    ("path", "target", "said"),
    [
        ("compiler/new.py", "ir/graph.py", "lies in no room of compiler/"),
        ("compiler/attic/new.py", "ir/graph.py", "lies in no room of compiler/"),
        ("backends/tvm/new.py", "ir/graph.py", "lies in no room of backends/tvm/"),
        ("new/new.py", "ir/graph.py", "lies on no floor"),
        ("models/new.py", "compiler/files/model.py", "models, which may not import compiler/files/model.py"),
        ("compiler/dsl/new.py", "passes/manager.py", "compiler/dsl, which may not import passes/manager.py"),
        ("ir/new.py", "passes/manager.py", "ir, which may not import passes/manager.py"),
        ("passes/new.py", "backends/unsupported.py", "passes, which may not import backends/unsupported.py"),
        ("compiler/files/new.py", "compiler/engines/table.py", "is above it in compiler/"),
        ("passes/analysis/new.py", "passes/rewriting/ledger.py", "is above it in passes/"),
        ("passes/rewriting/new.py", "passes/fold_pad.py", "is above it in passes/"),
        ("passes/new.py", "passes/catalog.py", "is above it in passes/"),
        ("passes/attic/new.py", "ir/graph.py", "lies in no room of passes/"),
        ("backends/tvm/stock/new.py", "backends/tvm/library/build.py", "is above it in backends/tvm/"),
    ],
)
def test_a_new_file_in_the_wrong_room_is_told(path, target, said):
    (wrong,) = rooms.broken(path, {target})
    assert said in wrong


def test_the_name_of_a_type_has_one_meaning():
    places = defaultdict[str, list[str]](list)
    for name, path in SOURCES.items():
        for each in rooms.types_of(path):
            places[each].append(name)
    assert {"Graph", "Run"} <= set(places)
    assert {each: where for each, where in places.items() if len(where) > 1} == {}


@pytest.mark.parametrize("folder", rooms.LIMITS)
def test_rooms_are_few_and_so_are_the_ways_between_them(folder):
    most_rooms, most_arrows = rooms.LIMITS[folder]
    assert len({rooms.room_of(name, folder) for name in SOURCES} - {None}) <= most_rooms
    assert len(rooms.arrows(house(), folder)) <= most_arrows


@pytest.mark.parametrize("folder", rooms.ROOMS)
def test_every_room_that_is_listed_stands(folder):
    assert {rooms.listed_room(name, folder) for name in SOURCES} - {None} == set(rooms.ROOMS[folder])


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_rooms_import_each_other_in_a_circle(folder):
    assert list(networkx.simple_cycles(networkx.DiGraph(rooms.arrows(house(), folder)))) == []


@pytest.mark.parametrize("name", SOURCES)
def test_heavy_packages_load_where_they_are_used(name):
    assert not {each.target for each in rooms.imports(ROOT, SOURCES[name]) if not each.is_ours and not each.is_lazy} & HEAVY


@pytest.mark.parametrize("name", SOURCES)
def test_a_file_tells_one_story(name):
    assert _lines(SOURCES[name]) <= 400


def test_most_files_are_short():
    assert statistics.median(map(_lines, SOURCES.values())) <= 120


def _lines(path):
    return path.read_text().count("\n")


@pytest.mark.parametrize(("backend", "table"), [("onnx", ONNX), ("tvm", TVM)])
def test_every_op_has_a_row(backend, table):
    assert set(table) == set(OPS.values())
    for op, row in table.items():
        if isinstance(row, Unsupported):
            assert row.why, f"{backend}: {op.name} is unsupported without a reason"


def test_a_wheel_has_every_folder():
    listed = re.findall(r'"convc\.([a-z_.]+)",', (ROOT / "pyproject.toml").read_text())
    folders = {each.replace(".", "/") for each in listed if list((ROOT / each.replace(".", "/")).glob("*.py"))}
    assert folders == set(FOLDERS)


def test_summary_loads_nothing_heavy():
    code = "import sys; sys.argv=['convc','summary','vgg16']\nfrom convc.__main__ import main\ntry: main()\nexcept SystemExit: pass\n"
    code += f"print(sorted({HEAVY | {'importlib.metadata', 'ml_dtypes'}!r} & set(sys.modules)), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip().splitlines()[-1] == "[]"
