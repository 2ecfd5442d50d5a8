"""A second build of the same: nothing is lowered, nothing compiled, and what was kept is taken only if it is what was put there."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from convc.backends.tvm.cuda import kept as kept_module
from convc.backends.tvm.cuda import machine_code
from convc.backends.tvm.cuda.build import CudaBuild, build_cuda
from convc.backends.tvm.cuda.kept import build_key
from convc.backends.tvm.gpus.architectures import ARCHITECTURES, USUAL
from convc.ir.graph import Graph
from convc.tests.support.apart import Apart
from convc.tests.support.graphs import typed_graph
from convc.tests.support.machine_code import needs_nvcc

TEXT = "graph @g(%x: f16[N,8,4,4]) {{ %w = param : f16[8,8,1,1] %y = conv2d(%x, %w) %z = {last}(%y) return %z }}"
SMALL = "graph @g(%x: f32[2,4]) { %y = relu(%x) return %y }"  # of one kernel, which is soon built


def net(last: str = "softmax") -> Graph:
    return typed_graph(TEXT.format(last=last))


def built(folder: Path, last: str = "softmax", **how: Any) -> CudaBuild:
    return build_cuda(net(last), folder, batches=(1, 2), **{"check": False, **how})


def built_apart(folder: Path) -> tuple[bool, bool]:
    """Whether the library was there, and whether TVM was so much as imported."""
    return built(folder).found, "tvm" in sys.modules


@pytest.fixture(autouse=True)
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CONVC_CACHE", str(tmp_path / "kept"))
    return tmp_path / "kept"


def test_a_second_build_lowers_no_kernel(tmp_path: Path) -> None:
    first = built(tmp_path / "first")
    with Apart() as apart:
        assert apart(built_apart, tmp_path / "second") == (True, False)
    assert not first.found
    for name in ("model.so", "model.cu"):
        assert (tmp_path / "second" / name).read_bytes() == (tmp_path / "first" / name).read_bytes()
    again = built(tmp_path / "again")
    assert (again.library.fixed, again.target, again.tvm) == (first.library.fixed, first.target, first.tvm)
    assert os.access(again.library.path, os.X_OK)


@needs_nvcc
def test_a_second_build_calls_no_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """nvcc writes down when it compiles, by a script of its name that calls it."""
    folder, calls = tmp_path / "bin", tmp_path / "calls"
    folder.mkdir()
    (folder / "nvcc").write_text(f'#!/bin/sh\necho "$@" >> {calls}\nexec {shutil.which("nvcc")} "$@"\n')
    (folder / "nvcc").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)

    def compiled() -> int:
        return calls.read_text().count("-cubin")

    first = built(tmp_path / "first", check=True)
    assert compiled() == 1
    second = built(tmp_path / "second", check=True)
    assert compiled() == 1
    assert second.cubin is not None
    assert first.cubin is not None
    assert second.cubin.read_bytes() == first.cubin.read_bytes()


@pytest.mark.parametrize("tampered", [lambda entry, other: entry[:-1] + b"?", lambda entry, other: entry[:40], lambda entry, other: other])
def test_what_is_not_what_was_kept_is_built_anew(tmp_path: Path, kept: Path, tampered: Callable[[bytes, bytes], bytes]) -> None:
    """A changed byte, an entry that was cut short, and one of another network under this one's name."""
    built(tmp_path / "net")
    (entry,) = kept.glob("library_*")
    built(tmp_path / "other", "relu")
    (other,) = set(kept.glob("library_*")) - {entry}
    entry.write_bytes(tampered(entry.read_bytes(), other.read_bytes()))
    assert not built(tmp_path / "net").found
    assert built(tmp_path / "net").found


def test_what_others_can_write_is_not_taken(tmp_path: Path, kept: Path) -> None:
    def found() -> bool:
        return build_cuda(typed_graph(SMALL), tmp_path / "net", check=False).found

    assert not found()
    (entry,) = kept.glob("library_*")
    assert found()
    entry.chmod(0o666)
    assert not found()


def test_all_that_decides_is_part_of_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = net()
    keys = {
        build_key(graph, USUAL, "host", (1, 2), tf32=False),
        build_key(net("relu"), USUAL, "host", (1, 2), tf32=False),
        build_key(graph, ARCHITECTURES["sm_80"], "host", (1, 2), tf32=False),
        build_key(graph, USUAL, "another", (1, 2), tf32=False),
        build_key(graph, USUAL, "host", (1,), tf32=False),
        build_key(graph, USUAL, "host", None, tf32=False),
        build_key(graph, USUAL, "host", (1, 2), tf32=True),
    }
    for name in ("NVCC_APPEND_FLAGS", "TVM_CUDA_COMPILE_MODE"):
        monkeypatch.setenv(name, "-G")
        keys.add(build_key(graph, USUAL, "host", (1, 2), tf32=False))
    asked: list[tuple[str, ...]] = []
    changes: dict[str, Callable[..., Any]] = {
        "may_have_gpu": lambda: True,
        "is_emulated": lambda: True,
        "installed": lambda packages: dict.fromkeys(packages, "99"),
        "hash_of": lambda root, sources: asked.append(sources) or "edited",
    }
    for name, change in changes.items():
        monkeypatch.setattr(kept_module, name, change)
        keys.add(build_key(graph, USUAL, "host", (1, 2), tf32=False))
    assert len(keys) == 13
    assert asked == [("ir", "backends")]  # which import nothing else, as tests/house holds


def test_all_that_decides_about_machine_code_is_part_of_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_code, "_said_by_nvcc", lambda option: "13.0")
    monkeypatch.setattr(machine_code, "release", lambda package: "13.0")
    key = machine_code._key
    keys = {
        key("code", USUAL, "nvcc"),
        key("other", USUAL, "nvcc"),
        key("code", ARCHITECTURES["sm_90a"], "nvcc"),
        key("code", USUAL, "nvrtc"),
    }
    monkeypatch.setattr(machine_code, "_said_by_nvcc", lambda option: "13.1")
    keys.add(key("code", USUAL, "nvcc"))
    monkeypatch.setenv("NVCC_APPEND_FLAGS", "-G")
    keys.add(key("code", USUAL, "nvcc"))
    monkeypatch.setattr(machine_code, "installed", lambda packages: dict.fromkeys(packages, "99"))
    keys.add(key("code", USUAL, "nvcc"))
    assert len(keys) == 7


def test_there_is_none_where_a_source_was_written_to_since_it_was_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_module, "hash_of", lambda root, sources: None)
    assert build_key(net(), USUAL, "host", (1, 2), tf32=False) is None


def test_what_nobody_knows_the_sources_of_is_not_kept(tmp_path: Path, kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_module, "hash_of", lambda root, sources: None)
    assert not built(tmp_path / "net").found
    assert not list(kept.glob("library_*"))
    hashes = iter(["as it was", "upgraded while it was built"])
    monkeypatch.setattr(kept_module, "hash_of", lambda root, sources: next(hashes))
    assert not built(tmp_path / "net").found
    assert not list(kept.glob("library_*"))
