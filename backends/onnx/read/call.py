"""What a row is given: one ONNX node with its operands as IR nodes, its attributes, and the makers of new nodes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ....ir.dims import Dim, Expr
from ....ir.errors import InvalidModel, UnsupportedOp
from ....ir.graph import Node, Origin, fresh_name, given_param
from ....ir.op import OpDef
from ....ir.ops import OPS
from ....ir.ops.leaf import INPUT, PARAM, Input, Param
from ....ir.types import DTYPES, Array, TensorType, is_floating
from ....ir.verifier import infer_type
from ....ir.weights import Recipe, Weights
from .known import Known, is_symbolic

__all__ = ["Call", "Row", "given", "shortest"]


@dataclass(frozen=True, slots=True)
class Call:
    """One operator of the file. `results` are the names of what it computes; "" is one that nobody wants.

    `known` and `taken` are the file's, for all its calls; `asked` are the attributes that the row has looked at. `new_size` names a size
    that only a run tells, of a value and its axis.
    """

    op_type: str
    origin: Origin
    results: Sequence[str]
    operands: Sequence[Node | None]
    attributes: Mapping[str, Any]
    opset: int
    known: Known
    taken: set[str]
    most_elements: int
    new_size: Callable[[str, int], Dim]
    asked: set[str] = field(default_factory=set[str])

    def on(self, operands: Sequence[Node | None], suffix: str) -> Call:
        """The same call on other operands, for a value on the way to the result."""
        return replace(self, results=(fresh_name(f"{self.results[0]}.{suffix}", self.taken),), operands=operands)

    @property
    def where(self) -> str:
        return f"{self.op_type} that makes %{self.results[0]}" + (f" ({self.origin.source})" if self.origin.source else "")

    def refuse(self, why: str) -> UnsupportedOp:
        return UnsupportedOp(f"{self.where}: {why}")

    # --- operands and attributes ---

    def maybe(self, index: int) -> Node | None:
        """An operand that may be left out."""
        return self.operands[index] if index < len(self.operands) else None

    def x(self, index: int = 0) -> Node:
        """Raises: InvalidModel when the operand is missing."""
        operand = self.maybe(index)
        if operand is None:
            raise InvalidModel(f"{self.where}: operand {index} is missing")
        return operand

    def attribute(self, name: str, default: Any, *, of: type = int) -> Any:
        """The attribute, of the default's type; None is for a list. Elements of lists are `of`; ints pass for floats.

        Raises: InvalidModel for one of another type.
        """
        self.asked.add(name)
        if name not in self.attributes:
            return default
        value = self.attributes[name]
        if isinstance(default, float) and isinstance(value, int):
            return float(value)
        wanted = list if default is None else type(default)  # pyright: ignore[reportUnknownVariableType]  # of anything
        if type(value) is not wanted or (wanted is list and any(type(element) is not of for element in value)):
            like = f"a list, each an {of.__name__}" if wanted is list else f"something like {default!r}"
            raise InvalidModel(f"{self.where}: attribute '{name}' is {value!r}, expected {like}")
        return value

    def array(self, index: int, what: str) -> Array:
        """The value of an operand that the network must fix: numbers, or dimensions.

        Raises: UnsupportedOp where it depends on data.
        """
        value = self.known.of(self.x(index))
        if value is None:
            raise self.refuse(f"its {what}, %{self.x(index).name}, is computed from the network's data; only constants can be compiled")
        return value

    def dims(self, index: int, what: str) -> list[Dim]:
        """A one-dimensional operand of whole numbers or named sizes."""
        array = self.array(index, what).reshape(-1)
        if is_floating(array) and not np.isfinite(array).all():
            raise self.refuse(f"its {what}, %{self.x(index).name}, is not finite")
        return [value if isinstance(value, Expr) else int(value) for value in array]

    def dim(self, index: int, what: str) -> Dim:
        """The one whole number or named size of an operand."""
        dims = self.dims(index, what)
        if len(dims) != 1:
            raise self.refuse(f"its {what} has {len(dims)} elements, expected one")
        return dims[0]

    def ints(self, index: int, what: str) -> list[int]:
        """A one-dimensional operand of whole numbers.

        Raises: UnsupportedOp where it depends on a named size.
        """
        values = self.dims(index, what)
        named = next((value for value in values if not isinstance(value, int)), None)
        if named is not None:
            raise self.refuse(f"its {what} depend on the named size {named}; give it a value with --input")
        return [value for value in values if isinstance(value, int)]

    def scalar(self, index: int, what: str) -> Any:
        """The one number of an operand."""
        values = self.array(index, what)
        if values.size != 1 or is_symbolic(values):
            raise self.refuse(f"its {what} is {', '.join(map(str, values.reshape(-1)[:4]))}, expected one number")
        value = values.reshape(-1)[0]
        if values.dtype == object:
            return value
        return shortest(value) if values.dtype.kind == "f" else float(value) if is_floating(values) else value.item()

    def floats(self, index: int, what: str) -> list[float]:
        """A one-dimensional operand of numbers.

        Raises: UnsupportedOp where it depends on a named size.
        """
        values = self.array(index, what).reshape(-1)
        if is_symbolic(values):
            raise self.refuse(f"its {what} depend on a named size; give it a value with --input")
        return [shortest(value) if isinstance(value, np.floating) else float(value) for value in values]

    # --- makers ---

    def make(self, kind: OpDef[Any] | str, op: Any, *operands: Node, suffix: str = "", result: int = 0) -> Node:
        """A typed node: the result itself, or with a suffix one on the way to it. Small integers become constants."""
        kind = OPS[kind] if isinstance(kind, str) else kind
        name = fresh_name(f"{self.results[0]}.{suffix}", self.taken) if suffix else self.results[result]
        node = Node(name, kind, op, operands, None, self.origin)
        node = node.like(type=infer_type(node))
        value = self.known.learn(node)
        if value is None or is_symbolic(value) or node.typed.is_float:
            return node
        return self._constant(name, value.astype(DTYPES[node.typed.dtype]))

    def named(self, name: str, *operands: Node, suffix: str = "", result: int = 0, **attributes: Any) -> Node:
        """`make` with the attributes spelled out."""
        return self.make(name, OPS[name].Attrs(**attributes), *operands, suffix=suffix, result=result)

    def constant(self, array: Array, suffix: str = "") -> Node:
        """A parameter that holds `array`."""
        name = fresh_name(f"{self.results[0]}.{suffix}", self.taken) if suffix else self.results[0]
        return self._constant(name, np.asarray(array))

    def full(self, shape: tuple[int, ...], value: Any, dtype: Any) -> Node:
        """A parameter of one value; it costs nothing before somebody looks.

        Raises: InvalidModel for more elements than any tensor may have.
        """
        count = math.prod(shape)
        if count > self.most_elements or min(shape, default=0) < 0:
            raise InvalidModel(
                f"{self.where}: asks for a tensor of shape {list(shape)}; at most {self.most_elements:,} elements are allowed"
            )
        if count <= 4096:
            return self.constant(np.full(shape, value, dtype))
        is_exact = np.dtype(dtype).kind not in "iu" or int(float(value)) == int(value)  # as the largest of 64 bits is not
        fill = float(value) if is_exact else int(value)
        type_ = TensorType(TensorType.of(np.empty(0, dtype)).dtype, shape)
        name = self.results[0]
        return Node(name, PARAM, Param("full", value=fill), (), type_, self.origin, Weights(type_, Recipe("full", name, value=fill)))

    def shape_value(self, dims: Sequence[Dim]) -> Node:
        """The value of Shape: a constant, or a leaf of which only the dimensions are known."""
        if all(isinstance(dim, int) for dim in dims):
            return self.constant(np.array(dims, dtype=np.int64))
        leaf = Node(self.results[0], INPUT, Input(), (), TensorType("i64", (len(dims),)), self.origin)
        values = np.empty(len(dims), dtype=object)
        values[:] = list(dims)
        self.known.values[leaf] = values
        return leaf

    def _constant(self, name: str, array: Array) -> Node:
        if array.dtype not in DTYPES.values():
            raise self.refuse(f"a constant of {array.dtype}, which convc does not compute with")
        return given(name, array, self.origin)


def shortest(value: Any) -> float:
    """The shortest decimal that is this number in its own precision: 0.4, not 0.4000000059604645."""
    return float(str(value))


def given(name: str, array: Array, origin: Origin) -> Node:
    """A parameter whose values came with the file."""
    return given_param(name, Weights.of(array, name), origin)


# One node per result, None for a result nobody wants; a single node stands for a tuple of one.
Row = Callable[[Call], Node | Sequence[Node | None]]
