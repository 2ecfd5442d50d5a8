"""Tensor types: an element type and a shape of dimensions."""

from __future__ import annotations

import functools
import importlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from .dims import Dim, dim_names, evaluate, parse_dim
from .errors import InvalidModel

__all__ = [
    "BITS",
    "DTYPES",
    "HALVES",
    "OPAQUE",
    "Array",
    "TensorType",
    "is_floating",
    "limits_of",
    "parse_shape",
    "parse_type",
    "plain",
    "range_of",
    "widened",
]

Array = npt.NDArray[Any]

BFLOAT16 = "bfloat16"  # as every runtime calls it, NumPy too once it has heard of it
_NAMES = {
    "f16": "float16",
    "bf16": BFLOAT16,
    "f32": "float32",
    "f64": "float64",
    "i2": "int2",
    "u2": "uint2",
    "i4": "int4",
    "u4": "uint4",
    "i8": "int8",
    "u8": "uint8",
    "i16": "int16",
    "u16": "uint16",
    "i32": "int32",
    "i64": "int64",
    "u32": "uint32",
    "u64": "uint64",
    "bool": "bool",
}
BITS = {"i2": 2, "u2": 2, "i4": 4, "u4": 4}  # of elements that are only stored: nothing is computed before a cast or a scale widens them


class _Elements(Mapping[str, np.dtype[Any]]):
    """NumPy's type of each element type. Some another package has, which is imported when somebody asks for one."""

    def __getitem__(self, name: str) -> np.dtype[Any]:
        return _dtype(_NAMES[name])

    def __contains__(self, name: object) -> bool:
        return name in _NAMES

    def __iter__(self) -> Iterator[str]:
        return iter(_NAMES)

    def __len__(self) -> int:
        return len(_NAMES)


@functools.cache
def _dtype(name: str) -> np.dtype[Any]:
    is_foreign = name == BFLOAT16 or name in map(_NAMES.get, BITS)
    return np.dtype(getattr(importlib.import_module("ml_dtypes"), name) if is_foreign else name)


DTYPES: Mapping[str, np.dtype[Any]] = _Elements()
_ABOUT = r'"[A-Za-z0-9_(),?\[\]]+"'
_NAME_OF = {numpy: name for name, numpy in _NAMES.items()}
HALVES = frozenset({"f16", "bf16"})  # floats of 16 bits
FLOATS = HALVES | {"f32", "f64"}
MAX_RANK = 8
OPAQUE = "opaque"  # the element type of a value that only another runtime can look into: strings, a sequence, an unknown rank


