"""Networks of tokens: which kernels compute them, what is only read by another way, and that they come out right."""

from __future__ import annotations

from collections import Counter

import pytest

from convc.backends.tvm.cpu.plan import plan
from convc.ir.graph import Graph
from convc.tests.support.graphs import typed_graph
from convc.tests.support.tvm_modules import build_and_hold, sizes_of


def calls(graph: Graph) -> Counter[str]:
    """Kernels by name; stock rows by their op."""
    return Counter(f"stock {call.node.kind.name}" if call.kernel == "stock" else call.kernel for call in plan(graph).calls)


TOKENS = """graph @g(%x: f32[BATCH,7,32]) {
  %s = param : f32[32]
  %t = param : f32[32]
  %w = param : f32[32,96]
  %b = param : f32[96]
  %scale = param : f32[]
  %o = param : f32[32,32]
  %n = layer_norm(%x, %s, %t) {axis=2}
  %m = matmul(%n, %w)
  %a = add(%m, %b)
  %r = reshape(%a) {shape=[BATCH,7,3,2,16]}
  %p = transpose(%r) {perm=[2,0,3,1,4]}
  %q1 = slice(%p) {axes=[0], starts=[0], ends=[1]}
  %k1 = slice(%p) {axes=[0], starts=[1], ends=[2]}
  %v1 = slice(%p) {axes=[0], starts=[2], ends=[3]}
  %q = reshape(%q1) {shape=[BATCH,2,7,16]}
  %k2 = reshape(%k1) {shape=[BATCH,2,7,16]}
  %v = reshape(%v1) {shape=[BATCH,2,7,16]}
  %k = transpose(%k2) {perm=[0,1,3,2]}
  %qs = mul(%q, %scale)
  %z = matmul(%qs, %k)
  %e = softmax(%z) {axis=3}
  %y = matmul(%e, %v)
  %u = transpose(%y) {perm=[0,2,1,3]}
  %f = reshape(%u) {shape=[BATCH,7,32]}
  %g = matmul(%f, %o)
  %h = add(%g, %x)
  %l = gelu(%h)
  return %l
}"""


@pytest.mark.parametrize("batch", ["N", "1", "3"])
def test_heads_are_read_where_one_layer_left_them(batch: str) -> None:
    graph = typed_graph(TOKENS.replace("BATCH", batch))
    assert calls(graph) == {"layer norm": 1, "rows": 2, "attention": 1}
    assert [node.name for node in plan(graph).works[graph.by_name["l"]].covers] == ["g", "h", "l"]
    build_and_hold(graph, *sizes_of(batch))


def test_scores_that_something_else_reads_are_computed() -> None:
    graph = typed_graph(TOKENS.replace("BATCH", "1").replace("return %l", "return %l, %e"))
    assert "attention" not in calls(graph)
    build_and_hold(graph)


WINDOWS = """graph @g(%x: f32[1,8,8,16]) {
  %w = param : f32[16,48]
  %zero = param : f32[1,2,16,16]
  %hidden = param : f32[1,4,1,16,16]
  %a1 = slice(%x) {axes=[1], starts=[2], ends=[8]}
  %a2 = slice(%x) {axes=[1], starts=[0], ends=[2]}
  %a = concat(%a1, %a2) {axis=1}
  %b1 = slice(%a) {axes=[2], starts=[2], ends=[8]}
  %b2 = slice(%a) {axes=[2], starts=[0], ends=[2]}
  %b = concat(%b1, %b2) {axis=2}
  %c = reshape(%b) {shape=[1,2,4,2,4,16]}
  %d = transpose(%c) {perm=[0,1,3,2,4,5]}
  %e = reshape(%d) {shape=[4,16,16]}
  %f = matmul(%e, %w)
  %r = reshape(%f) {shape=[4,16,3,2,8]}
  %p = transpose(%r) {perm=[2,0,3,1,4]}
  %i0 = slice(%p) {axes=[0], starts=[0], ends=[1]}
  %i1 = slice(%p) {axes=[0], starts=[1], ends=[2]}
  %i2 = slice(%p) {axes=[0], starts=[2], ends=[3]}
  %q = reshape(%i0) {shape=[4,2,16,8]}
  %k1 = reshape(%i1) {shape=[4,2,16,8]}
  %v = reshape(%i2) {shape=[4,2,16,8]}
  %k = transpose(%k1) {perm=[0,1,3,2]}
  %z1 = matmul(%q, %k)
  %z2 = add(%z1, %zero)
  %z3 = reshape(%z2) {shape=[1,4,2,16,16]}
  %z4 = add(%z3, %hidden)
  %z = reshape(%z4) {shape=[4,2,16,16]}
  %s = softmax(%z) {axis=3}
  %m = matmul(%s, %v)
  %n = transpose(%m) {perm=[0,2,1,3]}
  %o = reshape(%n) {shape=[1,2,2,4,4,16]}
  %t = transpose(%o) {perm=[0,1,3,2,4,5]}
  %y = reshape(%t) {shape=[1,8,8,16]}
  %u = add(%y, %x)
  return %u
}"""


def test_windows_that_are_turned_and_masked() -> None:
    graph = typed_graph(WINDOWS)
    found = calls(graph)
    assert found["attention"] == found["rows"] == found["elements"] == 1
    assert found["move"] == 4  # two rolls, into windows and out of them
    assert set(found) <= {"attention", "rows", "elements", "move", "stock reshape"}
    build_and_hold(graph)


