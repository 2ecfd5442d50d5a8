"""A matrix by a vector, or by a few: scores of an image, gates of squeeze and excitation. No product of matrices: in float32.

Each weight is multiplied once for each vector, so reading the weights is all that takes time. A block has a chunk of filters, by four of
which four warps go along their sums: neighbouring lanes read neighbouring chunks of 16 bytes, of each filter one before any is multiplied,
and where there is one vector of two steps. So a block has 32 KiB under way, and a multiprocessor of an H100 needs some 20 to keep memory
busy (25 GB/s and multiprocessor by 700 ns). Sums are added lane by lane, then warp by warp, always in the same order.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from typing import Any

from ...cpu.kernels.epilogue import Steps
from ...gpus.architectures import Architecture
from .epilogue import read_tensors, stepped
from .kernel import GpuKernel, gpu_kind
from .layout import CHUNK, ELEMENTS, ElementKind
from .parts import add_parts
from .sizes import ConvSizes
from .writer import THREADS, WARP, DeviceFunc, GpuWriter, Tensor

__all__ = ["are_vectors", "matvec", "matvec_kernel", "parts_of", "vectors_of"]

FILTERS = 4  # of a warp, each with a chunk under way
TOGETHER = FILTERS * THREADS // WARP // CHUNK  # warps that share the sums of their filters
REACH = TOGETHER * WARP  # chunks of a step
AT_ONCE = {2: 4, 4: 2}  # blocks that a multiprocessor has registers for, by the bytes of a number: 64 a thread, and 128 of float32
FEWEST_ROUNDS = 4  # of a part, a trip to memory each: adding the parts is a launch, which takes as long as some three
LARGEST_SPLIT = 16


def are_vectors(sizes: ConvSizes) -> bool:
    """Whether what each result reads is one row of numbers as the image lies: a pixel, or the whole image."""
    is_pixel = sizes.kernel == sizes.strides == (1, 1)
    is_image = sizes.kernel == (sizes.rows, sizes.cols) and sizes.per_tap == sizes.group_in
    return (is_pixel or is_image) and not any(sizes.pads) and sizes.products == 1


def vectors_of(sizes: ConvSizes) -> int:
    """Pixels of all results; of a named batch that is a ValueError."""
    if sizes.batch is None:
        raise ValueError("vectors are counted for a number of images, and this batch has a name")
    return sizes.batch * sizes.pixels


def parts_of(sizes: ConvSizes, element: ElementKind, arch: Architecture) -> int:
    """Into how many parts sums are split: long ones of so few filters that multiprocessors would have no block."""
    blocks, rounds = sizes.stored_out // CHUNK, sizes.depth // CHUNK // (_at_once(sizes, element) * REACH)
    most = min(arch.multiprocessors // blocks, rounds // FEWEST_ROUNDS, LARGEST_SPLIT)
    return math.ceil(rounds / math.ceil(rounds / most)) if most > 1 else 1  # no part is empty


def _at_once(sizes: ConvSizes, element: ElementKind) -> int:
    """Steps that are under way together: as many as 64 registers hold."""
    return 2 if vectors_of(sizes) == 1 and element.bytes == 2 else 1


def matvec_kernel(sizes: ConvSizes, element: ElementKind, steps: Steps, arch: Architecture) -> GpuKernel:
    """(X[n,H,W,C], W, bias[O], R[n,H',W',O]..., Y[n,H',W',O]), its sums split where that fills the GPU."""
    parts = parts_of(sizes, element, arch)
    arranged = "x".join(map(str, sizes.kernel)) + (f", sums in {parts} parts" if parts > 1 else "")
    build = functools.partial(matvec, sizes, element.name, steps, parts)
    if parts == 1:
        return GpuKernel(matvec.name, build, arranged)
    finish = add_parts.of(parts, sizes.batch, (*sizes.out, sizes.stored_out), element.name, steps)
    return GpuKernel(matvec.name, build, arranged, finish, parts)


@gpu_kind("matvec")
def matvec(sizes: ConvSizes, of: str, steps: Steps = (), parts: int = 1) -> DeviceFunc:
    """(X, W[O,depth], bias, R..., Y), or (X, W, parts[parts,n,H',W',O]) where sums are split. The filters are packed as a convolution's."""
    element, result = ELEMENTS[of], (sizes.batch, *sizes.out, sizes.stored_out)
    image = Tensor("X", (sizes.batch, sizes.rows, sizes.cols, sizes.stored_in), element.dtype)
    weights = Tensor("W", (sizes.stored_out, sizes.depth), element.dtype)
    if parts > 1:
        rest = [Tensor("parts", (parts, *result), "float32")]
    else:
        rest = [Tensor("bias", result[-1:], "float32"), *read_tensors(steps, result, element.dtype), Tensor("Y", result, element.dtype)]

    def body(writer: GpuWriter, x: Any, w: Any, *others: Any) -> None:
        product = _Vectors(writer, sizes, element, parts, x, w)
        product.sums()
        with product.results() as (values, channel, at):
            if parts > 1:
                whole = vectors_of(sizes) * sizes.stored_out
                writer.put_chunk(others[0], writer.place(product.part) * whole + at, values)
                return
            bias, *read, y = others
            writer.change(values, operator.add, writer.take_chunk(bias, channel))
            stepped(writer, steps, values, read, at)
            writer.put_chunk(y, at, values)

    return DeviceFunc([image, weights, *rest], body)


