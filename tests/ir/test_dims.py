"""Dimension arithmetic agrees with the integers, and text with the expression."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convc.ir.dims import evaluate, parse_dim, symbol
from convc.ir.errors import InvalidModel

NAMES = {"N": 3, "H": 37, "W": 52}
DIMS = st.recursive(
    st.one_of(st.integers(-9, 9), st.sampled_from([symbol(name) for name in NAMES])),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(lambda p: p[0] + p[1]),
        st.tuples(inner, inner).map(lambda p: p[0] - p[1]),
        st.tuples(inner, st.integers(-4, 4)).map(lambda p: p[0] * p[1]),
        st.tuples(inner, st.integers(1, 5)).map(lambda p: p[0] // p[1]),
    ),
    max_leaves=8,
)


@given(DIMS)
def test_text_reads_back_as_the_same_dimension(dim):
    assert parse_dim(str(dim)) == dim


@given(DIMS, DIMS, st.integers(1, 7))
def test_arithmetic_is_that_of_integers(a, b, divisor):
    x, y = evaluate(a, NAMES), evaluate(b, NAMES)
    assert evaluate(a + b, NAMES) == x + y
    assert evaluate(a - b, NAMES) == x - y
    assert evaluate(a * b, NAMES) == x * y
    assert evaluate(a // divisor, NAMES) == x // divisor


@given(DIMS, DIMS)
def test_addition_commutes_in_canonical_form(a, b):
    assert a + b == b + a
    assert a - a == 0


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("(H-1)//2+1", "(H+1)//2"),
        ("((H-1)//2+1-1)//2+1", "(H+3)//4"),
        ("2*H//2", "H"),
        ("H+W-H", "W"),
        ("3", "3"),
        ("(2*W+1)//4", "W//2"),
        ("(2*W+3)//4", "(W+1)//2"),
        ("(6*H*W+9*N+5)//12", "(2*H*W+3*N+1)//4"),
        ("(2*(H//2)+3)//4", "(H+2)//4"),
        ("(4-2*W)//6", "(2*W+2)//3-W"),
        ("((3*H-1)//2+1-1)//2+1", "(3*H+3)//4"),
        ("(H//2+H//3+W+1)//2", "(H+2*(H//3)+2*W+2)//4"),
    ],
)
def test_equal_sizes_have_one_form(text, canonical):
    assert str(parse_dim(text)) == canonical


@pytest.mark.parametrize("text", ["", "H+", "H//0", "H//W", "(H", "H)", "H!", "1 2", "9" * 600, "(" * 200])
def test_what_is_no_dimension_is_refused(text):
    with pytest.raises(InvalidModel):
        parse_dim(text)
