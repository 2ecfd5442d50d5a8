"""The row of random_uniform: whole numbers of 32 bits with a sign, by Add, Sub, Mul, Div and Mod alone, which every runtime has."""

from __future__ import annotations

from typing import Any

import numpy as np

from ....ir.graph import Node
from ....ir.op import OpDef
from ....ir.ops.random_uniform import KEYED, MODULUS, RANDOM_UNIFORM, SCALE, round_constants
from .onnx_emitter import OnnxEmitter, OnnxRow

__all__ = ["RANDOM"]

State = tuple[str, str, str]


def _random_uniform(node: Node, to: OnnxEmitter) -> None:
    op, steps = RANDOM_UNIFORM.of(node), _Whole(node, to)
    state, keys = steps.digits(node.inputs[0].name), list[str]()
    for constant in round_constants(op.stream):
        state = steps.round(state, steps.number("constant", constant))
        keys.append(state[-1])
    state = steps.digits(steps.places())
    for key in keys[-KEYED:]:
        state = steps.round(state, key)
    whole = steps("Add", steps("Mul", state[1], steps.p, "scaled"), state[2], "whole")
    drawn = to.helper_node("Cast", node, "drawn", [whole], to=1)
    row = to.helper_node("Mul", node, "row", [drawn, to.constant(node, "scale", np.array(SCALE, np.float32))])
    to.node("Reshape", node, [row, to.dims(node, "shape", op.shape)])


class _Whole:
    """Steps of the lowering of one node in i32."""

    def __init__(self, node: Node, to: OnnxEmitter) -> None:
        self.node, self.to = node, to
        self.p = self.number("p", MODULUS)

    def __call__(self, op_type: str, a: str, b: str, what: str) -> str:
        return self.to.helper_node(op_type, self.node, what, [a, b])

    def number(self, what: str, value: int) -> str:
        return self.to.constant(self.node, what, np.array(value, np.int32))

    def digits(self, x: str) -> State:
        """The three lowest of x in base p. A quotient is taken of what is left over, where rounding down and toward 0 are the same."""
        low = self("Mod", x, self.p, "low")
        rest = self("Div", self("Sub", x, low, "less"), self.p, "rest")
        middle = self("Mod", rest, self.p, "middle")
        high = self("Mod", self("Div", self("Sub", rest, middle, "less"), self.p, "rest"), self.p, "high")
        return high, middle, low

    def round(self, state: State, key: str) -> State:
        a, b, c = state
        shifted = self("Add", c, key, "shifted")
        return b, c, self("Mod", self("Add", self("Mul", shifted, shifted, "square"), a, "sum"), self.p, "state")

    def places(self) -> str:
        """0, 1, 2 and so on, one for each element."""
        count = self.node.typed.numel
        zero, one = self.to.constant(self.node, "zero", np.array(0, np.int64)), self.to.constant(self.node, "one", np.array(1, np.int64))
        if isinstance(count, int):
            limit = self.to.constant(self.node, "count", np.array(count, np.int64))
        else:
            limit = self.to.helper_node("Squeeze", self.node, "count", [self.to.dims(self.node, "counts", [count])])
        places = self.to.helper_node("Range", self.node, "places", [zero, limit, one])
        return self.to.helper_node("Cast", self.node, "place", [places], to=6)


RANDOM: dict[OpDef[Any], OnnxRow] = {RANDOM_UNIFORM: _random_uniform}
