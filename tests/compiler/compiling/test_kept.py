"""Networks kept whole: what is found again, what counts as another network, and what is never trusted."""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import convc as cc
from convc.backends.tvm.library import build
from convc.backends.tvm.stock.relax_rows import ROWS
from convc.backends.tvm.store.cache import Cache
from convc.compiler.compiling import kept
from convc.compiler.files.weights import bind_weights
from convc.ir.graph import Graph
from convc.ir.ops.unary import ABS
from convc.tests.support.graphs import typed_graph
from convc.tests.support.spoiling import emptied, flipped, shortened, writable_by_others

NET = "graph @net(%x: f32[N,40]) { %w = param {init=small} : f32[40,40] %d = dense(%x, %w) %y = abs(%d) return %y }"
X = np.linspace(-1, 1, 80, dtype=np.float32).reshape(2, 40)


def net(text: str = NET) -> Graph:
    return typed_graph(text)


@pytest.fixture(scope="module")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache without networks, but with the kernels of NET, which take most of the time."""
    place = tmp_path_factory.mktemp("kernels") / "cache"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONVC_CACHE", str(place))
        cc.compile(net(), check=False)
    return place


@pytest.fixture
def folder(kernels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CONVC_CACHE", str(tmp_path / "cache"))
    return Path(shutil.copytree(kernels, tmp_path / "cache"))


@pytest.fixture
def builds(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The graphs that were lowered and compiled, in order."""
    made: list[str] = []
    real = build.build_cpu
    monkeypatch.setattr(build, "build_cpu", lambda graph, *given: made.append(graph.name) or real(graph, *given))
    return made


def kinds(folder: Path) -> list[str]:
    return sorted(path.name.partition("_")[0] for path in folder.iterdir() if path.name.startswith(("network", "packed")))


def test_the_second_time_nothing_is_built(builds: list[str], folder: Path) -> None:
    first = cc.compile(net())
    assert (len(builds), kinds(folder)) == (1, ["network", "packed"])
    again = cc.compile(net())
    assert np.array_equal(again(X), first(X))
    assert np.array_equal(again(X[:1]), first(X[:1]))  # by the library for a single image
    assert len(builds) == 1
    assert [node.weights.array().shape for node in again.graph.params if node.weights] == [(40, 40)]  # which are there for whoever asks


COMPILE = """
import sys
import convc as cc
from convc.tests.compiler.compiling.test_kept import X, net
print(float(cc.compile(net())(X).sum()), [name for name in ("tvm", "onnx", "onnxruntime") if name in sys.modules])
"""


WITHOUT_TVM = """
import importlib.machinery, sys
find = importlib.machinery.PathFinder.find_spec
def others(name, path=None, target=None):
    return None if name.partition(".")[0] == "tvm" else find(name, path, target)
importlib.machinery.PathFinder.find_spec = others
import convc as cc
from convc.ir.errors import BackendMissing
from convc.tests.support.graphs import typed_graph
try:
    cc.compile(typed_graph("graph @g(%x: f32[1,4]) { %y = relu(%x) return %y }"))
except BackendMissing as error:
    print(error)
"""


def test_without_tvm_it_is_said_what_to_install(folder: Path) -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_TVM], capture_output=True, text=True, check=True)
    assert re.fullmatch(r"Apache TVM cannot be (loaded|imported) \(.*\); install it with: pip install .*\n", done.stdout)


def test_another_process_loads_it_without_a_compiler(folder: Path) -> None:
    wanted = float(cc.compile(net())(X).sum())
    done = subprocess.run([sys.executable, "-c", COMPILE], capture_output=True, text=True, check=True)
    assert done.stdout.split(maxsplit=1) == [str(wanted), "[]\n"]


