"""Arrays as onnxruntime's values and back, of types too that its own functions for NumPy do not know: these are handed over as memory."""

from __future__ import annotations

import ctypes
import importlib
import math
from typing import Any

import numpy as np

from ...ir.types import BITS, DTYPES, Array, TensorType
from .file.packed import bits_of, packed, unpacked

__all__ = ["FOREIGN", "array_of", "value_of"]

FOREIGN = {"bf16": 16, "u4": 21, "i4": 22, "u2": 25, "i2": 26}  # by the number in TensorProto.DataType


def value_of(array: Array) -> Any:
    """An OrtValue of the array's elements."""
    made: Any = importlib.import_module("onnxruntime").OrtValue
    dtype = TensorType.of(array).dtype
    if dtype not in FOREIGN:
        return made.ortvalue_from_numpy(array)
    array = np.asarray(array, order="C")
    return made.ortvalue_from_numpy_with_onnx_type(_with_room(array) if dtype in BITS else array.view(np.uint16), FOREIGN[dtype])


def array_of(value: Any) -> Array:
    """The array of a tensor on the CPU."""
    dtype = next((DTYPES[name] for name in FOREIGN if value.data_type() == f"tensor({DTYPES[name].name})"), None)
    if dtype is None:
        return value.numpy()
    shape: list[int] = value.shape()
    data = np.empty(-(-math.prod(shape) * bits_of(dtype) // 8), np.uint8)
    if data.size:
        ctypes.memmove(data.ctypes.data, value.data_ptr(), data.nbytes)
    return unpacked(data, dtype, shape) if bits_of(dtype) < 8 else data.view(dtype).reshape(shape)


def _with_room(array: Array) -> Array:
    """The packed bytes, in an array of as many elements: onnxruntime takes the shape from it."""
    room, data = np.zeros(array.size, np.uint8), packed(array)
    room[: data.size] = data
    return room.reshape(array.shape)
