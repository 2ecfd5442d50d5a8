"""Kernels that LLVM must not vectorize by itself: those whose index wraps around at a power of two.

In `w[8*o + j % 4]` its vectorizer may read on past w[8*o + 3] as j rises: it assumes that 8*o + j does not overflow in 32 bits, checks it,
and takes the same of j in two bits for implied (llvm-project issue 191382, SCEVWrapPredicate::implies; TVM 0.27 brings an LLVM 22 that has
the fault). Which loops it vectorizes is a matter of what a gather costs, so results are wrong for some sizes, on some processors.
"""

from __future__ import annotations

import importlib
from typing import Any

from ..host import tvm

__all__ = ["compiling_target"]

UNVECTORIZED = 1  # LLVM's highest level without vectors of its own; what a kernel says is vector code is so at every level


def compiling_target(function: Any, target: Any) -> Any:
    """The target, at a level of LLVM that compiles this kernel as it is written."""
    if not (_wraps(function) and _wraps(_simplified(function, target))):
        return target
    return tvm().target.Target({**target.export(), "opt-level": UNVECTORIZED})


def _wraps(function: Any) -> bool:
    """Whether it has a remainder by a power of two. Most are in an index, and those in a condition may become part of one."""
    tirx, ffi = tvm().tirx, importlib.import_module("tvm_ffi")
    remainders: list[Any] = []
    ffi.structural_walk(function.body, ((tirx.FloorMod, tirx.Mod), remainders.append))
    divisors = [remainder.b.value for remainder in remainders if isinstance(remainder.b, tirx.IntImm)]
    return any(divisor > 1 and divisor & (divisor - 1) == 0 for divisor in divisors)


def _simplified(function: Any, target: Any) -> Any:
    """With flat indices, where most remainders go: of a reshape those that take a flat index apart, of loops those they never reach."""
    host = tvm()
    blocks, plain = host.s_tir.transform, host.tirx.transform
    steps = [
        plain.BindTarget(target),
        blocks.LowerInitBlock(),
        blocks.PlanAndUpdateBufferAllocationLocation(),
        blocks.ConvertBlocksToOpaque(),
        blocks.StmtSimplify(),
        blocks.LowerOpaqueBlock(),
        plain.FlattenBuffer(),
        plain.StmtSimplify(),
    ]
    module = host.IRModule({"kernel": function.with_attr("global_symbol", "kernel")})
    return host.transform.Sequential(steps)(module)["kernel"]
