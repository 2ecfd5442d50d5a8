"""A network under construction: typed nodes, choices that a seed or Hypothesis makes, and what is put back when an op refuses.

The lowest number is always the simplest choice, which is what makes Hypothesis shrink well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, replace

from convc.ir.dims import evaluate
from convc.ir.errors import InvalidModel
from convc.ir.graph import Graph, Node, fresh_name
from convc.ir.op import OpDef
from convc.ir.ops import conv, conv_transpose, conv_weight_gradient, elementwise, leaf, resize
from convc.ir.ops.window import MOST_AXES
from convc.ir.types import TensorType, parse_shape
from convc.ir.verifier import verify_graph
from convc.ir.weights import Recipe, Weights

__all__ = ["MOST_CHANNELS", "MOST_PRODUCTS", "SIZES", "Builder", "Integer", "Refused"]

SIZES = {"N": 2, "H": 7, "W": 6}  # what named sizes are when a network runs
MOST_ELEMENTS = 1200  # of one value
MOST_CHANNELS = 30  # two groups of the widest that are narrow
MOST_PRODUCTS = 2  # of two activations: squares of squares overflow
Integer = Callable[[int, int], int]  # a whole number between two, both included; the lower is the simpler


class Refused(Exception):
    """This motif does not fit here."""


class Builder:
    """A network under construction; `values` are what later layers may read."""

    def __init__(self, integer: Integer, start: Graph | None = None, dtype: str = "") -> None:
        self.integer = integer
        self.nodes: list[Node] = []
        self.names: set[str] = set()
        self.values: list[Node] = []
        self.numbers: dict[Node, TensorType] = {}  # every type with numbers for its named sizes
        self.products = 0
        self.most_elements, self.most_channels = MOST_ELEMENTS, MOST_CHANNELS
        self.dtype = "f32"
        if start is None:
            self.dtype = dtype or self.pick("f32", "f32", "f32", "f32", "f32", "f32", "f64", "f16")
            self.odd_names = self.flag(12)
            batch = self.pick("N", "N", 1, 2)
            rows, cols = ("H", "W") if self.flag(8) else (self.int(4, 8), self.int(3, 8))
            space = rows, cols
            if self.flag(6):  # a sequence, as an image of one row too
                length = self.int(9, 40)
                space = self.pick((length,), (1, length), (length, 1), ("W",))
            elif self.flag(10):  # a volume
                space = self.int(2, 4), self.int(2, 5), self.int(3, 6)
            self.input("x", "N" if batch == "N" else batch, self.int(1, 6), *space)
        else:
            self.adopt(start)

    def adopt(self, graph: Graph) -> None:
        """Go on from a graph."""
        self.odd_names = False
        self.numbers = {node: node.typed.with_sizes(SIZES) for node in graph.nodes}
        self.nodes, self.names = list(graph.nodes), {node.name for node in graph.nodes}
        self.values = [node for node in graph.nodes if node.weights is None and node.typed.is_float]
        self.dtype = self.values[-1].typed.dtype if self.values else "f32"
        self.products = sum(node.kind is elementwise.MUL for node in graph.nodes)

    # Choices: the first is the simplest.

    def int(self, low: int, high: int) -> int:
        return low if low == high else self.integer(low, high)

    def pick(self, *options):
        return options[self.int(0, len(options) - 1)]

    def flag(self, one_in: int = 2) -> bool:
        return self.int(0, one_in - 1) == one_in - 1

    def pair(self, low: int, high: int) -> tuple[int, int]:
        first = self.int(low, high)
        return (first, self.int(low, high)) if self.flag() else (first, first)

    def pads(self, low: int = 0, high: int = 2) -> tuple[int, int, int, int]:
        if not self.flag():
            return (self.int(low, high),) * 4
        return tuple(self.int(low, high) for _ in range(4))

    # Nodes

    def name(self, wanted: str) -> str:
        if self.odd_names:
            wanted = f'{wanted} "é\\'
        return fresh_name(f"{wanted}{len(self.nodes)}", self.names)

    def input(self, wanted: str, *dims: int | str, dtype: str = "") -> Node:
        type_ = TensorType(dtype or self.dtype, parse_shape(",".join(map(str, dims))))
        return self.keep(Node(self.name(wanted), leaf.INPUT, leaf.Input(), (), type_), type_.with_sizes(SIZES), value=not dtype)

    def input_like(self, x: Node, dtype: str = "") -> Node:
        return self.input("in", *x.typed.shape, dtype=dtype)

    def param(self, *dims: int, init: str = "auto", value: float = 0.0, like: str = "w", key: str = "", dtype: str = "") -> Node:
        type_ = TensorType(dtype or self.dtype, dims)
        name = self.name(like)
        op = leaf.Param(init, key, 0, value)
        return self.keep(Node(name, leaf.PARAM, op, (), type_, weights=Weights(type_, Recipe(init, key or name, 0, value))), type_)

    def twin(self, param: Node) -> Node:
        """Another parameter of the same values."""
        op = param.op
        return self.param(*param.typed.shape, init=op.init, value=op.value, key=op.key or param.name, dtype=param.typed.dtype)

    def op(self, kind: OpDef, op, *operands: Node) -> Node:
        """Raises: Refused when the op's type rule says no, or the result is large."""
        kind, op = self.of_rank(kind, op, operands[0]) if operands else (kind, op)
        try:
            type_ = kind.infer(op, *(operand.typed for operand in operands))
            sizes = {name: getattr(op, name) for name in kind.facts.sizes}
            listed = {name: tuple(evaluate(dim, SIZES) for dim in dims) for name, dims in sizes.items() if isinstance(dims, tuple)}
            fixed = replace(op, **listed) if listed else op
            numbers = kind.infer(fixed, *(self.numbers[operand] for operand in operands))
        except InvalidModel as error:
            raise Refused from error
        if min(numbers.shape, default=1) < 1 or numbers.numel > self.most_elements or type_.with_sizes(SIZES) != numbers:
            raise Refused
        if len(numbers.shape) > 1 and numbers.shape[1] > self.most_channels * (9 if len(numbers.shape) == 2 else 1):
            raise Refused
        return self.keep(Node(self.name(kind.name.split("_")[0]), kind, op, operands, type_), numbers, value=True)

    @contextmanager
    def room(self, *, elements: int, channels: int) -> Iterator[None]:
        """For values larger than others are."""
        before = self.most_elements, self.most_channels
        self.most_elements, self.most_channels = elements, channels
        try:
            yield
        finally:
            self.most_elements, self.most_channels = before

    def fit(self, x: Node, values: tuple) -> tuple:
        """Values for rows and columns as those for the axes of x: the last of them, or the first once more. Four are pads."""
        if len(values) == 4:
            return (*self.fit(x, values[:2]), *self.fit(x, values[2:]))
        axes = x.typed.rank - 2
        if not 1 <= axes <= MOST_AXES:
            raise Refused
        return (*values[:1] * (axes - 2), *values[-axes:])

    def filters(self, x: Node, c_out: int, c_in: int, *kernel: int, **how) -> Node:
        """The weight of a convolution of x."""
        return self.param(c_out, c_in, *self.fit(x, kernel), **how)

    def of_rank(self, kind: OpDef, op, x: Node) -> tuple[OpDef, object]:
        """A window over an image, or a resize, as one over as many axes as x has."""
        sizes = getattr(op, "kernel", None) or getattr(op, "strides", None) or (op.scales if kind is resize.RESIZE else ())
        if len(sizes) != 2 or x.typed.rank == 4:
            return kind, op
        for family in (conv.CONVS, conv_transpose.CONV_TRANSPOSES, conv_weight_gradient.CONV_WEIGHT_GRADIENTS):
            if kind in family:
                axes = len(self.fit(x, (1, 1)))
                kind = family[axes - 1]
                given = {f.name: getattr(op, f.name) for f in fields(op)}
                return kind, kind.Attrs(**{name: self.fit(x, v) if isinstance(v, tuple) else v for name, v in given.items()})
        names = [f.name for f in fields(op) if isinstance(getattr(op, f.name), tuple) and getattr(op, f.name)]
        return kind, replace(op, **{name: self.fit(x, getattr(op, name)) for name in names})

    def keep(self, node: Node, numbers: TensorType, *, value: bool = False) -> Node:
        self.nodes.append(node)
        self.numbers[node] = numbers
        if value:
            self.values.append(node)
        return node

    def hide(self, node: Node) -> None:
        """Nothing drawn later reads this value; it may still be an output."""
        self.values.remove(node)

    def attempt(self, motif: Callable[[Builder, Node], Node], x: Node) -> None:
        """Add a motif, or put everything back."""
        nodes, values, products = len(self.nodes), len(self.values), self.products
        try:
            motif(self, x)
        except Refused:
            for node in self.nodes[nodes:]:
                self.names.discard(node.name)
            del self.nodes[nodes:], self.values[values:]
            self.products = products

    def channels(self, x: Node) -> int:
        if x.typed.rank < 2 or not isinstance(x.typed.shape[1], int):
            raise Refused
        return x.typed.shape[1]

    def fellow(self, x: Node) -> Node:
        """Another value of the same type, if there is one."""
        return self.pick(x, *(value for value in reversed(self.values) if value.type == x.type))

    def graph(self) -> Graph:
        """Outputs are what nobody reads, some of it left dead, now and then something in between."""
        read = {operand for node in self.nodes for operand in node.inputs}
        ends = [node for node in self.nodes if node.weights is None and node not in read and node.inputs]
        outputs = [node for node in ends[:-1] if not self.flag(4)] + (ends[-1:] or self.values[-1:])
        if self.flag(4):
            outputs.append(self.pick(*reversed(self.values)))
        if not self.flag(32):
            outputs = list(dict.fromkeys(outputs))
        inputs = [node for node in self.nodes if node.kind is leaf.INPUT]
        graph = Graph("net", tuple(inputs), tuple(outputs), (*inputs, *(n for n in self.nodes if n.kind is not leaf.INPUT)))
        verify_graph(graph)
        return graph
