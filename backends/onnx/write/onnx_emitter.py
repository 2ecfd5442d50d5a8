"""What the rows write into: ONNX nodes and the small constants that go with them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from ....ir.dims import Atom, Dim, alone, linear, symbol
from ....ir.errors import UnsupportedOp
from ....ir.graph import Graph, Node, fresh_name
from ....ir.types import DTYPES, Array
from ..file.naming import SOURCE
from ..file.types_text import tensor_text
from .older_forms import Wording, first_opset, older_form

__all__ = ["OnnxEmitter", "OnnxRow", "simple"]


class OnnxEmitter:
    """Collects the nodes and initializers of one ONNX graph at one opset."""

    def __init__(self, graph: Graph, opset: int) -> None:
        self.graph = graph
        self.opset = opset
        self.nodes: list[Any] = []
        self.constants: dict[str, Array] = {}
        self.names: set[str] = set()  # of operators, where they are not those of their values
        self.taken = {node.name for node in graph.nodes}
        self.inner: set[str] = set()  # names within subgraphs, which several may have
        self.domains: dict[str, int] = {}  # of operators that are not ONNX's own, with their versions
        self.sizes: dict[Dim, str] = {}  # values that hold a size computed from the shapes of inputs
        self.shapes: dict[Node, str] = {}  # and the shapes of inputs
        self.vectors: dict[tuple[str, ...], str] = {}  # and several sizes in a row

    @property
    def initializers(self) -> list[Any]:
        """The constants that a node reads: in an older opset some are attributes."""
        from onnx import numpy_helper

        read = {name for node in self.nodes for name in node.input}
        return [numpy_helper.from_array(values, name) for name, values in self.constants.items() if name in read]

    def node(self, op_type: str, node: Node, inputs: Sequence[str] | None = None, outputs: Sequence[str] = (), **attributes: Any) -> None:
        """One ONNX node that computes `node`; its inputs are the node's operands unless given, its one output the node's name."""
        names = [operand.name for operand in node.inputs] if inputs is None else list(inputs)
        self.check_element_types(op_type, node, names)
        if not outputs and not node.typed.is_opaque:
            self._check_element_type(op_type, node, node.typed.dtype, None)
        self._add(op_type, node, names, list(outputs) or [node.name], self._own_name(node), attributes)

    def fill(self, node: Node) -> None:
        """A parameter of one number."""
        from onnx import helper, numpy_helper

        assert node.weights is not None
        shape = self.int64s(node, "shape", node.typed.concrete())
        value = numpy_helper.from_array(np.array([node.weights.recipe.value], DTYPES[node.typed.dtype]))
        self.nodes.append(helper.make_node("ConstantOfShape", [shape], [node.name], name=self._own_name(node), value=value))

    def helper_node(self, op_type: str, node: Node, what: str, inputs: Sequence[str], **attributes: Any) -> str:
        """The name of an intermediate value `node.what` that the lowering of `node` needs on its way."""
        name = fresh_name(f"{node.name}.{what}", self.taken)
        self._add(op_type, node, list(inputs), [name], fresh_name(name, self.names), attributes)
        return name

    def _add(self, op_type: str, node: Node, inputs: list[str], outputs: list[str], name: str, attributes: dict[str, Any]) -> None:
        """In the form of this opset."""
        from onnx import helper

        wording = Wording(node.where, op_type, inputs, attributes, node.inputs[0].typed.rank)
        inputs, attributes = older_form(wording, self.opset, self.constants.get)
        self.nodes.append(helper.make_node(op_type, inputs, outputs, name=name, doc_string=_origin(node), **attributes))

    def reserve(self, names: Iterable[str]) -> dict[str, str]:
        """Keep names that stand within subgraphs from values outside; other names for those that came too late."""
        names = set(names)
        clashing = {name: fresh_name(name, self.taken | names) for name in sorted(names & self.taken - self.inner)}
        self.inner |= {clashing.get(name, name) for name in names}
        self.taken |= self.inner
        return clashing

    def keep(self, node: Node, made: Any) -> None:
        """An ONNX node that is at hand already."""
        made.name, made.doc_string = self._own_name(node), _origin(node)
        self.nodes.append(made)

    def stand_in(self, domain: str, node: Node, begun: int) -> None:
        """A node that computes nothing, for one whose row gave up; what it wrote from `begun` on goes."""
        from onnx import helper

        gone = {name for made in self.nodes[begun:] for name in made.output}
        del self.nodes[begun:]
        self.sizes = {size: name for size, name in self.sizes.items() if name not in gone}
        self.shapes = {x: name for x, name in self.shapes.items() if name not in gone}
        self.vectors = {parts: name for parts, name in self.vectors.items() if name not in gone}
        names = [operand.name for operand in node.inputs]
        self.nodes.append(helper.make_node(node.kind.name, names, [node.name], name=node.name, domain=domain))

    def _own_name(self, node: Node) -> str:
        """The name that the node had in the file it came from, for the first that has it; else its value's."""
        name = node.origin.source.removeprefix(SOURCE)
        if name == node.origin.source or not name or name in self.names:
            return fresh_name(node.name, self.names)
        self.names.add(name)
        return name

    def free_name(self, node: Node, what: str) -> str:
        """A name of its own for a value `node.what`."""
        return fresh_name(f"{node.name}.{what}", self.taken)

    def check_element_types(self, op_type: str, node: Node, names: Sequence[str]) -> None:
        """Raises: UnsupportedOp where this opset's operator is not defined for an operand's element type; `names` are what it is given."""
        operands = {operand.name: operand.typed for operand in node.inputs if not operand.typed.is_opaque}
        for place, name in enumerate(names):
            if name in operands:
                self._check_element_type(op_type, node, operands[name].dtype, place)

    def _check_element_type(self, op_type: str, node: Node, dtype: str, place: int | None) -> None:
        first, since = first_opset(op_type, tensor_text(dtype), place), first_opset(op_type)
        if since is not None and since > self.opset:
            raise UnsupportedOp(f"{node.where}: {op_type} needs ONNX opset {since}, not {self.opset}")
        if first is None or first > self.opset:
            way_out = "cast the operand to f32" if first is None else f"opset {first} has it"
            raise UnsupportedOp(f"{node.where}: ONNX {op_type} has no {dtype} at opset {self.opset}; {way_out}")

    def constant(self, node: Node, what: str, values: Array) -> str:
        """The name of an initializer `node.what` that holds `values`."""
        name = fresh_name(f"{node.name}.{what}", self.taken)
        self.constants[name] = np.asarray(values, order="C")
        return name

    def int64s(self, node: Node, what: str, values: Sequence[int]) -> str:
        return self.constant(node, what, np.array(values, dtype=np.int64))

    # --- named sizes ---

    def dims(self, node: Node, what: str, dims: Sequence[Dim]) -> str:
        """The name of a vector `node.what` of dimensions: a constant, or computed from the shapes of the graph's inputs.

        Raises: UnsupportedOp for a named size that no input has.
        """
        numbers = [dim for dim in dims if isinstance(dim, int)]
        if len(numbers) == len(dims):
            return self.int64s(node, what, numbers)
        parts = tuple(self._size(node, dim) for dim in dims)
        if len(parts) == 1:
            return parts[0]
        if parts not in self.vectors:
            self.vectors[parts] = self.helper_node("Concat", node, what, parts, axis=0)
        return self.vectors[parts]

    def _size(self, node: Node, dim: Dim) -> str:
        """A vector of one element; each is computed once."""
        if dim not in self.sizes:
            self.sizes[dim] = self._computed(node, dim)
        return self.sizes[dim]

    def _computed(self, node: Node, dim: Dim) -> str:
        if isinstance(dim, int):
            return self.int64s(node, "number", [dim])
        if (name := alone(dim)) is not None:
            return self._measured(node, name)
        total = ""
        for monomial, coefficient in dim.terms:
            factors = [self._factor(node, atom) for atom in monomial]
            factors += [self._size(node, coefficient)] if coefficient != 1 or not factors else []
            term = functools.reduce(lambda a, b: self.helper_node("Mul", node, "size", [a, b]), factors)
            total = self.helper_node("Add", node, "size", [total, term]) if total else term
        return total

    def _factor(self, node: Node, atom: Atom) -> str:
        if isinstance(atom, str):
            return self._size(node, symbol(atom))
        return self.helper_node("Div", node, "size", [self._size(node, atom.numerator), self._size(node, atom.divisor)])

    def _extent(self, node: Node, x: Node, axis: int) -> str:
        if self.opset >= 15:
            return self.helper_node("Shape", node, "size", [x.name], start=axis, end=axis + 1)
        if x not in self.shapes:
            self.shapes[x] = self.helper_node("Shape", node, "shape", [x.name])
        return self.helper_node("Gather", node, "size", [self.shapes[x], self.int64s(node, "axis", [axis])])

    def _measured(self, node: Node, name: str) -> str:
        """A named size from the first input, or result of an opaque node, of which a dimension is N, 32*N, or 2*N+2."""
        for x in (*self.graph.inputs, *(node for node in self.graph.ops if node.kind.facts.opaque)):
            for axis, dim in enumerate(x.typed.shape):
                if (found := linear(dim)) is not None and found[0] == name:
                    size, (_, each, plus) = self._extent(node, x, axis), found
                    size = self.helper_node("Sub", node, "size", [size, self._size(node, plus)]) if plus else size
                    return self.helper_node("Div", node, "size", [size, self._size(node, each)]) if each != 1 else size
        raise UnsupportedOp(
            f"{node.where}: no dimension of an input tells the named size {name}, as {name} or 2*{name}+2 do; give it a value"
        )


OnnxRow = Callable[[Node, OnnxEmitter], None]


def simple(op_type: str, attributes: Callable[[Any], dict[str, Any]] = lambda op: {}) -> OnnxRow:
    """The same operands, attributes renamed where ONNX says them otherwise."""
    return lambda node, to: to.node(op_type, node, **attributes(node.op))


def _origin(node: Node) -> str:
    """Source location, scope and provenance in one line, for whoever opens the file in a viewer."""
    origin = node.origin
    parts = [f"at {origin.source}"] if origin.source and not origin.source.startswith(SOURCE) else []
    parts += [f"in {origin.scope}"] if origin.scope else []
    parts += [f"from {', '.join(origin.made_from)}"] if origin.made_from else []
    return " ".join(parts)
