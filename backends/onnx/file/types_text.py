"""Types of ONNX as text, as runtimes name them: `tensor(int16)[2,N]`, `seq(tensor(string))`, `map(int64,tensor(float))`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ....ir.errors import InvalidModel
from ....ir.types import DTYPES

if TYPE_CHECKING:
    from onnx import TypeProto

__all__ = ["read_type", "tensor_text", "type_text", "without_shapes"]

WRAPPERS = {"seq": "sequence_type", "optional": "optional_type"}
MOST = 64  # types within types


def type_text(type_: TypeProto) -> str:
    """The text, or nothing for a type that says nothing. Dimensions whose names are no words become `?`."""
    prefix, suffix = "", ""
    for _ in range(MOST):
        kind = type_.WhichOneof("value")
        if kind in ("tensor_type", "sparse_tensor_type"):
            tensor = getattr(type_, kind)
            word = _element(tensor.elem_type)
            dims = f"[{','.join(map(_dim, tensor.shape.dim))}]" if tensor.HasField("shape") else ""
            return f"{prefix}{kind.removesuffix('_type')}({word}){dims}{suffix}" if word else ""
        if kind == "map_type":
            prefix, suffix, type_ = f"{prefix}map({_element(type_.map_type.key_type)},", f"){suffix}", type_.map_type.value_type
        elif kind in ("sequence_type", "optional_type"):
            word = next(word for word, field in WRAPPERS.items() if field == kind)
            prefix, suffix, type_ = f"{prefix}{word}(", f"){suffix}", getattr(type_, kind).elem_type
        else:
            return ""
    return ""


def tensor_text(dtype: str) -> str:
    """Of a tensor of an element type of ours, f16, without a shape."""
    from onnx import helper

    return f"tensor({_element(helper.np_dtype_to_tensor_dtype(DTYPES[dtype]))})"


def read_type(text: str) -> TypeProto:
    """The type that `type_text` wrote.

    Raises: InvalidModel for any other text.
    """
    from onnx import TypeProto

    whole = TypeProto()
    inner: Any = whole
    rest = text
    for _ in range(MOST):
        if match := re.fullmatch(r"(sparse_tensor|tensor)\((\w+)\)(\[[^\[\]]*\])?", rest):
            _set_tensor(getattr(inner, f"{match[1]}_type"), match[2], match[3])
            return whole
        if match := re.fullmatch(r"(seq|optional)\((.+)\)", rest):
            inner, rest = getattr(inner, WRAPPERS[match[1]]).elem_type, match[2]
        elif match := re.fullmatch(r"map\((\w+),(.+)\)", rest):
            inner.map_type.key_type = _number(match[1])
            inner, rest = inner.map_type.value_type, match[2]
        else:
            break
    raise InvalidModel(f"'{text}' is no type of ONNX")


def _set_tensor(tensor: Any, element: str, shape: str | None) -> None:
    tensor.elem_type = _number(element)
    if shape is None:
        return
    tensor.shape.SetInParent()
    for dim in shape[1:-1].split(",") if shape != "[]" else ():
        made = tensor.shape.dim.add()
        if dim.isdecimal() and len(dim) < 19:
            made.dim_value = int(dim)
        elif dim != "?":
            made.dim_param = dim


def _dim(dim: Any) -> str:
    if dim.HasField("dim_value") and dim.dim_value >= 0:
        return str(dim.dim_value)
    return dim.dim_param if re.fullmatch(r"[A-Za-z_]\w*", dim.dim_param, re.ASCII) else "?"


def _element(number: int) -> str:
    from onnx import TensorProto

    return TensorProto.DataType.Name(number).lower() if number in TensorProto.DataType.values() and number else ""  # pyright: ignore


def _number(word: str) -> Any:
    from onnx import TensorProto

    name = word.upper()
    if name not in TensorProto.DataType.keys() or word == "undefined":  # noqa: SIM118  # no mapping
        raise InvalidModel(f"'{word}' is no element type of ONNX")
    return TensorProto.DataType.Value(name)


def without_shapes(text: str) -> str:
    """A type of tensors of any shape."""
    return re.sub(r"\[[^\[\]]*\]", "", text)
