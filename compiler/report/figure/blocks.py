"""The blocks of a figure: every op of a graph in one of them, by scope, and where there is none by what lies between two bottlenecks.

What is repeated in a row is one block with a count.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from ....ir.graph import Graph, Node
from ....ir.legible import escaped
from ....ir.ops.norm import BATCH_NORM
from .words import layer_words

__all__ = ["FigureBlock", "blocks_of"]

MOST_LAYERS = 40  # of a scope; one of more is drawn by its inner ones
MOST_IN_REGION = 16  # of what has no scope; a longer stretch is drawn layer by layer
MOST_LINES = 9
TAILS = ("dropout", "identity", "local_response_norm")  # follow a layer and are no layer of their own, as are activations, norms and views
DASH = "\N{EN DASH}"
ARROW = " \N{RIGHTWARDS ARROW} "


@dataclass(frozen=True)
class FigureBlock:
    """`nodes` in order; those of all repeats where `count` is more than 1. `lines` say its layers once, `tail` what follows one."""

    title: str
    lines: tuple[str, ...]
    tail: str
    nodes: tuple[Node, ...]
    count: int = 1


@dataclass(frozen=True)
class LayerRun:
    """An op and what follows it at once: 3x3 conv, batch norm, relu."""

    nodes: list[Node]

    @property
    def head(self) -> Node:
        return self.nodes[0]


def blocks_of(graph: Graph) -> list[FigureBlock]:
    """In an order in which every block reads only from those before it."""
    stretches: list[tuple[str, list[Node]]] = []
    for title, nodes in _scopes(list(graph.ops)):
        if title:
            stretches.append((title, nodes))
            continue
        for region in _regions(nodes):
            if stretches and not stretches[-1][0] and len(region) == 1 and _follows(region[0], stretches[-1][1][-1]):
                stretches[-1][1].extend(region)
            else:
                stretches.append(("", region))
    return _folded([_block(title, nodes) for title, nodes in stretches], graph)


def _path(node: Node) -> tuple[str, ...]:
    """`conv2_1.shortcut` is a scope in a scope; exporters write `/layer1/conv1/Conv` where there are none."""
    parts = node.origin.scope.split(".") if node.origin.scope else node.name.split("/")[:-1] if node.name.startswith("/") else []
    return tuple(part for part in parts if part)


def _scopes(nodes: Sequence[Node]) -> Iterator[tuple[str, list[Node]]]:
    """Runs of one scope, those within it where it has too many layers; what is left of layers by themselves has no title.

    Runs in a row: what is in two runs of a scope may depend on each other through what lies between.
    """
    stack = [(run, 1) for run in reversed(_runs(nodes, 1))]
    alone: list[Node] = []
    while stack:
        run, depth = stack.pop()
        own = _path(run[0])[:depth]
        layers = len(_layers(run)) if own else 0
        inner = _runs(run, depth + 1) if len(own) == depth else []
        if _is_series(inner) or (layers > MOST_LAYERS and len(inner) > 1):
            stack.extend((each, depth + 1) for each in reversed(inner))
        elif not own or (depth > 1 and layers < 2):
            alone.extend(run)
        else:
            yield from [("", alone)] if alone else []
            alone = []
            yield ".".join(map(escaped, own)), run
    yield from [("", alone)] if alone else []


def _is_series(runs: Sequence[Sequence[Node]]) -> bool:
    """Whether they are blocks in their own right: layer1.0, layer1.1 and so on, of several layers each."""
    stems = [_stem(_path(run[0])[-1]) for run in runs if len(_layers(run)) > 1 and len(_path(run[0])) == len(_path(runs[-1][0]))]
    return len(stems) > 1 and len(set(stems)) == 1


def _runs(nodes: Sequence[Node], depth: int) -> list[list[Node]]:
    runs: list[list[Node]] = []
    for node in nodes:
        if not runs or _path(runs[-1][-1])[:depth] != _path(node)[:depth]:
            runs.append([])
        runs[-1].append(node)
    return runs


def _regions(nodes: Sequence[Node]) -> Iterator[list[Node]]:
    """Stretches after which only the last value is read by what follows of them."""
    last = {operand: place for place, node in enumerate(nodes) for operand in node.inputs if operand.weights is None}
    start, reach = 0, 0
    for place, node in enumerate(nodes):
        reach = max([reach, *(last[operand] for operand in node.inputs if operand in last)])
        if reach <= place:
            region = list(nodes[start : place + 1])
            layers = _layers(region)
            yield from [region] if len(layers) <= MOST_IN_REGION else (layer.nodes for layer in layers)
            start = place + 1
        reach = max(reach, last.get(node, 0))


def _is_tail(node: Node) -> bool:
    """Whether papers count it with the layer before it."""
    facts = node.kind.facts
    return facts.activation or facts.is_view or node.kind is BATCH_NORM or node.kind.name in TAILS


def _follows(node: Node, before: Node) -> bool:
    """Whether papers count it with `before`, and it reads nothing else."""
    return _is_tail(node) and [operand for operand in node.inputs if operand.weights is None] == [before]


def _layers(nodes: Iterable[Node]) -> list[LayerRun]:
    """A layer and what follows it at once."""
    of: dict[Node, LayerRun] = {}
    found: list[LayerRun] = []
    for node in nodes:
        layer = next((of[operand] for operand in node.inputs if operand in of and _follows(node, operand)), None)
        if layer is None:
            layer = LayerRun([])
            found.append(layer)
        layer.nodes.append(node)
        of[node] = layer
    return found


def _block(title: str, nodes: Sequence[Node]) -> FigureBlock:
    layers = _layers(nodes)
    lines = _lines(layers)
    more = len(lines) - MOST_LINES
    if more > 1:
        lines = [*lines[: MOST_LINES - 1], f"and {more + 1} more"]
    tails = dict.fromkeys(layer_words(node) for layer in layers for node in layer.nodes[1:] if not node.kind.facts.is_view)
    return FigureBlock(title, tuple(lines), ", ".join(tails) if len(layers) == 1 else "", tuple(nodes))


def _lines(layers: Sequence[LayerRun]) -> list[str]:
    """A line for each chain of layers that nothing joins or leaves, in order."""
    of = {node: number for number, layer in enumerate(layers) for node in layer.nodes}
    operands = [{of[operand] for node in layer.nodes for operand in node.inputs if operand in of} for layer in layers]
    reads = [sorted(each - {number}) for number, each in enumerate(operands)]
    readers = [0] * len(layers)
    for each in reads:
        for number in each:
            readers[number] += 1
    chains: dict[int, list[Node]] = {}
    chain_of: dict[int, int] = {}
    for number, layer in enumerate(layers):
        before = reads[number]
        chain = chain_of[before[0]] if len(before) == 1 and readers[before[0]] == 1 else number
        chain_of[number] = chain
        chains.setdefault(chain, []).append(layer.head)
    outer = _common([_path(layer.head) for layer in layers])
    return [_line(heads, outer) for heads in chains.values()]


def _line(heads: Sequence[Node], outer: int) -> str:
    """`shortcut: 1x1 conv, 256` where they have a scope of their own within that of the block."""
    paths = [_path(head) for head in heads]
    inner = paths[0][outer : _common(paths)] if outer else ()
    return (f"{'.'.join(map(escaped, inner))}: " if inner else "") + ARROW.join(map(layer_words, heads))


def _common(paths: Sequence[Sequence[str]]) -> int:
    """How many scopes all of them are in."""
    return next((depth for depth, names in enumerate(zip(*paths, strict=False)) if len(set(names)) > 1), min(map(len, paths)))


def _folded(blocks: Sequence[FigureBlock], graph: Graph) -> list[FigureBlock]:
    """Blocks that do the same to each other's results, and that nobody else looks into, are one."""
    outputs, runs = set(graph.outputs), list[list[FigureBlock]]()
    for block in blocks:
        if runs and _repeats(runs[-1][-1], block, outputs, graph):
            runs[-1].append(block)
        else:
            runs.append([block])
    return [_one(run) for run in runs]


