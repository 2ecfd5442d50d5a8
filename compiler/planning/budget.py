"""What a plan may cost, and in which units."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ...passes.bottlenecks.forms import Price

__all__ = ["COSTS", "Budget"]

# A machine of 2 AVX-512 cores, for the estimate; only the ratio between the two matters.
MACS_PER_SECOND, BYTES_PER_SECOND = 50e9, 10e9

COSTS: dict[str, Callable[[Price], float]] = {
    "macs": lambda p: p.macs,
    "params": lambda p: p.params,
    # nanoseconds: a product waits for its arithmetic, and for memory
    "latency": lambda p: 1e9 * (p.macs / MACS_PER_SECOND + p.nbytes / BYTES_PER_SECOND),
}


@dataclass(frozen=True, slots=True)
class Budget:
    """`share` of the network's cost, one of COSTS, that is left; or, for "error", the relative output error allowed at least macs."""

    kind: str
    share: float

    @property
    def cost(self) -> str:
        return "macs" if self.kind == "error" else self.kind
