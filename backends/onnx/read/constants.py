"""The values of what depends on constants alone, however many: known.py has the small ones, and named sizes among them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ....ir.graph import Node
from ....ir.types import DTYPES, Array
from .known import Known

__all__ = ["constant_value"]

# A small file must not ask for gigabytes, nor for hours; of one value, with all that it is computed from.
BYTES = 512 << 20
FLOPS = 2 << 30


def constant_value(known: Known, wanted: Node) -> Array | None:
    """The numbers of `wanted`, each op's result rounded to its type; None where they depend on the network's inputs or on named
    sizes, or take more than BYTES and FLOPS. A walk with its own stack: such a chain may be as long as the network."""
    values: dict[Node, Array] = {}
    bytes_left, flops_left = BYTES, FLOPS
    stack = [wanted]
    while stack:
        node = stack[-1]
        missing = [] if node in values else [operand for operand in node.inputs if operand not in values]
        value = values.get(node)
        if value is None:
            value = known.numbers(node)
        if value is None and missing:
            stack.extend(missing)
            continue
        if value is None:
            size, flops = node.typed.nbytes, _flops(node)
            if not node.inputs or node.kind.facts.opaque or not isinstance(size, int) or not isinstance(flops, int):
                return None
            if size > bytes_left or flops > flops_left:
                return None
            bytes_left, flops_left = bytes_left - size, flops_left - flops
            value = _computed(node, values)
        values[node] = value
        stack.pop()
    return values[wanted]


def _flops(node: Node) -> object:
    return node.kind.cost(node.op, tuple(operand.typed for operand in node.inputs), node.typed).flops


def _computed(node: Node, values: Mapping[Node, Array]) -> Array:
    with np.errstate(all="ignore"):
        value = node.kind.meaning(node.op, *(values[operand] for operand in node.inputs))
    return np.asarray(value, DTYPES[node.typed.dtype])
