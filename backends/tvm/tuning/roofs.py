"""What this machine can do at most: multiply-adds in registers, bytes read from memory. Measured: no data sheet knows the clock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ....ir.types import Array
from ..cpu.kernels.layout import LANES
from ..cpu.kernels.writer import Operand, Writer, prim_func
from ..host import host_processor, host_target, tvm

__all__ = ["fma_kernel", "multiply_adds", "read_kernel", "reads"]

# Some millisecond, of which waking threads is 0.3%. In ten others take a processor away from nearly every run: with a load of 13 on two
# cores the best of 20 such was a seventh of the peak, the best of 200 of these all of it in 3 of 4 tries, and half in one.
ROUNDS = 300_000
SUMS = 20  # chains of vectors of LANES, where as many fit the registers: more than hide a multiply-add's latency
STREAMS = 8  # sums that a thread reads into
READ_BYTES = 1 << 29  # more than caches hold


def fma_kernel(threads: int) -> tuple[Callable[[], None], int]:
    """A run of `multiply_adds`, and how many FLOP it is."""
    function, count = multiply_adds(threads)
    return _ready(function, np.array([0.5, 1.0], np.float32), threads), 2 * count


def read_kernel(threads: int) -> tuple[Callable[[], None], int]:
    """A run of `reads`, and how many bytes."""
    function, count = reads(threads)
    return _ready(function, np.ones([int(extent) for extent in function.params[0].shape], np.float32), threads), count


def multiply_adds(threads: int) -> tuple[Any, int]:
    """(A[2], D[threads,LANES]) that computes independent multiply-adds on every thread, and how many."""
    sums = min(SUMS, host_processor().sums(LANES))

    def body(writer: Writer, factors: Any, d: Any) -> None:
        gain, shift = (writer.keep(writer.spread(factors[i])) for i in range(2))
        with writer.to.parallel(writer.long(0), writer.long(threads)) as thread:
            place = writer.registers(sums)
            for i in range(sums):
                writer.store(place, writer.spread(float(i)), i)
            with writer.loop(ROUNDS):
                for i in range(sums):
                    writer.store(place, place[(i, writer.lanes())] * gain + shift, i)
            _store_total(writer, place, sums, d, thread)

    return prim_func([Operand("A", (2,)), Operand("D", (threads, LANES))], body), threads * ROUNDS * sums * LANES


def reads(threads: int) -> tuple[Any, int]:
    """(A, D[threads,LANES]) that reads memory, all of A, on every thread, and how many bytes."""
    count = READ_BYTES // (4 * threads * STREAMS * LANES)
    shape = (threads, count, STREAMS, LANES)

    def body(writer: Writer, a: Any, d: Any) -> None:
        with writer.to.parallel(writer.long(0), writer.long(threads)) as thread:
            place = writer.registers(STREAMS)
            for i in range(STREAMS):
                writer.store(place, writer.spread(0.0), i)
            with writer.loop(count) as k:
                for i in range(STREAMS):
                    writer.store(place, place[(i, writer.lanes())] + writer.load(a, thread, k, i), i)
            _store_total(writer, place, STREAMS, d, thread)

    return prim_func([Operand("A", shape), Operand("D", (threads, LANES))], body), 4 * threads * count * STREAMS * LANES


def _store_total(writer: Writer, place: Any, sums: int, d: Any, thread: Any) -> None:
    total = writer.pairwise([place[(i, writer.lanes())] for i in range(sums)], lambda a, b: a + b)
    writer.store(d, total, thread)


def _ready(function: Any, given: Array, threads: int) -> Callable[[], None]:
    host = tvm()
    module = host.IRModule({"main": function.with_attr("global_symbol", "main")})
    main = host.compile(module, target=host_target())["main"]
    arrays = [host.runtime.tensor(array) for array in (given, np.zeros((threads, LANES), np.float32))]
    return lambda: main(*arrays)
