"""IR text: round trips, and refusals with line and column."""

from __future__ import annotations

import sys

import pytest

from convc.ir.errors import InvalidModel, ParseError
from convc.ir.graph import Graph, Node, Origin
from convc.ir.ops.activation import RELU, Relu
from convc.ir.parser import parse_graph
from convc.ir.printer import print_graph
from convc.ir.verifier import verify_graph
from convc.tests.support.tiers import GREAT

EVERYTHING = """graph @"a net"(%x: f32[N,4,2*H,(W+1)//2], %"odd \\"name\\"\\n": i64[]) {
  %w = param {init=zeros, key=other, seed=3} : f32[6,2,3,3]
  %k = param {init=full, value=0.5} : f32[]
  %c = conv2d(%x, %w) {strides=[2,1], pads=[1,0,1,1], groups=2} at "net.py:3" in "stage1" from "a", "b c"
  %p = clip(%c) {min=-1.5, max=6.0}
  %s = slice(%p) {axes=[2], starts=[0], ends=[-1]}
  %m = reshape(%x) {shape=[N,-1]}
  %q = cast(%m) {to=f16}
  return %p, %q, %k
}
"""


def test_everything_survives_the_round_trip():
    text = EVERYTHING.replace("  %s = slice(%p) {axes=[2], starts=[0], ends=[-1]}\n", "")
    assert print_graph(parse_graph(text), origins=True) == text


@pytest.mark.parametrize(
    ("dtype", "value", "held"),
    [("i4", "100", "-8 to 7"), ("u8", "-1", "0 to 255"), ("i64", "1e19", "-9223372036854775808 to 9223372036854775807"),
     ("i32", "0.5", "-2147483648 to 2147483647"), ("u2", "nan", "0 to 3")],
)  # fmt: skip
def test_a_number_that_its_type_does_not_hold_is_refused(dtype, value, held):
    with pytest.raises(InvalidModel, match=rf"%k = param is full of .*, but {dtype} holds whole numbers from {held}"):
        parse_graph(f"graph @g() {{ %k = param {{init=full, value={value}}} : {dtype}[2] return %k }}")


def test_origins_are_printed_only_when_asked():
    graph = parse_graph('graph @g(%x: f32[1]) {\n  %y = relu(%x) at "net.py:3"\n  return %y\n}\n')
    assert "net.py" not in print_graph(graph)
    assert graph.by_name["y"].origin == Origin("net.py:3")


def test_where_a_text_was_read_is_not_printed():
    text = "graph @g(%x: f32[1]) {\n  %y = relu(%x)\n  return %y\n}\n"
    graph = parse_graph(text, "net.cir")
    assert [node.where for node in graph.nodes] == ["%x = input (net.cir:1)", "%y = relu (net.cir:2)"]
    assert print_graph(graph, origins=True) == text
    assert parse_graph(text).by_name["y"].where == "%y = relu"


def test_control_characters_never_reach_the_text():
    shown = print_graph(parse_graph('graph @g(%"\\u{1b}[31m": f32[1]) {\n  return %"\\u{1b}[31m"\n}\n'))
    assert "\x1b" not in shown
    assert "\\u{1b}" in shown


@pytest.mark.parametrize(
    ("text", "line", "column", "message"),
    [
        ("graph @g(%x: f32[1]) {\n  %y = rleu(%x)\n  return %y\n}", 2, 8, "unknown op 'rleu'; did you mean 'relu'?"),
        ("graph @g(%x: f32[1]) {\n  %y = relu(%z)\n  return %y\n}", 2, 13, "%z is not defined"),
        ("graph @g(%x: f32[1]) {\n  %y = relu(%z)\n  %z = relu(%y)\n  return %y\n}", 2, 13, "a cycle, or lines out of order"),
        ("graph @g(%x: f32[1]) {\n  %y = relu(%y)\n  return %y\n}", 2, 13, "a cycle"),
        ("graph @g(%x: f32[1]) {\n  %y = relu(%x)\n  %y = relu(%x)\n  return %y\n}", 3, 3, "%y is defined twice"),
        ("graph @g(%x: f32[1]) {\n  %y = relu(%x, %x)\n  return %y\n}", 2, 8, "relu takes 1 operands, not 2"),
        ("graph @g(%x: f32[1]) {\n  %y = clip(%x) {low=1.0}\n  return %y\n}", 2, 8, "unknown attribute 'low'; it has min, max"),
        ("graph @g(%x: f32[1]) {\n  %y = clip(%x) {min=[1]}\n  return %y\n}", 2, 8, "attribute 'min' is [1], expected a number"),
        ("graph @g(%x: f32[1,1]) {\n  %y = max_pool(%x)\n  return %y\n}", 2, 8, "attribute 'kernel' is missing"),
        ("graph @g(%x: f32[1]) {\n  %w = param\n  return %w\n}", 2, 8, "needs a type"),
        ("graph @g(%x: f33[1]) {\n  return %x\n}", 1, 14, "unknown element type 'f33'"),
        ("graph @g(%x: f32[1]) {\n  return %x\n", 3, 1, "expected '}', found 'the end of the text'"),
        ("graph @g(%x: f32[1]) {\n  ?\n}", 2, 3, "unexpected character '?'"),
        ("graph @g(%x: f32[1]) {\n  return %x\n} more", 3, 3, "after the graph"),
        ("", 1, 1, "expected 'graph'"),
        ("graph @g(%x: f32[1,1,4,4]) {\n  %y = max_pool(%x) {kernel=[1,1], pads=[1 1,1,1,1]}\n  return %y\n}", 2, 42, "unexpected '1'"),
        ("graph @g(%x: f32[1 0,4]) {\n  return %x\n}", 1, 18, "'1 0' is not a dimension: unexpected '0'"),
        ("graph @g(%x: f32[N 3,4]) {\n  return %x\n}", 1, 18, "'N 3' is not a dimension: unexpected '3'"),
    ],
)
def test_a_syntax_error_says_where(text, line, column, message):
    with pytest.raises(ParseError) as refusal:
        parse_graph(text, "net.cir")
    assert (refusal.value.line, refusal.value.column) == (line, column)
    assert message in str(refusal.value)
    assert str(refusal.value).startswith(f"net.cir:{line}:{column}: ")


