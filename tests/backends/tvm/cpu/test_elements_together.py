"""Which element-wise ops are computed together, and where their sums are taken on the way."""

from __future__ import annotations

import numpy as np
import pytest

from convc.backends.tvm.cpu.plan import plan
from convc.compiler.engines.tvm import TVM
from convc.ir.graph import Graph
from convc.tests.support.graphs import typed_graph
from convc.tests.support.tvm_modules import build_and_hold


def calls(graph: Graph) -> list[str]:
    return [call.kernel if call.work else f"{call.kernel} {call.node.kind.name}" for call in plan(graph).calls]


def read_by(kernel: str, graph: Graph) -> list[str]:
    """What the one call of a kernel reads."""
    (work,) = (call.work for call in plan(graph).calls if call.kernel == kernel)
    assert work is not None
    return [node.name for node in (*work.operands, *work.others)]


def test_an_update_is_two_passes() -> None:
    """A weight's momentum, which is kept, and the weight; the rate is a number that a run is given."""
    graph = typed_graph("""graph @g(%w: f32[5,7], %g: f32[5,7], %v: f32[5,7], %rate: f32[]) {
      %momentum = param {init=full, value=0.9} : f32[]
      %decay = param {init=full, value=0.01} : f32[]
      %wd = mul(%w, %decay)
      %sum = add(%g, %wd)
      %old = mul(%v, %momentum)
      %next_v = add(%old, %sum)
      %step = mul(%rate, %next_v)
      %next_w = sub(%w, %step)
      return %next_v, %next_w
    }""")
    assert calls(graph) == ["elements together", "elements together"]
    build_and_hold(graph)


def test_rows_by_their_means() -> None:
    """What only sums read is not stored, and a condition that two groups read is computed by both."""
    graph = typed_graph("""graph @g(%x: f32[N,5,20], %g: f32[N,5,20], %scale: f32[20]) {
      %two = param {init=full, value=2.0} : f32[]
      %mean = reduce_mean(%x) {axes=[2], keepdims=true}
      %off = sub(%x, %mean)
      %exp = exp(%off)
      %above = greater(%off, %two)
      %chosen = where(%above, %g, %exp)
      %scaled = mul(%chosen, %scale)
      %other = where(%above, %exp, %g)
      %product = mul(%other, %g)
      %sums = reduce_sum(%product) {axes=[0,1], keepdims=false}
      %means = reduce_mean(%product) {axes=[-1], keepdims=false}
      return %scaled, %sums, %means
    }""")
    assert calls(graph) == ["row sums", *["elements together"] * 3, "column sums", "row sums"]
    build_and_hold(graph, {"N": 1}, {"N": 3})


def test_a_value_less_itself_is_nothing_only_where_it_is_a_number() -> None:
    """TVM's simplifier takes x - x for 0, x == x for true and x + c - c for x, which rounds to whole numbers here."""
    graph = typed_graph("""graph @g(%x: f32[17]) {
      %large = param {init=full, value=12582912.0} : f32[]
      %one = param {init=full, value=1.0} : f32[]
      %relu = relu(%x)
      %none = sub(%relu, %relu)
      %is_number = equal(%relu, %relu)
      %chosen = where(%is_number, %none, %one)
      %far = add(%x, %large)
      %whole = sub(%far, %large)
      return %chosen, %whole
    }""")
    assert calls(graph) == ["elements together"] * 2
    x = np.array([np.nan, np.inf, -np.inf, -0.0, 0.5, 1.5, 2.25, -3.7, *range(9)], np.float32)
    found = TVM.start(graph, 1)({"x": x})
    assert np.array_equal(found["chosen"], np.where(np.isfinite(x) | (x < 0), 0.0, [1.0, *[np.nan] * 16]), equal_nan=True)
    assert np.array_equal(found["whole"], np.rint(x), equal_nan=True)


def test_what_is_returned_is_stored() -> None:
    """An output that only the group reads is no part of it, and sums of one read it."""
    graph = typed_graph("""graph @g(%x: f32[5,20], %g: f32[5,20]) {
      %exp = exp(%x)
      %product = mul(%x, %g)
      %both = add(%exp, %product)
      %other = sub(%x, %g)
      %sums = reduce_sum(%other) {axes=[1], keepdims=false}
      return %product, %both, %other, %sums
    }""")
    assert read_by("row sums", graph) == ["other"]
    build_and_hold(graph)


