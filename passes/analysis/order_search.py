"""Orders of a few tasks that keep the bytes in use low: exact where small, good guesses where large.

The bytes in use after some tasks depend on which have run, not on their order. So the search walks sets of tasks and
visits each once, under a limit that it raises, only as far as needed, until some order stays below it.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["Ordering", "Task", "guesses", "peak_of", "search"]

MAX_TASKS = 1_000  # of an exact search: a step costs a few operations on integers of as many bits
MAX_STATES = 40_000  # sets of tasks visited in one block: about a second


class Task(NamedTuple):
    """One op. `needs` are the tasks it must follow; `made` the bytes of its result, 0 for a view.

    `reads` are the values it reads that die in the block, by number; it may be written over those in `reusable`,
    whose size is the same. `unread`: its result dies at once.
    """

    needs: tuple[int, ...]
    made: int
    reads: tuple[int, ...]
    reusable: tuple[int, ...]
    unread: bool = False


@dataclass(frozen=True)
class Ordering:
    """Tasks that run one after another in an order to be chosen, with `base` bytes in use before the first.

    `sizes` are the bytes of the values that die in the block, `readers` the tasks that read each.
    """

    tasks: tuple[Task, ...]
    sizes: tuple[int, ...]
    readers: tuple[tuple[int, ...], ...]
    base: int


def peak_of(block: Ordering, order: Sequence[int]) -> int:
    """The most bytes in use while the tasks run in this order."""
    left = [len(readers) for readers in block.readers]
    live = peak = block.base
    for i in order:
        task = block.tasks[i]
        for value in task.reads:
            left[value] -= 1
        in_place = any(not left[value] for value in task.reusable)
        peak = max(peak, live if in_place else live + task.made)
        live += (0 if task.unread else task.made) - sum(block.sizes[value] for value in task.reads if not left[value])
    return peak


def search(block: Ordering, low: int, high: int) -> tuple[list[int] | None, bool]:
    """The first order, in the order of tasks, whose peak is at most `low`, or else the least there is below `high`.

    Without an order: whether it is certain that none stays below `high`; if not, the sets of tasks were too many to visit.
    """
    if len(block.tasks) > MAX_TASKS:
        return None, False
    limit, states = low, MAX_STATES
    while limit < high:
        attempt = _Attempt(block, limit, states)
        order = attempt.run()
        if order is not None or not attempt.left:
            return order, order is not None
        states = attempt.left
        limit = attempt.raised
    return None, True


class _Move(NamedTuple):
    """A task to run, and the state after it: tasks done and ready as bits, bytes in use."""

    task: int
    done: int
    ready: int
    live: int


class _Attempt:
    """Depth first through sets of tasks, never over `limit`. `raised` is the next limit worth trying, `left` the states
    that may still be visited."""

    def __init__(self, block: Ordering, limit: int, left: int) -> None:
        self.block = block
        self.limit = limit
        self.left = left
        self.raised = sum(task.made for task in block.tasks) + block.base
        self.seen: set[int] = set()
        self.needs = [_bits(task.needs) for task in block.tasks]
        self.readers = [_bits(readers) for readers in block.readers]
        self.followers = _followers(block)

    def run(self) -> list[int] | None:
        everything = (1 << len(self.block.tasks)) - 1
        first = _bits(i for i, needs in enumerate(self.needs) if not needs)
        order: list[int] = []
        stack = [self.moves(0, first, self.block.base)]
        while stack and self.left:
            move = next(stack[-1], None)
            if move is None:
                stack.pop()
                if order:
                    order.pop()
                continue
            order.append(move.task)
            if move.done == everything:
                return order
            stack.append(self.moves(move.done, move.ready, move.live))
        return None

    def moves(self, done: int, ready: int, live: int) -> Iterator[_Move]:
        """What may run next under the limit; nothing from a set seen before."""
        if done in self.seen:
            return iter(())
        self.seen.add(done)
        self.left -= 1
        moves: list[_Move] = []
        for i in _ones(ready):
            peak, after = self.step(i, done, live)
            if peak > self.limit:
                self.raised = min(self.raised, peak)
                continue
            now = done | 1 << i
            woken = _bits(j for j in self.followers[i] if not self.needs[j] & ~now)
            moves.append(_Move(i, now, ready & ~(1 << i) | woken, after))
            if after <= live:
                # It fits and leaves no more in use than before: whatever order is possible is possible after it too.
                return iter(moves[-1:])
        return iter(moves)

    def step(self, i: int, done: int, live: int) -> tuple[int, int]:
        """Bytes in use while a task runs, and after."""
        task, waiting = self.block.tasks[i], ~(done | 1 << i)
        freed = sum(self.block.sizes[value] for value in task.reads if not self.readers[value] & waiting)
        in_place = any(not self.readers[value] & waiting for value in task.reusable)
        return live if in_place else live + task.made, live + (0 if task.unread else task.made) - freed


def guesses(block: Ordering) -> Iterator[list[int]]:
    """Orders that are often good, for blocks too large to search. Near linear."""
    yield _depth_first(block)
    yield _most_freed(block)


def _depth_first(block: Ordering) -> list[int]:
    """One branch after the other, first the one that needs most beyond what it leaves.

    Optimal for trees (Sethi & Ullman 1970; Liu 1987); a shared branch counts for each of its readers here.
    """
    need: list[int] = []
    arranged: list[list[int]] = []
    for task in block.tasks:
        branches = sorted(dict.fromkeys(task.needs), key=lambda j: block.tasks[j].made - need[j])
        held = most = 0
        for j in branches:
            most = max(most, held + need[j])
            held += block.tasks[j].made
        need.append(max(most, held + task.made))
        arranged.append(branches)
    followers = _followers(block)
    ends = [i for i in range(len(block.tasks)) if not followers[i]]
    stack = [(i, False) for i in sorted(ends, key=lambda i: need[i] - block.tasks[i].made)]
    done: set[int] = set()
    order: list[int] = []
    while stack:
        i, left = stack.pop()
        if i in done:
            continue
        if left:
            done.add(i)
            order.append(i)
        else:
            stack.append((i, True))
            stack += [(j, False) for j in reversed(arranged[i])]
    return order


def _most_freed(block: Ordering) -> list[int]:
    """Always the ready task that lets go of most, less what it makes. Its score changes when it becomes a last reader."""
    left = [len(readers) for readers in block.readers]
    missing = [len(set(task.needs)) for task in block.tasks]
    followers = _followers(block)

    def score(i: int) -> tuple[int, int]:
        task = block.tasks[i]
        return task.made - sum(block.sizes[value] for value in task.reads if left[value] == 1), i

    ready = [score(i) for i, count in enumerate(missing) if not count]
    heapq.heapify(ready)
    done: set[int] = set()
    order: list[int] = []
    while ready:
        _, i = heapq.heappop(ready)
        if i in done:
            continue
        done.add(i)
        order.append(i)
        for j in followers[i]:
            missing[j] -= 1
            if not missing[j]:
                heapq.heappush(ready, score(j))
        for value in block.tasks[i].reads:
            left[value] -= 1
            if left[value] == 1:
                last = next(j for j in block.readers[value] if j not in done)
                if not missing[last]:
                    heapq.heappush(ready, score(last))
    return order


def _followers(block: Ordering) -> list[list[int]]:
    """The tasks that need each."""
    followers: list[list[int]] = [[] for _ in block.tasks]
    for i, task in enumerate(block.tasks):
        for j in dict.fromkeys(task.needs):
            followers[j].append(i)
    return followers


def _bits(numbers: Iterable[int]) -> int:
    bits = 0
    for number in numbers:
        bits |= 1 << number
    return bits


def _ones(bits: int) -> Iterator[int]:
    """The numbers of the bits that are set, lowest first."""
    while bits:
        low = bits & -bits
        yield low.bit_length() - 1
        bits ^= low
