"""Bad days on purpose: `python tests/faults/faults.py`, or with --kills 5 a small part of it.

    kills     commands killed at random moments, over what was there before: 50 each of compile, export and tune, 10 of others that write
    disk      files that may not grow beyond some size
    full      no room for a new file or folder: from the first on that a command makes, from the second, and so on to the last
    memory    limits on the addresses of a process, in steps
    readers   of an artifact that is replaced 1,000 times
    crowd     20 processes that compile into one cache

Whatever happens, what was there is whole or what is new is, no traceback is printed, the exit code is one of those that README.md has, and
the next command leaves no file of a dead one. Figures of each kind are printed; what is wrong is printed too, and the exit code is 1 then.
"""

from __future__ import annotations

import argparse
import errno
import itertools
import os
import random
import resource
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from convc.compiler.files.artifact import Artifact, foreign_files
from convc.ir.files import replace_directory
from convc.ir.holding import MARK, sweep
from convc.tests.faults.commands import COMMANDS, RUN, complaints, write_networks
from convc.tests.support.shell import FORKS, command_before

OFTEN = ("compile", "export", "tune")  # what has the most to lose is killed most
DONE, USAGE, MISSING, MEMORY, KILLED = 0, 2, 5, 6, -9
ENDED_BY_C = (127, -6)  # C's library ends a process that has no room for a thread's data, and nobody is asked
LONGEST = 600.0  # seconds of one command
MIB = 1 << 20


@dataclass
class Tally:
    """What was done, how it ended, and what was wrong."""

    tried: int = 0
    codes: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def held(self, what: str, code: int, said: str, allowed: Sequence[int]) -> None:
        self.tried += 1
        self.codes[code] += 1
        if code not in allowed:
            self.wrong.append(f"{what}: exit code {code}: {said[-300:]}")
        elif "Traceback" in said:
            self.wrong.append(f"{what}: a traceback: {said[-300:]}")


class Place:
    """A folder with networks and what these commands made of them, with a cache and a folder for temporary files of its own."""

    def __init__(self, root: Path, commands: Sequence[str] = ()) -> None:
        self.commands = commands
        self.folder, self.temporary, self.cache, self.streams = (root / name for name in ("work", "tmp", "cache", "streams"))
        for each in (self.folder, self.temporary, self.cache, self.streams):
            each.mkdir(mode=0o700)
        write_networks(self.folder)

    def start(self, words: Sequence[str], limit: Callable[[], None] | None = None) -> tuple[FORKS.Process, Path]:
        place = Path(tempfile.mkdtemp(dir=self.streams))
        streams = [place / name for name in ("in", "out", "err")]
        streams[0].write_text("")
        settings = dict(os.environ) | {"TMPDIR": str(self.temporary), "CONVC_CACHE": str(self.cache)}
        process = FORKS.Process(target=_limited, args=(limit, tuple(words), self.folder, settings, streams))
        process.start()
        return process, streams[2]

    def run(self, words: Sequence[str], limit: Callable[[], None] | None = None) -> tuple[int, str]:
        process, said = self.start(words, limit)
        process.join(LONGEST)
        if process.exitcode is None:
            process.kill()
            process.join()
            return KILLED, "it hangs"
        return process.exitcode, said.read_text() if said.exists() else ""

    def is_whole(self) -> str:
        """What is wrong with what lies here; empty if nothing is."""
        return complaints(self.folder, [COMMANDS[name] for name in self.commands])

    def forget_kernels(self, name: str) -> None:
        """Else a command that compiles would find them in the cache, and do nothing."""
        if name in ("compile", "tune"):
            shutil.rmtree(self.cache)
            self.cache.mkdir(mode=0o700)

    def left_over(self) -> list[str]:
        """Files of dead processes, once the folders are swept as every command that writes does."""
        for folder in (self.folder, self.temporary):
            sweep(folder)
        hidden = [path.name for path in self.folder.iterdir() if MARK.fullmatch(path.name) or path.name.startswith(".")]
        return [*hidden, *(path.name for path in self.temporary.iterdir())]


