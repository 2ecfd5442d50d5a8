"""Rows of attention and of what turns its operands."""

from __future__ import annotations

from collections.abc import Sequence

from ....ir.graph import Node
from ....ir.ops.attention import ATTENTION, OPTIONAL, Attention
from .call import Call, Row

__all__ = ["ROWS"]


def attention(c: Call) -> Sequence[Node | None]:
    """Up to four results, each a node."""
    optional = {what: c.maybe(3 + i) for i, what in enumerate(OPTIONAL)}
    present = {what: node for what, node in optional.items() if node is not None}
    c.attribute("softmax_precision", 0)  # float64 is what there is to be right by
    numbers = (c.attribute("q_num_heads", 0), c.attribute("kv_num_heads", 0), c.attribute("scale", 0.0))
    causal, softcap, scores = bool(c.attribute("is_causal", 0)), c.attribute("softcap", 0.0), c.attribute("qk_matmul_output_mode", 0)
    window = c.attribute("left_window_size", -1), c.attribute("right_window_size", -1)
    operands = (c.x(0), c.x(1), c.x(2), *present.values())
    made: list[Node | None] = []
    for i, name in enumerate(c.results):
        op = Attention(*numbers, causal, softcap, scores, *window, tuple(present), i)
        made.append(c.make(ATTENTION, op, *operands, result=i) if name else None)
    return made


def rotary_embedding(c: Call) -> Node:
    places = [] if c.maybe(3) is None else [c.x(3)]
    numbers = {"heads": c.attribute("num_heads", 0), "dim": c.attribute("rotary_embedding_dim", 0)}
    return c.named("rotary_embedding", c.x(0), c.x(1), c.x(2), *places, interleaved=bool(c.attribute("interleaved", 0)), **numbers)


ROWS: dict[str, Row] = {"Attention": attention, "RotaryEmbedding": rotary_embedding}
