"""The values of ONNX tensors: their declared size is compared with their data before anything is allocated."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ....ir.errors import InvalidModel, UnsupportedOp
from ....ir.types import DTYPES, HALVES, Array
from .limits import Limits
from .packed import bits_of, unpacked

if TYPE_CHECKING:
    from onnx import TensorProto

__all__ = ["ELEMENTS", "EXTERNAL", "Element", "check_extents", "check_tensor", "computed", "from_bytes", "inline_values"]

EXTERNAL = 1  # TensorProto.EXTERNAL


@dataclass(frozen=True)
class Element:
    """An element type: its size in `bits`, the typed `field` that may hold it, `packed` elements to an entry there.

    `ours` is its name in the IR, "" for types that convc does not compute with; their sizes are checked all the same.
    """

    name: str
    bits: int
    field: str
    ours: str = ""
    packed: float = 1

    @property
    def dtype(self) -> np.dtype[Any] | None:
        """As NumPy has it, or None."""
        return DTYPES[self.ours] if self.ours else None


# by the number in TensorProto.DataType; source: onnx.in.proto
ELEMENTS: dict[int, Element] = {
    1: Element("float32", 32, "float_data", "f32"),
    2: Element("uint8", 8, "int32_data", "u8"),
    3: Element("int8", 8, "int32_data", "i8"),
    4: Element("uint16", 16, "int32_data", "u16"),
    5: Element("int16", 16, "int32_data", "i16"),
    6: Element("int32", 32, "int32_data", "i32"),
    7: Element("int64", 64, "int64_data", "i64"),
    8: Element("string", 0, "string_data"),
    9: Element("bool", 8, "int32_data", "bool"),
    10: Element("float16", 16, "int32_data", "f16"),
    11: Element("float64", 64, "double_data", "f64"),
    12: Element("uint32", 32, "uint64_data", "u32"),
    13: Element("uint64", 64, "uint64_data", "u64"),
    14: Element("complex64", 64, "float_data", packed=0.5),
    15: Element("complex128", 128, "double_data", packed=0.5),
    16: Element("bfloat16", 16, "int32_data", "bf16"),
    17: Element("float8e4m3fn", 8, "int32_data"),
    18: Element("float8e4m3fnuz", 8, "int32_data"),
    19: Element("float8e5m2", 8, "int32_data"),
    20: Element("float8e5m2fnuz", 8, "int32_data"),
    21: Element("uint4", 4, "int32_data", "u4", packed=2),
    22: Element("int4", 4, "int32_data", "i4", packed=2),
    23: Element("float4e2m1", 4, "int32_data", packed=2),
    24: Element("float8e8m0", 8, "int32_data"),
    25: Element("uint2", 2, "int32_data", "u2", packed=4),
    26: Element("int2", 2, "int32_data", "i2", packed=4),
}
FIELDS = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data")


def _element_of(tensor: TensorProto, where: str) -> Element:
    """Raises: InvalidModel for a number that names no element type."""
    if (element := ELEMENTS.get(tensor.data_type)) is None:
        raise InvalidModel(f"{where} has the unknown element type {tensor.data_type}")
    return element


def _nbytes(element: Element, count: int) -> int:
    """Bytes of `count` packed elements."""
    return -(-count * element.bits // 8)


def check_extents(dims: list[int], where: str, limits: Limits) -> int:
    """The number of elements of a declared shape."""
    if len(dims) > limits.rank:
        raise InvalidModel(f"{where} has rank {len(dims)}; at most {limits.rank} axes are read")
    if any(dim < 0 for dim in dims):
        raise InvalidModel(f"{where} has the shape {dims} with a negative extent")
    count = math.prod(dim for dim in dims if dim)  # an extent of zero hides no other
    if count > limits.elements:
        raise InvalidModel(f"{where} has the shape {dims}, {count:,} elements; at most {limits.elements:,} are read")
    return 0 if 0 in dims else count


def check_tensor(tensor: TensorProto, where: str, limits: Limits, raw: bytes | None = None) -> int:
    """The bytes that the tensor declares, which its data in the file have; data outside it are not looked at.

    `raw` are its raw data, if at hand.

    Raises: InvalidModel where they have not, or data are given in two places.
    """
    dims = list(tensor.dims[: limits.rank + 1])
    count = check_extents(dims, where, limits)
    element = _element_of(tensor, where)
    declared = _nbytes(element, count)
    if tensor.HasField("segment"):
        raise InvalidModel(f"{where} is a segment of another tensor; only whole tensors are read")
    fields = [name for name in FIELDS if len(getattr(tensor, name))]
    has_raw = tensor.HasField("raw_data")
    if tensor.data_location == EXTERNAL:
        if fields or (has_raw and tensor.raw_data):
            raise InvalidModel(f"{where} has data in the file and names external data too")
        return declared
    if tensor.data_location or tensor.external_data:
        raise InvalidModel(f"{where} names external data but is not marked as external")
    if has_raw and (fields or element.field == "string_data"):
        raise InvalidModel(f"{where} has raw data and {fields[0] if fields else 'the element type string'} too")
    if has_raw:
        if (found := len(tensor.raw_data if raw is None else raw)) != declared:
            raise InvalidModel(f"{where} has {found:,} bytes; {element.name}{dims} takes {declared:,}")
        return declared
    if [name for name in fields if name != element.field]:
        raise InvalidModel(f"{where} of {element.name} has its values in {', '.join(fields)}, not in {element.field}")
    entries, found = math.ceil(count / element.packed), len(getattr(tensor, element.field))
    if found != entries:
        raise InvalidModel(f"{where} has {found:,} entries in {element.field}; {element.name}{dims} takes {entries:,}")
    return declared


def inline_values(tensor: TensorProto, where: str, raw: bytes | None) -> Array:
    """The values that a checked tensor holds in the file itself, read-only, without a copy of `raw`, its raw data if it has any.

    Raises: UnsupportedOp for an element type that NumPy does not have; InvalidModel for values out of its range.
    """
    dtype = computed(tensor, where)
    dims = tuple(tensor.dims)
    if raw is not None:
        return from_bytes(raw, dtype, dims, where)
    element = _element_of(tensor, where)
    entries: Any = getattr(tensor, element.field)
    wide = {"float_data": "f4", "int32_data": "i4", "int64_data": "i8", "double_data": "f8", "uint64_data": "u8"}[element.field]
    values = np.fromiter(entries, np.dtype(wide), len(entries))
    carrier = np.dtype(np.uint16) if element.ours in HALVES else np.dtype(np.uint8) if element.packed > 1 else dtype
    if carrier != values.dtype:
        values = _narrowed(values, carrier, where)
    values = unpacked(values, dtype, dims) if element.packed > 1 else values.view(dtype).reshape(dims)
    values.flags.writeable = False
    return values


def from_bytes(data: bytes | bytearray | memoryview, dtype: np.dtype[Any], dims: tuple[int, ...], where: str) -> Array:
    """Little-endian bytes of exactly the right number as a read-only array."""
    if dtype == np.bool_ and (np.frombuffer(data, np.uint8) > 1).any():
        raise InvalidModel(f"{where} of bool holds bytes other than 0 and 1")
    if bits_of(dtype) < 8:
        values = unpacked(np.frombuffer(data, np.uint8), dtype, dims)
    else:
        values = np.frombuffer(data, dtype.newbyteorder("<")).astype(dtype, copy=False).reshape(dims)
    values.flags.writeable = False
    return values


def computed(tensor: TensorProto, where: str) -> np.dtype[Any]:
    """The NumPy type of the elements."""
    element = _element_of(tensor, where)
    if element.dtype is None:
        raise UnsupportedOp(f"{where} has the element type {element.name}, which convc does not compute with")
    return element.dtype


def _narrowed(values: Array, dtype: np.dtype[Any], where: str) -> Array:
    low, high = (0, 1) if dtype == np.bool_ else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    if values.size and (int(values.min()) < low or int(values.max()) > high):
        raise InvalidModel(f"{where} of {dtype.name} holds values from {values.min()} to {values.max()}")
    return values.astype(dtype)
