"""Operators of opset 6 in the words of opset 7: operands broadcast where an attribute says so. Spec: onnx.ai, Add-6 and its like."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ....ir.graph import Node
from .call import Call, Row

__all__ = ["with_opset_six"]

BROADCAST = ("Add", "Sub", "Mul", "Div", "Pow", "Equal", "Greater", "Less", "And", "Or", "Xor")
IN_TEST = ("BatchNormalization", "Dropout")  # more than one result says that it is training


def with_opset_six(rows: Mapping[str, Row]) -> dict[str, Row]:
    """Rows that read opset 6 too."""
    changed = {name: _broadcast(rows[name]) for name in BROADCAST}
    changed |= {name: _without(rows[name], "is_test") for name in IN_TEST}
    return {**rows, **changed, "Gemm": _without(rows["Gemm"], "broadcast"), "PRelu": _by_channel(rows["PRelu"])}


def _without(row: Row, attribute: str) -> Row:
    """An attribute that went with opset 7 and says what is done anyway."""

    def older(c: Call) -> Node | list[Node | None]:
        if c.opset < 7:
            c.attribute(attribute, 0)
        made = row(c)
        return made if isinstance(made, Node) else list(made)

    return older


def _broadcast(row: Row) -> Row:
    """The second operand's axes lie on those of the first from `axis` on; without one, on its last."""

    def older(c: Call) -> Node | list[Node | None]:
        if c.opset < 7:
            rank, axis = c.x(0).typed.rank, c.attribute("axis", -1)
            b = c.x(1)
            if c.attribute("broadcast", 0) and 0 <= axis < rank - b.typed.rank:
                shape = (*b.typed.shape, *(1,) * (rank - axis - b.typed.rank))
                c = replace(c, operands=[c.x(0), c.named("reshape", b, shape=shape, suffix="spread")])
        made = row(c)
        return made if isinstance(made, Node) else list(made)

    return older


def _by_channel(row: Row) -> Row:
    """A slope for each channel is one for each of axis 1."""

    def older(c: Call) -> Node | list[Node | None]:
        x, slope = c.x(0), c.x(1)
        if c.opset < 7 and slope.typed.rank == 1 and slope.typed.shape != (1,):
            shape = (*slope.typed.shape, *(1,) * max(x.typed.rank - 2, 0))
            c = replace(c, operands=[x, c.named("reshape", slope, shape=shape, suffix="channels")])
        made = row(c)
        return made if isinstance(made, Node) else list(made)

    return older
