"""hoist-stride: what only strided 1x1 convs read is computed only where they read.

A 1x1 conv with stride 2 reads every second row and column. If all readers of a value do, then the three
quarters in between are computed for nothing: the stride moves up through whatever works place by place, to the
convs and pools before it. ResNets of 2015 have it at the end of each stage, where the next one halves the image:
the last 3x3 and 1x1 conv of a stage take a quarter of their multiply-adds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import gcd

from ..ir.graph import Graph, Node, fresh_name
from ..ir.ops.conv import CONV2D, Conv2d
from ..ir.ops.pool import AVG_POOL, MAX_POOL, AvgPool, MaxPool
from ..ir.ops.shape import SLICE, TO_THE_END, Slice
from ..ir.ops.window import Pair
from ..ir.verifier import infer_type
from .rewriting.ledger import Ledger
from .rewriting.products import is_1x1

__all__ = ["hoist_stride"]

ALL: Pair = (1, 1)
WINDOWS = (CONV2D, MAX_POOL, AVG_POOL)


def hoist_stride(graph: Graph, ledger: Ledger) -> Graph:
    """Before: %a = conv2d(%x, %v) {pads=[1,1,1,1]}; %b = relu(%a); %c = conv2d(%b, %w) {strides=[2,2]}

    After: %a.thin = conv2d(%x, %v) {strides=[2,2], pads=[1,1,1,1]}; %b.thin = relu(%a.thin); %c = conv2d(%b.thin, %w)
    """
    steps: dict[Node, Pair] = {}
    live = Graph.of(graph.name, graph.inputs, graph.outputs, graph.nodes)  # what a dead node reads is not read
    wanted = _wanted(live)
    for region in _regions(live, wanted):
        if not ledger.is_open:
            break
        names = tuple(node.name for node in region)
        ledger.record("hoist", names[-1], names, tuple(f"{name}.thin" for name in names))
        steps |= {node: wanted[node] for node in region}
    for conv in live.ops:
        if why := _stuck(live, conv, wanted, steps):
            ledger.decline("hoist", conv.name, why)
    return _Thinning(live, steps).run() if steps else graph


def _wanted(graph: Graph) -> dict[Node, Pair]:
    """For each node the widest step, over rows and columns, with which a grid still holds all that is read of it."""
    wanted = dict.fromkeys(graph.outputs, ALL)
    for node in reversed(graph.nodes):
        own = wanted[node] = _useful(node, wanted.get(node, ALL))
        for place, operand in enumerate(node.inputs):
            taken = _taken(node, place, own)
            rows, cols = wanted.get(operand, taken)
            wanted[operand] = (gcd(rows, taken[0]), gcd(cols, taken[1]))
    return wanted


def _useful(node: Node, step: Pair) -> Pair:
    """No step along an axis of one element, or of a named size, where halves of halves are not one type."""
    if node.typed.rank != 4:
        return ALL
    rows, cols = (s if isinstance(size, int) and size > 1 else 1 for s, size in zip(step, node.typed.shape[2:], strict=True))
    return rows, cols


def _taken(node: Node, place: int, own: Pair) -> Pair:
    """The step with which `node` reads its operand at `place` if it is itself computed with step `own`."""
    if node.kind is CONV2D and place == 0 and is_1x1(node) and not any(CONV2D.of(node).pads):
        return _times(CONV2D.of(node).strides, own)
    return own if own != ALL and _is_same_place(node) and _is_image(node, node.inputs[place]) else ALL


def _stuck(graph: Graph, conv: Node, wanted: dict[Node, Pair], steps: dict[Node, Pair]) -> str:
    """Why what a strided 1x1 conv reads is computed whole all the same; "" where it is not, or for another node."""
    x = conv.inputs[0]
    if conv.kind is not CONV2D or CONV2D.of(conv).strides == ALL or _taken(conv, 0, ALL) == ALL or x in steps:
        return ""
    if wanted[x] != ALL:
        return f"%{x.name} comes from no conv or pool that could take the stride"
    if x in graph.outputs:
        return f"%{x.name} is an output"
    other = next((reader for reader in graph.readers[x] if all(_taken(reader, i, wanted[reader]) == ALL for i in _places(reader, x))), None)
    return f"%{other.name} reads %{x.name} whole" if other else f"%{x.name} has named sizes, or its readers have different strides"


def _places(reader: Node, x: Node) -> list[int]:
    return [i for i, operand in enumerate(reader.inputs) if operand is x]


def _is_same_place(node: Node) -> bool:
    """Whether each place of the result needs that place of its operands and no other; a row or column may not be repeated."""
    facts = node.kind.facts
    return facts.pointwise and all(
        place in facts.by_channel or _is_image(node, operand) or all(size == 1 for size in operand.typed.shape[2 - node.typed.rank :])
        for place, operand in enumerate(node.inputs)
    )


def _is_image(node: Node, operand: Node) -> bool:
    return operand.typed.rank == 4 and operand.typed.shape[2:] == node.typed.shape[2:]


def _regions(graph: Graph, wanted: dict[Node, Pair]) -> Iterator[list[Node]]:
    """Connected nodes to compute with a step, the last one last. A region without a conv or pool would only add copies."""
    region_of: dict[Node, list[Node]] = {}
    for node in graph.nodes:
        if wanted[node] == ALL:
            continue
        sources = [region_of[operand] for operand in node.inputs if operand in region_of]
        if not _takes_stride(node) and not (sources and _is_same_place(node)):
            continue
        merged = max(sources, key=len, default=list[Node]())
        for other in {id(region): region for region in sources if region is not merged}.values():
            merged.extend(other)
            region_of.update(dict.fromkeys(other, merged))
        merged.append(node)
        region_of[node] = merged
    yield from {id(region): region for region in region_of.values()}.values()


def _takes_stride(node: Node) -> bool:
    """Whether it is a conv or pool whose windows may lie further apart; those of one that rounds up would be others."""
    if node.kind not in WINDOWS:
        return False
    op: Conv2d | MaxPool | AvgPool = node.op
    return isinstance(op, Conv2d) or not op.ceil_mode


class _Thinning:
    """Rebuilds a graph with `steps` for some of its nodes."""

    def __init__(self, graph: Graph, steps: dict[Node, Pair]) -> None:
        self.graph = graph
        self.steps = steps
        self.taken = {node.name for node in graph.nodes}
        self.picked: dict[tuple[Node, Pair], Node] = {}

    def run(self) -> Graph:
        return self.graph.rebuild(self.visit)

    def visit(self, node: Node, operands: tuple[Node, ...]) -> Node:
        step = self.steps.get(node, ALL)
        have = [self.steps.get(operand, ALL) for operand in node.inputs]
        if step == ALL and all(h == ALL for h in have):
            return node.reading(operands)
        if node.kind in WINDOWS:
            op: Conv2d | MaxPool | AvgPool = node.op
            changed = node.like(op=replace(op, strides=_over(_times(op.strides, step), have[0])), inputs=operands)
        else:
            images = (_is_image(node, old) for old in node.inputs)
            each = zip(operands, images, have, strict=True)
            changed = node.like(inputs=tuple(self.every(x, _over(step, h)) if image else x for x, image, h in each))
        if step == ALL:
            return changed
        origin = replace(node.origin, made_from=(node.name,))
        return changed.like(name=fresh_name(f"{node.name}.thin", self.taken), type=infer_type(changed), origin=origin)

    def every(self, x: Node, step: Pair) -> Node:
        """x at every step-th row and column: of images as a pool of single pixels, since engines keep their blocked layouts
        through a pool, and leave them for a slice: 0.91 against 0.96 of the time of resnet50 in onnxruntime."""
        if step == ALL:
            return x
        if (x, step) not in self.picked:
            is_image = x.typed.dtype == "f32"
            kind, op = (MAX_POOL, MaxPool((1, 1), step)) if is_image else (SLICE, Slice((2, 3), (0, 0), (TO_THE_END, TO_THE_END), step))
            made = Node(fresh_name(f"{x.name}.thin", self.taken), kind, op, (x,), None, x.origin)
            self.picked[x, step] = made.like(type=infer_type(made))
        return self.picked[x, step]


def _times(a: Pair, b: Pair) -> Pair:
    return a[0] * b[0], a[1] * b[1]


def _over(a: Pair, b: Pair) -> Pair:
    return a[0] // b[0], a[1] // b[1]
