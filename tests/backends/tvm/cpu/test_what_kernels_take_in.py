"""What a kernel computes together with its own op, before it and after it, and what stays a kernel of its own."""

from __future__ import annotations

import pytest

from convc.backends.tvm.cpu.plan import plan
from convc.compiler.engines.optimize import optimize
from convc.tests.support.cpu_plans import kernels
from convc.tests.support.graphs import typed_graph
from convc.tests.support.tvm_modules import build_and_hold

RESIDUAL = """graph @g(%x: f32[N,16,12,12]) {
  %w = param : f32[16,16,3,3]
  %a = conv2d(%x, %w) {pads=[1,1,1,1]}
  %b = relu(%a)
  %c = conv2d(%b, %w) {pads=[1,1,1,1]}
  %d = add(%c, %b)
  %e = relu(%d)
  %y = max_pool(%e) {kernel=[2,2], strides=[2,2]}
  return %y
}
"""


def test_what_follows_a_convolution_is_computed_in_it():
    graph = typed_graph(RESIDUAL)
    works = plan(graph).works
    assert kernels(graph) == {"b": "winograd F(2x2)", "e": "winograd F(2x2)", "y": "max pool"}
    assert [node.name for node in works[graph.by_name["e"]].covers] == ["c", "d", "e"]
    assert [node.name for node in works[graph.by_name["e"]].others] == ["b"]


@pytest.mark.parametrize(
    ("size", "pool", "is_taken"),
    [
        (12, "", True),
        (12, ", pads=[1,1,0,0]", False),  # as many windows, of other pixels
        (13, ", ceil_mode=true", False),
        (12, ", dilations=[2,2]", False),
    ],
)
def test_a_pool_of_pairs_is_computed_where_its_tile_is(size: int, pool: str, is_taken: bool):
    graph = typed_graph(f"""graph @g(%x: f32[1,16,{size},{size}]) {{
      %w = param : f32[16,16,3,3] %a = conv2d(%x, %w) {{pads=[1,1,1,1]}} %b = relu(%a)
      %y = max_pool(%b) {{kernel=[2,2], strides=[2,2]{pool}}} return %y }}""")
    assert kernels(graph)["y"] == ("winograd F(2x2)" if is_taken else "max pool")


def test_a_value_that_is_read_twice_or_returned_is_stored():
    returned = typed_graph(RESIDUAL.replace("return %y", "return %y, %c"))
    assert kernels(returned) == {"b": "winograd F(2x2)", "c": "winograd F(2x2)", "e": "pointwise", "y": "max pool"}


GATED = """graph @g(%x: f32[N,24,9,9], %k: f32[N,24,9,9]) {
  %w = param : f32[24,24,1,1]
  %d = param : f32[24,1,3,3]
  %a = conv2d(%x, %w)
  %s = sigmoid(%a)
  %b = mul(%s, %a)
  %t = tanh(%b)
  %c = sub(%b, %t)
  %e = conv2d(%c, %d) {groups=24}
  %h = hard_sigmoid(%e)
  %y = mul(%e, %h)
  return %y
}
"""


def test_what_an_op_makes_of_a_value_may_be_its_gate():
    """As in x * sigmoid(x), one after another too."""
    graph = typed_graph(GATED)
    covers = {name: [node.name for node in plan(graph).works[graph.by_name[name]].covers] for name in "cy"}
    assert covers == {"c": ["a", "s", "b", "t", "c"], "y": ["e", "h", "y"]}
    build_and_hold(graph, {"N": 1}, {"N": 3})


@pytest.mark.parametrize(
    "edit",
    [
        ("return %y", "return %y, %a"),  # it is stored anyway
        ("tanh(%b)", "add(%a, %b)"),  # read once more
        ("sigmoid(%a)", "log(%a)"),  # no step
        ("sigmoid(%a)", "add(%a, %k)"),  # reads something besides
    ],
)
def test_a_value_that_is_needed_elsewhere_has_no_gate(edit: tuple[str, str]):
    graph = typed_graph(GATED.replace(*edit))
    assert plan(graph).works[graph.by_name["a"]].covers == (graph.by_name["a"],)
    if "log" not in edit[1]:
        build_and_hold(graph, {"N": 2})


SHUFFLED = """graph @g(%x: f32[N,20,5,7]) {
  %w = param : f32[20,20,1,1]
  %a = conv2d(%x, %w)
  %b = conv2d(%a, %w)
  %c = concat(%b, %a)
  %s = reshape(%c) {shape=[N,2,20,5,7]}
  %t = transpose(%s) {perm=[0,2,1,3,4]}
  %m = reshape(%t) {shape=[N,40,5,7]}
  %p = slice(%m) {axes=[1], starts=[0], ends=[20]}
  %q = slice(%m) {axes=[1], starts=[20], ends=[40]}
  %r = conv2d(%q, %w)
  %y = add(%p, %r)
  return %y
}
"""


