"""Weights of a Winograd product are asked for before they are needed. A schedule cannot say so: this edits the statement it left."""

from __future__ import annotations

from typing import Any

from ..host import tvm
from .kernel import request

__all__ = ["STREAM", "prefetching"]

STREAM = "stream"  # marks the product's loop over input blocks


def prefetching(statement: Any, weights: Any, loops: tuple[Any, ...] = ()) -> Any:
    """The same statement with `_ask` in the marked loop; None where that is not in here. `loops` are those around it, outermost first."""
    tirx, kind = tvm().tirx, type(statement).__name__
    if kind == "For":
        at, loops = statement, (*loops, statement)
        body = _ask(at.body, weights, loops) if STREAM in at.annotations else prefetching(at.body, weights, loops)
        rest = {key: value for key, value in at.annotations.items() if key != STREAM}
        return body and tirx.For(at.loop_var, at.min, at.extent, at.kind, body, at.thread_binding, rest)
    if kind == "SeqStmt":
        found = [prefetching(part, weights, loops) for part in statement.seq]
        return tirx.SeqStmt([new or old for new, old in zip(found, statement.seq, strict=True)]) if any(found) else None
    if kind == "SBlockRealize":
        at = statement.block
        body = prefetching(at.body, weights, loops)
        rest = (at.init, at.alloc_buffers, at.match_buffers, at.annotations)
        block = body and type(at)(at.iter_vars, at.reads, at.writes, at.name_hint, body, *rest)
        return block and type(statement)(statement.iter_values, statement.predicate, block)
    return None


def _ask(body: Any, weights: Any, loops: tuple[Any, ...]) -> Any:
    """Before `body`, one block of input channels of the product, requests for some of the weights of the next position and group.

    All weights come from memory once for each call, and while the second register tile reads again what the first one read, none would
    come: 0.55 ms become 0.37 for 256 channels @14. The first register tiles ask for a line of each of their steps, until all is asked for.
    Inside the loop over a block's lanes a request would keep the sums out of registers.
    """
    tirx = tvm().tirx
    position, image, row, col, *_, block = loops[-8:]  # between are those of one turn
    a, _, groups, blocks, lanes, group, _ = (int(extent) for extent in weights.shape)
    turns = int(image.extent) * int(row.extent) * int(col.extent)
    asking = min(turns, group)
    turn = (image.loop_var * row.extent + row.loop_var) * col.extent + col.loop_var
    following = tirx.min(position.loop_var + 1, a * a * groups - 1)
    each = lanes * group // asking
    asks: list[Any] = []
    for i in range(each):
        line = (turn * blocks + block.loop_var) * each + i
        x, y, last = tirx.floordiv(following, a * groups), tirx.floordiv(following, groups), tirx.floormod(following, groups)
        channel = tirx.floordiv(line, group)
        at = (x, tirx.floormod(y, a), last, tirx.floordiv(channel, lanes), tirx.floormod(channel, lanes), tirx.floormod(line, group), 0)
        asks.append(tirx.Evaluate(request(tirx, weights[at])))
    ask = tirx.SeqStmt(asks)
    return tirx.SeqStmt([ask if turns == asking else tirx.IfThenElse(turn < asking, ask, None), body])
