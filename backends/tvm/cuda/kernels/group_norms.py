"""Normalization by the statistics of the value itself: of groups of an image's channels, of each channel, of rows of scores. In float32.

A team of threads, of a block or of a warp, has a group of an image, or a chunk of channels that are several groups. It goes over the value
three times, from a cache but for the first: for the mean, for the mean square of what is left, and to store. Where it has but a chunk of
each pixel, which is half a sector of memory, its threads lie between those of the team that has the next one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ...cpu.kernels.epilogue import Steps
from ...cpu.kernels.layout import Batch
from .epilogue import read_tensors, stepped
from .kernel import gpu_kind
from .layout import CHUNK, Image, padded
from .writer import THREADS, WARP, DeviceFunc, GpuWriter, Tensor

__all__ = ["can_group", "gpu_group_norm"]

BESIDE = 2  # teams between each other


def can_group(channels: int, groups: int) -> bool:
    """Whether a group is whole chunks, or several fill one, or there is but one."""
    each = channels // groups
    return groups == 1 or each % CHUNK == 0 or CHUNK % each == 0


@gpu_kind("group norm")
def gpu_group_norm(
    batch: Batch, image: Image, groups: int, epsilon: float, dtype: str, steps: Steps = (), *, by_pixel: bool = False
) -> DeviceFunc:
    """(A, gain[C] and shift[C] by halves, R..., D). With `by_pixel` each pixel has statistics of its own, as if it were an image."""
    channels, rows, cols = image
    shape = (batch, rows, cols, padded(channels))
    numbers = [Tensor("gain", shape[-1:], "float32"), Tensor("shift", shape[-1:], "float32")]

    def body(writer: GpuWriter, a: Any, gain: Any, shift: Any, *rest: Any) -> None:
        *read, d = rest
        team = _Team(writer, batch, image, groups, a, by_pixel)
        mean = team.mean(0, lambda value, _: value)
        square = team.mean(1, lambda value, of: (value - mean[of]) * (value - mean[of]))
        for kind in range(team.kinds):
            writer.set(square, kind, writer.to.float32(1) / writer.tirx.sqrt(square[kind] + writer.to.float32(epsilon)))

        def put(at: Any, chunk: Any, values: Any) -> None:
            factors, added = (writer.take_numbers(each, chunk) for each in (gain, shift))
            with writer.unrolled(CHUNK) as lane:
                of = team.kind_of(lane)
                writer.set(values, lane, (values[lane] - mean[of]) * square[of] * factors[lane] + added[lane])
            stepped(writer, steps, values, read, at)
            writer.keep_finite(values, chunk, channels)
            writer.put_chunk(d, at, values)

        with writer.when(team.is_there):
            team.over(put)

    return DeviceFunc([Tensor("A", shape, dtype), *numbers, *read_tensors(steps, shape, dtype), Tensor("D", shape, dtype)], body)


class _Team:
    """The threads that have a mean in common, or, of a chunk of several groups, as many means as a chunk has channels (`kinds`)."""

    def __init__(self, writer: GpuWriter, batch: Batch, image: Image, groups: int, a: Any, by_pixel: bool) -> None:
        self.writer, self.a = writer, a
        self.channels, rows, cols = image
        self.pixels, self.lines, self.each = 1 if by_pixel else rows * cols, padded(self.channels), self.channels // groups
        self.is_whole = groups == 1 or self.each % CHUNK == 0
        self.kinds = 1 if self.is_whole else CHUNK
        self.span = padded(self.each) // CHUNK if self.is_whole else 1  # chunks of a pixel
        self.items = self.pixels * self.span
        units = groups if self.is_whole else self.lines // CHUNK
        self.beside = BESIDE if self.span == 1 and units % BESIDE == 0 else 1
        together = THREADS * self.beside if self.items > THREADS else WARP  # threads of teams that lie between each other
        self.size, self.warps, block_size = together // self.beside, together // WARP, max(together, THREADS)
        teams = block_size // self.size
        count = writer.images(batch) * (rows * cols // self.pixels) * units
        block, self.thread = writer.to.cta_id([(count + teams - 1) // teams]), writer.to.thread_id([block_size])
        self.side, self.own = self.thread % self.beside, self.thread % together // self.beside
        mine = writer.keep(block * teams + self.thread // together * self.beside + self.side)
        self.is_there = mine < count
        unit = writer.keep(writer.to.min(mine, count - 1))  # every lane of a warp has something to tell
        self.image, self.unit = writer.place(unit // units), writer.keep(unit % units)
        parts = 2 * self.warps * self.beside * self.kinds
        self.shared = writer.to.alloc_buffer((parts,), "float32", scope="shared") if self.warps > 1 else None

    def kind_of(self, lane: Any) -> Any:
        return 0 if self.is_whole else lane

    def over(self, take: Callable[[Any, Any, Any], None]) -> None:
        """`take(place, chunk, values)` of each chunk that this thread has."""
        writer = self.writer
        with writer.loop(0, math.ceil(self.items / self.size)) as step:
            item = writer.keep(step * self.size + self.own)
            with writer.when(item < self.items):
                chunk = writer.keep(self.unit * self.span + item % self.span)
                at = writer.keep((self.image * self.pixels + item // self.span) * self.lines + chunk * CHUNK)
                take(at, chunk, writer.take_floats(self.a, at))

    def mean(self, which: int, term: Callable[[Any, Any], Any]) -> Any:
        """Of a formula of each value and the place of its mean; all threads of the team have it."""
        writer = self.writer
        found = writer.registers(self.kinds)
        writer.fill(found, 0.0, self.kinds)

        def add(at: Any, chunk: Any, values: Any) -> None:
            with writer.unrolled(CHUNK) as lane:
                of = self.kind_of(lane)
                value = term(values[lane], of)
                if self.is_whole and self.channels % CHUNK:
                    value = writer.either(chunk * CHUNK + lane < self.channels, value, writer.to.float32(0))
                writer.set(found, of, found[of] + value)

        self.over(add)
        self._gather(found, which)
        sums = [writer.keep(found[kind]) for kind in range(self.kinds)]
        together = 1 if self.is_whole else self.each
        for kind in range(self.kinds):
            first = kind // together * together
            total = sum(sums[first + 1 : first + together], sums[first])
            writer.set(found, kind, total * writer.to.float32(1 / (self.pixels * self.each)))
        return found

    def _gather(self, found: Any, which: int) -> None:
        """The sums of a warp by shuffles, those of several by way of shared memory, in a part of it that nobody read before."""
        writer = self.writer
        writer.over_lanes(found, range(self.kinds), WARP, apart=self.beside)
        if self.shared is None:
            return
        each = self.beside * self.kinds  # sums of a warp
        part = which * self.warps * each + self.side * self.kinds
        with writer.when(self.thread % WARP < self.beside):
            for kind in range(self.kinds):
                writer.set(self.shared, part + self.thread // WARP * each + kind, found[kind])
        writer.barrier()
        writer.fill(found, 0.0, self.kinds)
        for warp in range(self.warps):
            for kind in range(self.kinds):
                writer.set(found, kind, found[kind] + self.shared[part + warp * each + kind])