def test_sums_of_what_a_product_left() -> None:
    """A kernel's own steps are no ops on the way: what is before them is nowhere."""
    graph = typed_graph("""graph @g(%x: f32[N,20,6,6]) {
      %w = param : f32[20,20,3,3]
      %conv = conv2d(%x, %w) {pads=[1,1,1,1]}
      %relu = relu(%conv)
      %sums = reduce_sum(%relu) {axes=[2,3], keepdims=true}
      %y = neg(%sums)
      return %y
    }""")
    assert read_by("image sums", graph) == ["relu"]
    build_and_hold(graph, {"N": 1}, {"N": 3})


def test_the_way_back_through_means_of_channels() -> None:
    """Spread over the image, and through a gate: in blocks, of which no lane of padding is divided by 0."""
    text = """graph @g(%x: f32[N,20,6,6], %g: f32[N,20,1,1]) {
      %zero = param {init=full, value=0.0} : f32[]
      %count = param {init=full, value=36.0} : f32[]
      %y = max_pool(%x) {kernel=[1,1]}
      %spread = expand(%g) {shape=[N,20,6,6]}
      %each = div(%spread, %count)
      %above = greater(%y, %zero)
      %back = where(%above, %each, %zero)
      %z = max_pool(%back) {kernel=[2,2]}
      return %z
    }"""
    graph = typed_graph(text)
    assert calls(graph) == ["pack input", "max pool", "pack input", "elements together", "max pool", "unpack max_pool"]
    build_and_hold(graph, {"N": 1}, {"N": 3})
    by_image = typed_graph(text.replace("div(%spread, %count)", "div(%spread, %y)"))
    assert "stock div" in calls(by_image)
    build_and_hold(by_image, {"N": 2})


def test_the_way_back_through_a_gate_of_channels() -> None:
    """Sums over each image, of products that are not stored."""
    graph = typed_graph("""graph @g(%x: f32[N,20,6,6], %g: f32[N,20,6,6]) {
      %y = max_pool(%x) {kernel=[1,1]}
      %product = mul(%g, %y)
      %sums = reduce_sum(%product) {axes=[2,3], keepdims=true}
      %z = mul(%y, %sums)
      return %z
    }""")
    assert calls(graph) == ["pack input", "max pool", "pack input", "image sums", "by image", "unpack mul"]
    build_and_hold(graph, {"N": 1}, {"N": 3})


def test_the_way_back_through_a_tanh() -> None:
    """Steps alone, of which no chain reads a value twice."""
    graph = typed_graph("""graph @g(%x: f32[N,20,6,6], %g: f32[N,20,6,6]) {
      %one = param {init=full, value=1.0} : f32[]
      %y = max_pool(%x) {kernel=[1,1]}
      %square = mul(%y, %y)
      %less = sub(%one, %square)
      %back = mul(%g, %less)
      return %back
    }""")
    assert calls(graph) == ["pack input", "max pool", "pack input", "elements together", "unpack mul"]
    build_and_hold(graph, {"N": 1}, {"N": 3})


MEANS = """graph @g(%x: f32[N,20,6,6], %g: f32[N,20,3,2]) {
  %ones = param {init=full, value=1.0} : f32[20,1,2,3]
  %y = max_pool(%x) {kernel=[1,1]}
  %spread = conv_transpose2d(%g, %ones) {groups=20, strides=[2,3]}
  %square = mul(%y, %y)
  %back = mul(%spread, %square)
  return %back
}"""


def test_the_way_back_through_means_of_windows() -> None:
    """Of windows side by side nothing is summed up: a number is read for each element of its window."""
    graph = typed_graph(MEANS)
    assert calls(graph) == ["pack input", "max pool", "pack input", "elements together", "unpack mul"]
    build_and_hold(graph, {"N": 1}, {"N": 3})


def test_sums_over_each_image_of_what_windows_lay_side_by_side_are_no_image_sums() -> None:
    """Their pixels are counted in turn, which knows no windows."""
    text = MEANS.replace("return %back", "%sums = reduce_sum(%back) {axes=[2,3], keepdims=true}\n%z = mul(%y, %sums)\nreturn %z")
    graph = typed_graph(text)
    assert "image sums" not in calls(graph)
    build_and_hold(graph, {"N": 2})


@pytest.mark.parametrize(
    ("this", "other"),
    [
        ("value=1.0", "value=2.0"),
        ("{init=full, value=1.0}", ""),  # from a file: nobody has looked
        ("strides=[2,3]", "strides=[2,4], output_padding=[0,1], pads=[0,1,0,1]"),
        ("%x: f32[N,20,6,6]", "%x: f32[N,20,7,6]"),  # a row that no window reads
    ],
)
def test_other_ways_back_are_sums(this: str, other: str) -> None:
    text = MEANS.replace(this, other)
    assert text != MEANS
    if other.startswith("%x"):
        text = text.replace("strides=[2,3]", "strides=[2,3], output_padding=[1,0]")
    assert "depthwise transposed" in calls(typed_graph(text))
