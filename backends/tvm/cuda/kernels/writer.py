"""What writes a kernel's statements, in the words of TVMScript: threads, registers, and PTX instructions by their names."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, overload

from ...cpu.kernels.layout import Batch
from ...host import tvm
from .layout import CHUNK, Stored

__all__ = ["OWN", "THREADS", "WARP", "DeviceFunc", "GpuWriter", "Tensor"]

OWN = "convc.own"  # the attribute of kernels that are written for threads
OPAQUE = 8  # Relax's pattern of an operation that nothing is fused with
THREADS = 256  # of a block whose threads have nothing to say to each other
WARP = 32
# Elements of a tensor that 32 bits can number, with the places beyond its end that a last tile computes and does not read: of as many
# pixels as it has rows, each of which may be a whole image further.
NUMBERED = (1 << 31) - (1 << 28)


@dataclass(frozen=True, slots=True)
class Tensor:
    """One argument of a kernel; the result is the last. An extent of None is the batch that has a name."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str


@dataclass(frozen=True, slots=True)
class DeviceFunc:
    """A kernel that can be written: `body(writer, *buffers)` says what each thread does. Buffers have one axis."""

    tensors: Sequence[Tensor]
    body: Callable[..., None]

    def written(self, stored: Stored | None = None) -> Any:
        """Its PrimFunc; by `stored` its result lies, or is, otherwise than it would."""
        tensors = [*self.tensors[:-1], _stored(self.tensors[-1], stored)]
        writer = GpuWriter(tensors)
        to = writer.to
        with writer.host.script.ir_builder.IRBuilder() as builder, to.prim_func():
            to.func_name("main")
            to.func_attr({"op_pattern": OPAQUE, "tirx.noalias": True, "tirx.is_scheduled": True, OWN: True})
            shapes = [[writer.batch if extent is None else writer.long(extent) for extent in one.shape] for one in tensors]
            buffers = [to.arg(one.name, to.buffer(shape, one.dtype)) for one, shape in zip(tensors, shapes, strict=True)]
            to.device_entry()
            flat = [to.decl_buffer((math.prod(buffer.shape),), str(buffer.dtype), data=buffer.data) for buffer in buffers]
            if stored is not None and stored.channels is not None:
                writer.slice = _Slice(flat[-1], int(self.tensors[-1].shape[-1] or 0), stored.channels, stored.first)
            self.body(writer, *flat)
        return builder.get()


def _stored(result: Tensor, stored: Stored | None) -> Tensor:
    if stored is None:
        return result
    return Tensor(result.name, (*result.shape[:-1], stored.channels or result.shape[-1]), stored.dtype or result.dtype)


@dataclass(frozen=True, slots=True)
class _Slice:
    """The channels from `first` on, `own` of them, in a buffer that has `whole` a pixel."""

    buffer: Any
    own: int
    whole: int
    first: int

    def place(self, at: Any) -> Any:
        """Where lies what would be at `at` without the others."""
        return at // self.own * self.whole + (at % self.own + self.first)