@pytest.mark.parametrize(
    ("what", "other"),
    [
        ("text", lambda patch: NET.replace("abs", "relu")),
        ("a weight's values", lambda patch: NET.replace("init=small", "init=tenth")),
        ("an output's name", lambda patch: NET.replace("%y", "%z")),
        ("format", lambda patch: patch.setattr(kept, "FORMAT", "convc network 0")),
        ("sources", lambda patch: patch.setattr(kept, "hash_of", lambda root, sources: "others")),
        ("processor", lambda patch: patch.setattr(kept, "processor", lambda: "another")),
        ("releases", lambda patch: patch.setattr(kept, "installed", lambda packages: {})),
        ("what tuning found", lambda patch: Path(os.environ["CONVC_CACHE"], "tuned.jsonl").write_text("")),
    ],
)
def test_whatever_differs_makes_another(
    builds: list[str], what: str, other: Callable[[pytest.MonkeyPatch], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    cc.compile(net())
    text = other(monkeypatch)
    cc.compile(net(text) if isinstance(text, str) else net())
    assert len(builds) == 2, what


def test_given_weights_count_by_value_and_the_level_too(builds: list[str]) -> None:
    graph = net(NET.replace("init=small", "init=given"))
    for scale, level in ((1, 2), (2, 2), (1, 3), (2, 2)):
        weights = {"w": np.full((40, 40), scale, np.float32)}
        bound = cc.Graph.of(graph.name, graph.inputs, graph.outputs, graph.nodes)
        assert np.allclose(cc.compile(bind_weights(bound, weights, "here"), level=level)(X), abs(X @ weights["w"].T), atol=1e-4)
    assert len(builds) == 3


@pytest.mark.parametrize("kind", ["network", "packed"])
@pytest.mark.parametrize("spoil", [flipped, shortened, emptied, writable_by_others, Path.unlink])
def test_what_was_altered_is_built_again(builds: list[str], folder: Path, kind: str, spoil: Callable[[Path], None]) -> None:
    wanted = cc.compile(net())(X)
    (path,) = folder.glob(f"{kind}_*")
    spoil(path)
    for _ in range(2):
        assert np.array_equal(cc.compile(net())(X), wanted)
    assert len(builds) == 2  # and then it is kept again


@pytest.mark.parametrize(
    "head",
    [
        lambda told: b"no JSON",
        lambda told: b"[]",
        lambda told: json.dumps(told | {"whole": "all"}).encode(),
        lambda told: json.dumps(told | {"whole": -1}).encode(),
        lambda told: json.dumps(told | {"whole": 1}).encode(),
        lambda told: json.dumps(told | {"packed": {}}).encode(),
        lambda told: json.dumps({"whole": told["whole"]}).encode(),
    ],
    ids=["no JSON", "a list", "a word for a number", "less than nothing", "a piece of the code", "no weights", "without weights"],
)
def test_a_head_that_says_something_else_is_not_believed(
    builds: list[str], folder: Path, head: Callable[[dict[str, object]], bytes]
) -> None:
    """Whoever can make digests, an earlier convc among them, may have written it."""
    wanted = cc.compile(net())(X)
    (path,) = folder.glob("network_*")
    cache = Cache(folder, 1 << 30)
    told, _, code = (cache.get(path.name) or b"").partition(b"\n")
    cache.put(path.name, [head(json.loads(told)), b"\n", code])
    for _ in range(2):
        assert np.array_equal(cc.compile(net())(X), wanted)
    assert len(builds) == 2


def test_weights_of_another_network_are_not_taken(builds: list[str], folder: Path) -> None:
    cc.compile(net(NET.replace("40", "48")))
    (other,) = folder.glob("packed_*")
    wanted = cc.compile(net())(X)
    (own,) = (path for path in folder.glob("packed_*") if path != other)
    os.replace(other, own)
    assert np.array_equal(cc.compile(net())(X), wanted)
    assert len(builds) == 3


def test_only_what_was_checked_is_kept(builds: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cc.compile(net(), check=False)
    assert kinds(folder) == []
    with monkeypatch.context() as patch:
        patch.setitem(ROWS, ABS, lambda emitter, node, x: emitter.ops.exp(x))
        with pytest.raises(cc.Mismatch):
            cc.compile(typed_graph("graph @wrong(%x: f32[3,5,7]) { %y = abs(%x) return %y }"))
    assert kinds(folder) == []
    cc.compile(net())
    before = len(builds)
    cc.compile(net(), check=False)  # what was checked will do for whoever asks for less
    assert len(builds) == before


def test_what_would_fill_the_cache_is_not_kept(builds: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVC_CACHE_MIB", "1")
    large = NET.replace("%w = param {init=small} : f32[40,40]", "%w = param {init=small} : f32[4000,40]")
    for _ in range(2):
        assert cc.compile(net(large))(X).shape == (2, 4000)
    assert (len(builds), kinds(folder)) == (2, [])


@pytest.mark.parametrize("off", ["off", "unwritable"])
def test_without_a_cache_it_is_compiled_each_time(off: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("CONVC_CACHE", "off" if off == "off" else str(tmp_path / "file" / "cache"))
    assert cc.compile(net())(X).shape == (2, 40)


def test_a_processor_that_nobody_knows_has_none(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setattr(kept, "cpu_text", lambda: "")
    assert kept.kept_for(net(), 2) is None


UPGRADED = """
import sys
from pathlib import Path
import convc as cc
from convc.ir.parser import parse_graph
late = Path(cc.__path__[0], "backends", "tvm", "cpu", "plan.py")
net = parse_graph("graph @g(%x: f32[1,4]) { %y = relu(%x) : f32[1,4] return %y }")
def upgrade():
    late.write_text(late.read_text() + "# of a later release\\n")
if sys.argv[1] == "before":
    upgrade()
else:
    from convc.compiler.compiling import module
    real = module.check_once
    def checked(*given):
        upgrade()
        real(*given)
    module.check_once = checked
cc.compile(net)
print("compiled")
"""


@pytest.mark.parametrize("when", ["never", "before", "between"])
def test_what_was_compiled_by_other_sources_than_lie_there_is_not_kept(when: str, folder: Path, tmp_path: Path) -> None:
    root = Path(cc.__path__[0])
    for part in (*kept.SOURCES, "__init__.py"):
        copy = functools.partial(shutil.copytree, ignore=shutil.ignore_patterns("__pycache__")) if (root / part).is_dir() else shutil.copy
        (tmp_path / "convc").mkdir(exist_ok=True)
        copy(root / part, tmp_path / "convc" / part)
    code = UPGRADED if when != "never" else UPGRADED.replace("late.write_text(late.read_text() +", "(late.read_text() +")
    done = subprocess.run(
        [sys.executable, "-c", code, when], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(tmp_path)}
    )
    assert done.stdout == "compiled\n", done.stderr
    assert ("network" in kinds(folder)) == (when == "never")


def test_weights_that_change_while_it_is_compiled_are_not_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.ones((40, 40), np.float32)
    graph = net(NET.replace("init=small", "init=given"))
    (param,) = graph.params
    bound = bind_weights(graph, {param.name: values}, "here")
    real = build.build_cpu

    def written(graph: Graph, path: Path) -> object:
        values[...] = 2
        return real(graph, path)

    with monkeypatch.context() as patch:
        patch.setattr(build, "build_cpu", written)
        cc.compile(bound, check=True)
    assert kinds(folder) == []


def test_what_changes_from_moment_to_moment_is_no_part_of_a_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "processor : 0\nmodel name : A\ncpu MHz : {}\nflags : avx\n\nprocessor : 1\nmodel name : B"
    monkeypatch.setattr(kept, "cpu_text", lambda: text.format(1000))
    seen = kept.processor()
    monkeypatch.setattr(kept, "cpu_text", lambda: text.format(2000))
    assert kept.processor() == seen
    assert "flags: avx" in seen
