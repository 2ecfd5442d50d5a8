"""The lines of `convc bench --profile`: what each kernel of a CPU library takes, does and moves."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..ir.graph import Node
from ..ir.types import DTYPES, Array
from ..passes.cost import node_cost

if TYPE_CHECKING:
    from ..backends.tvm.cpu.plan import KernelCall
    from ..backends.tvm.run import LoadedLibrary

__all__ = ["LayerTime", "layer_times"]


@dataclass(frozen=True, slots=True)
class LayerTime:
    """One kernel. Units: `microseconds` a run; `share` of all kernels' time; `gflops` 10^9 floating-point operations a second, two a
    multiply-add of a direct convolution; `gbytes` 10^9 bytes a second of operands, weights and result, each moved once, workspace left out.
    """

    kernel: str
    nodes: list[str]
    microseconds: float
    share: float
    macs: int
    gflops: float
    bytes: int
    gbytes: float


def layer_times(loaded: LoadedLibrary, inputs: Mapping[str, Array], runs: int) -> list[LayerTime]:
    """The kernels of a library without named sizes, in order."""
    from ..backends.tvm.cpu.plan import PACK, UNPACK, VIEW
    from ..backends.tvm.profile import call_times

    times = call_times(loaded, inputs, runs)
    total = sum(time.microseconds for time in times)
    layers: list[LayerTime] = []
    for time in times:
        nodes = [node for call in time.calls for node in (call.work.covers if call.work else (call.node,))]
        macs = 0 if time.calls[0].kernel in (PACK, UNPACK) else sum(map(_macs, nodes))
        kernel = time.calls[0].kernel
        moved = 0 if kernel == VIEW else sum(map(_moved, time.calls))
        speeds = [amount / time.microseconds / 1e3 if time.microseconds else 0.0 for amount in (2 * macs, moved)]
        names = [node.name for node in nodes]
        share = time.microseconds / total if total else 0.0
        layers.append(LayerTime(kernel, names, time.microseconds, share, macs, speeds[0], moved, speeds[1]))
    return layers


def _macs(node: Node) -> int:
    macs = node_cost(node, {}).macs
    assert isinstance(macs, int)
    return macs


def _moved(call: KernelCall) -> int:
    """Bytes that a call must read and write."""
    if call.work is None:
        if call.kernel == "stock":
            return sum(_bytes(node, False) for node in (*call.node.inputs, call.node))
        return _bytes(call.node, True) + _bytes(call.node, False)
    arguments = sum(math.prod(argument.shape) * DTYPES[argument.dtype].itemsize for argument in call.work.arguments)
    result = _bytes(call.work.result, call.work.in_blocks)
    return arguments + result + sum(_bytes(node, in_blocks) for node, in_blocks in call.work.reads)


def _bytes(node: Node, in_blocks: bool) -> int:
    """Of a value, with what blocks have of padding."""
    from ..backends.tvm.cpu.kernels.layout import LANES, blocks

    shape = node.typed.concrete()
    count = math.prod((shape[0], blocks(shape[1]) * LANES, *shape[2:])) if in_blocks else math.prod(shape)
    return count * DTYPES[node.typed.dtype].itemsize
