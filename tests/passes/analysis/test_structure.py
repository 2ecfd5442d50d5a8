"""The longest path, and networks that are the same under other names."""

from __future__ import annotations

import pytest

from convc.compiler.engines.optimize import optimize
from convc.ir.parser import parse_graph
from convc.passes.analysis import structure
from convc.passes.analysis.structure import is_renamed, longest_path

NET = """graph @net(%x: f32[N,4,5,5]) {
  %v = param : f32[4,4,1,1]
  %w = param : f32[4,4,3,3]
  %a = conv2d(%x, %v)
  %b = conv2d(%x, %w) {pads=[1,1,1,1]}
  %s = sub(%a, %b)
  %r = relu(%s)
  return %r, %a
}"""
RENAMED = """graph @other(%image: f32[N,4,5,5]) {
  %p = param : f32[4,4,3,3]
  %a = conv2d(%image, %p) {pads=[1,1,1,1]}
  %q = param : f32[4,4,1,1]
  %b = conv2d(%image, %q)
  %d = sub(%b, %a)
  %e = relu(%d)
  return %e, %b
}"""


def read(text: str):
    """The text's parameters have no values, so that only their types tell them apart."""
    return optimize(parse_graph(text, "net"), 0)[0]


def test_names_and_order_of_nodes_do_not_matter():
    assert is_renamed(read(NET), read(RENAMED))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("sub(%b, %a)", "sub(%a, %b)"),
        ("return %e, %b", "return %b, %e"),
        ("return %e, %b", "return %e, %a"),
        ("relu(%d)", "sigmoid(%d)"),
        ("sub(%b, %a)", "sub(%b, %b)"),
    ],
)
def test_operands_outputs_and_ops_do_matter(old: str, new: str):
    assert not is_renamed(read(NET), read(RENAMED.replace(old, new)))


def test_one_value_read_twice_is_not_two_alike():
    twice, once = (
        "graph @n(%x: f32[4]) {\n  %a = relu(%x)\n  %b = relu(%x)\n  %c = add(%a, %b)\n  %d = add(%a, %a)\n  return %c, %d\n}",
        "graph @n(%x: f32[4]) {\n  %a = relu(%x)\n  %b = relu(%x)\n  %c = add(%a, %b)\n  %d = add(%a, %b)\n  return %c, %d\n}",
    )
    assert not is_renamed(read(twice), read(once))


def test_large_networks_are_not_looked_into(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(structure, "MOST_NODES", 3)
    assert not is_renamed(read(NET), read(NET))


def test_the_longest_path_is_by_time_and_not_by_nodes():
    graph = read(NET)
    names = graph.by_name
    path = longest_path(graph, {names["a"]: 1.0, names["b"]: 3.0, names["s"]: 1.0, names["r"]: 0.5})
    assert [node.name for node in path if node.inputs] == ["b", "s", "r"]
