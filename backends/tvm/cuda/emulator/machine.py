"""The emulated device in this process: one, as there is one libcuda. It is loaded when first asked for."""

from __future__ import annotations

import ctypes
import functools
from dataclasses import dataclass

from ...host import EMULATED_GPU
from .toolchain import SHARED, load, machine_sources, made

__all__ = ["AS_NUMBERED", "USUAL", "Machine", "Order", "load_libraries", "machine", "machine_object", "traffic_object"]

LIBRARIES = {"driver": "libcuda.so.1", "runtime": "libcudart.so.13"}  # the sources that stand in for NVIDIA's
RUNNER = "runner"  # a program of its own
TRAFFIC = "traffic"  # linked to kernels whose accesses are counted
OPTIMIZED = ("-O2", "-fno-tree-loop-distribute-patterns")


@dataclass(frozen=True, slots=True)
class Order:
    """Which of the orders that the device may take: threads and blocks by `seed` unless not `shuffled`; `late` copies of cp.async are done
    when they are waited for, others at once, and so are `late_products` of wgmma.
    """

    seed: int = 1
    shuffled: bool = True
    late: bool = True
    late_products: bool = True


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
        library.emu_leave_free.argtypes = [ctypes.c_size_t]
        library.emu_set_options.argtypes = [ctypes.c_uint64, ctypes.c_int, ctypes.c_int, ctypes.c_int]
        library.emu_run.argtypes = [ctypes.c_void_p] * 4 + [ctypes.c_size_t]
        self._names = library.emu_counter_names().decode().split()

    def counters(self) -> dict[str, int]:
        """What was counted since they were asked for last, by the names in counters.h."""
        values = (ctypes.c_uint64 * len(self._names))()
        self.library.emu_take_counters(values)
        return dict(zip(self._names, values, strict=True))

    def take(self, order: Order) -> None:
        """From now on."""
        self.library.emu_set_options(order.seed, order.shuffled, order.late, order.late_products)

    def leave_free(self, nbytes: int) -> None:
        """So many bytes of the device's memory may be allocated beyond what is now."""
        self.library.emu_leave_free(nbytes)

    @property
    def fault(self) -> str:
        """Why the last launch failed."""
        return str(self.library.emu_last_fault().decode())


@functools.cache
def machine() -> Machine:
    """Loaded so that kernels, and what stands in for NVIDIA's libraries, find its functions. Nobody takes it for one of these.

    Raises: as `made` and `load`.
    """
    flags = (*SHARED, *OPTIMIZED)
    return Machine(load(made(_together(RUNNER, TRAFFIC, *LIBRARIES), flags), "libconvc_machine.so", ctypes.RTLD_GLOBAL))


def machine_object() -> bytes:
    """The machine and a program that launches one kernel, to be linked with that.

    Raises: as `made`.
    """
    return made(_together(TRAFFIC, *LIBRARIES), ("-c", *OPTIMIZED))


def traffic_object() -> bytes:
    """What counts the accesses of kernels that it is linked with.

    Raises: as `made`.
    """
    return made({f"{TRAFFIC}.cpp": machine_sources()[TRAFFIC].read_text(encoding="utf-8")}, ("-c", *OPTIMIZED))


@functools.cache
def load_libraries() -> ctypes.CDLL:
    """The driver and the runtime over the machine, under the names by which TVM's asks for them; the driver.

    Raises: as `made` and `load`.
    """
    machine()
    driver, _ = (_library(name, soname) for name, soname in LIBRARIES.items())
    return driver


def _library(name: str, soname: str) -> ctypes.CDLL:
    texts = {path.name: path.read_text(encoding="utf-8") for path in (machine_sources()[name],)}
    texts["symbols.map"] = f"{soname} {{ global: cu*; emu_*; local: *; }};\n"
    flags = (*SHARED, "-O1", f"-Wl,-soname,{soname}", f'-DEMU_DEVICE_NAME="{EMULATED_GPU}"')
    return load(made(texts, flags, ("-Wl,--version-script=symbols.map",)), soname, ctypes.RTLD_GLOBAL)


def _together(*without: str) -> dict[str, str]:
    """Its sources as one, which takes half the time."""
    texts = [path.read_text(encoding="utf-8") for name, path in machine_sources().items() if name not in without]
    return {"machine.cpp": "\n".join(texts)}
