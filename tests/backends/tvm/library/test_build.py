"""What a build leaves behind, for CPU and CUDA, and which node is named when TVM fails."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from convc.backends.tvm import host
from convc.backends.tvm.cuda import build as cuda_build
from convc.backends.tvm.cuda.build import build_cuda
from convc.backends.tvm.library import compile_kernels as kernels
from convc.backends.tvm.library import link
from convc.backends.tvm.library.build import BuildOptions, build_cpu
from convc.backends.tvm.stock.lower import lower
from convc.backends.tvm.stock.relax_rows import ROWS
from convc.backends.unsupported import Unsupported
from convc.ir.errors import BackendMissing, InvalidModel, UnsupportedOp, UsageError
from convc.ir.ops import OPS
from convc.ir.parser import parse_graph
from convc.tests.support.graphs import typed_graph

SMALL = """graph @small(%x: f32[N,3,16,16]) {
    %w = param : f32[8,3,3,3]
    %b = param : f32[8]
    %v = param : f32[10,8]
    %conv1 = conv2d(%x, %w, %b) {strides=[2,2], pads=[1,1,1,1]}
    %relu1 = relu(%conv1)
    %pool1 = max_pool(%relu1) {kernel=[2,2], strides=[2,2]}
    %mean = global_avg_pool(%pool1)
    %flat = flatten(%mean)
    %scores = dense(%flat, %v)
    %y = softmax(%scores)
    return %y
}"""
needs_nvcc = pytest.mark.skipif(shutil.which("nvcc") is None, reason="nvcc is not on PATH")


def test_one_function_over_inputs_and_parameters() -> None:
    main = lower(typed_graph(SMALL))["main"]
    assert [parameter.name for parameter in main.params] == ["x", "w", "b", "v"]
    assert int(main.attrs["num_input"]) == 1
    shown = str(main)
    assert all(f"{name}: R.Tensor" in shown or f"{name} = " in shown for name in ("conv1", "relu1", "pool1", "mean", "scores"))


def test_a_cpu_build_is_a_file_for_any_batch_another_for_one_image_and_a_record(tmp_path: Path) -> None:
    built = build_cpu(typed_graph(SMALL), tmp_path / "small.so", BuildOptions(mcpu="x86-64-v3"))
    assert {path.name for path in tmp_path.iterdir()} == {"small.so", "small.one.so"}
    assert "avx2" in built.needs
    assert built.library.path.read_bytes()[:4] == b"\x7fELF"
    assert json.loads(built.target)["mcpu"] == "x86-64-v3"
    assert built.seconds > 0
    assert built.tvm.startswith("0.")


@needs_nvcc
def test_a_cuda_build_holds_kernels_that_nvcc_takes(tmp_path: Path) -> None:
    built = build_cuda(typed_graph(SMALL), tmp_path / "net")
    assert sorted(path.name for path in built.library.path.parent.iterdir()) == ["model.cu", "model.cubin", "model.so"]
    assert built.source.read_text().count("__global__") >= 5
    assert built.cubin is not None
    assert built.cubin.read_bytes()[:4] == b"\x7fELF"
    assert built.check.startswith("nvcc made a cubin of")
    assert json.loads(built.target)["arch"] == "sm_90"


def test_without_a_cuda_compiler_the_check_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_build, "cuda_compiler", lambda: None)
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "model.cubin").write_text("of an older build")
    built = build_cuda(typed_graph(SMALL), tmp_path / "net", cuda_graph=True)
    assert built.cubin is None
    assert sorted(path.name for path in built.library.path.parent.iterdir()) == ["model.cu", "model.so"]
    assert built.check == "not checked: neither nvcc nor NVRTC (cuda-bindings) is here"


@needs_nvcc
def test_code_that_nvcc_refuses_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_build, "_cuda_source", lambda executable: "__global__ void f() { g(); }")
    with pytest.raises(UnsupportedOp, match=r'nvcc refuses the CUDA source.*"g" is undefined'):
        build_cuda(typed_graph(SMALL), tmp_path / "net")


def test_nothing_to_launch_is_no_failure(tmp_path: Path) -> None:
    built = build_cuda(typed_graph("graph @g(%x: f32[2]) { %y = identity(%x) return %y }"), tmp_path)
    assert built.check == "not checked: the network needs no kernel"


def test_a_node_without_a_type_is_refused() -> None:
    with pytest.raises(InvalidModel, match="%y = relu has no type yet"):
        lower(parse_graph("graph @g(%x: f32[2]) { %y = relu(%x) return %y }"))


def test_an_unsupported_op_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ROWS, OPS["tanh"], Unsupported("nobody wrote it"))
    with pytest.raises(UnsupportedOp, match=r"%t = tanh \(net.py:7\) cannot be lowered to TVM: nobody wrote it"):
        lower(typed_graph('graph @g(%x: f32[2]) { %r = relu(%x) %t = tanh(%r) : f32[2] at "net.py:7" return %t }'))


def test_a_fault_in_a_lowering_names_its_node(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(emitter: Any, node: Any, x: Any) -> Any:
        return emitter.ops.reshape(x, (5,))

    monkeypatch.setitem(ROWS, OPS["tanh"], wrong)
    with pytest.raises(UnsupportedOp, match="%t = tanh cannot be lowered to TVM: "):
        lower(typed_graph("graph @g(%x: f32[2]) { %r = relu(%x) %t = tanh(%r) return %t }"))


def test_a_fault_in_the_build_names_its_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ROWS, OPS["tanh"], unlegalized)
    with pytest.raises(UnsupportedOp, match="%t = tanh cannot be compiled by TVM: "):
        build_cpu(typed_graph("graph @g(%x: f32[2,3]) { %r = relu(%x) %t = tanh(%r) %s = relu(%t) return %s }"), tmp_path / "model.so")
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_no_fault_of_an_op(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "full"))
    with pytest.raises(UsageError, match=r"^cannot write temporary files in '.*full': No such file or directory; set TMPDIR to a folder"):
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


def unlegalized(emitter: Any, node: Any, x: Any) -> Any:
    """A kernel with an intrinsic that only a GPU has."""

    def kernel(x: Any, shape: Any) -> Any:
        return emitter.te.compute(shape, lambda *at: emitter.tirx.call_intrin("float32", "tirx.mma_fill", x[at]))

    return emitter.compute(node, kernel, x)


def test_without_a_linker_the_way_out_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host.tvm().support.cc, "get_cc", lambda: None)
    with pytest.raises(BackendMissing, match="no C compiler"):
        build_cpu(typed_graph("graph @g(%x: f32[2]) { %y = relu(%x) return %y }"), tmp_path / "model.so")
