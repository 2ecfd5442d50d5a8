"""What a Winograd product asks memory for before it is needed. A schedule cannot say so: this edits the statement it left."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..host import tvm
from .kernel import LANES, WRITE, request
from .winograd_arrangement import ceil_div

if TYPE_CHECKING:
    from .winograd import Tiled

__all__ = ["STREAM", "ask_pixels", "ask_weights", "asking"]

STREAM = "stream"  # marks the loop whose body asks
Loops = tuple[Any, ...]  # from the outermost to the marked one


def asking(statement: Any, ask: Callable[[Loops], Any], loops: Loops = ()) -> Any:
    """The same statement with what `ask` says after the body of the marked loop; None where that loop is not in here."""
    tirx, kind = tvm().tirx, type(statement).__name__
    if kind == "For":
        at, loops = statement, (*loops, statement)
        body = tirx.SeqStmt([at.body, ask(loops)]) if STREAM in at.annotations else asking(at.body, ask, loops)
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


def ask_weights(weights: Any, loops: Loops) -> Any:
    """Of three stages, for each block of input channels of the product: some of the weights of the next position and group.

    All weights come from memory once for each call, and while further register tiles read again what the first one read, none would come:
    0.55 ms become 0.37 for 256 channels @14. So every tile asks for some lines; asked for in haste, by the first two, 2.10 ms are 2.18 for
    512 channels @28. Inside the loop over a block's lanes a request would keep the sums out of registers.
    """
    tirx = tvm().tirx
    position, image, row, col, *_, block = loops[-8:]  # between are those of one turn
    a, _, groups, blocks, lanes, group, _ = (int(extent) for extent in weights.shape)
    turns = int(image.extent) * int(row.extent) * int(col.extent)
    each = ceil_div(lanes * group, turns)
    turn = (image.loop_var * row.extent + row.loop_var) * col.extent + col.loop_var
    following = tirx.min(position.loop_var + 1, a * a * groups - 1)
    x, y, last = tirx.floordiv(following, a * groups), tirx.floordiv(following, groups), tirx.floormod(following, groups)
    calls: list[Any] = []
    for i in range(each):
        line = tirx.min((turn * blocks + block.loop_var) * each + i, blocks * lanes * group - 1)
        channel = tirx.floordiv(line, group)
        at = (x, tirx.floormod(y, a), last, tirx.floordiv(channel, lanes), tirx.floormod(channel, lanes), tirx.floormod(line, group), 0)
        calls.append(request(tirx, weights[at]))
    ask = _sequence(calls)
    return ask if turns <= lanes * group else tirx.IfThenElse(turn < lanes * group, ask, None)


def ask_pixels(size: Tiled, tile_cols: int, image: Any, result: Any, loops: Loops) -> Any:
    """Of fused stages, for each position and group of outputs: some pixels of the next run's input, and some of this run's result.

    The product needs neither, so memory would be idle meanwhile: 3.24 ms become 2.70 for 64 channels @224, 2.83 become 2.5 for 128 @112.
    A row of positions asks for a row of pixels, a column for some of its columns. In the loop over input channels a request would keep the
    sums out of registers.
    """
    tirx = tvm().tirx
    run, *_, x, y, group = loops
    (rows, cols), m, a = size.out, size.m, size.m + 2
    high, runs = ceil_div(rows, m), ceil_div(ceil_div(cols, m), tile_cols)

    def place(index: Any) -> tuple[Any, Any, Any]:
        """Image, row of tiles and run in it."""
        return tirx.floordiv(index, high * runs), tirx.floormod(tirx.floordiv(index, runs), high), tirx.floormod(index, runs)

    def columns(buffer: Any, first: Any, count: int, parts: int, part: Any) -> list[Any]:
        """Of `count` columns from `first` on, those of one of so many parts, none beyond the edge."""
        each = ceil_div(count, parts)
        return [tirx.min(first + part * each + i, int(buffer.shape[3]) - 1) for i in range(each)]

    b, p, q = place(run.loop_var + 1)
    row = tirx.max(0, tirx.min(p * m + x.loop_var - size.pads[0], size.rows - 1))
    wide, part = tile_cols * m, y.loop_var * group.extent + group.loop_var
    inputs = columns(image, q * wide, wide, a * int(group.extent), part)
    asks = [
        request(tirx, image[channel, tirx.min(b, image.shape[1] - 1), row, col, 0])
        for channel in range(int(image.shape[0]))
        for col in inputs
    ]
    b, p, q = place(run.loop_var)
    side = m // 2 if size.pools else m
    row = tirx.min(p * side + tirx.min(x.loop_var, side - 1), int(result.shape[2]) - 1)
    outputs = columns(result, q * tile_cols * side, tile_cols * side, a, y.loop_var)
    width = ceil_div(ceil_div(size.c_out, LANES), int(group.extent))
    for channel in range(width):
        at = tirx.min(group.loop_var * width + channel, int(result.shape[0]) - 1)
        asks += [request(tirx, result[at, b, row, col, 0], WRITE) for col in outputs]
    return _sequence(asks)


def _sequence(calls: list[Any]) -> Any:
    tirx = tvm().tirx
    return tirx.SeqStmt([tirx.Evaluate(call) for call in calls])
