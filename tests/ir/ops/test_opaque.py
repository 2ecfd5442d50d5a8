"""Opaque nodes in text and in the verifier; what they compute, tests/backends/onnx/read/test_opaque.py has."""

from __future__ import annotations

import pytest

from convc.ir.errors import ConvcError
from convc.ir.other_runtimes import has_opaque, opaque_nodes_of, refuse_opaque
from convc.ir.parser import parse_graph
from convc.ir.printer import print_graph
from convc.passes.analysis.cost import graph_cost
from convc.passes.analysis.memory import plan_memory

TEXT = """graph @net(%x: f32[N,4], %words: opaque["tensor(string)[2]"]) {
  %parts = opaque(%x, %words) {operator=Halve, version=2, domain="some.where", attributes=["axis: int = 1","how: string = it is \\"so\\""], imports=["com.microsoft 1"], absent=[1,3], captured=[w], results=3} : opaque[]
  %a = opaque_result(%parts) {index=0} : f32[k,4]
  %b = opaque_result(%parts) {index=2} : opaque["seq(tensor(float))"]
  %c = opaque(%b) {operator=SequenceAt, version=17} : f32[k,4]
  %d = opaque {operator=RandomNormal, version=17, attributes=["shape: ints = [2,2]"]} : f32[2,2]
  %e = add(%a, %c) : f32[k,4]
  %y = reshape(%e) {shape=[2*k,2]} : f32[2*k,2]
  return %y, %d
}
"""


def test_text_comes_out_as_it_went_in():
    graph = parse_graph(TEXT)
    assert print_graph(graph) == TEXT
    assert graph.symbols == ("N",)
    assert graph.found_symbols == ("k",)
    assert [node.name for node in graph.ops] == ["parts", "a", "b", "c", "d", "e", "y"]


def test_figures_count_what_only_a_run_can_tell_as_one():
    graph = parse_graph(TEXT)
    assert graph_cost(graph).flops == 4
    assert graph_cost(graph, {"k": 3}).flops == 12
    assert plan_memory(graph).arena > 0


def test_the_sentence_names_them():
    graph = parse_graph(TEXT)
    assert has_opaque(graph)
    assert opaque_nodes_of(graph) == "3 nodes need another runtime: some.where.Halve (%parts), SequenceAt (%c), RandomNormal (%d)"
    with pytest.raises(ConvcError, match=r"@net is not compiled for cpu: 3 nodes need another runtime.*onnxruntime runs it \(-b onnx\)"):
        refuse_opaque(graph, "cpu")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("%y = relu(%o)", r"%y = relu reads %o, which is opaque\[\]: only another runtime can look into it"),
        ("%y = opaque_result(%x) {index=0} : f32[2]", r"its operand is f32\[2\], expected all results of an opaque node"),
        ("%y = opaque_result(%o) {index=-1} : f32[2]", "index -1 must be 0 or more"),
        ("%y = reshape(%x) {shape=[k]} : f32[k]", "named size 'k', which no input has"),
        ("%y = cast(%x) {to=opaque}", "opaque"),
        ("%y = opaque(%x) {version=17} : f32[2]", "attribute 'operator' is missing"),
    ],
)
def test_refusals(line: str, words: str):
    with pytest.raises(ConvcError, match=words):
        parse_graph(f"graph @net(%x: f32[2]) {{ %o = opaque(%x) {{operator=Odd, version=1}} : opaque[] {line} return %y }}")
