"""One launch under a sanitizer, in a process of its own: races, and memory that a kernel may not touch.

Kernels are compiled with the sanitizer's checks and the machine under them is not. Threads of a block are ordered by barriers alone, blocks
by nothing, so what two threads do to one place without either is a race, whichever came first this time.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .....ir.errors import BackendMissing, UsageError
from .....ir.files import scratch_folder
from .....ir.types import Array
from .kernels import Given, Launch
from .machine import USUAL, Order, machine_object
from .toolchain import ROOM, made
from .translate import translate

__all__ = ["SANITIZERS", "Findings", "sanitized"]

SANITIZERS = ("thread", "address,undefined")
FINDING = re.compile(r"^(?:SUMMARY: (.*)|(\S+: runtime error: .*)|fault: (.*))$", re.M)
# Memory is read as whatever type a kernel reads it; what it computes in floats may be infinite.
FLAGS = ("-g1", "-O1", "-fno-omit-frame-pointer", "-fno-sanitize-recover=undefined")
ENVIRONMENT = {
    "TSAN_OPTIONS": "exitcode=66 report_signal_unsafe=0 history_size=4",
    "ASAN_OPTIONS": "exitcode=67 detect_stack_use_after_return=0 detect_leaks=0",
    "UBSAN_OPTIONS": "halt_on_error=1 exitcode=68",
}
MISPLACED = "unexpected memory mapping"  # ThreadSanitizer, where the system scatters memory more than it knows of
LONGEST = 600  # seconds


@dataclass(frozen=True)
class Findings:
    """What was found, a line each, such as `ThreadSanitizer: data race source.cu:12 in f`; `arrays` are those of the arguments afterwards,
    where the launch came to its end; `text` is all that was said.
    """

    lines: tuple[str, ...]
    arrays: list[Array]
    text: str


def sanitized(source: str, launch: Launch, arguments: Sequence[Given], sanitizer: str = "thread", order: Order = USUAL) -> Findings:
    """Launch a kernel of CUDA source under one of SANITIZERS.

    Raises: as `made`; UsageError for a launch that the source does not have; BackendMissing where the sanitizer does not work here.
    """
    program = _program(source, sanitizer)
    with scratch_folder(ROOM) as folder:
        runner = folder / "runner"
        runner.write_bytes(program)
        runner.chmod(0o700)
        paths = [folder / f"argument{i}" for i in range(len(arguments))]
        for path, argument in zip(paths, arguments, strict=True):
            path.write_bytes(np.ascontiguousarray(argument).tobytes())
        kinds = ["array" if isinstance(argument, np.ndarray) else "number" for argument in arguments]
        given = [word for kind, path in zip(kinds, paths, strict=True) for word in (kind, str(path))]
        choices = (order.seed, int(order.shuffled), int(order.late), int(order.late_products))
        numbers = [*launch.grid, *launch.block, launch.shared, *choices]
        done = _run([str(runner), launch.kernel, *map(str, numbers), *given])
        arrays = [_after(path, like) for path, like in zip(paths, arguments, strict=True) if isinstance(like, np.ndarray)]
    lines = tuple(dict.fromkeys("".join(groups) for groups in FINDING.findall(done.stderr)))
    if done.returncode and not lines:
        raise UsageError(f"the launch of {launch.kernel} under {sanitizer} ends with {done.returncode}: {done.stderr.strip()[:300]}")
    return Findings(lines, [array for array in arrays if array is not None], done.stderr)


def _program(source: str, sanitizer: str) -> bytes:
    if sanitizer not in SANITIZERS:
        raise UsageError(f"unknown sanitizer '{sanitizer}'; known are {' and '.join(SANITIZERS)}")
    texts = {"kernels.cpp": translate(source)}
    return made(texts, (*FLAGS, f"-fsanitize={sanitizer}"), ("machine.o",), {"machine.o": machine_object()})


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Again with memory in its usual places, where the sanitizer wants that.

    Raises: BackendMissing where that does not help.
    """
    environment = {**os.environ, **ENVIRONMENT}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=LONGEST, check=False)
    if MISPLACED in done.stderr and (setarch := shutil.which("setarch")):
        command = [setarch, "-R", *command]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=LONGEST, check=False)
    if MISPLACED in done.stderr:
        raise BackendMissing("ThreadSanitizer cannot run here: the system scatters memory more than it knows of (vm.mmap_rnd_bits)")
    return done


def _after(path: Path, like: Array) -> Array | None:
    after = path.with_name(f"{path.name}.after")
    return np.frombuffer(after.read_bytes(), like.dtype).reshape(like.shape) if after.is_file() else None
