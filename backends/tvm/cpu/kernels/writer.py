"""What writes a kernel's statements, loop by loop. These name an element of a blocked value [image,block,row,column,lane]."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ...host import tvm
from .layout import LANES, Batch, blocks

__all__ = ["OPAQUE", "PARALLEL_FROM", "WRITE", "Operand", "Register", "Vectors", "Writer", "blocked", "greatest", "prim_func", "request"]

READ, WRITE, OUTER, DATA = 0, 1, 2, 1  # in LLVM's words: what for, the locality of an outer cache, of what
STACK = 16  # vectors: TVM takes larger buffers from the heap
OPAQUE = 8  # Relax's pattern of an operation that nothing is fused with
PARALLEL_FROM = 1 << 15  # elements; for fewer, waking a second thread costs more than it saves
EXP_LEAST, EXP_MOST = -104.0, 89.0  # beyond them e**v is 0 and infinite in float32
LOG2_HIGH, LOG2_LOW = 0.693359375, -2.12194440e-4  # log 2 in two parts, the first of few bits, so that k times it is exact
# e**r for |r| <= log(2)/2, lowest power first: minimax in the relative error, which is 2e-9, found by Lawson's weights.
EXP_SERIES = (1.0, 1.0, 0.49999991059303284, 0.16666419804096222, 0.04166822507977486, 0.008374824188649654, 0.0013836835278198123)
NORMAL = 87.5  # from it on 1 + e**-v is 1, and 2**k in e**-v = 2**k e**r still a normal float
INFINITE = -89.0  # there k is 128, and the bits of 2**k are those of infinity


@dataclass(frozen=True, slots=True)
class Operand:
    """One argument of a kernel; the result is the last. An extent of None is the batch that has a name.

    A blocked one, [CB,N,H,W,LANES], is shown to the kernel's body as [N,CB,H,W,LANES].
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str = "float32"
    is_blocked: bool = False


def blocked(name: str, batch: Batch, channels: int, rows: int, cols: int) -> Operand:
    return Operand(name, (blocks(channels), batch, rows, cols, LANES), is_blocked=True)


def prim_func(operands: Sequence[Operand], body: Callable[..., None]) -> Any:
    """A PrimFunc; `body(writer, *buffers)` writes its statements."""
    writer = Writer()
    to = writer.to
    with writer.host.script.ir_builder.IRBuilder() as builder, to.prim_func(s_tir=True):
        to.func_name("main")
        to.func_attr({"op_pattern": OPAQUE, "tirx.noalias": True})
        shapes = [[writer.batch if extent is None else writer.long(extent) for extent in one.shape] for one in operands]
        buffers = [to.arg(one.name, to.buffer(shape, one.dtype)) for one, shape in zip(operands, shapes, strict=True)]
        body(writer, *(writer.by_image(buffer) if one.is_blocked else buffer for one, buffer in zip(operands, buffers, strict=True)))
    return builder.get()


