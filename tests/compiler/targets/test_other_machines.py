"""Artifacts for other machines: those that this one runs are held to the reference, and others are refused before anything is loaded."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from convc.backends.tvm.host import lacking
from convc.compiler.compiling.compile import compile_network
from convc.compiler.compiling.module import Module
from convc.compiler.files.artifact import Artifact, FileRecord, sealed
from convc.ir.errors import ArtifactError, UsageError
from convc.tests.support.graphs import typed_graph
from convc.tests.support.shell import convc

TEXT = """graph @g(%x: f32[N,3,8,8]) {
      %w = param : f32[16,3,3,3] %v = param : f32[16,1,3,3] %u = param : f32[5,16]
      %a = conv2d(%x, %w) {pads=[1,1,1,1]} %b = relu(%a) %c = conv2d(%b, %v) {groups=16}
      %d = global_avg_pool(%c) %e = flatten(%d) %y = dense(%e, %u) return %y }"""
NET = typed_graph(TEXT.replace("[N,", "[2,"))
NOWHERE = "diamondrapids"  # has what no machine that tests run on has


@pytest.fixture(scope="module")
def nowhere(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return compile_network(NET, tmp_path_factory.mktemp("nowhere") / "net", mcpu=NOWHERE, check=False)


@pytest.mark.parametrize(
    ("mcpu", "vector", "wider"),
    [("x86-64-v2", "sse4.2", "avx"), ("x86-64-v3", "avx2", "avx512f"), ("skylake-avx512", "avx512f", "avx512bf16")],
)
def test_a_processor_of_this_kind(mcpu: str, vector: str, wider: str, tmp_path: Path):
    said: list[str] = []
    made = compile_network(NET, tmp_path / "net", mcpu=mcpu, say=said.append)
    target = made.manifest["target"]
    assert (json.loads(target["tvm"])["mcpu"], vector in target["needs"], wider in target["needs"]) == (mcpu, True, False)
    runs = not lacking(target["needs"])
    assert any(line.startswith("tvm: y agrees") for line in said) == runs
    assert any(f"{mcpu} (x86_64, Linux) is not this machine" in line for line in said) != runs


def test_what_this_machine_lacks_is_named_before_the_library_is_loaded(nowhere: Artifact):
    altered = dict(nowhere.files, **{"model.so": FileRecord(0, "")})  # which would be seen next
    with pytest.raises(ArtifactError, match=r"was compiled for a processor with .*avx10\.2.*; compile the network again on this one$"):
        replace(nowhere, files=altered).library()


def test_another_architecture_is_refused_by_name(tmp_path: Path):
    said: list[str] = []
    made = compile_network(NET, tmp_path / "net", mcpu="neoverse-n1", say=said.append)
    assert "dotprod" in made.target.record()["needs"]
    assert [line for line in said if line.startswith(("tvm", "onnx"))] == []
    assert any("neoverse-n1 (aarch64, Linux) is not this machine, which cannot run model." in line for line in said)
    for command in ("run", "verify"):
        done = convc(command, made.path)
        assert done.code == 3
        assert "was compiled for aarch64 Linux, and this is x86_64 Linux; run it there, or compile it again here" in done.err
    assert convc("run", made.path, "--backend", "onnx").code == 0


def test_without_its_linker_there_are_object_files_and_a_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    find = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name, *more: None if name.startswith("aarch64") else find(name, *more))
    said: list[str] = []
    made = compile_network(typed_graph(TEXT), tmp_path / "net", mcpu="neoverse-n1", say=said.append, check=False)
    assert {"model.a", "model.one.a"} <= made.files.keys()
    assert "model.so" not in made.files
    first, second = made.target.record()["link"]
    assert first.startswith("aarch64-linux-gnu-gcc -shared -o model.so -Wl,--whole-archive model.a ")
    assert any(first in line and second in line for line in said)
    assert first in (made.path / "report.txt").read_text()
    listed = subprocess.run(["ar", "t", made.path / "model.a"], capture_output=True, text=True, check=True).stdout.split()
    assert len(listed) > 3
    with pytest.raises(ArtifactError, match="was compiled for aarch64 Linux"):
        Module.open(made.path)


def test_object_files_of_apple_are_its_own(tmp_path: Path):
    made = compile_network(NET, tmp_path / "net", mcpu="apple-m1", check=False)
    subprocess.run(["ar", "x", made.path / "model.a"], cwd=tmp_path, check=True)
    assert all(path.read_bytes()[:4] == b"\xcf\xfa\xed\xfe" for path in tmp_path.glob("*.o"))
    assert made.target.record()["link"][0].startswith("clang -arch arm64 -dynamiclib ")


def test_what_was_linked_by_hand_is_run_and_replaced(tmp_path: Path):
    """As if there had been no linker: the manifest knows of object files alone."""
    made = compile_network(typed_graph(TEXT), tmp_path / "net", check=False)
    expected = Module.open(made.path, threads=1)(np.ones((1, 3, 8, 8), np.float32))
    whole = json.loads((made.path / "manifest.json").read_text())
    for name in ("model", "model.one"):
        (made.path / f"{name}.a").write_bytes(b"")
        del whole["files"][f"{name}.so"]
        whole["files"][f"{name}.a"] = {"bytes": 0, "sha256": hashlib.sha256().hexdigest()}
    whole["target"] |= {"library": "model.a", "link": ["gcc -shared -o model.so model.a"]}
    (made.path / "manifest.json").write_bytes(sealed(whole))
    assert np.array_equal(Module.open(made.path, threads=1)(np.ones((1, 3, 8, 8), np.float32)), expected)
    (made.path / "model.so").rename(tmp_path / "model.so")
    with pytest.raises(ArtifactError, match=r"was not linked, .*; link it in its directory, by gcc -shared -o model\.so model\.a$"):
        Module.open(made.path)
    (tmp_path / "model.so").rename(made.path / "model.so")
    assert "model.a" not in compile_network(typed_graph(TEXT), made.path, check=False).files


def test_a_manifest_of_before_has_no_system(nowhere: Artifact):
    record = nowhere.target.record()
    del record["system"], record["link"], record["mcpu"], record["weights"]
    whole = nowhere.manifest | {"target": record}
    (nowhere.path / "manifest.json").write_bytes(sealed(whole))
    with pytest.raises(ArtifactError, match="for a processor with"):
        Artifact.open(nowhere.path).library()


def test_a_gpu_has_no_processor_to_name(tmp_path: Path):
    with pytest.raises(UsageError, match=r"^--mcpu and --mtriple are for a CPU, and the target is cuda; leave them out, or give -t cpu$"):
        compile_network(NET, tmp_path / "net", "cuda", mcpu="znver4")
    assert not (tmp_path / "net").exists()


def test_the_command_offers_the_nearest_name(tmp_path: Path):
    done = convc("compile", "lenet5", "-o", tmp_path / "net", "--mcpu", "x86-64-v33")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("convc: there is no processor 'x86-64-v33'; did you mean x86-64-v3, ")


def test_doctor_says_what_links_for_others():
    assert "arm64-apple-macos as object files" in json.loads(convc("doctor", "--json").out)["found"]["cpu"]
