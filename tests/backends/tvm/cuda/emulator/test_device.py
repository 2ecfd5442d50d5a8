"""TVM's CUDA runtime and virtual machine on the emulated driver, each in a process that has no other GPU, nor will have."""

from __future__ import annotations

import ctypes
import json
import shutil
import struct
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convc.backends.tvm.cuda.build import build_cuda, cuda_target
from convc.backends.tvm.cuda.emulator.device import emulated, gpu_is_here, is_emulated
from convc.backends.tvm.cuda.emulator.machine import load_libraries
from convc.backends.tvm.gpus.architectures import ARCHITECTURES
from convc.backends.tvm.host import tvm
from convc.backends.tvm.library.built import MachineCode, of_parameters
from convc.backends.tvm.library.on_gpu import machine_code
from convc.backends.tvm.library.run import LoadedLibrary
from convc.compiler.compiling.compile import compile_network
from convc.ir.errors import ConvcError, UsageError
from convc.tests.support.emulated import run_emulated
from convc.tests.support.graphs import normal_inputs, typed_graph
from convc.tests.support.shell import convc, refused
from convc.tests.support.tvm_modules import SMALL

Apart = Callable[..., Any]


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
            LoadedLibrary.load(build_cuda(graph, folder, check=False).library).run(normal_inputs(graph))
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


SHARED = 'extern "C" __global__ void __launch_bounds__(32) f() { extern __shared__ float s[]; s[threadIdx.x] = 1; }'


def launched(arch: str, shared: int, folder: Path) -> list[str]:
    """What is said of launches with so many bytes of shared memory: of source compiled for `arch`, and of source in a library that is."""
    emulated()
    host, driver = tvm(), load_libraries()
    driver.cuGetErrorString.argtypes = [ctypes.c_int, ctypes.c_void_p]
    library = of_parameters(folder / "model.so", typed_graph(SMALL), "cuda", MachineCode(arch, None))
    said = []
    for meanwhile in (cuda_target(host, ARCHITECTURES[arch]), machine_code(host, library)):
        with meanwhile:
            image = bytes(host.get_global_func("tvm_callback_cuda_compile")(SHARED))
        module, function, text = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_char_p()
        assert driver.cuModuleLoadData(ctypes.byref(module), image) == 0
        assert driver.cuModuleGetFunction(ctypes.byref(function), module, b"f") == 0
        assert driver.cuFuncSetAttribute(function, 8, shared) == 0
        launch = struct.pack("@7IPPI", 1, 1, 1, 32, 1, 1, shared, 0, 0, 0)
        driver.cuGetErrorString(driver.cuLaunchKernelEx(launch, function, None, None), ctypes.byref(text))
        said.append((text.value or b"").decode())
    return said


@pytest.mark.parametrize(("arch", "most"), [("sm_89", 99 << 10), ("sm_80", 163 << 10)])
def test_a_block_has_the_shared_memory_of_the_gpus_that_it_is_for(apart: Apart, tmp_path: Path, arch: str, most: int) -> None:
    assert apart(launched, arch, most, tmp_path) == ["no error"] * 2
    refusal = f"kernel f: needs {most + 1} bytes of shared memory; a block has at most {most}"
    assert apart(launched, arch, most + 1, tmp_path) == [refusal] * 2


def written_while_emulated(folder: Path) -> str:
    emulated()
    with pytest.raises(UsageError) as raised:
        compile_network(typed_graph("graph @g(%x: f32[2]) { %y = tanh(%x) return %y }"), folder / "net", "cuda", check=False)
    return f"{raised.value}; {(folder / 'net').exists()}"


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


def test_a_process_has_the_device_once_it_asks_for_it(apart: Apart) -> None:
    with get_context("spawn").Pool(1) as pool:
        assert pool.apply(who_is_here) == (False, True, False)


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
    (line,) = json.loads(done.out)
    assert line["engine"] == "cuda emulated"
    assert line["agrees"]


def test_run_runs_it_emulated_when_asked(artifact: Path, tmp_path: Path) -> None:
    done = convc("run", artifact, "-b", "cuda", "--emulate", "-o", tmp_path / "y.npz")
    assert done.code == 0, done.err
    assert "cuda: emulation is asked for" in done.err
    assert convc("run", artifact, "-b", "reference", "-o", tmp_path / "exact.npz").code == 0
    with np.load(tmp_path / "y.npz") as got, np.load(tmp_path / "exact.npz") as exact:
        np.testing.assert_allclose(got["y"], exact["y"], rtol=1e-4)


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="nvcc is not on PATH")
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
