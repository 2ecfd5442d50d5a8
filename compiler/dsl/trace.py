"""Tracing: values that carry their graph, and scopes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np

from ...ir.dims import Dim
from ...ir.errors import InvalidModel, ShapeError
from ...ir.graph import Graph, Node, Origin, fresh_name
from ...ir.op import OpDef
from ...ir.ops.compare import GREATER, GREATER_OR_EQUAL, LESS, LESS_OR_EQUAL, Greater, GreaterOrEqual, Less, LessOrEqual
from ...ir.ops.elementwise import ADD, DIV, IDENTITY, MOD, MUL, POW, SUB, Add, Div, Identity, Mod, Mul, Pow, Sub
from ...ir.ops.leaf import INPUT, PARAM, Input, Param
from ...ir.ops.linear import MATMUL, MatMul
from ...ir.ops.select import GATHER, Gather
from ...ir.ops.shape import RESHAPE, SLICE, Reshape
from ...ir.ops.unary import ABS, NEG, Abs, Neg
from ...ir.suggest import did_you_mean
from ...ir.types import DTYPES, Array, TensorType
from ...ir.verifier import infer_type
from ...ir.weights import INITS, Recipe, Weights
from ...ir.window_leftovers import leftover
from .subscripts import subscript_of
from .user_line import naming_line, scope, scope_name, user_line

__all__ = ["Trace", "Value", "scope"]


@dataclass(eq=False)
class Trace:
    """A graph under construction. `strict_windows` refuses windows that do not tile their input."""

    name: str
    strict_windows: bool = False
    nodes: list[Node] = field(default_factory=list[Node])
    names: set[str] = field(default_factory=set[str])
    shared: dict[str, Node] = field(default_factory=dict[str, Node])
    counts: Counter[str] = field(default_factory=Counter[str])

    def input(self, name: str, type_: TensorType) -> Value:
        return self._add(Node(fresh_name(name, self.names), INPUT, Input(), (), type_, Origin(user_line())))

    def param(self, name: str, shape: tuple[int, ...], init: str, dtype: str = "f32") -> Value:
        """A parameter `name`, shared with every earlier one of that name.

        Raises: ShapeError if the earlier one has another shape; InvalidModel for an unknown `init`.
        """
        if init not in INITS:
            raise InvalidModel(naming_line(f"unknown initialization '{init}'" + did_you_mean(init, INITS)))
        type_ = TensorType(dtype, shape)
        if name in self.shared:
            earlier = self.shared[name]
            if earlier.type != type_:
                made = f"made as {earlier.type} ({earlier.origin.source})"
                raise ShapeError(naming_line(f"parameter '{name}' is reused as {type_}, but was {made}; use another name"))
            return Value(self, earlier)
        self._claim(name)
        node = Node(name, PARAM, Param(init), (), type_, Origin(user_line(), scope_name()), Weights(type_, Recipe(init, name)))
        self.shared[name] = node
        return self._add(node)

    def constant(self, values: Array | float, name: str = "", dtype: str = "f32") -> Value:
        """A parameter with these values, which nobody trains; a plain number, which is of `dtype`, is written into the text."""
        if name:
            self._claim(name)
        else:
            name = self.fresh("const")
        origin = Origin(user_line(), scope_name())
        if isinstance(values, int | float):
            type_ = TensorType(dtype, ())
            weights = Weights(type_, Recipe("full", name, value=float(values)))
            return self._add(Node(name, PARAM, Param("full", value=float(values)), (), type_, origin, weights))
        weights = Weights.of(np.asarray(values, order="C"), name)
        return self._add(Node(name, PARAM, Param("constant"), (), weights.type, origin, weights))

    def emit(self, kind: OpDef[Any], op: Any, operands: tuple[Value, ...], name: str = "") -> Value:
        """One op on values of this trace, its type inferred while the user's line is on the stack.

        `name` is one that `fresh` reserved; without it the op's own name is counted.

        Raises: ShapeError naming the node, the values and the line.
        """
        for operand in operands:
            if operand.trace is not self:
                raise InvalidModel(naming_line(f"{kind.name} mixes values of two networks; call the network inside the other one"))
        origin = Origin(user_line(), scope_name())
        node = Node(name or self.fresh(kind.name), kind, op, tuple(v.node for v in operands), None, origin)
        node = node.like(type=infer_type(node))
        if self.strict_windows and (found := leftover(node)):
            raise ShapeError(f"{found[0]} (strict windows)")
        return self._add(node)

    def layer_name(self, base: str, given: str = "") -> str:
        """The reserved name of a layer: the user's, or the next of its kind in this scope."""
        return self.named(given) if given else self.fresh(base)

    def fresh(self, base: str) -> str:
        """Reserve the next unused `scope.base1`, `scope.base2`..."""
        full = f"{scope_name()}.{base}" if scope_name() else base
        while True:
            self.counts[full] += 1
            name = f"{full}{self.counts[full]}"
            if name not in self.names:
                self.names.add(name)
                return name

    def named(self, name: str) -> str:
        """Reserve `scope.name` as the user wrote it, or `scope.name_1` where that is taken."""
        return fresh_name(f"{scope_name()}.{name}" if scope_name() else name, self.names)

    def output(self, name: str, value: Value) -> Value:
        """`value` under this name: itself if it has it.

        Raises: InvalidModel for a name that another value has.
        """
        if value.node.name == name:
            return value
        if name in self.names:
            raise InvalidModel(f"the name '{name}' is taken already, by another value; rename that, or the output")
        self.names.add(name)
        return self.emit(IDENTITY, Identity(), (value,), name)

    def graph(self, outputs: list[Value]) -> Graph:
        inputs = [node for node in self.nodes if node.kind is INPUT]
        return Graph.of(self.name, inputs, [value.node for value in outputs], self.nodes)

    def _claim(self, name: str) -> None:
        if name in self.names:
            raise InvalidModel(naming_line(f"the name '{name}' is taken already"))
        self.names.add(name)

    def _add(self, node: Node) -> Value:
        self.nodes.append(node)
        return Value(self, node)


