"""The rules of the ONNX format that a graph must keep before anything is built from it. Source: onnx, docs/IR.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ....ir.errors import InvalidModel
from ....ir.legible import quoted
from .limits import Limits
from .naming import check_name, check_text
from .tensors import EXTERNAL, check_extents, check_tensor

if TYPE_CHECKING:
    from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, TypeProto, ValueInfoProto

__all__ = ["External", "check_model", "check_value"]

External = tuple[str, "TensorProto", int]  # where, the tensor, the bytes that it declares


@dataclass(frozen=True)
class _Kind:
    """An attribute type: the field that holds it, and whether an absent field is a value (zero, or an empty list)."""

    field: str
    may_lack: bool = True


# by AttributeProto.AttributeType; writers that drop zeros leave scalars out
KINDS = {
    1: _Kind("f"),
    2: _Kind("i"),
    3: _Kind("s"),
    4: _Kind("t", may_lack=False),
    5: _Kind("g", may_lack=False),
    6: _Kind("floats"),
    7: _Kind("ints"),
    8: _Kind("strings"),
    9: _Kind("tensors"),
    10: _Kind("graphs"),
    13: _Kind("tp", may_lack=False),
    14: _Kind("type_protos"),
}
SPARSE = (11, 12)
NOT_VALUES = frozenset({"name", "type", "doc_string"})
ITEM_BYTES = 8  # of a number in an attribute


@dataclass
class _Walk:
    """One walk over a model: what it was given, and what it gathers on the way."""

    file: str
    limits: Limits
    opset: Mapping[str, int]
    known: set[str] = field(default_factory=set[str])  # names that may be read here
    external: list[External] = field(default_factory=list[External])
    nodes: int = 0  # in all graphs so far


@dataclass(frozen=True)
class _Scope:
    """One graph of the model; `own` are the names it defines."""

    graph: GraphProto
    where: str
    depth: int
    own: list[str] = field(default_factory=list[str])


def check_model(model: ModelProto, file: str, opset: Mapping[str, int], limits: Limits) -> list[External]:
    """Check everything but the data outside the file; gives the tensors that have theirs there.

    Raises: InvalidModel naming the node or tensor and the numbers.
    """
    from onnx import IR_VERSION

    if not 1 <= model.ir_version <= IR_VERSION:
        raise InvalidModel(f"{file}: version {model.ir_version} of the format; the installed onnx knows 1 to {IR_VERSION}")
    if not model.HasField("graph"):
        raise InvalidModel(f"{file}: a model without a graph")
    if model.training_info:
        raise InvalidModel(f"{file}: holds training_info, which is not read; export the model for inference")
    for what in ("producer_name", "producer_version", "domain"):
        check_name(getattr(model, what), f"{file}: {what}", limits)
    for domain in opset:
        check_name(domain, f"{file}: an operator domain", limits)
    _check_texts(model, f"{file}: the model", limits)
    walk = _Walk(file, limits, opset)
    _check_graph(_Scope(model.graph, f"{file}:", 0), walk)
    return walk.external


def _check_graph(scope: _Scope, walk: _Walk) -> None:
    """Names of an inner graph are forgotten at its end."""
    graph, where, limits = scope.graph, scope.where, walk.limits
    if scope.depth > limits.nesting:
        raise InvalidModel(f"{where} graphs nested {scope.depth} deep; at most {limits.nesting} are read")
    check_name(graph.name, f"{where} the name of a graph", limits)
    _check_texts(graph, f"{where} graph {quoted(graph.name)}", limits)
    if graph.sparse_initializer:
        raise InvalidModel(f"{where} holds {len(graph.sparse_initializer)} sparse initializers, which are not read; make them dense")
    walk.nodes += len(graph.node)
    values = len(graph.input) + len(graph.output) + len(graph.value_info)
    _at_most(walk.nodes, limits.nodes, "nodes", where)
    _at_most(len(graph.initializer), limits.initializers, "initializers", where)
    _at_most(values, limits.values, "described values", where)
    for value in graph.input:
        check_value(value, f"{where} input {quoted(value.name)}", limits)
        _define(value.name, f"{where} an input", scope, walk)
    _check_initializers(scope, walk)
    for index, node in enumerate(graph.node):
        _check_node(node, index, scope, walk)
    for value in graph.output:
        check_value(value, f"{where} output {quoted(value.name)}", limits)
        if value.name not in walk.known:
            raise InvalidModel(f"{where} output {quoted(value.name)} is computed by no node")
    for value in graph.value_info:
        check_value(value, f"{where} value_info of {quoted(value.name)}", limits)
    walk.known.difference_update(scope.own)


def _check_initializers(scope: _Scope, walk: _Walk) -> None:
    """An initializer with the name of an input is its default value."""
    inputs, seen = set(scope.own), set[str]()
    for tensor in scope.graph.initializer:
        what = f"{scope.where} initializer {quoted(tensor.name)}"
        if tensor.name in seen:
            raise InvalidModel(f"{what} is there twice")
        seen.add(tensor.name)
        if tensor.name not in inputs:
            _define(tensor.name, f"{scope.where} an initializer", scope, walk)
        _check_tensor(tensor, what, walk)


def _check_node(node: NodeProto, index: int, scope: _Scope, walk: _Walk) -> None:
    limits, known = walk.limits, walk.known
    what = f"{scope.where} node {index}"
    check_name(node.op_type, f"{what}: the operator", limits)
    check_name(node.name, f"{what}: the name", limits)
    if not node.op_type:
        raise InvalidModel(f"{what} {quoted(node.name)} names no operator")
    what = f"{what} ({node.op_type[:64]} {quoted(node.name)})"
    if node.domain and node.domain != "ai.onnx":
        check_name(node.domain, f"{what}: the domain", limits)
    if ("" if node.domain == "ai.onnx" else node.domain) not in walk.opset:
        raise InvalidModel(f"{what} is of domain {quoted(node.domain)}, which the model does not import")
    _at_most(max(len(node.input), len(node.output), len(node.attribute)), limits.operands, "operands or attributes", f"{what}:")
    _check_texts(node, what, limits)
    for name in node.input:
        if name and name not in known:
            raise _dangling(name, index, scope.graph, what)
    if node.attribute:
        names = [attribute.name for attribute in node.attribute]
        if len({*names}) < len(names):
            raise InvalidModel(f"{what} has the attribute {quoted(_first_double(names))} twice")
        for attribute in node.attribute:
            _check_attribute(attribute, what, scope.depth, walk)
    for name in node.output:
        if name:  # an output that nobody wants has none
            _define(name, what, scope, walk)


def _check_attribute(attribute: AttributeProto, node: str, depth: int, walk: _Walk) -> None:
    limits = walk.limits
    check_name(attribute.name, f"{node}: the name of an attribute", limits)
    what = f"{node}, attribute {quoted(attribute.name)}"
    if not attribute.name:
        raise InvalidModel(f"{node} has an attribute without a name")
    if attribute.type in SPARSE:
        raise InvalidModel(f"{what} is a sparse tensor, which is not read; make it dense")
    if (kind := KINDS.get(attribute.type)) is None:
        raise InvalidModel(f"{what} has the unknown type {attribute.type}")
    fields = {descriptor.name for descriptor, _ in attribute.ListFields()} - NOT_VALUES
    if fields - {kind.field} or (not fields and not kind.may_lack):
        raise InvalidModel(f"{what} should have its value in '{kind.field}', and has {', '.join(sorted(fields)) or 'none'}")
    match kind.field:
        case "f" | "i":
            pass
        case "s" | "strings":
            _check_strings([attribute.s] if kind.field == "s" else attribute.strings, what, limits)
        case "t" | "tensors":
            for tensor in [attribute.t] if kind.field == "t" else attribute.tensors:
                _check_tensor(tensor, f"{what} {quoted(tensor.name)}", walk)
        case "g" | "graphs":
            for graph in [attribute.g] if kind.field == "g" else attribute.graphs:
                _check_graph(_Scope(graph, f"{what}:", depth + 1), walk)
        case "tp" | "type_protos":
            for type_ in [attribute.tp] if kind.field == "tp" else attribute.type_protos:
                _check_type(type_, what, limits)
        case _:
            _at_most(ITEM_BYTES * len(getattr(attribute, kind.field)), limits.attribute_bytes, "bytes", f"{what}:")


def _check_strings(strings: Sequence[bytes], what: str, limits: Limits) -> None:
    _at_most(sum(map(len, strings)) + len(strings), limits.attribute_bytes, "bytes", f"{what}:")


def _check_tensor(tensor: TensorProto, what: str, walk: _Walk) -> None:
    check_name(tensor.name, f"{what}: its name", walk.limits)
    _check_texts(tensor, what, walk.limits)
    declared = check_tensor(tensor, what, walk.limits)
    if tensor.data_location == EXTERNAL:
        walk.external.append((what, tensor, declared))


def check_value(value: ValueInfoProto, what: str, limits: Limits) -> None:
    """Raises: InvalidModel for names and shapes that are not read."""
    check_name(value.name, f"{what}: its name", limits)
    if not value.name:
        raise InvalidModel(f"{what} has no name")
    _check_texts(value, what, limits)
    _check_type(value.type, what, limits)


def _check_type(type_: TypeProto, what: str, limits: Limits) -> None:
    """Shapes inside sequences, optionals and maps too."""
    for _ in range(limits.nesting + 1):
        match type_.WhichOneof("value"):
            case "sequence_type":
                type_ = type_.sequence_type.elem_type
            case "optional_type":
                type_ = type_.optional_type.elem_type
            case "map_type":
                type_ = type_.map_type.value_type
            case "tensor_type":
                return _check_shape(type_.tensor_type.shape.dim, what, limits)
            case "sparse_tensor_type":
                return _check_shape(type_.sparse_tensor_type.shape.dim, what, limits)
            case _:
                return None
    raise InvalidModel(f"{what} has a type nested over {limits.nesting} deep; that is the most that is read")


def _check_shape(dims: Sequence[Any], what: str, limits: Limits) -> None:
    """Unknown and named extents count as one, and so does the -1 that older exporters write for any."""
    if len(dims) <= limits.rank:
        for dim in dims:
            check_name(dim.dim_param, f"{what}: the name of a dimension", limits)
    declared = [dim.dim_value if dim.HasField("dim_value") else -1 for dim in dims[: limits.rank + 1]]
    check_extents([1 if extent == -1 else extent for extent in declared], what, limits)


def _check_texts(message: Any, what: str, limits: Limits) -> None:
    """The doc string and the metadata of a model, graph, node, value or tensor; the last three have metadata in newer formats only."""
    if message.doc_string:
        check_text(message.doc_string, f"{what}: the doc string", limits)
    if not (entries := getattr(message, "metadata_props", ())):
        return
    keys: set[str] = set()
    for entry in entries:
        check_name(entry.key, f"{what}: a metadata key", limits)
        check_text(entry.value, f"{what}: the metadata value of {quoted(entry.key)}", limits)
        if entry.key in keys:
            raise InvalidModel(f"{what} has the metadata key {quoted(entry.key)} twice")
        keys.add(entry.key)


def _at_most(found: int, most: int, things: str, where: str) -> None:
    if found > most:
        raise InvalidModel(f"{where} {found:,} {things}; at most {most:,} are read")


def _define(name: str, what: str, scope: _Scope, walk: _Walk) -> None:
    """Single assignment: a name means one value, in inner graphs too."""
    check_name(name, f"{what}: a name", walk.limits)
    if not name:
        raise InvalidModel(f"{what} has no name")
    if name in walk.known:
        raise InvalidModel(f"{what} defines {quoted(name)}, which is defined already")
    walk.known.add(name)
    scope.own.append(name)


def _dangling(name: str, index: int, graph: GraphProto, what: str) -> InvalidModel:
    for later in range(index, len(graph.node)):
        if name in graph.node[later].output:
            return InvalidModel(f"{what} reads {quoted(name)}, which only node {later} computes; nodes must come after what they read")
    return InvalidModel(f"{what} reads {quoted(name)}, which nothing defines")


def _first_double(names: list[str]) -> str:
    return next(name for index, name in enumerate(names) if name in names[:index])