class GpuWriter:
    """Statements of the kernel that is being written."""

    def __init__(self, tensors: Sequence[Tensor] = ()) -> None:
        self.host = tvm()
        self.tirx: Any = self.host.tirx
        self.to: Any = self.host.script.ir_builder.tirx
        self.batch: Any = self.tirx.Var("n", "int64")
        sizes = [math.prod(extent or 1 for extent in one.shape) for one in tensors]
        self.is_wide = any(None in one.shape for one in tensors) or max(sizes, default=0) >= NUMBERED
        self.slice: _Slice | None = None

    def long(self, number: int) -> Any:
        return self.tirx.IntImm("int64", number)

    def bits(self, word: int) -> Any:
        """A word of 32 bits, as the type that sizes have."""
        return self.tirx.const(word - (word >> 31 << 32), "int32")

    def images(self, batch: Batch) -> Any:
        """How many there are, as 32 bits."""
        return self.to.cast(self.batch, "int32") if batch is None else batch

    @property
    def index(self) -> str:
        """The type of places in tensors."""
        return "int64" if self.is_wide else "int32"

    def place(self, number: Any) -> Any:
        """A number as a place in a tensor."""
        return self.to.cast(number, "int64") if self.is_wide else number

    def ptx(self, name: str, *operands: Any) -> None:
        self.to.evaluate(self.to.ptx[name](*operands))

    def barrier(self) -> None:
        """All threads of the block come here before one goes on."""
        self.to.evaluate(self.to.cuda.cta_sync())

    def blocks_at_once(self, count: int) -> Any:
        """`with writer.blocks_at_once(4):` somewhere says how many a multiprocessor has registers for at least. Where nothing is said
        ptxas spills some for the sake of one block more.
        """
        return self.to.attr({"tirx.launch_bounds_min_blocks_per_sm": count})

    def keep(self, value: Any) -> Any:
        """The value under a name."""
        return self.to.bind(value)

    def opaque(self, value: Any, dtype: str = "int32") -> Any:
        """The value, of which nvcc knows no more. What it knows the origin of it computes again at each step, and in 64 bits where it makes
        part of an address.
        """
        kept = self.registers(1, dtype)
        self.ptx(f"mov.b{8 * self.bytes_of(dtype)}", kept[0], value)
        return kept[0]

    def divided(self, number: Any, by: int, most: int) -> tuple[Any, Any]:
        """Quotient and remainder of a number from 0 up to `most`: in three instructions, where nvcc, which does not know so, takes more."""
        if by == 1 or by & (by - 1) == 0:
            return number >> by.bit_length() - 1, number & by - 1
        shift = most.bit_length() + by.bit_length()
        factor = (1 << shift) // by + 1  # n * factor / 2^shift is more than n / by, by less than 1 / by
        if most * factor >= 1 << 31:
            return number // by, number % by
        quotient = self.keep(number * factor >> shift)
        return quotient, number - quotient * by

    def registers(self, count: int, dtype: str = "float32") -> Any:
        """They stay registers while every index is a number once loops are unrolled."""
        return self.to.alloc_local([count], dtype)

    def set(self, buffer: Any, at: Any, value: Any) -> None:
        self.to.buffer_store(buffer, value, [at])

    def unrolled(self, count: int) -> Any:
        """`with writer.unrolled(8) as i:`"""
        return self.to.unroll(0, count)

    def loop(self, start: Any, stop: Any) -> Any:
        return self.to.serial(start, stop)

    def counted(self, stop: Any, block: Any) -> Any:
        """A loop that nvcc does not write out, however few its turns are, which takes many registers. It must not know their number, from
        which is taken what no number of a block has, a sign.
        """
        return self.to.serial(0, stop - (self.opaque(block) >> 31), unroll=False)

    @contextmanager
    def when(self, condition: Any) -> Generator[None]:
        with self.to.If(condition), self.to.Then():
            yield

    def inside(self, *places: tuple[Any, int]) -> Any:
        """Whether each place is from 0 up to its extent. Of numbers without sign one test would do, which nvcc makes of these two; but TVM
        takes an extent away from a place that is always 0, and then stops.
        """
        tests = [self.tirx.And(self.tirx.const(0, "int32") <= place, place < extent) for place, extent in places]
        return functools.reduce(self.tirx.And, tests)

    def fill(self, registers: Any, value: float, count: int = CHUNK) -> None:
        with self.unrolled(count) as lane:
            self.set(registers, lane, self.tirx.const(value, "float32"))

    @overload
    def change(self, registers: Any, formula: Callable[[Any], Any]) -> None: ...
    @overload
    def change(self, registers: Any, formula: Callable[[Any, Any], Any], others: Any, /) -> None: ...
    @overload
    def change(self, registers: Any, formula: Callable[[Any, Any, Any], Any], others: Any, more: Any, /) -> None: ...
    def change(self, registers: Any, formula: Callable[..., Any], *others: Any) -> None:
        """Each register of a chunk by a formula of it and those of others."""
        with self.unrolled(CHUNK) as lane:
            self.set(registers, lane, formula(registers[lane], *(other[lane] for other in others)))

    def keep_finite(self, registers: Any, chunk: Any, channels: int) -> None:
        """0 beyond the last channel, where anything may lie that no weight of 0 turns into a number that is none."""
        if channels % CHUNK:
            with self.unrolled(CHUNK) as lane:
                is_there = chunk * CHUNK + lane < channels
                self.set(registers, lane, self.either(is_there, registers[lane], self.to.float32(0)))

    def from_lane(self, value: Any, distance: int) -> Any:
        """What the lane of the warp has whose number differs in this bit; all lanes come here."""
        every = self.tirx.const(0xFFFFFFFF, "uint32")
        return self.tirx.op.tvm_warp_shuffle_xor(every, value, distance, WARP, WARP)

    def over_lanes(
        self, registers: Any, places: Sequence[int], lanes: int, combine: Callable[[Any, Any], Any] = operator.add, apart: int = 1
    ) -> None:
        """The registers at these places by `combine` over so many neighbouring lanes, or every `apart`-th of them; each lane has it then.
        Registers take turns, so that none waits for its own shuffle.
        """
        distance = lanes // 2
        while distance >= apart:
            for at in places:
                other = self.keep(self.from_lane(registers[at], distance))
                self.set(registers, at, combine(registers[at], other))
            distance //= 2

    def either(self, condition: Any, value: Any, otherwise: Any) -> Any:
        return self.to.if_then_else(condition, value, otherwise)

    def move(self, target: Any, at: Any, source: Any, start: Any, count: int) -> None:
        """`count` neighbours at once, of the same type on either side; 16 bytes are the most. What is a slice of a larger value is written
        there.
        """
        if self.slice is not None and self.slice.buffer is target:
            at = self.keep(self.slice.place(at))
        with self.to.vectorized(0, count) as lane:
            self.to.buffer_store(target, source[start + lane], [at + lane])

    def take_chunk(self, source: Any, start: Any) -> Any:
        """Registers with a chunk that lies at `start`."""
        taken = self.registers(CHUNK, str(source.dtype))
        self.take(taken, 0, source, start, CHUNK)
        return taken

    def take(self, registers: Any, at: int, source: Any, start: Any, count: int) -> None:
        """`count` neighbours as they are, as many of them at once as 16 bytes have."""
        at_once = min(count, 16 // self.bytes_of(str(source.dtype)))
        for first in range(0, count, at_once):
            self.move(registers, at + first, source, start + first, at_once)

    def put_chunk(self, target: Any, at: Any, values: Any) -> None:
        """A chunk of registers in float32, rounded once, as a chunk of a tensor."""
        dtype = str(target.dtype)
        rounded, at_once = self.registers(CHUNK, dtype), 16 // self.bytes_of(dtype)
        with self.unrolled(CHUNK) as lane:
            self.set(rounded, lane, self.to.cast(values[lane], dtype))
        for first in range(0, CHUNK, at_once):
            self.move(target, at + first, rounded, first, min(CHUNK, at_once))

    def take_floats(self, source: Any, start: Any) -> Any:
        """A chunk that lies at `start`, as registers in float32."""
        taken, made = self.take_chunk(source, start), self.registers(CHUNK)
        with self.unrolled(CHUNK) as lane:
            self.set(made, lane, self.to.cast(taken[lane], "float32"))
        return made

    def take_numbers(self, numbers: Any, chunk: Any) -> Any:
        """A chunk of what is one number a channel, in float32, `by_halves`, as registers."""
        taken, half = self.registers(CHUNK), CHUNK // 2
        for i in range(2):
            self.move(taken, i * half, numbers, chunk * half + i * (int(numbers.shape[0]) // 2), half)
        return taken

    def take_shifted(self, values: Any, source: Any, start: Any, chunk: Any, shift: int, channels: int, *tests: tuple[Any, int]) -> None:
        """Of the `channels` that lie at `start` those that are `shift` after a chunk's, into its registers; whole chunks are read, of which
        two have some. Registers stay as they are where there is no such channel, or one of `tests` is outside its extent.
        """
        for part in range(1 if shift % CHUNK == 0 else 2):
            at = self.keep(chunk + (shift // CHUNK + part))
            with self.when(self.inside(*tests, (at, -(-channels // CHUNK)))):
                taken = self.take_floats(source, start + at * CHUNK)
                for lane in range(CHUNK):
                    which, place = divmod(shift % CHUNK + lane, CHUNK)
                    if which == part:
                        is_there = at * CHUNK + place < channels
                        value = self.either(is_there, taken[place], values[lane]) if channels % CHUNK else taken[place]
                        self.set(values, lane, value)

    def bytes_of(self, dtype: str) -> int:
        return int(self.host.DataType(dtype).itemsize)

    @contextmanager
    def each(self, *extents: Any) -> Generator[list[Any]]:
        """A thread for every place, the last extent's neighbours side by side; the first may be an expression."""
        count = math.prod(extents)
        blocks = (count + THREADS - 1) // THREADS
        block = self.to.cta_id([blocks])
        thread = self.to.thread_id([THREADS])
        flat = self.keep(block * THREADS + thread)
        with self.when(flat < count):
            places: list[Any] = []
            rest = flat
            for extent in reversed(extents[1:]):
                places.append(rest % extent if extent > 1 else 0)
                rest = rest // extent
            yield [rest, *reversed(places)]
