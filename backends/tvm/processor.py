"""What the rules know of a processor: its vectors, and how its arithmetic compares with memory. No TVM is needed."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

__all__ = ["AVX2", "AVX512", "NEON", "SSE", "ZEN", "Processor", "processor_of"]


@dataclass(frozen=True, slots=True)
class Processor:
    """Vectors of `lanes` floats. While a byte comes from memory, `macs_per_byte` multiply-adds can be done."""

    lanes: int
    macs_per_byte: float


AVX512 = Processor(16, 7.5)  # measured on Emerald Rapids: 197 GMAC/s and 26 GB/s on two cores
ZEN = replace(AVX512, macs_per_byte=4)  # one multiply-add of 16 lanes in a cycle, not two; measured: 117 GMAC/s and 30 GB/s
AVX2, NEON, SSE = Processor(8, 4), Processor(4, 4), Processor(4, 2)  # not measured: by the width of what they multiply in a cycle
NAMED = {"znver4": ZEN}  # LLVM's names of processors that differ from others of their instructions
INSTRUCTIONS = {"avx512f": AVX512, "avx2": AVX2, "neon": NEON}  # the first that a processor has


def processor_of(mcpu: str, features: Collection[str]) -> Processor:
    """By LLVM's name, or else by its vector instructions."""
    return NAMED.get(mcpu) or next((kind for feature, kind in INSTRUCTIONS.items() if feature in features), SSE)
