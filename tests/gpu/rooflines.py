"""Kernels of a compiled network with their times, and what each could reach: by its multiply-adds, on tensor cores or on ordinary units, and
by the bytes that it must move.
"""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from convc.backends.tvm.cpu.laid import STOCK
from convc.backends.tvm.cuda.kernels.implicit_gemm import convolution
from convc.backends.tvm.cuda.kernels.kernel import VIEW
from convc.backends.tvm.cuda.kernels.transposed import gpu_transposed
from convc.backends.tvm.cuda.plan import ENTER, LEAVE, GpuCall, GpuPlan
from convc.ir.graph import Node
from convc.ir.types import DTYPES

__all__ = ["KernelShare", "kernel_shares"]

ON_TENSOR_CORES = {convolution.name, gpu_transposed.name}


@dataclass(frozen=True, slots=True)
class KernelShare:
    """A call of the plan, or a kernel of stock rows, of which it is not known what it does. Units: `milliseconds` measured, `least` possible."""

    kernel: str
    nodes: str
    milliseconds: float
    least: float

    @property
    def share(self) -> float:
        """Of its roofline."""
        return self.least / self.milliseconds if self.milliseconds else 1.0


def kernel_shares(
    plan: GpuPlan, times: Sequence[tuple[str, Sequence[float]]], macs: float, nbytes: float, ordinary: float
) -> list[KernelShare]:
    """In order, for kernels launched by functions of these names. Units: `macs` of tensor cores, `ordinary` ones in float32 and `nbytes` a
    second, 0 where that is not known; `times` in milliseconds.
    """
    macs, nbytes, ordinary = (rate or math.inf for rate in (macs, nbytes, ordinary))
    ours = [call for call in plan.calls if call.kernel not in (STOCK, VIEW)]
    found: list[KernelShare] = []
    seen = [(name, statistics.median(taken)) for name, taken in times]
    while seen:
        (name, taken), *seen = seen
        if not ours or not _is_of(name, ours[0]):
            found.append(KernelShare(name, "", taken, 0.0))
            continue
        call, *ours = ours
        if call.work is not None and call.work.kernel.finish is not None:  # the sum of parts is its second kernel
            (_, rest), *seen = seen
            taken += rest
        covers = call.work.covers if call.work else (call.node,)
        rate = macs if call.kernel in ON_TENSOR_CORES else ordinary
        least = 1e3 * max(sum(map(_macs, covers)) / rate, _moved(call) / nbytes)
        found.append(KernelShare(call.kernel, " ".join(node.name for node in covers), taken, least))
    if ours:
        raise ValueError(f"no kernel was seen for {ours[0].kernel} of {ours[0].node.name}")
    return found


def _is_of(name: str, call: GpuCall) -> bool:
    """Whether a function is a call's kernel, by how lower.py names them."""
    return re.fullmatch(re.sub(r"\W", "_", call.kernel) + r"\d+", name) is not None


def _macs(node: Node) -> int:
    macs = node.kind.cost(node.op, tuple(operand.typed for operand in node.inputs), node.typed).macs
    return macs if isinstance(macs, int) else 0


def _moved(call: GpuCall) -> int:
    """Bytes of operands, weights and result, each once."""
    if call.work is None:
        return (1 + (call.kernel in (ENTER, LEAVE))) * _bytes(call.node)
    weights = sum(math.prod(each.shape) * DTYPES[each.dtype].itemsize for each in call.work.arguments)
    read = sum(_bytes(node) for node, _ in call.work.reads)
    return weights + read + (read if call.work.within is call.node else _bytes(call.work.result))  # what was written in place is not


def _bytes(node: Node) -> int:
    return math.prod(node.typed.concrete()) * DTYPES[node.typed.dtype].itemsize