class _Vectors:
    """The kernel of a block, under construction. A lane's sums are of `FILTERS` filters, of each vector one."""

    def __init__(self, writer: GpuWriter, sizes: ConvSizes, element: ElementKind, parts: int, x: Any, w: Any) -> None:
        self.writer, self.sizes, self.parts, self.x, self.w = writer, sizes, parts, x, w
        self.block, self.part = writer.to.cta_id([sizes.stored_out // CHUNK, parts])
        self.thread = writer.to.thread_id([THREADS])
        self.bytes = element.bytes
        self.vectors, self.at_once = vectors_of(sizes), _at_once(sizes, element)
        self.each = FILTERS * self.vectors
        self.warp = writer.keep(self.thread // WARP)
        self.mine = writer.keep(self.thread % REACH)  # the chunk of a step that this lane has
        self.filter = writer.keep(self.block * CHUNK + self.warp // TOGETHER * FILTERS)
        self.totals = writer.registers(self.each)
        self.weights = writer.registers(self.at_once * FILTERS * CHUNK, element.dtype)
        self.numbers = writer.registers(self.at_once * self.vectors * CHUNK, element.dtype)
        self.shared = writer.to.alloc_buffer((THREADS // WARP * self.each,), "float32", scope="shared")

    def sums(self) -> None:
        """All rounds of this block: whole ones, then what is left, which the last part has."""
        writer, chunks, round_ = self.writer, self.sizes.depth // CHUNK, self.at_once * REACH
        rounds, left = divmod(chunks, round_)
        writer.fill(self.totals, 0.0, self.each)
        each = math.ceil(rounds / self.parts)
        first = self.part * each if self.parts > 1 else 0
        count = writer.to.min(each, rounds - first) if rounds % self.parts else each
        with writer.blocks_at_once(AT_ONCE[self.bytes]), writer.loop(0, count) as step:
            self._round(writer.keep((first + step) * round_ + self.mine), round_)
        if left:
            with writer.when(self.part == self.parts - 1) if self.parts > 1 else nullcontext():
                self._round(writer.keep(rounds * round_ + self.mine), left)
        self._gather()

    def _round(self, chunk: Any, left: int) -> None:
        """Of `left` chunks, this lane's from `chunk` on: all are on their way before the first is multiplied."""
        steps = range(min(self.at_once, math.ceil(left / REACH)))
        for step in steps:
            with self._if_there(left - step * REACH):
                self._load(step, chunk + step * REACH)
        for step in steps:
            with self._if_there(left - step * REACH):
                self._multiply(step)

    @contextmanager
    def _if_there(self, left: int) -> Generator[None]:
        with nullcontext() if left >= REACH else self.writer.when(self.mine < left):
            yield

    def _load(self, step: int, chunk: Any) -> None:
        writer, depth = self.writer, self.sizes.depth
        for registers, source, first, count in (
            (self.weights, self.w, self.filter, FILTERS),
            (self.numbers, self.x, 0, self.vectors),
        ):
            for row in range(count):
                start = writer.place(first + row) * depth + chunk * CHUNK
                writer.take(registers, (step * count + row) * CHUNK, source, start, CHUNK)

    def _multiply(self, step: int) -> None:
        writer = self.writer
        with writer.unrolled(CHUNK) as lane:
            for row in range(FILTERS):
                factor = writer.to.cast(self.weights[(step * FILTERS + row) * CHUNK + lane], "float32")
                for vector in range(self.vectors):
                    number = writer.to.cast(self.numbers[(step * self.vectors + vector) * CHUNK + lane], "float32")
                    at = row * self.vectors + vector
                    writer.set(self.totals, at, self.totals[at] + factor * number)

    def _gather(self) -> None:
        """Of each warp by shuffles, to where all threads see them."""
        writer = self.writer
        writer.over_lanes(self.totals, range(self.each), WARP)
        with writer.when(self.thread % WARP == 0):
            for at in range(self.each):
                writer.set(self.shared, self.warp * self.each + at, self.totals[at])
        writer.barrier()

    @contextmanager
    def results(self) -> Generator[tuple[Any, Any, Any]]:
        """`with product.results() as (values, channel, at):` in a thread for each vector: the chunk of its sums, and where it belongs."""
        writer = self.writer
        with writer.when(self.thread < self.vectors):
            values = writer.registers(CHUNK)
            for filter_ in range(CHUNK):
                team, row = divmod(filter_, FILTERS)
                places = [(team * TOGETHER + warp) * self.each + row * self.vectors + self.thread for warp in range(TOGETHER)]
                writer.set(values, filter_, functools.reduce(operator.add, [self.shared[place] for place in places]))
            channel = writer.keep(self.block * CHUNK)
            yield values, channel, writer.keep(writer.place(self.thread) * self.sizes.stored_out + channel)
