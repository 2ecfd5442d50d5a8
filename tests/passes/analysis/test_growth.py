"""What constants add to a file: their bytes, less the parameters and the operators that go for them."""

from __future__ import annotations

from convc.ir.graph import Graph
from convc.passes.analysis.growth import swells
from convc.tests.support.graphs import typed_graph


def left(text: str) -> list[str]:
    graph: Graph = typed_graph(text)
    constant = set()
    for node in graph.nodes:
        if node.inputs and all(operand.weights is not None or operand in constant for operand in node.inputs):
            constant.add(node)
    return sorted(node.name for node in swells(graph, constant))


def test_a_weight_of_three_readers_goes_once_for_three_copies():
    readers = "\n".join(f"%t{i} = mul(%w, %c{i})\n%y{i} = add(%x, %t{i})" for i in range(3))
    gains = "\n".join(f"%c{i} = param : f32[1]" for i in range(3))
    text = f"graph @g(%x: f32[N,4096]) {{ %w = param : f32[4096]\n{gains}\n{readers}\nreturn %y0, %y1, %y2 }}"
    assert left(text) == ["t0", "t1", "t2"]


def test_small_ones_fit_into_the_slack_until_it_is_used_up():
    lines = [f"%e{i} = expand(%w{i}) {{shape=[{size}]}}\n%y{i} = add(%x{i}, %e{i})" for i, size in enumerate((200, 300, 400))]
    weights = "\n".join(f"%w{i} = param : f32[1]" for i in range(3))
    inputs = ", ".join(f"%x{i}: f32[{size}]" for i, size in enumerate((200, 300, 400)))
    assert left(f"graph @g({inputs}) {{ {weights}\n" + "\n".join(lines) + "\nreturn %y0, %y1, %y2 }") == ["e2"]


def test_a_part_of_large_parameters_is_slack():
    text = """graph @g(%x: f32[N,64,64], %z: f32[N,4096]) {
        %w = param : f32[4096,64]
        %m = matmul(%z, %w)
        %a = param : f32[64,1]
        %e = expand(%a) {shape=[64,64]}
        %y = add(%x, %e)
        return %y, %m
    }"""
    assert left(text) == []


def test_what_stands_before_one_that_is_left_is_judged_anew():
    text = """graph @g(%x: f32[N,64,64]) {
        %a = param : f32[64,1]
        %wide = expand(%a) {shape=[64,2048]}
        %wider = expand(%wide) {shape=[8,64,2048]}
        %s = slice(%wider) {axes=[0,2], starts=[0,0], ends=[1,64]}
        %y = add(%x, %s)
        %r = reduce_sum(%wider) {axes=[0,1,2]}
        %z = mul(%y, %r)
        return %z, %wider
    }"""
    assert left(text) == ["s", "wide", "wider"]
