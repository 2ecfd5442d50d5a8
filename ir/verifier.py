"""The rules every graph keeps. Run after parsing, after import and between passes."""

from __future__ import annotations

from .attributes import named_sizes
from .errors import InvalidModel, ShapeError
from .graph import Graph, Node
from .ops.elementwise import CAST, IDENTITY
from .ops.leaf import INPUT, PARAM
from .ops.quantize import DEQUANTIZE_LINEAR, QUANTIZE_LINEAR
from .ops.select import GATHER
from .ops.shape import CONCAT, FLATTEN, RESHAPE, SLICE, TRANSPOSE
from .types import DTYPES, TensorType, range_of
from .weights import INITS

__all__ = ["KnownTypes", "infer_type", "verify_graph"]

# What may read numbers of less than 8 bits: it widens or quantizes them, or moves them as they are.
MOVERS = (CAST, QUANTIZE_LINEAR, DEQUANTIZE_LINEAR, IDENTITY, CONCAT, FLATTEN, GATHER, RESHAPE, SLICE, TRANSPOSE)


def infer_type(node: Node) -> TensorType:
    """The type of a node from its operands' types, by the op's own rule.

    Raises: InvalidModel naming the node, its source and both values.
    """
    _check_arity(node)
    blind = next((operand for operand in node.inputs if operand.typed.is_opaque), None)
    if blind is not None and not node.kind.facts.opaque and node.kind is not IDENTITY:
        raise InvalidModel(f"{node.where} reads %{blind.name}, which is {blind.type}: only another runtime can look into it")
    narrow = next((operand for operand in node.inputs if operand.typed.is_stored), None)
    if narrow is not None and not node.kind.facts.opaque and node.kind not in MOVERS:
        raise ShapeError(f"{node.where} reads %{narrow.name}, which is {narrow.type}: such are only stored; cast it to i8 or u8")
    try:
        return node.kind.infer(node.op, *(operand.typed for operand in node.inputs))
    except ShapeError as error:
        raise ShapeError(f"{node.where}: {error}") from None


class KnownTypes:
    """`infer_type` for many nodes of one graph: of a great network most are like another, and have its type."""

    def __init__(self) -> None:
        self._known: dict[object, TensorType] = {}

    def type_of(self, node: Node) -> TensorType:
        """Raises: as `infer_type`."""
        alike = (node.kind, node.op, *[operand.type for operand in node.inputs])
        found = self._known.get(alike)
        if found is None:
            found = self._known[alike] = infer_type(node)
        return found


def verify_graph(graph: Graph) -> None:
    """Unique names, operands before readers, known arity, types that the op's rule confirms.

    Raises: InvalidModel naming the first node that breaks a rule.
    """
    seen: set[Node] = set()
    names: set[str] = set()
    symbols, known = set(graph.symbols), KnownTypes()
    for node in graph.nodes:
        _check_name(node, names)
        if node.kind.facts.opaque:
            symbols.update(named_sizes(node.op))
        if unknown := [name for name in named_sizes(node.op) if name not in symbols]:
            raise InvalidModel(f"{node.where} has the named size '{unknown[0]}', which no input has; give it a number")
        for operand in node.inputs:
            if operand not in seen:
                raise InvalidModel(f"{node.where} reads %{operand.name}, which is not defined before it")
        _check_node(node, known)
        seen.add(node)
    for node in (*graph.inputs, *graph.outputs):
        if node not in seen:
            raise InvalidModel(f"graph @{graph.name} names %{node.name}, which is not one of its nodes")
    inputs = [node for node in graph.nodes if node.kind is INPUT]
    if sorted(map(id, inputs)) != sorted(map(id, graph.inputs)):
        raise InvalidModel(f"graph @{graph.name} lists {len(graph.inputs)} inputs but holds {len(inputs)}")
    if not graph.outputs:
        raise InvalidModel(f"graph @{graph.name} returns nothing")


def _check_name(node: Node, names: set[str]) -> None:
    if not node.name:
        raise InvalidModel(f"a {node.kind.name} has no name")
    if node.name in names:
        raise InvalidModel(f"two nodes are named %{node.name}")
    names.add(node.name)


def _check_node(node: Node, known: KnownTypes) -> None:
    if not isinstance(node.op, node.kind.Attrs):
        raise InvalidModel(f"{node.where} carries attributes of {type(node.op).__name__}")
    _check_arity(node)
    if node.kind is PARAM:
        _check_param(node)
    elif node.kind is INPUT:
        _ = node.typed
    elif all(operand.type is not None for operand in node.inputs):
        inferred = known.type_of(node)
        if node.type is not None and node.type != inferred:
            raise InvalidModel(f"{node.where} is written as {node.type}, but its operands make it {inferred}")


def _check_arity(node: Node) -> None:
    least, most = node.kind.arity
    if len(node.inputs) < least or (most is not None and len(node.inputs) > most):
        raise InvalidModel(f"{node.where} has {len(node.inputs)} operands, expected {least} to {most or 'any'}")


def _check_param(node: Node) -> None:
    if node.weights is None:
        raise InvalidModel(f"{node.where} has no weights")
    if node.weights.type != node.type:
        raise InvalidModel(f"{node.where} is {node.type}, but its weights are {node.weights.type}")
    if node.weights.recipe.init not in INITS:
        raise InvalidModel(f"{node.where} has the unknown initializer '{node.weights.recipe.init}'; known are {', '.join(INITS)}")
    if node.typed.symbols:
        raise InvalidModel(f"{node.where} has the named size '{node.typed.symbols[0]}'; parameters have sizes in numbers")
    if node.weights.recipe.init == "full" and not node.typed.is_float and node.typed.dtype != "bool":
        value, (least, most) = node.weights.recipe.value, range_of(DTYPES[node.typed.dtype])
        if not (least <= value <= most and value == int(value)):
            raise InvalidModel(f"{node.where} is full of {value:g}, but {node.typed.dtype} holds whole numbers from {least} to {most}")
