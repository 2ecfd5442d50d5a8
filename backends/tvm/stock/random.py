"""random_uniform as statements: the keys first, then number by number, all in registers.

As an expression it would name each state twice in the next, and double with every round.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ....ir.graph import Node
from ....ir.ops.random_uniform import KEYED, MODULUS, RANDOM_UNIFORM, SCALE, round_constants
from .relax_emitter import RelaxEmitter
from .statements import Statements, written

__all__ = ["random_uniform"]


def random_uniform(emitter: RelaxEmitter, node: Node, seed: Any) -> Any:
    constants = round_constants(RANDOM_UNIFORM.of(node).stream)

    def body(write: Statements, out: Any, seed: Any) -> None:
        states = _States(write)
        states.start(seed[()])
        keys = write.to.alloc_buffer((len(constants),), "int32", scope="local")
        for i, constant in enumerate(constants):
            states.round(states.whole(constant))
            write.store(keys, states.at[2], [i])
        with write.each(out.shape) as at:
            states.start(_place(write, at, out.shape).astype("int32"))
            for i in range(KEYED):
                states.round(keys[len(constants) - KEYED + i])
            drawn = states.at[1] * states.whole(MODULUS) + states.at[2]
            write.store(out, drawn.astype("float32") * write.tirx.const(SCALE, "float32"), at)

    return written(emitter, node, body, seed)


def _place(write: Statements, at: Sequence[Any], shape: Sequence[Any]) -> Any:
    place: Any = write.tirx.IntImm("int64", 0)
    for index, size in zip(at, shape, strict=True):
        place = place * size + index
    return place


class _States:
    """The three states of the network; what is at `at` of them are i32 numbers."""

    def __init__(self, write: Statements) -> None:
        self.write, self.tirx = write, write.tirx
        self.at = write.to.alloc_buffer((4,), "int32", scope="local")

    def whole(self, value: int) -> Any:
        return self.tirx.const(value, "int32")

    def _set(self, *values: Any) -> None:
        for i, value in enumerate(values):
            self.write.store(self.at, value, [i])

    def start(self, x: Any) -> None:
        """The digits of x. The highest lies within p of 0; as a remainder TVM (0.27) would simplify it by p^3, which is no int32."""
        p, square = self.whole(MODULUS), self.whole(MODULUS**2)
        high = self.tirx.floordiv(x, square)
        self._set(self.tirx.Select(high < 0, high + p, high), self.tirx.floormod(self.tirx.floordiv(x, p), p), self.tirx.floormod(x, p))

    def round(self, key: Any) -> None:
        self.write.store(self.at, self.at[2] + key, [3])
        self.write.store(self.at, self.tirx.truncmod(self.at[3] * self.at[3] + self.at[0], self.whole(MODULUS)), [3])
        self._set(self.at[1], self.at[2], self.at[3])
