"""The sizes that stand for names: they fit every layer, likely ones first."""

from __future__ import annotations

import pytest

from convc.ir.errors import InvalidModel
from convc.ir.usual_sizes import counting_sizes, other_sizes, usual_sizes
from convc.tests.support.graphs import typed_graph


def net(shape: str, *lines: str) -> str:
    return "\n".join([f"graph @g(%x: f32[{shape}]) {{", *(f"  {line}" for line in lines), "  return %y", "}"])


@pytest.mark.parametrize(
    ("text", "sizes"),
    [
        pytest.param(net("N,3,H,W", "%y = relu(%x)"), {"N": 1, "H": 32, "W": 32}, id="the first usual one"),
        pytest.param(
            net("N,3,H,W", "%y = max_pool(%x) {kernel=[50,50], strides=[1,1]}"), {"N": 1, "H": 64, "W": 64}, id="the first that fits"
        ),
        pytest.param(net("N,1,1,T", "%y = max_pool(%x) {kernel=[1,1500], strides=[1,1]}"), {"N": 1, "T": 2048}, id="samples of sound"),
        pytest.param(net("N,1,H,W", "%y = slice(%x) {axes=[2], starts=[60], ends=[2147483647]}"), {"N": 1, "H": 64, "W": 64}, id="not empty"),
        pytest.param(net("N,L", "%t = slice(%x) {axes=[1], starts=[-5], ends=[2147483647]}", "%p = param {init=ones} : f32[1,5]", "%y = add(%t, %p)"),
                     {"N": 1, "L": 32}, id="a tail"),
        pytest.param(net("N,2*H,30*W", "%y = reshape(%x) {shape=[N,H,2,30*W]}"), {"N": 1, "H": 32, "W": 32}, id="multiples"),
        pytest.param(net("8*N,4", "%y = reshape(%x) {shape=[N,8,4]}"), {"N": 1}, id="a batch of parts"),
    ],
)  # fmt: skip
def test_what_fits(text, sizes):
    assert usual_sizes(typed_graph(text)) == sizes


def test_sizes_that_are_given_stay():
    graph = typed_graph(net("N,3,H,W", "%y = relu(%x)"))
    assert usual_sizes(graph, {"H": 5, "N": 3, "Q": 7}) == {"H": 5, "N": 3, "W": 32}
    assert usual_sizes(graph, {"H": 5, "N": 3, "W": 7}) == {"H": 5, "N": 3, "W": 7}


def test_sizes_that_must_differ():
    graph = typed_graph(
        "graph @g(%x: f32[N,1,1,T], %z: f32[B,1,1,L]) {\n  %p = max_pool(%x) {kernel=[1,1500], strides=[1,1]}\n"
        "  %a = slice(%z) {axes=[3], starts=[0], ends=[L]}\n  return %p, %a\n}"
    )
    assert usual_sizes(graph) == {"N": 1, "B": 1, "T": 2048, "L": 2048}


def test_where_nothing_fits_figures_are_counted_all_the_same():
    graph = typed_graph(net("1,1,H,7", "%y = max_pool(%x) {kernel=[70000,1], strides=[1,1]}"))
    with pytest.raises(InvalidModel, match=r"no usual size of H fits every layer; .* --input NAME:SHAPE"):
        usual_sizes(graph)
    assert counting_sizes(graph) == {"H": 32}


def test_a_batch_alone_counts_as_one_without_a_word():
    assert counting_sizes(typed_graph(net("N,3,8,8", "%y = relu(%x)"))) == {}


@pytest.mark.parametrize(
    ("text", "sizes"),
    [
        (net("N,3,H,W", "%y = relu(%x)"), {"N": 1, "H": 33, "W": 35}),
        (net("N,3,8,8", "%y = relu(%x)"), {}),
        (net("N,2*H", "%y = reshape(%x) {shape=[N,H,2]}"), {"N": 1, "H": 33}),
        (net("1,1,H,7", "%y = max_pool(%x) {kernel=[70000,1], strides=[1,1]}"), {}),
    ],
)
def test_a_second_size(text, sizes):
    assert other_sizes(typed_graph(text)) == sizes
