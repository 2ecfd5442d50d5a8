"""ONNX file to graph: the operators of opset 7 to the newest, one row each (operators.py). Spec: onnx.ai, IR and operators.

What has no row is refused, all of it in one sentence; or, where the caller asks for it, left out: the graph then ends at the
operands of such an operator, begins again at its results, and write/splice.py puts the operator back between the two.
"""

from __future__ import annotations

import contextlib
import functools
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ....ir.dims import Dim, multiple, parse_dim, symbol
from ....ir.errors import InvalidModel, ShapeError, UnsupportedOp, UsageError
from ....ir.graph import Graph, Node, Origin
from ....ir.ops.elementwise import IDENTITY, Identity
from ....ir.ops.leaf import INPUT, Input
from ....ir.types import DTYPES, Array, TensorType, parse_type
from ..file.limits import LIMITS, Limits
from ..file.naming import SOURCE
from ..file.reading import Model, read_model
from ..file.saving import copy_fields
from ..file.tensors import ELEMENTS
from .call import Call, given, shortest
from .folding import Folding
from .inference import inferred_values
from .known import Known
from .names import outer_names, text_of
from .operators import ROWS
from .unread import check_unread

if TYPE_CHECKING:
    from onnx import AttributeProto, NodeProto, ValueInfoProto

__all__ = ["MIN_OPSET", "Imported", "UnreadOperators", "read_graph"]

MIN_OPSET = 7  # where broadcasting became NumPy's and batch norm lost its old attributes
NAMED = 5  # nodes of an operator that an error names
# What a row may run into where a file's operands and attributes make no sense together.
NONSENSE = (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError)


@dataclass(frozen=True)
class Imported:
    """A file as a graph. `foreign` are the positions of the file's nodes that the graph leaves out.

    Of the weights, `model` keeps only what foreign nodes may read: the graph has the others. Units: `outside` bytes, of weights that
    lie in files beside the model. `note` says which outputs come out otherwise than the file declares them.
    """

    graph: Graph
    model: Model
    foreign: tuple[int, ...] = ()
    outside: int = 0
    note: str = ""


class UnreadOperators(UnsupportedOp):
    """Operators of a file that convc does not have, or not in that form; `passthrough` does without them."""


def read_graph(
    path: Path,
    limits: Limits = LIMITS,
    shapes: Mapping[str, str] | None = None,
    constants: Mapping[str, Array] | None = None,
    *,
    passthrough: bool = False,
) -> Imported:
    """The graph of an ONNX file, typed. `shapes` are other types for its inputs, as text: `N,3,224,224`; `constants` are
    values for inputs, which then are inputs no more.

    Raises: UnreadOperators with all that cannot be read; InvalidModel for a file that breaks the rules; UsageError for
    a shape of an input that is not there.
    """
    importer = _Importer(read_model(path, limits), shapes or {}, constants or {}, passthrough)
    with contextlib.closing(importer.folding):
        return importer.run()


