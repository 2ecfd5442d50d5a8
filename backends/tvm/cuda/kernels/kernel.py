"""What every kernel says of itself: the name of its kind, and what writes it. No TVM is needed for that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ParamSpec

from ...cpu.kernels.kernel import Kind

__all__ = ["GpuKernel", "gpu_kind"]

P = ParamSpec("P")


@dataclass(frozen=True)
class GpuKernel:
    """One kernel: what reports call it, how it is arranged, and `build`, which makes its PrimFunc.

    Where sums are split, it stores parts [splits,pixels of an image * n,C], and `finish` is the kernel that adds them up.
    """

    name: str
    build: Callable[[], Any]
    arranged: str = ""
    finish: GpuKernel | None = None
    splits: int = 1


def gpu_kind(name: str) -> Callable[[Callable[P, Any]], Kind[P, GpuKernel]]:
    """`@gpu_kind("max pool")` above what makes a PrimFunc from sizes."""
    return lambda write: Kind(name, write, GpuKernel)
