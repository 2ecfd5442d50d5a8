"""A sequence lies in blocks as an image of one row: the same kernels, from its first window on and until something else is wanted."""

from __future__ import annotations

from convc.backends.tvm.cpu.laid import STOCK
from convc.backends.tvm.cpu.plan import PACK, UNPACK, plan
from convc.tests.support.cpu_plans import kernels
from convc.tests.support.graphs import typed_graph
from convc.tests.support.tvm_modules import build_and_hold

SOUND = """graph @sound(%x: f32[N,3,50], %z: f32[N,40,48]) {
  %w = param : f32[40,3,5]
  %b = param {init=small} : f32[40]
  %a = conv1d(%x, %w, %b) {pads=[1,1]}
  %k = param : f32[40,1]
  %g = mul(%a, %k)
  %r = tanh(%g)
  %s = add(%r, %z)
  %d = param : f32[40,1,3]
  %e = conv1d(%s, %d) {strides=[2], pads=[1,1], groups=40}
  %f = relu(%e)
  %p = max_pool(%f) {kernel=[3], strides=[2], pads=[1,1]}
  %q = avg_pool(%f) {kernel=[3], strides=[2], pads=[1,1]}
  %c = concat(%p, %q)
  %u = resize(%c) {scales=[2.0], mode=bilinear}
  %t = param : f32[80,16,4]
  %v = conv_transpose1d(%u, %t) {strides=[2], pads=[1,1]}
  %h = slice(%v) {axes=[2], starts=[0], ends=[48], steps=[2]}
  %m = global_avg_pool(%h)
  return %v, %m
}
"""


def test_a_sequence_has_the_kernels_of_images():
    graph = typed_graph(SOUND)
    found = kernels(graph)
    assert found == {
        "a": "direct",
        "s": "by channel",
        "f": "depthwise",
        "p": "max pool",
        "q": "avg pool",
        "c": "concat",
        "u": "resize",
        "v": "transposed",
        "h": "max pool",
        "m": "global avg pool",
    }
    assert not [call for call in plan(graph).calls if call.kernel == STOCK]
    assert [call.node.name for call in plan(graph).calls if call.kernel in (PACK, UNPACK)] == ["z", "v", "m"]


def test_and_comes_out_right():
    build_and_hold(typed_graph(SOUND), {"N": 1}, {"N": 3})


def test_an_output_and_an_input_of_few_channels_lie_as_sequences():
    """Depthwise on planes: neither is moved into blocks."""
    text = """graph @planes(%x: f32[N,3,40]) {
  %w = param : f32[3,1,3]
  %a = conv1d(%x, %w) {pads=[1,1], groups=3}
  %y = relu(%a)
  return %y
}
"""
    graph = typed_graph(text)
    assert kernels(graph) == {"y": "depthwise planes"}
    build_and_hold(graph, {"N": 1}, {"N": 2})


def test_tokens_stay_where_they_are():
    """Of three axes the second may count tokens: no window, so no blocks, and nothing is packed."""
    text = """graph @tokens(%x: f32[N,32,48], %z: f32[N,32,48]) {
  %a = add(%x, %z)
  %r = relu(%a)
  %y = concat(%r, %z) {axis=1}
  return %y
}
"""
    assert kernels(typed_graph(text)) == {"r": "elements", "y": "move"}


def test_a_named_length_is_left_to_the_stock_rows():
    text = """graph @free(%x: f32[N,4,L]) {
  %w = param : f32[8,4,5]
  %a = conv1d(%x, %w) {strides=[2], pads=[2,2]}
  %r = relu(%a)
  %p = max_pool(%r) {kernel=[2], strides=[2]}
  %v = param : f32[8,4,4]
  %y = conv_transpose1d(%p, %v) {strides=[2], pads=[1,1]}
  return %y
}
"""
    graph = typed_graph(text)
    assert kernels(graph) == {}
    build_and_hold(graph, {"N": 1, "L": 40}, {"N": 2, "L": 23})
