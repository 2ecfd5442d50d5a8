"""Mutated ONNX files against the importer: `make fuzz-onnx`.

    python tests/fuzz/fuzz_onnx.py --seconds 60 --seed 0
    python tests/fuzz/fuzz_onnx.py --count 100000                  as many files, however long it takes
    python tests/fuzz/fuzz_onnx.py build/fuzz-onnx/1a2b3c/net.onnx what becomes of these, again

Every outcome must be a graph that the passes improve, or a refusal in one printable line, within five seconds of processor time
and with at most 2 GiB of memory. File i of seed s is the mutant of "s:i". Files are read in worker processes, many by each; one that crashes, hangs
or runs out of memory is seen from outside, its file is written to build/fuzz-onnx, and another worker goes on after it.
"""

from __future__ import annotations

import os

os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # before NumPy: one process a core

import argparse
import hashlib
import itertools
import multiprocessing
import queue
import random
import resource
import sys
import tempfile
import time
import traceback
import warnings
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import convc
from convc.backends.onnx.file.reading import read_model
from convc.backends.onnx.read.importer import read_graph
from convc.compiler.engines.optimize import optimize
from convc.ir.errors import ConvcError, PassRolledBack, UnsupportedOp
from convc.tests.fuzz.onnx_mutations import DATA, Mutant, mutant, seeds

ROOT = Path(convc.__file__).parent
SLOW = 5.0  # seconds of processor time for one file
HUNG = 60.0  # seconds on the wall, after which a worker is ended
MEMORY = 2 * 2**30  # bytes beyond what a worker has at its start
FOREIGN_EVERY = 100  # files with foreign operators that are read around them, which may start a process
BATCH = 100  # files between two reports of a worker
KEPT = 3  # files of one kind of failure that are written


@dataclass
class Tally:
    """What was seen."""

    files: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    peak: int = 0  # bytes

    def add(self, other: Tally) -> None:
        self.files += other.files
        self.outcomes += other.outcomes
        self.failures += other.failures
        self.slowest = max(self.slowest, other.slowest)
        self.peak = max(self.peak, other.peak)


def outcome(path: Path) -> str:
    """What becomes of a file: where it was refused, or that it is a graph, optimized."""
    try:
        model = read_model(path)
    except ConvcError as error:
        return f"the loader refuses: {_said(error)}"
    try:
        for tensor in model.proto.graph.initializer:
            model.array(tensor)
    except ConvcError as error:
        return f"a tensor is refused: {_said(error)}"
    foreign = False
    try:
        try:
            graph = read_graph(path, strict=True).graph
        except UnsupportedOp as error:
            if zlib.crc32(path.read_bytes()) % FOREIGN_EVERY:
                return f"the importer refuses: {_said(error)}"
            foreign = True
            graph = read_graph(path).graph
    except ConvcError as error:
        return f"the importer refuses: {_said(error)}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", PassRolledBack)  # the file was sound
            optimize(graph, 2)
    except ConvcError as error:
        return f"a pass refuses: {_said(error)}"
    return "a graph around foreign operators" if foreign else "a graph"


def _said(error: ConvcError) -> str:
    """The class of a refusal, which must not reach a terminal with anything but text in it."""
    if not str(error).isprintable():
        raise AssertionError(f"a message that is not one printable line: {str(error)[:200]!r}")
    return type(error).__name__


def failure(path: Path) -> tuple[str, str]:
    """The outcome, and the kind of failure if it is one."""
    start = time.process_time()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # weights of mutants overflow
            what = outcome(path)
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        ours = [f for f in traceback.extract_tb(error.__traceback__) if str(ROOT) in f.filename and "site-packages" not in f.filename]
        at = ours[-1] if ours else frame
        return "failed", f"{type(error).__name__} at {Path(at.filename).name}:{at.lineno}: {str(error)[:120]}"
    seconds = time.process_time() - start
    return what, f"over {SLOW:.0f} s: {what}" if seconds > SLOW else ""


def write(made: Mutant, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / DATA).write_bytes(made.data)
    (folder / "net.onnx").write_bytes(made.model)
    return folder / "net.onnx"


def keep(made: Mutant, out: Path) -> Path:
    return write(made, out / hashlib.blake2b(made.model + made.data, digest_size=5).hexdigest())


def drawn(seed: int, index: int, files: list[bytes]) -> Mutant:
    return mutant(random.Random(f"{seed}:{index}"), files)


