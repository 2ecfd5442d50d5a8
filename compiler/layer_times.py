"""The lines of `convc bench --profile`: what each kernel of a CPU library takes, does and moves."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..ir.graph import Graph, Node
from ..ir.types import DTYPES, Array
from ..passes.analysis.structure import longest_path
from ..passes.cost import node_cost

if TYPE_CHECKING:
    from ..backends.tvm.cpu.plan import KernelCall
    from ..backends.tvm.profile import CallTime
    from ..backends.tvm.run import LoadedLibrary

__all__ = ["LayerTime", "layer_times"]


@dataclass(frozen=True, slots=True)
class LayerTime:
    """One kernel. Units: `microseconds` a run; `share` of all kernels' time; `gflops` 10^9 floating-point operations a second, two a
    multiply-add of a direct convolution; `gbytes` 10^9 bytes a second of operands, weights and result, each moved once, workspace left out.
    Of the paths from an input to an output, the longest by time passes through the kernels `on_longest_path`.
    """

    kernel: str
    nodes: list[str]
    microseconds: float
    share: float
    macs: int
    gflops: float
    bytes: int
    gbytes: float
    on_longest_path: bool


def layer_times(loaded: LoadedLibrary, inputs: Mapping[str, Array], runs: int) -> list[LayerTime]:
    """The kernels of a library without named sizes, in order."""
    from ..backends.tvm.cpu.plan import PACK, UNPACK, VIEW
    from ..backends.tvm.profile import call_times

    times = call_times(loaded, inputs, runs)
    total = sum(time.microseconds for time in times)
    longest = _longest_path(loaded.graph, times)
    layers: list[LayerTime] = []
    for time in times:
        nodes = [node for call in time.calls for node in (call.work.covers if call.work else (call.node,))]
        macs = 0 if time.calls[0].kernel in (PACK, UNPACK) else sum(map(_macs, nodes))
        kernel = time.calls[0].kernel
        moved = 0 if kernel == VIEW else sum(map(_moved, time.calls))
        speeds = [amount / time.microseconds / 1e3 if time.microseconds else 0.0 for amount in (2 * macs, moved)]
        names = [node.name for node in nodes]
        share = time.microseconds / total if total else 0.0
        layers.append(LayerTime(kernel, names, time.microseconds, share, macs, speeds[0], moved, speeds[1], _result(time) in longest))
    return layers


def _longest_path(graph: Graph, times: Sequence[CallTime]) -> set[str]:
    """The names of its nodes. A kernel's time is at the value that it leaves; what goes before that in it is passed for nothing."""
    taken: defaultdict[str, float] = defaultdict(float)
    for time in times:
        taken[_result(time)] += time.microseconds
    return {node.name for node in longest_path(graph, {node: taken[node.name] for node in graph.nodes})}


def _result(time: CallTime) -> str:
    call = time.calls[-1]
    return call.work.result.name if call.work else call.node.name


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
