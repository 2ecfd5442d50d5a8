"""What a library for GPUs needs of this machine, and what TVM is given while one is loaded."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from convc.backends.tvm.cuda.target import cuda_target
from convc.backends.tvm.gpus.architectures import ARCHITECTURES
from convc.backends.tvm.gpus.driver import Gpu
from convc.backends.tvm.host import tvm
from convc.backends.tvm.library import on_gpu
from convc.backends.tvm.library.built import Library, MachineCode
from convc.backends.tvm.library.on_gpu import COMPILE, check_code, machine_code
from convc.ir.errors import ArtifactError, BackendMissing
from convc.tests.support.graphs import typed_graph

H200, A100, TURING = Gpu("NVIDIA H200", (9, 0)), Gpu("NVIDIA A100", (8, 0)), Gpu("NVIDIA T4", (7, 5))
SO = Path("net/model.so")


def test_machine_code_of_another_gpu_is_refused() -> None:
    code = MachineCode("sm_90", Path("net/model.cubin"))
    check_code(code, H200, SO)
    with pytest.raises(
        ArtifactError, match=r"^net/model.so was compiled for sm_90, which the NVIDIA A100 here does not run; compile .* -t cuda:sm_80$"
    ):
        check_code(code, A100, SO)
    with pytest.raises(ArtifactError, match=r"which the NVIDIA T4 here does not run; convc compiles for none that it runs$"):
        check_code(code, TURING, SO)


def test_only_sources_need_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_gpu, "cuda_compiler", lambda: None)
    check_code(MachineCode("sm_90", Path("net/model.cubin")), H200, SO)
    check_code(None, H200, SO)  # there is no kernel
    with pytest.raises(BackendMissing, match=r"^net/model.so holds no machine code, for no CUDA compiler was there"):
        check_code(MachineCode("sm_90", None), H200, SO)


def _library(folder: Path, cubin: Path | None) -> Library:
    graph = typed_graph("graph @g(%x: f32[2]) { %y = relu(%x) return %y }")
    return Library(folder / "model.so", graph, [], device="cuda", code=MachineCode("sm_90", cubin))


def test_tvm_is_given_machine_code_while_a_library_is_loaded(tmp_path: Path) -> None:
    host, cubin = tvm(), tmp_path / "model.cubin"
    cubin.write_bytes(b"\x7fELF of a GPU\0\xff")
    before = host.get_global_func(COMPILE)
    with machine_code(host, _library(tmp_path, cubin)):
        assert bytes(host.get_global_func(COMPILE)("the source")) == cubin.read_bytes()
    assert host.get_global_func(COMPILE).same_as(before)
    with machine_code(host, _library(tmp_path, None)):
        assert host.get_global_func(COMPILE).same_as(before)
    cubin.unlink()
    with pytest.raises(ArtifactError, match=r"model.cubin cannot be read: No such file"), machine_code(host, _library(tmp_path, cubin)):
        pass


def test_one_library_is_loaded_at_a_time(tmp_path: Path) -> None:
    """TVM has one place for what it is given: a thread that loads another library waits."""
    host, cubins = tvm(), [tmp_path / "first.cubin", tmp_path / "second.cubin"]
    for cubin in cubins:
        cubin.write_bytes(cubin.name.encode())
    entered, given = threading.Event(), list[bytes]()

    def load() -> None:
        with machine_code(host, _library(tmp_path, cubins[1])):
            entered.set()
            given.append(bytes(host.get_global_func(COMPILE)("the source")))

    thread = threading.Thread(target=load)
    with machine_code(host, _library(tmp_path, cubins[0])):
        thread.start()
        assert not entered.wait(0.05)
        assert bytes(host.get_global_func(COMPILE)("the source")) == b"first.cubin"
    thread.join()
    assert given == [b"second.cubin"]


def test_tvm_compiles_for_the_gpus_that_were_asked_for() -> None:
    assert {name: str(cuda_target(arch).arch) for name, arch in ARCHITECTURES.items()} == {name: name for name in ARCHITECTURES}
