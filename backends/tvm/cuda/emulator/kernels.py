"""Kernels of CUDA source, launched on arrays without TVM."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .....ir.errors import KernelFault, UsageError
from .....ir.types import Array
from .machine import USUAL, Order, machine
from .toolchain import SHARED, load, made
from .translate import translate

__all__ = ["Given", "Kernels", "Launch", "library_of"]

Given = Array | np.generic  # in memory of the device, or a number
QUICK = ("-O1",)  # of a kernel that runs once, more would take longer than it saves


@dataclass(frozen=True, slots=True)
class Launch:
    """Unit of `shared`: bytes of dynamic shared memory."""

    kernel: str
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    shared: int = 0


class _KernelRecord(ctypes.Structure):
    """emu_kernel"""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("run", ctypes.c_void_p),
        ("most_threads", ctypes.c_int),
        ("shared_bytes", ctypes.c_size_t),
        ("count", ctypes.c_int),
        ("sizes", ctypes.POINTER(ctypes.c_int)),
    )


def library_of(source: str) -> ctypes.CDLL:
    """CUDA source as a library with the table `emu_kernels`.

    Raises: as `made` and `load`; BackendMissing for source that the compiler refuses.
    """
    machine()  # whose functions it calls
    return load(made({"kernels.cpp": translate(source)}, (*SHARED, *QUICK)), "kernels.so")


class Kernels:
    """Those of one source, or of a library with the table `emu_kernels`."""

    def __init__(self, source: str | ctypes.CDLL) -> None:
        self._library = library_of(source) if isinstance(source, str) else source
        self._kernels = dict[str, _KernelRecord]()
        table = ctypes.cast(ctypes.addressof(ctypes.c_byte.in_dll(self._library, "emu_kernels")), ctypes.POINTER(_KernelRecord))
        number = 0
        while table[number].name:
            self._kernels[table[number].name.decode()] = table[number]
            number += 1

    def run(self, launch: Launch, arguments: Sequence[Given], order: Order = USUAL) -> list[Array]:
        """The arrays among the arguments as they are afterwards; those given stay as they were.

        Raises: KernelFault for a kernel that breaks a rule of the device; UsageError for one that is not there, or other arguments.
        """
        kernel = self._kernel(launch.kernel, arguments)
        device = machine()
        device.take(order)
        places = [self._placed(argument) for argument in arguments]
        try:
            pointers = (ctypes.c_void_p * len(places))(*(ctypes.cast(ctypes.byref(place), ctypes.c_void_p) for place in places))
            grid, block = ((ctypes.c_uint * 3)(*sizes) for sizes in (launch.grid, launch.block))
            if device.library.emu_run(ctypes.byref(kernel), pointers, grid, block, launch.shared):
                raise KernelFault(device.fault)
            pairs = zip(places, arguments, strict=True)
            return [_fetched(place, argument) for place, argument in pairs if isinstance(argument, np.ndarray)]
        finally:
            for place, argument in zip(places, arguments, strict=True):
                if isinstance(argument, np.ndarray):
                    device.library.emu_release(place)

    def _kernel(self, name: str, arguments: Sequence[Given]) -> _KernelRecord:
        if name not in self._kernels:
            raise UsageError(f"the source has no kernel '{name}'; it has {', '.join(self._kernels) or 'none'}")
        kernel = self._kernels[name]
        given = [8 if isinstance(argument, np.ndarray) else argument.nbytes for argument in arguments]
        wanted = [kernel.sizes[i] for i in range(kernel.count)]
        if given != wanted:
            raise UsageError(f"kernel {name} takes arguments of {wanted} bytes, and was given {given}")
        return kernel

    @staticmethod
    def _placed(argument: Given) -> Any:
        if not isinstance(argument, np.ndarray):
            return (ctypes.c_char * argument.nbytes).from_buffer_copy(argument.tobytes())
        plain = np.ascontiguousarray(argument)
        place = ctypes.c_void_p(machine().library.emu_allocate(max(1, plain.nbytes)))
        assert place.value is not None
        ctypes.memmove(place, plain.ctypes.data, plain.nbytes)
        return place


def _fetched(place: ctypes.c_void_p, like: Array) -> Array:
    assert place.value is not None
    return np.frombuffer(ctypes.string_at(place, like.nbytes), like.dtype).reshape(like.shape).copy()
