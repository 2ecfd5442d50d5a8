"""What the rules know of a processor: its vector registers, and how its arithmetic compares with memory. No TVM is needed."""

from __future__ import annotations

import functools
import math
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

__all__ = [
    "AVX2",
    "AVX512",
    "INSTRUCTION_SETS",
    "NEON",
    "SSE",
    "ZEN",
    "ZEN_5",
    "Processor",
    "cpu_text",
    "named_instruction_sets",
    "processor_of",
]


@dataclass(frozen=True, slots=True)
class Processor:
    """So many vector registers of `lanes` floats. While a byte comes from memory, `macs_per_byte` multiply-adds can be done.

    From `winograd_4` rows and columns on, tiles of 4x4 results beat those of 2x2: of several images, and of one alone, which has all their
    weights to pay for, where these are at most `winograd_4_weights` bytes. From `winograd_4_alone` on they do for any.

    Winograd's stages follow each other for every run of tiles, rather than for many, where the weights that each run reads are at most
    `fused_weights` bytes, and what would otherwise lie between the stages is at least `fused_share` times as many.

    `quarters` tells whether large products take seven quarters in place of eight: it was measured where they do. `halves`, whether half a
    vector takes half of the time.
    """

    registers: int
    lanes: int
    macs_per_byte: float
    winograd_4: int = 10  # measured on AVX-512, 16 to 1024 channels
    winograd_4_alone: int = 15  # measured on Emerald Rapids
    winograd_4_weights: float = math.inf
    fused_weights: int = 5 << 18  # that a core's cache of 1 MiB or more serves fast enough
    fused_share: float = 4
    quarters: bool = False
    halves: bool = False

    @property
    def floats(self) -> int:
        """That all its vector registers hold."""
        return self.registers * self.lanes

    def sums(self, floats: int) -> int:
        """How many sums of so many floats each a product keeps in registers, beside as many floats of weights and what multiplies them.

        One more, and sums go to the stack and back for each product, which then takes two to three times as long. At least 1.
        """
        return max(1, (self.floats - self.lanes) // floats - 1)


# Measured on Emerald Rapids: 197 GMAC/s and 26 GB/s on two cores. Tiles of 2x2, for 64 to 512 channels, took 0.7 to 1.1 of the time up to
# 14 rows (at 14, 0.82 to 0.88), and 1.07 to 1.5 of it from 15 on.
AVX512 = Processor(32, 16, 7.5, winograd_4_weights=0)
# One multiply-add of 16 lanes in a cycle, not two; measured: 117 GMAC/s and 30 GB/s. Its 32 MiB of common cache serve some MiB of weights
# fast enough: in networks, fused stages took 0.94 of the time for 128 channels @112, 0.8 to 0.89 for eight images of 128 @28; 1.05 for 256
# channels @56, whose weights are 9 MiB, and 1.14 for one image of 128 @28.
ZEN = Processor(32, 16, 4, fused_weights=5 << 20, fused_share=1.6, quarters=True, halves=True)
# Two multiply-adds a cycle: 274 GMAC/s and 42 GB/s. In networks, at 14 rows, tiles of 4x4 took 0.9 to 0.97 of the time of 2x2 for 256
# channels, whose weights are 9 MiB, and 1.0 to 1.17 for 512, with 36 MiB. What it shares with Zen 4 was not measured again but for 64 to
# 256 channels @56 and @112.
ZEN_5 = replace(ZEN, macs_per_byte=6.5, winograd_4_weights=10 << 20, quarters=False, halves=False)
# how these compare with memory was not measured: by the width of what they multiply in a cycle
AVX2, NEON, SSE = Processor(16, 8, 4), Processor(32, 4, 4), Processor(16, 4, 2)
NAMED = {"znver4": ZEN, "znver5": ZEN_5}  # LLVM's names of processors that differ from others of their instructions
# LLVM's names of what it uses unasked where a processor has it: beyond what all of x86-64 and AArch64 have, all that can be told of a
# library's needs. What only intrinsics or atomics use (AES, SHA, AMX, LSE) is no part of it. c/processor.h can ask for each of them.
INSTRUCTION_SETS = frozenset(
    (
        *("sse3", "ssse3", "sse4.1", "sse4.2", "sse4a", "popcnt", "lzcnt", "bmi", "bmi2", "tbm", "movbe", "pclmul", "gfni"),
        *("avx", "f16c", "fma", "fma4", "xop", "avx2", "vpclmulqdq"),
        *("avxvnni", "avxifma", "avxneconvert", "avxvnniint8", "avxvnniint16"),
        *("avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl", "avx512ifma", "avx512vbmi", "avx512vbmi2", "avx512vnni"),
        *("avx512bitalg", "avx512vpopcntdq", "avx512bf16", "avx512fp16", "avx10.2", "egpr"),
        *("neon", "rdm", "fullfp16", "dotprod", "complxnum", "bf16", "i8mm", "sve", "sve2"),
    )
)
# Linux's names of some, where they differ by more than dots and underscores.
NAMED_BY_LINUX = {
    "pni": "sse3",
    "abm": "lzcnt",
    "bmi1": "bmi",
    "pclmulqdq": "pclmul",
    "asimd": "neon",
    "asimdhp": "fullfp16",
    "asimdrdm": "rdm",
    "asimddp": "dotprod",
    "fcma": "complxnum",
}
PLAIN = str.maketrans("", "", "._")
CPUINFO = Path("/proc/cpuinfo")
INSTRUCTIONS = {"avx512f": AVX512, "avx2": AVX2, "neon": NEON}  # the first that a processor has


@functools.cache
def named_instruction_sets(text: str) -> frozenset[str]:
    """Those of INSTRUCTION_SETS that every processor has by what Linux says of them, the `text`; there may be more."""
    lines = [line for line in text.splitlines() if line.partition(":")[0].strip() in ("flags", "Features")]
    plain = {name.translate(PLAIN): name for name in INSTRUCTION_SETS}
    said = [set(line.partition(":")[2].split()) for line in lines]
    named = set[str].intersection(*said) if said else set[str]()
    return frozenset(plain[name] for word in named if (name := NAMED_BY_LINUX.get(word, word).translate(PLAIN)) in plain)


def cpu_text() -> str:
    """What Linux says of the processors here; empty elsewhere."""
    try:
        return CPUINFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def processor_of(mcpu: str, features: Collection[str]) -> Processor:
    """By LLVM's name, or else by its vector instructions."""
    return NAMED.get(mcpu) or next((kind for feature, kind in INSTRUCTIONS.items() if feature in features), SSE)