@dataclass(frozen=True)
class Limit:
    """Of a process, once it is forked: bytes of a file, or of addresses beyond those that it has."""

    what: int
    nbytes: int

    def __call__(self) -> None:
        nbytes = self.nbytes
        if self.what == resource.RLIMIT_AS:
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            nbytes += pages * resource.getpagesize()
        resource.setrlimit(self.what, (nbytes, nbytes))


@dataclass(frozen=True)
class Full:
    """A disk without room: for no new file or folder in `folders` from the `number`th on that a process makes. `refused` is there then."""

    number: int
    folders: tuple[Path, ...]
    refused: Path

    def __call__(self) -> None:
        made = itertools.count(1)
        roots = tuple(f"{folder}/" for folder in self.folders)

        def hear(event: str, told: tuple[Any, ...]) -> None:
            path = _new_file(event, told)
            if path.startswith(roots) and not os.path.lexists(path) and next(made) >= self.number:
                self.refused.touch()
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

        sys.addaudithook(hear)


def _new_file(event: str, told: tuple[Any, ...]) -> str:
    """The path at which something may be made, of an event that Python tells of itself; empty where nothing is."""
    if event == "os.link":
        return os.path.abspath(os.fsdecode(told[1]))
    makes = event == "os.mkdir" or (event == "open" and bool(told[2] & os.O_CREAT))
    return os.path.abspath(os.fsdecode(told[0])) if makes and not isinstance(told[0], int) else ""


def _limited(limit: Callable[[], None] | None, words: Sequence[str], cwd: Path, settings: dict[str, str], streams: Sequence[Path]) -> None:
    tempfile.tempdir = None
    if limit is not None:
        limit()
    command_before(words, cwd, settings, streams)


def made(root: Path, commands: Sequence[str]) -> Place:
    """A place where each of the commands has been once."""
    place = Place(root, commands)
    for name in commands:
        code, said = place.run(COMMANDS[name].words)
        assert code == DONE, said
    return place


def kills(place: Place, counts: Mapping[str, int], draws: random.Random) -> dict[str, Tally]:
    """Of each command so many."""
    tallies: dict[str, Tally] = {}
    for name, count in counts.items():
        words = COMMANDS[name].words
        begin = time.monotonic()
        code, said = place.run(words)
        taken = time.monotonic() - begin
        tally = tallies[f"kill -9 of {name}"] = Tally()
        for number in range(count):
            place.forget_kernels(name)
            process, said_at = place.start(words)
            process.join(taken * draws.random() * 1.2)
            process.kill()
            process.join()
            said = said_at.read_text() if said_at.exists() else ""
            tally.held(f"{name} {number}", process.exitcode or 0, said, (DONE, KILLED))
            if wrong := place.is_whole():
                tally.wrong.append(f"{name} {number}: {wrong}")
        code, said = place.run(words)
        tally.held(f"{name} after all kills", code, said, (DONE,))
        time.sleep(1.0)  # for compilers that a killed process had started
        if left := place.left_over():
            tally.wrong.append(f"{name}: left over: {left}")
    return tallies


def limits(place: Place, commands: Sequence[str], what: str, kinds: Sequence[Limit], allowed: Sequence[int]) -> Tally:
    """Every command, and a run of the artifact, under every limit."""
    tally = Tally()
    for name, words in _and_a_run(commands):
        for limit in kinds:
            place.forget_kernels(name)
            code, said = place.run(words, limit)
            _look(place, tally, f"{name} with {limit.nbytes:,} bytes of {what}", code, said, allowed)
    if left := place.left_over():
        tally.wrong.append(f"left over: {left}")
    return tally


def full(place: Place, commands: Sequence[str], allowed: Sequence[int]) -> Tally:
    """Every command, and a run of the artifact, without room for whatever it makes."""
    tally, refused = Tally(), place.streams / "refused"
    for name, words in _and_a_run(commands):
        for number in itertools.count(1):
            place.forget_kernels(name)
            refused.unlink(missing_ok=True)
            code, said = place.run(words, Full(number, (place.folder, place.temporary, place.cache), refused))
            _look(place, tally, f"{name} without room for file {number}", code, said, allowed)
            if not refused.exists():
                break
    if left := place.left_over():
        tally.wrong.append(f"left over: {left}")
    return tally


def _and_a_run(commands: Sequence[str]) -> list[tuple[str, Sequence[str]]]:
    return [*((name, COMMANDS[name].words) for name in commands), (RUN[0], RUN)]


