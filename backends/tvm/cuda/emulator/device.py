"""The emulated device under TVM: its CUDA runtime and virtual machine run as they are, on a driver of ours."""

from __future__ import annotations

import ctypes
import functools
import sys
from pathlib import Path
from typing import Any

from .....ir.errors import BackendMissing, ConvcError
from ...gpus.architectures import USUAL, Architecture, architecture
from ...host import EMULATED_GPU, tvm
from .kernels import library_of
from .machine import Machine, load_libraries, machine

__all__ = ["as_module", "emulated", "gpu_is_here", "is_emulated"]

API = "device_api.cuda"  # there once TVM's CUDA runtime is
COMPILE = "tvm_callback_cuda_compile"
DEVICE_FILES = ("/dev/nvidia0", "/dev/nvidiactl", "/dev/dxg")  # the last is Windows' own, under WSL


def gpu_is_here() -> bool:
    """Whether TVM finds a GPU. Where the system has none, TVM, which would load the driver, is not asked."""
    if is_emulated() or not any(Path(file).exists() for file in DEVICE_FILES):
        return False
    return bool(tvm().cuda(0).exist)


def is_emulated() -> bool:
    """Whether this process has been given an emulated GPU."""
    return "tvm" in sys.modules and bool(tvm().cuda(0).exist) and tvm().cuda(0).device_name == EMULATED_GPU


@functools.cache
def emulated() -> Machine:
    """Give this process a GPU that is emulated; it has it from then on. What TVM compiles for CUDA meanwhile is of use to it alone.

    Raises: BackendMissing without a C++ compiler, on another processor than x86-64, or where TVM has found a real driver already; as
    `machine`.
    """
    if "tvm" in sys.modules and _has_driver(tvm()):
        raise BackendMissing("TVM has NVIDIA's driver in this process already; a GPU is emulated in a process that has not used one")
    device = machine()
    load_libraries().emu_set_compiler(_COMPILER)
    host = tvm()
    if not _has_driver(host):  # TVM was there first, and let its CUDA runtime be
        ctypes.CDLL(str(Path(host.__file__).parent / "lib" / "libtvm_runtime_cuda.so"), mode=ctypes.RTLD_GLOBAL)
    host.register_global_func(COMPILE, _for_target, override=True)
    return device


def _has_driver(host: Any) -> bool:
    return host.get_global_func(API, allow_missing=True) is not None


def as_module(code: str, arch: Architecture = USUAL) -> bytes:
    """What driver.cpp loads for machine code: source, which it has compiled, and how much shared memory a block may have."""
    return b"convc emulates %d\n%s\0" % (arch.shared, code.encode())


def _for_target(code: str) -> bytes:
    """What TVM keeps of a module for the GPUs that it compiles for, or that the library is for."""
    target = tvm().target.Target.current(allow_none=True)
    return as_module(str(code), USUAL if target is None else architecture(str(target.arch)))


@ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_char_p)
def _COMPILER(source: bytes) -> int | None:
    """The table of the kernels of a module that is loaded; 0 where it cannot be compiled, which the driver makes an error of."""
    try:
        library = library_of(source.decode())
    except ConvcError as error:
        machine().library.emu_tell(str(error).encode())
        return None
    return ctypes.addressof(ctypes.c_byte.in_dll(library, "emu_kernels"))
