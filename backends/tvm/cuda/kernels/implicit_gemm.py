"""Convolution as a product of matrices: pixels of the result by filters, summed over taps and channels, on tensor cores.

What lies under a filter is gathered on the way into shared memory, so no matrix of windows is ever stored. Copies run ahead of products by
`stages`. Rows of a stage are one of 64 or 128 bytes; its chunks of 16 bytes change places by row (xor), so that the 8 rows that ldmatrix
reads lie in different banks. So do cuDNN (Chetlur et al. 2014) and CUTLASS. It is also how wgmma, which needs no ldmatrix, finds its
operands, and its sums lie among the threads as those of mma.sync do, 16 rows a warp: all but the product itself, which is in products.py,
is the same.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from typing import Any, Generic, TypeVar

from ...cpu.kernels.epilogue import Steps
from ...gpus.architectures import Architecture
from .edges import edges
from .epilogue import read_tensors, stepped
from .kernel import GpuKernel, gpu_kind
from .layout import CHUNK, ELEMENTS, ElementKind
from .parts import add_parts
from .products import ALIGNMENT, UNIT, GpuBlock, GroupProducts, Ring, WarpProducts
from .sizes import ConvSizes, ProductSizes
from .tiles import Tiling, tiling_of
from .writer import DeviceFunc, GpuWriter, Tensor

__all__ = ["Product", "convolution", "convolution_kernel"]

S = TypeVar("S", bound=ProductSizes)
COPIES = {8: "cp.async.ca.shared.global", 16: "cp.async.cg.shared.global"}  # by their bytes


def convolution_kernel(sizes: ConvSizes, element: ElementKind, steps: Steps, arch: Architecture) -> GpuKernel:
    """(X[n,H,W,C], W, bias[O], R[n,H',W',O]..., Y[n,H',W',O]), tiled by the table; for a named batch as for a few images."""
    chosen = tiling_of(sizes, element, arch)
    if sizes.batch is None:
        chosen = Tiling(chosen.tile)
    kernel = "x".join(map(str, sizes.kernel))
    arranged = f"{kernel}, {chosen.tile}" + (f", sums in {chosen.splits} parts" if chosen.splits > 1 else "")
    build = functools.partial(convolution, sizes, element.name, steps, chosen)
    if chosen.splits == 1:
        return GpuKernel(convolution.name, build, arranged)
    finish = add_parts.of(chosen.splits, sizes.batch, (*sizes.out, sizes.stored_out), element.name, steps)
    return GpuKernel(convolution.name, build, arranged, finish, chosen.splits)


@gpu_kind("conv")
def convolution(sizes: ConvSizes, of: str, steps: Steps, tiled: Tiling) -> DeviceFunc:
    """(X, W, bias, R..., Y), or (X, W, parts[splits,n*H'*W',O]) where sums are split."""
    element = ELEMENTS[of]
    c_out = sizes.stored_out
    result = (sizes.batch, *sizes.out, c_out)
    image = Tensor("X", (sizes.batch, sizes.rows, sizes.cols, sizes.stored_in), element.dtype)
    weights = Tensor("W", (c_out, sizes.depth), element.dtype)
    if tiled.splits > 1:
        rest = [Tensor("parts", (tiled.splits, *result), "float32")]
    else:
        rest = [Tensor("bias", (c_out,), "float32"), *read_tensors(steps, result, element.dtype), Tensor("Y", result, element.dtype)]

    def body(writer: GpuWriter, x: Any, w: Any, *others: Any) -> None:
        product = Product(writer, sizes, element, tiled, x, w)
        product.sums()
        if tiled.splits > 1:
            product.store_parts(*others)
        else:
            bias, *read, y = others
            product.store(steps, bias, read, y)

    return DeviceFunc([image, weights, *rest], body)


class Product(Generic[S]):
    """The kernel of one tile, under construction."""

    def __init__(self, writer: GpuWriter, sizes: S, element: ElementKind, tiled: Tiling, x: Any, w: Any) -> None:
        self.writer, self.sizes, self.element, self.tile, self.x, self.w = writer, sizes, element, tiled.tile, x, w
        tile, to = tiled.tile, writer.to
        self.pixels = writer.images(sizes.batch) * sizes.pixels
        columns = math.ceil(sizes.group_out / tile.cols)
        down = (self.pixels + tile.rows - 1) // tile.rows
        block, self.part = to.cta_id([down * (columns * sizes.products), tiled.splits])
        self.block_number, self.thread = block, to.thread_id([tile.threads])
        self.row0 = writer.keep(block // (columns * sizes.products) * tile.rows)
        side = block % (columns * sizes.products)
        self.group = side // columns if sizes.products > 1 else 0
        self.col0 = writer.keep(side % columns * tile.cols)
        self.shared = to.alloc_buffer((tile.shared() // UNIT,), "float32", scope="shared.dyn", align=ALIGNMENT)
        result = (self.pixels, sizes.group_out, self.row0, self.col0)
        self.block = GpuBlock(writer, tile, element, self.shared, self.thread, *result, sizes.depth)
        self.chunks, self.step, steps = self.block.chunks, self.block.step, self.block.steps
        self.each_pass = tile.threads // self.chunks  # rows that the threads copy at once
        self.steps_of_part = math.ceil(steps / tiled.splits)
        self.acc = writer.registers(tile.rows * tile.cols // tile.threads)
        self.first = self.part * self.steps_of_part if tiled.splits > 1 else 0
        self.count = to.min(self.steps_of_part, steps - self.first) if steps % tiled.splits else self.steps_of_part
        self.chunk, self.row = self.thread % self.chunks, self.thread // self.chunks  # of a stage, which this thread copies first
        self.most = (steps + tile.stages) * self.step  # elements of a sum, with those of steps that are not there
        self.written = Ring(writer, tile, tile.ahead)
        self.target_place = self.block.place_of(self.block.swizzled(self.row, self.chunk))
        self.products = (GroupProducts if tile.by_groups else WarpProducts)(self.block, self.acc)

    # where things lie

    def _places(self) -> None:
        """Of the rows that this thread copies: where their windows begin, in the tensor and in the image."""
        writer, sizes, to = self.writer, self.sizes, self.writer.to
        number = math.ceil(self.tile.rows / self.each_pass)
        self.base, self.edges = writer.registers(number, writer.index), edges(writer, sizes, number, self.most // sizes.per_tap)
        out_rows, out_cols = sizes.out
        first_row, first_col, first_channel = self.window()
        with writer.unrolled(number) as i:
            pixel = writer.keep(self.row0 + self.thread // self.chunks + i * self.each_pass)
            row = writer.keep(pixel // out_cols % out_rows * sizes.strides[0] + first_row)
            col = writer.keep(pixel % out_cols * sizes.strides[1] + first_col)
            image = writer.place(pixel // sizes.pixels)
            self.edges.note(i, row, col, pixel < self.pixels)
            start = ((image * sizes.rows + row) * sizes.cols + col) * sizes.stored_in + first_channel
            writer.set(self.base, i, to.cast(start, writer.index))

    def window(self) -> tuple[Any, Any, Any]:
        """Where the window of the first result begins: row and column, before the image for pads, and the group's first channel."""
        top, left, *_ = self.sizes.pads
        return -top, -left, self.group * self.sizes.group_in

    def target(self, pixel: Any, channel: Any) -> tuple[Any, Any]:
        """Where a result is stored, and whether there is one; of channels from the group's first on."""
        first = self.group * self.sizes.group_out
        return self.writer.place(pixel) * self.sizes.stored_out + first + channel, pixel < self.pixels

    # the sums

    def sums(self) -> None:
        """All steps of this block, its results in registers."""
        writer, tile = self.writer, self.tile
        self._places()
        with writer.unrolled(tile.rows * tile.cols // tile.threads) as i:
            writer.set(self.acc, i, writer.to.float32(0))
        for step in range(tile.ahead):
            self._fetch(step, step * tile.stage)
        with writer.blocks_at_once(tile.at_once):
            self.products.begin(self._wait)
            with writer.counted(self.count - 1, self.block_number) as step:
                self.products.multiply(self._wait, lambda: self._fetch(step + tile.ahead, self.written.taken()))
            self.products.finish(self.first + self.count - 1, self._wait)
        writer.ptx("cp.async.wait_group", 0)
        writer.barrier()

    def _wait(self) -> None:
        """For the copies of the next step, those of all threads."""
        self.writer.ptx("cp.async.wait_group", self.tile.ahead - 1)
        if self.tile.by_groups:
            self.writer.ptx("fence.proxy.async.shared::cta")  # what this thread copied, for wgmma to see
        self.writer.barrier()

    def _fetch(self, step: Any, stage: Any) -> None:
        """Copy what a step of this part reads into its stage, so many bytes on; zeros for what lies outside, and where there is no such
        step: so nothing has to branch. A chunk is of one tap, or of two by halves.
        """
        writer, sizes, tile, depth = self.writer, self.sizes, self.tile, self.tile.depth
        is_step = writer.keep(step < self.count)
        step, whole = writer.opaque(self.first + step), self.element.each_16_bytes
        at = writer.keep(step * self.step + self.chunk * whole)  # in the row of a filter
        unit = min(sizes.per_tap, whole)
        nbytes = unit * self.element.bytes
        parts = [self._tap(step, at, part, is_step) for part in range(0, whole, unit)]
        target = writer.keep(self.target_place + stage)
        with self._rows(self.row, self.each_pass) as (i, _):
            for part, (away, tap) in enumerate(parts):
                source = self.x.ptr_to([writer.opaque(self.base[i] + writer.place(away), writer.index)])
                place = writer.to.ptx.addr(target, i * (self.each_pass * depth) + part * nbytes)
                self._copy(place, source, self.edges.holds(i, tap), nbytes=nbytes)
        tests = [is_step, at < sizes.depth] if sizes.depth % self.step else [is_step]
        first = self.w.ptr_to([writer.opaque((self.group * sizes.group_out + self.col0 + self.row) * sizes.depth + at)])
        with writer.unrolled(tile.cols // self.each_pass) as i:
            place = writer.to.ptx.addr(target, tile.rows * depth + i * (self.each_pass * depth))
            more = [] if sizes.group_out % tile.cols == 0 else [self.col0 + self.row + i * self.each_pass < sizes.group_out]
            self._copy(place, writer.to.ptx.addr(first, i * (self.each_pass * sizes.depth * self.element.bytes)), *tests, *more)
        writer.ptx("cp.async.commit_group")

    @contextmanager
    def _rows(self, first: Any, each: int) -> Generator[tuple[Any, Any]]:
        """Those of the tile from `first` on, every `each`-th: their numbers in turn, and where they are."""
        with self.writer.unrolled(math.ceil(self.tile.rows / each)) as i:
            row = first + i * each
            with self.writer.when(row < self.tile.rows) if self.tile.rows % each else nullcontext():
                yield i, row

    def _tap(self, step: Any, at: Any, part: int, is_step: Any) -> tuple[Any, Any]:
        """Of what lies `part` elements into a chunk: how far it is from where the window begins, and its tap, for `edges`."""
        writer, sizes = self.writer, self.sizes
        rows, cols = sizes.kernel
        last, most = rows * cols * sizes.per_tap, self.most
        if sizes.per_tap % self.step == 0:  # one tap a step
            tap, step = writer.divided(step, sizes.per_tap // self.step, most // self.step)
            channel = step * self.step + self.chunk * self.element.each_16_bytes
        else:
            tap, channel = writer.divided(at + part if part else at, sizes.per_tap, most)
        down, across = writer.divided(tap, cols, most // sizes.per_tap) if rows > 1 else (0, tap)
        away = writer.keep((down * (sizes.dilations[0] * sizes.cols) + across * sizes.dilations[1]) * sizes.stored_in + channel)
        is_tap = writer.tirx.And(is_step, at + part < last) if last % self.step else is_step
        return away, self.edges.tap(down, across, is_tap)

    def _copy(self, target: Any, source: Any, *tests: Any, nbytes: int = 16) -> None:
        """Where a test fails, zeros: nothing is read there, wherever it is."""
        to = self.writer.to
        inside = functools.reduce(self.writer.tirx.And, tests)
        self.writer.ptx(COPIES[nbytes], target, source, nbytes, to.Select(inside, to.uint32(nbytes), to.uint32(0)))

    # the results

    def store(self, steps: Steps, bias: Any, read: list[Any], y: Any) -> None:
        """By way of shared memory, so that a thread has a chunk of neighbours, which is stored at once. The first halves of a row's
        chunks lie side by side, and then the second ones: threads that read halves at once meet in no bank.
        """
        writer, tile, sizes = self.writer, self.tile, self.sizes
        width, half = tile.cols + 8, CHUNK // 2
        second = tile.cols // 2 + half
        for row, col, at, count in self.products.places():
            place = row * width + col // CHUNK * half + col % CHUNK // half * second + col % half
            writer.move(self.shared, place, self.acc, at, count)
        writer.barrier()
        across = tile.cols // CHUNK
        col, row0 = self.thread % across * CHUNK, self.thread // across
        channel = writer.keep(self.col0 + col)
        with writer.when(channel < sizes.group_out):
            added = writer.take_chunk(bias, self.added(channel))
            with self._rows(row0, tile.threads // across) as (_, row):
                pixel = writer.keep(self.row0 + row)
                place, is_there = self.target(pixel, channel)
                with writer.when(is_there):
                    values, start = writer.registers(CHUNK), row * width + self.thread % across * half
                    for first, away in ((0, 0), (half, second)):
                        writer.move(values, first, self.shared, start + away, half)
                    writer.change(values, operator.add, added)
                    at = writer.keep(place)
                    stepped(writer, steps, values, read, at)
                    writer.put_chunk(y, at, values)

    def added(self, channel: Any) -> Any:
        """The place of a channel's bias."""
        return self.group * self.sizes.group_out + channel

    def store_parts(self, parts: Any) -> None:
        """As they are, neighbours together."""
        writer, sizes = self.writer, self.sizes
        for row, col, start, count in self.products.places():
            pixel, channel = self.row0 + row, self.col0 + col
            with writer.when(writer.tirx.And(pixel < self.pixels, channel < sizes.group_out)):
                place, _ = self.target(pixel, channel)
                at = writer.place(self.part) * writer.place(self.pixels) * sizes.stored_out + place
                writer.move(parts, at, self.acc, start, count)
