"""Whether the images of a batch are computed apart: then any number of them may be run among others, and as many results cut off."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .binding import batch_names
from .dims import alone
from .graph import Graph, Node
from .op import OpDef
from .ops.activation import LOG_SOFTMAX, SOFTMAX
from .ops.activation_variants import PRELU
from .ops.conv import CONVS
from .ops.conv_transpose import CONV_TRANSPOSES
from .ops.diagonal import CUM_PROD, CUM_SUM
from .ops.group import GROUP_NORM, INSTANCE_NORM, LAYER_NORM, MEAN_VARIANCE_NORM
from .ops.lengths import LP_NORMALIZATION, REDUCE_L1, REDUCE_L2, REDUCE_LOG_SUM, REDUCE_LOG_SUM_EXP, REDUCE_SUM_SQUARE
from .ops.linear import DENSE, MATMUL
from .ops.norm import LOCAL_RESPONSE_NORM
from .ops.pool import AVG_POOL, GLOBAL_AVG_POOL, GLOBAL_MAX_POOL, LP_POOL, MAX_POOL
from .ops.rearrange import DEPTH_TO_SPACE, EXPAND, SPACE_TO_DEPTH
from .ops.reduce import ARG_MAX, ARG_MIN, REDUCTIONS
from .ops.resize import RESIZE
from .ops.select import TOP_K_INDICES, TOP_K_VALUES
from .ops.shape import CONCAT, FLATTEN, PAD, RESHAPE, SLICE, TRANSPOSE
from .ops.thresholds import HARDMAX

__all__ = ["joining_node", "the_batch"]

Apart = Callable[[Node], bool]


def the_batch(graph: Graph) -> str | None:
    """The named size of the batch, where a graph has no other named sizes."""
    names = batch_names(graph)
    return next(iter(names)) if len(names) == 1 and set(graph.symbols) == names else None


def joining_node(graph: Graph, batch: str) -> Node | None:
    """The first node through which an image's result may depend on other images, or at which nobody can tell; None where there is none.

    It is enough to look at types but for what moves or joins along an axis that it keeps: a value with the batch as its first axis, and
    nowhere else, that comes of such values and of others without a batch.
    """
    has_images: dict[Node, bool] = {}
    for node in graph.nodes:
        operands = [operand for operand in node.inputs if has_images[operand]]
        has_images[node] = batch in node.typed.symbols
        if not operands and not has_images[node]:
            continue
        if not _is_of_images(node, batch) or not (node.inputs == () or _is_apart(node, operands)):
            return node
    return next((node for node in graph.outputs if not has_images[node]), None)


def _is_of_images(node: Node, batch: str) -> bool:
    shape = node.typed.shape
    return bool(shape) and alone(shape[0]) == batch and all(isinstance(dim, int) for dim in shape[1:])


def _is_apart(node: Node, operands: list[Node]) -> bool:
    if node.kind.facts.pointwise:
        return bool(operands) and all(operand.typed.rank == node.typed.rank for operand in operands)
    if node.kind is EXPAND:  # the same for all where it is of no images
        return True
    return bool(operands) and node.kind in ALONG and ALONG[node.kind](node)


def _by_type(node: Node) -> bool:
    return True


def _of_first(node: Node) -> bool:
    """Where the other operands are weights, or made of such, which have no images."""
    return not any(operand.typed.symbols for operand in node.inputs[1:])


def _matrices(node: Node) -> bool:
    """Of weights, or of as many matrices an image as the other operand has."""
    a, b = node.inputs
    return _of_first(node) or 2 < a.typed.rank == b.typed.rank


def _axis(node: Node) -> bool:
    return node.op.axis % node.inputs[0].typed.rank != 0


def _axes(node: Node) -> bool:
    return all(axis % node.inputs[0].typed.rank for axis in node.op.axes)


# Of the ops that are not pointwise, those that keep images apart, and where that is more than their types show.
ALONG: Mapping[OpDef[Any], Apart] = {
    **dict.fromkeys((*CONVS, *CONV_TRANSPOSES, DENSE, PRELU, INSTANCE_NORM, GROUP_NORM), _of_first),
    MATMUL: _matrices,
    **dict.fromkeys((MAX_POOL, AVG_POOL, LP_POOL, GLOBAL_AVG_POOL, GLOBAL_MAX_POOL, LOCAL_RESPONSE_NORM), _by_type),
    **dict.fromkeys((RESIZE, DEPTH_TO_SPACE, SPACE_TO_DEPTH, CONCAT, FLATTEN, RESHAPE, TRANSPOSE, PAD), _by_type),
    **dict.fromkeys((*REDUCTIONS, ARG_MAX, ARG_MIN), _by_type),
    **dict.fromkeys((REDUCE_L1, REDUCE_L2, REDUCE_LOG_SUM, REDUCE_LOG_SUM_EXP, REDUCE_SUM_SQUARE), _by_type),
    **dict.fromkeys((SOFTMAX, LOG_SOFTMAX, HARDMAX, LAYER_NORM, LP_NORMALIZATION, CUM_SUM, CUM_PROD), _axis),
    **dict.fromkeys((TOP_K_VALUES, TOP_K_INDICES), _axis),
    **dict.fromkeys((SLICE, MEAN_VARIANCE_NORM), _axes),
}