def scores(steps: str, axis: int = 3) -> Graph:
    """Between a product and the softmax of %t are `steps` from %z on."""
    return typed_graph(f"""graph @g(%q: f32[4,3,5,8], %k: f32[4,3,8,7], %v: f32[4,3,7,8]) {{
      %c = param {{init=full, value=4.0}} : f32[] %m = param : f32[5,7] %each = param : f32[4,1,5,7] %two = param : f32[2,1,5,7]
      %z = matmul(%q, %k) {steps} %e = softmax(%t) {{axis={axis}}} %y = matmul(%e, %v) return %y }}""")


TWO_MASKS = "%a = add(%z, %each) %b = reshape(%a) {shape=[2,2,3,5,7]} %d = add(%b, %two) %t = reshape(%d) {shape=[4,3,5,7]}"


@pytest.mark.parametrize(
    ("steps", "factor"), [("%d = mul(%z, %c) %t = add(%d, %m)", 4), ("%t = div(%z, %c)", 1 / 4), ("%t = add(%z, %each)", 1)]
)
def test_scores_are_scaled_and_masked_in_one_kernel(steps: str, factor: float) -> None:
    graph = scores(steps)
    assert calls(graph)["attention"] == 1
    scale, *_ = plan(graph).works[graph.by_name["y"]].arguments
    assert scale.make(lambda node: node.weights.array()) == [factor]


@pytest.mark.parametrize(
    ("steps", "axis"),
    [("%d = add(%z, %m) %t = mul(%d, %c)", 3), ("%t = add(%z, %m)", 2), (TWO_MASKS, 3), ("%t = div(%c, %z)", 3)],
    ids=["a mask is scaled", "shares of queries", "masks for four images and for two", "a reciprocal"],
)
def test_scores_that_are_another_thing_are_computed(steps: str, axis: int) -> None:
    assert "attention" not in calls(scores(steps, axis))


CHANNELS_LAST = """graph @g(%x: f32[BATCH,24,6,6]) {
  %w = param : f32[24,1,3,3]
  %s = param : f32[24]
  %t = param : f32[24]
  %v = param : f32[24,40]
  %u = param : f32[40,24]
  %a = conv2d(%x, %w) {pads=[1,1,1,1], groups=24}
  %b = transpose(%a) {perm=[0,2,3,1]}
  %c = layer_norm(%b, %s, %t) {axis=3}
  %d = matmul(%c, %v)
  %e = gelu(%d)
  %f = matmul(%e, %u)
  %g = transpose(%f) {perm=[0,3,1,2]}
  %h = add(%g, %x)
  %y = conv2d(%h, %w) {pads=[1,1,1,1], groups=24}
  return %y
}"""


@pytest.mark.parametrize("batch", ["N", "1"])
def test_channels_are_moved_last_and_back_by_vectors(batch: str) -> None:
    graph = typed_graph(CHANNELS_LAST.replace("BATCH", batch))
    found = calls(graph)
    assert found["to channels last"] == found["from channels last"] == found["layer norm"] == 1
    assert found["rows"] == 2
    assert not any(name.startswith("stock") for name in found)
    build_and_hold(graph, *sizes_of(batch))


@pytest.mark.parametrize("batch", ["N", "2"])
def test_products_of_computed_values(batch: str) -> None:
    text = """graph @g(%x: f32[BATCH,3,5,20], %z: f32[BATCH,3,20,18], %w: f32[20,18]) {
      %a = matmul(%x, %z)
      %b = relu(%a)
      %c = matmul(%x, %w)
      return %b, %c
    }"""
    graph = typed_graph(text.replace("BATCH", batch))
    assert calls(graph) == {"matmul": 1, "rows of computed weights": 1}  # of one matrix for all
    build_and_hold(graph, *sizes_of(batch))


def test_heads_whose_depth_lies_across_the_batch() -> None:
    """The distance between elements of a query, a key, a value and a result is then a number times the batch."""
    graph = typed_graph("""graph @g(%a: f32[8,N,6], %b: f32[8,N,5], %c: f32[16,N,5]) {
      %q = transpose(%a) {perm=[1,2,0]}
      %k = transpose(%b) {perm=[1,0,2]}
      %v = transpose(%c) {perm=[1,2,0]}
      %z = matmul(%q, %k)
      %e = softmax(%z) {axis=2}
      %m = matmul(%e, %v)
      %y = transpose(%m) {perm=[2,0,1]}
      return %y
    }""")
    assert calls(graph) == {"attention": 1}
    build_and_hold(graph, {"N": 1}, {"N": 3})


def test_a_product_takes_nothing_in_that_has_other_rows() -> None:
    """Its kernel takes the number of its results from the last axis of what it leaves."""
    text = """graph @g(%x: f32[2,6,3], %w: f32[4,3,5], %z: f32[4,5,8]) {
      %v = param : f32[3,2]
      %a = matmul(%x, %v)
      %b = reshape(%a) {shape=[2,2,6]}
      %c = relu(%b)
      %d = matmul(%w, %z)
      %e = reshape(%d) {shape=[4,6,4]}
      %f = relu(%e)
      return %c, %f
    }"""
    graph = typed_graph(text)
    assert calls(graph) == {"rows": 1, "matmul": 1, "elements": 2, "stock reshape": 2}
    build_and_hold(graph)


@pytest.mark.parametrize(("shape", "kernels"), [("5", {"rows": 1}), ("1,5", {"rows": 1}), ("5,1", {"rows": 1, "elements together": 1})])
def test_a_bias_lies_along_the_results(shape: str, kernels: dict[str, int]) -> None:
    """A column has as many numbers where there are as many rows, and is none."""
    text = f"graph @g(%x: f32[5,8]) {{ %w = param : f32[8,5] %b = param : f32[{shape}] %a = matmul(%x, %w) %y = add(%a, %b) return %y }}"
    assert calls(typed_graph(text)) == kernels
