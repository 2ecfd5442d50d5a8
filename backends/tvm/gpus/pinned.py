"""Memory of the host that the device reads and writes by itself, while the processor does something else."""

from __future__ import annotations

import ctypes
import math

import numpy as np

from ....ir.errors import BackendMissing
from ....ir.types import Array
from .streams import library

__all__ = ["Pinned"]


class Pinned:
    """An array that is pinned as long as this lives, full of zeros."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> None:
        """Raises: BackendMissing where the system gives no such memory."""
        self._place = ctypes.c_void_p()
        nbytes = math.prod(shape) * dtype.itemsize
        if library().cudaMallocHost(ctypes.byref(self._place), ctypes.c_size_t(max(1, nbytes))) or self._place.value is None:
            raise BackendMissing(f"the system pins no {nbytes:,} bytes for the GPU; raise the limit (ulimit -l), or run smaller batches")
        whole = (ctypes.c_char * nbytes).from_address(self._place.value)
        self.array: Array = np.frombuffer(memoryview(whole), dtype).reshape(shape)
        self.array[...] = np.zeros((), dtype)

    def __del__(self) -> None:
        if self._place.value is not None:
            library().cudaFreeHost(self._place)

    @property
    def address(self) -> int:
        return self._place.value or 0