def work(indices: Iterator[int], seed: int, end: float, out: Path, place, tallies) -> None:
    """Read file after file; `place` tells the watcher which one, and since when."""
    files = seeds()
    _limit_memory()
    place[1] = time.time()
    tally, kept = Tally(), Counter[str]()
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        (here / "link.bin").symlink_to(DATA)
        os.mkfifo(here / "pipe")
        for index in indices:
            if time.time() > end:
                break
            made = drawn(seed, index, files)
            path = write(made, here)
            place[0], place[1] = index, time.time()
            start = time.process_time()
            what, wrong = failure(path)
            tally.slowest = max(tally.slowest, time.process_time() - start)
            tally.files += 1
            tally.outcomes[what] += 1
            if wrong:
                tally.failures[wrong] += 1
                kept[wrong] += 1
                if kept[wrong] <= KEPT:
                    print(f"{wrong}\n  file {index} of seed {seed}: {keep(made, out)}", flush=True)
            if tally.files == BATCH:
                tallies.put(_closed(tally))
                tally = Tally()
    tallies.put(_closed(tally))


def _closed(tally: Tally) -> Tally:
    tally.peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return tally


def _limit_memory() -> None:
    """Only Linux tells how much there is already."""
    if sys.platform.startswith("linux"):
        there = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (there + MEMORY, there + MEMORY))


class Watched:
    """A worker for every `step`-th file from `first` on, and its successors."""

    def __init__(self, first: int, given: argparse.Namespace, end: float) -> None:
        self.context = multiprocessing.get_context("spawn")
        self.tallies = self.context.Queue()
        self.given, self.end = given, end
        self.slow = -1  # a file that was not done in time, and is read once more: the machine may have been busy
        self._start(first)

    def _start(self, first: int) -> None:
        given = self.given
        self.place = self.context.Array("d", [-1.0, time.time()], lock=False)
        indices = itertools.count(first, given.jobs) if given.count is None else range(first, given.count, given.jobs)
        self.process = self.context.Process(target=work, args=(indices, given.seed, self.end, given.out, self.place, self.tallies))
        self.process.start()

    def look(self, total: Tally) -> bool:
        """Take in what the worker reports; replace it if it died or hangs. False once it is done."""
        self._take(total)
        index, since = int(self.place[0]), self.place[1]
        if self.process.is_alive():
            if index < 0 or time.time() - since < HUNG:
                return True
            self.process.kill()
            self.process.join()
            if index not in (-1, self.slow):
                self.slow = index
                self._start(index)
                return True
            wrong = f"hangs: ended after {HUNG:.0f} s, twice"
        else:
            self.process.join()
            self._take(total)
            if self.process.exitcode == 0:
                return False
            wrong = f"the process dies: exit status {self.process.exitcode}"
        if index < 0:
            raise SystemExit(f"a worker ended before its first file, with status {self.process.exitcode}")
        total.files += 1
        total.failures[wrong] += 1
        print(
            f"{wrong}\n  file {index} of seed {self.given.seed}: {keep(drawn(self.given.seed, index, seeds()), self.given.out)}", flush=True
        )
        self._start(index + self.given.jobs)
        return True

    def _take(self, total: Tally) -> None:
        while True:
            try:
                total.add(self.tallies.get(timeout=0.05))
            except queue.Empty:
                return


def again(paths: list[Path]) -> int:
    wrongs = 0
    for path in paths:
        what, wrong = failure(path)
        wrongs += bool(wrong)
        print(f"{path}: {wrong or what}")
    return 1 if wrongs else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("files", nargs="*", type=Path, help="read these again instead")
    parser.add_argument("--seconds", type=float, help="at most; 60 when no count is given")
    parser.add_argument("--count", type=int, help="files; as many as there is time for when not given")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, choices=(1, 2), default=min(2, os.cpu_count() or 1))
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "fuzz-onnx", help="where files that fail are written")
    given = parser.parse_args()
    if given.files:
        return again(given.files)
    seconds = given.seconds or (60 if given.count is None else float("inf"))
    start, total = time.time(), Tally()
    workers = [Watched(first, given, start + seconds) for first in range(given.jobs)]
    while workers:
        workers = [worker for worker in workers if worker.look(total)]
    report(total, given, time.time() - start)
    if not total.files:
        print("FAILED: no file was read; give more --seconds or a --count of at least 1")
    return 1 if total.failures or not total.files else 0


def report(total: Tally, given: argparse.Namespace, seconds: float) -> None:
    for what, count in total.outcomes.most_common():
        print(f"{count:8,} {what}")
    for wrong, count in total.failures.most_common():
        print(f"FAILED, {count} times: {wrong}")
    print(
        f"{total.files:,} files, {sum(total.failures.values())} failures; seed {given.seed}, {given.jobs} processes, {seconds:.0f} s; "
        f"slowest {total.slowest:.2f} s, peak memory {total.peak / 2**20:.0f} MiB"
    )


if __name__ == "__main__":
    sys.exit(main())
