"""How long each step of a library takes: the virtual machine's calls, timed one by one, by the plan that they follow."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...ir.errors import InvalidModel
from ...ir.types import Array
from .cpu.plan import STOCK, VIEW, KernelCall
from .kernels import OURS
from .run import LoadedLibrary

__all__ = ["CallTime", "call_times"]

ITSELF = "vm."  # allocations, shape checks and views


@dataclass(frozen=True, slots=True)
class CallTime:
    """One call, or several neighbours that stock rows make and that cannot be told apart. Units: median `microseconds` a run."""

    calls: tuple[KernelCall, ...]
    microseconds: float


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
    medians = [statistics.median(entry[1] for entry in entries) for entries in zip(*taken, strict=True)]
    return _matched(loaded.calls, list(zip(names, medians, strict=True)))


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