class Vectors:
    """What formulas of one element need of TIR (`const`, `Select`, `exp`), for LANES elements at once."""

    def __init__(self, writer: Writer) -> None:
        self.writer = writer
        self.tirx = writer.tirx

    def const(self, value: float, dtype: str = "float32") -> Any:
        return self.tirx.Broadcast(self.tirx.const(value, dtype), LANES)

    def Select(self, condition: Any, value: Any, otherwise: Any) -> Any:
        """Kept, since a formula that reads a selection twice would double with each of several in a row."""
        return self.settle(self.tirx.Select(condition, value, otherwise))

    def settle(self, value: Any) -> Any:
        """For a formula that reads a value several times."""
        return self.writer.settle(value)

    def exp(self, v: Any) -> Any:
        """e**v within 2 units in the last place: LLVM would call the C library for each lane.

        Cody and Waite's reduction, v = k log 2 + r, and a polynomial of e**r; 2**k in two factors, since k may leave an exponent's range.
        """
        tirx, const, settle = self.tirx, self.const, self.settle
        v = settle(v)
        v = self.Select(v < const(EXP_LEAST), const(EXP_LEAST), v)  # a NaN stays one
        v = self.Select(v > const(EXP_MOST), const(EXP_MOST), v)
        k = settle(tirx.floor(v * const(math.log2(math.e)) + const(0.5)))
        r = settle(v - k * const(LOG2_HIGH) - k * const(LOG2_LOW))
        total = self._series(r, EXP_SERIES)
        whole = tirx.Cast(f"int32x{LANES}", k)
        half = tirx.shift_right(whole, const(1, "int32"))
        return settle(total * self._power_of_two(half) * self._power_of_two(whole - half))

    def rounded(self, v: Any) -> Any:
        """To float16, and float32 again."""
        return self.tirx.Cast(f"float32x{LANES}", self.tirx.Cast(f"float16x{LANES}", v))

    def logistic(self, v: Any) -> Any:
        """1 / (1 + e**-v). Half of the time of a layer that ends in it was this: so a sign goes into constants, and what is cut off at the
        ends leaves 2**k one float: where 1 is added to nothing a normal one, and where the result is below all normal floats infinity, so
        that it is 0 and not a little more: x * sigmoid(x) of an x near the least float would show that.
        """
        tirx, const, settle = self.tirx, self.const, self.settle
        v = settle(v)
        v = self.Select(v < const(INFINITE), const(INFINITE), v)  # a NaN stays one
        v = self.Select(v > const(NORMAL), const(NORMAL), v)
        k = settle(tirx.floor(v * const(-math.log2(math.e)) + const(0.5)))
        r = settle(v + k * const(LOG2_HIGH) + k * const(LOG2_LOW))  # from the other side
        total = self._series(r, [-factor if power % 2 else factor for power, factor in enumerate(EXP_SERIES)])
        return settle(const(1.0) / (const(1.0) + total * self._power_of_two(tirx.Cast(f"int32x{LANES}", k))))

    def _series(self, v: Any, factors: Sequence[float]) -> Any:
        total = self.const(factors[-1])
        for factor in reversed(factors[:-1]):
            total = total * v + self.const(factor)
        return total

    def _power_of_two(self, k: Any) -> Any:
        return self.tirx.reinterpret(f"float32x{LANES}", self.tirx.shift_left(k + self.const(127, "int32"), self.const(23, "int32")))


