"""What every kernel says of itself: the name of its kind, and what writes it. No TVM is needed for that."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, ParamSpec

__all__ = ["GpuKernel", "GpuKind", "gpu_kind"]

P = ParamSpec("P")
KEPT = 64  # PrimFuncs that each kind remembers


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


class GpuKind(Generic[P]):
    """A kind of kernel. Called with sizes it makes the PrimFunc of one, or finds it among those that it remembers."""

    def __init__(self, name: str, write: Callable[P, Any]) -> None:
        functools.update_wrapper(self, write)
        self.name = name
        self.remembered = functools.lru_cache(KEPT)(write)

    def __call__(self, *sizes: P.args, **named: P.kwargs) -> Any:
        return self.remembered(*sizes, **named)

    def of(self, *sizes: P.args, **named: P.kwargs) -> GpuKernel:
        """The kernel of these sizes, not made yet."""
        return GpuKernel(self.name, functools.partial(self, *sizes, **named))


def gpu_kind(name: str) -> Callable[[Callable[P, Any]], GpuKind[P]]:
    """`@gpu_kind("max pool")` above what makes a PrimFunc from sizes."""
    return lambda write: GpuKind(name, write)
