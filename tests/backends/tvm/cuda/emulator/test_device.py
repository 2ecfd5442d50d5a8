"""TVM's CUDA runtime and virtual machine on the emulated driver, each in a process that has no other GPU, nor will have."""

from __future__ import annotations

import ctypes
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from convc.backends.tvm.cuda.build import build_cuda
from convc.backends.tvm.cuda.emulator.device import as_module, emulated, gpu_is_here, is_emulated
from convc.backends.tvm.cuda.emulator.machine import load_libraries
from convc.backends.tvm.gpus.architectures import ARCHITECTURES
from convc.backends.tvm.host import tvm
from convc.backends.tvm.library.run import LoadedLibrary
from convc.compiler.compiling.compile import compile_network
from convc.compiler.compiling.module import Module
from convc.compiler.files.artifact import Artifact
from convc.ir.errors import ConvcError, UsageError
from convc.ir.types import Array
from convc.tests.support.apart import Apart
from convc.tests.support.emulated import run_emulated
from convc.tests.support.graphs import normal_inputs, typed_graph
from convc.tests.support.machine_code import needs_nvcc
from convc.tests.support.shell import convc, refused
from convc.tests.support.tvm_modules import SMALL


def test_a_network_runs_in_tvms_virtual_machine(apart: Apart, tmp_path: Path) -> None:
    first, second = apart(run_emulated, SMALL, tmp_path, [{"N": 3}, {"N": 3}])
    assert first["launches"] == second["launches"] >= 5
    assert second["barriers"] > 0
    assert second["shuffles"] > 0
    assert first["graph_launches"] == first["captured"] == 0


def faults(folder: Path) -> list[str]:
    """What is said of a network whose kernel, spoilt as it is loaded, writes far beyond its result; then of one that no compiler takes."""
    graph = typed_graph("graph @g(%x: f32[64]) { %y = tanh(%x) return %y }")
    emulated()
    host = tvm()
    compile_, said = host.get_global_func("tvm_callback_cuda_compile"), []
    for spoil in (("tanh_ptr[", "tanh_ptr[(1 << 10) + "), ("__global__", "nothing __global__")):
        host.register_global_func(
            "tvm_callback_cuda_compile", lambda code, spoil=spoil: compile_(_spoilt(str(code), *spoil)), override=True
        )
        try:
            LoadedLibrary.load(build_cuda(graph, folder, check=False, cached=False).library).run(normal_inputs(graph))
        except ConvcError as error:
            said.append(str(error))
        finally:
            host.register_global_func("tvm_callback_cuda_compile", compile_, override=True)
    return said


def _spoilt(code: str, before: str, after: str) -> str:
    assert before in code
    return code.replace(before, after)


def test_a_fault_ends_a_run_with_a_sentence(apart: Apart, tmp_path: Path) -> None:
    beyond, refuses = apart(faults, tmp_path)
    assert "kernel tanh_kernel, block (0,0,0), thread (" in beyond
    assert "touches memory" in beyond
    assert "cannot compile what emulates a GPU" in refuses


def written_while_emulated(folder: Path) -> str:
    emulated()
    with pytest.raises(UsageError) as raised:
        compile_network(typed_graph("graph @g(%x: f32[2]) { %y = tanh(%x) return %y }"), folder / "net", "cuda", check=False)
    return f"{raised.value}; {(folder / 'net').exists()}"


class Launched(ctypes.Structure):
    """CUlaunchConfig"""

    _fields_ = (
        ("sizes", ctypes.c_uint * 6),
        ("shared", ctypes.c_uint),
        ("stream", ctypes.c_void_p),
        ("attributes", ctypes.c_void_p),
        ("count", ctypes.c_uint),
    )


def launched_with(asked: int) -> list[int]:
    """What the driver says of 99 and of 100 KiB of shared memory on GPUs of sm_86 and of sm_90, once a kernel asked for so many bytes."""
    emulated()
    driver, said = load_libraries(), list[int]()
    for arch in (ARCHITECTURES["sm_86"], ARCHITECTURES["sm_90"]):
        module, function = ctypes.c_void_p(), ctypes.c_void_p()
        assert not driver.cuModuleLoadData(ctypes.byref(module), as_module('extern "C" __global__ void idle() {}', arch))
        assert not driver.cuModuleGetFunction(ctypes.byref(function), module, b"idle")
        assert not driver.cuFuncSetAttribute(function, 8, asked)
        for kib in (99, 100):
            launch = Launched((ctypes.c_uint * 6)(1, 1, 1, 32, 1, 1), kib << 10, None, None, 0)
            said.append(driver.cuLaunchKernelEx(ctypes.byref(launch), function, None, None))
    return said


def test_a_block_has_the_shared_memory_of_its_gpu_if_the_kernel_asked(apart: Apart) -> None:
    on_a40, beyond, *on_h100 = apart(launched_with, 100 << 10)
    assert (on_a40, *on_h100) == (0, 0, 0)
    assert beyond != 0
    assert 0 not in apart(launched_with, 48 << 10)


def test_artifacts_are_written_where_nothing_is_emulated(apart: Apart, tmp_path: Path) -> None:
    assert apart(written_while_emulated, tmp_path) == (
        "this process emulates a GPU, and what it compiles runs nowhere else; write the artifact in another process; False"
    )


