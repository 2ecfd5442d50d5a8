"""A library for NVIDIA's GPUs on this machine: what it lacks is said before a kernel runs, and machine code is given to TVM."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Generator
from pathlib import Path
from typing import Any

from ....ir.errors import ArtifactError, BackendMissing
from ....ir.holding import shown
from ..gpus.architectures import architecture, best_for
from ..gpus.driver import Gpu, gpu, load_runtime
from ..host import EMULATED_GPU, cuda_compiler
from .built import Library, MachineCode

__all__ = ["check_code", "gpu_device", "machine_code"]

COMPILE = "tvm_callback_cuda_compile"  # TVM calls it with the source in a library that is loaded; it returns machine code
_ASKED = threading.Lock()  # there is one for the process


def gpu_device(host: Any, library: Library) -> Any:
    """TVM's name of the GPU that the library will run on, be it an emulated one, which takes sources only.

    Raises: BackendMissing where GPU, driver, CUDA's runtime or a compiler are needed and not here; ArtifactError for machine code of
    another GPU.
    """
    device = host.cuda(0)
    if _is_emulated(device):
        return device
    found = gpu()
    load_runtime()
    if not device.exist:
        raise BackendMissing(f"TVM does not find the {found.name}; its CUDA runtime was not loaded: start convc anew")
    check_code(library.code, found, shown(library.path))
    return device


def check_code(code: MachineCode | None, found: Gpu, path: Path) -> None:
    """Nothing is needed for a network without kernels.

    Raises: ArtifactError for code of another GPU; BackendMissing where there is none, and nothing that compiles it.
    """
    if code is None:
        return
    if not architecture(code.architecture).runs_on(found.capability):
        best = best_for(found.capability)
        way = f"compile the network again with -t cuda:{best.name}" if best else "convc compiles for none that it runs"
        raise ArtifactError(f"{path} was compiled for {code.architecture}, which the {found.name} here does not run; {way}")
    if code.path is None and cuda_compiler() is None:
        why = "holds no machine code, for no CUDA compiler was there when it was compiled, and none is here"
        raise BackendMissing(f"{path} {why}; install nvcc, or: pip install cuda-bindings")


@contextlib.contextmanager
def machine_code(host: Any, library: Library) -> Generator[None]:
    """While the library is loaded: TVM, which finds sources in it, is given what these were compiled to, and nothing is compiled. An
    emulated GPU takes sources, and is told for which GPUs they are.

    Raises: ArtifactError where the file cannot be read.
    """
    if library.code is not None and _is_emulated(host.cuda(0)):
        with host.target.Target({"kind": "cuda", "arch": library.code.architecture}):
            yield
        return
    if library.code is None or library.code.path is None:
        yield
        return
    code = _read(library.code.path)

    def compiled(source: str) -> bytes:
        return code

    with _ASKED:
        before = host.get_global_func(COMPILE)
        host.register_global_func(COMPILE, compiled, override=True)
        try:
            yield
        finally:
            host.register_global_func(COMPILE, before, override=True)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ArtifactError(f"{shown(path)} cannot be read: {error.strerror}") from error


def _is_emulated(device: Any) -> bool:
    return bool(device.exist) and device.device_name == EMULATED_GPU
