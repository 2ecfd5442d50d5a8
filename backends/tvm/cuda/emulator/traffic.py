"""One launch whose memory accesses are counted: what each line asks of global memory, in sectors, and of shared memory, in cycles.

How fast a kernel is that memory bounds follows from how the lanes of a warp lie beside each other. Kernels are compiled as for
ThreadSanitizer, and `machine/traffic.cpp` takes its place: it joins what the lanes did and counts.
"""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .....ir.errors import BackendMissing
from .....ir.files import scratch_folder
from .kernels import QUICK, Given, Kernels, Launch
from .machine import USUAL, Order, machine, traffic_object
from .toolchain import ROOM, SHARED, compiler_word, is_clang, load, made
from .translate import translate

__all__ = ["Access", "Traffic", "counted"]

# Whole vectors stay whole; with lines, of functions that were inlined too.
FLAGS = (*QUICK, "-fno-tree-sra", "-g1", "-gdwarf-4", "-fsanitize=thread", "-DEMU_TRAFFIC")
LIBRARY = "traffic.so"
SOURCE = "source.cu"  # by which compilers know the lines of CUDA
FRAME = re.compile(r"^0x[0-9a-f]+$")


@dataclass(frozen=True, slots=True)
class Access:
    """What the warps do to `memory`, `global` or `shared`, in one `line` of the source, `times` altogether, with `nbytes` a lane at once.
    `cost` is in sectors of 32 bytes that are touched, or in cycles of shared memory; `least` is what the same bytes, each
    counted once an access, cost at best. Of the sectors `moved` come from beyond the multiprocessor's cache, if that holds all that a
    block loads, or go there.
    """

    line: int
    text: str
    memory: str
    is_store: bool
    nbytes: int
    times: int
    cost: int
    least: int
    moved: int

    @property
    def ratio(self) -> float:
        return self.cost / self.least

    def __str__(self) -> str:
        verb, unit = "stores" if self.is_store else "loads", "sectors" if self.memory == "global" else "cycles"
        return f"line {self.line} {verb} {self.nbytes} bytes, {self.memory}: {self.cost} {unit}, at least {self.least}: {self.text}"


@dataclass(frozen=True, slots=True)
class Traffic:
    """Of a launch of `kernel`, by line; `needed` sectors have all bytes that it loads and stores, each counted once."""

    kernel: str
    accesses: tuple[Access, ...]
    needed: int

    def of(self, memory: str) -> list[Access]:
        """The most expensive first."""
        return sorted((one for one in self.accesses if one.memory == memory), key=lambda one: -one.cost)

    def ratio(self, memory: str) -> float:
        """Cost over least of all that was asked of a memory; 1 where nothing was."""
        ones = self.of(memory)
        return sum(one.cost for one in ones) / sum(one.least for one in ones) if ones else 1.0

    @property
    def moved_ratio(self) -> float:
        """Sectors that pass the cache of a multiprocessor, over those that are needed."""
        return sum(one.moved for one in self.accesses) / self.needed if self.needed else 1.0


def counted(source: str, launch: Launch, arguments: Sequence[Given], order: Order = USUAL) -> Traffic:
    """Launch a kernel of CUDA source, and count.

    Raises: as `Kernels` and its `run`; BackendMissing where g++ or addr2line is not here.
    """
    code = _library(source)
    library = load(code, LIBRARY)
    library.emu_take_traffic.restype = ctypes.c_char_p
    Kernels(library).run(launch, arguments, order)
    needed, *said = library.emu_take_traffic().decode().splitlines()
    rows = [row.split() for row in said]
    lines = _lines(code, launch.kernel, [tuple(map(int, row[7:])) for row in rows])
    totals = defaultdict[tuple[int, str, bool, int], list[int]](lambda: [0, 0, 0, 0])
    for row, line in zip(rows, lines, strict=True):
        memory, verb, nbytes = row[:3]
        total = totals[line, "shared" if memory == "S" else "global", verb == "W", int(nbytes)]
        total[:] = (before + int(more) for before, more in zip(total, row[3:7], strict=True))
    texts = ["", *source.splitlines()]
    each = sorted(totals.items())
    found = (Access(line, texts[line].strip(), memory, stores, nbytes, *total) for (line, memory, stores, nbytes), total in each)
    return Traffic(launch.kernel, tuple(found), int(needed))


def _library(source: str) -> bytes:
    if is_clang():
        raise BackendMissing(f"memory accesses are counted in what g++ makes of a kernel, not {compiler_word()}; set CXX=g++")
    if shutil.which("addr2line") is None:
        raise BackendMissing("which line accesses memory is told by addr2line, which is not found; install binutils")
    machine()  # whose functions it calls
    kernels = made({"kernels.cpp": translate(source)}, ("-c", *FLAGS))
    objects = {"kernels.o": kernels, "traffic.o": traffic_object()}
    return made({}, (*SHARED, "-Wl,-Bsymbolic"), tuple(objects), objects)


def _lines(code: bytes, kernel: str, places: Sequence[tuple[int, ...]]) -> Iterator[int]:
    """For each place, calls from the innermost on, the innermost line of the kernel itself, 0 where there is none."""
    addresses = sorted({address - 1 for place in places for address in place if address > 0})  # calls return to what follows them
    frames = dict(zip(addresses, _frames(code, addresses), strict=True))
    for place in places:
        around = (frame for address in place for frame in frames.get(address - 1, ()))
        yield next((line for function, line in around if function == kernel), 0)


def _frames(code: bytes, addresses: Sequence[int]) -> list[list[tuple[str, int]]]:
    """For each address the functions that are inlined there, the innermost first, and their lines, 0 where they are not of the source."""
    with scratch_folder(ROOM) as folder:
        (folder / LIBRARY).write_bytes(code)
        command = ["addr2line", "-a", "-i", "-f", "-C", "-s", "-e", str(folder / LIBRARY)]
        given = "\n".join(map(hex, addresses))
        said = subprocess.run(command, input=given, capture_output=True, text=True, check=True).stdout.splitlines()
    found: list[list[tuple[str, int]]] = []
    words = iter(said)
    for word in words:
        if FRAME.match(word):
            found.append([])
            continue
        file, _, line = next(words).partition(":")
        number = re.match(r"\d+", line)
        found[-1].append((word.partition("(")[0], int(number[0]) if file == SOURCE and number else 0))
    return found
