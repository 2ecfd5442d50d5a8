"""What nvcc makes of a kernel: registers and memory as ptxas tells them, and how often each kind of instruction stands in a cubin.

No disassembler is needed: an instruction of sm_80 and later has 16 bytes, and its lowest 12 bits say which it is. The numbers below, and
where sm_90 has the distance of a branch, were read off nvdisasm's output.
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
PRODUCTS = ("HMMA", "HGMMA")
BRANCH = 0x947
BYTES = 16
needs_nvcc = pytest.mark.skipif(shutil.which("nvcc") is None, reason="nvcc is not on PATH")


@dataclass(frozen=True)
class MachineCode:
    """Of one kernel. Units: bytes of `stack` and `spilled`; `counts` by the names above, of all and of the innermost loop that has
    products of tensor cores (sm_90); whether ptxas says that each wgmma waits for the one before, as where two branches ask for them.
    """

    registers: int
    stack: int
    spilled: int
    counts: Counter[str]
    loop: Counter[str]
    is_serialized: bool


def compiled(source: str, folder: Path, arch: str = "sm_90") -> dict[str, MachineCode]:
    """Kernels by name."""
    code, cubin = folder / "kernels.cu", folder / "kernels.cubin"
    code.write_text(source)
    command = ["nvcc", "-cubin", "-O3", "-arch", arch, "-std=c++17", "-Xptxas", "-v", "-o", str(cubin), str(code)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    instructions = _instructions(cubin.read_bytes())
    found: dict[str, MachineCode] = {}
    for part in done.stderr.split("Compiling entry function '")[1:]:
        name = part.partition("'")[0]
        stack, stored, loaded = map(int, _numbers(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", part))
        (registers,) = _numbers(r"Used (\d+) registers", part)
        is_serialized = re.search(rf"wgmma.mma_async instructions are serialized .* function '{name}'", done.stderr) is not None
        counts, loop = _counted(instructions[name]), _counted(_innermost(instructions[name]))
        found[name] = MachineCode(int(registers), stack, stored + loaded, counts, loop, is_serialized)
    return found


def _numbers(pattern: str, text: str) -> tuple[str, ...]:
    match = re.search(pattern, text)
    assert match is not None, text[:500]
    return match.groups()


def _instructions(cubin: bytes) -> dict[str, list[int]]:
    """Of each section .text.KERNEL of an ELF file of 64 bits."""
    (start,) = struct.unpack_from("<Q", cubin, 40)
    size, number, names = struct.unpack_from("<HHH", cubin, 58)
    sections = [struct.unpack_from("<IIQQQQ", cubin, start + i * size) for i in range(number)]
    table = sections[names][4]
    found: dict[str, list[int]] = {}
    for name, _, _, _, offset, length in sections:
        text = cubin[table + name :].partition(b"\0")[0].decode()
        if text.startswith(".text."):
            code = cubin[offset : offset + length]
            found[text.removeprefix(".text.")] = [int.from_bytes(code[at : at + BYTES], "little") for at in range(0, length, BYTES)]
    return found


def _counted(instructions: list[int]) -> Counter[str]:
    return Counter(_name(one) for one in instructions)


def _name(instruction: int) -> str:
    name = INSTRUCTIONS.get(instruction & 0xFFF, "other")
    return WIDTHS.get(instruction >> 73 & 7, name) if name == "LDG" else name


def _innermost(instructions: list[int]) -> list[int]:
    """From where a branch goes back to, up to the branch: the shortest that has a product, or none."""
    places = ((at + 1 + _distance(one), at + 1) for at, one in enumerate(instructions) if one & 0xFFF == BRANCH)
    loops = (instructions[start:end] for start, end in places if start < end - 1)
    return min((loop for loop in loops if any(_counted(loop)[name] for name in PRODUCTS)), key=len, default=list[int]())


def _distance(branch: int) -> int:
    """In instructions, from the one behind it: a number with a sign, in units of 4 bytes, whose lowest 8 bits are by themselves."""
    high = branch >> 34 & (1 << 48) - 1
    return ((high - (high >> 47 << 48) << 8) + (branch >> 16 & 0xFF)) * 4 // BYTES
