"""What nothing that computes here can beat: the multiply-adds of the registers and the bytes of memory, as they were measured on it.

Who seems to be faster was not timed rightly, or the limit was measured while others had the machine: both are measured again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

__all__ = ["MachineLimits", "cache_bytes"]

CLOCKS = 1.1  # what runs of one kernel differ by as clocks do
MOST_SAVED = 4.0  # F(4x4) of Winograd takes a quarter of the products, and no kernel saves more
UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
CPUS = Path("/sys/devices/system/cpu")


@dataclass(frozen=True, slots=True)
class MachineLimits:
    """Units: `flops` floating-point operations a second at most, `bandwidth` bytes a second from memory, if that was measured; `cache`
    bytes of the caches together, which need not come from there again.
    """

    flops: float
    bandwidth: float | None = None
    cache: float = math.inf

    def least(self, flops: float, nbytes: float = 0, saved: float = 1.0) -> float:
        """Seconds below which nothing does so many operations, of which an algorithm may have `saved` a factor, on so many bytes."""
        moved = max(0.0, nbytes - self.cache) / self.bandwidth if self.bandwidth else 0.0
        return max(flops / saved / self.flops, moved) / CLOCKS


def cache_bytes(cpus: Path = CPUS) -> float:
    """Of all caches of the last level together; infinite where the system does not say."""
    found: dict[tuple[int, str], int] = {}
    try:
        for index in cpus.glob("cpu[0-9]*/cache/index*"):
            level, size, shared = ((index / name).read_text().strip() for name in ("level", "size", "shared_cpu_list"))
            found[int(level), shared] = int(size.rstrip("KMG")) * UNITS.get(size[-1:], 1)
    except (OSError, ValueError):
        return math.inf
    last = max((level for level, _ in found), default=0)
    return sum(size for (level, _), size in found.items() if level == last) or math.inf
