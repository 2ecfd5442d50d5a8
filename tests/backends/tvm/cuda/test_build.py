"""What a build for CUDA leaves behind, and what says that its source was compiled."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from convc.backends.tvm.cuda import build as cuda_build
from convc.backends.tvm.cuda import machine_code
from convc.backends.tvm.cuda.build import build_cuda
from convc.backends.tvm.gpus.architectures import architecture
from convc.ir.errors import UnsupportedOp, UsageError
from convc.tests.support.graphs import typed_graph
from convc.tests.support.machine_code import needs_nvcc
from convc.tests.support.tvm_modules import SMALL


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
    built = build_cuda(typed_graph(SMALL), tmp_path / "net")
    assert built.cubin is None
    assert sorted(path.name for path in built.library.path.parent.iterdir()) == ["model.cu", "model.so"]
    assert built.check == "not checked: neither nvcc nor NVRTC (cuda-bindings) is here"


@needs_nvcc
def test_code_that_nvcc_refuses_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_build, "_cuda_source", lambda executable: "__global__ void f() { g(); }")
    with pytest.raises(UnsupportedOp, match=r'nvcc refuses the CUDA source.*"g" is undefined'):
        build_cuda(typed_graph(SMALL), tmp_path / "net", cached=False)


@needs_nvcc
def test_a_second_build_finds_the_machine_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVC_CACHE", str(tmp_path / "kept"))
    graph = typed_graph("graph @g(%x: f32[2]) { %y = exp(%x) return %y }")
    first = build_cuda(graph, tmp_path / "first")
    monkeypatch.setattr(machine_code, "_compiled", lambda *given: b"made anew")
    second, anew = build_cuda(graph, tmp_path / "second"), build_cuda(graph, tmp_path / "anew", cached=False)
    other = build_cuda(graph, tmp_path / "other", architecture("sm_80"))
    assert first.cubin is not None
    assert second.cubin is not None
    assert second.cubin.read_bytes() == first.cubin.read_bytes()
    for each in (anew, other):
        assert each.cubin is not None
        assert each.cubin.read_bytes() == b"made anew"


def test_nothing_to_launch_is_no_failure(tmp_path: Path) -> None:
    built = build_cuda(typed_graph("graph @g(%x: f32[2]) { %y = identity(%x) return %y }"), tmp_path)
    assert built.check == "not checked: the network needs no kernel"


@pytest.mark.parametrize(
    ("x", "sliced", "sentence"),
    [
        (
            "f32[N,4]",
            "{starts=[2], ends=[2], axes=[1]}",
            "f32[N,0], of no elements, .*; take it out of the network, or compile with -t cpu",
        ),
        ("f32[N,4]", "{starts=[0], ends=[N-1], axes=[0]}", "f32[0,4], of no elements, .*; compile with --batches without 1"),
    ],
)
def test_an_empty_value_is_refused_by_its_node(tmp_path: Path, x: str, sliced: str, sentence: str) -> None:
    graph = typed_graph(f"graph @g(%x: {x}) {{ %s = slice(%x) {sliced} %t = tanh(%s) %y = tanh(%x) return %t, %y }}")
    with pytest.raises(UnsupportedOp, match=f"^%s = slice is {re.escape(sentence).replace(re.escape('.*'), '.*')}$"):
        build_cuda(graph, tmp_path, batches=(1, 8), check=False)


def test_kernels_of_fixed_batches_do_not_test_their_arguments_at_each_launch(tmp_path: Path) -> None:
    graph = typed_graph("graph @g(%x: f16[N,8,4,4]) { %y = max_pool(%x) {kernel=[2,2]} return %y }")
    fixed, for_any = (build_cuda(graph, tmp_path / str(batches), batches=batches, check=False) for batches in ((1, 2), None))
    assert b"Mismatched" not in fixed.library.path.read_bytes()
    assert b"Mismatched" in for_any.library.path.read_bytes()


def test_gpus_that_nvcc_does_not_know_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """It lists sm_90 for sm_90a too; where it lists nothing, it is asked for the code itself."""
    listed = ["sm_80 sm_90"]
    monkeypatch.setattr(machine_code, "_said_by_nvcc", lambda option: listed[0])
    for name in ("sm_80", "sm_90", "sm_90a"):
        machine_code.refuse_unknown(architecture(name))
    with pytest.raises(UsageError, match=r"^the nvcc here does not know sm_100; it knows sm_80, sm_90$"):
        machine_code.refuse_unknown(architecture("sm_100"))
    listed[0] = ""
    machine_code.refuse_unknown(architecture("sm_100"))


LAYER = "graph @g(%%x: %s[N,16,8,8]) { %%w = param : %s[64,16,3,3] %%y = conv2d(%%x, %%w) {pads=[1,1,1,1]} return %%y }"


def test_a_batch_is_built_as_was_asked_for_any(tmp_path: Path) -> None:
    """Its architecture and its precision decide about kernels at each batch, and whether launches are captured is told."""
    by_groups = build_cuda(typed_graph(LAYER % ("f16", "f16")), tmp_path / "a", architecture("sm_90a"), batches=(1,), check=False)
    assert any("by wgmma" in line for line in by_groups.kernels)
    tf32 = build_cuda(typed_graph(LAYER % ("f32", "f32")), tmp_path / "b", batches=(1,), tf32=True, cuda_graph=False, check=False)
    assert any("by mma.sync" in line for line in tf32.kernels)
    assert [built.library.fixed.cuda_graph for built in (by_groups, tf32) if built.library.fixed] == [True, False]


def test_a_batch_of_more_pixels_than_a_kernel_counts_is_refused(tmp_path: Path) -> None:
    graph = typed_graph("graph @g(%x: f16[N,16,1024,1024]) { %w = param : f16[16,16,1,1] %y = conv2d(%x, %w) return %y }")
    with pytest.raises(UsageError, match=r"^a batch of 4096 images has more pixels than a kernel counts; compile with smaller --batches$"):
        build_cuda(graph, tmp_path, batches=(1, 4096), check=False)
    assert not list(tmp_path.iterdir())


def test_a_build_refuses_gpus_that_nvcc_does_not_know(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_build, "cuda_compiler", lambda: "nvcc")
    monkeypatch.setattr(machine_code, "_said_by_nvcc", lambda option: "sm_80 sm_90")
    with pytest.raises(UsageError, match=r"^the nvcc here does not know sm_100"):
        build_cuda(typed_graph(SMALL), tmp_path / "net", architecture("sm_100"))
    assert not (tmp_path / "net").exists()
