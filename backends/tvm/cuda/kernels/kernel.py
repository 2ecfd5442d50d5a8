"""What every kernel says of itself: the name of its kind, and what writes it. No TVM is needed for that."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ParamSpec

from ...cpu.kernels.kernel import Kind
from .layout import Stored
from .writer import DeviceFunc

__all__ = ["GpuKernel", "gpu_kind"]

P = ParamSpec("P")


@dataclass(frozen=True)
class GpuKernel:
    """One kernel: what reports call it, how it is arranged, and `build`, which makes its PrimFunc.

    Where sums are split, it stores parts [splits,pixels of an image * n,C], and `finish` is the kernel that adds them up.
    """

    name: str
    build: Callable[..., Any]
    arranged: str = ""
    finish: GpuKernel | None = None
    splits: int = 1

    def storing(self, stored: Stored) -> GpuKernel:
        """The same, with its result stored so."""
        if self.finish is not None:
            return replace(self, finish=self.finish.storing(stored))
        return replace(self, build=functools.partial(self.build, stored=stored))


def gpu_kind(name: str) -> Callable[[Callable[P, DeviceFunc]], Kind[P, GpuKernel]]:
    """`@gpu_kind("max pool")` above what describes a kernel of some sizes."""

    def kind(describe: Callable[P, DeviceFunc]) -> Kind[P, GpuKernel]:
        @functools.wraps(describe)
        def write(*sizes: Any, stored: Stored | None = None, **named: Any) -> Any:
            return describe(*sizes, **named).written(stored)

        return Kind(name, write, GpuKernel)

    return kind
