"""drop-identity: ops that change nothing at inference."""

from __future__ import annotations

import math

from ..ir.graph import Graph, Node
from ..ir.ops.activation import CLIP, DROPOUT, RELU
from ..ir.ops.elementwise import CAST, IDENTITY
from ..ir.ops.pool import AVG_POOL, GLOBAL_AVG_POOL, GLOBAL_MAX_POOL, MAX_POOL
from ..ir.ops.rearrange import DEPTH_TO_SPACE, EXPAND, SPACE_TO_DEPTH, TILE
from ..ir.ops.resize import RESIZE
from ..ir.ops.shape import CONCAT, FLATTEN, PAD, RESHAPE, SLICE, TRANSPOSE, Reshape, Transpose
from .ledger import Ledger
from .rewriter import ANY, Match, Pat, Rule, rewrite

__all__ = ["drop_identity"]


def _changes_nothing(node: Node) -> bool:
    """Whether the node's value is its first operand, element for element."""
    op, x = node.op, node.inputs[0].typed
    match node.kind.name:
        case "dropout" | "identity":
            return True
        case "pad":
            return not any(op.pads)
        case "slice":
            return node.typed == x and all(step > 0 for step in op.steps)
        case "transpose":
            return op.perm == tuple(range(len(op.perm)))
        case "concat":
            return len(node.inputs) == 1
        case (
            "flatten" | "reshape" | "cast" | "global_avg_pool" | "global_max_pool" | "expand" | "tile" | "depth_to_space" | "space_to_depth"
        ):
            return node.typed == x
        case "clip":
            return op.min == -math.inf and op.max == math.inf
        case "resize":
            return node.typed == x and (op.sizes != () or op.scales == (1.0, 1.0))
        case _:  # pooling
            return op.kernel == (1, 1) and op.strides == (1, 1) and not any(op.pads)


def _drop(m: Match) -> Node | None:
    return _stands_for(m, m.root.inputs[0]) if _changes_nothing(m.root) else None


def _once(m: Match) -> Node | None:
    """relu(relu(x)) = relu(x)."""
    return _stands_for(m, m["inner"])


def _stands_for(m: Match, x: Node) -> Node | None:
    """x in place of the root. An output's name is the interface: x takes it over if nobody else reads x, and is not
    an input or parameter with a name of its own to keep."""
    if not m.is_output:
        return x
    if not x.inputs or m.uses(x) != 1:
        return None
    m.covered[:] = [x, m.root]
    return x.like()


def _compose_transposes(m: Match) -> Node:
    inner, outer = m["inner"].op.perm, m.root.op.perm
    return m.root.like(op=Transpose(tuple(inner[axis] for axis in outer)), inputs=m["inner"].inputs)


def _last_reshape(m: Match) -> Node:
    """Only the last of two reshapes decides, once its -1 is written out."""
    return Node(m.root.name, RESHAPE, Reshape(m.root.typed.shape), m["inner"].inputs, m.root.type)


_SHAPING = (RESHAPE, FLATTEN)
_MOVING = (PAD, SLICE, TRANSPOSE, CONCAT, *_SHAPING, RESIZE, EXPAND, TILE, DEPTH_TO_SPACE, SPACE_TO_DEPTH)
_POOLS = (MAX_POOL, AVG_POOL, GLOBAL_MAX_POOL, GLOBAL_AVG_POOL)
RULES = (
    Rule("drop", Pat((DROPOUT, IDENTITY, CAST, CLIP, *_MOVING, *_POOLS)), _drop),
    Rule("relu-of-relu", Pat((RELU,), (Pat((RELU,), (ANY(),), bind="inner"),)), _once),
    Rule("compose-transposes", Pat((TRANSPOSE,), (Pat((TRANSPOSE,), (ANY(),), bind="inner", uses=1),)), _compose_transposes),
    Rule("last-reshape", Pat(_SHAPING, (Pat(_SHAPING, (ANY(),), bind="inner", uses=1),)), _last_reshape),
)


def drop_identity(graph: Graph, ledger: Ledger) -> Graph:
    """Before: %d = dropout(%x); %y = relu(%d)    After: %y = relu(%x)"""
    return rewrite(graph, RULES, ledger)
