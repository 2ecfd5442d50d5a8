"""The statements of a product by quarters: sums of the left side, seven register tiles, and what they make of the results."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..epilogue import FLAT
from ..layout import LANES
from ..writer import Writer, request
from .quarters import LEFT, MACS, PRODUCTS, Quarters

__all__ = ["Quartered"]


@dataclass(frozen=True, slots=True)
class Begin:
    """What sums begin with: nothing or what waits, which may be added to them."""

    taken: int | None = None
    adds: bool = False


@dataclass(frozen=True, slots=True)
class End:
    """What becomes of sums: they wait, or are a quarter of the results, with what waits."""

    put: int | None = None
    quarter: int = 0
    added: int | None = None


DONE = 3  # where results wait for their steps
BEFORE = {0: Begin(), 2: Begin(0), 5: Begin(), 6: Begin(1, adds=True)}
AFTER = {0: End(0), 1: End(quarter=0), 2: End(1), 3: End(2), 4: End(quarter=2), 5: End(quarter=3, added=2), 6: End(quarter=1)}


@dataclass(frozen=True, slots=True)
class Quartered:
    """Writes the statements. `read(image, row, vector)` is a vector of the left side, `finish(image, row, vector, sum)` takes one of the
    results without its bias.
    """

    writer: Writer
    size: Quarters
    w: Any
    read: Callable[[Any, Any, Any], Any]
    finish: Callable[[Any, Any, Any, Any], None]

    def write(self) -> None:
        size, writer = self.size, self.writer
        work, (groups, *_) = size.macs // MACS, size.weights
        if size.is_tilewise:
            with writer.each(size.batch, size.tiles, work=work) as (i, tile):
                left, waiting = self.scratch(1), self.waiting()
                with writer.loop(size.half_in) as c:
                    self.mix(left, i, tile, writer.long(0), c)
                with writer.loop(groups) as group:
                    self.tile(left, waiting, i, group, tile, writer.long(0))
            return
        parts = 1 + groups % 2  # as much for each of two threads
        each = -(-size.tiles // parts)
        images = writer.batch if size.batch is None else writer.long(size.batch)
        with writer.loop(images) as i:
            left = self.scratch(size.tiles)
            with writer.each(1, size.tiles, size.half_in, work=size.c_in * size.rows) as (_, tile, c):
                self.mix(left, i, tile, tile, c)
            with writer.each(1, groups, parts, work=work) as (_, group, part):
                waiting = self.waiting()
                with writer.loop(writer.tirx.min(part * each + each, writer.long(size.tiles)), part * each) as tile:
                    self.tile(left, waiting, i, group, tile, tile)

    def scratch(self, tiles: int) -> Any:
        return self.writer.to.alloc_buffer((tiles, PRODUCTS, self.size.half_in, self.size.wide, LANES), scope="global")

    def waiting(self) -> Any:
        """For sums of products that several results have, for one to be continued, and for what is done."""
        return self.writer.to.alloc_buffer((DONE + 1, self.size.deep, self.size.wide, LANES), scope="global")

    def rows(self, pair: Any) -> tuple[Any, Any]:
        whole = self.size.whole or self.size.rows
        if whole % 2 == 0:
            return pair * 2, pair * 2 + 1
        per = -(-whole // 2)
        start, first = pair // per * whole, pair % per * 2
        return start + first, start + self.writer.tirx.min(first + 1, self.writer.long(whole - 1))

    def pair(self, tile: Any) -> Any:
        """The first of a tile."""
        return self.writer.keep(self.writer.tirx.min(tile * self.size.wide, self.writer.long(self.size.pairs - self.size.wide)))

    def mix(self, left: Any, i: Any, tile: Any, place: Any, c: Any) -> None:
        """Sums of the left side's quarters for the c-th vectors of a tile."""
        writer, pair = self.writer, self.pair(tile)
        with writer.loop(self.size.wide) as j:
            quarters = [writer.keep(self.read(i, row, c + k * self.size.half_in)) for row in self.rows(pair + j) for k in range(2)]
            for p, factors in enumerate(LEFT):
                writer.store(left, _sum(quarters, factors), place, p, c, j)

    def tile(self, left: Any, waiting: Any, i: Any, group: Any, tile: Any, place: Any) -> None:
        """A tile for a group of results."""
        writer, size = self.writer, self.size
        pair = self.pair(tile)
        sums = [writer.registers(size.wide) for _ in range(size.deep)]
        with writer.loop(PRODUCTS) as p:
            for number, before in BEFORE.items():
                writer.branch(p == number, functools.partial(self.begin, sums, waiting, before))
            self.product(left, sums, group, p, tile, place)
            for number, after in AFTER.items():
                writer.branch(p == number, functools.partial(self.end, sums, waiting, after, (i, pair, group)))

    def begin(self, sums: list[Any], waiting: Any, before: Begin) -> None:
        writer = self.writer
        for q, j in self.places:
            value = writer.spread(0.0) if before.taken is None else writer.load(waiting, before.taken, q, j)
            writer.store(sums[q], value + writer.load(sums[q], j) if before.adds else value, j)

    def end(self, sums: list[Any], waiting: Any, after: End, at: tuple[Any, Any, Any]) -> None:
        """Sums wait, or are done. Long formulas are no part of the unrolled code: their registers would be taken from sums."""
        writer, size = self.writer, self.size
        is_short = all(step.kind in FLAT and step.gate is None for step in size.steps)
        for q, j in self.places:
            value = writer.load(sums[q], j)
            if after.added is not None:
                value = value + writer.load(waiting, after.added, q, j)
            if after.put is None and is_short:
                self.done(after.quarter, at, q, j, value)
            else:
                writer.store(waiting, value, DONE if after.put is None else after.put, q, j)
        if after.put is None and not is_short:
            with writer.loop(size.wide) as j:
                for q in range(size.deep):
                    self.done(after.quarter, at, q, j, writer.load(waiting, DONE, q, j))

    def done(self, quarter: int, at: tuple[Any, Any, Any], q: int, j: Any, value: Any) -> None:
        (i, pair, group), size = at, self.size
        self.finish(i, self.rows(pair + j)[quarter // 2], group * size.deep + (q + quarter % 2 * size.half_out), value)

    @property
    def places(self) -> list[tuple[int, int]]:
        return [(q, j) for q in range(self.size.deep) for j in range(self.size.wide)]

    def product(self, left: Any, sums: list[Any], group: Any, p: Any, tile: Any, place: Any) -> None:
        writer, size = self.writer, self.size
        with writer.loop(size.half_in) as c:
            if not size.is_tilewise:
                self.ask(group, p, c, tile)
            with writer.loop(LANES) as lane:
                factors = [writer.load(self.w, group, p, c * LANES + lane, q) for q in range(size.deep)]
                for j in range(size.wide):
                    value = writer.keep(writer.spread(left[place, p, c, j, lane]))
                    for block, factor in zip(sums, factors, strict=True):
                        writer.store(block, block[(j, writer.lanes())] + value * factor, j)

    def ask(self, group: Any, p: Any, c: Any, tile: Any) -> None:
        """A share of the next group's weights, so that they have come from memory when they are needed. Past the end it does nothing."""
        writer, size = self.writer, self.size
        each = math.prod(size.weights[1:-1])
        lines = writer.to.decl_buffer([writer.long(math.prod(size.weights[:-1])), writer.long(LANES)], "float32", data=self.w.data)
        share = -(-each // (size.tiles * PRODUCTS * size.half_in))
        first = (group + 1) * each + ((tile * PRODUCTS + p) * size.half_in + c) * share
        for k in range(share):
            writer.to.evaluate(request(writer.tirx, lines[first + k, 0]))


def _sum(values: Sequence[Any], factors: Sequence[int]) -> Any:
    """Of values with factors of 1, 0 and -1; the first of the others is 1 somewhere."""
    terms = [(value, factor) for value, factor in zip(values, factors, strict=True) if factor]
    terms.sort(key=lambda term: -term[1])
    total = terms[0][0]
    for value, factor in terms[1:]:
        total = total + value if factor > 0 else total - value
    return total
