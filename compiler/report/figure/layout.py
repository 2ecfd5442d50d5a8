"""Where things are drawn: blocks in one column in their order, values that go further than to the next block along lanes beside it.

Units: points, of which a column of a paper has some 240.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ....ir.graph import Graph, Node
from ....ir.legible import escaped
from .blocks import ARROW, FigureBlock
from .words import TIMES, size_words

__all__ = ["FONT", "GAP", "LINE", "PAD", "SMALL", "Box", "Layout", "Route", "layout_of", "width_of"]

BoxText = tuple[str, tuple[str, ...], tuple[str, ...], FigureBlock | None]  # title, lines, tail
FONT, SMALL, LINE = 8.0, 7.0, 10.0
PAD, GAP, MARGIN = 5.0, 17.0, 4.0
PILE = 3.0
PORT, LANE = 11.0, 8.0  # between two ends of lanes at a box, and two lanes
MOST_WIDE, LEAST_WIDE = 142.0, 100.0
ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"
# Widths of Helvetica's letters in thousandths of the size; others are as wide as a digit, beyond Latin as wide as the size.
LETTERS = (("ijl'|", 222), (" ftI.,:;/!()[]-", 300), ("r", 333), ("ckszvxyJ", 500), ("ABEKPSVXY&", 667))
WIDER = (("wCDHNRU", 722), ("GOQ", 778), ("mM", 833), ("W", 944), ("\N{RIGHTWARDS ARROW}", 1000), (TIMES, 584), (ELLIPSIS, 1000))
WIDTHS = {char: width for chars, width in (*LETTERS, *WIDER) for char in chars}
SPARE = 1.12  # where a font is at hand that is wider


@dataclass(frozen=True)
class Box:
    """A block, or an input or output of the network, by its upper left corner. `rows` are its lines, broken where they are too long."""

    x: float
    y: float
    width: float
    height: float
    title: str
    rows: tuple[str, ...]
    tail: tuple[str, ...]
    block: FigureBlock | None

    @property
    def pile(self) -> float:
        """How far those behind it look out to the right and below, where it stands for several."""
        return PILE if self.block is not None and self.block.count > 1 else 0.0


@dataclass(frozen=True)
class Route:
    """A value that leaves a box at its right, goes along a lane and enters others there: (x, y) of both, x of the lane, and its size."""

    start: tuple[float, float]
    lane: float
    ends: tuple[tuple[float, float], ...]
    words: str


@dataclass(frozen=True)
class Layout:
    """`steps` are (x, from, to, size) of what one box hands to the next."""

    name: str
    width: float
    height: float
    boxes: Sequence[Box]
    steps: Sequence[tuple[float, float, float, str]]
    routes: Sequence[Route]


def width_of(text: str, size: float = FONT, *, bold: bool = False) -> float:
    thousandths = sum(WIDTHS.get(char, 556 if ord(char) < 0x2000 else 1000) for char in text)
    return thousandths / 1000 * size * SPARE * (1.08 if bold else 1.0)


def layout_of(graph: Graph, blocks: Sequence[FigureBlock]) -> Layout:
    """Inputs first, then blocks, then outputs; each in a row of its own."""
    count = len(graph.inputs) + len(blocks)
    rows = [*map(_end, graph.inputs), *map(_said, blocks), *map(_end, graph.outputs)]
    of = {node: place for place, node in enumerate(graph.inputs)}
    of |= {node: place for place, block in enumerate(blocks, len(graph.inputs)) for node in block.nodes}
    readers = _readers(graph, of, count)
    near = {(of[node], place): node for node, places in readers.items() for place in places if place == of[node] + 1}
    far = {node: left for node, places in readers.items() if (left := [place for place in places if place > of[node] + 1])}
    boxes = _boxes(rows, _ports(of, far, len(rows)))
    steps = [_step(boxes, place, node) for (_, place), node in near.items()]
    routes = _routes(boxes, of, far)
    column = MARGIN + boxes[0].width + PILE
    right = max([column, *(x + 4 + width_of(words, SMALL) for x, _, _, words in steps), *(route.lane for route in routes)])
    bottom = boxes[-1].y + boxes[-1].height
    return Layout(escaped(graph.name), right + MARGIN, bottom + MARGIN, boxes, steps, routes)


def _end(node: Node) -> BoxText:
    return escaped(node.name), (), (), None


def _said(block: FigureBlock) -> BoxText:
    times = f"  {TIMES}{block.count}" if block.count > 1 else ""
    is_single = not block.title and len(block.lines) == 1  # which has its count beside it
    lines = [f"{line}{times}" for line in block.lines] if is_single else block.lines
    broken = tuple(row for line in lines for row in _broken(line, FONT))
    return "" if is_single else f"{block.title}{times}".strip(), broken, tuple(_broken(block.tail, SMALL)), block


def _broken(text: str, size: float) -> list[str]:
    """A line, in several where it is too wide: broken before arrows, and within a layer's words only where these alone are too wide."""
    found: list[str] = []
    for number, layer in enumerate(text.split(ARROW) if text else []):
        words = f"{ARROW[1:]}{layer}" if number else layer
        for part in [words] if width_of(words, size) <= MOST_WIDE else words.split(" "):
            joined = f"{found[-1]} {part}" if found else part
            if found and width_of(joined, size) <= MOST_WIDE:
                found[-1] = joined
            else:
                found.append(_cut(part, size))
    return found


