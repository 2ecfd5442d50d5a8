"""Every public name says what it is."""

from __future__ import annotations

import inspect
import re

import pytest

import convc as cc
from convc.docs.site.python_page import _paragraph


@pytest.mark.parametrize("name", [name for name in cc.__all__ if not inspect.ismodule(getattr(cc, name))])
def test_it_has_a_docstring(name):
    said = inspect.getdoc(getattr(cc, name))
    assert said
    assert said.split("\n")[0].rstrip().endswith((".", ":", ",")) or "\n" in said


PUBLIC = {name: getattr(cc, name) for name in cc.__all__ if not inspect.ismodule(getattr(cc, name))}


def unsaid(name: str) -> list[str]:
    """Arguments of a public function, of a class and of its methods, that no word of its docstring is the name of."""
    what = PUBLIC[name]
    if not isinstance(what, type):
        return _unsaid(what, inspect.getdoc(what))
    if issubclass(what, BaseException):
        return []
    methods = {member: getattr(what, member) for member in vars(what) if not member.startswith("_") and callable(getattr(what, member))}
    lacking = [f"{member}: {each}" for member, method in methods.items() for each in _unsaid(method, inspect.getdoc(method))]
    return _unsaid(what, inspect.getdoc(what)) + lacking


def _unsaid(what: object, said: str | None) -> list[str]:
    return [each for each in inspect.signature(what).parameters if each != "self" and not re.search(rf"(?<!\w){each}(?!\w)", said or "")]


def test_docstrings_name_every_argument():
    assert {name: lacking for name in PUBLIC if (lacking := unsaid(name))} == {}


def test_an_argument_that_is_not_said_is_seen(monkeypatch):
    def layer(x, width, pad=0):
        """Filters x, with zeros around of `pads`."""

    monkeypatch.setitem(PUBLIC, "layer", layer)
    assert unsaid("layer") == ["width", "pad"]


def test_a_line_of_arguments_is_one_of_a_list():
    said = _paragraph("pad: zeros at the borders: a number\nrows, cols: sizes; default: 1")
    assert said == "- `pad`: zeros at the borders: a number\n- `rows, cols`: sizes; default: 1"
