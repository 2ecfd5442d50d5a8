"""What of CUDA this machine has, in words."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

from ....ir.errors import BackendMissing
from ..gpus.architectures import ARCHITECTURES, USUAL, Architecture, best_for
from ..gpus.driver import DRIVER, RUNTIME, gpu, runtime_places
from ..host import cuda_compiler
from .emulator.device import gpu_is_here
from .emulator.toolchain import compiler_word

__all__ = ["architecture_here", "word"]


def architecture_here() -> Architecture:
    """Of the GPU that is here, the usual one without.

    Raises: as `gpu`; BackendMissing for a GPU that convc does not compile for.
    """
    if not gpu_is_here():
        return USUAL
    found = gpu()
    arch = best_for(found.capability)
    if arch is None:
        version = ".".join(map(str, found.capability))
        raise BackendMissing(f"convc compiles for {', '.join(ARCHITECTURES)}, and the {found.name} here has compute capability {version}")
    return arch


def word() -> str:
    """GPU, driver, runtime, compiler, emulator."""
    driver = f"{_library('driver', DRIVER)}, {_library(RUNTIME, *runtime_places())}"
    compiler = cuda_compiler()
    checks = f"{compiler} checks the source" if compiler else "neither nvcc nor NVRTC: the source is not checked"
    return f"{_gpu()}; {driver}; {checks}; emulator {_emulator(compiler_word)}"


def _gpu() -> str:
    known = ", ".join(ARCHITECTURES)
    if not gpu_is_here():
        return f"no GPU: -t cuda compiles for {USUAL.name} (-t cuda:ARCH for one of {known}), and run and verify -b cuda emulate one"
    return f"{gpu().name} is here: -t cuda compiles for {architecture_here().name} (-t cuda:ARCH for one of {known})"


def _library(called: str, *places: str) -> str:
    """Whether a library is found. It is not left in the process, where TVM would meet it."""
    for place in places:
        try:
            library = ctypes.CDLL(place)
        except OSError:
            continue
        ctypes.CDLL(None).dlclose(ctypes.c_void_p(library._handle))
        return called
    return f"no {called}"


def _emulator(look: Callable[[], str]) -> str:
    try:
        return f"compiled by {look()}"
    except BackendMissing as error:
        return f"missing: {error}"
