"""What a build for this machine leaves behind, and which node is named when TVM fails."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from convc.backends.tvm import host
from convc.backends.tvm.library import compile_kernels as kernels
from convc.backends.tvm.library import link
from convc.backends.tvm.library.build import BuildOptions, build_cpu
from convc.backends.tvm.library.run import LoadedLibrary
from convc.backends.tvm.stock.relax_rows import ROWS
from convc.ir.errors import BackendMissing, UnsupportedOp, UsageError
from convc.ir.ops import OPS
from convc.tests.support.graphs import typed_graph
from convc.tests.support.tvm_modules import FULL, SMALL


def test_a_cpu_build_is_a_file_for_any_batch_another_for_one_image_and_a_record(tmp_path: Path) -> None:
    built = build_cpu(typed_graph(SMALL), tmp_path / "small.so", BuildOptions(mcpu="x86-64-v3"))
    assert {path.name for path in tmp_path.iterdir()} == {"small.so", "small.one.so"}
    assert "avx2" in built.needs
    assert built.library.path.read_bytes()[:4] == b"\x7fELF"
    assert json.loads(built.target)["mcpu"] == "x86-64-v3"
    assert built.seconds > 0
    assert built.tvm.startswith("0.")


def test_the_linker_gets_object_files_alone_and_needs_no_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gcc, said = shutil.which("gcc"), tmp_path / "said"
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "gcc").write_text(f'#!/bin/sh\necho "$@" > {said}\nexec {gcc} "$@"\n')
    (tmp_path / "bin" / "gcc").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    build_cpu(typed_graph("graph @g(%x: f16[2,3]) { %y = sigmoid(%x) return %y }"), tmp_path / "model.so", BuildOptions(single=False))
    words = said.read_text().split()
    assert [word for word in words if word.endswith(".c")] == []
    assert "-nostdlib" in words
    assert b"libc.so" not in (tmp_path / "model.so").read_bytes()


def test_a_fault_in_the_build_names_its_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ROWS, OPS["cum_sum"], unlegalized)
    with pytest.raises(UnsupportedOp, match="%t = cum_sum cannot be compiled by TVM: "):
        build_cpu(
            typed_graph("graph @g(%x: f32[2,3]) { %r = relu(%x) %t = cum_sum(%r) {axis=1} %s = relu(%t) return %s }"), tmp_path / "model.so"
        )
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_no_fault_of_an_op(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "full"))
    with pytest.raises(UsageError, match=FULL):
        build_cpu(typed_graph("graph @g(%x: f32[2]) { %y = relu(%x) return %y }"), tmp_path / "model.so", BuildOptions(cached=False))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("at", [kernels, link])  # for a kernel, for the linked program
def test_a_disk_with_little_room_is_refused_before_llvm_ends_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: ModuleType
) -> None:
    monkeypatch.setattr(at, "ROOM", 1 << 62)  # more than any disk has
    with pytest.raises(UsageError, match=r"^cannot write temporary files in '.*': No space left on device; set TMPDIR to a folder"):
        build_cpu(typed_graph("graph @g(%x: f32[2]) { %y = relu(%x) return %y }"), tmp_path / "model.so", BuildOptions(cached=False))
    assert not list(tmp_path.iterdir())


def test_a_library_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "model.so").mkdir()
    with pytest.raises(UsageError, match=r"^cannot write '.*model.so': Is a directory$"):
        build_cpu(typed_graph("graph @g(%x: f32[2]) { %y = relu(%x) return %y }"), tmp_path / "model.so")
    assert [path.name for path in tmp_path.iterdir()] == ["model.so"]


def test_a_library_rebuilt_at_the_same_path_is_the_new_one(tmp_path: Path) -> None:
    x = np.array([-1.0, 2.0], np.float32)
    for op, wanted in (("relu", [0.0, 2.0]), ("identity", [-1.0, 2.0])):
        graph = typed_graph(f"graph @g(%x: f32[2]) {{ %y = {op}(%x) return %y }}")
        module = LoadedLibrary.load(build_cpu(graph, tmp_path / "g.so").library)
        assert module.run({"x": x})["y"].tolist() == wanted


def test_a_rebuilt_library_leaves_none_for_one_image_behind(tmp_path: Path) -> None:
    x = np.array([[-1.0, 2.0]], np.float32)
    for op, single, wanted in (("relu", True, [0.0, 2.0]), ("neg", False, [1.0, -2.0])):
        graph = typed_graph(f"graph @g(%x: f32[N,2]) {{ %y = {op}(%x) return %y }}")
        module = LoadedLibrary.load(build_cpu(graph, tmp_path / "g.so", BuildOptions(single=single)).library)
        assert module.run({"x": x})["y"].tolist() == [wanted]
    assert os.listdir(tmp_path) == ["g.so"]


def unlegalized(emitter: Any, node: Any, x: Any) -> Any:
    """A kernel with an intrinsic that only a GPU has."""

    def kernel(x: Any, shape: Any) -> Any:
        return emitter.te.compute(shape, lambda *at: emitter.tirx.call_intrin("float32", "tirx.mma_fill", x[at]))

    return emitter.compute(node, kernel, x)


def test_without_a_linker_the_way_out_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host.tvm().support.cc, "get_cc", lambda: None)
    with pytest.raises(BackendMissing, match="no C compiler"):
        build_cpu(typed_graph("graph @g(%x: f32[2]) { %y = relu(%x) return %y }"), tmp_path / "model.so")
