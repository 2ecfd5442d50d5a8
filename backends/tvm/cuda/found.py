"""What of CUDA this machine has, in words."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

from ....ir.errors import BackendMissing
from ..host import cuda_compiler
from .build import CUDA_ARCH
from .emulator.device import gpu_is_here
from .emulator.toolchain import compiler_word

__all__ = ["word"]


def word() -> str:
    """GPU, driver, runtime, compiler, emulator."""
    gpu = "a GPU is here" if gpu_is_here() else f"no GPU: -t cuda compiles for {CUDA_ARCH}, and -b cuda runs emulated"
    driver = f"{_library('libcuda.so.1', 'driver')}, {_library('libcudart.so.13', 'libcudart.so.13')}"
    compiler = cuda_compiler()
    checks = f"{compiler} checks the source" if compiler else "neither nvcc nor NVRTC: the source is not checked"
    return f"{gpu}; {driver}; {checks}; emulator {_emulator(compiler_word)}"


def _library(name: str, called: str) -> str:
    """Whether the system finds a library. It is not left in the process, where TVM would meet it."""
    try:
        library = ctypes.CDLL(name)
    except OSError:
        return f"no {called}"
    ctypes.CDLL(None).dlclose(ctypes.c_void_p(library._handle))
    return called


def _emulator(look: Callable[[], str]) -> str:
    try:
        return f"compiled by {look()}"
    except BackendMissing as error:
        return f"missing: {error}"
