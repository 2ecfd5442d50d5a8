"""The emulated device in this process: one, as there is one libcuda. It is loaded when first asked for."""

from __future__ import annotations

import ctypes
import functools
from dataclasses import dataclass

from ...host import EMULATED_GPU
from .toolchain import SHARED, load, machine_sources, made

__all__ = ["AS_NUMBERED", "USUAL", "Machine", "Order", "machine"]

RUNTIME = "runtime"  # the source of libcudart; the others are the device and its driver
RUNNER = "runner"  # a program of its own
OPTIMIZED = ("-O2", "-fno-tree-loop-distribute-patterns")
VERSIONS = "libcudart.so.13 { global: cuda*; local: *; };\n"


@dataclass(frozen=True, slots=True)
class Order:
    """Which of the orders that the device may take: threads and blocks by `seed` unless not `shuffled`; `late` copies of cp.async are done
    when they are waited for, others at once.
    """

    seed: int = 1
    shuffled: bool = True
    late: bool = True


USUAL = Order()
AS_NUMBERED = Order(shuffled=False)


class Machine:
    """What runs kernels, and counts."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self.library = library
        library.emu_counter_names.restype = ctypes.c_char_p
        library.emu_last_fault.restype = ctypes.c_char_p
        library.emu_allocate.restype = ctypes.c_void_p
        library.emu_allocate.argtypes = [ctypes.c_size_t]
        library.emu_release.argtypes = [ctypes.c_void_p]
        library.emu_set_options.argtypes = [ctypes.c_uint64, ctypes.c_int, ctypes.c_int]
        library.emu_run.argtypes = [ctypes.c_void_p] * 4 + [ctypes.c_size_t]
        self._names = library.emu_counter_names().decode().split()

    def counters(self) -> dict[str, int]:
        """What was counted since they were asked for last, by the names in counters.h."""
        values = (ctypes.c_uint64 * len(self._names))()
        self.library.emu_take_counters(values)
        return dict(zip(self._names, values, strict=True))

    def take(self, order: Order) -> None:
        """From now on."""
        self.library.emu_set_options(order.seed, order.shuffled, order.late)

    @property
    def fault(self) -> str:
        """Why the last launch failed."""
        return str(self.library.emu_last_fault().decode())


@functools.cache
def machine() -> Machine:
    """Loaded so that kernels, and TVM's runtime, find its functions.

    Raises: as `made` and `load`.
    """
    texts = [path.read_text(encoding="utf-8") for name, path in machine_sources().items() if name not in (RUNTIME, RUNNER)]
    flags = (*SHARED, *OPTIMIZED, "-Wl,-soname,libcuda.so.1", f'-DEMU_DEVICE_NAME="{EMULATED_GPU}"')
    return Machine(load(made({"device.cpp": "\n".join(texts)}, flags), "libcuda.so.1", ctypes.RTLD_GLOBAL))  # at once, in half the time


def load_runtime() -> ctypes.CDLL:
    """libcudart, over the device.

    Raises: as `made` and `load`.
    """
    machine()
    texts = {"runtime.cpp": machine_sources()[RUNTIME].read_text(encoding="utf-8"), "versions.map": VERSIONS}
    flags = (*SHARED, "-O2", "-Wl,-soname,libcudart.so.13", f'-DEMU_DEVICE_NAME="{EMULATED_GPU}"')
    return load(made(texts, flags, ("-Wl,--version-script=versions.map",)), "libcudart.so.13", ctypes.RTLD_GLOBAL)