def who_is_here() -> tuple[bool, bool, bool]:
    """With TVM imported first."""
    tvm()
    before = is_emulated()
    emulated()
    return before, is_emulated(), gpu_is_here()


def test_a_process_has_the_device_once_it_asks_for_it() -> None:
    with Apart() as apart:
        assert apart(who_is_here) == (False, True, False)


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("artifact")
    (folder / "net.cir").write_text("graph @net(%x: f32[N,4]) {\n  %y = tanh(%x)\n  return %y\n}\n")
    done = convc("compile", folder / "net.cir", "-t", "cuda", "--no-check", "-o", folder / "net")
    assert done.code == 0, done.err
    return folder / "net"


def test_verify_runs_an_artifact_emulated_and_says_so(artifact: Path) -> None:
    done = convc("verify", artifact, "-b", "cuda", "--json")
    assert done.code == 0, done.err
    assert "cuda: no GPU is here; its kernels are executed on the CPU" in done.err
    assert (
        "cuda emulated: held for batches of 1, 8; those of 32, 256 are on a GPU: a run of the inputs, then 3 runs of each batch; "
        in done.err
    )
    lines = json.loads(done.out)["results"]
    assert [line["engine"] for line in lines] == ["cuda emulated", "cuda emulated, batch of 1", "cuda emulated, batch of 8"]
    assert all(line["agrees"] for line in lines)


def called(folder: Path) -> Array:
    return Module.open(folder, "cuda", emulate=True)(np.float32([[1, 2, 3, 4]]))


def test_a_program_has_an_artifact_emulated(artifact: Path, apart: Apart) -> None:
    np.testing.assert_allclose(apart(called, artifact), np.tanh(np.float32([[1, 2, 3, 4]])), rtol=1e-5)
    with pytest.raises(UsageError, match=r"^backend 'tvm' has no device that is emulated; leave emulate out, or open for cuda$"):
        Module.open(artifact, "tvm", emulate=True)


def test_nothing_of_an_artifact_runs_where_no_gpu_is(artifact: Path) -> None:
    why = "model.so is for sm_90, and no GPU is here; convc run and verify emulate it with -b cuda"
    assert Artifact.open(artifact).word == f"nothing of '{artifact}' runs here: {why}"


def test_a_check_says_that_no_kernel_was_executed(tmp_path: Path) -> None:
    said: list[str] = []
    graph = typed_graph("graph @g(%x: f32[2]) { %y = tanh(%x) return %y }")
    made = compile_network(graph, tmp_path / "net", "cuda", say=said.append)
    line = "not executed: the kernels in model.so; convc verify ARTIFACT -b cuda runs them, or emulates them"
    assert said[-1] == line
    assert f"  {line}\n" in (made.path / "report.txt").read_text()


def test_verify_draws_as_many_images_as_must_be_together(tmp_path: Path) -> None:
    (tmp_path / "net.cir").write_text("graph @net(%x: f32[N,4]) { %y = softmax(%x) {axis=0} return %y }")
    assert convc("compile", tmp_path / "net.cir", "-t", "cuda", "--no-check", "--batches", "4,8", "-o", tmp_path / "net").code == 0
    done = convc("verify", tmp_path / "net", "-b", "cuda")
    assert done.code == 0, done.err
    assert "cuda emulated: y agrees" in done.out


def test_run_runs_it_emulated_when_asked(artifact: Path, tmp_path: Path) -> None:
    done = convc("run", artifact, "-b", "cuda", "--emulate", "-o", tmp_path / "y.npz")
    assert done.code == 0, done.err
    assert "cuda: emulation is asked for" in done.err
    assert convc("run", artifact, "-b", "reference", "-o", tmp_path / "exact.npz").code == 0
    with np.load(tmp_path / "y.npz") as got, np.load(tmp_path / "exact.npz") as exact:
        np.testing.assert_allclose(got["y"], exact["y"], rtol=1e-4)


@needs_nvcc
def test_machine_code_that_was_cut_short_is_refused(artifact: Path, tmp_path: Path) -> None:
    """Before it is loaded, on a machine with a GPU or without."""
    shutil.copytree(artifact, tmp_path / "net")
    cubin = tmp_path / "net" / "model.cubin"
    cubin.write_bytes(cubin.read_bytes()[:1000])
    way_out = "model.cubin was altered after it was written; compile the network again"
    refused(convc("run", tmp_path / "net", "-b", "cuda"), 3, f"'{tmp_path / 'net'}': {way_out}")


def test_only_devices_are_emulated(artifact: Path) -> None:
    refused(
        convc("verify", artifact, "-b", "tvm", "--emulate"),
        2,
        "--emulate is for a backend with a device of its own; name one with -b: cuda",
    )


def test_without_a_compiler_emulation_says_what_is_missing(artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    done = convc("run", artifact, "-b", "cuda")
    assert done.code == 5
    assert "emulating a GPU takes a C++ compiler, and no-such-compiler is not found" in done.err


def test_doctor_tells_of_driver_runtime_compilers_and_emulator() -> None:
    (line,) = (line for line in convc("doctor").out.splitlines() if line.startswith("cuda "))
    assert "driver" in line
    assert "libcudart.so.13" in line
    assert "emulator compiled by " in line