@dataclass
class _Importer:
    """One file on its way to a graph. `values` are the nodes by the file's names; a name in `lost` has no node."""

    model: Model
    shapes: Mapping[str, str]
    constants: Mapping[str, Array]
    passthrough: bool
    values: dict[str, Node] = field(default_factory=dict[str, Node])
    inputs: list[Node] = field(default_factory=list[Node])
    lost: set[str] = field(default_factory=set[str])
    foreign: list[int] = field(default_factory=list[int])
    refused: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list[str]))
    reasons: list[str] = field(default_factory=list[str])
    known: Known = field(default_factory=Known)
    symbols: dict[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        self.folding = Folding(self.model, self.known, self.values)

    def run(self) -> Imported:
        graph = self.model.proto.graph
        self.opset = self._checked_opset()
        self.taken = {name for node in graph.node for name in node.output} | {tensor.name for tensor in graph.initializer}
        self.taken |= {value.name for value in graph.input}
        self.read = {name for node in graph.node for name in outer_names(node)} | {value.name for value in graph.output}
        outside = 0
        for tensor in graph.initializer:
            if self.folding.keeps(tensor, tensor.name):
                continue
            array = self.model.array(tensor)
            outside += array.nbytes if tensor.external_data else 0
            self.values[tensor.name] = given(tensor.name, array, Origin())
        self.values |= {name: given(name, array, Origin()) for name, array in self.constants.items()}
        self._read_inputs()
        for position, node in enumerate(graph.node):
            if self._is_readable(node):
                self._convert(node, position)
            elif not self.folding.keeps_constant(node) and not self._is_folded(node):
                if not self._has_row(node):
                    self._refuse(node)
                self._leave(node, position)
        if self.refused and not self.passthrough:
            raise self._refusal()
        return Imported(self._graph(), self._without_weights(), tuple(self.foreign), outside, self._note())

    # --- the interface ---

    def _checked_opset(self) -> int:
        from onnx.defs import onnx_opset_version

        opset = self.model.opset.get("", 0)
        if not opset and all(node.domain for node in self.model.proto.graph.node):
            return onnx_opset_version()
        if not MIN_OPSET <= opset <= onnx_opset_version():
            raise UnsupportedOp(f"{self.model.path.name}: opset {opset}; convc reads opsets {MIN_OPSET} to {onnx_opset_version()}")
        return opset

    def _read_inputs(self) -> None:
        """An input that has an initializer is a constant: its value is a default that nobody overrides here."""
        proper = [value for value in self.model.proto.graph.input if value.name not in self.values]
        for name in self.shapes:
            if name not in {value.name for value in proper}:
                raise UsageError(f"{self.model.path.name} has no input '{name}'; it has {', '.join(value.name for value in proper)}")
        for value in proper:
            type_ = self._declared(value)
            if type_ is None:
                raise UnsupportedOp(
                    f"{self.model.path.name}: input '{value.name}' is no tensor of a known rank and of an element type that convc has"
                )
            if value.name in self.shapes:
                type_ = self._pinned(value.name, type_)
            self._add_input(value.name, type_)

    def _add_input(self, name: str, type_: TensorType) -> None:
        node = Node(name, INPUT, Input(), (), type_)
        self.inputs.append(node)
        self.values[name] = node

    def _pinned(self, name: str, declared: TensorType) -> TensorType:
        text = self.shapes[name]
        wanted = parse_type(text if "[" in text else f"{declared.dtype}[{text}]")
        if wanted.rank != declared.rank or wanted.dtype != declared.dtype:
            raise UsageError(f"--input {name}:{text}: the file declares {declared}; give as many dimensions, of the same element type")
        return wanted

    def _declared(self, value: ValueInfoProto) -> TensorType | None:
        """The type that the file writes down, or None where it writes none that convc has."""
        if not value.type.HasField("tensor_type") or not value.type.tensor_type.HasField("shape"):
            return None
        tensor = value.type.tensor_type
        element = ELEMENTS.get(tensor.elem_type)
        if element is None or element.dtype is None or element.dtype not in DTYPES.values():
            return None
        dtype = next(name for name, known in DTYPES.items() if known == element.dtype)
        dims: list[Dim] = []
        for axis, dim in enumerate(tensor.shape.dim):
            is_number = dim.HasField("dim_value") and dim.dim_value >= 0  # older exporters write -1 for any
            dims.append(dim.dim_value if is_number else self._named(dim.dim_param or f"{value.name}_{axis}"))
        return TensorType(dtype, tuple(dims))

    def _named(self, text: str) -> Dim:
        """A named size, or a multiple of one such as 32*H, as PyTorch and convc write them."""
        try:
            name, factor = multiple(parse_dim(text)) or (text, 1)
        except InvalidModel:
            name, factor = text, 1
        return symbol(self._symbol(name)) * factor

    def _symbol(self, text: str) -> str:
        """A named size as the IR can write it; different names stay different."""
        if text not in self.symbols:
            name = re.sub(r"\W", "_", text, flags=re.ASCII)
            name = name if re.match(r"[A-Za-z_]", name) else f"d{name}"
            while name in self.symbols.values():
                name += "_"
            self.symbols[text] = name
        return self.symbols[text]

    # --- operators ---

    def _has_row(self, node: NodeProto) -> bool:
        return node.domain in ("", "ai.onnx") and node.op_type in ROWS and not self.folding.is_untyped(node)

    def _is_readable(self, node: NodeProto) -> bool:
        return self._has_row(node) and not any(name in self.lost for name in node.input)

    def _is_folded(self, node: NodeProto) -> bool:
        """Whether an operator on constants could be computed: its results are constants then."""
        results = self.folding.results(node)
        if results is None:
            return False
        origin = Origin(f"{SOURCE}{node.name}" if node.name else "", "")
        self.values |= {name: given(name, array, origin) for name, array in results.items()}
        return True

    def _refuse(self, node: NodeProto, why: str = "") -> None:
        label = f"{node.domain}.{node.op_type}" if node.domain not in ("", "ai.onnx") else node.op_type
        self.refused[label].append(node.name or next(iter(node.output), ""))
        if why:
            self.reasons.append(why)

    def _convert(self, node: NodeProto, position: int) -> None:
        """The row's nodes under the names of the results."""
        if not node.output:
            raise InvalidModel(f"{self.model.path.name}: {node.op_type} '{node.name}' computes nothing")
        origin = Origin(f"{SOURCE}{node.name}" if node.name else "", "")
        operands = [self.values[name] if name else None for name in node.input]
        attributes = {attribute.name: self._attribute(node, attribute) for attribute in node.attribute}
        limits = self.model.limits
        wanted = [name if i == 0 or name in self.read else "" for i, name in enumerate(node.output)]  # older files name what nobody reads
        call = Call(node.op_type, origin, wanted, operands, attributes, self.opset, self.known, self.taken, limits.elements)
        try:
            made = _made(call)
            check_unread(node.attribute, call)
        except UnsupportedOp as error:
            if self._is_folded(node):
                return
            self._refuse(node, str(error))
            self._leave(node, position)
            return
        except ShapeError as error:
            if not any(operand.typed.symbols for operand in operands if operand is not None):
                raise
            raise ShapeError(f"{error}; named sizes may be given values, or multiples such as 32*H, with --input") from None
        results: Sequence[Node | None] = [made] if isinstance(made, Node) else made
        if any(wanted[len(results) :]):
            self._refuse(node, str(call.refuse(f"result {wanted[len(results)]} is asked for; only the first can be computed")))
            self._leave(node, position)
            return
        for name, result in zip(wanted, results, strict=False):
            if name and result is not None:
                self.values[name] = result

    def _attribute(self, node: NodeProto, attribute: AttributeProto) -> Any:
        """A Python value. Floats are the shortest decimals that are the same in float32: 1e-05, not 9.99999974737875e-06."""
        kind = attribute.type
        if kind == attribute.FLOAT:
            return shortest(np.float32(attribute.f))
        if kind == attribute.INT:
            return attribute.i
        if kind == attribute.STRING:
            return text_of(attribute.s, node)
        if kind == attribute.TENSOR:
            return self.model.array(attribute.t)
        if kind == attribute.FLOATS:
            return [shortest(np.float32(value)) for value in attribute.floats]
        if kind == attribute.INTS:
            return list(attribute.ints)
        if kind == attribute.STRINGS:
            return [text_of(value, node) for value in attribute.strings]
        raise UnsupportedOp(f"{node.op_type} '{node.name}': attribute '{attribute.name}' is neither a number, a text nor a tensor")

    def _leave(self, node: NodeProto, position: int) -> None:
        """Leave an operator out. Its results are inputs of the graph where the file says their types, else lost."""
        self.foreign.append(position)
        for name in node.output:
            type_ = self._typed(name) if self.passthrough and name else None
            if type_ is None:
                self.lost.add(name)
            else:
                self._add_input(name, type_)

    def _typed(self, name: str) -> TensorType | None:
        """The type of an intermediate value, where it is described."""
        return self._declared(self._described[name]) if name in self._described else None

    @functools.cached_property
    def _described(self) -> dict[str, ValueInfoProto]:
        """Intermediate values as the file describes them, or as ONNX's own shape inference finds them."""
        return {value.name: value for value in inferred_values(self.model.proto, self.model.limits)}

    def _refusal(self) -> UnreadOperators:
        listed: list[str] = []
        for label, names in sorted(self.refused.items()):
            more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
            nodes = "node" if len(names) == 1 else f"{len(names)} nodes:"
            listed.append(f"{label} ({nodes} {', '.join(names[:NAMED])}{more})")
        why = f"; the first: {self.reasons[0]}" if self.reasons else ""
        count = sum(map(len, self.refused.values()))
        operators = "1 operator" if count == 1 else f"{count} operators"
        return UnreadOperators(f"{self.model.path.name}: {operators} cannot be read: {'; '.join(listed)}{why}")

    # --- the result ---

    def _without_weights(self) -> Model:
        """The model in new memory: what was parsed is let go as a whole."""
        from onnx import ModelProto

        slim = ModelProto()
        copy_fields(self.model.proto, slim, without="graph")
        copy_fields(self.model.proto.graph, slim.graph, without="" if self.foreign else "initializer")
        return replace(self.model, proto=slim)

    def _graph(self) -> Graph:
        proto = self.model.proto.graph
        outputs: list[Node] = []
        for value in proto.output:
            if value.name in self.values:
                outputs.append(self._named_output(value.name))
        outputs += [self.values[name] for name in self._read_by_foreign() if self.values[name] not in outputs]
        if not outputs:
            raise UnsupportedOp(f"{self.model.path.name}: no output is computed by operators that convc has")
        graph = Graph.of(proto.name or "main", self.inputs, outputs, self.values.values())
        stray = next((node for node in graph.nodes if node.kind is INPUT and node not in self.inputs), None)
        if stray is not None:
            dims = ", ".join(str(dim) for dim in self.known.values[stray])
            raise UnsupportedOp(
                f"{stray.where}: the sizes ({dims}) are used as data, not as a shape; give the named sizes a value with --input"
            )
        return graph

    def _note(self) -> str:
        """Many exporters leave old shapes behind, so it is no reason to refuse; sizes given with --input change the outputs rightly."""
        wrong: list[str] = []
        for value in self.model.proto.graph.output if not self.shapes else ():
            declared = self._declared(value) if value.name in self.values else None
            if declared is not None and not _may_be(self.values[value.name].typed, declared):
                wrong.append(f"'{value.name}' as {declared}, but its operators make it {self.values[value.name].type}")
        more = f" and {len(wrong) - NAMED} more" if len(wrong) > NAMED else ""
        return f"{self.model.path.name}: the file declares output {', '.join(wrong[:NAMED])}{more}" if wrong else ""

    def _named_output(self, name: str) -> Node:
        """An output keeps its name also where an operator passed its operand through."""
        node = self.values[name]
        if node.name == name:
            return node
        self.values[name] = Node(name, IDENTITY, Identity(), (node,), node.type, node.origin)
        return self.values[name]

    def _read_by_foreign(self) -> Iterator[str]:
        """What the operators left out read and the graph computes, once each."""
        nodes = self.model.proto.graph.node
        constants = {tensor.name for tensor in self.model.proto.graph.initializer}
        seen: set[str] = set()
        for position in self.foreign:
            for name in outer_names(nodes[position]):
                if name in self.values and name not in seen and name not in constants and self.values[name] not in self.inputs:
                    seen.add(name)
                    yield self._named_output(name).name


def _may_be(type_: TensorType, declared: TensorType) -> bool:
    """Whether they are of one rank and element type, and of one extent where both say a number."""
    if (type_.dtype, type_.rank) != (declared.dtype, declared.rank):
        return False
    pairs = zip(type_.shape, declared.shape, strict=True)
    return all(a == b or not (isinstance(a, int) and isinstance(b, int)) for a, b in pairs)


def _made(call: Call) -> Node | Sequence[Node | None]:
    """What the operator's row makes of it.

    Raises: ConvcError; InvalidModel for operands and attributes that the row cannot make sense of.
    """
    try:
        return ROWS[call.op_type](call)
    except NONSENSE as error:
        nonsense = f"{type(error).__name__}: {error}"
        raise InvalidModel(f"{call.where}: its operands and attributes make no sense together ({nonsense})") from error