class Writer:
    """Statements of the kernel that is being written. A vector is an expression of LANES floats."""

    def __init__(self) -> None:
        self.host = tvm()
        self.tirx: Any = self.host.tirx
        self.to: Any = self.host.script.ir_builder.tirx
        self.batch: Any = self.tirx.Var("n", "int64")
        self.vectors = Vectors(self)

    def long(self, number: int) -> Any:
        return self.tirx.IntImm("int64", number)

    def spread(self, scalar: Any, lanes: int = LANES) -> Any:
        """One float in every lane."""
        scalar = self.tirx.const(scalar, "float32") if isinstance(scalar, float) else scalar
        return self.tirx.Broadcast(scalar, lanes)

    def keep(self, value: Any) -> Any:
        """The value, computed here and once."""
        return self.to.bind(value)

    def by_image(self, buffer: Any) -> Any:
        """[CB,N,H,W,LANES] as [N,CB,H,W,LANES]."""
        count, batch, *pixel = buffer.shape
        size = math.prod(map(int, pixel))
        strides = [self.long(size), batch * size, self.long(int(pixel[1]) * LANES), self.long(LANES), self.long(1)]
        return self.to.decl_buffer([batch, count, *pixel], "float32", data=buffer.data, strides=strides)

    def alias(self, buffer: Any, shape: Sequence[int]) -> Any:
        """The same memory with other axes behind the batch. Those of a blocked buffer begin with its blocks."""
        inner = [self.long(math.prod(shape[axis + 1 :])) for axis in range(len(shape))]
        strides = [*buffer.strides[:2], *inner[1:]] if buffer.strides else []
        return self.to.decl_buffer([buffer.shape[0], *map(self.long, shape)], str(buffer.dtype), data=buffer.data, strides=strides)

    def typed_as(self, buffer: Any, value: Any, lanes: int = 1) -> Any:
        """A float32, or a vector of some, as what a buffer holds."""
        dtype = str(buffer.dtype)
        return value if dtype == "float32" else self.tirx.Cast(dtype if lanes == 1 else f"{dtype}x{lanes}", value)

    def settle(self, value: Any) -> Any:
        """The same for a vector of any formula: TVM puts what `keep` names back into formulas, once for each time that it is read."""
        place = self.registers(1)
        self.store(place, value, 0)
        return place[(0, self.lanes())]

    def pairwise(self, values: Sequence[Any], combine: Callable[[Any, Any], Any]) -> Any:
        """All vectors combined in pairs, pairs of pairs, ...: sums of like size round least."""
        while len(values) > 1:
            pairs = [self.settle(combine(a, b)) for a, b in zip(values[::2], values[1::2], strict=False)]
            values = [*pairs, *values[2 * len(pairs) :]]
        return values[0]

    def across(self, value: Any, combine: Callable[[Any, Any], Any]) -> Any:
        """All lanes combined, in every lane."""
        for distance in (8, 4, 2, 1):
            value = self.settle(value)
            value = combine(value, self.blend([value], [(lane + distance) % LANES for lane in range(LANES)]))
        return self.settle(value)

    def lanes(self, first: Any = 0, count: int = LANES) -> Any:
        """An index of so many neighbours on the last axis."""
        return self.tirx.Ramp(self.long(first) if isinstance(first, int) else first, self.long(1), count)

    def load(self, buffer: Any, *at: Any, lanes: int = LANES) -> Any:
        """The vector at a place on all axes but the last, read here."""
        return self.keep(buffer[(*at, self.lanes(0, lanes))])

    def store(self, buffer: Any, value: Any, *at: Any, lanes: int = LANES) -> None:
        self.to.buffer_store(buffer, value, [*at, self.lanes(0, lanes)])

    def registers(self, count: int) -> Any:
        """[count,LANES] floats that never see memory, while every index is a number and they are at most STACK.

        In TVM's scope "local" they would come from the heap, by a call for each: a depthwise layer with a relu took seven times as long.
        """
        return self.to.alloc_buffer((count, LANES), scope="global")

    def blend(self, vectors: Sequence[Any], lanes: Sequence[int]) -> Any:
        """Lanes, by number, of vectors laid end to end."""
        return self.keep(self.tirx.Shuffle(list(vectors), [self.tirx.const(lane, "int32") for lane in lanes]))

    def loop(self, count: Any, start: Any = 0) -> Any:
        """`with writer.loop(8) as i:`"""
        return self.to.serial(*(self.long(end) if isinstance(end, int) else end for end in (start, count)))

    @contextmanager
    def each(self, batch: Batch, *extents: int, work: int) -> Generator[list[Any]]:
        """One body for every place, divided among the threads where `work`, the elements moved for an image, pays for them."""
        images = self.batch if batch is None else self.long(batch)
        loop = self.to.parallel if work * (batch or 1) >= PARALLEL_FROM else self.to.serial
        with loop(self.long(0), images * math.prod(extents)) as flat:
            places: list[Any] = []
            for extent in reversed(extents):
                places.append(flat % extent if extent > 1 else self.long(0))
                flat = flat // extent
            yield [flat, *reversed(places)]

    def branch(self, condition: Any, then: Callable[[], None], otherwise: Callable[[], None] | None = None) -> None:
        with self.to.If(condition):
            with self.to.Then():
                then()
            if otherwise is not None:
                with self.to.Else():
                    otherwise()


class Register:
    """One vector that may change: in a register, since nothing takes its address."""

    def __init__(self, writer: Writer) -> None:
        self.writer = writer
        self.place = writer.registers(1)

    def set(self, value: Any) -> None:
        self.writer.store(self.place, value, 0)

    def get(self) -> Any:
        return self.place[(0, self.writer.lanes())]

    def lane(self, lane: int) -> Any:
        return self.place[(0, lane)]

    def set_lane(self, lane: int, value: Any) -> None:
        self.writer.to.buffer_store(self.place, value, [0, lane])


def request(tirx: Any, place: Any, purpose: int = READ) -> Any:
    """A call that asks for what lies at `place`, to be read soon, in the core's outer cache; or to be written, where the processor likes.

    Of the inner one Zen 4 gives up more than it gains: a Winograd product of 512 channels @14 took 1.4 times as long.
    """
    return tirx.call_intrin("void", "tirx.prefetch", tirx.address_of(place), purpose, OUTER, DATA)


def greatest(tirx: Any) -> Callable[[Any, Any], Any]:
    """The greater of two values. A NaN stays: the comparison lets one through on the right, the test on the left."""
    return lambda a, b: tirx.Select(tirx.Or(a > b, tirx.isnan(a)), a, b)
