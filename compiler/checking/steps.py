"""Results that go by steps: quantized values, whole numbers, places of greatest values. Beside a boundary they may come out on either side.

One step is far more than rounding, and the layers after it make more steps of it: in a deep quantized network two honest engines soon
differ everywhere by as much as quantization itself does. So nothing is widened. The oracle is told which steps an engine took, holds each
to the float64 value before it, and where that is within its rounding noise of the boundary goes on from the engine's; elsewhere it goes on
from its own, and the difference shows. What follows is then held as tightly as anything else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from ...ir.graph import Graph, Node
from ...ir.opened import OPENED
from ...ir.ops.elementwise import CAST
from ...ir.ops.opaque import OPAQUE_RESULT
from ...ir.ops.opaque import OPS as FOREIGN
from ...ir.ops.quantize import DYNAMIC_ZERO, QUANTIZE_LINEAR
from ...ir.ops.unary import CEIL, FLOOR, ROUND
from ...ir.ops.unpool import MAX_POOL_INDICES, may_be_greatest
from ...ir.types import DTYPES, Array
from .units import SIGMAS, UNIT, apart, at_least_pooled

__all__ = ["QUOTIENT", "Decisions", "answers_of", "steps_of"]

QUOTIENTS = (QUANTIZE_LINEAR, DYNAMIC_ZERO)  # of the first operand and the second
STEPWISE = (*QUOTIENTS, ROUND, FLOOR, CEIL)  # monotone in their first operand; a quantized product once it is written out
QUOTIENT = 2  # roundings before the step of a quantization: its operand is stored, and divided


def steps_of(graph: Graph) -> list[Node]:
    """The nodes whose results go by steps, those of constants excepted."""
    return [node for node in graph.ops if _is_step(node) and node.inputs[0].weights is None]


def answers_of(graph: Graph) -> list[Node]:
    """What opaque nodes are given, and what they give, as far as it is a tensor: they too may answer to rounding by leaps."""
    opaque = [node for node in graph.ops if node.kind.facts.opaque]
    asked = {*opaque, *(operand for node in opaque for operand in node.inputs)}
    return [node for node in graph.ops if node in asked and not node.typed.is_opaque]


def _is_step(node: Node) -> bool:
    is_whole = node.kind is CAST and node.inputs[0].typed.is_float and node.typed.dtype[0] in "iu"
    return is_whole or node.kind in STEPWISE or node.kind in OPENED or node.kind is MAX_POOL_INDICES


@dataclass
class Decisions:
    """Makes runs side by side, the first of them exact and the others disturbed `enlarged` times, take the same steps: those `decided`
    where rounding explains them, else the exact run's. It counts in `turned` which are not the exact run's own.

    What opaque nodes gave is taken, too, where rounding explains what they were given; of those that have a meaning, if that gives it too.
    """

    decided: Mapping[str, Array]
    unit: float
    enlarged: float
    turned: int = field(default=0, init=False)
    answers: set[str] = field(default_factory=set[str], init=False)  # opaque nodes that were given what they should

    def __call__(self, node: Node, operands: list[list[Array]], values: list[Array]) -> list[Array]:
        if node.kind.facts.opaque:
            return self._answer(node, operands, values)
        if not _is_step(node) or node.inputs[0].weights is not None:
            return values
        taken, theirs = values[0], self.decided.get(node.name)
        if theirs is not None and theirs.shape == taken.shape:
            is_honest = self._is_honest(node, operands, theirs)
            self.turned += int(np.count_nonzero(is_honest & (theirs != taken)))
            taken = np.where(is_honest, theirs, taken).astype(taken.dtype)
        return [taken] * len(values)

    def _answer(self, node: Node, operands: list[list[Array]], values: list[Array]) -> list[Array]:
        """What an opaque node gave to the engine."""
        call = node.inputs[0] if node.kind is OPAQUE_RESULT else node
        if call is node and all(self._is_given(operand.name, operands, place) for place, operand in enumerate(node.inputs)):
            self.answers.add(node.name)
        if node.name not in self.decided or call.name not in self.answers:
            return values
        theirs = self.decided[node.name].astype(values[0].dtype)
        return [theirs] * len(values) if node.kind in FOREIGN or self._is_meant(node, operands, theirs) else values

    def _is_meant(self, node: Node, operands: list[list[Array]], theirs: Array) -> bool:
        """Whether it is what the op makes of the very operands that it was given."""
        given = [self.decided.get(operand.name, value) for operand, value in zip(node.inputs, operands[0], strict=True)]
        own = [np.asarray(value, DTYPES[operand.typed.dtype]) for operand, value in zip(node.inputs, given, strict=True)]
        return np.array_equal(node.kind.meaning(node.op, *own), theirs)

    def _is_given(self, name: str, operands: list[list[Array]], place: int) -> bool:
        theirs, exact = self.decided.get(name), operands[0][place]
        if theirs is None:
            return True  # a constant, an input, or nothing to look into
        if theirs.shape != exact.shape:
            return False
        if exact.dtype.kind != "f":
            return bool((theirs == exact).all())
        off = abs(apart(theirs, exact, 1.0))
        return bool((off <= SIGMAS * self._spread(operands, place) + self.unit * abs(exact)).all())

    def _is_honest(self, node: Node, operands: list[list[Array]], theirs: Array) -> Array:
        """Which of their results rounding can lead to."""
        with np.errstate(invalid="ignore"):
            if node.kind is MAX_POOL_INDICES:
                x, slack = operands[0][0], self._spread(operands, 0) * SIGMAS
                return may_be_greatest(node.op, x - slack, x + slack, theirs)
            low, high = self._ends(node, operands)
            return (theirs >= low) & (theirs <= high)

    def _ends(self, node: Node, operands: list[list[Array]]) -> tuple[Array, Array]:
        """The lowest and highest results that rounding can lead to."""
        x, *others = operands[0]
        slack = self._spread(operands, 0) * SIGMAS
        if node.kind in QUOTIENTS:
            scale = operands[0][1]
            with np.errstate(all="ignore"):
                of_scale = np.nan_to_num(SIGMAS * self._spread(operands, 1) / abs(scale)).max(initial=0.0)
            slack = slack + (of_scale + QUOTIENT * UNIT["f32"]) * abs(x)  # a float32 whatever the precision
        with np.errstate(all="ignore"):
            ends = [np.asarray(node.kind.meaning(node.op, x + way * slack, *others)) for way in (-1, 1)]
        return np.minimum(*ends), np.maximum(*ends)

    def _spread(self, operands: list[list[Array]], place: int) -> Array:
        """One standard deviation of an operand's noise."""
        exact, *disturbed = (each[place] for each in operands)
        if not disturbed or exact.dtype.kind != "f":
            return np.zeros(exact.shape)
        return at_least_pooled(np.mean([apart(value, exact, self.enlarged) ** 2 for value in disturbed], axis=0), exact)
