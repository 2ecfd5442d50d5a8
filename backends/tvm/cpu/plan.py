"""Which kernel computes what: the graph as work for blocked kernels, with stock rows for the rest. No TVM is needed to plan.

A convolution takes in what follows it element by element, as long as nothing else reads the value in between. Weights are packed when
a library is loaded, by the same plan that it was built by.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Set
from dataclasses import dataclass, replace

from ....ir.binding import batch_names, specialize
from ....ir.donation import holds_order
from ....ir.errors import InvalidModel
from ....ir.graph import Graph, Node
from ....ir.placement.views import Views
from ....ir.verifier import verify_graph
from ..processor import AVX512, Processor
from .kernels.kernel import TunedForms
from .kernels.layout import blocks
from .laid import LaidPlan, PlannedCall
from .rules import HALVES, MAKERS, PLAIN, WINDOWS
from .tiles import tiles_by_size
from .work import HALF, Surroundings, Work, extents, is_blocked

__all__ = ["PACK", "UNPACK", "VIEW", "KernelCall", "KernelPlan", "plan", "single_image"]

PACK, UNPACK, VIEW = "pack", "unpack", "view"


KernelCall = PlannedCall[Work]  # a view is work that needs no kernel, since its operands are written where they belong


@dataclass(frozen=True)
class KernelPlan(LaidPlan[Work]):
    """A plan of which the layout is blocks."""

    @property
    def tiles(self) -> dict[str, int]:
        """The m of F(m x m) for each convolution that Winograd's way computes, by name."""
        return {work.covers[0].name: work.kernel.tile for work in self.works.values() if work.kernel.tile}

    def chosen(self, tuned: TunedForms) -> TunedForms:
        """The forms that it took from `tuned`."""
        kernels = (work.kernel for work in self.works.values())
        keys = [kernel.tunable.key for kernel in kernels if kernel.tunable is not None and kernel.form is not None]
        return {key: tuned[key] for key in keys}

    def waiting(self, donated: Mapping[str, str]) -> KernelPlan:
        """The plan in which an output that takes an input's place (`donated`, by name) waits for the kernels that read the input: they run
        where their results stand, which may be behind it."""
        order = list(self.graph.nodes)
        for name, given in donated.items():
            output, value = self.graph.by_name[name], self.graph.by_name[given]
            reads = (result for result, work in self.works.items() if any(value in each.inputs for each in work.covers))
            last = max((order.index(result) for result in reads), default=0)
            if last > order.index(output) and not self.graph.readers[output]:
                order.remove(output)
                order.insert(last, output)
        ordered = Graph.of(self.graph.name, self.graph.inputs, self.graph.outputs, order)
        if order == list(self.graph.nodes) or not holds_order(ordered, donated):
            return self
        return replace(self, graph=ordered, works=dict(sorted(self.works.items(), key=lambda item: ordered.positions[item[0]])))

    @functools.cached_property
    def views(self) -> frozenset[Node]:
        """Concatenations and slices for which nothing is moved. Only memory that can be planned is laid out so: sizes are numbers, or one
        name, that of the batch. With a name at most these: if some values lack it, the arena is not planned and all are copied."""
        if not set(self.graph.symbols) <= batch_names(self.graph) or len(self.graph.symbols) > 1:
            return frozenset()
        laid = Views({node: blocks(extents(node)[0]) for node in self.graph.nodes if is_blocked(node)})
        for node, work in self.works.items():
            if work.starts:
                laid.add(node, zip(work.operands, work.starts, strict=True))
        return frozenset(laid.views)

    @functools.cached_property
    def calls(self) -> list[KernelCall]:
        """Everything that runs, in order."""
        made = list[KernelCall]()
        for call in self.steps(PACK, UNPACK):
            made += [PlannedCall(each.kernel.name, each.node, argument=each) for each in (call.work.arranged if call.work else ())]
            made.append(replace(call, kernel=VIEW) if call.node in self.views and call.work else call)
        return made


def plan(
    graph: Graph, tiles: Mapping[str, int] | None = None, tuned: TunedForms | None = None, processor: Processor = AVX512
) -> KernelPlan:
    """Kernels for what they can compute, in the graph's order.

    `tiles` are those of convolutions that Winograd's way computes, by name (default: those that are fast on the processor); one that its
    convolution cannot have is passed over. Forms that were `tuned` change no argument: a library needs none to be loaded. The processor
    decides about register tiles; it changes no argument either, once `tiles` are given.
    """
    tiles = tiles_by_size(graph, "auto", processor) if tiles is None else tiles
    works: dict[Node, Work] = {}
    covered, joint, in_blocks = set[Node](), set[Node](), set[Node]()
    around = Surroundings(graph, covered, joint, in_blocks, works, tiles, tuned or {}, processor)
    for node in graph.ops:
        if node in covered or not graph.uses[node]:
            continue
        is_half = HALF in (node.typed.dtype, *(operand.typed.dtype for operand in node.inputs))
        maker = MAKERS.get(node.kind) if _is_worth_blocks(node, in_blocks) and (not is_half or node.kind in HALVES) else None
        work = maker(around, node) if maker is not None else None
        if work is not None:
            works[work.result] = work
            covered.update(work.covers)
            joint.update(work.covers if len(work.covers) > 1 else ())
            in_blocks.update([work.result] if work.is_laid else [])
    return KernelPlan(graph, dict(sorted(works.items(), key=lambda item: graph.positions[item[0]])), frozenset(covered))


def _is_worth_blocks(node: Node, in_blocks: Set[Node]) -> bool:
    """Of three axes the second may be channels or tokens: such values are moved into blocks for windows, and stay for what follows."""
    return node.typed.rank != 3 or node.kind in WINDOWS or node.kind in PLAIN or any(operand in in_blocks for operand in node.inputs)


def single_image(whole: KernelPlan, tuned: TunedForms | None = None, processor: Processor = AVX512) -> KernelPlan | None:
    """The plan for one image, which takes the same arguments: where the batch is a named size, nothing else is, and one image will do."""
    graph = whole.graph
    if not graph.symbols or set(graph.symbols) != batch_names(graph):
        return None
    try:
        verify_graph(of_one := specialize(graph, dict.fromkeys(graph.symbols, 1)))
    except InvalidModel:
        return None
    single = plan(of_one, whole.tiles, tuned, processor)
    return single if single.takes == whole.takes else None
