"""What a Winograd product asks memory for before it is needed. A schedule cannot say so: this edits the statement it left."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ....host import tvm
from ..writer import WRITE, request
from .arrangement import Tiled, ceil_div, group_of

__all__ = ["STREAM", "ask_pixels", "ask_weights", "asking"]

STREAM = "stream"  # marks the loop whose body asks
Loops = tuple[Any, ...]  # from the outermost to the marked one


def asking(statement: Any, ask: Callable[[Loops], list[Any]], loops: Loops = ()) -> Any:
    """The same statement with those of `ask` after the body of the marked loop; None where that loop is not in here."""
    tirx, kind = tvm().tirx, type(statement).__name__
    if kind == "For":
        at, loops = statement, (*loops, statement)
        if STREAM in at.annotations:
            asks = ask(loops)
            body = tirx.SeqStmt([at.body, *asks]) if asks else at.body
        else:
            body = asking(at.body, ask, loops)
        rest = {key: value for key, value in at.annotations.items() if key != STREAM}
        return body and tirx.For(at.loop_var, at.min, at.extent, at.kind, body, at.thread_binding, rest)
    if kind == "SeqStmt":
        found = [asking(part, ask, loops) for part in statement.seq]
        return tirx.SeqStmt([new or old for new, old in zip(found, statement.seq, strict=True)]) if any(found) else None
    if kind == "SBlockRealize":
        at = statement.block
        body = asking(at.body, ask, loops)
        rest = (at.init, at.alloc_buffers, at.match_buffers, at.annotations)
        block = body and type(at)(at.iter_vars, at.reads, at.writes, at.name_hint, body, *rest)
        return block and type(statement)(statement.iter_values, statement.predicate, block)
    return None


def ask_weights(weights: Any, loops: Loops) -> list[Any]:
    """Of three stages, for each block of input channels of the product: some of the weights of the next position and group.

    All weights come from memory once for each call, and while further register tiles read again what the first one read, none would come:
    0.55 ms become 0.37 for 256 channels @14. So every tile asks for some lines; asked for in haste, by the first two, 2.10 ms are 2.18 for
    512 channels @28. Inside the loop over a block's lanes a request would keep the sums out of registers.
    """
    tirx = tvm().tirx
    position, image, row, col, *_, block = loops[-8:]  # between are those of one turn
    a, _, groups, blocks, lanes, group, _ = (int(extent) for extent in weights.shape)
    turns, lines = int(image.extent) * int(row.extent) * int(col.extent), lanes * group
    each = ceil_div(lines, turns)
    turn = (image.loop_var * row.extent + row.loop_var) * col.extent + col.loop_var
    following = tirx.min(position.loop_var + 1, a * a * groups - 1)
    x, y, last = tirx.floordiv(following, a * groups), tirx.floordiv(following, groups), tirx.floormod(following, groups)
    asks: list[Any] = []
    for i in range(each):
        line = tirx.min((turn * blocks + block.loop_var) * each + i, blocks * lines - 1)
        channel = tirx.floordiv(line, group)
        at = (x, tirx.floormod(y, a), last, tirx.floordiv(channel, lanes), tirx.floormod(channel, lanes), tirx.floormod(line, group), 0)
        asks.append(tirx.Evaluate(request(tirx, weights[at])))
    return asks if turns <= lines else [tirx.IfThenElse(turn < lines, asks[0], None)]


def ask_pixels(size: Tiled, tile_cols: int, image: Any, result: Any, loops: Loops) -> list[Any]:
    """Of fused stages, for each position and group of outputs: some pixels of the next run's input, and some of this run's result.

    The product needs neither, so memory would be idle meanwhile: on Zen 5, 3.24 ms become 2.70 for 64 channels @224, 2.83 become 2.5 for
    128 @112. A row of positions asks for a row of pixels, a column for some of its columns, the last rows for one again. None where both
    lie near. In the loop over input channels a request would keep the sums out of registers.
    """
    if not size.is_far:
        return []
    tirx = tvm().tirx
    run, *_, x, y, group = loops
    high, wide = size.grid
    runs = ceil_div(wide, tile_cols)

    def place(index: Any) -> tuple[Any, Any, Any]:
        """Image, row of tiles and run in it."""
        return tirx.floordiv(index, high * runs), tirx.floormod(tirx.floordiv(index, runs), high), tirx.floormod(index, runs)

    def pixels(buffer: Any, channels: list[Any], at: tuple[Any, Any, Any], count: int, parts: int, part: Any) -> list[Any]:
        """At image, row and first column `at`: of `count` columns, or a little beyond, those of one of so many parts; none outside."""
        each = ceil_div(count, parts)
        (_, images, rows, cols, _), (b, row, first) = buffer.shape, at
        b, row = tirx.min(b, images - 1), tirx.max(0, tirx.min(row, rows - 1))
        columns = [tirx.min(first + part * each + i, cols - 1) for i in range(each)]
        return [buffer[channel, b, row, col, 0] for channel in channels for col in columns]

    groups, cols = int(group.extent), tile_cols * size.m
    b, p, q = place(run.loop_var + 1)
    after = (b, p * size.m + x.loop_var - size.pads[0], q * cols)
    inputs = pixels(image, list(range(int(image.shape[0]))), after, cols, size.a * groups, y.loop_var * groups + group.loop_var)
    b, p, q = place(run.loop_var)
    side = size.m // 2 if size.pools else size.m
    now = (b, p * side + tirx.min(x.loop_var, side - 1), q * tile_cols * side)
    width = group_of(size.c_out)
    channels = [tirx.min(group.loop_var * width + i, int(result.shape[0]) - 1) for i in range(width)]
    outputs = pixels(result, channels, now, tile_cols * side, size.a, y.loop_var)
    calls = [*(request(tirx, pixel) for pixel in inputs), *(request(tirx, pixel, WRITE) for pixel in outputs)]
    return [tirx.Evaluate(call) for call in calls]
