"""The house: imports point one way, heavy packages load late, every op has every row."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import convc
from convc.backends.onnx.write.onnx_rows import ROWS as ONNX
from convc.backends.tvm.rows import ROWS as TVM
from convc.backends.unsupported import Unsupported
from convc.ir.ops import OPS

ROOT = Path(convc.__file__).parent
FLOOR = {"ir": 0, "passes": 1, "backends": 1, "compiler": 2, "models": 3}
SOURCES = [path for folder in FLOOR for path in sorted((ROOT / folder).rglob("*.py"))]
LANGUAGE = (
    "activations",
    "arguments",
    "given",
    "layers",
    "layers_structure",
    "network",
    "pattern",
    "trace",
)  # until they are in compiler/dsl
DSL = [
    *sorted((ROOT / "compiler" / "dsl").glob("*.py")),
    *(path for name in LANGUAGE if (path := ROOT / "compiler" / f"{name}.py").is_file()),
]
MODELS = sorted((ROOT / "models").glob("*.py"))
HEAVY = {"tvm", "onnx", "onnxruntime", "networkx", "PIL", "safetensors", "scipy"}


def _imports(path):
    """(target folder or package, is relative, is at module level) of every import in a file."""
    tree = ast.parse(path.read_text())
    inside = {child for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) for child in ast.walk(node)}
    typing = {
        child for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test) for child in ast.walk(node)
    }
    for node in ast.walk(tree):
        top = node not in inside and node not in typing
        if isinstance(node, ast.Import):
            yield from ((alias.name.split(".")[0], False, top) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level:
            base = path.relative_to(ROOT).parts[: -node.level]
            parts = [*base, *(node.module or "").split(".")]
            yield from ((parts[0] or alias.name, True, top) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").split(".")[0], False, top


@pytest.mark.parametrize("path", SOURCES, ids=[str(path.relative_to(ROOT)) for path in SOURCES])
def test_imports_point_down(path):
    own = path.relative_to(ROOT).parts[0]
    for target, relative, _ in _imports(path):
        assert target != "convc", f"{path}: import relatively inside the package"
        if relative and target != own:
            assert target in FLOOR, f"{path}: {own} imports from the root"
            assert FLOOR[target] < FLOOR[own], f"{path}: {own} imports {target}"


def _dotted(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def _compiler_files_imported(path):
    """The files of compiler/ that a file imports, dotted."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            home = path.parents[node.level - 1].joinpath(*(node.module or "").split("."))
            found = [home.with_suffix(".py"), *((home / alias.name).with_suffix(".py") for alias in node.names)]
            yield from (_dotted(file) for file in found if file.is_file() and file.is_relative_to(ROOT / "compiler"))


@pytest.mark.parametrize("path", DSL, ids=[str(path.relative_to(ROOT)) for path in DSL])
def test_the_language_stands_on_the_ir_alone(path):
    assert {target for target, relative, _ in _imports(path) if relative} <= {"ir", "compiler"}
    assert set(_compiler_files_imported(path)) <= set(map(_dotted, DSL))


@pytest.mark.parametrize("path", MODELS, ids=[str(path.relative_to(ROOT)) for path in MODELS])
def test_models_use_the_language_alone(path):
    assert set(_compiler_files_imported(path)) <= set(map(_dotted, DSL))


@pytest.mark.parametrize("path", SOURCES, ids=[str(path.relative_to(ROOT)) for path in SOURCES])
def test_heavy_packages_load_where_they_are_used(path):
    loaded = {target for target, relative, top in _imports(path) if top and not relative}
    assert not loaded & HEAVY


@pytest.mark.parametrize("path", SOURCES, ids=[str(path.relative_to(ROOT)) for path in SOURCES])
def test_a_file_tells_one_story(path):
    assert path.read_text().count("\n") <= 400


@pytest.mark.parametrize(("backend", "rows"), [("onnx", ONNX), ("tvm", TVM)])
def test_every_op_has_a_row(backend, rows):
    assert set(rows) == set(OPS.values())
    for op, row in rows.items():
        if isinstance(row, Unsupported):
            assert row.why, f"{backend}: {op.name} is unsupported without a reason"


def test_summary_loads_nothing_heavy():
    code = "import sys; sys.argv=['convc','summary','vgg16']\nfrom convc.__main__ import main\ntry: main()\nexcept SystemExit: pass\n"
    code += f"print(sorted({HEAVY!r} & set(sys.modules)), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip().splitlines()[-1] == "[]"
