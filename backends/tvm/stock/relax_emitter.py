"""What a lowering builds with: TVM's namespaces, and the IR's types and dimensions in TVM's terms."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ....ir.binding import batch_names
from ....ir.dims import Atom, Dim, alone, content, of_atom, symbol
from ....ir.errors import ConvcError
from ....ir.graph import Graph, Node
from ....ir.types import DTYPES, TensorType

__all__ = ["Lowering", "RelaxEmitter", "dtype_name", "of_image", "told_sizes"]

Lowering = Callable[..., Any]  # (emitter, node, *Relax operands) -> Relax expression


@dataclass(frozen=True, slots=True)
class RelaxEmitter:
    """One function under construction; `sizes` holds the TIR variable of each named size and of each size that it is `told`.

    `on_gpu` says where it will run.
    """

    tvm: Any
    builder: Any
    sizes: Mapping[Dim, Any]
    told: Sequence[Dim] = ()
    on_gpu: bool = False

    @staticmethod
    def of(host: Any, graph: Graph, *, on_gpu: bool = False, builder: Any = None) -> RelaxEmitter:
        """For a graph, whose named sizes become variables; a function more of `builder`'s module, where one is given."""
        told = told_sizes(graph)
        names = dict.fromkeys([*map(symbol, graph.symbols), *told])
        sizes = {dim: host.tirx.Var(alone(dim) or f"size{i}", "int64") for i, dim in enumerate(names)}
        return RelaxEmitter(host, builder or host.relax.BlockBuilder(), sizes, told, on_gpu)

    def main(self, inputs: Sequence[Any], others: Sequence[Any], results: Callable[[], list[Any]], name: str = "main") -> Any:
        """The module whose `main(inputs..., others...)` returns as a tuple what `results` emits; `num_input` tells where others start.

        Where sizes must be told, a shape that has their numbers is the last of the inputs.

        Raises: ConvcError as `results`.
        """
        made, failed = list[Any](), None
        if self.told:
            shape = self.tvm.relax.ShapeType([self.sizes[dim] for dim in self.told])
            inputs = [*inputs, self.tvm.relax.Var("sizes", shape)]
        with self.builder.function(name, [*inputs, *others], attrs={"num_input": len(inputs)}):
            with self.builder.dataflow():
                try:
                    made = results()
                except ConvcError as error:  # raised below: a builder left by an exception complains on stderr
                    failed = error
                out = self.builder.emit_output(self.tvm.relax.Tuple(made))
            self.builder.emit_func_output(out)
        if failed is not None:
            raise failed
        return self.builder.finalize()

    @property
    def ops(self) -> Any:
        """The Relax operators."""
        return self.tvm.relax.op

    @property
    def te(self) -> Any:
        return self.tvm.te

    @property
    def tirx(self) -> Any:
        return self.tvm.tirx

    def compute(self, node: Node, function: Callable[..., Any], *operands: Any, **sizes: Any) -> Any:
        """A kernel from a tensor expression: `function(*tensors, shape, **sizes)` computes the node's value of that shape.

        A kernel has variables of its own, so what it reads of named sizes but for its operands' shapes must come as an argument.
        """
        shape = self.shape(node.typed)
        return self.builder.call_te(function, *operands, shape=shape, primfunc_name_hint=node.kind.name, **sizes)

    def type(self, type_: TensorType) -> Any:
        return self.tvm.relax.TensorType(self.shape(type_), dtype_name(type_))

    def shape(self, type_: TensorType) -> list[Any]:
        return [self.dim(dim) for dim in type_.shape]

    def dim(self, dim: Dim) -> Any:
        """int64 arithmetic: TE would count a Python int in int32 and then not match the named sizes."""
        if isinstance(dim, int):
            return self.tirx.IntImm("int64", dim)
        factor, rest = content(dim)
        if rest in self.sizes:
            return self.sizes[rest] if factor == 1 else self.sizes[rest] * self.tirx.IntImm("int64", factor)
        total: Any = 0
        for monomial, coefficient in dim.terms:
            value: Any = self.tirx.IntImm("int64", coefficient)
            for atom in monomial:
                value = value * self._atom(atom)
            total = total + value
        return total

    def _atom(self, atom: Atom) -> Any:
        own = of_atom(atom)
        if own in self.sizes or isinstance(atom, str):
            return self.sizes[own]
        return self.tirx.floordiv(self.dim(atom.numerator), self.tirx.IntImm("int64", atom.divisor))

    def scalar(self, value: float, dtype: str) -> Any:
        """A Relax constant of rank 0."""
        return self.tvm.relax.const(value, dtype)


def told_sizes(graph: Graph) -> tuple[Dim, ...]:
    """Sizes that a library is told at each run, in this order.

    TVM reads H off an input that has it for a dimension, and not off 2*H. Where more than the batch has a name, it is told what is computed
    from names too, T//64-1 for one: its arithmetic over quotients and sums fails inside (0.27), over names of their own it does not.
    """
    shown = {alone(dim) for node in graph.inputs for dim in node.typed.shape}
    told: dict[Dim, None] = {symbol(name): None for name in graph.symbols if name not in shown}
    if set(graph.symbols) <= batch_names(graph):
        return tuple(told)
    for node in graph.nodes:
        for dim in node.typed.shape if node.weights is None else ():
            told |= dict.fromkeys(_computed(dim))
    return tuple(told)


def _computed(dim: Dim) -> Iterator[Dim]:
    """What of a dimension is no name: the quotients of a product, or a sum as a whole."""
    if isinstance(dim, int):
        return
    _, rest = content(dim)
    if len(rest.terms) > 1:
        yield rest
    else:
        yield from (of_atom(atom) for monomial, _ in rest.terms for atom in monomial if not isinstance(atom, str))


def dtype_name(type_: TensorType) -> str:
    """`f32` as TVM and NumPy call it. Numbers of less than 8 bits have a byte each: TVM has types for them that its runtime cannot hold."""
    return DTYPES[type_.in_bytes.dtype].name


def of_image(axes: int, element: Callable[..., Any]) -> Callable[..., Any]:
    """`element` at an image, a channel and its place along the axes of space: TE names a kernel's loops by the arguments."""

    def place(n: Any, c: Any, i: Any) -> Any:
        return element(n, c, i)

    def pixel(n: Any, c: Any, i: Any, j: Any) -> Any:
        return element(n, c, i, j)

    def voxel(n: Any, c: Any, h: Any, i: Any, j: Any) -> Any:
        return element(n, c, h, i, j)

    return (place, pixel, voxel)[axes - 1]