def _look(place: Place, tally: Tally, what: str, code: int, said: str, allowed: Sequence[int]) -> None:
    tally.held(what, code, said, allowed)
    if wrong := place.is_whole():
        tally.wrong.append(f"{what}: {wrong}")


def readers(place: Place, count: int) -> Tally:
    tally, done = Tally(), threading.Event()
    path = place.folder / "art"
    files = {file.name: file.read_bytes() for file in path.iterdir()}

    def read() -> None:
        while not done.is_set():
            try:
                artifact = Artifact.at(path)
                assert artifact is not None, "the artifact is gone"
                artifact.check().structure()
                tally.held("a reader", DONE, "", (DONE,))
            except Exception as error:
                tally.wrong.append(f"a reader: {type(error).__name__}: {error}")

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(count):
        with replace_directory(path, foreign_files) as draft:
            for name, content in files.items():
                (draft / name).write_bytes(content)
    done.set()
    for thread in threads:
        thread.join()
    if left := place.left_over():
        tally.wrong.append(f"left over: {left}")
    return tally


def crowd(place: Place, count: int) -> Tally:
    tally = Tally()
    shutil.rmtree(place.cache)
    place.cache.mkdir(mode=0o700)
    started = [place.start(("compile", "net.cir", "-o", f"art{number}", "--threads", "1")) for number in range(count)]
    for number, (process, said) in enumerate(started):
        process.join(LONGEST)
        tally.held(f"process {number}", process.exitcode if process.exitcode is not None else KILLED, said.read_text(), (DONE,))
        artifact = Artifact.at(place.folder / f"art{number}")
        if artifact is None:
            tally.wrong.append(f"art{number} is not there")
        else:
            artifact.check()
    if left := place.left_over() or [path.name for path in place.cache.iterdir() if path.name.startswith(".")]:
        tally.wrong.append(f"left over: {left}")
    return tally


def tried(given: argparse.Namespace, root: Path) -> dict[str, Tally]:
    commands = given.commands.split(",")
    place, draws = made(root, commands), random.Random(given.seed)
    steps = range(1, given.steps + 1)
    tallies = kills(place, {name: given.kills if name in OFTEN else given.kills // 5 for name in commands}, draws)
    sizes = [Limit(resource.RLIMIT_FSIZE, 1 << (12 + 10 * step // given.steps)) for step in steps]
    tallies["disk"] = limits(place, commands, "files", sizes, (DONE, USAGE, MISSING))
    if steps:
        tallies["full"] = full(place, commands, (DONE, USAGE, MISSING))
    rooms = [Limit(resource.RLIMIT_AS, given.room * step**2 // given.steps**2 * MIB) for step in steps]  # close where they are felt
    tallies["memory"] = limits(place, commands, "memory", rooms, (DONE, USAGE, MISSING, MEMORY, *ENDED_BY_C))
    tallies["readers"] = readers(place, given.replacements)
    tallies["crowd"] = crowd(place, given.crowd)
    return tallies


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--commands", default=",".join(COMMANDS), help="tune waits for a quiet processor, which takes its time")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kills", type=int, default=50, help="of compile, export and tune, and a fifth of others")
    parser.add_argument("--steps", type=int, default=10, help="of limits")
    parser.add_argument("--room", type=int, default=400, help="MiB beyond what a process has at its start, at most")
    parser.add_argument("--replacements", type=int, default=1000)
    parser.add_argument("--crowd", type=int, default=20, help="processes")
    given = parser.parse_args(words)
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as root:
        tallies = tried(given, Path(root))
    for name, tally in tallies.items():
        ends = ", ".join(f"{count} with {code}" for code, count in sorted(tally.codes.items()))
        print(f"{name}: {tally.tried} tried, {len(tally.wrong)} wrong; ended: {ends}")
    for name, tally in tallies.items():
        for wrong in tally.wrong:
            print(f"  WRONG, {name}: {wrong}")
    count = sum(tally.tried for tally in tallies.values())
    bad = sum(len(tally.wrong) for tally in tallies.values())
    print(f"{count} faults, {bad} wrong; seed {given.seed}, {time.monotonic() - begin:.0f} s")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
