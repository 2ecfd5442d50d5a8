"""What nvcc makes of a kernel: registers and memory as ptxas tells them, and how often each kind of instruction stands in a cubin.

No disassembler is needed: an instruction of sm_80 and later has 16 bytes, and its lowest 12 bits say which it is. The numbers below were
read off nvdisasm's output.
"""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

INSTRUCTIONS = {0x23C: "HMMA", 0x83B: "LDSM", 0xFAE: "LDGSTS", 0xB1D: "BAR", 0x387: "STL", 0x983: "LDL", 0x9F0: "HGMMA", 0x981: "LDG"}
WIDTHS = {4: "LDG.32", 5: "LDG.64", 6: "LDG.128"}  # of loads, by bits 73 to 75
BYTES = 16
needs_nvcc = pytest.mark.skipif(shutil.which("nvcc") is None, reason="nvcc is not on PATH")


@dataclass(frozen=True)
class MachineCode:
    """Of one kernel. Units: bytes of `stack` and `spilled`; `counts` by the names above; whether ptxas says that each wgmma waits for the one
    before, as where two branches ask for them.
    """

    registers: int
    stack: int
    spilled: int
    counts: Counter[str]
    is_serialized: bool


def compiled(source: str, folder: Path, arch: str = "sm_90") -> dict[str, MachineCode]:
    """Kernels by name."""
    code, cubin = folder / "kernels.cu", folder / "kernels.cubin"
    code.write_text(source)
    command = ["nvcc", "-cubin", "-O3", "-arch", arch, "-std=c++17", "-Xptxas", "-v", "-o", str(cubin), str(code)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    counts = _counts(cubin.read_bytes())
    found: dict[str, MachineCode] = {}
    for part in done.stderr.split("Compiling entry function '")[1:]:
        name = part.partition("'")[0]
        stack, stored, loaded = map(int, _numbers(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", part))
        (registers,) = _numbers(r"Used (\d+) registers", part)
        is_serialized = re.search(rf"wgmma.mma_async instructions are serialized .* function '{name}'", done.stderr) is not None
        found[name] = MachineCode(int(registers), stack, stored + loaded, counts[name], is_serialized)
    return found


def _numbers(pattern: str, text: str) -> tuple[str, ...]:
    match = re.search(pattern, text)
    assert match is not None, text[:500]
    return match.groups()


def _counts(cubin: bytes) -> dict[str, Counter[str]]:
    """Of each section .text.KERNEL of an ELF file of 64 bits."""
    (start,) = struct.unpack_from("<Q", cubin, 40)
    size, number, names = struct.unpack_from("<HHH", cubin, 58)
    sections = [struct.unpack_from("<IIQQQQ", cubin, start + i * size) for i in range(number)]
    table = sections[names][4]
    found: dict[str, Counter[str]] = {}
    for name, _, _, _, offset, length in sections:
        text = cubin[table + name :].partition(b"\0")[0].decode()
        if text.startswith(".text."):
            words = (struct.unpack_from("<QQ", cubin, at) for at in range(offset, offset + length, BYTES))
            found[text.removeprefix(".text.")] = Counter(_name(low, high) for low, high in words)
    return found


def _name(low: int, high: int) -> str:
    name = INSTRUCTIONS.get(low & 0xFFF, "other")
    return WIDTHS.get(high >> 9 & 7, name) if name == "LDG" else name