def test_a_written_type_must_be_the_inferred_one():
    with pytest.raises(InvalidModel, match=r"%y = relu is written as f32\[2\], but its operands make it f32\[1\]"):
        parse_graph("graph @g(%x: f32[1]) {\n  %y = relu(%x) : f32[2]\n  return %y\n}")


def test_a_cyclic_graph_is_refused():
    x = parse_graph("graph @g(%x: f32[1]) {\n  return %x\n}").inputs[0]
    loop = Node("loop", RELU, Relu(), (x,))
    object.__setattr__(loop, "inputs", (loop,))
    with pytest.raises(InvalidModel, match="%loop = relu depends on itself"):
        Graph.of("g", (x,), (loop,))


def test_a_dangling_graph_is_refused():
    graph = parse_graph("graph @g(%x: f32[1]) {\n  %y = relu(%x)\n  return %y\n}")
    with pytest.raises(InvalidModel, match="reads %x, which is not defined before it"):
        verify_graph(Graph("g", (), graph.outputs, graph.outputs))


def test_a_named_size_that_no_input_has_is_refused():
    text = "graph @g(%x: f32[N,4]) {\n  %y = expand(%x) {shape=[Q,4]}\n  return %y\n}"
    with pytest.raises(InvalidModel, match="the named size 'Q', which no input has"):
        parse_graph(text)


@pytest.mark.parametrize("nodes", GREAT)
def test_a_great_graph_needs_no_recursion(nodes: int):
    limit = sys.getrecursionlimit()
    lines = ["graph @deep(%x0: f32[N,8]) {", *(f"  %x{i + 1} = relu(%x{i}) : f32[N,8]" for i in range(nodes)), f"  return %x{nodes}", "}"]
    text = "\n".join(lines) + "\n"
    graph = parse_graph(text)
    assert print_graph(graph) == text
    assert Graph.of("deep", graph.inputs, graph.outputs).nodes == graph.nodes
    assert sys.getrecursionlimit() == limit


def test_a_text_is_read_in_few_steps_and_as_many_for_each_line():
    """Calls, which do not depend on the machine: 163 a line once, where every mark of a type was a token of its own."""

    def calls(nodes: int) -> int:
        lines = (f"  %w{i} = param : f32[4,4,1,1]\n  %x{i + 1} = conv2d(%x{i}, %w{i})" for i in range(nodes))
        text = "\n".join(["graph @deep(%x0: f32[N,4,8,8]) {", *lines, f"  return %x{nodes}", "}"])
        made = 0

        def seen(frame: object, event: str, arg: object) -> None:
            nonlocal made
            made += event == "call"

        before = sys.getprofile()
        sys.setprofile(seen)
        try:
            parse_graph(text)
        finally:
            sys.setprofile(before)
        return made

    few, many = calls(500), calls(1000)
    assert few / 1000 < 90  # a line
    assert many < 2.02 * few


@pytest.mark.parametrize(
    ("written", "read"),
    [("f32[ 4 , 2*H,(W-1)//2+1]", "f32[4,2*H,(W+1)//2]"), ("f32[N,4,8,8]", "f32[N,4,8,8]"), ("f32[]", "f32[]"), ("i8[007]", "i8[7]")],
)
def test_a_type_is_read_with_spaces_and_without(written: str, read: str):
    sizes = "%n: f32[N,H,W], "
    assert str(parse_graph(f"graph @g({sizes}%x: {written}) {{ return %x }}").inputs[1].type) == read
