"""Tiles: of Winograd's form, as the user, the batch, the processor and a pool want them, and of sums in registers."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from convc.backends.tvm.cpu.kernels.direct.kernel import direct
from convc.backends.tvm.cpu.kernels.direct.size import Direct
from convc.backends.tvm.cpu.kernels.windows import Window
from convc.backends.tvm.cpu.kernels.winograd.weight_gradient import TiledWeightGradient, points_along
from convc.backends.tvm.cpu.plan import plan
from convc.backends.tvm.cpu.tiles import tiles_by_size
from convc.backends.tvm.processor import AVX2, AVX512, NEON, SSE, ZEN, ZEN_5, Processor
from convc.tests.support.cpu_plans import kernels
from convc.tests.support.graphs import typed_graph

POOLED = """graph @g(%x: f32[N,16,13,12]) {
  %w = param : f32[16,16,3,3]
  %a = conv2d(%x, %w) {pads=[1,1,1,1]}
  %b = relu(%a)
  %y = max_pool(%b) {kernel=[2,2], strides=[2,2]}
  return %y
}
"""


def test_tiles_hold_whole_windows_of_a_pool_of_pairs():
    for tile in (2, 4):
        (work,) = plan(typed_graph(POOLED), {"a": tile}).works.values()
        assert [node.name for node in work.covers] == ["a", "b", "y"]
        assert work.kernel.tile == tile


@pytest.mark.parametrize(
    ("this", "other"),
    [
        ("strides=[2,2]}\n  return %y", "strides=[2,2]}\n  return %y, %b"),
        ("strides=[2,2]", "strides=[2,2], ceil_mode=true"),  # its last window has one row
        ("kernel=[2,2]", "kernel=[3,3]"),
        ("strides=[2,2]", "strides=[2,1]"),
        ("strides=[2,2]", "strides=[2,2], pads=[1,0,0,0]"),
        ("%b = relu(%a)", "%b = add(%a, %x)"),
    ],
)
def test_other_pools_are_kernels_of_their_own(this: str, other: str):
    assert this in POOLED
    assert kernels(typed_graph(POOLED.replace(this, other))) == {"b": "winograd F(2x2)", "y": "max pool"}


@pytest.mark.parametrize(("winograd", "wanted"), [("off", "direct"), ("f2", "winograd F(2x2)"), ("f4", "winograd F(4x4)")])
def test_the_user_decides_about_winograd(winograd: str, wanted: str):
    graph = typed_graph(POOLED.replace("kernel=[2,2]", "kernel=[3,3]"))  # a pool that is no part of it
    assert kernels(graph, winograd)["b"] == wanted


def test_a_lone_image_takes_smaller_tiles_further():
    """It alone pays for all weights, of which there are fewer then."""

    def tile(batch: str, rows: int, processor: Processor) -> int:
        text = f"""graph @g(%x: f32[{batch},64,{rows},{rows}]) {{
          %w = param : f32[64,64,3,3]
          %y = conv2d(%x, %w) {{pads=[1,1,1,1]}}
          return %y
        }}"""
        return plan(typed_graph(text), processor=processor).tiles["y"]

    assert [tile(batch, 14, AVX512) for batch in ("1", "N", "2")] == [2, 2, 4]
    assert [tile("1", rows, AVX512) for rows in (15, 28)] == [4, 4]
    assert tile("1", 14, ZEN) == 4


def test_where_memory_is_slow_only_few_weights_take_larger_tiles():
    def tile(channels: int, rows: int) -> int:
        text = f"""graph @g(%x: f32[1,{channels},{rows},{rows}]) {{
          %w = param : f32[{channels},{channels},3,3]
          %y = conv2d(%x, %w) {{pads=[1,1,1,1]}}
          return %y
        }}"""
        return plan(typed_graph(text), processor=ZEN_5).tiles["y"]

    assert [tile(channels, 14) for channels in (256, 512)] == [4, 2]
    assert tile(512, 28) == 4


@pytest.mark.parametrize(
    ("winograd", "kernel", "tile"),
    [
        ("auto", "5,5", 2),
        ("f2", "5,5", 0),
        ("f4", "5,5", 2),
        ({"y": 2}, "5,5", 2),
        ({"y": 4}, "5,5", 0),
        ("off", "5,5", 0),
        ("auto", "5,3", 0),
        ("auto", "7,7", 0),
    ],
)
def test_tiles_of_5x5_are_of_2x2(winograd: str | dict[str, int], kernel: str, tile: int):
    text = f"""graph @g(%x: f32[1,32,27,27]) {{
      %w = param : f32[48,32,{kernel}]
      %y = conv2d(%x, %w) {{pads=[2,2,2,2]}}
      return %y
    }}"""
    graph = typed_graph(text)
    tiles = tiles_by_size(graph, winograd, AVX512) if isinstance(winograd, str) else winograd
    (work,) = plan(graph, tiles).works.values()
    assert work.kernel.tile == tile


def test_groups_of_whole_blocks_have_tiles_where_products_outweigh_weights():
    def tile(groups: int, rows: int, batch: str = "1", pads: int = 1) -> int:
        text = f"""graph @g(%x: f32[{batch},96,{rows},{rows}]) {{
          %w = param : f32[96,{96 // groups},3,3]
          %y = conv2d(%x, %w) {{pads=[{pads},{pads},{pads},{pads}], groups={groups}, dilations=[{pads},{pads}]}}
          return %y
        }}"""
        return plan(typed_graph(text), processor=ZEN).tiles.get("y", 0)

    assert [tile(6, rows) for rows in (28, 14, 7)] == [4, 2, 0]
    assert [tile(6, rows, "N") for rows in (28, 14, 7)] == [4, 4, 4], "images share the weights"
    assert [tile(groups, 28) for groups in (2, 12, 4)] == [4, 0, 0], "blocks of 16 are whole in groups of 48 alone"
    assert tile(2, 28, pads=2) == 0, "dilated"


@pytest.mark.parametrize("cols", [1, 7, 13, 17, 56, 149])
@pytest.mark.parametrize("blocks", [1, 2, 3, 4, 7, 13])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("processor", [AVX512, AVX2, NEON, SSE])
def test_register_tiles_cover_the_result_once_and_fit(cols: int, blocks: int, groups: int, processor: Processor):
    size = Direct(1, groups, 16, Window(1, cols, (1, 1)), blocks * groups, groups, (), processor=processor)
    covered: list[tuple[int, int]] = []
    for first, tiles, deep in size.depths():
        for run in size.window.runs(size.widest(deep)):
            width = len(run.columns)
            assert (width + 1) * deep * 16 + processor.lanes <= processor.floats  # with what is loaded
            places = [run.first + tile * width + j for tile in range(run.tiles) for j in range(width)]
            covered += [(first + block, place) for block in range(tiles * deep) for place in places]
    assert sorted(covered) == [(block, place) for block in range(blocks) for place in range(cols)]


@pytest.mark.parametrize("blocks", [(15, 60), (60, 15)])
def test_a_single_pixel_of_many_weights_is_divided_evenly(blocks: tuple[int, int]):
    """As in squeeze-and-excite: the weights' way from memory is what takes long."""
    size = Direct(1, blocks[0], 16, Window(1, 1, (1, 1)), blocks[1], 1, ())
    ((first, tiles, deep),) = size.depths()
    assert (first, tiles * deep, deep) == (0, blocks[1], 1 if blocks[1] % 2 else 2)
    assert direct(size).script().count("T.parallel(") == 1
    assert replace(size, batch=2).depths()[0][2] == 2, "which weights in a cache serve both"
    assert "T.parallel" not in direct(Direct(1, 15, 16, Window(1, 1, (1, 1)), 8, 1, ())).script(), "to wake a thread would take longer"


@pytest.mark.parametrize(("processor", "filters", "wanted"), [(ZEN, 6, 0), (ZEN, 9, 2), (AVX512, 6, 2)])
def test_half_a_vector_of_computed_filters_is_convolved_directly(processor: Processor, filters: int, wanted: int):
    """By 5x5, where that takes half of the time."""
    text = f"""graph @g(%x: f32[64,16,14,14], %w: f32[{filters},16,5,5]) {{
      %v = mul(%w, %w)
      %y = conv2d(%x, %v) {{pads=[2,2,2,2]}}
      return %y
    }}"""
    assert plan(typed_graph(text), processor=processor).tiles.get("y", 0) == wanted


def test_last_tiles_of_a_weight_gradient_count_as_the_products_they_are():
    """By whole tiles 5x5 of 16 images would go to the direct kernel, and 6x6 to the smaller tiles: they took 1.4 and 1.1 times as long."""

    def tile(batch: int, side: int) -> int:
        image = f"f32[{batch},64,{side},{side}]"
        text = f"graph @g(%x: {image}, %g: {image}) {{ %y = conv2d_weight_gradient(%x, %g) {{kernel=[3,3], pads=[1,1,1,1]}} return %y }}"
        return plan(typed_graph(text), processor=ZEN).tiles.get("y", 0)

    assert [tile(16, side) for side in (3, 5, 6, 8)] == [0, 4, 4, 4]
    assert [tile(4, side) for side in (5, 9, 12)] == [0, 4, 4]


@pytest.mark.parametrize("m", [2, 4])
def test_points_of_an_axis_are_those_of_all_of_its_tiles(m: int):
    for side in range(1, 14):
        size = TiledWeightGradient(m, 1, 16, 16, side, side + 3, (1, 1, 1, 1))
        products = sum(math.prod(size.grid_at(x, y)) for x in range(size.a) for y in range(size.a))
        assert points_along(m, side) * points_along(m, side + 3) == products
