"""Element-wise ops that are computed together, however they read one another: only what they leave is stored, or its sums.

Plain values are rows: what they read lies as the result does, is one number, one for each row, or one for each place of a row. Blocked ones
are images, and what they read is one too, or one number, one for each channel, one for each channel of an image, or one for each window of
it, as the way back through an average has them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from .....ir.op import OpDef
from .....ir.ops.compare import EQUAL, GREATER, GREATER_OR_EQUAL, LESS, LESS_OR_EQUAL, LOGICAL_AND, LOGICAL_OR, WHERE
from .....ir.ops.elementwise import DIV, POW, SUB
from .....ir.ops.unary import EXP, NEG, SQRT
from . import formulas
from .epilogue import STEPS
from .kernel import kind
from .layout import LANES, Batch, blocks
from .writer import Operand, Register, Writer, blocked, prim_func

__all__ = ["CONDITIONS", "FORMULAS", "Leaf", "Line", "Tree", "blocked_tree", "column_sums", "image_sums", "plain_tree", "row_sums"]

ReadVectors = Sequence[Any]
# One expression may hold a value twice, and TVM's simplifier takes x - x for 0, x + c - c for x and x == x for true: not so of a NaN, of
# infinities or where c is large. A product with -1 and an order it leaves as they are; LLVM makes the same instructions of the former.
FORMULAS: dict[OpDef[Any], Callable[[Any, Any, ReadVectors], Any]] = {  # (vectors, op, operands)
    **{
        of: lambda vectors, op, values, step=step: step(vectors, op, values[0], values[1] if len(values) > 1 else None)
        for of, step in STEPS.items()
    },
    SUB: lambda vectors, op, values: values[0] + values[1] * vectors.const(-1.0),
    DIV: lambda vectors, op, values: values[0] / values[1],
    NEG: lambda vectors, op, values: values[0] * vectors.const(-1.0),
    EXP: lambda vectors, op, values: vectors.exp(values[0]),
    SQRT: lambda vectors, op, values: vectors.tirx.sqrt(values[0]),
    POW: lambda vectors, op, values: formulas.power(vectors, values[0], op),
    WHERE: lambda vectors, op, values: vectors.tirx.Select(values[0], values[1], values[2]),
    EQUAL: lambda vectors, op, values: vectors.tirx.And(values[0] <= values[1], values[1] <= values[0]),
    GREATER: lambda vectors, op, values: values[0] > values[1],
    LESS: lambda vectors, op, values: values[0] < values[1],
    GREATER_OR_EQUAL: lambda vectors, op, values: values[0] >= values[1],
    LESS_OR_EQUAL: lambda vectors, op, values: values[0] <= values[1],
    LOGICAL_AND: lambda vectors, op, values: vectors.tirx.And(values[0], values[1]),
    LOGICAL_OR: lambda vectors, op, values: vectors.tirx.Or(values[0], values[1]),
}
CONDITIONS = frozenset({EQUAL, GREATER, LESS, GREATER_OR_EQUAL, LESS_OR_EQUAL, LOGICAL_AND, LOGICAL_OR})
CHUNK = 64  # vectors of a long row that a thread takes at a time
PARTS = 8  # of the rows whose sums are kept apart: by these threads divide them, and so they never change a bit
CHAIN = 64  # vectors that are added in turn, then so many of their sums: one after another 65,536 of one sign lose three digits


@dataclass(frozen=True, slots=True)
class Leaf:
    """What is read: `full` is as large as the result; and its own shape, None for a size that has a name."""

    place: Literal["full", "one", "each", "last", "channel", "image", "window"]
    shape: tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class Line:
    """One op; its operands by number: leaves first, then lines. The op of a power is its exponent, which is known."""

    kind: OpDef[Any]
    op: Any
    operands: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Tree:
    """Lines in order, the last of which is the result; without any the only leaf is."""

    leaves: tuple[Leaf, ...]
    lines: tuple[Line, ...]

    def value(self, writer: Writer, read: ReadVectors) -> Any:
        values = list(read)
        uses = [operand for line in self.lines for operand in line.operands]
        for line in self.lines:
            value = FORMULAS[line.kind](writer.vectors, line.op, [values[operand] for operand in line.operands])
            is_shared = line.kind not in CONDITIONS and uses.count(len(values)) > 1
            values.append(writer.settle(value) if is_shared else value)
        return values[-1]


@dataclass(frozen=True, slots=True)
class _Rows:
    """Plain rows of `inner` places, `outer` of an image."""

    writer: Writer
    tree: Tree
    outer: int
    inner: int
    images: Any
    buffers: list[Any]

    @staticmethod
    def of(writer: Writer, tree: Tree, rows: tuple[int, int], images: Any, buffers: Sequence[Any]) -> _Rows:
        outer, inner = rows
        sizes = {"full": images * (outer * inner), "one": writer.long(1), "each": images * outer, "last": writer.long(inner)}
        shown = [
            writer.to.decl_buffer([sizes[leaf.place]], "float32", data=buffer.data)
            for leaf, buffer in zip(tree.leaves, buffers, strict=True)
        ]
        return _Rows(writer, tree, outer, inner, images, shown)

    def vector(self, row: Any, place: Any, used: int = LANES) -> Any:
        """The result at a place of a row; of a part of a vector 0 is read beyond it."""
        writer, values = self.writer, list[Any]()
        for leaf, buffer in zip(self.tree.leaves, self.buffers, strict=True):
            if leaf.place in ("one", "each"):
                values.append(writer.keep(writer.spread(buffer[row if leaf.place == "each" else 0])))
                continue
            start = row * self.inner + place if leaf.place == "full" else place
            if used == LANES:
                values.append(writer.keep(buffer[writer.lanes(start)]))
                continue
            register = Register(writer)
            register.set(writer.spread(0.0))
            for lane in range(used):
                register.set_lane(lane, buffer[start + lane])
            values.append(register.get())
        return self.tree.value(writer, values)


def _operands(tree: Tree) -> list[Operand]:
    return [Operand(f"A{i}", leaf.shape) for i, leaf in enumerate(tree.leaves)]


@kind("elements together")
def plain_tree(made: tuple[int | None, ...], rows: tuple[int, int], tree: Tree) -> Any:
    """(A..., D[made]), which are `rows` (outer, inner) of an image; those that are as large as the result stand last."""
    outer, inner = rows
    full, left = divmod(inner, LANES)
    chunks = max(1, -(-full // CHUNK))
    each = -(-full // chunks)
    batch = None if None in made else 1

    def body(writer: Writer, *buffers: Any) -> None:
        images = writer.batch if batch is None else writer.long(1)
        shown = _Rows.of(writer, tree, rows, images, buffers[:-1])
        d = writer.to.decl_buffer([images * (outer * inner)], "float32", data=buffers[-1].data)

        def ending(row: Any) -> None:
            result = Register(writer)
            result.set(shown.vector(row, writer.long(full * LANES), left))
            for lane in range(left):
                writer.to.buffer_store(d, result.lane(lane), [row * inner + (full * LANES + lane)])

        with writer.each(batch, outer, chunks, work=outer * inner * len(buffers)) as (i, r, chunk):
            row = writer.keep(i * outer + r)
            if full:
                end = writer.keep(writer.tirx.min(chunk * each + each, writer.long(full)))
                with writer.loop(end, writer.keep(chunk * each)) as k:
                    writer.to.buffer_store(d, shown.vector(row, k * LANES), [writer.lanes(row * inner + k * LANES)])
            if left:
                writer.branch(chunk == chunks - 1, lambda: ending(row))

    return prim_func([*_operands(tree), Operand("D", made)], body)


@kind("row sums")
def row_sums(made: tuple[int | None, ...], rows: tuple[int, int], tree: Tree, *, is_mean: bool) -> Any:
    """(A..., D[made]): one sum, or mean, for each row."""
    outer, inner = rows
    full, left = divmod(inner, LANES)
    batch = None if None in made else 1

    def body(writer: Writer, *buffers: Any) -> None:
        images = writer.batch if batch is None else writer.long(1)
        shown = _Rows.of(writer, tree, rows, images, buffers[:-1])
        d = writer.to.decl_buffer([images * outer], "float32", data=buffers[-1].data)
        with writer.each(batch, outer, work=outer * inner * len(buffers)) as (i, r):
            row = writer.keep(i * outer + r)
            total = _added(writer, full, lambda k: shown.vector(row, k * LANES))
            if left:
                last = Register(writer)
                last.set(shown.vector(row, writer.long(full * LANES), left))
                for lane in range(left):
                    total.set_lane(lane, total.lane(lane) + last.lane(lane))
            sum_ = Register(writer)
            sum_.set(writer.across(total.get(), lambda x, y: x + y))
            value = sum_.lane(0)
            writer.to.buffer_store(d, value / writer.tirx.const(float(inner), "float32") if is_mean else value, [row])

    return prim_func([*_operands(tree), Operand("D", made)], body)


def _added(writer: Writer, count: int, vector: Callable[[Any], Any]) -> Register:
    """The sum of so many vectors: CHAIN in turn, then CHAIN such sums, and so on. The order is that of any number of threads."""

    def sums(first: Any, end: Any, most: int) -> Register:
        total = Register(writer)
        total.set(writer.spread(0.0))
        if most <= CHAIN:
            with writer.loop(end, first) as k:
                total.set(total.get() + vector(k))
            return total
        part = CHAIN
        while part * CHAIN < most:
            part *= CHAIN
        with writer.loop(-(-most // part)) as chunk:
            start = writer.keep(first + chunk * part)
            stop = writer.keep(writer.tirx.min(start + part, end))
            total.set(total.get() + sums(start, stop, part).get())
        return total

    return sums(writer.long(0), writer.long(count), count)


@kind("column sums")
def column_sums(made: tuple[int | None, ...], rows: tuple[int, int], batch: Batch, tree: Tree, *, is_mean: bool) -> Any:
    """(A..., D[made]): one sum, or mean, for each place of a row, over the rows of all images."""
    outer, inner = rows

    def body(writer: Writer, *buffers: Any) -> None:
        images = writer.batch if batch is None else writer.long(1)
        shown, number = _Rows.of(writer, tree, rows, images, buffers[:-1]), images * outer
        d = writer.to.decl_buffer([writer.long(inner)], "float32", data=buffers[-1].data)
        parts = PARTS if batch is None or outer >= PARTS else 1
        columns = _Columns.of(writer, shown, parts)
        with writer.each(1, parts, work=outer * inner * len(buffers) * (1 if batch else PARTS)) as (_, part):
            columns.begin(part)
            first, end = writer.keep(part * number // parts), writer.keep((part + 1) * number // parts)
            with writer.loop((end - first + (CHAIN - 1)) // CHAIN) as chunk:
                start = writer.keep(first + chunk * CHAIN)
                columns.add(part, start, writer.keep(writer.tirx.min(start + CHAIN, end)))
                writer.branch(chunk % CHAIN == CHAIN - 1, lambda part=part: columns.put_off(part))
        columns.store(d, writer.spread(writer.tirx.Cast("float32", number)) if is_mean else None)

    return prim_func([*_operands(tree), Operand("D", made)], body)


@dataclass(frozen=True, slots=True)
class _Columns:
    """Sums of each column over so many `parts` of the rows, [part,vector,LANES]: `sums` of at most CHAIN chains, and `older` ones."""

    rows: _Rows
    parts: int
    sums: Any
    older: Any

    @staticmethod
    def of(writer: Writer, rows: _Rows, parts: int) -> _Columns:
        sums, older = (writer.to.alloc_buffer((parts, -(-rows.inner // LANES), LANES), scope="global") for _ in range(2))
        return _Columns(rows, parts, sums, older)

    @property
    def vectors(self) -> tuple[int, int]:
        """Of a row those that are full, and the places of the last one if it is not."""
        return divmod(self.rows.inner, LANES)

    @property
    def count(self) -> int:
        return -(-self.rows.inner // LANES)

    def begin(self, part: Any) -> None:
        writer = self.rows.writer
        with writer.loop(self.count) as k:
            writer.store(self.sums, writer.spread(0.0), part, k)
            writer.store(self.older, writer.spread(0.0), part, k)

    def add(self, part: Any, start: Any, stop: Any) -> None:
        """A chain of rows, from one to before another."""
        writer, (full, left) = self.rows.writer, self.vectors

        def column(k: Any, used: int) -> None:
            total = Register(writer)
            total.set(writer.spread(0.0))
            with writer.loop(stop, start) as row:
                value = self.rows.vector(row, k * LANES, used)
                total.set(total.get() + value)
            writer.store(self.sums, writer.load(self.sums, part, k) + total.get(), part, k)

        if full:
            with writer.loop(full) as k:
                column(k, LANES)
        if left:
            column(writer.long(full), left)

    def put_off(self, part: Any) -> None:
        """CHAIN sums of as many rows each, to those before."""
        writer = self.rows.writer
        with writer.loop(self.count) as k:
            writer.store(self.older, writer.load(self.older, part, k) + writer.load(self.sums, part, k), part, k)
            writer.store(self.sums, writer.spread(0.0), part, k)

    def store(self, d: Any, terms: Any) -> None:
        """All parts together, as means where there are `terms`."""
        writer, (full, left) = self.rows.writer, self.vectors

        def put(k: Any, result: Register, used: int) -> None:
            for lane in range(used):
                writer.to.buffer_store(d, result.lane(lane), [k * LANES + lane])

        with writer.loop(self.count) as k:
            parts = [writer.load(old, part, k) for part in range(self.parts) for old in (self.sums, self.older)]
            total = writer.pairwise(parts, lambda x, y: x + y)
            result = Register(writer)
            result.set(total if terms is None else total / terms)
            if left and full:
                writer.branch(k < full, lambda k=k, result=result: put(k, result, LANES), lambda k=k, result=result: put(k, result, left))
            else:
                put(k, result, left or LANES)


@kind("elements together")
def blocked_tree(batch: Batch, channels: int, rows: int, cols: int, tree: Tree) -> Any:
    """(A..., D), a number for each channel as [CB,LANES]; those that are as large as the result stand last."""

    def body(writer: Writer, *buffers: Any) -> None:
        with writer.each(batch, blocks(channels), rows, work=blocks(channels) * rows * cols * LANES * len(buffers)) as (i, c, y):
            pixel = _pixels(writer, tree, buffers[:-1], (i, c), (rows, cols))
            with writer.loop(cols) as x:
                writer.store(buffers[-1], pixel(y, x), i, c, y, x)

    return prim_func([*_in_blocks(batch, channels, rows, cols, tree), blocked("D", batch, channels, rows, cols)], body)


@kind("image sums")
def image_sums(batch: Batch, channels: int, rows: int, cols: int, tree: Tree, *, is_mean: bool) -> Any:
    """(A..., D[CB,n,1,1,LANES]), read as by `blocked_tree`: over the pixels of each image."""
    pixels = rows * cols

    def body(writer: Writer, *buffers: Any) -> None:
        flat = [
            writer.alias(buffer, (blocks(channels), 1, pixels, LANES)) if leaf.place == "full" else buffer
            for leaf, buffer in zip(tree.leaves, buffers[:-1], strict=True)
        ]
        with writer.each(batch, blocks(channels), work=blocks(channels) * pixels * LANES * len(buffers)) as (i, c):
            pixel = _pixels(writer, tree, flat, (i, c), (1, pixels))
            total = _added(writer, pixels, lambda k: pixel(0, k))
            value = total.get() / writer.spread(float(pixels)) if is_mean else total.get()
            writer.store(buffers[-1], value, i, c, 0, 0)

    return prim_func([*_in_blocks(batch, channels, rows, cols, tree), blocked("D", batch, channels, 1, 1)], body)


def _in_blocks(batch: Batch, channels: int, rows: int, cols: int, tree: Tree) -> list[Operand]:
    def operand(name: str, leaf: Leaf) -> Operand:
        if leaf.place == "one":
            return Operand(name, leaf.shape)
        if leaf.place == "channel":
            return Operand(name, (blocks(channels), LANES))
        return blocked(name, batch, channels, *((rows, cols) if leaf.place == "full" else _sides(leaf)))

    return [operand(f"A{i}", leaf) for i, leaf in enumerate(tree.leaves)]


def _sides(leaf: Leaf) -> tuple[int, int]:
    """Rows and columns of what is one for each image or window."""
    rows, cols = leaf.shape[2:]
    return rows or 1, cols or 1


def _pixels(writer: Writer, tree: Tree, buffers: Sequence[Any], at: tuple[Any, Any], size: tuple[int, int]) -> Callable[[Any, Any], Any]:
    """What the tree makes of a block of an image of a `size` at a place; what is one for all of them is read here."""
    i, c = at

    def read(leaf: Leaf, buffer: Any) -> Any:
        if leaf.place == "one":
            return writer.keep(writer.spread(writer.to.decl_buffer([1], "float32", data=buffer.data)[0]))
        return writer.load(buffer, *((c,) if leaf.place == "channel" else (i, c, 0, 0)))

    pairs = list(zip(tree.leaves, buffers, strict=True))
    fixed = {k: read(leaf, buffer) for k, (leaf, buffer) in enumerate(pairs) if leaf.place not in ("full", "window")}

    def value(leaf: Leaf, buffer: Any, y: Any, x: Any) -> Any:
        if leaf.place == "window":
            rows, cols = _sides(leaf)
            y, x = y // (size[0] // rows), x // (size[1] // cols)
        return writer.load(buffer, i, c, y, x)

    def pixel(y: Any, x: Any) -> Any:
        return tree.value(writer, [fixed[k] if k in fixed else value(leaf, each, y, x) for k, (leaf, each) in enumerate(pairs)])

    return pixel
