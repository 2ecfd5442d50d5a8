"""What every kernel says of itself: the name of its kind, what writes it and, where it can be tuned, its forms. No TVM is needed for that.

Forms are orders of a kernel's loops in which it computes the same from the same packed weights; a rule picks one, or a tuner. Every sum
keeps its order, so a form changes no digit of a result.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Generic, ParamSpec, TypeVar

from ...processor import Processor
from .epilogue import Steps
from .layout import LANES

__all__ = ["CpuKernel", "Kind", "Tunable", "TunedForms", "by", "fits_registers", "form_of", "kind", "then"]

P = ParamSpec("P")
K = TypeVar("K")  # what describes a kernel
TunedForms = Mapping[str, Mapping[str, int]]  # that tuning chose, as their fields, by the kernels' keys
KEPT = 256  # PrimFuncs that each kind remembers: more than it makes for a network, whereas a tuner makes thousands, and a service no end
FEWEST_SUMS, MOST_SUMS = 4, 28  # of LANES floats in a register tile, where as many fit the registers


@dataclass(frozen=True)
class Tunable:
    """A kernel as a tuner sees it: `key` says what it computes, `build` makes the PrimFunc of a form, None for the rule's.

    Units: `macs` multiply-adds that it executes, `bytes` that it must move; `weights` is the place of the weights among its arguments.
    """

    key: str
    macs: int
    bytes: int
    weights: int
    forms: Callable[[], Sequence[Any]]
    build: Callable[[Any], Any]


@dataclass(frozen=True)
class CpuKernel:
    """One kernel: what reports call it, and `build`, which makes its scheduled PrimFunc.

    `form` is what tuning chose for `tunable`, None for the rule's. `tile` is that of a Winograd convolution: results of a tile along an
    axis, 0 for any other kernel. One that computes some results `twice` reads what it reads besides again, so nothing is written over that;
    over the first `over` of its operands it may be.
    """

    name: str
    build: Callable[[], Any]
    tunable: Tunable | None = None
    form: Any = None
    tile: int = 0
    twice: bool = False
    over: int = 0


class Kind(Generic[P, K]):
    """A kind of kernel. Called with sizes it makes the PrimFunc of one, or finds it among those remembered; `record` describes one."""

    def __init__(self, name: str, write: Callable[P, Any], record: Callable[[str, Callable[[], Any]], K]) -> None:
        functools.update_wrapper(self, write)
        self.name = name
        self.record = record
        self.remembered = functools.lru_cache(KEPT)(write)

    def __call__(self, *sizes: P.args, **named: P.kwargs) -> Any:
        return self.remembered(*sizes, **named)

    def of(self, *sizes: P.args, **named: P.kwargs) -> K:
        """The kernel of these sizes, not made yet."""
        return self.record(self.name, functools.partial(self, *sizes, **named))


def kind(name: str) -> Callable[[Callable[P, Any]], Kind[P, CpuKernel]]:
    """`@kind("max pool")` above what makes a PrimFunc from sizes."""
    return lambda write: Kind(name, write, CpuKernel)


def form_of(kernel: Tunable, tuned: TunedForms) -> Any:
    """The form that tuning chose, as its fields; None where it chose none, or one that this kernel does not have."""
    fields = tuned.get(kernel.key)
    return next((form for form in kernel.forms() if asdict(form) == fields), None) if fields else None


def fits_registers(sums: int, all_sums: int, processor: Processor) -> bool:
    """Whether a register tile is neither too large nor, unless the result is, so small that it waits for itself."""
    most = min(MOST_SUMS, (processor.floats - processor.lanes) // LANES)
    return min(FEWEST_SUMS, all_sums, most // 2) <= sums <= most


def by(numbers: Sequence[int]) -> str:
    """In a key: 3x3."""
    return "x".join(map(str, numbers))


def then(steps: Steps) -> str:
    """In a key, what follows a kernel within it."""
    return "".join(f", {step.name}" for step in steps)
