"""A graph as a TVM module: one Relax function over inputs and parameters."""

from __future__ import annotations

import functools
from typing import Any

from ....ir.errors import ConvcError, UnsupportedOp
from ....ir.graph import Graph, Node
from ....ir.op import OpDef
from ....ir.ops.conv import CONVS
from ....ir.ops.conv_transpose import CONV_TRANSPOSES
from ....ir.ops.deform import DEFORM_CONV2D
from ....ir.ops.linear import DENSE, MATMUL
from ....ir.ops.reduce import REDUCE_PROD, REDUCE_SUM
from ....ir.types import TensorType
from ...unsupported import Unsupported
from ..host import reason, tvm
from . import bfloat16
from .relax_emitter import RelaxEmitter, dtype_name
from .relax_rows import ROWS

__all__ = ["SUMS", "check_sums", "emit_stock", "lower"]

PRODUCTS = (*CONVS, *CONV_TRANSPOSES, DEFORM_CONV2D, DENSE, MATMUL)  # taps that are moved would read outside of an empty image
SUMS = (*PRODUCTS, REDUCE_SUM, REDUCE_PROD)  # TVM knows the result of a reduction over nothing where that is known to be nothing


def lower(graph: Graph, *, on_gpu: bool = False) -> Any:
    """An IRModule whose `main(inputs..., params...)` returns the outputs as a tuple.

    Arguments keep the order of `graph.inputs` and `graph.params`; `num_input` tells where parameters
    start. Named sizes are TIR variables, so one library serves every batch.

    Raises: InvalidModel for a node without a type; UnsupportedOp naming a node that TVM cannot express.
    """
    check_sums(graph)
    emitter = RelaxEmitter.of(tvm(), graph, on_gpu=on_gpu)
    values = {node: _value(emitter, node, []) for node in (*graph.inputs, *graph.params)}
    inputs, params = ([values[node] for node in nodes] for nodes in (graph.inputs, graph.params))
    return emitter.main(inputs, params, lambda: _emit_nodes(emitter, graph, values))


def check_sums(graph: Graph, kinds: tuple[OpDef[Any], ...] = PRODUCTS) -> None:
    """Raises: UnsupportedOp for a node of `kinds` that sums over nothing, whose result TVM leaves unwritten, or has no filters to pack."""
    for node in graph.ops:
        empty = [operand for operand in node.inputs if operand.typed.numel == 0] if node.kind in kinds else []
        if any(operand.weights is not None for operand in empty) or (empty and node.typed.numel != 0):
            raise UnsupportedOp(f"{node.where} reads {empty[0].type} of no elements, which TVM cannot; take it out of the network")


def _emit_nodes(emitter: RelaxEmitter, graph: Graph, values: dict[Node, Any]) -> list[Any]:
    for node in graph.ops:
        if graph.uses[node]:
            values[node] = emit_stock(emitter, node, [values[operand] for operand in node.inputs])
    return [values[node] for node in graph.outputs]


def emit_stock(emitter: RelaxEmitter, node: Node, operands: list[Any]) -> Any:
    """The value of a node by its row, under its name.

    Raises: UnsupportedOp naming a node that TVM cannot express.
    """
    return _named(emitter, node, _value(emitter, node, operands))


def _value(emitter: RelaxEmitter, node: Node, operands: list[Any]) -> Any:
    row = ROWS.get(node.kind, Unsupported("it has no row in backends/tvm/stock/relax_rows.py"))
    if isinstance(row, Unsupported):
        raise UnsupportedOp(f"{node.where} cannot be lowered to TVM: {row.why}")
    try:
        return bfloat16.in_float32(emitter, node, row, operands) if bfloat16.reads_or_makes(node) else row(emitter, node, *operands)
    except ConvcError:
        raise
    except Exception as error:  # TVM raises many kinds: ValueError, TypeError, InternalError...
        raise UnsupportedOp(f"{node.where} cannot be lowered to TVM: {reason(error)}") from error


def _named(emitter: RelaxEmitter, node: Node, value: Any) -> Any:
    """The value bound to a variable of the node's name. Where TVM cannot prove that it is of the node's type, that is checked at run time,
    or where a library is told sizes it is copied to one that is: casts that say size = H+2 and H = size-2 send TVM round in a circle.
    """
    try:
        bound = emitter.builder.emit(value, node.name)
        if _has_type(emitter, bound, node.typed):
            return bound
        if emitter.told:
            return emitter.builder.emit(emitter.compute(node, functools.partial(_copied, emitter), bound), node.name)
        return emitter.builder.match_cast(bound, emitter.type(node.typed), node.name)
    except Exception as error:
        raise UnsupportedOp(f"{node.where} cannot be lowered to TVM: {reason(error)}") from error


def _copied(emitter: RelaxEmitter, x: Any, shape: Any) -> Any:
    def element(*at: Any) -> Any:
        return x[at]

    return emitter.te.compute(shape, element, "sized")


def _has_type(emitter: RelaxEmitter, bound: Any, wanted: TensorType) -> bool:
    shape = getattr(bound.ty.shape, "values", None)
    if shape is None or len(shape) != wanted.rank or str(bound.ty.dtype) != dtype_name(wanted):
        return False
    proves = emitter.tvm.sym.Analyzer().can_prove_equal
    return all(proves(have, dim) for have, dim in zip(shape, emitter.shape(wanted), strict=True))
