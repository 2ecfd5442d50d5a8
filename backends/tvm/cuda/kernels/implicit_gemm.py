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
from ...cpu.kernels.layout import Batch
from ...gpus.architectures import Architecture
from .epilogue import read_tensors, stepped
from .kernel import GpuKernel, gpu_kind
from .layout import CHUNK, ELEMENTS, ElementKind
from .products import ALIGNMENT, UNIT, GpuBlock, GroupProducts, WarpProducts
from .sizes import ConvSizes, ProductSizes
from .tiles import Tiling, tiling_of
from .writer import DeviceFunc, GpuWriter, Tensor

__all__ = ["Product", "add_parts", "convolution", "convolution_kernel"]

S = TypeVar("S", bound=ProductSizes)
COPIES = {8: "cp.async.ca.shared.global", 16: "cp.async.cg.shared.global"}  # by their bytes
NOWHERE = -(1 << 20)  # a row of the image that no tap reaches


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


@gpu_kind("conv, parts added")
def add_parts(splits: int, batch: Batch, pixel: tuple[int, int, int], of: str, steps: Steps) -> DeviceFunc:
    """(parts[splits,n,H,W,C], bias[C], R..., Y[n,H,W,C]): always in the same order."""
    shape, dtype = (batch, *pixel), ELEMENTS[of].dtype
    given = [Tensor("parts", (splits, *shape), "float32"), Tensor("bias", (pixel[-1],), "float32"), *read_tensors(steps, shape, dtype)]

    def body(writer: GpuWriter, parts: Any, bias: Any, *others: Any) -> None:
        *read, y = others
        chunks = pixel[-1] // CHUNK
        count = writer.images(batch) * math.prod(pixel) // CHUNK
        with writer.each(count // chunks, chunks) as (row, chunk):
            at = writer.keep(writer.place(row) * pixel[-1] + chunk * CHUNK)
            total = writer.take_floats(bias, chunk * CHUNK)
            for part in range(splits):
                more = writer.take_chunk(parts, writer.place(count) * (part * CHUNK) + at)
                writer.change(total, operator.add, more)
            stepped(writer, steps, total, read, at)
            writer.put_chunk(y, at, total)

    return DeviceFunc([*given, Tensor("Y", shape, dtype)], body)


class Product(Generic[S]):
    """The kernel of one tile, under construction."""

    def __init__(self, writer: GpuWriter, sizes: S, element: ElementKind, tiled: Tiling, x: Any, w: Any) -> None:
        self.writer, self.sizes, self.element, self.tile, self.x, self.w = writer, sizes, element, tiled.tile, x, w
        tile, to = tiled.tile, writer.to
        self.pixels = writer.images(sizes.batch) * sizes.pixels
        columns = math.ceil(sizes.group_out / tile.cols)
        down = (self.pixels + tile.rows - 1) // tile.rows
        block, self.part = to.cta_id([down * (columns * sizes.products), tiled.splits])
        self.thread = to.thread_id([tile.threads])
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
        self.products = (GroupProducts if tile.by_groups else WarpProducts)(self.block, self.acc)

    # where things lie

    def _places(self) -> None:
        """Of the rows that this thread copies: where their windows begin, in the tensor and in the image."""
        writer, sizes, to = self.writer, self.sizes, self.writer.to
        number = math.ceil(self.tile.rows / self.each_pass)
        self.base = writer.registers(number, writer.index)
        self.image_row, self.image_col = (writer.registers(number, "int32") for _ in range(2))
        out_rows, out_cols = sizes.out
        first_row, first_col, first_channel = self.window()
        with writer.unrolled(number) as i:
            pixel = writer.keep(self.row0 + self.thread // self.chunks + i * self.each_pass)
            row = writer.keep(pixel // out_cols % out_rows * sizes.strides[0] + first_row)
            col = writer.keep(pixel % out_cols * sizes.strides[1] + first_col)
            image = writer.place(pixel // sizes.pixels)
            writer.set(self.image_row, i, writer.either(pixel < self.pixels, row, NOWHERE))
            writer.set(self.image_col, i, col)
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
            with writer.when(step < self.count):
                self._fetch(self.first + step, step)
            writer.ptx("cp.async.commit_group")
        with writer.blocks_at_once(tile.at_once), writer.loop(0, self.count) as step:
            writer.ptx("cp.async.wait_group", tile.ahead - 1)
            if tile.by_groups:
                writer.ptx("fence.proxy.async.shared::cta")  # what this thread copied, for wgmma to see
            writer.barrier()
            ahead = step + tile.ahead
            with writer.when(ahead < self.count):
                self._fetch(self.first + ahead, ahead % tile.stages)
            writer.ptx("cp.async.commit_group")
            self.products.multiply(step % tile.stages * (tile.stage // UNIT), self.first + step)
        if tile.by_groups:
            writer.ptx("wgmma.wait_group.sync.aligned", 0)  # nvcc does not know that sums change here: all that reads them is a store
        writer.ptx("cp.async.wait_group", 0)
        writer.barrier()

    def _fetch(self, step: Any, slot: Any) -> None:
        """Copy what a step reads into its slot of the ring; zeros for what lies outside. A chunk is of one tap, or of two by halves."""
        writer, sizes, tile = self.writer, self.sizes, self.tile
        chunk, row0 = self.thread % self.chunks, self.thread // self.chunks
        stage = slot * (tile.stage // UNIT)
        whole = self.element.each_16_bytes
        at = writer.keep(step * self.step + chunk * whole)  # in the row of a filter
        unit = min(sizes.per_tap, whole)
        parts = [self._tap(step, at, chunk, part) for part in range(0, whole, unit)]
        with self._rows(row0, self.each_pass) as (i, row):
            for part, (down, across, away, in_sum) in enumerate(parts):
                inside = self._is_inside(i, down, across)
                inside = inside if in_sum is None else self.writer.tirx.And(in_sum, inside)
                place = stage + self.block.swizzled(row, chunk)
                target = self.shared.ptr_to([place + part * (unit * self.element.bytes // UNIT) if part else place])
                self._copy(target, self.x, self.base[i] + writer.place(away), inside, nbytes=unit * self.element.bytes)
        in_depth = at < sizes.depth if sizes.depth % self.step else None
        with writer.unrolled(tile.cols // self.each_pass) as i:
            row = row0 + i * self.each_pass
            target = self.shared.ptr_to([stage + self.block.filters + self.block.swizzled(row, chunk)])
            is_filter = None if sizes.group_out % tile.cols == 0 else self.col0 + row < sizes.group_out
            tests = [test for test in (in_depth, is_filter) if test is not None]
            self._copy(target, self.w, (self.group * sizes.group_out + self.col0 + row) * sizes.depth + at, *tests)

    @contextmanager
    def _rows(self, first: Any, each: int) -> Generator[tuple[Any, Any]]:
        """Those of the tile from `first` on, every `each`-th: their numbers in turn, and where they are."""
        with self.writer.unrolled(math.ceil(self.tile.rows / each)) as i:
            row = first + i * each
            with self.writer.when(row < self.tile.rows) if self.tile.rows % each else nullcontext():
                yield i, row

    def _tap(self, step: Any, at: Any, chunk: Any, part: int) -> tuple[Any, Any, Any, Any]:
        """Of what lies `part` elements into a chunk: its tap's row and column from the window's first, how far away that is in the image,
        and whether there is such a tap, None where that is known.
        """
        writer, sizes = self.writer, self.sizes
        if sizes.per_tap % self.step == 0:  # one tap a step
            tap = step // (sizes.per_tap // self.step)
            channel = step % (sizes.per_tap // self.step) * self.step + chunk * self.element.each_16_bytes
        else:
            at = at + part if part else at
            tap, channel = at // sizes.per_tap, at % sizes.per_tap
        down, across = writer.keep(tap // sizes.kernel[1] * sizes.dilations[0]), writer.keep(tap % sizes.kernel[1] * sizes.dilations[1])
        away = writer.keep((down * sizes.cols + across) * sizes.stored_in + channel)
        last = math.prod(sizes.kernel) * sizes.per_tap
        return down, across, away, at < last if last % self.step else None

    def _is_inside(self, i: Any, down: Any, across: Any) -> Any:
        """Whether the tap reads a pixel of the image, for the thread's row i."""
        sizes = self.sizes
        row, col = (self.image_row[i] + down, sizes.rows), (self.image_col[i] + across, sizes.cols)
        return self.writer.inside(row) if sizes.has_all_columns else self.writer.inside(row, col)

    def _copy(self, target: Any, source: Any, at: Any, *tests: Any, nbytes: int = 16) -> None:
        writer, to = self.writer, self.writer.to
        if not tests:
            writer.ptx(COPIES[nbytes], target, source.ptr_to([at]), nbytes)
            return
        inside = writer.keep(tests[0] if len(tests) == 1 else writer.tirx.And(*tests))
        place = writer.either(inside, at, to.cast(0, writer.index) if writer.is_wide else 0)
        writer.ptx(COPIES[nbytes], target, source.ptr_to([place]), nbytes, writer.either(inside, to.uint32(nbytes), to.uint32(0)))

    # the results

    def store(self, steps: Steps, bias: Any, read: list[Any], y: Any) -> None:
        """By way of shared memory, so that a thread has a chunk of neighbours, which is stored at once."""
        writer, tile, sizes = self.writer, self.tile, self.sizes
        width = tile.cols + 8
        for row, col, at, count in self.products.places():
            writer.move(self.shared, row * width + col, self.acc, at, count)
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
                    values = writer.take_chunk(self.shared, row * width + col)
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
