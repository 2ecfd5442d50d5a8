"""How long each step of a library takes: the virtual machine's calls, timed one by one, by the plan that they follow."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ....ir.errors import InvalidModel
from ....ir.graph import Node
from ....ir.types import DTYPES, Array
from ..cpu.kernels.layout import LANES, blocks
from ..cpu.laid import STOCK
from ..cpu.plan import PACK, UNPACK, VIEW, KernelCall
from ..cpu.products import products
from .compile_kernels import OURS
from .run import LoadedLibrary

__all__ = ["CallTime", "call_times", "slow_rows"]

ITSELF = "vm."  # allocations, shape checks and views
# A share of a run and microseconds, both of which a stock row must exceed for a word. A small part of a small network is nobody's trouble;
# a tenth of it is, of a run of 200 us too, if it is far beyond what any call takes, which are 0.6 to 1.4 us (measured on Zen 4).
WORDS = ((0.02, 50.0), (0.1, 10.0))


@dataclass(frozen=True, slots=True)
class CallTime:
    """One call, or several neighbours that stock rows make and that cannot be told apart. Units: median `microseconds` a run, `least`
    those of the fastest one.
    """

    calls: tuple[KernelCall, ...]
    microseconds: float
    least: float = 0.0

    @property
    def kernel(self) -> str:
        return self.calls[0].kernel

    @property
    def nodes(self) -> tuple[Node, ...]:
        """What is computed, or moved into blocks or out of them."""
        return tuple(node for call in self.calls for node in (call.work.covers if call.work else (call.node,)))

    @property
    def moves(self) -> bool:
        """Whether it brings a value into blocks or out of them, and computes nothing."""
        return self.kernel in (PACK, UNPACK)

    @property
    def macs(self) -> int:
        """Multiply-adds, as they are counted of direct convolutions."""
        return 0 if self.moves or self.calls[0].argument else sum(map(_macs, self.nodes))

    @property
    def products(self) -> int:
        """Multiply-adds that it does itself."""
        if self.moves or self.calls[0].argument:
            return 0
        heads = {call.work.covers[0]: call.work.kernel.tile for call in self.calls if call.work}
        return sum(products(heads.get(node, 0), node) for node in self.nodes)

    @property
    def bytes(self) -> int:
        """What must be read and written."""
        return 0 if self.kernel == VIEW else sum(map(_moved, self.calls))


def call_times(loaded: LoadedLibrary, inputs: Mapping[str, Array], runs: int) -> list[CallTime]:
    """The calls of a CPU library in order, the virtual machine's own left out.

    Raises: InvalidModel for a library that was not built by this plan.
    """
    log: list[tuple[str, float]] = []
    begun = [0.0]

    def watch(function: Any, name: str, before: bool, result: Any, *arguments: Any) -> int:
        now = time.perf_counter()
        if not before:
            log.append((name, (now - begun[0]) * 1e6))
        begun[0] = time.perf_counter()
        return 0

    run = loaded.watched(watch)
    run(inputs)  # not counted: memory is touched for the first time
    taken: list[list[tuple[str, float]]] = []
    for _ in range(runs):
        log.clear()
        run(inputs)
        taken.append([entry for entry in log if not entry[0].startswith(ITSELF)])
    names = [name for name, _ in taken[0]]
    times = [[entry[1] for entry in entries] for entries in zip(*taken, strict=True)]
    middle, least = (_matched(loaded.calls, list(zip(names, map(of, times), strict=True))) for of in (statistics.median, min))
    return [replace(time, least=fastest.microseconds) for time, fastest in zip(middle, least, strict=True)]


def slow_rows(times: Sequence[CallTime]) -> list[tuple[CallTime, float]]:
    """Stock rows that take a share of the run worth a word, and that share, the greatest first."""
    whole = sum(time.microseconds for time in times)
    rows = [(time, time.microseconds / whole) for time in times if time.kernel == STOCK and time.microseconds]
    told = [(time, of) for time, of in rows if any(of > share and time.microseconds > least for share, least in WORDS)]
    return sorted(told, key=lambda row: -row[1])


def _matched(calls: Sequence[KernelCall], seen: list[tuple[str, float]]) -> list[CallTime]:
    """Every kernel with its time, a view with none; what lies between two kernels is the time of the stock rows that the plan has there."""
    found: list[CallTime] = []
    waiting: list[KernelCall] = []
    left = iter(seen)
    spent = 0.0

    def settle() -> None:
        nonlocal spent
        if waiting:
            found.append(CallTime(tuple(waiting), spent))
        waiting.clear()
        spent = 0.0

    for call in [*calls, None]:
        if call is not None and call.kernel == STOCK:
            waiting.append(call)
            continue
        if call is not None and call.kernel == VIEW:
            found.append(CallTime((call,), 0.0))
            continue
        for name, microseconds in left:
            if name.startswith(OURS):
                settle()
                if call is None:
                    raise InvalidModel("the library calls more kernels than its plan has")
                found.append(CallTime((call,), microseconds))
                break
            spent += microseconds
        else:
            if call is not None:
                raise InvalidModel(f"the library does not call the kernel {call.kernel} of '{call.node.name}'")
            settle()
    return found


def _macs(node: Node) -> int:
    macs = node.kind.cost(node.op, tuple(operand.typed for operand in node.inputs), node.typed).macs
    assert isinstance(macs, int)  # a library that is profiled has no named sizes
    return macs


def _moved(call: KernelCall) -> int:
    """Bytes that a call must read and write."""
    if call.work is None:
        if call.kernel == STOCK:
            return sum(_bytes(node, False) for node in (*call.node.inputs, call.node))
        if call.argument is not None:
            return _bytes(call.node, False) + 8 * math.prod(call.argument.shape)  # of each the place, and the element
        return _bytes(call.node, True) + _bytes(call.node, False)
    arguments = sum(math.prod(argument.shape) * DTYPES[argument.dtype].itemsize for argument in call.work.arguments)
    result = _bytes(call.work.result, call.work.is_laid)
    return arguments + result + sum(_bytes(node, in_blocks) for node, in_blocks in call.work.reads)


def _bytes(node: Node, in_blocks: bool) -> int:
    """Of a value, with what blocks have of padding."""
    shape = node.typed.concrete()
    count = math.prod((shape[0], blocks(shape[1]) * LANES, *shape[2:])) if in_blocks else math.prod(shape)
    return count * DTYPES[node.typed.dtype].itemsize