def _one(run: Sequence[FigureBlock]) -> FigureBlock:
    title = _span(run[0].title, run[-1].title) if len(run) > 1 else run[0].title
    return replace(run[0], title=title, nodes=tuple(node for block in run for node in block.nodes), count=len(run))


def _repeats(before: FigureBlock, block: FigureBlock, outputs: set[Node], graph: Graph) -> bool:
    a, b = before.nodes[-1].typed.shape, block.nodes[-1].typed.shape
    if (before.lines, before.tail, a[2:]) != (block.lines, block.tail, b[2:]) or _stem(before.title) != _stem(block.title):
        return False
    if [node.kind for node in before.nodes] != [node.kind for node in block.nodes]:
        return False
    own, theirs = set(block.nodes), set(before.nodes)
    read = {operand for node in block.nodes for operand in node.inputs if operand.weights is None} - own
    seen = {reader for node in before.nodes for reader in graph.readers[node]} - theirs
    return bool(read) and read <= theirs and seen <= own and outputs.isdisjoint(theirs)


def _stem(title: str) -> str:
    return re.sub(r"\d+\Z", "", title)


def _span(first: str, last: str) -> str:
    """conv4_2–6 of conv4_2 and conv4_6."""
    return f"{first}{DASH}{last[len(_stem(last)) :]}" if first else ""
