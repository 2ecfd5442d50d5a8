"""Bad days on purpose: `python tests/faults/faults.py`, or with --kills 5 a small part of it.

    kills     compile, export and tune killed at random moments, over what was there before
    disk      files that may not grow beyond some size, and /dev/full
    memory    limits on the addresses of a process, in steps
    readers   of an artifact that is replaced 1,000 times
    crowd     20 processes that compile into one cache

Whatever happens, what was there is whole or what is new is, no traceback is printed, the exit code is one of those that README.md has, and
the next command leaves no file of a dead one. Figures of each kind are printed; what is wrong is printed too, and the exit code is 1 then.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from convc.backends.tvm.store.tuned_forms import FILE, read_found
from convc.compiler.files.artifact import Artifact, foreign_files
from convc.ir.files import replace_directory
from convc.ir.holding import MARK, sweep
from convc.tests.support.shell import FORKS, command_before

NET = """graph @net(%x: f32[1,3,6,6]) {
  %w = param : f32[8,3,3,3]
  %c = conv2d(%x, %w)
  %y = relu(%c)
  return %y
}
"""
COMMANDS = {
    "compile": ("compile", "net.cir", "-o", "art", "--threads", "1"),
    "export": ("export", "net.cir", "-o", "net.onnx"),
    "tune": ("tune", "net.cir", "--trials", "2", "--database", "."),
}
RUN = ("run", "art", "-o", "out.npz")
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
    """A folder with a network and what commands made of it, with a cache and a folder for temporary files of its own."""

    def __init__(self, root: Path) -> None:
        self.folder, self.temporary, self.cache, self.streams = (root / name for name in ("work", "tmp", "cache", "streams"))
        for each in (self.folder, self.temporary, self.cache, self.streams):
            each.mkdir(mode=0o700)
        (self.folder / "net.cir").write_text(NET)

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
        try:
            artifact = Artifact.at(self.folder / "art")
            if artifact is None:
                return "the artifact is gone"
            artifact.check().structure()
            from convc.backends.onnx.read.importer import read_graph

            read_graph(self.folder / "net.onnx")
            _, complaint = read_found(self.folder / FILE)
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        return complaint

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


def _limited(limit: Callable[[], None] | None, words: Sequence[str], cwd: Path, settings: dict[str, str], streams: Sequence[Path]) -> None:
    tempfile.tempdir = None
    if limit is not None:
        limit()
    command_before(words, cwd, settings, streams)


def made(root: Path, commands: Sequence[str]) -> Place:
    """A place where each of the commands has been once."""
    place = Place(root)
    for words in map(COMMANDS.__getitem__, commands):
        code, said = place.run(words)
        assert code == DONE, said
    return place


def kills(place: Place, commands: Sequence[str], count: int, draws: random.Random) -> dict[str, Tally]:
    tallies: dict[str, Tally] = {}
    for name in commands:
        words = COMMANDS[name]
        begin = time.monotonic()
        code, said = place.run(words)
        taken = time.monotonic() - begin
        tally = tallies[f"kill -9 of {name}"] = Tally()
        for number in range(count):
            if name != "export":  # else nothing would be compiled
                shutil.rmtree(place.cache)
                place.cache.mkdir(mode=0o700)
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
    """Every command under every limit."""
    tally = Tally()
    for words in (*map(COMMANDS.__getitem__, commands), RUN):
        for limit in kinds:
            if words[0] in ("compile", "tune"):
                shutil.rmtree(place.cache)
                place.cache.mkdir(mode=0o700)
            code, said = place.run(words, limit)
            tally.held(f"{words[0]} with {limit.nbytes:,} bytes of {what}", code, said, allowed)
            if wrong := place.is_whole():
                tally.wrong.append(f"{words[0]} with {limit.nbytes:,} bytes of {what}: {wrong}")
    if left := place.left_over():
        tally.wrong.append(f"left over: {left}")
    return tally


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
    tallies = kills(place, commands, given.kills, draws)
    sizes = [Limit(resource.RLIMIT_FSIZE, 1 << (12 + 10 * step // given.steps)) for step in steps]
    tallies["disk"] = limits(place, commands, "files", sizes, (DONE, USAGE, MISSING))
    rooms = [Limit(resource.RLIMIT_AS, step * given.room // given.steps * MIB) for step in steps]
    tallies["memory"] = limits(place, commands, "memory", rooms, (DONE, USAGE, MISSING, MEMORY, *ENDED_BY_C))
    tallies["readers"] = readers(place, given.replacements)
    tallies["crowd"] = crowd(place, given.crowd)
    return tallies


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--commands", default=",".join(COMMANDS), help="tune waits for a quiet processor, which takes its time")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kills", type=int, default=50, help="of each command")
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
