"""What an ONNX file costs, in the figures that `convc optimize` prints, and which of them got worse."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ...ir.graph import Graph, Node
from ...passes.analysis.cost import graph_cost
from ...passes.analysis.memory import plan_memory
from ..engines.onnxruntime import ONNXRUNTIME

__all__ = ["Figures", "Rise", "figures_of", "is_better", "rises"]

# Operators that say, move or rename and compute nothing. Together they may be no more, and of these two none is added.
NEVER_MORE = ("Shape", "Reshape")
BOOKKEEPING = (
    *NEVER_MORE,
    *("Squeeze", "Unsqueeze", "Flatten", "Transpose", "Slice", "Split", "Gather", "Concat", "Expand", "Cast", "Identity", "Pad"),
)
FIGURES = ("nodes", "bookkeeping", "params", "macs", "file bytes", "arena", *NEVER_MORE)
GIVEN = ("params", "file bytes")
GIVE = 32  # where nodes or work go, a bias may come for them, and a remark: a part in so many of parameters and bytes

NOTE_BYTES = 64  # who made the file, and what a node is made from


@dataclass(frozen=True)
class Figures:
    """Units: `file_bytes` and `arena` bytes, `nanoseconds` as estimated; `operators` counts nodes by ONNX type.

    `params` are the numbers that are constants for whoever reads them, whether the file holds them or says how they are computed: folding
    makes them neither more nor less.
    """

    operators: Mapping[str, int]
    params: int
    macs: int
    nanoseconds: int
    file_bytes: int
    arena: int

    @property
    def nodes(self) -> int:
        return sum(self.operators.values())

    @property
    def bookkeeping(self) -> int:
        return sum(self.operators.get(kind, 0) for kind in BOOKKEEPING)

    def value(self, what: str) -> int:
        """A figure by what it is called; operators by type."""
        return self.operators.get(what, 0) if what in NEVER_MORE else getattr(self, what.replace(" ", "_"))


@dataclass(frozen=True, slots=True)
class Rise:
    """A figure that got worse."""

    what: str
    old: int
    new: int

    def __str__(self) -> str:
        return f"{self.name} would rise from {self.old:,} to {self.new:,}"

    @property
    def name(self) -> str:
        return f"{self.what} nodes" if self.what in (*NEVER_MORE, "bookkeeping") else self.what


def figures_of(model: Any, graph: Graph, sizes: dict[str, int], file_bytes: int) -> Figures:
    """Of an ONNX ModelProto and the graph that it was written from, or is read as; `sizes` are those to count with."""
    cost, nanoseconds = graph_cost(graph, sizes), round(ONNXRUNTIME.prices.at(sizes).whole(graph) * 1e9)
    operators = Counter(node.op_type for node in model.graph.node)
    return Figures(operators, _constants(graph), cost.macs, nanoseconds, file_bytes, plan_memory(graph, sizes).arena)


def _constants(graph: Graph) -> int:
    """Numbers that depend on parameters alone, and that something reads which does not."""
    constant, outputs, total = set[Node](), set(graph.outputs), 0
    for node in graph.nodes:
        is_computed = bool(node.inputs) and not node.kind.facts.opaque and not node.typed.symbols and constant.issuperset(node.inputs)
        if node.weights is not None or is_computed:
            constant.add(node)
    for node in constant:
        numel = node.typed.numel
        if isinstance(numel, int) and (node in outputs or not constant.issuperset(graph.readers[node])):
            total += numel
    return total


def rises(old: Figures, new: Figures) -> Iterator[Rise]:
    """What is worse in the new file. Time is estimated only, and no promise."""
    may_give = new.nodes < old.nodes or new.macs < old.macs
    is_stored = may_give and new.file_bytes <= old.file_bytes  # what was computed from constants, and takes less room than that
    for what in FIGURES:
        before, after = old.value(what), new.value(what)
        if what == "params" and is_stored:
            continue
        if after > before + (max(before // GIVE, NOTE_BYTES if what == "file bytes" else 0) if may_give and what in GIVEN else 0):
            yield Rise(what, before, after)


def is_better(old: Figures, new: Figures) -> bool:
    """Whether something is less. A few bytes of names are no reason to change a file."""
    fields = ("nodes", "macs", "params", "arena", "nanoseconds")
    return any(getattr(new, field) < getattr(old, field) for field in fields) or new.file_bytes >> 10 < old.file_bytes >> 10