@dataclass(frozen=True, slots=True)
class TensorType:
    """`dtype` (a key of DTYPES) and `shape`; prints as `f32[N,3,224,224]`.

    Or OPAQUE, with the shape of a scalar: one thing of which `about` says what it is, as ONNX names types, where that is known.
    """

    dtype: str
    shape: tuple[Dim, ...]
    about: str = ""

    def __post_init__(self) -> None:
        if self.dtype == OPAQUE and self.shape:
            raise InvalidModel(f"an {OPAQUE} value has no shape of its own; it is written {OPAQUE}[]")
        if self.dtype == OPAQUE:
            return
        if self.dtype not in DTYPES:
            raise InvalidModel(f"unknown element type '{self.dtype}'; known are {', '.join(DTYPES)}")
        if len(self.shape) > MAX_RANK:
            raise InvalidModel(f"a tensor of rank {len(self.shape)}; at most {MAX_RANK} axes are supported")
        for dim in self.shape:
            if isinstance(dim, int) and dim < 0:
                raise InvalidModel(f"a tensor with the negative dimension {dim}")

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def numel(self) -> Dim:
        """Elements; symbolic when a dimension is."""
        total: Dim = 1
        for dim in self.shape:
            total = total * dim
        return total

    @property
    def nbytes(self) -> Dim:
        """Where several elements share a byte, of all together."""
        return (self.numel * BITS[self.dtype] + 7) // 8 if self.is_stored else self.numel * self.itemsize

    @property
    def itemsize(self) -> int:
        """Bytes of an element; 0 for what lies in another runtime's memory."""
        return 0 if self.dtype == OPAQUE else DTYPES[self.dtype].itemsize

    @property
    def is_opaque(self) -> bool:
        return self.dtype == OPAQUE

    @property
    def is_float(self) -> bool:
        return self.dtype in FLOATS

    @property
    def is_stored(self) -> bool:
        """Whether elements are of less than 8 bits, with which nothing is computed."""
        return self.dtype in BITS

    @property
    def in_bytes(self) -> TensorType:
        """The type with a byte for each element, where several share one."""
        return TensorType("i8" if self.dtype[0] == "i" else "u8", self.shape) if self.is_stored else self

    @property
    def symbols(self) -> tuple[str, ...]:
        """Named sizes in the shape, each once, in order."""
        for dim in self.shape:
            if not isinstance(dim, int):
                break
        else:  # mostly: this is asked for of every type, often
            return ()
        return tuple(dict.fromkeys(name for dim in self.shape for name in dim_names(dim)))

    def with_sizes(self, sizes: Mapping[str, Dim]) -> TensorType:
        """The type with the named sizes in `sizes` replaced."""
        return TensorType(self.dtype, tuple(evaluate(dim, sizes) for dim in self.shape), self.about)

    def concrete(self) -> tuple[int, ...]:
        """The shape as integers.

        Raises: InvalidModel if a named size is left.
        """
        if self.symbols:
            raise InvalidModel(f"the shape of {self} still has the named size '{self.symbols[0]}'; give it a value")
        return cast("tuple[int, ...]", self.shape)

    def __str__(self) -> str:
        return f"{self.dtype}[{','.join(str(dim) for dim in self.shape)}]" if not self.about else f'{self.dtype}["{self.about}"]'

    @staticmethod
    def of(array: Array) -> TensorType:
        """The type of a NumPy array.

        Raises: InvalidModel for an element type convc does not have.
        """
        if not array.dtype.isnative or array.dtype.name not in _NAME_OF:
            raise InvalidModel(f"arrays of {array.dtype} are not supported; convert to one of {', '.join(DTYPES)}")
        return TensorType(_NAME_OF[array.dtype.name], array.shape)


def limits_of(dtype: str) -> Any:
    """NumPy's finfo of a float type, which has its `tiny`, `max` and `nmant`."""
    return (importlib.import_module("ml_dtypes") if dtype == "bf16" else np).finfo(DTYPES[dtype])


def range_of(dtype: np.dtype[Any]) -> tuple[int, int]:
    """The least and the greatest whole number of a NumPy type."""
    info = (importlib.import_module("ml_dtypes") if dtype.kind == "V" else np).iinfo(dtype)
    return int(info.min), int(info.max)


def is_floating(array: Array) -> bool:
    """Whether an array holds floats. To NumPy, bfloat16 is no kind of number."""
    return array.dtype.kind == "f" or (array.dtype.kind == "V" and array.dtype.name == BFLOAT16)


def widened(array: Array) -> Array:
    """bfloat16 as float32, other arrays as they are: NumPy's own functions do not take all of its kinds."""
    return array.astype(np.float32) if array.dtype.kind == "V" and is_floating(array) else array


def plain(array: Array) -> Array:
    """Of a type that NumPy's files can name: bfloat16 as float32, less than 8 bits as 8."""
    return widened(array) if array.dtype.kind != "V" or is_floating(array) else array.astype(DTYPES[TensorType.of(array).in_bytes.dtype])


def parse_shape(text: str) -> tuple[Dim, ...]:
    """Read `N,3,224,224`; an empty text is the shape of a scalar."""
    return tuple(parse_dim(part) for part in text.split(",")) if text.strip() else ()


def parse_type(text: str) -> TensorType:
    """Read `f32[N,3,224,224]`, or `N,3,224,224` as float32.

    Raises: InvalidModel naming the text.
    """
    text = text.strip()
    if "[" not in text:
        return TensorType("f32", parse_shape(text))
    if not text.endswith("]"):
        raise InvalidModel(f"'{text}' is not a tensor type; write one like f32[N,3,224,224]")
    dtype, _, shape = text[:-1].partition("[")
    if dtype == OPAQUE and re.fullmatch(_ABOUT, shape):
        return TensorType(OPAQUE, (), shape[1:-1])
    return TensorType(dtype, parse_shape(shape))
