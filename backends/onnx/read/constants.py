"""The values of what depends on constants alone, however many: known.py has the small ones, and named sizes among them."""

from __future__ import annotations

import numpy as np

from ....ir.effort import effort_of
from ....ir.errors import ShapeError
from ....ir.graph import Node
from ....ir.types import DTYPES, Array, widened
from .known import Known

__all__ = ["Constants"]

# A small file must not ask for gigabytes, nor for hours; of one file, all together.
BYTES = 512 << 20
FLOPS = 2 << 30


class Constants:
    """The numbers of a file's values, each op's result rounded to its type, as far as BYTES and FLOPS last. No walk recurses: such a chain
    may be as long as the network. Each node is looked at once."""

    def __init__(self, known: Known) -> None:
        self._known = known
        self._is_constant: dict[Node, bool] = {}
        self._values: dict[Node, Array] = {}
        self._bytes_left, self._flops_left = BYTES, FLOPS

    def value(self, wanted: Node) -> Array | None:
        """None where they depend on the network's inputs, on another runtime or on named sizes, or take more than is left."""
        if not self._depends_on_none(wanted):
            return None
        stack = [wanted]
        while stack:
            node = stack[-1]
            value = self._values.get(node)
            if value is None:
                value = self._known.numbers(node)
            missing = [operand for operand in node.inputs if operand not in self._values] if value is None else []
            if missing:
                stack.extend(missing)
                continue
            if value is None:
                value = self._computed(node)
            if value is None:
                return None
            self._values[node] = value
            stack.pop()
        return self._values[wanted]

    def _depends_on_none(self, wanted: Node) -> bool:
        stack = [wanted]
        while stack:
            node = stack[-1]
            missing = [operand for operand in node.inputs if operand not in self._is_constant]
            if node not in self._is_constant and missing and self._known.numbers(node) is None:
                stack.extend(missing)
                continue
            is_op = bool(node.inputs) and not node.kind.facts.opaque and not node.typed.symbols
            is_computed = is_op and all(self._is_constant.get(operand) for operand in node.inputs)
            self._is_constant[node] = is_computed or self._known.numbers(node) is not None
            stack.pop()
        return self._is_constant[wanted]

    def _computed(self, node: Node) -> Array | None:
        """None where it takes more than is left, or has no value."""
        size, flops = node.typed.nbytes, node.kind.cost(node.op, tuple(operand.typed for operand in node.inputs), node.typed).flops
        if not isinstance(size, int) or not isinstance(flops, int) or size > self._bytes_left or flops > self._flops_left:
            return None
        effort = effort_of(node)
        if effort.nbytes > BYTES or flops + effort.flops > self._flops_left:
            return None
        self._bytes_left, self._flops_left = self._bytes_left - size, self._flops_left - flops - effort.flops
        try:
            with np.errstate(all="ignore"):
                value = node.kind.meaning(node.op, *(widened(self._values[operand]) for operand in node.inputs))
                return np.asarray(value, DTYPES[node.typed.dtype])
        except (ShapeError, MemoryError):  # an index out of range: whoever runs it will say so
            return None
