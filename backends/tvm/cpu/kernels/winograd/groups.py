"""Winograd convolution in groups of whole blocks of channels: all stages of a strip of one group's tiles at a time.

What lies between the stages is a few dozen kilobytes, as are the weights of a group, which its strips share: both stay near a core. For 128
channels in groups of 16 @28 that takes half of the direct kernel's time, on Zen 4.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ......ir.types import Array
from ..epilogue import apply, read_names
from ..kernel import kind
from ..layout import LANES, Packing, blocks
from ..writer import Operand, Writer, blocked, prim_func, request
from .arrangement import Tiled, ceil_div, register_tile, round_up
from .transforms import filter_transform, input_transform, output_transform

__all__ = ["group_filters", "winograd_groups"]


def group_filters(size: Tiled, groups: int) -> Packing:
    """[O,C/groups,r,r] as [groups,a*a,output block,inputs,16 outputs], transformed."""
    form = _Form(size, groups)
    one = filter_transform(size.m, size.r)
    both = np.kron(one, one)

    def pack(w: Array) -> Array:
        """In float64, rounded once."""
        taps = w.reshape(groups, form.blocks_out, LANES, form.blocks_in * LANES, size.r * size.r).astype(np.float64)
        return np.ascontiguousarray((taps @ both.T).transpose(0, 4, 1, 3, 2).astype(np.float32))

    return Packing(form.weights, pack)


@kind("winograd groups")
def winograd_groups(size: Tiled, groups: int) -> Any:
    """(A, U of `group_filters`, bias[COB,16], R..., D)."""
    form, batch = _Form(size, groups), size.batch
    others = [blocked(name, batch, size.c_out, *size.out) for name in read_names(size.steps)]
    weights = [Operand("U", form.weights), Operand("bias", (blocks(size.c_out), LANES))]
    given = blocked("A", batch, size.c_in, size.rows, size.cols)

    def body(writer: Writer, a: Any, u: Any, bias: Any, *rest: Any) -> None:
        *read, d = rest
        work = math.prod((groups, form.strips, form.tiles, size.a**2, form.deep * form.blocks_out, LANES))
        with writer.each(batch, groups, form.strips, work=work) as (i, group, strip):
            v = writer.to.alloc_buffer((size.a**2, form.tiles | 1, form.blocks_in * LANES), scope="global")
            sums = writer.to.alloc_buffer((size.a**2, form.blocks_out, form.tiles | 1, LANES), scope="global")
            _transform(writer, form, a, v, (i, group, strip))
            _multiply(writer, form, u, v, sums, (group, strip))
            _finish(writer, form, sums, bias, read, d, (i, group, strip))

    return prim_func([given, *weights, *others, blocked("D", batch, size.c_out, *size.out)], body)


@dataclass(frozen=True, slots=True)
class _Form:
    """A strip is some rows of tiles, all along; its columns are padded to what the registers hold at once."""

    size: Tiled
    groups: int

    @property
    def blocks_in(self) -> int:
        return self.size.c_in // self.groups // LANES

    @property
    def blocks_out(self) -> int:
        return self.size.c_out // self.groups // LANES

    @property
    def deep(self) -> int:
        """Output blocks of a register tile. One where a block takes several registers, as in `Direct.depths`."""
        return 2 if self.blocks_out % 2 == 0 and self.size.processor.lanes == LANES else 1

    @property
    def weights(self) -> tuple[int, ...]:
        return self.groups, self.size.a**2, self.blocks_out, self.blocks_in * LANES, LANES

    @property
    def tile(self) -> tuple[int, int]:
        return register_tile(*self.size.grid, self.deep, self.size.processor)

    @property
    def wide(self) -> int:
        return round_up(self.size.grid[1], self.tile[1])

    @property
    def tiles(self) -> int:
        return self.tile[0] * self.wide

    @property
    def strips(self) -> int:
        return ceil_div(self.size.grid[0], self.tile[0])


def _transform(writer: Writer, form: _Form, a: Any, v: Any, at: tuple[Any, Any, Any]) -> None:
    """V[position,tile,channel] = B^T d B: down all columns of a row of tiles, then across each tile."""
    size, const, (i, group, strip) = form.size, writer.vectors.const, at
    cols, left = form.wide * size.m + size.r - 1, size.pads[1]
    inside = min(size.cols, cols - left)
    with writer.loop(form.blocks_in) as c, writer.loop(form.tile[0]) as r:
        half = writer.to.alloc_buffer((size.a, cols, LANES), scope="global")
        row = writer.keep((strip * form.tile[0] + r) * size.m - size.pads[0])
        for begin, end in ((0, left), (left + inside, cols)):
            with writer.loop(end, begin) as x, writer.loop(size.a) as k:
                writer.store(half, writer.spread(0.0), k, x)
        with writer.loop(inside) as x:
            taps = _taps(writer, form, a, (i, group * form.blocks_in + c, row, x))
            for k, value in enumerate(input_transform(const, taps)):
                writer.store(half, value, k, x + left)
        with writer.loop(size.a) as y, writer.loop(form.wide) as q:
            values = [writer.load(half, y, q * size.m + j) for j in range(size.a)]
            for j, value in enumerate(input_transform(const, values)):
                writer.to.buffer_store(v, value, [y * size.a + j, r * form.wide + q, writer.lanes(c * LANES)])


def _taps(writer: Writer, form: _Form, a: Any, at: tuple[Any, Any, Any, Any]) -> list[Any]:
    """A column's pixels from a tile's first row on, zeros outside of the image."""
    size, (i, block, row, x) = form.size, at
    top, last = size.pads[0], (form.strips * form.tile[0] - 1) * size.m - size.pads[0]  # the first row of the last tile
    taps = writer.registers(size.a)
    for k in range(size.a):
        outside = [row + k >= 0] * (k < top) + [row + k < size.rows] * (last + k >= size.rows)

        def read(k: int = k) -> None:
            writer.store(taps, writer.load(a, i, block, row + k, x), k)

        if outside:
            writer.store(taps, writer.spread(0.0), k)
            writer.branch(functools.reduce(writer.tirx.And, outside), read)
        else:
            read()
    return [writer.load(taps, k) for k in range(size.a)]


def _multiply(writer: Writer, form: _Form, u: Any, v: Any, sums: Any, at: tuple[Any, Any]) -> None:
    (rows, cols), deep, (group, strip) = form.tile, form.deep, at
    with writer.loop(form.size.a**2) as position, writer.loop(form.blocks_out // deep) as o:
        _ask(writer, form, u, (group, strip, position, o))
        with writer.loop(form.wide // cols) as run:
            totals = {(q, r): writer.registers(cols) for q in range(deep) for r in range(rows)}  # together they may be more than STACK
            places = {(r, j): r * form.wide + run * cols + j for r in range(rows) for j in range(cols)}
            for total in totals.values():
                for j in range(cols):
                    writer.store(total, writer.spread(0.0), j)
            with writer.loop(form.blocks_in * LANES) as c:
                factors = [writer.load(u, group, position, o * deep + q, c) for q in range(deep)]
                for (r, j), place in places.items():
                    pixel = writer.keep(writer.spread(v[position, place, c]))
                    for q, factor in enumerate(factors):
                        writer.store(totals[q, r], totals[q, r][(j, writer.lanes())] + pixel * factor, j)
            for (q, r), total in totals.items():
                for j in range(cols):
                    writer.store(sums, writer.load(total, j), position, o * deep + q, places[r, j])


def _ask(writer: Writer, form: _Form, u: Any, at: tuple[Any, Any, Any, Any]) -> None:
    """For the same share of the next group's weights, while a group's last strip is computed. Requests past the last group do nothing."""
    group, strip, position, o = at

    def ask() -> None:
        with writer.loop(form.blocks_in * LANES) as c:
            for q in range(form.deep):
                writer.to.evaluate(request(writer.tirx, u[group + 1, position, o * form.deep + q, c, 0]))

    if form.strips == 1:
        ask()
    else:
        writer.branch(strip == form.strips - 1, ask)


def _finish(writer: Writer, form: _Form, sums: Any, bias: Any, read: list[Any], d: Any, at: tuple[Any, Any, Any]) -> None:
    """Y = A^T M A, bias, steps and store."""
    size, (i, group, strip) = form.size, at
    (rows, cols), m, a, const = size.out, size.m, size.a, writer.vectors.const
    with writer.loop(form.blocks_out) as o, writer.loop(form.tile[0]) as r:
        block, row = writer.keep(group * form.blocks_out + o), writer.keep((strip * form.tile[0] + r) * m)
        shift = writer.load(bias, block)

        def tile(q: Any, width: int) -> None:
            back = [writer.registers(a) for _ in range(m)]
            for j in range(a):
                column = [writer.load(sums, x * a + j, o, r * form.wide + q) for x in range(a)]
                for y, value in enumerate(output_transform(const, m, column)):
                    writer.store(back[y], value, j)
            for y in range(m):
                store = functools.partial(line, back[y], y, q, width)
                if form.strips * form.tile[0] * m > rows:
                    writer.branch(row + y < rows, store)
                else:
                    store()

        def line(back: Any, y: int, q: Any, width: int) -> None:
            values = output_transform(const, m, [writer.load(back, j) for j in range(a)])
            for z in range(width):
                place = (i, block, row + y, q * m + z)
                others = [writer.load(other, *place) for other in read]
                writer.store(d, apply(writer.vectors, size.steps, writer.keep(values[z] + shift), others), *place)

        with writer.loop(cols // m) as q:
            tile(q, m)
        if cols % m:
            tile(writer.long(cols // m), cols % m)
