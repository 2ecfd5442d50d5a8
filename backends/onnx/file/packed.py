"""Numbers of less than 8 bits as files and onnxruntime hold them: several to a byte, the first lowest. Source: onnx.in.proto."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ....ir.types import BITS, DTYPES, Array

__all__ = ["bits_of", "packed", "unpacked"]


def bits_of(dtype: np.dtype[Any]) -> int:
    """Bits of an element in a file."""
    return BITS.get(next((name for name in BITS if DTYPES[name] == dtype), ""), 8 * dtype.itemsize)


def packed(values: Array) -> Array:
    """Bytes, the last filled up with zeros."""
    bits = bits_of(values.dtype)
    each = 8 // bits
    numbers = np.zeros(-(-values.size // each) * each, np.uint8)
    numbers[: values.size] = values.reshape(-1).astype(np.int8).view(np.uint8) & (2**bits - 1)
    return np.bitwise_or.reduce(numbers.reshape(-1, each) << _places(bits), axis=1)


def unpacked(data: Array, dtype: np.dtype[Any], dims: Sequence[int]) -> Array:
    """The numbers in bytes, of which there are as many as it takes."""
    bits, count = bits_of(dtype), math.prod(dims)
    numbers = (data[:, None] >> _places(bits)) & np.uint8(2**bits - 1)
    sign = np.uint8(2 ** (bits - 1) if dtype.name.startswith("int") else 0)
    return ((numbers.reshape(-1)[:count] ^ sign) - sign).view(np.int8).astype(dtype).reshape(dims)


def _places(bits: int) -> Array:
    return np.arange(0, 8, bits, dtype=np.uint8)
