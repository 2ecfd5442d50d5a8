"""How far long work has come. The work says it here and knows nothing of terminals; whoever shows it listens with `watched_by`.

Who listens is known by the thread alone that does the work, and for the time of one `with`: nothing is passed through forty calls that
have no other interest in it, and nothing stays behind.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol, TypeVar

__all__ = ["Watcher", "each", "progress", "told", "watched_by", "watcher"]

T = TypeVar("T")


class Watcher(Protocol):
    """Hears of work as it begins, goes on and ends. `begin` gives what stands for it; work lies in other work as calls do."""

    def begin(self, what: str, total: float) -> Any: ...

    def advance(self, task: Any, by: float) -> None: ...

    def end(self, task: Any) -> None: ...


_WATCHER: ContextVar[Watcher | None] = ContextVar("convc.progress", default=None)


@contextmanager
def watched_by(watcher: Watcher) -> Generator[None]:
    """What is done inside is told to `watcher`."""
    token = _WATCHER.set(watcher)
    try:
        yield
    finally:
        _WATCHER.reset(token)


def watcher() -> Watcher | None:
    """Who listens; None: nothing need be counted."""
    return _WATCHER.get()


@contextmanager
def progress(what: str, total: float) -> Generator[Callable[[float], None]]:
    """Work of so many parts, of any size, told in a few words; call what this gives with the parts that have been done."""
    watcher = _WATCHER.get()
    if watcher is None:
        yield lambda by: None
        return
    task = watcher.begin(what, total)
    try:
        yield lambda by: watcher.advance(task, by)
    finally:
        watcher.end(task)


def each(what: str, items: Collection[T]) -> Iterator[T]:
    """The items in turn, each a part of the work that is done when the next is asked for."""
    return told(what, len(items), items)


def told(what: str, total: int, items: Iterable[T]) -> Iterator[T]:
    """The same for items that do not say how many they are."""
    with progress(what, total) as advance:
        for item in items:
            yield item
            advance(1)
