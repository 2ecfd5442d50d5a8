"""Text out of files as it may reach a terminal, and as IR text writes it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convc.ir.attributes import quote, unquote
from convc.ir.legible import escaped, legible, quoted


@pytest.mark.parametrize("name", ["conv1", "layer1.0.conv1.weight", "a b/c:0", "größe", "it's"])
def test_an_ordinary_name_is_written_as_it_is(name):
    assert legible(name) == name
    assert quoted(name) == f"'{name}'"


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("a\nb", r"a\nb"),
        ("\x1b[2J", r"\u{1b}[2J"),
        ("a\u202eb", r"a\u{202e}b"),
        ("a\\b", r"a\\b"),
        (b"a\xff", "a\ufffd"),
    ],
)
def test_what_steers_a_terminal_is_escaped(text, written):
    assert legible(text) == written


def test_a_long_text_is_cut_and_counted():
    assert legible("x" * 200) == "x" * 200
    assert legible("x" * 5000) == "x" * 200 + "... (5,000 characters)"
    assert quoted("x" * 5000) == f"'{'x' * 200}'... (5,000 characters)"


@given(st.text())
def test_every_text_fits_a_line_and_comes_back_from_ir_text(text):
    assert escaped(text).isprintable()
    assert unquote(quote(text)) == text
