"""Shows how far work has come and how long it will take: below what a terminal shows, or under a cell of a notebook.

Nothing is shown of work that takes less than a moment, nor where nobody looks: standard error is a file, or a terminal that cannot take
a line back (TERM=dumb).
"""

from __future__ import annotations

import importlib
import os
import sys
import threading
import time
from collections.abc import Generator
from contextlib import AbstractContextManager as Context
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from ...ir.legible import escaped
from ...ir.progress import watched_by, watcher

__all__ = ["Display", "ShownWork", "aside", "notebook_display", "silence", "terminal_display", "watched_in_notebooks"]

MOMENT = 0.7  # seconds before anything is shown, and before work inside of other work has a line of its own
RATE = 5  # times a second
BAR = 24  # columns


@dataclass(slots=True, eq=False)
class ShownWork:
    """One piece of work. Units: `begun` in seconds of time.monotonic. A `total` of 0: nobody knows how much it is."""

    what: str
    total: float
    done: float = 0.0
    begun: float = field(default_factory=time.monotonic)

    @property
    def share(self) -> float:
        return min(self.done / self.total, 1.0) if self.total > 0 else 0.0

    def words(self) -> tuple[str, str]:
        """What share is done, and how long the rest takes if it goes on as it did."""
        taken = time.monotonic() - self.begun
        if not self.total:
            return "", _clock(taken) + " so far"
        left = _clock(taken / self.share - taken) + " left" if self.share > 0 else _clock(taken) + " so far"
        return f"{self.share:4.0%}", left


class Display:
    """A watcher. `surface` shows lines in place of those that it showed before, and takes them back when it is closed."""

    def __init__(self, surface: Any) -> None:
        self.surface = surface
        self.tasks: list[ShownWork] = []
        self.lock = threading.RLock()
        self.closed = threading.Event()
        self.begun = time.monotonic()
        self.thread = threading.Thread(target=self._refresh, daemon=True, name="convc progress")
        self.shown = False

    def __enter__(self) -> Display:
        self.thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.closed.set()
        self.thread.join()
        self.clear()

    def begin(self, what: str, total: float) -> ShownWork:
        task = ShownWork(escaped(what, backslash=False), total)  # files of an artifact have names of which nobody knows
        with self.lock:
            self.tasks.append(task)
        return task

    def advance(self, task: ShownWork, by: float) -> None:
        task.done += by

    def end(self, task: ShownWork) -> None:
        with self.lock:
            self.tasks.remove(task)

    @contextmanager
    def hidden(self) -> Generator[None]:
        """While something else is written where this shows."""
        with self.lock:
            self.clear()
            yield

    def clear(self) -> None:
        with self.lock:
            if self.shown:
                self.surface.show([])
                self.shown = False

    def _refresh(self) -> None:
        while not self.closed.wait(1 / RATE):
            with self.lock:
                lines = self._lines()
                if lines or self.shown:
                    self.surface.show(lines)
                    self.shown = bool(lines)

    def _lines(self) -> list[ShownWork]:
        """The outermost work, and of that inside of it what takes longer than a moment, as deep as two lines."""
        now = time.monotonic()
        if now - self.begun < MOMENT or not self.tasks:
            return []
        inner = [task for task in self.tasks[1:] if now - task.begun >= MOMENT]
        return list(dict.fromkeys([self.tasks[0], *inner[:1], *inner[-1:]]))


class TerminalSurface:
    """Lines at the end of what a terminal shows, drawn by rich."""

    def __init__(self) -> None:
        self.console: Any = None
        self.height = 0

    def show(self, tasks: list[ShownWork]) -> None:
        if self.console is None:
            self.console = importlib.import_module("rich.console").Console(stderr=True, highlight=False)
        with self.console.capture() as drawn:
            for task in tasks:
                self.console.print(self._line(task), no_wrap=True, overflow="ellipsis", crop=True)
        back = "\r" + "\x1b[1A\x1b[2K" * self.height
        sys.stderr.write(back + drawn.get())
        sys.stderr.flush()
        self.height = drawn.get().count("\n")

    def _line(self, task: ShownWork) -> Any:
        share, left = task.words()
        table, bar = importlib.import_module("rich.table"), importlib.import_module("rich.progress_bar")
        line = table.Table.grid(padding=(0, 1), expand=False)
        line.add_column(no_wrap=True, max_width=max(10, self.console.width - BAR - 22), overflow="ellipsis")
        drawn = bar.ProgressBar(task.total, task.done, BAR) if task.total else ""
        line.add_row(importlib.import_module("rich.text").Text(task.what), drawn, share, left)
        return line


class NotebookSurface:
    """Text under a cell, which is gone when the work is done. It needs no widgets."""

    def __init__(self) -> None:
        self.handle: Any = None

    def show(self, tasks: list[ShownWork]) -> None:
        ipython = importlib.import_module("IPython.display")
        text = "\n".join(f"{task.what}: {' '.join(task.words())}" for task in tasks)
        shown = {"text/plain": text}
        if self.handle is None:
            self.handle = ipython.display(shown, raw=True, display_id=True)
        else:
            self.handle.update(shown, raw=True)


def aside() -> Context[None]:
    """Takes what is shown out of the way of lines that are written."""
    display = watcher()
    return display.hidden() if isinstance(display, Display) else nullcontext()


def silence() -> None:
    """Shows nothing from now on."""
    display = watcher()
    if isinstance(display, Display):
        display.closed.set()


def terminal_display() -> Context[Display | None]:
    """For a command, where people see its standard error."""
    try:
        is_seen = sys.stderr.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")
    except ValueError:  # closed
        is_seen = False
    return _Shown(TerminalSurface()) if is_seen else nullcontext()


def notebook_display() -> Context[Display | None]:
    """For a call from Python: in a notebook alone, for a program's standard error is its own, and not inside of another call."""
    ipython = sys.modules.get("IPython")
    shell: Any = ipython.get_ipython() if ipython is not None else None
    return _Shown(NotebookSurface()) if hasattr(shell, "kernel") and watcher() is None else nullcontext()


def watched_in_notebooks(function: Any) -> Any:
    """`function`, whose work is shown where it is called in a notebook."""
    import functools

    @functools.wraps(function)
    def watched(*args: Any, **named: Any) -> Any:
        with notebook_display():
            return function(*args, **named)

    return watched


class _Shown(Display):
    """A display that is listened with as long as it is open."""

    def __enter__(self) -> Display:
        self.listening = watched_by(self)
        self.listening.__enter__()
        return super().__enter__()

    def __exit__(self, *exception: object) -> None:
        self.listening.__exit__(None, None, None)
        super().__exit__(*exception)


def _clock(seconds: float) -> str:
    """`7 s`, `2:05`, `1:00:00`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
