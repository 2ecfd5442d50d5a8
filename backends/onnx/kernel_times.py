"""How long each operator takes that onnxruntime runs, by its own profiler, told by the nodes that it computes."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...ir.direct_products import direct_products
from ...ir.files import scratch_folder
from ...ir.graph import Graph, Node
from ...ir.types import Array
from .fusion import FusedOperator, parts_of
from .session import Session

__all__ = ["OperatorTime", "operator_times"]

SUFFIX = "_kernel_time"
MARGIN = 16 << 20  # bytes, for what folding adds and for the trace
OF_8_BITS, IN_A_REGISTER = ("QLinear", "QGemm", "ConvInteger", "MatMulInteger", "DynamicQuantize"), 4  # times as many as of float32
MOVED = ("activation_size", "parameter_size", "output_size")  # bytes, of operands, weights and results


@dataclass(frozen=True, slots=True)
class OperatorTime:
    """One operator as onnxruntime ran it. Units: median `microseconds` a run, `least` those of the fastest one; `macs` of what it computes,
    as a direct convolution has them, told once where several operators are one node, and `products` of float32 that take as long as what
    it does of these; `bytes` of operands, weights and results.
    """

    part: FusedOperator
    microseconds: float
    least: float
    macs: int
    products: int
    bytes: int


def operator_times(graph: Graph, written: Any, threads: int | None, inputs: Mapping[str, Array], runs: int) -> list[OperatorTime]:
    """The operators in the order in which they run, of a graph without named sizes that is the model `written`.

    The model is optimized once, and what came of that is run as it is, with names that are told apart.

    Raises: as Session.
    """
    import onnx

    model = written.SerializeToString()
    with scratch_folder(len(model) + MARGIN) as folder:  # onnxruntime writes what it makes of it with all weights
        Session(graph, model, threads, optimized=folder / "optimized.onnx")
        optimized = onnx.load(folder / "optimized.onnx")
        parts = parts_of(graph, written, optimized)
        for place, operator in enumerate(optimized.graph.node):
            operator.name = str(place)
        session = Session(graph, optimized.SerializeToString(), threads, trace=folder / "trace")
        for _ in range(runs + 1):
            session.run(inputs)
        return _told(parts, session.events())


def _told(parts: Sequence[FusedOperator], events: Sequence[Mapping[str, Any]]) -> list[OperatorTime]:
    """The first run is not counted: memory is touched for the first time. What is within an operator's subgraph is in that one's time."""
    taken: defaultdict[int, list[float]] = defaultdict(list)
    moved: dict[int, int] = {}
    for event in sorted(events, key=lambda event: event["ts"]):
        name = str(event["name"])
        if event.get("cat") == "Node" and name.endswith(SUFFIX) and name.removesuffix(SUFFIX).isdecimal():
            place = int(name.removesuffix(SUFFIX))
            taken[place].append(event["dur"])
            moved[place] = sum(int(event["args"].get(size, 0)) for size in MOVED)
    medians = {place: statistics.median(times[1:]) for place, times in taken.items()}
    worker = _workers(parts, medians)
    told: list[OperatorTime] = []
    for place, microseconds in medians.items():
        nodes = [node for node in parts[place].nodes if worker.get(node) == place]
        at_once = IN_A_REGISTER if parts[place].op.startswith(OF_8_BITS) else 1
        products = sum(map(direct_products, nodes)) // at_once
        told.append(OperatorTime(parts[place], microseconds, min(taken[place][1:]), sum(map(_macs, nodes)), products, moved[place]))
    return told


def _workers(parts: Sequence[FusedOperator], medians: Mapping[int, float]) -> dict[Node, int]:
    """Of the operators that compute a node the one that takes the longest, by place."""
    found: dict[Node, int] = {}
    for place, time in medians.items():
        for node in () if parts[place].moves else parts[place].nodes:
            if node not in found or time > medians[found[node]]:
                found[node] = place
    return found


def _macs(node: Node) -> int:
    macs = node.kind.cost(node.op, tuple(operand.typed for operand in node.inputs), node.typed).macs
    assert isinstance(macs, int)  # what is timed has no named sizes
    return macs