def test_what_is_chosen_from_joined_channels_is_taken_where_they_were():
    better, _ = optimize(typed_graph(SHUFFLED), 2)
    works = plan(better).works
    covers = {node.name: tuple(part.name for part in works[node].covers) for node in works if node.name in "pq"}
    assert covers == {"p": ("c", "p"), "q": ("c", "q")}
    assert "stock" not in {call.kernel for call in plan(better).calls}
    build_and_hold(better, {"N": 1}, {"N": 2})


def test_joined_channels_that_are_read_whole_stay_joined():
    better, _ = optimize(typed_graph(SHUFFLED.replace("return %y", "return %y, %c")), 2)
    assert {call.node.name: call.kernel for call in plan(better).calls if call.node.name in "cpq"}["p"] == "pick channels"
    assert [node.name for node in plan(better).works[better.by_name["p"]].covers] == ["p"]
    build_and_hold(better, {"N": 2})


FLATTENED = """graph @g(%x: f32[N,3,5,4]) {
  %v = param : f32[20,3,3,3]
  %w = param : f32[7,120]
  %c = conv2d(%x, %v)
  %f = flatten(%c)
  %d = dense(%f, %w)
  %y = relu(%d)
  return %y
}
"""


@pytest.mark.parametrize(
    ("edits", "covers"),
    [
        ([], ["f", "d", "y"]),
        ([("%f = flatten(%c)", "%f = flatten(%x)"), ("f32[7,120]", "f32[7,60]")], ["f", "d", "y"]),
        ([("return %y", "return %y, %f")], ["d", "y"]),
        ([("%d = dense(%f, %w)", "%e = dense(%f, %w) %z = dense(%f, %w) %d = add(%e, %z)")], ["e", "d", "y"]),
        ([("flatten(%c)", "flatten(%c) {axis=3}"), ("f32[7,120]", "f32[7,2]")], ["d", "y"]),
    ],
    ids=["of a convolution", "of an input", "returned", "read twice", "of columns"],
)
def test_a_dense_layer_reads_an_image_as_it_lies(edits: list[tuple[str, str]], covers: list[str]):
    text = FLATTENED
    for was, now in edits:
        text = text.replace(was, now)
    graph = typed_graph(text)
    works = plan(graph).works.values()
    assert covers in [[node.name for node in work.covers] for work in works]
    build_and_hold(graph, {"N": 1}, {"N": 3})


NORM_BEFORE = """graph @g(%x: f32[N,24,15,9]) {
  %s1 = param : f32[24]
  %s2 = param : f32[24]
  %s3 = param : f32[24]
  %s4 = param {init=around_one} : f32[24]
  %w = param : f32[40,24,1,1]
  %n = batch_norm(%x, %s1, %s2, %s3, %s4)
  %r = relu(%n)
  %c = conv2d(%r, %w)
  %y = sigmoid(%c)
  return %y
}
"""


def test_a_norm_before_a_1x1_convolution_is_computed_in_it():
    graph = typed_graph(NORM_BEFORE)
    (work,) = plan(graph).works.values()
    assert [node.name for node in work.covers] == ["n", "r", "c", "y"]
    assert [node.name for node in work.operands] == ["x"]
    build_and_hold(graph, {"N": 1}, {"N": 3})


@pytest.mark.parametrize(
    "edit",
    [
        ("return %y", "return %y, %r"),  # its value is asked for
        ("%y = sigmoid(%c)", "%d = conv2d(%r, %w) %y = add(%c, %d)"),  # two read it
        ("conv2d(%r, %w)", "conv2d(%r, %w) {pads=[1,0,0,0]}"),  # a pad is zero after the norm
        ("conv2d(%r, %w)", "conv2d(%r, %w) {strides=[2,1]}"),
    ],
)
def test_a_norm_stays_by_itself(edit: tuple[str, str]):
    graph = typed_graph(NORM_BEFORE.replace(*edit))
    assert "depthwise" in kernels(graph).values()
    build_and_hold(graph, {"N": 2})


@pytest.mark.parametrize(  # 24 each
    ("steps", "kernels"), [(("add(%v{0}, %y)", "sub(%v{0}, %y)"), 84), (("tanh(%v{0})", "relu(%v{0})"), 84)]
)
def test_long_chains_are_several_kernels(steps: tuple[str, str], kernels: int):
    lines = [f"  %v{i + 1} = {steps[i % 2].format(i)}" for i in range(2000)]
    text = "\n".join(["graph @g(%v0: f32[1,16,2,2], %y: f32[1,16,2,2]) {", *lines, "  return %v2000", "}"])
    graph = typed_graph(text)
    assert sum(call.work is not None for call in plan(graph).calls) == kernels
    build_and_hold(graph)
