"""Casts where kernels want them: what only selects among values, or cuts them off at 0, gives the same in 16 bits as in 32, and what an
activation leaves for a kernel is rounded once.

    concat(cast(a), cast(b)) in float32   as   cast(concat(a, b))    widening loses nothing, so it can wait
    cast(max_pool(x)) to 16 bits          as   max_pool(cast(x))     rounding keeps the order of values

    gelu(cast(x)) to 16 bits and an average   as   average(cast(gelu to 16 bits))    what is averaged was rounded, as all that kernels leave

So what is computed in float32 for its sums alone, a norm or an average, has a cast on either side, and is one kernel, and an activation is
a step of the kernel before it, whoever reads it besides.
"""

from __future__ import annotations

from dataclasses import replace

from ....ir.graph import Graph, Node, fresh_name
from ....ir.ops.activation import RELU
from ....ir.ops.elementwise import CAST, Cast
from ....ir.ops.pool import AVG_POOL, GLOBAL_AVG_POOL, GLOBAL_MAX_POOL, MAX_POOL
from ....ir.ops.shape import CONCAT, FLATTEN
from ....ir.types import HALVES
from .kernels.epilogue import GPU_STEPS

__all__ = ["moved_casts", "widened"]

SELECTING = frozenset({CONCAT, MAX_POOL, GLOBAL_MAX_POOL, RELU, FLATTEN})
AVERAGES = frozenset({AVG_POOL, GLOBAL_AVG_POOL})


def moved_casts(graph: Graph) -> Graph:
    """The same function, to the last digit but for what averages read, with the same names of what it returns. Moved twice they stay."""
    taken, outputs = {node.name for node in graph.nodes}, {node.name for node in graph.outputs}
    rounded = {node: dtype for node in graph.ops if (dtype := _rounded_to(graph, node))}

    def moved(node: Node, operands: tuple[Node, ...]) -> Node:
        dtype, node = rounded.get(node), node.reading(operands)
        if dtype is not None:
            inner = node.like(name=fresh_name(f"{node.name}.f32", taken))
            return _cast(_cast(inner, dtype, fresh_name(f"{node.name}.{dtype}", taken)), "f32", node.name)
        if node.kind in SELECTING and node.typed.dtype == "f32" and (narrow := _narrow_operands(node)) is not None:
            dtype = narrow[0].typed.dtype
            made = node.like(name=fresh_name(f"{node.name}.{dtype}", taken), inputs=narrow, type=replace(node.typed, dtype=dtype))
            return _cast(made, "f32", node.name)
        if node.kind is not CAST or node.typed.dtype not in HALVES:
            return node
        (x,) = node.inputs
        if (given := widened(x)) is not None and given.type == node.type and node.name not in outputs:
            return given
        if x.kind in SELECTING and x.typed.dtype == "f32" and all(operand.weights is None for operand in x.inputs):
            narrow = tuple(_cast(each, node.typed.dtype, fresh_name(f"{each.name}.{node.typed.dtype}", taken)) for each in x.inputs)
            return x.like(name=node.name, inputs=narrow, type=node.type)
        return node

    return graph.rebuild(moved)


def _rounded_to(graph: Graph, node: Node) -> str:
    """The 16 bits that what an activation of such a value leaves is rounded to, for all who read it; "" where it stays as it is."""
    dtype, readers = _activated(node), graph.readers[node]
    if not dtype or node in graph.outputs or all(_is_cast_to(reader, dtype) for reader in readers):
        return ""
    return dtype if any(reader.kind in AVERAGES or _is_cast_to(reader, dtype) for reader in readers) else ""


def _activated(node: Node) -> str:
    """The 16 bits of the value that activations in a row are computed of in float32; "" for any other node."""
    while node.kind in GPU_STEPS and len(node.inputs) == 1 and node.typed.dtype == "f32":
        (x,) = node.inputs
        if (narrow := widened(x)) is not None:
            return narrow.typed.dtype
        node = x
    return ""


def _is_cast_to(node: Node, dtype: str) -> bool:
    return node.kind is CAST and node.typed.dtype == dtype


def widened(node: Node) -> Node | None:
    """The value of 16 bits that a node is the cast of, None for any other node."""
    is_cast = node.kind is CAST and node.typed.dtype == "f32" and node.inputs[0].typed.dtype in HALVES
    return node.inputs[0] if is_cast else None


def _narrow_operands(node: Node) -> tuple[Node, ...] | None:
    found = [widened(operand) for operand in node.inputs]
    given = tuple(each for each in found if each is not None)
    return given if len(given) == len(found) and len({each.typed.dtype for each in given}) == 1 else None


def _cast(value: Node, dtype: str, name: str) -> Node:
    return Node(name, CAST, Cast(dtype), (value,), replace(value.typed, dtype=dtype), value.origin)
