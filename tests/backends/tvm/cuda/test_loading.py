"""A library with its machine code beside it, loaded by TVM's CUDA runtime on the emulated driver, which takes sources for machine code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from convc.backends.tvm.cuda.build import build_cuda
from convc.backends.tvm.cuda.emulator.device import as_module, emulated
from convc.backends.tvm.host import tvm
from convc.backends.tvm.library import on_gpu
from convc.backends.tvm.library.built import Library, MachineCode
from convc.tests.support.apart import Apart
from convc.tests.support.graphs import typed_graph


def _loaded(folder: Path) -> tuple[str, list[float]]:
    """What loading says without machine code, where no compiler is; and what a kernel computes with it."""
    graph = typed_graph("graph @g(%x: f32[N,4]) { %y = relu(%x) return %y }")
    built = build_cuda(graph, folder, check=False)
    emulated()
    host = tvm()
    host.register_global_func(on_gpu.COMPILE, _no_compiler, override=True)
    cubin = folder / "model.cubin"
    cubin.write_bytes(as_module(built.source.read_text()))
    library = Library(built.library.path, graph, [], device="cuda", code=MachineCode("sm_90", cubin))
    try:
        host.runtime.load_module(str(library.path))
        said = "nothing"
    except Exception as error:
        said = str(error)
    on_gpu._is_emulated = lambda device: False  # type: ignore[attr-defined]  # as on a GPU
    with on_gpu.machine_code(host, library):
        module = host.runtime.load_module(str(library.path))
    machine = host.relax.VirtualMachine(module, host.cuda(0))
    x = host.runtime.tensor(np.array([[1, -1, 2, -2]], np.float32), host.cuda(0))
    return said, machine["main"](x)[0].numpy().ravel().tolist()


def _no_compiler(source: str) -> bytes:
    raise RuntimeError("no compiler is here")


@pytest.mark.timeout(120)
def test_machine_code_loads_without_a_compiler(tmp_path: Path) -> None:
    with Apart() as apart:
        said, computed = apart(_loaded, tmp_path)
    assert "no compiler is here" in said
    assert computed == [1, 0, 2, 0]
