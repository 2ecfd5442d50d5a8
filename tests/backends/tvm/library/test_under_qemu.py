"""Artifacts for AArch64, run: the C example under qemu with TVM's libraries for that machine, results held to the reference.

It takes Debian's qemu-user, gcc-aarch64-linux-gnu and libstdc++6-arm64-cross, and the wheels of build/aarch64, which `make aarch64` gets.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from convc.backends.tvm.library.link import by_hand, cross_linker
from convc.compiler.compiling.compile import compile_network
from convc.ir.graph import Graph
from convc.tests.support.graphs import hold_to_reference, normal_inputs, typed_graph
from convc.tests.support.stories import ROOT

TRIPLE = "aarch64-linux-gnu"
WHEELS, SYSTEM = ROOT / "build" / "aarch64", Path("/usr") / TRIPLE
LIBRARIES = [WHEELS / "tvm" / "lib", WHEELS / "tvm_ffi" / "lib"]
NEEDED = {
    "qemu-user": shutil.which("qemu-aarch64"),
    "gcc-aarch64-linux-gnu": cross_linker(TRIPLE),
    "libstdc++6-arm64-cross": (SYSTEM / "lib" / "libstdc++.so.6").exists(),
    "make aarch64": all(map(Path.is_dir, LIBRARIES)),
}
MISSING = [name for name, found in NEEDED.items() if not found]
pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(MISSING), reason=f"code of another machine is run with {', '.join(MISSING)}")]

NET = """graph @net(%x: f32[N,3,20,20]) {
    %w = param : f32[32,3,3,3]
    %v = param : f32[32,32,3,3]
    %d = param : f32[32,1,3,3]
    %p = param : f32[48,32,1,1]
    %t = param : f32[48,16,2,2]
    %u = param : f32[10,16]
    %a = conv2d(%x, %w) {pads=[1,1,1,1], strides=[2,2]}
    %b = relu(%a)
    %c = conv2d(%b, %v) {pads=[1,1,1,1]}
    %e = conv2d(%c, %d) {pads=[1,1,1,1], groups=32}
    %f = conv2d(%e, %p)
    %g = conv_transpose2d(%f, %t) {strides=[2,2]}
    %h = max_pool(%g) {kernel=[2,2], strides=[2,2]}
    %i = global_avg_pool(%h)
    %j = flatten(%i)
    %k = dense(%j, %u)
    %y = softmax(%k)
    return %y, %h
}"""


def example_for(artifact: Path) -> Path:
    places = [f"-L{folder}" for folder in LIBRARIES]
    program = artifact.parent / "example"
    sources = [artifact / "example.c", artifact / "convc.c", "-isystem", WHEELS / "tvm_ffi" / "include"]
    linked = ["-Wl,--no-as-needed", "-ltvm_runtime", "-ltvm_ffi", "-Wl,--allow-shlib-undefined"]
    strict = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-pedantic", "-pthread", f"-I{artifact}"]
    subprocess.run([str(word) for word in (cross_linker(TRIPLE), *strict, *sources, *places, *linked, "-o", program)], check=True)
    return program


def under_qemu(processor: str, *words: object) -> subprocess.CompletedProcess[str]:
    found = f"LD_LIBRARY_PATH={':'.join(map(str, LIBRARIES))}"
    command = ["qemu-aarch64", "-cpu", processor, "-L", SYSTEM, "-E", found, *words]
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)


def hold(graph: Graph, artifact: Path, processor: str, batch: int) -> None:
    inputs = normal_inputs(graph, N=batch)
    given, *made = (artifact.parent / name for name in ("in", "out0", "out1"))
    given.write_bytes(inputs["x"].tobytes())
    done = under_qemu(processor, example_for(artifact), artifact, 1, batch, given, *made)
    assert done.returncode == 0, done.stderr
    types = [node.typed.with_sizes({"N": batch}).concrete() for node in graph.outputs]
    results = [np.fromfile(path, np.float32).reshape(shape) for path, shape in zip(made, types, strict=True)]
    hold_to_reference(graph, dict(zip((node.name for node in graph.outputs), results, strict=True)), inputs)


@pytest.mark.parametrize(("mcpu", "processor"), [("neoverse-n1", "neoverse-n1"), ("cortex-a72", "cortex-a72"), (None, "cortex-a53")])
@pytest.mark.parametrize("batch", [1, 3])
def test_it_computes_what_the_reference_does(mcpu: str | None, processor: str, batch: int, tmp_path: Path):
    graph = typed_graph(NET)
    made = compile_network(graph, tmp_path / "net", level=0, check=False, mcpu=mcpu, mtriple=TRIPLE)
    hold(graph, made.path, processor, batch)


def test_a_processor_without_its_instructions_is_told_so(tmp_path: Path):
    made = compile_network(typed_graph(NET), tmp_path / "net", level=0, check=False, mcpu="neoverse-n1")
    done = under_qemu("cortex-a53", example_for(made.path), made.path, 1, 1, "in", "out0", "out1")
    assert (done.returncode, done.stdout) == (1, "")
    assert "was compiled for a processor with dotprod; compile the network again on this one" in done.stderr


def test_of_several_libraries_the_best_that_runs_is_loaded(tmp_path: Path):
    graph = typed_graph(NET)
    made = compile_network(graph, tmp_path / "net", level=0, check=False, mcpu="cortex-a72,neoverse-n1")
    for processor in ("neoverse-n1", "cortex-a72"):
        hold(graph, made.path, processor, 1)
    (made.path / "model.neoverse-n1.so").unlink()
    hold(graph, made.path, "cortex-a72", 3)
    done = under_qemu("neoverse-n1", tmp_path / "example", made.path, 1, 1, "in", "out0", "out1")
    assert (done.returncode, done.stdout) == (1, "")
    assert "model.neoverse-n1.so is missing" in done.stderr


def test_objects_linked_by_hand_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    linker, find = cross_linker(TRIPLE), shutil.which
    with monkeypatch.context() as without:
        without.setattr(shutil, "which", lambda name, *more: None if name.startswith("aarch64") else find(name, *more))
        graph = typed_graph(NET)
        made = compile_network(graph, tmp_path / "net", level=0, check=False, mcpu="neoverse-n1")
    assert not (made.path / "model.so").exists()
    for command, name in zip(made.target.record()["link"], ("model.so", "model.one.so"), strict=True):
        assert command == by_hand(Path(name), TRIPLE)
        subprocess.run([linker, *command.split()[1:]], cwd=made.path, check=True)
    hold(graph, made.path, "neoverse-n1", 1)
