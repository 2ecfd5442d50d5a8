"""How many multiply-adds a machine does at most. Others' work makes a measurement too low and nothing makes it too high, so the greatest
counts, and whatever seems to be faster has it measured again.
"""

from __future__ import annotations

import threading

from ....ir.limits import MachineLimits
from ..cpu.kernels.kernel import Tunable
from .timing import Bench

__all__ = ["MachinePeak"]


class MachinePeak:
    """Of machines of one kind that compute on so many `threads`; unit of `macs`: multiply-adds a millisecond, 0 before any was seen."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.macs = 0.0
        self._lock = threading.Lock()  # workers measure it at once

    def see(self, macs: float) -> None:
        """So many were done in a millisecond."""
        with self._lock:
            self.macs = max(self.macs, macs)

    def measure(self, bench: Bench) -> None:
        self.see(bench.peak(self.threads))

    def least(self, kernel: Tunable) -> float:
        """Milliseconds, below which no form of it can be."""
        return 1e3 * MachineLimits(2e3 * self.macs).least(2 * kernel.macs) if self.macs else 0.0
