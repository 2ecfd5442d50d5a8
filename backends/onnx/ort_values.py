"""Arrays as onnxruntime's values and back, bfloat16 too, which its own functions for NumPy do not know: it is handed over as memory."""

from __future__ import annotations

import ctypes
import importlib
from typing import Any

import numpy as np

from ...ir.types import DTYPES, Array, is_floating

__all__ = ["array_of", "is_bfloat16", "value_of"]

BFLOAT16 = 16  # TensorProto.BFLOAT16
NAMED = "tensor(bfloat16)"  # as onnxruntime calls it


def is_bfloat16(array: Array) -> bool:
    return array.dtype.kind == "V" and is_floating(array)


def value_of(array: Array) -> Any:
    """An OrtValue of the array's elements."""
    made: Any = importlib.import_module("onnxruntime").OrtValue
    if not is_bfloat16(array):
        return made.ortvalue_from_numpy(array)
    return made.ortvalue_from_numpy_with_onnx_type(np.asarray(array, order="C").view(np.uint16), BFLOAT16)


def array_of(value: Any) -> Array:
    """The array of a tensor on the CPU."""
    if value.data_type() != NAMED:
        return value.numpy()
    shape: list[int] = value.shape()
    found: Array = np.empty(shape, DTYPES["bf16"])
    if found.size:
        ctypes.memmove(found.ctypes.data, value.data_ptr(), found.nbytes)
    return found