@dataclass(frozen=True, eq=False, slots=True)
class Value:
    """A tensor in a network under construction. Arithmetic with values, numbers and arrays of its own type works as in NumPy.

    Layers make it: `node` is what computes it, in the `trace` of the network.
    """

    __array_ufunc__ = None  # so that NumPy leaves `array + value` to the value

    trace: Trace
    node: Node

    @property
    def shape(self) -> tuple[Dim, ...]:
        return self.node.typed.shape

    @property
    def rank(self) -> int:
        return self.node.typed.rank

    @property
    def channels(self) -> int:
        """Extent of axis 1.

        Raises: ShapeError when it is missing or not a number.
        """
        if self.rank < 2 or not isinstance(channels := self.shape[1], int):
            raise ShapeError(naming_line(f"{self.node.where} is {self.node.type}; a number of channels is needed on axis 1"))
        return channels

    @property
    def float_type(self) -> str:
        """The element type of what is computed with it: its own, or float32 where it has whole numbers."""
        return self.node.typed.dtype if self.node.typed.is_float else "f32"

    def param(self, name: str, shape: tuple[int, ...], init: str) -> Value:
        """A parameter of a layer of this value, of its element type, shared with every earlier one of that `name`; random values are drawn
        as `init` says, such as "he".

        Raises: ShapeError if the earlier one has another `shape`; InvalidModel for an unknown `init`.
        """
        return self.trace.param(name, shape, init, self.float_type)

    def __getitem__(self, key: Any) -> Value:
        """x[:, :4] or x[..., ::2], as in NumPy; a number takes its axis away, None puts one in.

        Raises: ShapeError, with the user's line, for arrays and values, and for what is out of range or hangs on a named size.
        """
        found, x = subscript_of(key, self.node.typed), self
        if found.slice is not None:
            x = self.trace.emit(SLICE, found.slice, (x,))
        shape = [1 if axis is None else x.shape[axis] for axis in found.axes]
        for axis, place in sorted(found.picked, reverse=True):
            x = self.trace.emit(GATHER, Gather(axis), (x, self.trace.constant(np.array(place))))
        return x if list(x.shape) == shape else self.trace.emit(RESHAPE, Reshape(tuple(shape)), (x,))

    def __iter__(self) -> Any:
        """Raises: InvalidModel; a value would be endless to Python, which knows no end of its elements."""
        raise InvalidModel(naming_line(f"%{self.node.name} ({self.node.type}) cannot be taken apart by Python; cut it, as in x[:, :4]"))

    def _binary(self, kind: OpDef[Any], op: Any, other: Value | Array | float, *, swapped: bool = False) -> Value:
        right = other if isinstance(other, Value) else self._constant(other)
        try:
            return self.trace.emit(kind, op, (right, self) if swapped else (self, right))
        except ShapeError as error:
            channels = [each.shape[1] for each in (self, right) if each.rank > 2]
            if len(channels) < 2 or channels[0] == channels[1] or 1 in channels:
                raise
            ways = f"conv(x, {channels[0]}, 1) makes another number of channels, and concat(a, b) puts them one after another"
            raise ShapeError(f"{error}; {ways}") from error

    def _constant(self, given: object) -> Value:
        """Raises: InvalidModel for what is no number, nor an array of this value's type."""
        if isinstance(given, np.generic):
            given = cast("object", given.item())
        if isinstance(given, int | float):
            return self.trace.constant(given, dtype=self.float_type)
        if not isinstance(given, np.ndarray):
            what = f"an operand is a {type(given).__name__}, expected a value, a number or an array"
            raise InvalidModel(naming_line(f"{what}; constant(x, values) makes a value of an array"))
        array, wanted = cast("Array", given), DTYPES[self.node.typed.dtype]
        if array.dtype != wanted:
            what = f"an operand is an array of {array.dtype}, the other one is {self.node.type}"
            raise InvalidModel(naming_line(f"{what}; convert it with .astype('{wanted.name}')"))
        return self.trace.constant(array)

    def __add__(self, other: Value | Array | float) -> Value:
        return self._binary(ADD, Add(), other)

    def __radd__(self, other: Array | float) -> Value:
        return self._binary(ADD, Add(), other, swapped=True)

    def __sub__(self, other: Value | Array | float) -> Value:
        return self._binary(SUB, Sub(), other)

    def __rsub__(self, other: Array | float) -> Value:
        return self._binary(SUB, Sub(), other, swapped=True)

    def __mul__(self, other: Value | Array | float) -> Value:
        return self._binary(MUL, Mul(), other)

    def __rmul__(self, other: Array | float) -> Value:
        return self._binary(MUL, Mul(), other, swapped=True)

    def __truediv__(self, other: Value | Array | float) -> Value:
        return self._binary(DIV, Div(), other)

    def __rtruediv__(self, other: Array | float) -> Value:
        return self._binary(DIV, Div(), other, swapped=True)

    def __pow__(self, other: Value | Array | float) -> Value:
        return self._binary(POW, Pow(), other)

    def __rpow__(self, other: Array | float) -> Value:
        return self._binary(POW, Pow(), other, swapped=True)

    def __mod__(self, other: Value | Array | float) -> Value:
        return self._binary(MOD, Mod(), other)

    def __rmod__(self, other: Array | float) -> Value:
        return self._binary(MOD, Mod(), other, swapped=True)

    def __matmul__(self, other: Value | Array) -> Value:
        return self._binary(MATMUL, MatMul(), other)

    def __rmatmul__(self, other: Array) -> Value:
        return self._binary(MATMUL, MatMul(), other, swapped=True)

    def __neg__(self) -> Value:
        return self.trace.emit(NEG, Neg(), (self,))

    def __pos__(self) -> Value:
        return self

    def __abs__(self) -> Value:
        return self.trace.emit(ABS, Abs(), (self,))

    def __lt__(self, other: Value | Array | float) -> Value:
        return self._binary(LESS, Less(), other)

    def __le__(self, other: Value | Array | float) -> Value:
        return self._binary(LESS_OR_EQUAL, LessOrEqual(), other)

    def __gt__(self, other: Value | Array | float) -> Value:
        return self._binary(GREATER, Greater(), other)

    def __ge__(self, other: Value | Array | float) -> Value:
        return self._binary(GREATER_OR_EQUAL, GreaterOrEqual(), other)

    def __bool__(self) -> bool:
        """Raises: InvalidModel, as `__float__`, `__int__`, `__len__`, `__setitem__` and `__call__` do: a value has no numbers yet."""
        raise self._refusal("is neither true nor false while a network is made; choose between values with a comparison and arithmetic")

    def __float__(self) -> float:
        raise self._refusal("has no numbers while a network is made, so Python cannot have one; compute with values")

    __int__ = __complex__ = __float__  # pyright: ignore[reportAssignmentType]

    def _no_operator(self, *unused: Any) -> Any:
        """Raises: InvalidModel, where Python would say that a type has no such operator, and not whose."""
        raise self._refusal("has no such operator in a network; it has + - * / % ** @, comparisons and abs, and layers such as clip")

    __invert__ = __and__ = __rand__ = __or__ = __ror__ = __xor__ = __rxor__ = _no_operator
    __lshift__ = __rlshift__ = __rshift__ = __rrshift__ = _no_operator
    __floordiv__ = __rfloordiv__ = __divmod__ = __rdivmod__ = __round__ = __trunc__ = __floor__ = __ceil__ = _no_operator

    def __array__(self, *unused: Any, **also: Any) -> Any:
        raise self._refusal("has no numbers while a network is made, so NumPy cannot have them; use layers of convc")

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Raises: InvalidModel; PyTorch asks here before it computes with what is no tensor of its own."""
        name = getattr(function, "__name__", "function")
        what = f"PyTorch's {name} takes no value of a network"
        raise InvalidModel(naming_line(f"{what}; convc has layers of its own, as in cc.relu(x), and cc.from_torch takes a whole module"))

    def __len__(self) -> int:
        raise self._refusal("has no length to Python; its sizes are x.shape")

    def __setitem__(self, key: Any, item: Any) -> None:
        raise self._refusal("cannot be written into; make another value, as with concat(x[:, :4], y)")

    def __call__(self, *unused: Any, **also: Any) -> Any:
        raise self._refusal("is a value and no layer; give it to one, as in relu(x)")

    def __repr__(self) -> str:
        return f"<value %{self.node.name} = {self.node.kind.name} : {self.node.type}>"

    def _refusal(self, why: str) -> InvalidModel:
        return InvalidModel(naming_line(f"%{self.node.name} ({self.node.type}) {why}"))
