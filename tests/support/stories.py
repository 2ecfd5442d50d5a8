"""Pages as stories: what a reader would write and type, from top to bottom, in one folder.

A fence with a title is a file. Of a ```console each line after `$ ` is a command, and what follows it is what it prints: whole numbers as
they are, others as any number, `...` as anything. Other ```python is a program. A remark before a fence says who runs it: `<!-- runs: slow -->`
make test-slow, `torch` make test-torch, `nowhere, since ...` nobody; `<!-- files: tutorial.md -->` that the files of that page are there.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import convc
from convc.tests.support.shell import LONGEST, Result
from convc.tests.support.shell import convc as run_convc

ROOT = Path(convc.__file__).parent
FENCE = re.compile(
    r'(?:<!-- runs: (?P<runs>[^>]*?) -->\n+)?^```(?P<kind>\w*)(?: title="(?P<title>[^"]+)")?\n(?P<text>.*?)^```$', re.MULTILINE | re.DOTALL
)
FILES = re.compile(r"<!-- files: (\S+) -->")
NUMBER = re.compile(r"\d[\d,]*\.\d+(?:e[+-]?\d+)?|\d+e[+-]?\d+")
TIERS = ("quick", "slow", "torch", "nowhere")
SHELL = set("|<>;&$*`")


@dataclass(frozen=True)
class Block:
    """One fence. `runs` is one of TIERS."""

    kind: str
    title: str
    text: str
    runs: str

    @property
    def commands(self) -> Iterator[tuple[str, list[str]]]:
        """Each command of a console, with the lines below it."""
        for part in re.split(r"^\$ ", self.text, flags=re.MULTILINE)[1:]:
            command, *shown = re.sub(r"\\\n\s*", "", part).splitlines()
            yield command, [line for line in shown if line.strip()]


def blocks(page: str) -> list[Block]:
    """What of a page is files, commands and programs. Raises: ValueError where a fence is run by nobody that there is."""
    found = [
        Block(each["kind"], each["title"] or "", each["text"], (each["runs"] or "quick").partition(",")[0]) for each in FENCE.finditer(page)
    ]
    if unknown := {block.runs for block in found} - set(TIERS):
        raise ValueError(f"runs: {', '.join(sorted(unknown))}; expected one of {', '.join(TIERS)}")
    return [block for block in found if block.title or block.kind in ("console", "python")]


def live(page: str, tiers: tuple[str, ...], folder: Path) -> None:
    """Write, type and run it all. What the repository has lies where a reader would find it."""
    (folder / "tests").symlink_to(ROOT / "tests")
    files = [block for other in FILES.findall(page) for block in blocks((ROOT / "docs" / other).read_text(encoding="utf-8")) if block.title]
    for block in (*files, *blocks(page)):
        if block.runs not in tiers:
            continue
        if block.title:
            (folder / block.title).write_text(block.text, encoding="utf-8")
        elif block.kind == "python":
            _hold("the program", _program(block.text, folder), [])
        else:
            for command, shown in block.commands:
                _hold(command, _typed(command, folder), shown)


def _typed(command: str, folder: Path) -> Result:
    """A command of ours in a process that was forked, as it is quicker; what needs a shell in one that knows `convc`."""
    if command.startswith("convc ") and not SHELL & set(command):
        return run_convc(*shlex.split(command)[1:], cwd=folder)
    bin_ = folder / ".bin"
    bin_.mkdir(exist_ok=True)
    for name, words in (("convc", f'{sys.executable} -m convc "$@"'), ("python", f'{sys.executable} "$@"')):
        (bin_ / name).write_text(f"#!/bin/sh\nexec {words}\n")
        (bin_ / name).chmod(0o755)
    path = f"{bin_}{os.pathsep}{os.environ['PATH']}"
    return _done(["sh", "-ec", command], folder, {"PATH": path})


def _program(text: str, folder: Path) -> Result:
    return _done([sys.executable, "-c", text], folder, {})


def _done(words: list[str], folder: Path, more: dict[str, str]) -> Result:
    done = subprocess.run(words, cwd=folder, env=os.environ | more, capture_output=True, text=True, timeout=LONGEST, check=False)
    return Result(done.returncode, done.stdout, done.stderr)


def _hold(command: str, done: Result, shown: list[str]) -> None:
    """It ends with 0, unless what is shown is a refusal, and prints what is shown: on one stream or the other, in that order."""
    is_refused = any(line.startswith("convc: ") for line in shown)
    assert (done.code != 0) == is_refused, f"{command}\nends with {done.code}:\n{done.out}{done.err}"
    if astray := lines_astray(shown, done):
        raise AssertionError(f"{command}\ndoes not print {astray!r}, but\n{done.out}{done.err}")


def lines_astray(shown: list[str], done: Result) -> str:
    """The first shown line that is not printed there, "" if all are. Without `...` nothing else may be printed."""
    streams = [[line for line in text.splitlines() if line.strip()] for text in (done.out, done.err)]
    may_skip = False
    for line in shown:
        if line.strip() == "...":
            may_skip = True
            continue
        places = [_place(stream, pattern_of(line), may_skip) for stream in streams]
        stream = next((number for number, place in enumerate(places) if place is not None), None)
        if stream is None:
            return line
        del streams[stream][: (places[stream] or 0) + 1]
        may_skip = False
    return (
        "" if "..." in map(str.strip, shown) or not shown else next((f"no more, but '{line}'" for stream in streams for line in stream), "")
    )


def _place(stream: list[str], pattern: re.Pattern[str], may_skip: bool) -> int | None:
    reach = stream if may_skip else stream[:1]
    return next((number for number, line in enumerate(reach) if pattern.fullmatch(line.strip())), None)


def pattern_of(line: str) -> re.Pattern[str]:
    """Whole numbers as they are, other ones as any, gaps of any width, `...` as anything."""
    pieces, start, text = [], 0, line.strip()
    for number in NUMBER.finditer(text):
        pieces += [text[start : number.start()], None]
        start = number.end()
    pieces.append(text[start:])
    return re.compile("".join(r"[-+\d.,einfa]+" if piece is None else _words(piece) for piece in pieces))


def _words(text: str) -> str:
    parts = re.split(r"(\.\.\.|\s+)", text)
    return "".join(".*" if part == "..." else r"\s+" if part.isspace() else re.escape(part) for part in parts)
