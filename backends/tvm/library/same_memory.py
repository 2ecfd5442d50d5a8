"""Arrays of NumPy and tensors of TVM in one memory, on the host."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ....ir.types import DTYPES, Array
from ..host import runtime
from .packed import ALIGNMENT

__all__ = ["Result", "carrier", "is_shareable", "memory_for", "seen", "shared", "shown_to_tvm"]


def shown_to_tvm(array: Array) -> Any:
    """A TVM tensor in the memory of an array that nobody may write to, either."""
    return shared(np.asarray(_Writable(array.view(carrier(array.dtype)))).view(array.dtype))


@functools.cache
def carrier(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The type as which NumPy hands memory over: of bfloat16 its interfaces know nothing."""
    return np.dtype(np.uint16) if dtype == DTYPES["bf16"] else dtype


def shared(array: Array) -> Any:
    """A TVM tensor in the array's memory."""
    as_ = carrier(array.dtype)
    alignment = ALIGNMENT if array.size else 0  # nothing lies nowhere
    tensor = _from_dlpack()(array.view(as_), require_alignment=alignment, require_contiguous=True)
    return tensor if as_ == array.dtype else _retyped(tensor, array.shape, array.dtype.name)


@functools.cache
def _from_dlpack() -> Callable[..., Any]:
    """Looked up once: the runtime asks the environment, which takes as long as the rest."""
    return runtime().from_dlpack


def _retyped(tensor: Any, shape: Sequence[int], dtype: str) -> Any:
    """The same memory as elements of another type."""
    ffi = runtime()
    return ffi.get_global_func("runtime.TVMTensorCreateView")(tensor, ffi.Shape(shape), ffi.dtype(dtype), 0)


def seen(tensor: Any, dtype: np.dtype[Any]) -> Array:
    """An array in a TVM tensor's memory."""
    if dtype.kind == "V" and dtype.itemsize == 1:
        return np.from_dlpack(tensor).astype(dtype)
    as_ = carrier(dtype)
    array = np.from_dlpack(tensor if as_ == dtype else _retyped(tensor, tensor.shape, as_.name))
    return array if array.dtype == dtype else array.view(dtype)


def is_shareable(array: Array) -> bool:
    return array.flags.c_contiguous and array.ctypes.data % ALIGNMENT == 0 and array.size > 0


def memory_for(like: Array) -> Array:
    """Memory for an array of the same type, aligned as kernels want it."""
    room = np.empty(like.nbytes + ALIGNMENT, np.uint8)
    start = -room.ctypes.data % ALIGNMENT
    return room[start : start + like.nbytes].view(like.dtype).reshape(like.shape)


class Result:
    """Memory of a tensor as NumPy takes it: writable, and kept alive as long as an array looks at it."""

    def __init__(self, tensor: Any, dtype: np.dtype[Any]) -> None:
        self.tensor = tensor
        shape = tuple(int(extent) for extent in tensor.shape)
        self.__array_interface__ = {"version": 3, "data": (tensor.data_ptr(), False), "shape": shape, "typestr": dtype.str}


class _Writable:
    """A read-only array passed off as writable: DLPack before 1.0 knows no other, and TVM never writes to arguments."""

    def __init__(self, array: Array) -> None:
        self.array = array  # keeps the memory alive
        interface = dict(array.__array_interface__)
        self.__array_interface__ = {**interface, "data": (interface["data"][0], False)}
