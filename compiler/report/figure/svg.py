"""The figure of a network as SVG: `draw(network)`, which notebooks show."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

from ....ir.errors import InvalidModel
from ....ir.graph import Graph
from ....ir.ops.conv import CONVS
from ....ir.ops.conv_transpose import CONV_TRANSPOSES
from ....ir.ops.linear import DENSE, MATMUL
from ....ir.ops.pool import AVG_POOL, GLOBAL_AVG_POOL, GLOBAL_MAX_POOL, LP_POOL, MAX_POOL
from .blocks import FigureBlock, blocks_of
from .layout import FONT, LINE, PAD, SMALL, Box, Layout, Route, layout_of

__all__ = ["Drawing", "draw"]

MOST_BLOCKS = 2000  # that anybody looks at; a report of `inspect --html` is for more
FILLS = (  # of a block by the first of its ops that is here
    ((*CONVS,), "#dbe7f5"),
    (CONV_TRANSPOSES, "#e6dcf3"),
    ((MAX_POOL, AVG_POOL, LP_POOL, GLOBAL_AVG_POOL, GLOBAL_MAX_POOL), "#f7e3d4"),
    ((DENSE, MATMUL), "#dcefdc"),
)
OTHER, END = "#eeeeee", "#ffffff"
LINE_COLOUR, SIDE_COLOUR = "#333333", "#777777"
FACE = "Helvetica, Arial, 'Liberation Sans', sans-serif"
ARROW, HALF = 5.0, 2.2  # of an arrowhead: its length, and half its width


@dataclass(frozen=True, repr=False)
class Drawing:
    """A picture. Units: `width` and `height` points."""

    svg: str
    width: float
    height: float

    def __repr__(self) -> str:
        return f"<drawing of {self.width:.0f} x {self.height:.0f} points; its .svg is {len(self.svg):,} characters to write into a file>"

    def _repr_svg_(self) -> str:
        return self.svg


def draw(graph: Graph) -> Drawing:
    """The figure of `graph`: blocks by scope from top to bottom, sizes between them, what is repeated once with a count.

    Raises: InvalidModel for a network without a type, or of more blocks than a figure holds.
    """
    blocks = blocks_of(graph)
    if len(blocks) > MOST_BLOCKS:
        raise InvalidModel(f"@{graph.name} has {len(blocks):,} blocks, a figure at most {MOST_BLOCKS:,}; look at it with inspect --html")
    layout = layout_of(graph, blocks)
    return Drawing("\n".join(_lines(layout)) + "\n", layout.width, layout.height)


def _lines(layout: Layout) -> Iterator[str]:
    size = f'width="{layout.width:.1f}pt" height="{layout.height:.1f}pt" viewBox="0 0 {layout.width:.1f} {layout.height:.1f}"'
    yield f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="{FACE}" font-size="{FONT:g}" role="img">'
    yield f"<title>{escape(layout.name)}</title>"
    yield f'<rect width="{layout.width:.1f}" height="{layout.height:.1f}" fill="#ffffff"/>'
    for route in layout.routes:
        yield from _route(route)
    for x, start, end, words in layout.steps:
        yield f'<path d="M{x:.1f},{start:.1f}V{end - ARROW:.1f}" fill="none" stroke="{LINE_COLOUR}" stroke-width="0.8"/>'
        yield _head(f"{x - HALF:.1f},{end - ARROW:.1f} {x + HALF:.1f},{end - ARROW:.1f} {x:.1f},{end:.1f}", LINE_COLOUR)
        yield f'<text class="size" x="{x + 4:.1f}" y="{(start + end) / 2 + SMALL / 3:.1f}" font-size="{SMALL:g}">{escape(words)}</text>'
    for box in layout.boxes:
        yield from _box(box)
    yield "</svg>"


def _route(route: Route) -> Iterator[str]:
    """Out at the right, down a lane, and in at every end."""
    (x, y), lane = route.start, route.lane
    paths = [f"M{x:.1f},{y:.1f}H{lane:.1f}V{route.ends[-1][1]:.1f}"]
    paths += [f"M{lane:.1f},{below:.1f}H{right + ARROW:.1f}" for right, below in route.ends]
    yield f'<path d="{"".join(paths)}" fill="none" stroke="{SIDE_COLOUR}" stroke-width="0.8"/>'
    for right, below in route.ends:
        back = right + ARROW
        yield _head(f"{back:.1f},{below - HALF:.1f} {back:.1f},{below + HALF:.1f} {right:.1f},{below:.1f}", SIDE_COLOUR)
    yield f'<text class="size" x="{x + 3:.1f}" y="{y - 2:.1f}" font-size="{SMALL:g}">{escape(route.words)}</text>'


def _head(points: str, colour: str) -> str:
    return f'<polygon points="{points}" fill="{colour}"/>'


def _box(box: Box) -> Iterator[str]:
    count = box.block.count if box.block else 1
    yield f'<g class="{"block" if box.block else "end"}" data-count="{count}">'
    for behind in (box.pile, box.pile / 2) if box.pile else ():
        yield _rect(box, behind)
    yield _rect(box, 0.0)
    texts = [("bold", FONT, "#000000", box.title)] if box.title else []
    texts += [("normal", FONT, "#000000", row) for row in box.rows]
    texts += [("normal", SMALL, "#555555", row) for row in box.tail]
    top = box.y + (box.height - LINE * len(texts)) / 2
    for number, (weight, size, colour, text) in enumerate(texts):
        place = f'x="{box.x + box.width / 2:.1f}" y="{top + LINE * number + LINE / 2 + FONT * 0.35:.1f}"'
        bold = ' font-weight="bold"' if weight == "bold" and box.block else ""
        small = f' font-size="{size:g}"' if size != FONT else ""
        yield f'<text {place} text-anchor="middle" fill="{colour}"{small}{bold} xml:space="preserve">{escape(text)}</text>'
    yield "</g>"


def _rect(box: Box, behind: float) -> str:
    corner = box.height / 2 if box.block is None else PAD / 2
    place = (
        f'x="{box.x + behind:.1f}" y="{box.y + behind:.1f}" width="{box.width:.1f}" height="{box.height:.1f}" rx="{min(corner, 8.0):.1f}"'
    )
    return f'<rect {place} fill="{_fill(box.block)}" stroke="{LINE_COLOUR}" stroke-width="0.6"/>'


def _fill(block: FigureBlock | None) -> str:
    if block is None:
        return END
    kinds = {node.kind for node in block.nodes}
    return next((fill for of, fill in FILLS if not kinds.isdisjoint(of)), OTHER)
