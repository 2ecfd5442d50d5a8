"""Operators in the form of an older opset: attributes that became operands, and those that were not there yet.

Rows write the newest form; what differs before it stands here. Spec: onnx.ai, operators and their versions.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ....ir.errors import UnsupportedOp
from ....ir.types import Array

if TYPE_CHECKING:
    from onnx.defs import OpSchema

__all__ = ["Wording", "first_opset", "older_form"]


@dataclass(frozen=True)
class Wording:
    """An operator with its operands and attributes, on its way to an opset. `where` names the node, `rank` is its first operand's."""

    where: str
    op_type: str
    inputs: Sequence[str]
    attributes: Mapping[str, Any]
    rank: int


@dataclass(frozen=True)
class _Moved:
    """Operands from the second on that were attributes before `since`, under these names."""

    since: int
    names: tuple[str, ...]
    plain: Mapping[str, Any]  # what goes without saying


NO_STEPS: Mapping[str, Any] = {"steps": 1}
WERE_ATTRIBUTES = {
    "Clip": _Moved(11, ("min", "max"), {}),
    "Pad": _Moved(11, ("pads", "value"), {}),
    "Slice": _Moved(10, ("starts", "ends", "axes", "steps"), NO_STEPS),
    "Dropout": _Moved(12, ("ratio",), {}),
    "TopK": _Moved(10, ("k",), {}),
    "Split": _Moved(13, ("split",), {}),
    "Squeeze": _Moved(13, ("axes",), {}),
    "Unsqueeze": _Moved(13, ("axes",), {}),
}
SCALARS = ("min", "max", "value", "ratio", "k")
FROM_FRONT = 11  # before it axes are counted from the front
PLAIN = {"dilations": 1}  # lists that the spec gives no default for, and whose elements mean nothing


def older_form(wording: Wording, opset: int, constant: Callable[[str], Array | None]) -> tuple[list[str], dict[str, Any]]:
    """Operands and attributes as `opset` has them; `constant` gives the value of an operand that is one.

    Raises: UnsupportedOp where that opset has no words for it.
    """
    inputs, attributes = list(wording.inputs), dict(wording.attributes)
    moved = WERE_ATTRIBUTES.get(wording.op_type)
    if moved is not None and opset < moved.since:
        attributes |= _attributes(wording, inputs[1:], moved, opset, constant)
        del inputs[1:]
    if opset < FROM_FRONT:
        attributes |= {name: _from_front(attributes[name], wording.rank) for name in ("axis", "axes") if name in attributes}
    schema = _schema(wording, opset)
    for name in [name for name in attributes if name not in schema.attributes]:
        if not _says_nothing(wording.op_type, name, attributes.pop(name)):
            raise _too_old(wording, opset, f"attribute {name}", _since(wording.op_type, lambda known, name=name: name in known.attributes))
    if (count := len(inputs)) > schema.max_input:
        raise _too_old(wording, opset, f"{count} operands", _since(wording.op_type, lambda known: count <= known.max_input))
    return inputs, attributes


@functools.cache
def first_opset(op_type: str, element: str = "", place: int | None = 0) -> int | None:
    """The first opset that has the operator, with a type such as `tensor(float)`, if one is given, for the operand at that place, or None
    for its result.
    """

    def takes(known: OpSchema) -> bool:
        formal = known.outputs[0] if place is None else known.inputs[min(place, len(known.inputs) - 1)]  # the last may stand for several
        return element in formal.types

    return next((version for version in _opsets(op_type) if not element or takes(_at(op_type, version))), None)


def _attributes(
    wording: Wording, operands: Sequence[str], moved: _Moved, opset: int, constant: Callable[[str], Array | None]
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, operand in zip(moved.names, operands, strict=False):
        if not operand:
            continue
        values = constant(operand)
        if values is None:
            raise _too_old(wording, opset, f"{name} computed from sizes", moved.since)
        if name in moved.plain:
            if (values != moved.plain[name]).any():
                raise _too_old(wording, opset, name, moved.since)
        else:
            found[name] = values.reshape(-1)[0].item() if name in SCALARS else [value.item() for value in values.reshape(-1)]
    return found


def _from_front(axes: int | Sequence[int], rank: int) -> int | list[int]:
    if isinstance(axes, int):
        return axes + rank if axes < 0 else axes
    return [axis + rank if axis < 0 else axis for axis in axes]


def _says_nothing(op_type: str, name: str, value: Any) -> bool:
    """Whether an attribute has the value that is meant where there is none."""
    from onnx import helper

    if name in PLAIN:
        return all(element == PLAIN[name] for element in value)
    default = _at(op_type, _since(op_type, lambda known: name in known.attributes)).attributes[name].default_value
    if not default.type:
        return False
    plain = helper.get_attribute_value(default)
    return value == (plain.decode() if isinstance(plain, bytes) else plain)


def _since(op_type: str, holds: Callable[[OpSchema], bool]) -> int:
    return next(version for version in _opsets(op_type) if holds(_at(op_type, version)))


def _schema(wording: Wording, opset: int) -> OpSchema:
    from onnx import defs

    if not defs.has(wording.op_type, opset):
        raise _too_old(wording, opset, "", _opsets(wording.op_type)[0])
    return _at(wording.op_type, opset)


@functools.cache
def _at(op_type: str, opset: int) -> OpSchema:
    from onnx import defs

    return defs.get_schema(op_type, opset)


@functools.cache
def _opsets(op_type: str) -> tuple[int, ...]:
    """The opsets that have the operator, in order."""
    from onnx import defs

    return tuple(version for version in range(1, defs.onnx_opset_version() + 1) if defs.has(op_type, version))


def _too_old(wording: Wording, opset: int, what: str, since: int) -> UnsupportedOp:
    return UnsupportedOp(f"{wording.where}: {wording.op_type}{f' with {what}' if what else ''} needs ONNX opset {since}, not {opset}")
