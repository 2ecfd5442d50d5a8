"""The C++ compiler at hand: what it makes is kept in the cache of kernels, by the hash of the sources and of the compiler."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from .....ir.errors import BackendMissing, UsageError
from .....ir.files import scratch_folder
from ...host import EMULATED_GPU, forbids_code
from ...store.cache import usable_cache

__all__ = ["MACHINE", "ROOM", "SHARED", "compiler", "compiler_word", "is_clang", "load", "machine_sources", "made"]

MACHINE = Path(__file__).parent / "machine"
COMPILERS = ("g++", "clang++", "c++")
# No float is computed twice as exactly as it says; memory is read as whatever type a kernel reads it.
ROUNDING = ("-ffp-contract=off", "-fno-strict-aliasing")
UNREAD = "-D_GLIBCXX_BITS_SPECFUN_H"  # Bessel functions and the like, which nobody calls here: half of what GCC's <cmath> takes to be read
ALWAYS = ("-std=c++17", "-w", "-march=native", *ROUNDING, UNREAD, "-fPIC", f"-I{MACHINE / 'include'}")
SHARED = ("-shared",)
FORMAT = "convc emulator 1"
ROOM = 64 << 20  # bytes for the compiler's files
NOTHING: Mapping[str, bytes] = MappingProxyType({})


@functools.cache
def compiler() -> str:
    """The command that compiles C++.

    Raises: BackendMissing without one, and on processors and systems that fibers are not written for.
    """
    if platform.machine() not in ("x86_64", "AMD64") or sys.platform != "linux":
        raise BackendMissing(f"a GPU is emulated on x86-64 under Linux, not on {platform.machine()} under {platform.system()}")
    chosen = os.environ.get("CXX")
    found = next(filter(None, map(shutil.which, [chosen] if chosen else COMPILERS)), None)
    if found is None:
        why = f"{chosen} is not found" if chosen else "none is here"
        raise BackendMissing(f"emulating a GPU takes a C++ compiler, and {why}; install g++ or clang++, or set CXX")
    return found


def compiler_word() -> str:
    """For people: which one.

    Raises: as `compiler`.
    """
    return Path(compiler()).name


def is_clang() -> bool:
    """Whether it is one.

    Raises: as `compiler`.
    """
    return "__clang__" in _identity(compiler())


def machine_sources() -> Mapping[str, Path]:
    """Those of the emulated device, by name."""
    return {path.stem: path for path in sorted(MACHINE.glob("*.cpp"))}


def made(texts: Mapping[str, str], flags: Sequence[str], links: Sequence[str] = (), objects: Mapping[str, bytes] = NOTHING) -> bytes:
    """What the compiler makes of sources, by their names, and of objects, which `links` name: from the cache if it made it before.

    Raises: as `compiler`; BackendMissing with the compiler's words where it refuses.
    """
    key = _key(texts, (*flags, *links), objects)
    cache, _ = usable_cache()
    if cache is not None and (kept := cache.get(key)) is not None:
        return kept
    code = _compiled(texts, flags, links, objects)
    if cache is not None:
        cache.put(key, code)
        cache.trim()
    return code


def load(code: bytes, name: str, mode: int = ctypes.RTLD_LOCAL) -> ctypes.CDLL:
    """A library that lies in memory.

    Raises: UsageError where temporary files cannot be executed.
    """
    with scratch_folder(ROOM) as folder:
        path = folder / name
        path.write_bytes(code)
        try:
            return ctypes.CDLL(str(path), mode=mode)
        except OSError as error:
            if forbids_code(folder):
                raise UsageError(f"what emulates a GPU is loaded from '{folder.parent}', which is mounted noexec; set TMPDIR") from error
            raise BackendMissing(f"what emulates a GPU cannot be loaded: {error}") from error


def _key(texts: Mapping[str, str], flags: Sequence[str], objects: Mapping[str, bytes]) -> str:
    headers = {path.name: path.read_text(encoding="utf-8") for path in sorted(MACHINE.rglob("*.h"))}
    parts_given = [hashlib.sha256(code).hexdigest() for code in objects.values()]
    plain = [flag for flag in (*ALWAYS, *flags) if not flag.startswith("-I")]
    parts = [
        FORMAT,
        EMULATED_GPU,
        _identity(compiler()),
        *plain,
        *parts_given,
        *(f"{name}\n{text}" for name, text in (headers | dict(texts)).items()),
    ]
    return f"emulated_{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:32]}"


@functools.cache
def _identity(command: str) -> str:
    """Its release and the processor that it compiles for, as its macros tell."""
    done = subprocess.run([command, *ALWAYS, "-dM", "-E", "-x", "c++", os.devnull], capture_output=True, text=True, check=False)
    return done.stdout


def _compiled(texts: Mapping[str, str], flags: Sequence[str], links: Sequence[str], objects: Mapping[str, bytes]) -> bytes:
    with scratch_folder(ROOM) as folder:
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
        for name, code in objects.items():
            (folder / name).write_bytes(code)
        sources = [name for name in texts if name.endswith(".cpp")]
        command = [compiler(), *ALWAYS, f"-I{MACHINE}", *flags, *sources, "-o", "made", *links]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            said = [line for line in done.stderr.splitlines() if "error" in line] or done.stderr.splitlines() or ["no reason given"]
            raise BackendMissing(f"{compiler_word()} cannot compile what emulates a GPU: {said[0][:300]}")
        return (folder / "made").read_bytes()