def _cut(text: str, size: float, *, bold: bool = False) -> str:
    if width_of(text, size, bold=bold) <= MOST_WIDE:
        return text
    while text and width_of(text + ELLIPSIS, size, bold=bold) > MOST_WIDE:
        text = text[:-1]
    return text + ELLIPSIS


def _readers(graph: Graph, of: Mapping[Node, int], outputs: int) -> dict[Node, list[int]]:
    """Of each value that leaves its row, the rows that read it, in order; those of the outputs are `outputs` and on."""
    found: dict[Node, set[int]] = {node: {of[reader] for reader in graph.readers[node] if reader in of} - {of[node]} for node in of}
    for place, node in enumerate(graph.outputs, outputs):
        found.setdefault(node, set()).add(place)
    return {node: sorted(places) for node, places in found.items() if places and node in of}


def _ports(of: Mapping[Node, int], far: Mapping[Node, Sequence[int]], count: int) -> list[int]:
    """How many ends of lanes each row has."""
    ports = [0] * count
    for node, places in far.items():
        for place in (of[node], *places):
            ports[place] += 1
    return ports


def _boxes(rows: Sequence[BoxText], ports: Sequence[int]) -> list[Box]:
    titles = [_cut(title, FONT, bold=True) for title, *_ in rows]
    widest = [width_of(title, bold=True) for title in titles]
    widest += [width_of(text, size) for _, lines, tail, _ in rows for texts, size in ((lines, FONT), (tail, SMALL)) for text in texts]
    width = max([LEAST_WIDE, *(each + 2 * PAD for each in widest)])
    boxes: list[Box] = []
    y = MARGIN
    for title, (_, lines, tail, block), ends in zip(titles, rows, ports, strict=True):
        height = max(LINE * (bool(title) + len(lines) + len(tail)) + PAD, PORT * ends + PAD)
        boxes.append(Box(MARGIN, y, width, height, title, lines, tail, block))
        y += height + GAP
    return boxes


def _step(boxes: Sequence[Box], place: int, node: Node) -> tuple[float, float, float, str]:
    above, box = boxes[place - 1], boxes[place]
    return box.x + box.width / 2, above.y + above.height + above.pile, box.y, size_words(node)


def _routes(boxes: Sequence[Box], of: Mapping[Node, int], far: Mapping[Node, Sequence[int]]) -> list[Route]:
    """Ends that come in are at the upper part of a box, those that leave at its lower one; short ones have the inner lanes."""
    lanes = _lanes([(of[node], places[-1], node) for node, places in far.items()])
    first = MARGIN + boxes[0].width + PILE + max((width_of(size_words(node), SMALL) for node in far), default=0.0) + 8
    left, came = [0] * len(boxes), [0] * len(boxes)
    routes: list[Route] = []
    for node in reversed(list(far)):
        box = boxes[of[node]]
        start = box.y + box.height - PORT / 2 - PAD / 2 - PORT * left[of[node]]
        left[of[node]] += 1
        ends: list[tuple[float, float]] = []
        for place in far[node]:
            ends.append((_right(boxes[place]), boxes[place].y + PORT / 2 + PAD / 2 + PORT * came[place]))
            came[place] += 1
        routes.append(Route((_right(box), start), first + LANE * lanes[node], tuple(ends), size_words(node)))
    return routes


def _right(box: Box) -> float:
    return box.x + box.width + box.pile


def _lanes(spans: Sequence[tuple[int, int, Node]]) -> dict[Node, int]:
    """A lane for each value from one row to another, such that no two share a part of one."""
    taken: list[list[tuple[int, int]]] = []
    lanes: dict[Node, int] = {}
    for first, last, node in sorted(spans, key=lambda span: (span[1] - span[0], span[0])):
        free = (number for number, lane in enumerate(taken) if all(last < start or end < first for start, end in lane))
        number = lanes[node] = next(free, len(taken))
        if number == len(taken):
            taken.append([])
        taken[number].append((first, last))
    return lanes
