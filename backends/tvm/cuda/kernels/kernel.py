"""What every kernel says of itself: the name of its kind, and what writes it. No TVM is needed for that."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ParamSpec

from ...cpu.kernels.kernel import Kind
from .layout import Stored
from .writer import DeviceFunc

__all__ = ["VIEW", "GpuKernel", "gpu_kind"]

P = ParamSpec("P")
VIEW = "view"  # in the place of a kernel: nothing runs


@dataclass(frozen=True)
class GpuKernel:
    """One kernel: what reports call it, how it is arranged, and `build`, which makes its PrimFunc, whose result is stored as `stored` says.

    Where sums are split, it stores parts [splits,pixels of an image * n,C], and `finish` is the kernel that adds them up.
    """

    name: str
    build: Callable[..., Any]
    arranged: str = ""
    finish: GpuKernel | None = None
    splits: int = 1
    stored: Stored | None = None

    def storing(self, stored: Stored) -> GpuKernel:
        """The same, with its result stored so, besides what was said before. A view stores nothing: that is a ValueError."""
        if self.name == VIEW:
            raise ValueError(f"a view has no kernel that could store its result as {stored}")
        if self.finish is not None:
            return replace(self, finish=self.finish.storing(stored))
        return replace(self, stored=stored if self.stored is None else self.stored.then(stored))

    def written(self) -> Any:
        """Its PrimFunc."""
        return self.build() if self.stored is None else self.build(stored=self.stored)


def gpu_kind(name: str) -> Callable[[Callable[P, DeviceFunc]], Kind[P, GpuKernel]]:
    """`@gpu_kind("max pool")` above what describes a kernel of some sizes."""

    def kind(describe: Callable[P, DeviceFunc]) -> Kind[P, GpuKernel]:
        @functools.wraps(describe)
        def write(*sizes: Any, stored: Stored | None = None, **named: Any) -> Any:
            return describe(*sizes, **named).written(stored)

        return Kind(name, write, GpuKernel)

    return kind
