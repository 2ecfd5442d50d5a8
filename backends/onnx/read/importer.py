"""ONNX file to graph: the operators of opset 6 to the newest, one row each (operators.py). Spec: onnx.ai, IR and operators.

What has no row, or not in that form, becomes an opaque node (opaque.py), and what depends on one of an unknown type does, too. Where the
caller is strict, all of it is refused in one sentence.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ....ir.dims import Dim, dim_names
from ....ir.errors import InvalidModel, ShapeError, UnsupportedOp, UsageError
from ....ir.graph import Graph, Node, Origin
from ....ir.ops.elementwise import IDENTITY, Identity
from ....ir.ops.leaf import INPUT, Input
from ....ir.types import OPAQUE, Array, TensorType, parse_type
from ....ir.weights import Weights
from ..file.limits import LIMITS, Limits
from ..file.naming import SOURCE
from ..file.opaque import inner_graphs, inner_names, outer_names
from ..file.reading import Model, read_model
from ..file.saving import SMALL, copy_fields, remark_of
from ..file.types_text import type_text
from .attribute_values import attribute_value
from .branches import Branch, branch_of
from .call import Call, given
from .declared import Declared, may_be
from .folding import Folding
from .functions import without_functions
from .inference import Inference
from .known import Known
from .multiples import UnfitSizes, divisors, narrowed, with_multiples
from .opaque import opaque_nodes
from .operators import ROWS
from .refusals import Refusals, UnreadOperators, label
from .unread import check_unread

if TYPE_CHECKING:
    from onnx import NodeProto, ValueInfoProto

__all__ = ["MIN_OPSET", "Imported", "UnreadOperators", "read_from", "read_graph"]

MIN_OPSET = 6  # the first that is no experiment; opset_six.py has what changed with the next
NAMED = 5  # outputs that a note names
# What a row may run into where a file's operands and attributes make no sense together.
NONSENSE = (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError)


@dataclass(frozen=True)
class Imported:
    """A file as a graph. `model` is without its weights, which the graph has, but for small ones. Units: `outside` bytes, of weights that
    lie in files beside the model. `note` says which outputs come out otherwise than the file declares them, and which named sizes fit only
    as multiples. `symbols` are the graph's named sizes by what the file calls them, `constants` small values that do not change, stored in
    the file or computed there.
    """

    graph: Graph
    model: Model
    outside: int = 0
    note: str = ""
    symbols: Mapping[str, str] = field(default_factory=dict[str, str])
    constants: Mapping[str, Weights] = field(default_factory=dict[str, Weights])


def read_graph(
    path: Path,
    limits: Limits = LIMITS,
    shapes: Mapping[str, str] | None = None,
    constants: Mapping[str, Array] | None = None,
    *,
    strict: bool = False,
) -> Imported:
    """The graph of an ONNX file, typed. `shapes` are other types for its inputs, as text: `N,3,224,224`; `constants` are
    values for inputs, which then are inputs no more.

    Raises: UnreadOperators, if `strict`, with all that cannot be read; InvalidModel for a file that breaks the rules; UsageError for
    a shape of an input that is not there.
    """
    return read_from(read_model(path, limits), shapes, constants, strict=strict)


def read_from(
    model: Model, shapes: Mapping[str, str] | None = None, constants: Mapping[str, Array] | None = None, *, strict: bool = False
) -> Imported:
    """As `read_graph`, of a model that is in memory."""
    model = without_functions(model)

    def read(sizes: Mapping[str, Dim]) -> Imported:
        importer = _Importer(model, shapes or {}, constants or {}, strict, Declared(sizes))
        with contextlib.closing(importer.folding), contextlib.closing(importer.inference):
            return importer.run()

    imported, factors = with_multiples(read)
    return replace(imported, note="; ".join(filter(None, [imported.note, narrowed(imported.graph, factors)])))


@dataclass
class _Importer:
    """One file on its way to a graph. `values` are the nodes by the file's names."""

    model: Model
    shapes: Mapping[str, str]
    constants: Mapping[str, Array]
    strict: bool
    declared: Declared
    values: dict[str, Node] = field(default_factory=dict[str, Node])
    inputs: list[Node] = field(default_factory=list[Node])
    refusals: Refusals = field(default_factory=Refusals)
    known: Known = field(default_factory=Known)
    nodes: list[NodeProto] = field(default_factory=list["NodeProto"])
    branches: list[Branch] = field(default_factory=list[Branch])
    makers: dict[str, NodeProto] = field(default_factory=dict[str, "NodeProto"])

    def __post_init__(self) -> None:
        self.folding = Folding(self.model, self.known, self.values)
        self.inference = Inference(self.model.proto, self.known, self.model.limits)

    def run(self) -> Imported:
        graph = self.model.proto.graph
        self.opset = self._checked_opset()
        self.taken = {name for node in graph.node for name in node.output} | {tensor.name for tensor in graph.initializer}
        self.taken |= {value.name for value in graph.input} | {name for node in graph.node for name in inner_names(node)}
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
        waiting = list(reversed(graph.node))
        while waiting:
            node = waiting.pop()
            if not node.output:
                raise InvalidModel(f"{self.model.path.name}: {node.op_type} '{node.name}' computes nothing")
            if (condition := self._condition(node)) is not None:
                waiting += reversed(self._entered(branch_of(node, condition, self.taken)))
                continue
            self.makers |= dict.fromkeys(node.output, node)
            self.nodes.append(node)
            why = self._convert(node) if self._is_readable(node) else ""
            if why is None or self.folding.keeps_constant(node) or self._is_folded(node):
                continue
            if why or not self._has_row(node):
                self.refusals.add(node, why)
            self._keep(node)
        if self.refusals and self.strict:
            raise self.refusals.error(self.model.path.name)
        return Imported(self._graph(), self._without_weights(), outside, self._note(), self.declared.symbols, self._constants())

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
            type_ = self.declared.type_of(value)
            if type_ is None and self.strict:
                raise UnsupportedOp(
                    f"{self.model.path.name}: input '{value.name}' is no tensor of a known rank and of an element type that convc has"
                )
            type_ = self.declared.blind_type_of(value) if type_ is None else type_
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
        return wanted.with_sizes(self.declared.sizes)

    # --- operators ---

    def _has_row(self, node: NodeProto) -> bool:
        return node.domain in ("", "ai.onnx") and node.op_type in ROWS and not self.folding.is_untyped(node)

    def _is_readable(self, node: NodeProto) -> bool:
        return self._has_row(node) and not any(self.values[name].typed.is_opaque for name in node.input if name)

    def _is_folded(self, node: NodeProto) -> bool:
        """Whether an operator on constants could be computed: its results are constants then."""
        results = self.folding.results(node)
        if results is None:
            return False
        self.values |= {name: given(name, array, _origin(node)) for name, array in results.items()}
        return True

    def _condition(self, node: NodeProto) -> bool | None:
        """The condition of an If, where it is known."""
        if node.op_type != "If" or label(node) != "If" or len(node.input) != 1 or node.input[0] not in self.values:
            return None
        value = self.folding.constants.value(self.values[node.input[0]])
        return bool(value.item()) if value is not None and value.size == 1 and value.dtype == bool else None

    def _entered(self, branch: Branch) -> list[NodeProto]:
        """The nodes of a branch, once its constants are there."""
        self.branches.append(branch)
        for tensor in branch.constants:
            if not self.folding.keeps(tensor, tensor.name):
                self.values[tensor.name] = given(tensor.name, self.model.array(tensor), Origin())
        self.read |= {name for node in branch.nodes for name in outer_names(node)}
        return branch.nodes

    def _convert(self, node: NodeProto) -> str | None:
        """Put the row's nodes under the names of the results; a word on why the row makes none."""
        operands = [self.values[name] if name else None for name in node.input]
        limits, wanted = self.model.limits, self._wanted(node)
        try:
            attributes = {attribute.name: attribute_value(self.model, node, attribute) for attribute in node.attribute}
            of_file = self.opset, self.known, self.taken, limits.elements, self._new_size
            call = Call(node.op_type, _origin(node), wanted, operands, attributes, *of_file)
            made = _made(call)
            check_unread(node.attribute, call)
        except UnsupportedOp as error:
            return str(error)
        except InvalidModel as error:
            if self._has_new_sizes(operands):
                return str(error)
            if not isinstance(error, ShapeError) or not any(operand.typed.symbols for operand in operands if operand is not None):
                raise
            there = [operand for operand in operands if operand is not None]
            factors = divisors((operand.typed for operand in there), map(self.known.of, there))
            names = dict.fromkeys(name for each in self.inputs for name in each.typed.symbols)
            raise UnfitSizes(str(error), len(self.values), names, factors) from None
        results: Sequence[Node | None] = [made] if isinstance(made, Node) else made
        if any(wanted[len(results) :]):
            return str(call.refuse(f"result {wanted[len(results)]} is asked for; only the first can be computed"))
        for name, result in zip(wanted, results, strict=False):
            if name and result is not None:
                self.values[name] = result
        return None

    def _new_size(self, name: str, axis: int) -> Dim:
        """By the name that the file has for it, if that is of no input."""
        written = self._written.get(name)
        type_ = self.declared.type_of(written) if written is not None and not self.shapes else None
        said = type_.shape[axis] if type_ is not None and type_.rank > axis else 0
        known = {name for node in self.inputs for name in node.typed.symbols}
        return self.declared.named(f"{name}_{axis}") if isinstance(said, int) or known.intersection(dim_names(said)) else said

    def _wanted(self, node: NodeProto) -> list[str]:
        """The names of its results, "" for those that nobody reads: older files name them all."""
        return [name if i == 0 or name in self.read else "" for i, name in enumerate(node.output)]

    def _has_new_sizes(self, operands: Iterable[Node | None]) -> bool:
        """Whether an operand has a named size that only an opaque node brings."""
        known = {name for node in self.inputs for name in node.typed.symbols}
        return any(set(operand.typed.symbols) - known for operand in operands if operand is not None)

    def _keep(self, node: NodeProto) -> None:
        """The operator as it is, in opaque nodes. Who is strict reads on only to see what else cannot be read."""
        for name in outer_names(node):
            self._need(name)
        wanted = [name if name in self.read else "" for name in node.output]
        self.values |= opaque_nodes(node, self.values, wanted, self._types(node), self.model, _origin(node), self.taken)

    def _need(self, name: str) -> None:
        """A constant of an element type that convc has not becomes an operator once somebody reads it."""
        from onnx import helper

        if name in self.values or name not in self.folding.untyped:
            return
        tensor = self.folding.untyped[name]
        type_ = TensorType(OPAQUE, (), type_text(helper.make_tensor_type_proto(tensor.data_type, tensor.dims)))
        constant = helper.make_node("Constant", [], [name], value=tensor)
        self.values |= opaque_nodes(constant, {}, [name], lambda name: type_, self.model, Origin(), self.taken)

    def _types(self, node: NodeProto) -> Callable[[str], TensorType]:
        """The types of an operator's results, as far as they are known; who is strict does not need them."""
        if self.strict:
            return lambda name: self.declared.blind_type_of(None)
        inferred = self.inference.types(node, self.values)
        operands = [self.values[name] for name in outer_names(node)]
        trusted = not self.shapes and not any(inner_graphs(node))  # for other inputs, and where branches differ, it is something else
        return lambda name: self.declared.found(name, inferred.get(name), self._written.get(name), operands, trusted=trusted)

    @functools.cached_property
    def _written(self) -> dict[str, ValueInfoProto]:
        """Values as the file describes them."""
        return {value.name: value for value in (*self.model.proto.graph.value_info, *self.model.proto.graph.output)}

    # --- the result ---

    def _constants(self) -> dict[str, Weights]:
        small: dict[str, Weights] = {}
        for name, node in self.values.items():
            if node.weights is not None and node.weights.is_given and isinstance(size := node.typed.nbytes, int) and size <= SMALL:
                small[name] = node.weights
        return small

    def _without_weights(self) -> Model:
        """The model in new memory, with the branches that are taken in place of an If: what was parsed is let go as a whole."""
        from onnx import ModelProto

        slim = ModelProto()
        copy_fields(self.model.proto, slim, without="graph")
        copy_fields(self.model.proto.graph, slim.graph, without="initializer")
        if self.branches:
            del slim.graph.node[:]
            slim.graph.node.extend(self.nodes)
        for tensor in (*self.model.proto.graph.initializer, *(each for branch in self.branches for each in branch.constants)):
            is_small = not tensor.external_data and tensor.ByteSize() <= SMALL
            slim.graph.initializer.append(tensor if is_small else remark_of(tensor))
        return replace(self.model, proto=slim)

    def _graph(self) -> Graph:
        proto = self.model.proto.graph
        outputs: list[Node] = []
        for value in proto.output:
            outputs.append(self._named_output(value.name))
        graph = Graph.of(proto.name or "main", self.inputs, outputs, self.values.values())
        stray = next((node for node in graph.nodes if node.kind is INPUT and node not in self.inputs), None)
        if stray is not None and not self.strict:
            return self._with_shapes(graph)
        if stray is not None:
            dims = ", ".join(str(dim) for dim in self.known.values[stray])
            raise UnsupportedOp(
                f"{stray.where}: the sizes ({dims}) are used as data, not as a shape; give the named sizes a value with --input"
            )
        return graph

    def _with_shapes(self, graph: Graph) -> Graph:
        """Sizes that are data are computed when the network runs, by the operator that the file has for it."""
        made: dict[str, Node] = {}

        def visit(node: Node, operands: tuple[Node, ...]) -> Node:
            result = node.reading(operands)
            if node.kind is INPUT and node not in self.inputs:
                shape, type_ = self.makers[node.name], node.typed
                values = {name: made[self.values[name].name] for name in shape.input}
                result = opaque_nodes(shape, values, [node.name], lambda name: type_, self.model, node.origin, self.taken)[node.name]
            made[node.name] = result
            return result

        return graph.rebuild(visit)

    def _note(self) -> str:
        """Many exporters leave old shapes behind, so it is no reason to refuse; sizes given with --input change the outputs rightly."""
        wrong: list[str] = []
        for value in self.model.proto.graph.output if not self.shapes else ():
            declared = self.declared.type_of(value)
            if declared is not None and not self.values[value.name].typed.is_opaque and not may_be(self.values[value.name].typed, declared):
                wrong.append(f"'{value.name}' as {declared}, but its operators make it {self.values[value.name].type}")
        more = f" and {len(wrong) - NAMED} more" if len(wrong) > NAMED else ""
        return f"{self.model.path.name}: the file declares output {', '.join(wrong[:NAMED])}{more}" if wrong else ""

    def _named_output(self, name: str) -> Node:
        """An output keeps its name also where an operator passed its operand through."""
        self._need(name)
        node = self.values[name]
        if node.name == name:
            return node
        self.values[name] = Node(name, IDENTITY, Identity(), (node,), node.type, node.origin)
        return self.values[name]


def _origin(node: NodeProto) -> Origin:
    return Origin(f"{SOURCE}{node.name}" if node.name else "", "")


def _made(call: Call) -> Node | Sequence[Node | None]:
    """What the operator's row makes of it.

    Raises: ConvcError; InvalidModel for operands and attributes that the row cannot make sense of.
    """
    try:
        return ROWS[call.op_type](call)
    except NONSENSE as error:
        nonsense = f"{type(error).__name__}: {error}"
        raise InvalidModel(f"{call.where}: its operands and attributes make no sense together ({nonsense})") from error
