"""A number for each name from what dimensions must have as their sizes, and the sentence where there is none."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convc.compiler.files.inputs import random_inputs
from convc.ir.binding import match_inputs, sizes_of, specialize
from convc.ir.dims import Dim, Expr, evaluate, linear, parse_dim, symbol
from convc.ir.errors import InvalidInput, InvalidModel
from convc.ir.solving import least, solve
from convc.ir.types import parse_type
from convc.tests.support.graphs import normal_inputs, typed_graph

W = symbol("W")
# Quotients are taken and added; the last form is what half, rounded up, comes to.
OF_ONE_NAME = st.recursive(
    st.tuples(st.integers(1, 4), st.integers(-9, 9)).map(lambda line: W * line[0] + line[1]),
    lambda inner: st.one_of(
        st.tuples(inner, st.integers(2, 5)).map(lambda p: p[0] // p[1]),
        st.tuples(inner, inner).map(lambda p: p[0] + p[1]),
        st.tuples(inner, st.integers(2, 3)).map(lambda p: p[0] - p[0] // p[1]),
    ),
    max_leaves=4,
)


def of(*pairs: tuple[str, int]) -> dict[str, Dim]:
    return solve([(parse_dim(text), size) for text, size in pairs])


@given(OF_ONE_NAME, st.integers(0, 60))
@settings(max_examples=60)
def test_a_name_gets_the_least_number_that_gives_the_size(dim: Dim, size: int):
    assert isinstance(dim, Expr)
    found = least(dim, size)
    assert found is None or evaluate(dim, {"W": found}) == size
    assert all(evaluate(dim, {"W": number}) != size for number in range(min(found, 200) if found is not None else 200))
    assert solve([(dim, size)]) == ({} if found is None else {"W": found})


@given(OF_ONE_NAME, OF_ONE_NAME, st.integers(0, 40))
def test_two_dimensions_of_a_name_agree_on_it_if_they_can(first: Dim, second: Dim, number: int):
    """Every number gives sizes; these are solved for a number that gives the same."""
    sizes = [(dim, evaluate(dim, {"W": number})) for dim in (first, second)]
    found = solve(sizes)
    assert [evaluate(dim, found) for dim, _ in sizes] == [size for _, size in sizes]
    assert found["W"] == number if linear(first) or linear(second) else found["W"] <= number  # type: ignore[operator]


@pytest.mark.parametrize(
    ("pairs", "names"),
    [
        ((("2*W+2", 66),), {"W": 32}),
        ((("W-1", 0),), {"W": 1}),
        ((("10-W", 3),), {"W": 7}),
        ((("(W+1)//2", 5),), {"W": 9}),
        ((("W//1000000000000", 3),), {"W": 3 * 10**12}),
        ((("(W+1)//2", 5), ("W", 10)), {"W": 10}),
        ((("(W+1)//2", 5), ("W//5", 2)), {"W": 10}),
        ((("H+W", 9), ("2*H", 4)), {"H": 2, "W": 7}),
        ((("N", 2), ("N", 3)), {"N": 2}),
        ((("2*H", 7),), {}),
        ((("W+2", 1),), {}),
        ((("H*W", 6),), {}),
        ((("H*W", 6), ("H", 2)), {"H": 2, "W": 3}),
        ((("W-2*(W//2)", 1), ("W-3*(W//3)", 2), ("W-5*(W//5)", 4)), {"W": 29}),
    ],
    ids=str,
)
def test_what_names_come_to(pairs, names):
    assert of(*pairs) == names


def test_names_stand_for_names():
    assert solve([(parse_dim("2*W+2"), parse_dim("2*K+4")), (symbol("N"), symbol("N"))]) == {"W": parse_dim("K+1"), "N": symbol("N")}


@pytest.mark.parametrize(
    ("types", "shapes", "sentence"),
    [
        (("f32[N,2*W+2]",), ((1, 7),), "input 'x0' has shape [1, 7], expected f32[N,2*W+2] with N=1; axis 1 is 7, and 2*W+2 is 6 where W=2, 8 where W=3"),
        (("f32[W+2]",), ((1,),), "input 'x0' has shape [1], expected f32[W+2]; axis 0 is 1, and W+2 is 2 where W=0"),
        (("f32[3*(W//2)]",), ((7,),), "axis 0 is 7, and 3*(W//2) is 6 where W=4, 9 where W=6"),
        (("f32[N,1]", "f32[(N+1)//2+N-1]"), ((0, 1), (1,)),
         "input 'x1' has shape [1], expected f32[(N+1)//2+N-1] with N=0; axis 0 is 1, and (N+1)//2+N-1 is -1 where N=0, 1 where N=1"),
        (("f32[N,H,W]", "f32[H+W]"), ((1, 2, 3), (6,)), "axis 0 is 6, and H+W is 5 where H=2, W=3"),
        (("f32[H*W,8]",), ((6, 8),), "input 'x0' has shape [6, 8], expected f32[H*W,8]; 6 does not tell H from W in H*W; give --input x0:6,8"),
        (("f32[N,4]", "f32[N,4]"), ((2, 4), (3, 4)), "input 'x1' has shape [3, 4], expected f32[N,4] with N=2"),
        (("f32[1,3,16,16]",), ((3, 3, 16, 16),), "axis 0 is 3, not 1: give 1 at a time, or compile the network with --input x0:N,3,16,16"),
        (("f32[N,1,32,32]",), ((3, 3, 32, 31),), "expected f32[N,1,32,32] with N=3; axis 1 is 3, not 1, axis 3 is 31, not 32"),
    ],
    ids=str,
)  # fmt: skip
def test_a_shape_that_does_not_fit(types, shapes, sentence):
    names = [f"x{i}" for i in range(len(types))]
    with pytest.raises(InvalidInput, match=re.escape(sentence) + "$"):
        sizes_of(dict(zip(names, map(parse_type, types), strict=True)), dict(zip(names, shapes, strict=True)))


def test_a_size_is_never_negative():
    graph = typed_graph("graph @g(%x: f32[N,1], %k: f32[1,(N+1)//2+N-1]) { %y = add(%x, %k) return %y }")
    sentence = "%k = input is f32[1,(N+1)//2+N-1], of which (N+1)//2+N-1 is -1 where N=0, and no size is negative; give N=1 or more"
    with pytest.raises(InvalidModel, match=re.escape(sentence)):
        specialize(graph, {"N": 0})
    assert match_inputs(graph, normal_inputs(graph, N=1)) == {"N": 1}


@pytest.mark.parametrize(("text", "size", "number"), [("N*N", 1024, 32), ("N*N+N", 12, 3), ("N*N", 1023, None), ("(N*N)//3", 5, 4)])
def test_a_product_of_a_name_with_itself_is_found(text, size, number):
    assert solve([(parse_dim(text), size)]) == ({} if number is None else {"N": number})


@pytest.mark.parametrize("shape", ["0,4", "N-5,4", "N*N,4", "2*W+2,4", "N,W*W", "N-5,N"])
def test_random_inputs_fit_sizes_that_are_computed(shape):
    graph = typed_graph(f"graph @g(%x: f32[{shape}]) {{ %y = relu(%x) return %y }}")
    match_inputs(graph, random_inputs(graph))
