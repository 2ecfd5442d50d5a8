"""Which layers are computed by quarters: of which sizes, on which processor, and what that changes around them."""

from __future__ import annotations

import pytest

from convc.backends.tvm.cpu.kernels.strassen.quarters import QUARTERED
from convc.backends.tvm.cpu.plan import plan
from convc.backends.tvm.cpu.quartered import quarters_of
from convc.backends.tvm.cpu.tiles import tiles_by_size
from convc.backends.tvm.processor import AVX512, ZEN
from convc.tests.support.graphs import typed_graph

PIXELS = """graph @g(%x: f32[N,512,14,14], %r: f32[N,256,14,14]) {
  %w = param : f32[256,512,1,1]
  %c = conv2d(%x, %w)
  %a = add(%c, %r)
  %y = relu(%a)
  return %y
}
"""
ROWS = """graph @g(%x: f32[1,197,768]) {
  %w = param : f32[768,3072]
  %y = matmul(%x, %w)
  return %y
}
"""


@pytest.mark.parametrize("text", [PIXELS, ROWS])
def test_large_products_are_quartered_where_that_was_measured(text: str):
    graph = typed_graph(text)
    (name,) = tiles_by_size(graph, "auto", ZEN)
    assert tiles_by_size(graph, "auto", ZEN) == {name: QUARTERED}
    assert tiles_by_size(graph, "auto", AVX512) == {}
    assert [tiles_by_size(graph, asked, ZEN) for asked in ("off", "f2", "f4")] == [{}, {}, {}]
    made = plan(graph, processor=ZEN)
    assert made.tiles == {name: QUARTERED}
    assert "strassen" in {work.kernel.name for work in made.works.values()}


@pytest.mark.parametrize(
    ("text", "this", "other"),
    [
        (PIXELS, "512", "256"),
        (PIXELS, "14,14", "9,9"),
        (PIXELS, "conv2d(%x, %w)", "conv2d(%x, %w) {strides=[2,2]}"),
        (PIXELS, "14,14", "56,56"),
        (PIXELS, "512", "520"),
        (ROWS, "768", "384"),
        (ROWS, "197", "49"),
        (ROWS, "1,197", "N"),
    ],
)
def test_others_are_not(text: str, this: str, other: str):
    text = text.replace(this, other).replace("%r: f32[N,256,14,14]", "%r: f32[N,256,7,7]" if "strides" in other else "%r: f32[N,256,14,14]")
    assert QUARTERED not in tiles_by_size(typed_graph(text), "auto", ZEN).values()


def test_pairs_lie_within_an_axis_of_an_odd_number_of_rows():
    sizes = {
        "1,197,768": (1, 197, 197),
        "197,1,768": (1, 197, 197),
        "4,49,768": (1, 196, 49),
        "N,49,768": (None, 49, 49),
        "2,98,768": (1, 196, 0),
    }
    for shape, wanted in sizes.items():
        (node,) = typed_graph(ROWS.replace("1,197,768", shape)).outputs
        size = quarters_of(node)
        assert size is not None
        assert (size.batch, size.rows, size.whole) == wanted


def test_nothing_is_written_over_what_is_read_twice():
    """Of 98 pairs in tiles of 14 nothing is computed twice; of 99 rows the last one is, and of 67 pairs some."""
    for image, twice in (("14,14", False), ("9,11", True), ("2,67", True)):
        (work,) = plan(typed_graph(PIXELS.replace("14,14", image)), {"c": QUARTERED}, processor=ZEN).works.values()
        assert work.kernel.twice == twice, image
